"""The composition root: every part is made, told of the others, started and stopped here."""

"""What every part may need: time, chance and ids; and the formats of all surfaces."""

from waypost.clock import Clock, IdSource, SystemEntropy
from waypost.server import dialects
from waypost.server.dialects import Environments


class Tools:
    """What every part may need: time, chance and ids."""

    def __init__(self, clock: Clock) -> None:
        """Take the clock of the database, and the rest from the system."""
        self.clock = clock
        self.entropy = SystemEntropy()
        self.ids = IdSource(self.clock, self.entropy)
        self.environments = Environments()
        self.formats = dialects.formats(self.environments)

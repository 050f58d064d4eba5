"""What people ask for, one module per noun: every surface calls these."""

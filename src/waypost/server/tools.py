"""What every part may need: time, chance, ids, what encrypts, and the formats of all surfaces."""

from waypost.clock import Clock, IdSource, SystemEntropy
from waypost.server import dialects
from waypost.server.dialects import Environments
from waypost.storage.vault import Vault


class Tools:
    """What every part may need."""

    def __init__(self, clock: Clock, key: bytes) -> None:
        """Take the clock of the database and the secret key, and the rest from the system."""
        self.clock = clock
        self.entropy = SystemEntropy()
        self.vault = Vault(key, self.entropy)
        self.ids = IdSource(self.clock, self.entropy)
        self.environments = Environments()
        self.formats = dialects.formats(self.environments)

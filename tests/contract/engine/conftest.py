"""What the storage's tests run on, the engine's parts that are about what is stored run on too."""

from tests.contract.storage.conftest import records

__all__ = ["records"]

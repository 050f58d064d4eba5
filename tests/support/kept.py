"""What tests fetch once and keep between runs, however many workers want it at the same time."""

import fcntl
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path


def kept(folder: Path, told: bytes, make: Callable[[Path], None]) -> Path:
    """Return the folder of something; made where it is not there yet, or only in part.

    One worker makes it and the others wait: pytest-xdist's groups do not hold with this pytest.

    Args:
        folder: where such things are kept.
        told: all that it is made of; anything else is another one.
        make: makes it in a folder that is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    home = folder / hashlib.sha256(told).hexdigest()[:16]
    ready = home / "ready"
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            shutil.rmtree(home, ignore_errors=True)
            make(home)
            ready.touch()
    return home

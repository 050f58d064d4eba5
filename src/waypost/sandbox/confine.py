"""What a worker gives up before it runs anything: files, network, processes, and most of memory.

The engine offers programs none of these. This is for the day when a program finds a hole in it.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from pathlib import Path
from typing import Final

_EPERM: Final = 1
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUALS: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | _EPERM
_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4

_SET_SECCOMP: Final = 22
_GET_SECCOMP: Final = 21
_SECCOMP_FILTER: Final = 2
_NO_NEW_PRIVILEGES: Final = 38

# Memory, time, the socket that is open, the end: nothing that opens or starts anything.
_CALLS: Final = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "restart_syscall": (219, 128),
    "setitimer": (38, 103),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
"""The system calls that a worker may make, by their numbers on each of `_ARCHITECTURES`."""

_ARCHITECTURES: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""As the kernel names them, and where their numbers stand."""

_SPARE_BYTES: Final = 64 * 1024 * 1024
"""Beyond what the process has and what the program may have: for copies of what it makes."""


class Confinement:
    """Prepared once, in the process that forks; put on in each worker.

    Attributes:
        filters_calls: the kernel will refuse system calls that a worker has no use for. Elsewhere
            than on Linux there is no such thing; the limits hold everywhere.
    """

    def __init__(self, memory_bytes: int) -> None:
        """Prepare.

        Args:
            memory_bytes: how much a program may have.
        """
        self._memory = _own_bytes() + 2 * memory_bytes + _SPARE_BYTES
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._filter = _filter_of(platform.machine()) if sys.platform == "linux" else None
        self.filters_calls = (
            self._filter is not None and self._libc.prctl(_GET_SECCOMP, 0, 0, 0, 0) >= 0
        )

    def put_on(self, keep: int) -> None:
        """Confine this process for good, but for one open file.

        Raises:
            OSError: the kernel did not take it.
        """
        os.closerange(0, keep)
        os.closerange(keep + 1, 256)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        if sys.platform == "linux":  # elsewhere the limit is not kept, or not even taken
            resource.setrlimit(resource.RLIMIT_AS, (self._memory, self._memory))
        if self.filters_calls and self._filter is not None:
            program = ctypes.create_string_buffer(self._filter)
            described = struct.pack("@HP", len(self._filter) // 8, ctypes.addressof(program))
            self._set(_NO_NEW_PRIVILEGES, 1, 0)
            self._set(_SET_SECCOMP, _SECCOMP_FILTER, described)

    def _set(self, option: int, value: int, more: int | bytes) -> None:
        if self._libc.prctl(option, value, more, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")


def _filter_of(machine: str) -> bytes | None:
    """Return the program by which the kernel judges calls; None for a machine we don't know."""
    if machine not in _ARCHITECTURES:
        return None
    architecture, column = _ARCHITECTURES[machine]
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUALS, 1, 0, architecture),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    for numbers in _CALLS.values():
        steps += [(_EQUALS, 0, 1, numbers[column]), (_RETURN, 0, 0, _ALLOW)]
    steps.append((_RETURN, 0, 0, _REFUSE))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _own_bytes() -> int:
    """Return how much address space this process has."""
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[0]
        return int(pages) * resource.getpagesize()
    except OSError:
        return 512 * 1024 * 1024

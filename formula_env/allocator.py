"""Memory that is freed stays with the process.

Networks on the CPU free and allocate tensors of a megabyte by the thousand. glibc gives such memory back to the
system at once and asks for it again, and the system zeroes each page anew: from some hundred rows up this takes as
long as the arithmetic.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's `malloc.h`."""

LARGEST_KEPT = 32 * 2**20
"""Blocks of more bytes than this still go back: glibc allows no higher threshold."""


def keep_freed_memory() -> bool:
    """Let the allocator keep what is freed; returns whether there is one that can (glibc's, on Linux)."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))

"""Memory that is freed stays with the process, where the allocator is glibc's."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")

FAULTS = """
import resource, sys, torch
from formula_env.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def work():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        [torch.ones(1_000_000) for _ in range(5)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
work()
print(work())
"""


def faults(mode: str) -> int:
    """Page faults of making and freeing five tensors of 4 MB at a time, twenty times.

    glibc learns by itself to keep blocks of a size that comes back, now and then: here it may not.
    """
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", FAULTS, mode]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def test_pages_are_asked_for_once() -> None:
    """Of a page of 4 KB or more, up to the 2 MB of a huge one."""
    given_back = faults("give back")
    assert given_back > 100
    assert faults("keep") < 0.1 * given_back

"""Memory that was freed goes back to the system.

A page's answers come from many threads, and glibc gives each thread a heap of its own and keeps there what was freed: in half
an hour of people who come and go that is hundreds of MiB, though nothing piles up (benchmarks/soak.py). Other C libraries
know no such calls, and nothing is done.
"""

import ctypes
import platform
import sys

IS_GLIBC = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
_M_ARENA_MAX = -8
"""mallopt(3)."""


def keep_few_heaps() -> None:
    """At most two, whatever threads come; to be called before there are many."""
    if IS_GLIBC:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def give_back() -> None:
    """What is free in all heaps."""
    if IS_GLIBC:
        ctypes.CDLL(None).malloc_trim(0)

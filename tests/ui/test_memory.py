"""What was freed goes back; the soak (benchmarks/soak.py) says what it is for."""

import os
import subprocess
import sys

import pytest

from ser_core.ui.memory import IS_GLIBC

HEAPS = """
import ctypes, os, threading
from ser_core.ui.memory import keep_few_heaps
if {few}:
    keep_few_heaps()
libc, together = ctypes.CDLL(None), threading.Barrier(9)
libc.fdopen.restype = ctypes.c_void_p
def take():
    held = [bytearray(50_000) for _ in range(20)]
    together.wait()
    together.wait()
for _ in range(8):
    threading.Thread(target=take, daemon=True).start()
together.wait()
reads, writes = os.pipe()
file = ctypes.c_void_p(libc.fdopen(writes, b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(os.read(reads, 1 << 16).count(b"<heap nr="))
together.wait()
"""


@pytest.mark.skipif(not IS_GLIBC, reason="only glibc has a heap for each thread, and can be told")
def test_eight_threads_share_two_heaps():
    plain = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}

    def heaps(few: bool) -> int:
        script = [sys.executable, "-c", HEAPS.format(few=few)]
        return int(subprocess.run(script, capture_output=True, text=True, check=True, env=plain).stdout)

    assert heaps(few=True) <= 2 < heaps(few=False)

"""What was freed goes back; the soak (benchmarks/soak.py) says what it is for."""

import platform
import subprocess
import sys

import pytest

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has a heap for each thread, and can be told")
def test_eight_threads_share_two_heaps():
    heaps = [
        int(
            subprocess.run(
                [sys.executable, "-c", HEAPS.format(few=few)], capture_output=True, text=True, check=True
            ).stdout
        )
        for few in (True, False)
    ]
    assert heaps[0] <= 2 < heaps[1]

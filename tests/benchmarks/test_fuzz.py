"""Whatever comes in, a reader gives a valid value or its own small named error: what once went wrong, and fresh bent inputs."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "benchmarks"))

import fuzz  # noqa: E402
from fuzz_readers import READERS, Reader, outcome  # noqa: E402

FOUND = sorted(file for file in (REPOSITORY / "tests" / "found").glob("*/*"))
LIVE_WITH_IT = ("model_report", "model_card", "run_status", "run_order", "run_recipe", "run_metrics", "run_report")
"""Readers of what is shown beside the rest: where it is broken they say that it is not there."""


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """The folder of a reader and its valid inputs, made once."""
    made = {}

    def of(name: str) -> tuple[Path, list[bytes]]:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            made[name] = folder / READERS[name].file, READERS[name].make(folder)
        return made[name]

    return of


@pytest.mark.parametrize("file", FOUND, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_what_once_went_wrong_is_refused_in_words_or_lived_with(file, valid):
    name = file.parent.name
    if name.startswith("onnx"):
        pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    path, _ = valid(name)
    path.write_bytes(file.read_bytes())
    assert (outcome(READERS[name], path) == "read") == (name in LIVE_WITH_IT)
    assert file.stat().st_size < 20_000


@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if reader.n_sampled])
def test_valid_inputs_are_read_and_bent_ones_are_read_or_refused_in_words(name, valid, capfd):
    reader, (path, contents) = READERS[name], valid(name)
    path.write_bytes(contents[0])
    assert outcome(reader, path) == "read"
    for number in range(reader.n_sampled):
        path.write_bytes(fuzz.case_of(name, number, 1, contents))
        outcome(reader, path)


def _nothing(folder: Path) -> list[bytes]:
    return [b"a" * 50]


def _raises(path: Path) -> None:
    if path.read_bytes() != b"a" * 50:
        raise KeyError("nobody names it")


def _hangs(path: Path) -> None:
    if path.read_bytes() != b"a" * 50:
        time.sleep(60)


def _dies(path: Path) -> None:
    if path.read_bytes() != b"a" * 50:
        os.kill(os.getpid(), signal.SIGSEGV)


def _grows(path: Path) -> None:
    if path.read_bytes() != b"a" * 50:
        np.ones(100 * 2**20, np.uint8)


@pytest.mark.parametrize(
    ("read", "found"),
    [
        (_raises, "KeyError at test_fuzz.py"),
        (_hangs, "a case took longer"),
        (_dies, "ended with -11"),
        (_grows, "memory grew"),
    ],
)
def test_the_fuzzer_finds_what_raises_hangs_dies_or_grows(read, found, monkeypatch):
    monkeypatch.setitem(READERS, "broken", Reader("bytes", "case", _nothing, read, 3))
    monkeypatch.setattr(fuzz, "LIMIT_S", 0.5)
    monkeypatch.setattr(fuzz, "MOST_MIB", 50)
    told = fuzz.fuzz("broken", 3, 0)
    assert [key for key in told.findings if found in key]
    assert told.cases == 3


def test_a_seed_gives_the_same_cases_again(valid):
    _, contents = valid("settings")
    first, again, other = ([fuzz.case_of("settings", n, seed, contents) for n in range(60)] for seed in (1, 1, 2))
    assert first == again != other

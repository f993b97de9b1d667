"""What benchmarks/growth.py measures is measured at that size; how long anything takes is not asserted."""

import json
import sys
from pathlib import Path

import pytest

from ser_core.inference.timing import timed

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import growth  # noqa: E402


def test_one_command_measures_each_size_and_writes_what_it_prints(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(growth, "LENGTHS_S", (0.6, 1.2))
    monkeypatch.setattr(growth, "ENROLLED", (1, 8))
    assert growth.main(["--largest", "10", "--within", "0", "--threads", "1", "--output", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "growth.json").read_text())["rows"]
    sizes = {what: [row["size"] for row in rows if row["what"] == what] for what in {row["what"] for row in rows}}
    assert sorted(map(tuple, sizes.values())) == sorted([(1, 10)] * 6 + [(0.6, 1.2)] + [(1, 8)] * 2)
    assert all(row["n"] == 1 and row["p50"] > 0 for row in rows)
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(printed) == 2 + len(rows) and set(printed) <= set((tmp_path / "growth.md").read_text().splitlines())


def test_what_would_take_too_long_is_left_out_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "LONGEST_S", 0.0)
    asked, left_out, prepared = growth._asked(["--quick", "--output", str(tmp_path)]), [], []

    def ready(n):
        return lambda: prepared.append(n)

    rows = list(growth._grown("a thing", "utterances", (1, 10, 100), ready, asked, left_out))
    assert [row["size"] for row in rows] == [1] and set(prepared) == {1}
    assert left_out == ["a thing, 10 utterances: 1 took 0 s", "a thing, 100 utterances: 1 took 0 s"]


def test_no_two_utterances_of_a_made_corpus_are_alike(tmp_path):
    contents = [Path(path).read_bytes() for path in growth.made_files(4, tmp_path)]
    assert len(set(contents)) == 4


@pytest.mark.parametrize(("within_s", "n"), [(float("inf"), 5), (0.0, 1)])
def test_calls_end_when_the_time_is_over_but_there_is_one(within_s, n):
    assert len(timed(lambda: None, 5, within_s)) == n

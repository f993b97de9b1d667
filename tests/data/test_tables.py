"""CSV that a spreadsheet takes for text, and strict JSON. Truth: Python's own readers."""

import csv
import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ser_core.data.tables import to_csv, to_json, write_csv, write_json

FORMULAS = ['=HYPERLINK("http://x","y")', "+1", "-x", "@SUM(A1)", "\t=1", "\r=1", "=", "-", "1=1", "Zoë"]
STARTS = ("=", "+", "-", "@", "\t", "\r")


def as_a_spreadsheet_reads(text: str) -> list[list[str]]:
    """Cells; a bare carriage return outside quotes ends a row, as it does in spreadsheets and in pandas."""
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_stands_behind_a_quote_in_cells_and_in_headers(formula):
    head, row = as_a_spreadsheet_reads(to_csv(pd.DataFrame({formula: [formula], "uar": [-0.5]})))
    expected = f"'{formula}".replace("\r", " ") if formula.startswith(STARTS) else formula  # one line to all readers
    assert head == [expected, "uar"] and row == [expected, "-0.50000"]


@example(["a\r=1"])
@given(st.lists(st.text(st.sampled_from("=+-@\t\r\n,;'\"1a") | st.characters(), max_size=9), min_size=1, max_size=5))
def test_no_text_cell_starts_as_a_formula_whatever_it_holds(words):
    rows = as_a_spreadsheet_reads(to_csv(pd.DataFrame({"speaker": words, "uar": -1.0})))
    assert len(rows) == len(words) + 1, "a cell broke its row"
    for word, row in zip(words, rows[1:], strict=True):
        assert not row[0].startswith(STARTS)
        assert row[0].removeprefix("'").split() == word.removeprefix("'").split() and row[1] == "-1.00000"


@pytest.mark.parametrize("ending", ["\r", "\n", "\r\n"])
def test_a_line_ending_inside_a_cell_does_not_begin_a_row_with_a_formula(ending):
    table = pd.DataFrame({"speaker": [f"Zoe{ending}=1+1"], "uar": [0.5]})
    read = pd.read_csv(io.StringIO(to_csv(table)))
    assert len(read) == 1 and not read["speaker"].str.startswith("=").any()


@pytest.mark.parametrize("dtype", [object, "str", "category"])
def test_text_is_made_harmless_in_every_kind_of_column(dtype):
    rows = as_a_spreadsheet_reads(to_csv(pd.DataFrame({"speaker": pd.Series(["=1", "b", None], dtype=dtype)})))
    assert rows[1:3] == [["'=1"], ["b"]]


def test_numbers_keep_their_sign_and_missing_ones_are_empty():
    table = pd.DataFrame({"change": [-0.123456, np.nan], "n": [-1, 2], "flag": [True, False], "x": ["a", None]})
    assert to_csv(table) == "change,n,flag,x\n-0.12346,-1,True,a\n,2,False,\n"


def test_csv_is_written_whole_and_leaves_nothing_beside_it(tmp_path):
    write_csv(pd.DataFrame({"speaker": ["Zoë"]}), tmp_path / "table.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
    assert (tmp_path / "table.csv").read_bytes() == "speaker\nZoë\n".encode()


# JSON

numbers = st.floats() | st.integers() | st.none() | st.booleans() | st.text(max_size=5)
contents = st.dictionaries(st.text(max_size=5), st.recursive(numbers, lambda inner: st.lists(inner, max_size=3)))


def refuse(token: str):
    raise AssertionError(f"{token} is no JSON")


@given(contents)
def test_json_is_strict_and_what_does_not_exist_is_null(content):
    def expected(value):
        if isinstance(value, list):
            return [expected(one) for one in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    read = json.loads(to_json(content), parse_constant=refuse)
    assert read == {key: expected(value) for key, value in content.items()}


def test_numbers_of_numpy_that_do_not_exist_are_null_too():
    read = json.loads(to_json({"a": np.float64("nan"), "b": (1.0, np.inf), "c": {"d": np.float64(0.5)}}))
    assert read == {"a": None, "b": [1.0, None], "c": {"d": 0.5}}


def test_json_is_written_whole_and_names_stay_readable(tmp_path):
    write_json(tmp_path / "report.json", {"Zoë": float("nan")})
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == '{\n  "Zoë": null\n}'

"""What the pages quote of the measurements is what was measured."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import quote  # noqa: E402


@pytest.mark.parametrize("page", quote.PAGES, ids=lambda path: str(path.relative_to(quote.REPOSITORY)))
def test_the_tables_of_a_page_say_what_was_measured(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- ") >= 6 and quote.quoted(text) == text, "run benchmarks/quote.py"


def test_a_changed_number_is_put_right_and_the_words_around_it_stay():
    page = "Before. <!-- demo -->\n| 0.9 |\n<!-- demo end --> After."
    mended = quote.quoted(page)
    uar = json.loads((quote.RESULTS / "ravdess" / "fairness.json").read_text())["models"]["baseline"]["uar"]
    assert "| 0.9 |" not in mended and f"{uar:.3f}" in mended
    assert mended.startswith("Before. <!-- demo -->") and mended.endswith("<!-- demo end --> After.")


def test_a_table_that_nobody_measures_is_an_error():
    with pytest.raises(KeyError, match="guessed"):
        quote.quoted("<!-- guessed -->\n| 1.0 |\n<!-- guessed end -->")

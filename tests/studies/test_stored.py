"""Studies that ship are read back as they were written."""

import pandas as pd
import pytest

from ser_core.data.tables import write_json
from ser_core.studies import STUDIES
from ser_core.studies.stored import stored_studies


def _store(folder, name: str, corpus: str, p: float) -> None:
    (folder / name / corpus).mkdir(parents=True)
    rows = [{"method": "ours", "condition": "1 of each", "uar": 0.5, "p": p}]
    content = {"study": name, "corpus": corpus, "results": rows, "about": {"design": {"n_seeds": 3}}}
    write_json(folder / name / corpus / "study.json", content)


def test_what_was_written_is_read_in_order_of_name(tmp_path):
    _store(tmp_path, "enrolment-size", "ravdess", 0.01)
    _store(tmp_path, "enrolment-size", "nemo", 0.02)
    _store(tmp_path, "enrolment-errors", "ravdess", 0.03)
    stored = stored_studies(tmp_path)
    assert [(one.name, one.corpus) for one in stored] == [
        ("enrolment-errors", "ravdess"), ("enrolment-size", "nemo"), ("enrolment-size", "ravdess"),
    ]  # fmt: skip
    assert [one.results["p"].item() for one in stored] == [0.03, 0.02, 0.01]
    assert stored[0].about == {"design": {"n_seeds": 3}}


def test_a_number_that_does_not_exist_comes_back_as_nan(tmp_path):
    _store(tmp_path, "enrolment-size", "ravdess", float("nan"))
    [stored] = stored_studies(tmp_path)
    assert pd.isna(stored.results["p"]).all() and stored.results["uar"].item() == 0.5


def test_where_nothing_is_stored_there_are_none(tmp_path):
    assert stored_studies(tmp_path / "nowhere") == []


def test_a_column_of_which_no_number_exists_is_still_one_of_numbers(tmp_path):
    _store(tmp_path, "label-shift", "ravdess", float("nan"))
    [stored] = stored_studies(tmp_path)
    assert pd.api.types.is_float_dtype(stored.results["p"])


def test_every_table_of_a_study_comes_back(tmp_path):
    content = {
        "study": "label-shift",
        "corpus": "nemo",
        "results": [{"r": -0.5}],
        "speakers": [{"uar": 0.7}, {"uar": 0.8}],
    }
    (tmp_path / "label-shift" / "nemo").mkdir(parents=True)
    write_json(tmp_path / "label-shift" / "nemo" / "study.json", {**content, "title": "Why?", "about": {}})
    [stored] = stored_studies(tmp_path)
    assert set(stored.tables) == {"results", "speakers"} and len(stored.tables["speakers"]) == 2


@pytest.mark.parametrize("stored", stored_studies(), ids=lambda one: f"{one.name}-{one.corpus}")
def test_what_ships_can_be_asked_for_told_and_drawn(stored):
    study = STUDIES[stored.name]
    assert {"method", "n_speakers", "n_utterances", "n_seeds"} <= set(stored.results)
    told = study.numbers(stored.tables, str)
    assert told.rows and all(len(row) == len(told.heads) for row in told.rows)
    assert study.figure(stored.tables, str).data

"""The embedding view, without a browser."""

import dataclasses
import re
from pathlib import Path

import pandas as pd
import pytest

from ser_core.inference import embedding_view
from ser_core.inference.embedding_view import ALL_FOLDS, demo_maps
from ser_core.ui import embedding
from ser_core.ui.services import Services
from ser_core.workspace import open_workspace


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Services(open_workspace(tmp_path / "workspace"))


@pytest.fixture
def fresh():
    """Maps of one network, as of a corpus that was evaluated now."""
    demo = demo_maps()
    points = demo.points[(demo.points["method"] == "speaker_reference") & (demo.points["fold"] == 2)]
    probes = demo.probes[(demo.probes["method"] == "speaker_reference") & (demo.probes["fold"].isin(["2", ALL_FOLDS]))]
    return dataclasses.replace(demo, points=points, probes=probes, corpus="<i>mine</i>")


def test_opening_the_tab_shows_the_maps_that_ship(services):
    maps, about, method, fold, colour, before, after, reading, bars, numbers = embedding.fill(services, None)
    assert maps is None and "ships with Attune" in about and "1040 utterances of 20 speakers" in about
    assert [value for _, value in method.choices] == ["speaker_reference", "enrolment_attention"]
    assert [value for _, value in fold.choices] == [0, 1, 2, 3, 4] and "ravdess_01" in fold.choices[0][0]
    assert colour == "emotion"
    assert sum(len(trace.x) for trace in before.data) == sum(len(trace.x) for trace in after.data) == 208
    assert "where on the page says nothing" in reading and "nearest to it on the map too" in reading
    assert list(bars.data[0].y) == ["emotion", "speaker", "gender"]
    assert "5 networks together" in numbers


def test_the_table_says_what_the_probes_found(services):
    numbers = embedding.fill(services, None)[-1]
    cells = {
        name: dict(zip(("before", "after"), re.findall("<td>(.*?)</td>", row), strict=False))
        for name, row in re.findall('<th scope="row">(.*?)</th>(.*?)</tr>', numbers)
    }
    found = demo_maps().probes
    found = found[(found["method"] == "speaker_reference") & (found["fold"] == ALL_FOLDS)]
    for row in found.itertuples():
        said = cells[row.probe][row.stage]
        assert said.startswith(f"{100 * row.balanced_accuracy:.0f}\xa0%")
        assert f"({100 * row.low:.0f}\xa0to\xa0{100 * row.high:.0f})" in said


def test_other_methods_networks_and_colours_show_their_own_utterances(services):
    fold, before, *_ = embedding.other_method(services, None, "enrolment_attention", 3, "speaker")
    assert fold.value == 3 and "ravdess_15" in {trace.name for trace in before.data}
    before, after, *_ = embedding.other_view(services, None, "enrolment_attention", 3, "gender")
    assert [trace.name for trace in after.data] == ["Female", "Male"]
    fold, *_ = embedding.other_method(services, None, "enrolment_attention", 99, "emotion")
    assert fold.value == 0


def test_fresh_maps_take_the_place_of_those_that_ship(services, fresh):
    maps, about, method, fold, _, before, _, _, _, numbers = embedding.showing(fresh)
    assert maps is fresh and "Computed just now" in about and "<i>" not in about
    assert len(method.choices) == len(fold.choices) == 1 and not fold.interactive
    assert sum(len(trace.x) for trace in before.data) == 208
    assert "This network" not in numbers and "networks together" not in numbers


def test_what_cannot_be_estimated_is_said_and_never_zero(fresh):
    nothing = dict.fromkeys(("balanced_accuracy", "low", "high", "chance"), float("nan"))
    gone = fresh.probes["probe"] == "gender"
    probes = pd.concat([fresh.probes[~gone], fresh.probes[gone].assign(**nothing, n_utterances=0)])
    numbers = embedding.showing(dataclasses.replace(fresh, probes=probes))[-1]
    row = numbers.split('<th scope="row">gender</th>')[1].split("</tr>")[0]
    assert "not estimable" in row and "0" not in row


def test_both_tables_are_saved_whole(services):
    saved = pd.read_csv(embedding.save(services, "map", None), dtype={"text_id": str})
    assert len(saved) == len(demo_maps().points)
    saved = pd.read_csv(embedding.save(services, "probes", None))
    assert len(saved) == len(demo_maps().probes)


def test_without_the_files_the_page_says_so(services, monkeypatch, tmp_path):
    monkeypatch.setattr(embedding_view, "DEMO_POINTS", tmp_path / "none.csv.gz")
    demo_maps.cache_clear()
    try:
        said = embedding.fill(services, None)
    finally:
        demo_maps.cache_clear()
    assert "none.csv.gz" in said[1] and str(tmp_path) not in said[1] and not said[2].interactive

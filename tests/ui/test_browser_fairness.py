"""The tab Fairness as people use it, in a real browser."""

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect
from sklearn.metrics import balanced_accuracy_score, recall_score

from ser_core.evaluation.demo import DEMO
from tests.ui.person import barriers, choose, saved, settled, tab

VIEWS = ("Speakers", "Evenness", "Groups", "Confusion", "One speaker", "Embeddings", "Studies")


@pytest.fixture(scope="module")
def demo_table() -> pd.DataFrame:
    return pd.read_csv(DEMO / "predictions.csv.gz", dtype={"text_id": str})


def of(table: pd.DataFrame, method: str) -> list[pd.DataFrame]:
    """One table a seed."""
    return [part for _, part in table[table["method"] == method].groupby("seed")]


def uar(table: pd.DataFrame, method: str) -> float:
    return float(
        np.mean([balanced_accuracy_score(one["emotion"], one["predicted_emotion"]) for one in of(table, method)])
    )


def open_fairness(page: Page) -> None:
    tab(page, "Fairness")
    expect(page.locator("#fairness-tiles .tile")).to_have_count(5)
    settled(page)


def view(page: Page, name: str) -> None:
    page.locator("#fairness-views").get_by_role("tab", name=name, exact=True).click()
    settled(page)


def tile(page: Page, name: str):
    return page.locator("#fairness-tiles .tile").filter(has=page.get_by_role("heading", name=name, exact=True))


def choose_table(page: Page, file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("#fairness-table").click()
    chooser.value.set_files(file)


def test_the_demo_results_agree_with_scikit_learn_and_can_be_narrowed(page: Page, demo_table):
    open_fairness(page)
    for words, method in (("Baseline", "baseline"), ("Speaker reference", "speaker_reference")):
        expect(tile(page, words)).to_contain_text(f"{uar(demo_table, method):.3f}")
    expect(page.locator("#fairness-title")).to_contain_text("20 actors of RAVDESS")
    expect(page.locator("#fairness-title")).to_contain_text("speakers that were heard in training and tested: none")

    page.locator("#fairness-methods").get_by_text("Attention, neutral only").click()
    expect(page.locator("#fairness-tiles .tile")).to_have_count(4)
    page.locator("#fairness-filters button").first.click()
    choose(page, "fairness-sentence", "not enrolled")
    narrowed = demo_table[demo_table["sentence"] == "new"]
    expect(tile(page, "Speaker reference")).to_contain_text(f"{uar(narrowed, 'speaker_reference'):.3f}")
    settled(page)

    speakers = pd.read_csv(io.BytesIO(saved(page, "fairness-figure-speakers-csv")))
    one = speakers["speaker"].iloc[0]
    own = narrowed[narrowed["speaker"] == one]
    assert speakers["UAR baseline"].iloc[0] == pytest.approx(uar(own, "baseline"), abs=1e-5)
    assert speakers["UAR baseline"].is_monotonic_increasing and len(speakers) == 20


def test_groups_confusions_and_one_speaker_can_be_looked_at(page: Page, demo_table):
    open_fairness(page)
    view(page, "Groups")
    expect(page.locator("#fairness-gap")).to_contain_text("that chance reaches")
    groups = pd.read_csv(io.BytesIO(saved(page, "fairness-figure-recall-csv")))
    women = demo_table[demo_table["gender"] == "female"]
    row = groups[(groups["method"] == "speaker_reference") & (groups["group"] == "female")].iloc[0]
    anger = [
        recall_score(one["emotion"], one["predicted_emotion"], labels=["anger"], average="macro")
        for one in of(women, "speaker_reference")
    ]
    assert row["recall anger"] == pytest.approx(np.mean(anger), abs=1e-5) and row["speakers"] == 10

    view(page, "Confusion")
    choose(page, "fairness-group", "female")
    settled(page)
    confusion = pd.read_csv(io.BytesIO(saved(page, "fairness-figure-confusion-csv")))
    counted = pd.concat(of(women, "speaker_reference"))
    expected = ((counted["emotion"] == "fear") & (counted["predicted_emotion"] == "sadness")).sum() / 3
    assert confusion.set_index("spoken").loc["fear", "answered sadness"] == pytest.approx(expected, abs=1e-4)

    view(page, "Speakers")
    figure = page.locator("#fairness-figure-speakers")
    figure.scroll_into_view_if_needed()
    figure.locator(".scatterlayer .point").last.hover(force=True)
    figure.locator(".scatterlayer .point").last.click(force=True)
    expect(page.locator("#fairness-views").get_by_role("tab", name="One speaker")).to_have_attribute(
        "aria-selected", "true"
    )
    men = demo_table[demo_table["gender"] == "male"]  # drawn last, the best served by the baseline at the top
    best = pd.Series({name: uar(of_one, "baseline") for name, of_one in men.groupby("speaker")}).idxmax()
    expect(page.locator("#fairness-speaker input")).to_have_value(best)
    settled(page)
    rows = pd.read_csv(io.BytesIO(saved(page, "fairness-figure-speaker-csv")))
    assert set(rows["utterance_id"]) == set(demo_table.loc[demo_table["speaker"] == best, "utterance_id"])
    view(page, "One speaker")
    choose(page, "fairness-speaker", "ravdess_13")
    settled(page)
    rows = pd.read_csv(io.BytesIO(saved(page, "fairness-figure-speaker-csv")))
    assert len(rows) == 52 and {"emotion", "baseline", "speaker_reference"} <= set(rows.columns)


def test_everything_can_be_saved_and_the_report_opens_offline(page: Page, browser: Browser, tmp_path: Path, demo_table):
    open_fairness(page)
    assert saved(page, "fairness-figure-speakers-png").startswith(b"\x89PNG")
    drawn = saved(page, "fairness-figure-speakers-svg")
    assert ElementTree.fromstring(drawn).tag.endswith("svg") and b"url(&quot;http" not in drawn  # whole by itself
    assert b"plotly" in saved(page, "fairness-figure-speakers-html")
    report = json.loads(saved(page, "fairness-report-json"))
    assert report["models"]["speaker_reference"]["uar"] == pytest.approx(uar(demo_table, "speaker_reference"))
    assert len(report["comparisons"]) == 4 and report["leaks"]["speakers_on_both_sides"] == []
    again = pd.read_csv(io.BytesIO(saved(page, "fairness-report-predictions")))
    assert len(again) == len(demo_table) and "path" not in again

    written = tmp_path / "report.html"
    written.write_bytes(saved(page, "fairness-report-html"))
    asked: list[str] = []
    offline = browser.new_context(offline=True)
    opened = offline.new_page()
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(written.as_uri())
    opened.wait_for_selector(".js-plotly-plot .main-svg")
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    expect(opened.locator("body")).to_contain_text("Leak check")
    offline.close()


def test_a_corpus_is_evaluated_now_and_its_recordings_can_be_heard(page: Page, corpora: Path):
    open_fairness(page)
    page.get_by_role("tab", name="A corpus on this computer").click()
    choose(page, "fairness-layout", "any table")
    page.locator("#fairness-folder").locator("input, textarea").fill(str(corpora / "korean"))
    page.locator("#fairness-evaluate").click()
    expect(page.locator("#fairness-title")).to_contain_text("korean, recognised just now")
    expect(page.locator("#fairness-title")).to_contain_text("Leak check")
    settled(page)
    view(page, "One speaker")
    page.locator("#fairness-utterance input").click()
    page.locator("#fairness-utterance").get_by_role("option").first.click()
    expect(page.locator("#fairness-audio audio, #fairness-audio .waveform-container").first).to_be_attached()
    view(page, "Embeddings")
    expect(page.locator("#embedding-about")).to_contain_text("Computed just now: korean")


def test_an_evaluation_can_be_stopped(page: Page, corpora: Path):
    open_fairness(page)
    page.get_by_role("tab", name="A corpus on this computer").click()
    choose(page, "fairness-layout", "nemo")
    page.locator("#fairness-folder").locator("input, textarea").fill(str(corpora / "nemo"))
    page.locator("#fairness-evaluate").click()
    expect(page.get_by_text(re.compile(r"listening: \d+ of 3402")).first).to_be_visible()
    page.locator("#fairness-stop").click()
    expect(page.get_by_text(re.compile("what was heard so far is kept")).first).to_be_visible()
    expect(page.locator("#fairness-title")).to_contain_text("Demo results")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("speaker,predicted_emotion\na,anger\n", "lacks the columns emotion"),
        ("speaker,emotion,predicted_emotion\na,contempt,anger\n", "'contempt' is not an emotion known here"),
        ("speaker,emotion,p_anger,p_fear\na,anger,0.9,\na,fear,0.5,0.5\n", "a probability that is no number"),
    ],
    ids=["a missing column", "an unknown label", "a probability that is not there"],
)
def test_a_table_that_cannot_be_evaluated_is_explained_and_nothing_is_lost(page: Page, tmp_path, content, words):
    (tmp_path / "mine.csv").write_text(content)
    open_fairness(page)
    page.get_by_role("tab", name="A table of predictions").click()
    choose_table(page, tmp_path / "mine.csv")
    expect(page.get_by_text(words).first).to_be_visible()
    expect(page.locator("#fairness-table")).to_be_enabled()  # for the mended one
    expect(page.locator("#fairness-title")).to_contain_text("Demo results")


def test_a_table_with_markup_and_formulas_in_its_names_does_no_harm(page: Page, tmp_path: Path):
    names = ["<img src=x onerror=alert(1)>", "=HYPERLINK(1)", "@c", "d"]
    emotions = ["anger", "fear", "anger", "fear"]
    rows = [f'"{name}",{emotion},anger,{i}{j}' for i, name in enumerate(names) for j, emotion in enumerate(emotions)]
    (tmp_path / "mine.csv").write_text("speaker,emotion,predicted_emotion,utterance_id\n" + "\n".join(rows))
    open_fairness(page)
    page.on("dialog", lambda dialog: pytest.fail(f"the page ran what stood in a name: {dialog.message}"))
    page.get_by_role("tab", name="A table of predictions").click()
    choose_table(page, tmp_path / "mine.csv")
    expect(page.locator("#fairness-title")).to_contain_text("Predictions of mine.csv")
    expect(page.locator("#fairness-title")).to_contain_text("Leaks: not known")
    settled(page)
    assert page.locator("#fairness-views img[src=x], #fairness-tiles img").count() == 0
    cells = pd.read_csv(io.BytesIO(saved(page, "fairness-figure-speakers-csv")))["speaker"]
    assert not cells.str.startswith(("=", "+", "-", "@")).any()
    view(page, "Groups")
    expect(page.locator("#fairness-gap")).to_contain_text("names no groups")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_the_tab_is_accessible_and_no_wider_than_the_window(browser: Browser, app, width: int, scheme: str):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{app.url}/?__theme={scheme}")
    open_fairness(page)
    assert barriers(page) == []
    views = page.locator("#fairness-views").get_by_role("tab")
    for place in range(views.count()):
        if views.nth(place).is_visible():
            views.nth(place).click()
            settled(page)
            assert barriers(page) == [], views.nth(place).inner_text()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()

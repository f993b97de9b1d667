"""The tab Train as people use it, in a real browser, on real speech."""

import io
import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from person import ask, barriers, choose, saved, settled, tab
from playwright.sync_api import Browser, Page, expect

SPEAKERS = ("ravdess_18", "ravdess_19", "ravdess_21", "ravdess_22")
"""Whom the compact encoder has not heard."""
LONG_MS = 300_000
"""For what a run takes on a computer that is busy with something else."""


@pytest.fixture(scope="module")
def small_corpus(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 120 real utterances: one sentence by four actors."""
    table = pd.read_csv(corpora / "ravdess" / "metadata.csv", dtype=str)
    table = table[table["speaker"].isin(SPEAKERS) & (table["text_id"] == "01")]
    folder = tmp_path_factory.mktemp("small")
    table.assign(path=[str(corpora / "ravdess" / path) for path in table["path"]]).to_csv(folder / "metadata.csv")
    return folder


def open_train(page: Page, view: str) -> None:
    tab(page, "Train")
    wanted = page.locator("#train-views").get_by_role("tab", name=view, exact=True)
    wanted.click()
    settled(page)
    if wanted.get_attribute("aria-selected") != "true":  # a page that has just come shows its runs, where there are any
        wanted.click()
        settled(page)


def fill(page: Page, field: str, words: str) -> None:
    page.locator(f"#train-{field}").locator("input, textarea").fill(words)


def n_epochs(page: Page) -> int:
    """How many epochs the curves on the page show."""
    return page.locator("#train-figure-losses .scatterlayer .point").count()


def test_a_run_is_started_watched_stopped_resumed_finished_looked_at_and_used(page: Page, app, small_corpus, utterance):
    open_train(page, "A new run")
    choose(page, "train-layout", "any table")
    fill(page, "folder", str(small_corpus))
    fill(page, "epochs", "150")
    page.locator("#train-check").click()
    expect(page.locator("#train-checked")).to_contain_text("speakers on two sides: none")
    expect(page.locator("#train-checked")).to_contain_text("of memory")
    page.locator("#train-start").click()
    expect(page.locator("#train-state")).to_contain_text("Running")
    expect(page.locator("#train-progress")).to_contain_text(re.compile(r"epoch \d+ of 150"), timeout=LONG_MS)
    expect(page.locator("#train-figure-losses .scatterlayer .point").first).to_be_attached()
    before = n_epochs(page)
    page.wait_for_function(
        f"document.querySelectorAll('#train-figure-losses .scatterlayer .point').length > {before}"
    )  # the curve moves

    page.reload()
    tab(page, "Train")
    expect(page.locator("#train-state")).to_contain_text("Running")
    name = page.locator("#train-run input").input_value().split(" ")[0]
    page.locator("#train-stop").click()
    expect(page.locator("#train-state")).to_contain_text("Stopped")
    page.locator("#train-resume").click()
    expect(page.locator("#train-state")).to_contain_text("Finished", timeout=LONG_MS)
    expect(page.locator("#train-results tbody tr")).to_have_count(2)
    curves = pd.read_csv(io.BytesIO(saved(page, "train-curves-csv")))
    assert curves.groupby("method").size().to_dict() == {"baseline": 150, "speaker_reference": 150}
    predictions = pd.read_csv(io.BytesIO(saved(page, "train-predictions-csv")))
    archive = zipfile.ZipFile(io.BytesIO(saved(page, "train-model-zip")))
    assert f"{name}/model.json" in archive.namelist() and archive.testzip() is None

    page.locator("#train-report").click()
    expect(page.locator("#fairness-title")).to_contain_text(f"Test speakers of the run {name}")
    expect(page.locator("#fairness-tiles .tile")).to_have_count(predictions["method"].nunique())
    settled(page)

    tab(page, "Train")
    fill(page, "model-name", "mine")
    page.locator("#train-use").click()
    expect(page.locator("#train-used")).to_contain_text("mine")
    tab(page, "Compare")
    choose(page, "compare-model", "mine")
    ask(page, utterance("anger"))
    expect(page.locator("#compare-status")).to_contain_text("by mine")

    tab(page, "Train")
    choose(page, "train-trained", "mine")
    page.locator("#train-forget").click()
    expect(page.locator("#train-used")).to_contain_text("taken off the list")
    page.locator("#train-delete").click()
    expect(page.locator("#train-bring-back")).to_contain_text(name)
    page.locator("#train-bring-back").click()
    expect(page.locator("#train-state")).to_contain_text("Finished")
    assert (app.workspace / "runs" / name / "report.json").is_file()


def test_what_cannot_be_started_is_explained_and_nothing_is_written(page: Page, app, small_corpus):
    runs = set((app.workspace / "runs").glob("*"))
    open_train(page, "A new run")
    page.locator("#train-start").click()
    expect(page.locator("#train-checked [role=alert]")).to_contain_text("Say where the corpus is")
    choose(page, "train-layout", "any table")
    fill(page, "folder", str(small_corpus))
    page.locator("#train-more button").first.click()
    fill(page, "settings", "training.epoch=3")
    page.locator("#train-start").click()
    expect(page.locator("#train-checked [role=alert]")).to_contain_text("unknown key 'epoch'")
    assert set((app.workspace / "runs").glob("*")) == runs


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_the_tab_is_accessible_and_no_wider_than_the_window(browser: Browser, app, width: int, scheme: str):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{app.url}/?__theme={scheme}")
    for view in ("A new run", "Runs"):
        open_train(page, view)
        assert barriers(page) == [], view
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()

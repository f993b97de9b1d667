"""What the tab Train shows and does, without a browser."""

import json
import zipfile
from argparse import ArgumentParser
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import gradio as gr
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from ser_core.commands.train import add_arguments
from ser_core.encoders import ENCODERS
from ser_core.methods import METHODS
from ser_core.recipe import TUNES_OF_SPEECH, BadRecipe, read_recipe, recipe_names
from ser_core.training.jobs import CannotDo, read_job
from ser_core.training.status import StateName
from ser_core.ui import runs, runs_shown, train
from ser_core.ui.runs_shown import watched
from ser_core.ui.services import Services
from ser_core.ui.test_sets import MANIFEST, NoFolder
from ser_core.workspace import open_workspace


@pytest.fixture
def services(tmp_path: Path, tiny_model: Path) -> Services:
    return Services(open_workspace(tmp_path / "workspace"), str(tiny_model))


def form(**changes) -> train.Form:
    """The form as it stands when the page comes, with a folder filled in."""
    recipe = read_recipe(train.FIRST)
    untouched = train.Form(
        recipe=train.FIRST, layout="ravdess", folder="/data/ravdess", target_layout="emodb", target_folder="", unlabelled_layout="nemo", unlabelled_folder="", encoder="", source="", emotions="app", tune=recipe.encoder.tune,
        encoder_rate=recipe.encoder.learning_rate, epochs=recipe.training.epochs, batch_size=recipe.training.batch_size,
        learning_rate=recipe.training.learning_rate, patience=recipe.training.patience, test_share=recipe.data.test_share,
        seed=0, further="", more="", device="auto", threads=0, tensorboard=False,
    )  # fmt: skip
    return replace(untouched, **changes)


def write_run(services: Services, name: str, state: str, n_epochs: int = 0, **status) -> Path:
    """A run folder as the trainer leaves it."""
    folder = services.workspace.runs / name
    folder.mkdir(parents=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    order = {"recipe": "smoke", "corpora": ["ravdess=/data/ravdess"], "settings": ["training.epochs=9"]}
    (folder / "order.json").write_text(json.dumps({"order": order, "created": now}))
    (folder / "status.json").write_text(json.dumps({"state": state, "created": now, "heartbeat": now, **status}))
    add_epochs(folder, n_epochs)
    return folder


def add_epochs(folder: Path, n: int) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        for epoch in range(1, n + 1):
            line = {
                "method": "baseline",
                "stage": "finetune",
                "epoch": epoch,
                "emotion": 2 / epoch,
                "dev_uar": 0.1 * epoch,
            }
            file.write(json.dumps(line) + "\n")


def table_in(shown: str) -> pd.DataFrame:
    """The table on the page, as text."""
    table = ElementTree.fromstring(shown[shown.index("<table") : shown.index("</table>") + len("</table>")])
    heads, *rows = ([cell.text for cell in row] for row in table.iter("tr"))
    return pd.DataFrame(rows, columns=heads)


def words_of(services: Services, name: str) -> str:
    return runs_shown.state_in_words(watched(services, name).job)


# the form


def test_the_form_offers_every_encoder_and_every_way_to_tune():
    assert set(train.ENCODERS) - {""} == set(ENCODERS)
    assert set(train.TUNES) == set(TUNES_OF_SPEECH)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_that_is_chosen_says_what_it_does_and_fills_the_form_so_that_nothing_is_changed(services, name):
    about, _, tune, _, epochs, batch_size, learning_rate, patience, test_share, emotions, adapts, pretrains, _ = (
        train.choose_recipe(services, name)
    )
    recipe = read_recipe(name)
    assert adapts.visible == bool(recipe.data.target) and pretrains.visible == METHODS[recipe.method].learns_unlabelled
    assert emotions in train.CLASSES
    assert recipe.about in about and recipe.paper in about
    chosen = form(recipe=name, tune=tune, encoder_rate=recipe.encoder.learning_rate, epochs=epochs, batch_size=batch_size,
                  learning_rate=learning_rate, patience=patience, test_share=test_share, emotions=recipe.data.emotions,
                  target_folder="/data/emodb")  # fmt: skip
    assert train.order_of(chosen).settings == () and train.order_of(chosen).resolved() == recipe


def test_a_recipe_that_adapts_asks_for_a_second_corpus_and_names_it_last():
    with pytest.raises(NoFolder, match="adapted to"):
        train.order_of(form(recipe="cfa"))
    order = train.order_of(
        form(recipe="cfa", emotions="shared", target_folder="/data/emodb", further="nemo=/data/nemo")
    )
    assert order.corpora == ("ravdess=/data/ravdess", "nemo=/data/nemo", "emodb=/data/emodb")
    assert train.order_of(form(target_folder="/data/emodb")).corpora == ("ravdess=/data/ravdess",)


def test_a_corpus_nobody_labelled_is_named_for_recipes_that_learn_without_labels_alone():
    asked = {"unlabelled_layout": "nemo", "unlabelled_folder": "/data/nemo"}
    order = train.order_of(form(recipe="cluster_contrastive", **asked))
    assert order.corpora == ("ravdess=/data/ravdess", "nemo=/data/nemo")
    assert order.resolved().data.unlabelled == ("nemo",)
    assert train.order_of(form(**asked)).corpora == ("ravdess=/data/ravdess",)
    assert train.order_of(form(recipe="cluster_contrastive")).resolved().data.unlabelled == ()


def test_what_is_changed_becomes_the_very_command_that_one_would_type():
    order = train.order_of(
        form(
            tune="lora", encoder_rate=3e-5, epochs=3, learning_rate=1e-05, seed=7, threads=1, encoder="whisper",
            source="/my weights", further="emodb=/data/emodb\n\n", more=" encoder.lora_rank=4 \n", tensorboard=True,
        )
    )  # fmt: skip
    parser = ArgumentParser()
    add_arguments(parser)
    typed = parser.parse_args(order.arguments(Path("/out"))[1:])
    assert typed.recipe == "smoke" and typed.corpus == ["ravdess=/data/ravdess", "emodb=/data/emodb"]
    assert (typed.seed, typed.threads, typed.tensorboard, typed.encoder) == (7, 1, True, "whisper=/my weights")
    recipe = read_recipe(typed.recipe).changed(typed.set)
    assert (recipe.encoder.tune, recipe.encoder.lora_rank, recipe.encoder.learning_rate) == ("lora", 4, 3e-5)
    assert (recipe.training.epochs, recipe.training.learning_rate) == (3, 1e-5)
    assert recipe.training.batch_size == read_recipe("smoke").training.batch_size


def test_a_field_that_was_emptied_is_as_in_the_recipe_and_a_frozen_encoder_has_no_learning_rate():
    assert train.order_of(form(epochs=None, seed=None, threads=None, encoder_rate=0.5)).settings == ()


def test_a_folder_for_the_weights_goes_with_the_recipes_own_encoder():
    assert train.order_of(form(source="/weights")).encoder == "compact=/weights"


@pytest.mark.parametrize(
    ("layout", "folder", "named"),
    [
        ("emodb", ' "/data/my emodb" ', "emodb=/data/my emodb"),
        (MANIFEST, "/data/mine.csv", "mine=/data/mine.csv"),
    ],
)
def test_a_corpus_is_named_as_on_the_command_line(layout, folder, named):
    assert train.corpus_of(layout, folder) == named


def test_a_corpus_without_a_place_is_asked_for():
    with pytest.raises(NoFolder, match="say where the corpus is"):
        train.order_of(form(folder="  "))


def test_what_is_wrong_is_said_beside_the_buttons_and_nothing_is_written(services, tmp_path):
    filled = form(folder=str(tmp_path / "<b>nowhere</b>"))
    values = [getattr(filled, name) for name in train._FIELDS]
    said, *others = train.start(services, *values)
    assert 'role="alert"' in said and "check the path" in said and "<b>" not in said
    assert len(others) == 1 + runs.N_OUTPUTS and not services.workspace.runs.exists()
    assert "unknown key" in train.check(
        services, *[{**vars(filled), "more": "training.lr=1"}[name] for name in train._FIELDS]
    )


def test_a_check_counts_speakers_genders_and_emotions_of_each_role(services, synthetic_corpus, tmp_path):
    table = synthetic_corpus.table
    table.reset_index().to_csv(tmp_path / "buzz.csv", index=False)
    filled = form(layout=MANIFEST, folder=str(tmp_path / "buzz.csv"))
    said = train.check(services, *[getattr(filled, name) for name in train._FIELDS])
    shown = table_in(said).set_index("Used for").astype(int)
    assert shown["speakers"].sum() == table["speaker"].nunique() and shown["utterances"].sum() == len(table)
    for emotion, n in table["emotion"].value_counts().items():
        assert shown[emotion].sum() == n
    assert shown[["female", "male"]].sum().to_dict() == table.groupby("gender")["speaker"].nunique().to_dict()
    assert "Leak check" in said and "of memory" in said


# runs


def test_every_state_has_a_word_and_says_what_to_do():
    assert set(runs_shown.STATES) == set(runs_shown._MEANS) == set(get_args(StateName))


def test_without_a_run_the_page_says_how_to_begin(services):
    page = runs.open_page(services)
    assert len(page) == runs.N_OUTPUTS
    assert "press Start" in page[0] and not watched(services).is_moving


def test_a_failed_run_shows_its_reason_and_the_last_50_lines_of_its_log(services):
    folder = write_run(services, "2026-01-01_a_1", "failed", error="the disk is <full>")
    (folder / "log.txt").write_text("\n".join(f"line {n} <x>" for n in range(80)))
    said = words_of(services, folder.name)
    assert "The disk is &lt;full&gt;." in said and "line 30 &lt;x&gt;" in said and "line 29 " not in said
    assert watched(services).job.can_resume


def test_a_run_whose_process_is_gone_is_lost_and_can_be_resumed(services):
    folder = write_run(services, "2026-01-01_a_1", "running", words="epoch 2 of 9", share=0.25)
    said = words_of(services, folder.name)
    assert "Lost" in said and "Resume goes on" in said
    assert runs_shown.progress_in_words(read_job(folder)) == ""


def test_a_run_that_goes_on_says_what_it_does_how_far_it_is_and_how_long_it_takes(services):
    folder = write_run(services, "2026-01-01_a_1", "running", words="epoch 2 of 9", share=0.25, eta_s=34.0)
    with FileLock(folder / "lock"):
        now = watched(services)
        said = runs_shown.progress_in_words(now.job)
        assert now.is_moving and "Running" in runs_shown.state_in_words(now.job)
        with pytest.raises(CannotDo, match="stop it first"):
            runs.delete(services, folder.name)
    assert 'value="0.2500"' in said and "Epoch 2 of 9." in said and "About 34 s to go" in said
    assert folder.is_dir()


def test_the_run_that_goes_on_is_shown_before_newer_ones_that_are_over(services):
    going_on = write_run(services, "2026-01-01_a_1", "running")
    write_run(services, "2026-01-02_b_2", "finished")
    with FileLock(going_on / "lock"):
        assert watched(services).job.name == "2026-01-01_a_1"
    assert watched(services, "gone").job.name == "2026-01-02_b_2"


def test_a_tick_of_the_clock_changes_only_what_has_changed(services):
    folder = write_run(services, "2026-01-01_a_1", "stopped", n_epochs=2)
    *_, seen = runs.open_page(services, folder.name)
    assert all(is_left_alone(one) for one in runs.look_again(services, seen, folder.name))
    add_epochs(folder, 1)
    again = runs.look_again(services, seen, folder.name)
    assert "Stopped" in runs.open_page(services, folder.name)[3] and is_left_alone(again[3])
    assert len(again[5].data[0].x) == len(again[6].data[0].x) == 3
    assert runs.look_again(services, (), folder.name)[-1] == again[-1]


def is_left_alone(update: object) -> bool:
    return isinstance(update, dict) and update == gr.skip()


def test_runs_side_by_side_are_in_one_figure_and_one_table(services):
    first, second = (write_run(services, f"2026-01-0{n}_a_{n}", "stopped", n_epochs=n + 1) for n in (1, 2))
    page = runs.open_page(services, first.name, [second.name, "gone"])
    assert {trace.name for trace in page[5].data if trace.showlegend} == {"a_1: Baseline", "a_2: Baseline"}
    results = table_in(page[9])
    assert results["Run"].tolist() == ["a_1", "a_2"] and results["Epochs"].tolist() == ["2", "3"]
    assert results["Best dev UAR"].tolist() == ["0.200 (epoch 2)", "0.300 (epoch 3)"]
    saved = pd.read_csv(runs.save_curves(services, first.name, [second.name]))
    assert saved.groupby("run")["emotion"].last().round(3).to_dict() == {first.name: 1.0, second.name: 0.667}


def test_results_of_a_finished_run_are_those_of_its_report_and_what_cannot_be_known_is_said(services):
    folder = write_run(services, "2026-01-01_a_1", "finished", n_epochs=2)
    model = {"uar": 0.5, "uar_interval": [None, None], "speaker_spread": {"min": 0.25}, "excess_gini": None}
    (folder / "report.json").write_text(json.dumps({"models": {"baseline": model}}))
    row = table_in(runs_shown.results_table([read_job(folder)])).iloc[0]
    assert (row["Test UAR"], row["Worst-served speaker"], row["Excess Gini"]) == ("0.500", "0.250", "not estimable")


def test_a_deleted_run_can_be_brought_back_until_the_next_one_is_deleted(services):
    first, second = (write_run(services, f"2026-01-0{n}_a_{n}", "finished", n_epochs=n) for n in (1, 2))
    runs.delete(services, second.name)
    assert watched(services).job.name == first.name
    runs.bring_back(services, first.name)
    assert len(read_job(second).history()) == 2
    runs.delete(services, second.name)
    runs.delete(services, first.name)
    runs.bring_back(services, "")
    assert [job.name for job in watched(services).listed] == [first.name]
    assert not list(services.workspace.runs.glob(".deleted-*"))


def test_files_of_a_finished_run_can_be_taken_along(services):
    folder = write_run(services, "2026-01-01_a_1", "finished")
    with pytest.raises(runs.NotThere, match="when the run has finished"):
        runs.save_model(services, folder.name)
    with pytest.raises(runs.NotThere, match="when the run has finished"):
        runs.save_predictions(services, folder.name)
    (folder / "checkpoint" / "baseline").mkdir(parents=True)
    (folder / "checkpoint" / "model.json").write_text("{}")
    (folder / "checkpoint" / "baseline" / "weights.safetensors").write_bytes(b"weights")
    with zipfile.ZipFile(runs.save_model(services, folder.name)) as archive:
        assert set(archive.namelist()) == {f"{folder.name}/model.json", f"{folder.name}/baseline/weights.safetensors"}


def test_a_runs_predictions_are_looked_at_with_the_leak_verdict_of_its_report(services):
    folder = write_run(services, "2026-01-01_a_1", "finished")
    with pytest.raises(runs.NotThere, match="when the run has finished"):
        runs.as_test_set(read_job(folder))
    said = np.tile(["anger", "fear"], 4)
    table = pd.DataFrame({"utterance_id": [f"u{n}" for n in range(8)], "speaker": "a", "emotion": said,
                          "predicted_emotion": "anger", "method": "baseline", "seed": 0})  # fmt: skip
    table.to_csv(folder / "predictions.csv", index=False)
    (folder / "report.json").write_text(json.dumps({"models": {}, "leaks": {"speakers_on_both_sides": []}}))
    shown = runs.show_report(services, folder.name)
    assert shown[1].leaks == {"speakers_on_both_sides": []} and folder.name in shown[1].title
    assert len(shown[1].table) == 8


def test_the_command_of_a_stopped_run_goes_on_with_it(services):
    folder = write_run(services, "2026-01-01_a_1", "stopped")
    typed = runs_shown.command_of(read_job(folder))
    assert typed.startswith("python -m ser_core train smoke --corpus ravdess=/data/ravdess") and " --resume" in typed


def test_a_setting_that_cannot_be_is_refused_in_the_recipes_own_words():
    with pytest.raises(BadRecipe, match="'batch_size' is 0"):
        train.order_of(form(batch_size=0)).resolved()

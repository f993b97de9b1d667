"""A run folder: what it holds, that it can be stopped, killed and resumed, and what is refused before anything is written."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ser_core.data.manifest import BadCorpus, LeakingSplit
from ser_core.inference.models import read_model
from ser_core.inference.recogniser import Recogniser
from ser_core.methods.checkpoint import load_method
from ser_core.recipe import BadRecipe, Recipe, TrainingSettings, read_recipe
from ser_core.training.preparation import prepare
from ser_core.training.run import AnotherRun, Asked, FolderInUse, train
from ser_core.training.states import DamagedState
from ser_core.training.status import read_status

CPU = Asked(device="cpu")


@pytest.fixture
def recipe(encoder_folder) -> Recipe:
    """Speaker reference with the baseline beside it, small."""
    small = replace(read_recipe("smoke"), settings={"embedding": 16, "hidden": 16})
    training = TrainingSettings(epochs=3, batch_size=16, learning_rate=1e-3)
    return replace(small, training=training).with_encoder("compact", str(encoder_folder))


@pytest.fixture
def go(synthetic_corpus, workspace, tmp_path):
    """Train into tmp_path / name."""

    def run(recipe: Recipe, name: str = "run", asked: Asked = CPU, should_stop=lambda: False, corpus=None) -> bool:
        corpus = corpus or synthetic_corpus
        return train(recipe, corpus, tmp_path / name, workspace, asked, lambda line: None, should_stop)

    return run


def _after(n: int):
    """Asks to stop at the n-th question."""
    asked = []

    def should_stop() -> bool:
        asked.append(None)
        return len(asked) > n

    return should_stop


def _json(path) -> dict:
    return json.loads(path.read_text())


def test_a_run_folder_holds_what_was_asked_what_happened_and_what_came_of_it(go, recipe, tmp_path):
    assert go(recipe, asked=replace(CPU, seed=3))
    folder = tmp_path / "run"
    asked = _json(folder / "recipe.json")
    assert asked["seed"] == 3 and asked["method"] == "speaker_reference" and asked["training"]["epochs"] == 3
    assert read_status(folder).state == "finished"
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(record["method"], record["epoch"]) for record in records] == [
        (method, epoch) for method in ("speaker_reference", "baseline") for epoch in (1, 2, 3)
    ]
    predictions, report = pd.read_csv(folder / "predictions.csv"), _json(folder / "report.json")
    assert set(predictions["speaker"]) == set(asked["test_speakers"]) and set(report["models"]) == {
        "speaker_reference",
        "baseline",
    }
    assert (folder / "report.html").is_file() and (folder / "checkpoint" / "README.md").is_file()


def test_the_predictions_are_those_of_the_model_that_is_kept(go, recipe, tmp_path, workspace, synthetic_corpus):
    from ser_core.inference.test_set import evaluate_models

    go(recipe)
    recogniser = Recogniser(workspace, str(tmp_path / "run" / "checkpoint"), "cpu")
    again = evaluate_models([recogniser], synthetic_corpus, workspace).predictions
    before = pd.read_csv(tmp_path / "run" / "predictions.csv")
    both = before.merge(again, on=["utterance_id", "method"], suffixes=("", "_again"))
    assert len(both) == len(before) == len(again)
    np.testing.assert_allclose(both["p_anger"], both["p_anger_again"], atol=2e-5)


def test_nobody_who_is_tested_trains_or_chooses(go, recipe, tmp_path):
    go(recipe)
    asked = _json(tmp_path / "run" / "recipe.json")
    roles = [set(asked[f"{role}_speakers"]) for role in ("train", "dev", "test")]
    assert all(roles) and len(set.union(*roles)) == sum(map(len, roles))
    assert read_model(tmp_path / "run" / "checkpoint").heard_speakers == roles[0] | roles[1]


@pytest.mark.parametrize("n", [10, 12, 16, 24, 27])
def test_a_stopped_run_goes_on_to_exactly_the_same_result(go, recipe, tmp_path, n):
    go(recipe, "whole")
    assert not go(recipe, "parts", should_stop=_after(n))
    assert read_status(tmp_path / "parts").state == "stopped"
    before = (tmp_path / "parts" / "metrics.jsonl").read_text()
    assert before
    assert go(recipe, "parts", replace(CPU, resume=True))
    assert (
        (tmp_path / "parts" / "metrics.jsonl").read_text().startswith(before)
    )  # with the same seconds: not trained again
    whole, parts = (_json(tmp_path / name / "report.json")["models"] for name in ("whole", "parts"))
    assert whole == parts
    for method in ("speaker_reference", "baseline"):
        first, second = (
            load_method(tmp_path / name / "checkpoint" / method).state_dict() for name in ("whole", "parts")
        )
        assert all(torch.equal(value, second[key]) for key, value in first.items())
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "parts")]
    assert len(lines[0]) == len(lines[1])


def test_where_nothing_was_saved_resume_starts_afresh_and_a_finished_run_stays(go, recipe, tmp_path):
    assert go(recipe, asked=replace(CPU, resume=True))
    written = (tmp_path / "run" / "report.json").stat().st_mtime_ns
    assert go(recipe, asked=replace(CPU, resume=True))
    assert (tmp_path / "run" / "report.json").stat().st_mtime_ns == written


def test_another_seed_recipe_or_corpus_is_not_taken_for_the_same_run(go, recipe, synthetic_corpus):
    go(recipe, should_stop=_after(5))
    again = replace(CPU, resume=True)
    with pytest.raises(AnotherRun, match="seed is 0 there and 1 here"):
        go(recipe, asked=replace(again, seed=1))
    with pytest.raises(AnotherRun, match="training.epochs is 3 there and 4 here"):
        go(recipe.changed(["training.epochs=4"]), asked=again)
    with pytest.raises(AnotherRun, match="corpus is"):
        go(recipe, asked=again, corpus=synthetic_corpus.only(synthetic_corpus.table["speaker"] != "synthetic_0"))


def test_a_folder_that_holds_something_is_left_alone(go, recipe, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    for asked in (CPU, replace(CPU, resume=True)):
        with pytest.raises(FolderInUse):
            go(recipe, asked=asked)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_a_damaged_state_is_passed_over_and_if_all_are_damaged_it_is_said(go, recipe, tmp_path):
    go(recipe, "whole")
    go(recipe, should_stop=_after(10))
    states = sorted((tmp_path / "run" / "state" / "speaker_reference").glob("step-*"))
    assert len(states) == 2
    (states[-1] / "state.safetensors").write_bytes(b"half of it")
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "run", copy)
    assert go(recipe, asked=replace(CPU, resume=True))
    assert _json(tmp_path / "run" / "report.json")["models"] == _json(tmp_path / "whole" / "report.json")["models"]
    for state in (copy / "state" / "speaker_reference").glob("step-*"):
        (state / "state.json").write_text("{")
    before = sorted(path.name for path in copy.rglob("*"))
    with pytest.raises(DamagedState, match="damaged"):
        go(recipe, "copy", replace(CPU, resume=True))
    assert sorted(path.name for path in copy.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ("training.epochs=0", BadRecipe, "'epochs' is 0"),
        ("training.learning_rate=0", BadRecipe, "more than 0"),
        ("training.warmup=2.0", BadRecipe, "at most 1"),
        ("training.schedule=stairs", BadRecipe, "one of cosine, linear, constant"),
        ("training.epoch=3", BadRecipe, "unknown key 'epoch'"),
        ("settings.heads=3", BadRecipe, "unknown key 'heads'"),
        ("settings.dropout=2.0", BadRecipe, "at most 0.95"),
        ("settings.hidden=-3", BadRecipe, "at least 1"),
        ("settings.batches=nope", BadRecipe, "'nope'"),
        ("encoder.tune=some", BadRecipe, "one of none, last, lora, all"),
        ("encoder.tune=lora", BadRecipe, "takes no LoRA"),
        ("encoder.layers=[9]", BadRecipe, "layers 0 to 2"),
        ("data.test_share=0.9", BadRecipe, "at most 0.8"),
        ("epochs=3", BadRecipe, "training.epochs=5"),
    ],
)  # fmt: skip
def test_an_impossible_setting_is_named_before_anything_is_written(go, recipe, tmp_path, change, error, words):
    with pytest.raises(error, match=words):
        go(recipe.changed([change]))
    assert not (tmp_path / "run").exists()


def _with_split(corpus, of_speaker):
    return replace(corpus, table=corpus.table.assign(split=corpus.table["speaker"].map(of_speaker)))


def test_a_manifest_that_names_no_dev_speakers_or_one_speaker_twice_is_refused(go, recipe, tmp_path, synthetic_corpus):
    no_dev = _with_split(synthetic_corpus, lambda one: "test" if one == "synthetic_7" else "train")
    with pytest.raises(BadCorpus, match="no dev speakers"):
        go(recipe, corpus=no_dev)
    odd = _with_split(synthetic_corpus, lambda one: "holdout")
    with pytest.raises(BadCorpus, match="'holdout' is not one of"):
        go(recipe, corpus=odd)
    table = synthetic_corpus.table.assign(split=["train", "dev", "test", "train"] * 32)
    with pytest.raises(LeakingSplit, match="two splits"):
        go(recipe, corpus=replace(synthetic_corpus, table=table))
    assert not (tmp_path / "run").exists()


def test_the_manifests_own_split_decides_who_does_what(recipe, workspace, synthetic_corpus):
    words = {"synthetic_0": "Test1", "synthetic_1": "Development", "synthetic_2": None}
    prepared = prepare(recipe, _with_split(synthetic_corpus, lambda one: words.get(one, "Train")), workspace)
    assert prepared.test == ("synthetic_0",) and prepared.dev == ("synthetic_1",)
    assert prepared.train == tuple(f"synthetic_{one}" for one in range(3, 8))


def test_a_class_with_one_utterance_is_refused(go, recipe, tmp_path, synthetic_corpus, workspace):
    train_speaker = prepare(recipe, synthetic_corpus, workspace).train[0]
    emotion = synthetic_corpus.table["emotion"].copy()
    emotion[emotion == "anger"] = "other"
    emotion.iloc[(synthetic_corpus.table["speaker"] == train_speaker).to_numpy().nonzero()[0][0]] = "anger"
    rare = replace(synthetic_corpus, table=synthetic_corpus.table.assign(emotion=emotion))
    with pytest.raises(BadCorpus, match="1 utterances of 'anger'"):
        go(recipe, corpus=rare)
    assert not (tmp_path / "run").exists()


def test_a_run_that_fails_says_why_and_can_be_resumed(go, recipe, tmp_path, monkeypatch):
    from ser_core.training import states

    go(recipe, "whole")
    full, write = OSError(28, "No space left on device"), states.save_file
    calls = []

    def no_room(*arguments):
        calls.append(None)
        if len(calls) > 2:
            raise full
        write(*arguments)

    monkeypatch.setattr(states, "save_file", no_room)
    with pytest.raises(OSError, match="No space left"):
        go(recipe)
    status = read_status(tmp_path / "run")
    assert status.state == "failed" and "disk is full" in status.error
    assert not list((tmp_path / "run" / "state" / "speaker_reference").glob(".tmp*"))
    monkeypatch.undo()
    assert go(recipe, asked=replace(CPU, resume=True))
    assert _json(tmp_path / "run" / "report.json")["models"] == _json(tmp_path / "whole" / "report.json")["models"]


def test_a_batch_worked_through_in_parts_comes_to_the_same_result(go, recipe, tmp_path):
    go(recipe, "whole")
    go(recipe.changed(["training.accumulate=3"]), "parts")
    whole, parts = (pd.read_csv(tmp_path / name / "predictions.csv") for name in ("whole", "parts"))
    p = [name for name in whole if name.startswith("p_")]
    np.testing.assert_allclose(whole[p], parts[p], atol=1e-4)


def test_a_loss_that_is_no_number_ends_the_run_with_advice_and_its_log_is_kept(go, recipe, tmp_path, monkeypatch):
    from ser_core.methods import baseline
    from ser_core.training.jobs import read_job
    from ser_core.training.trainer import TrainingDiverged

    monkeypatch.setattr(baseline, "emotion_loss", lambda logits, *_: logits.sum() * float("nan"))
    with pytest.raises(TrainingDiverged):
        go(recipe)
    job = read_job(tmp_path / "run")
    assert job.state == "failed" and "lower the learning rate" in job.error and not job.can_use


def test_a_finished_run_can_be_deleted_and_brought_back(go, recipe, workspace, synthetic_corpus):
    from ser_core.training import jobs

    folder = workspace.runs / "one"
    train(recipe, synthetic_corpus, folder, workspace, CPU, lambda line: None)
    hidden = jobs.delete_job(jobs.find_job("one", workspace))
    assert jobs.list_jobs(workspace) == []
    assert jobs.restore_job(hidden).state == "finished" and jobs.list_jobs(workspace)[0].name == "one"
    jobs.delete_job(jobs.find_job("one", workspace))
    jobs.empty_bin(workspace)
    assert not list(workspace.runs.glob(".deleted*"))
    with pytest.raises(jobs.UnknownRun, match="no run 'one'"):
        jobs.find_job("one", workspace)


@pytest.mark.parametrize("tune", ["last", "lora", "all"])
def test_a_tuned_encoder_is_kept_with_the_model_and_says_whom_it_heard(
    recipe, synthetic_corpus, workspace, tmp_path, tune
):
    from transformers import WhisperConfig

    from ser_core.encoders import load_encoder
    from ser_core.encoders.whisper import Whisper

    torch.manual_seed(0)
    small = WhisperConfig(d_model=16, encoder_layers=4, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1)
    Whisper(small).save(tmp_path / "whisper")
    recipe = recipe.with_encoder("whisper", str(tmp_path / "whisper"))
    recipe = recipe.changed([f"encoder.tune={tune}", "encoder.learning_rate=1e-2", "training.epochs=1"])
    train(recipe, synthetic_corpus, tmp_path / "run", workspace, CPU, lambda line: None)
    before, after = (load_encoder("whisper", tmp_path / name) for name in ("whisper", "run/checkpoint/encoder"))
    asked = _json(tmp_path / "run" / "recipe.json")
    assert set(after.heard_speakers) == {*asked["train_speakers"], *asked["dev_speakers"]}
    changed = {
        name.split(".")[2] for name, weight in before.named_parameters()
        if name.startswith("encoder.layers.") and not torch.equal(weight, after.state_dict()[name])
    }  # fmt: skip
    assert changed == (
        {"1", "2"} if tune == "last" else {"0", "1", "2"}
    )  # layers 1 to 3 are heard, the fourth block is above
    assert torch.equal(before.encoder.conv1.weight, after.encoder.conv1.weight) == (tune != "all")


def test_scalars_are_written_for_tensorboard_when_asked(go, recipe, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    go(recipe, asked=replace(CPU, tensorboard=True))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    wanted = [record["dev_uar"] for record in records if record["method"] == "baseline"]
    assert [event.value for event in events.Scalars("baseline/dev_uar")] == pytest.approx(wanted)


def test_a_stop_while_dev_is_listened_to_can_be_resumed(go, recipe, tmp_path):
    recipe = recipe.changed(["encoder.tune=all", "training.epochs=2"])
    go(recipe, "whole")
    n_steps = json.loads((tmp_path / "whole" / "recipe.json").read_text())["n_train_targets"] // 16
    for n in (n_steps + 12, n_steps + 20):  # while the dev recordings of the first epoch are heard
        name = f"parts{n}"
        assert not go(recipe, name, should_stop=_after(n))
        assert go(recipe, name, replace(CPU, resume=True))
        assert _json(tmp_path / name / "report.json")["models"] == _json(tmp_path / "whole" / "report.json")["models"]


def test_a_run_in_which_nobody_chooses_keeps_the_last_epoch(go, recipe, tmp_path):
    assert go(recipe.changed(["training.dev_share=0", "training.epochs=3"]))
    said = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert said["dev_speakers"] == [] and len(said["train_speakers"]) + len(said["test_speakers"]) == 8
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records if record["method"] == "baseline"] == [1, 2, 3]
    assert not any(name.startswith("dev_") for record in records for name in record)


def test_patience_outlives_a_kill_between_the_last_epoch_and_the_end_of_the_stage(
    recipe, synthetic_corpus, workspace, tmp_path, monkeypatch
):
    from ser_core.training.states import States

    recipe = recipe.changed(["training.epochs=30", "training.patience=2", "training.learning_rate=1e-9"])
    save = States.save

    def killed(self, tensors, content):
        if content["at"]["stage"] == 1:
            raise OSError("killed here")
        save(self, tensors, content)

    monkeypatch.setattr(States, "save", killed)
    with pytest.raises(OSError, match="killed here"):
        train(recipe, synthetic_corpus, tmp_path / "run", workspace, CPU, lambda line: None)
    n_before = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    monkeypatch.undo()
    train(recipe, synthetic_corpus, tmp_path / "run", workspace, replace(CPU, resume=True), lambda line: None)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["method"] for record in records].count("speaker_reference") == n_before == 3


def test_what_is_shared_names_no_place_on_this_computer(go, recipe, tmp_path):
    (tmp_path / "split.toml").write_text('dev = ["synthetic_1"]\ntest = ["synthetic_2", "synthetic_3"]\n')
    assert go(recipe.changed([f"data.split={tmp_path / 'split.toml'}"]))
    shared = [tmp_path / "run" / name for name in ("report.json", "report.html", "predictions.csv", "table.md")]
    shared += [path for path in (tmp_path / "run" / "checkpoint").rglob("*") if path.is_file()]
    for path in shared:
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
        assert str(tmp_path.parent.parent).encode() not in path.read_bytes(), path.name


def test_a_batch_that_does_not_fit_into_memory_is_divided_to_the_same_result(go, recipe, tmp_path, monkeypatch, caplog):
    from ser_core.training.trainer import _Network

    go(recipe, "whole")
    forward = _Network.forward

    def with_room_for_ten(network, stage, batch):
        if len(batch) > 10:
            raise torch.OutOfMemoryError("out of memory")
        return forward(network, stage, batch)

    monkeypatch.setattr(_Network, "forward", with_room_for_ten)
    go(recipe, "short")
    assert "training.accumulate=" in caplog.text
    whole, short = (pd.read_csv(tmp_path / name / "predictions.csv") for name in ("whole", "short"))
    p = [name for name in whole if name.startswith("p_")]
    np.testing.assert_allclose(whole[p], short[p], atol=1e-4)


def test_a_run_without_memory_for_a_single_recording_fails_and_says_what_to_do(go, recipe, tmp_path, monkeypatch):
    from ser_core.training.jobs import read_job
    from ser_core.training.trainer import _Network

    def no_room(network, stage, batch):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(_Network, "forward", no_room)
    with pytest.raises(torch.OutOfMemoryError):
        go(recipe)
    job = read_job(tmp_path / "run")
    assert job.state == "failed" and "smaller training.batch_size" in job.error

"""How many labels pre-training saves: hand-made answers whose UAR is known, and small networks at every budget."""

from dataclasses import replace
from html import escape

import numpy as np
import pandas as pd
import pytest
import torch
from known_world import spoken
from sklearn.metrics import balanced_accuracy_score

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.recipe import Recipe, TrainingSettings
from ser_core.studies import STUDIES
from ser_core.studies.label_budget import BUDGETS, STUDY, at_budget, measure, networks, numbers, tables, told
from ser_core.studies.stored import RESULTS
from ser_core.training.crossvalidation import Design, set_up
from ser_core.workspace import open_workspace

CLASSES = ("neutral", "sadness", "anger", "fear")
RIGHT = {
    "none": {1.0: 2, 0.1: 2},
    "ours": {1.0: 2, 0.1: 3},
    "worse": {1.0: 1, 0.1: 2},
}
"""How many of a speaker's four utterances of each class a method recognises, at two budgets."""


def plain(text: str) -> str:
    """With spaces that may be broken."""
    return text.replace("\xa0", " ")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Such small networks are many times quicker on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def answered() -> pd.DataFrame:
    """Two seeds and two folds of six speakers each; what is not recognised is taken for the next class."""
    rows = [
        {"method": method, "labels": labels, "n_labels": (400 if labels == 1.0 else 40) + 2 * (speaker // 6), "seed": seed,
         "fold": speaker // 6, "speaker": f"s{speaker:02}", "utterance_id": f"s{speaker:02}_{emotion}_{place}",
         "corpus": "spoken", "emotion": emotion, "predicted_emotion": CLASSES[(code + (place >= right)) % 4]}
        for method, budgets in RIGHT.items() for labels, right in budgets.items() for seed in range(2)
        for speaker in range(12) for code, emotion in enumerate(CLASSES) for place in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def found():
    return tables(answered())


@pytest.fixture(scope="module")
def results(found) -> pd.DataFrame:
    return found[RESULTS].set_index(["method", "labels"])


def test_the_uar_of_every_method_and_budget_is_known(results):
    assert len(results) == 6
    for method, budgets in RIGHT.items():
        for labels, right in budgets.items():
            row = results.loc[(method, labels)]
            assert row["uar"] == pytest.approx(right / 4)
            assert row["uar_change"] == pytest.approx((right - RIGHT["none"][labels]) / 4)
            assert row["n_labels"] == (401 if labels == 1.0 else 41)
            assert (row["n_speakers"], row["n_utterances"], row["n_seeds"]) == (12, 192, 2)


def test_uar_and_its_change_are_another_librarys_when_answers_are_noisy():
    rng, noisy = np.random.default_rng(0), answered()
    noisy["predicted_emotion"] = np.where(
        rng.random(len(noisy)) < 0.3, rng.choice(CLASSES, len(noisy)), noisy["predicted_emotion"]
    )
    rows = tables(noisy)[RESULTS].set_index(["method", "labels"])
    of_seeds = {
        key: balanced_accuracy_score(part["emotion"], part["predicted_emotion"])
        for key, part in noisy.groupby(["method", "labels", "seed"])
    }
    mean = pd.Series(of_seeds).groupby(level=[0, 1]).mean()
    for method, labels in rows.index:
        row = rows.loc[(method, labels)]
        assert row["uar"] == pytest.approx(mean[method, labels])
        assert row["uar_change"] == pytest.approx(mean[method, labels] - mean["none", labels])
        assert row["uar_from"] <= row["uar"] <= row["uar_to"]


def test_the_first_method_is_compared_with_nobody_and_the_others_with_it_at_their_budget(results):
    assert (results.loc["none", "uar_change"] == 0).all() and results.loc["none", "uar_change_p"].isna().all()
    assert results.loc[("ours", 0.1), "uar_change_p"] < 0.05 and results.loc[("worse", 1.0), "uar_change_p"] < 0.05
    assert results.loc[("ours", 1.0), "uar_change_p"] == results.loc[("worse", 0.1), "uar_change_p"] == 1.0


def test_p_values_are_adjusted_for_all_comparisons(results):
    alone = answered()
    alone = alone[alone["method"].isin(["none", "ours"]) & (alone["labels"] == 0.1)]
    p = tables(alone)[RESULTS].set_index("method").loc["ours", "uar_change_p"]
    assert results.loc[("ours", 0.1), "uar_change_p"] == pytest.approx(4 * p)  # the smallest of four


def test_what_came_out_says_at_which_budgets_it_helps(found, results):
    ours, worse, both = map(plain, told(found, str.upper))
    p = results.loc[("ours", 0.1), "uar_change_p"]
    assert ours == (
        f"OURS against NONE: better with 10 % of the labels (+25.0 points, p = {p:.3f} after Holm); "
        f"no different beyond chance with 100 % of the labels (+0.0 points, p = 1.000 after Holm)."
    )
    assert worse.startswith("WORSE against NONE: worse with 100 % of the labels (-25.0 points, p = ")
    assert "better" not in worse and "no different beyond chance with 10 %" in worse
    assert both.startswith("OURS against WORSE: better with 100 % of the labels (+25.0 points, p = ")


def test_the_numbers_in_words_have_a_column_for_each_budget(found):
    words = numbers(found, str.upper)
    assert tuple(map(plain, words.heads)) == ("Method", "100 % (401 labels)", "10 % (41 labels)")
    assert [row[0] for row in words.rows] == ["NONE", "OURS", "WORSE"]
    assert words.rows[0][1].startswith("0.500") and "points" not in words.rows[0][1]
    assert words.rows[1][2].startswith("0.750: +25.0 points") and words.rows[2][1].startswith("0.250: -25.0 points")
    assert all(len(row) == 3 for row in words.rows)


def test_the_figure_has_a_line_for_each_method_from_few_labels_to_all(found):
    figure = STUDY.figure(found, escape)
    lines = {trace.name: trace for trace in figure.data if trace.name in RIGHT}
    assert set(lines) == set(RIGHT)
    for method, budgets in RIGHT.items():
        assert [plain(one) for one in lines[method].x] == ["10 % (41)", "100 % (401)"]
        assert list(lines[method].y) == pytest.approx([25 * budgets[0.1], 25 * budgets[1.0]])


# networks


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """Two recipes on hand-made voices of six speakers, two folds and one seed; nothing is heard but noise."""
    torch.manual_seed(0)
    tiny = CompactSettings(width=16, n_transformer_layers=2, n_heads=2, feedforward=16)
    encoder, few = Compact(tiny), TrainingSettings(epochs=1, batch_size=32)
    settings = {"embedding": 8, "hidden": 8, "projection": 8, "utterances_per_speaker": 8}
    recipes = [
        Recipe(name, "cluster_contrastive", settings={**settings, "pretrain_epochs": n}, training=few)
        for name, n in (("none", 0), ("clusters", 1))
    ]
    recipes = [recipe.changed(["encoder.layers=[1]"]) for recipe in recipes]

    def heard(corpus, emotions, *others):
        rng = torch.Generator().manual_seed(0)
        return Utterances(corpus, emotions, torch.randn(len(corpus), encoder.n_layers, 32, generator=rng))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ser_core.training.crossvalidation.embedded", heard)
        workspace = open_workspace(tmp_path_factory.mktemp("workspace"))
        corpus = spoken(6, "ABCD", 5)
        return set_up(recipes, corpus, encoder, Design(2, 1), workspace, "cpu", lambda line: None)


@pytest.fixture(scope="module")
def ready(experiment):
    return list(networks(experiment, "cpu", lambda line: None))


def test_every_recipe_is_trained_on_every_fold_at_every_budget(ready):
    seen = [(one.trained.name, one.trained.fold, one.labels) for one in ready]
    assert sorted(seen) == sorted(
        (name, fold, labels) for name in ("none", "clusters") for fold in range(2) for labels in BUDGETS
    )


def test_all_recipes_are_told_as_many_labels_and_a_budget_is_a_share_of_all(ready):
    n = {(one.trained.name, one.trained.fold, one.labels): one.n_labels for one in ready}
    for fold in range(2):
        for labels in BUDGETS:
            assert n["none", fold, labels] == n["clusters", fold, labels]
            assert n["none", fold, labels] == sum(max(1, round(labels * n["none", fold, 1.0] / 3)) for _ in range(3))
    assert (
        n["none", 0, 1.0] == 2 * 3 * 19
    )  # of six speakers three are tested and one chooses; one of twenty is enrolled


@pytest.mark.parametrize(
    ("labels", "n_labels", "epochs"), [(1.0, 640, 25), (0.25, 160, 83), (0.1, 64, 250), (0.05, 32, 250)]
)
def test_every_budget_takes_as_many_steps_as_all_labels_do(labels, n_labels, epochs):
    """Ten batches of 64 an epoch, twenty-five times: 250 steps, whether an epoch has ten, three (249), or one."""
    recipe = Recipe("one", "baseline", training=TrainingSettings(epochs=25, batch_size=64))
    asked = at_budget(recipe, labels, n_labels, 640)
    assert asked.training.epochs == epochs and asked.data.labels == labels
    assert replace(asked, training=recipe.training, data=recipe.data) == recipe


def test_what_is_measured_are_the_same_targets_at_every_budget(ready, experiment):
    measured = [measure(one, None) for one in ready]
    targets = {(one["fold"].iloc[0], frozenset(one["utterance_id"])) for one in measured}
    assert len(targets) == 2
    assert not {one for _, ids in targets for one in ids} & set(
        first_of_each(experiment.utterances.corpus)["utterance_id"]
    )
    out = tables(pd.concat(measured, ignore_index=True))[RESULTS]
    assert {"method", "labels", "n_labels", "uar", "uar_change_p", "n_speakers", "n_utterances", "n_seeds"} <= set(out)
    assert out["labels"].tolist() == [labels for labels in BUDGETS for _ in range(2)]
    assert set(out["n_utterances"]) == {6 * 3 * 19} and out["uar"].between(0, 1).all()
    assert STUDY.figure({RESULTS: out}, escape).data and len(told({RESULTS: out}, str)) == 1


def test_it_can_be_asked_for_but_not_of_any_recipe_or_model():
    assert STUDIES["label-budget"] is STUDY and not STUDY.of_models and not STUDY.of_any_recipe

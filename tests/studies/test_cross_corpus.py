"""Does fairness travel: tables of hand-made answers against other libraries, small networks, and the study by the command."""

import json
from dataclasses import replace
from html import escape

import numpy as np
import pandas as pd
import pytest
import torch
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from known_world import spoken
from sklearn.metrics import balanced_accuracy_score

from ser_core.__main__ import main
from ser_core.commands.study import forms_of
from ser_core.data.batches import Utterances
from ser_core.data.manifest import BadCorpus, join, make_corpus
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.evaluation.counts import classes_of, count
from ser_core.evaluation.gaps import change_of
from ser_core.evaluation.probe import PROBES
from ser_core.recipe import BadRecipe, Recipe, TrainingSettings
from ser_core.studies import STUDIES, cross_corpus
from ser_core.studies.cross_corpus import EMOTIONS, GROUPS, STUDY, check, measure, numbers, tables, told
from ser_core.studies.stored import RESULTS
from ser_core.training.crossvalidation import Design, Experiment, set_up, trained_folds
from ser_core.workspace import open_workspace

CLASSES = ("neutral", "anger", "fear")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Such small networks are many times quicker on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def answered(
    method: str, ability: float, bias: float, heard: float, n_speakers: int = 16, seed: int = 0
) -> pd.DataFrame:
    """Two seeds of a method that is right so often, takes men for angry so often, and gives gender away so often."""
    rng = np.random.default_rng([seed, len(method)])
    rows = [
        {"speaker": f"s{s:02}", "emotion": emotion, "seed": run, "utterance_id": f"s{s:02}_{emotion}_{place}",
         "group": ("female", "male")[s % 2]}
        for run in range(2) for s in range(n_speakers) for emotion in CLASSES for place in range(8)
    ]  # fmt: skip
    table = pd.DataFrame(rows).assign(method=method, corpus="target", fold=0)
    said = np.where(rng.random(len(table)) < ability, table["emotion"], rng.choice(CLASSES, len(table)))
    biased = (rng.random(len(table)) < bias) & (table["group"] == "male")
    other = table["group"].map({"female": "male", "male": "female"})
    probes = {f"probe_{kind}": table["group"].where(rng.random(len(table)) < heard, other) for kind in PROBES}
    return table.assign(predicted_emotion=np.where(biased, "anger", said), **probes)


BIASED, FAIR, ALIKE = ("source_only", 0.7, 0.5, 0.98), ("ours", 0.7, 0.0, 0.5), ("similar", 0.7, 0.48, 0.9)


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    return pd.concat([answered(*one) for one in (BIASED, FAIR, ALIKE)], ignore_index=True)


@pytest.fixture(scope="module")
def found(measured):
    return tables(measured)


@pytest.fixture(scope="module")
def results(found) -> pd.DataFrame:
    return found[RESULTS].set_index("method")


def fairlearns(table: pd.DataFrame) -> pd.DataFrame:
    """ΔSP and worst-case ΔEO of each class against the rest."""
    rows = {}
    for name in CLASSES:
        truth, said = ((table[of] == name).astype(int) for of in ("emotion", "predicted_emotion"))
        rows[name] = {
            "sp": demographic_parity_difference(truth, said, sensitive_features=table["group"]),
            "eo": equalized_odds_difference(truth, said, sensitive_features=table["group"]),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


@pytest.mark.parametrize("method", ["source_only", "ours", "similar"])
def test_gaps_uar_and_probes_of_a_method_are_those_of_other_libraries(measured, found, results, method):
    part, row = measured[measured["method"] == method], results.loc[method]
    expected = fairlearns(part)
    emotions = found[EMOTIONS].set_index(["method", "emotion"]).loc[method]
    for kind in ("sp", "eo"):
        np.testing.assert_allclose(emotions.loc[list(CLASSES), kind], expected.loc[list(CLASSES), kind], atol=1e-9)
        assert row[kind] == pytest.approx(expected[kind].mean()) and row[f"{kind}_max"] == pytest.approx(
            expected[kind].max()
        )
        assert row[f"{kind}_from"] <= row[kind] <= row[f"{kind}_to"]
    of_seeds = [balanced_accuracy_score(one["emotion"], one["predicted_emotion"]) for _, one in part.groupby("seed")]
    assert row["uar"] == pytest.approx(np.mean(of_seeds)) and row["uar_from"] < row["uar"] < row["uar_to"]
    for kind in PROBES:
        assert row[f"probe_{kind}"] == pytest.approx(balanced_accuracy_score(part["group"], part[f"probe_{kind}"]))
    assert (row["n_speakers"], row["n_utterances"], row["n_seeds"]) == (16, 16 * 24, 2)


def test_the_first_method_is_the_one_that_others_are_compared_with_and_has_no_change_itself(results):
    first = results.loc["source_only"]
    assert first["uar_change"] == first["sp_change"] == first["eo_change"] == 0
    assert np.isnan(first[["uar_change_p", "sp_change_p", "eo_change_p"]].astype(float)).all()
    ours = results.loc["ours"]
    assert ours["sp_change"] == pytest.approx(ours["sp"] - first["sp"]) and ours["sp_change_to"] < 0
    assert ours["sp_change_p"] < 0.05 < results.loc["similar", "sp_change_p"]


def test_a_single_comparison_is_adjusted_for_nothing(measured):
    pair = measured[measured["method"] != "similar"]
    counts = {name: count(part, classes_of(pair)) for name, part in pair.groupby("method")}
    group = pair.groupby("speaker")["group"].first()
    alone = tables(pair)[RESULTS].set_index("method").loc["ours"]
    assert alone["sp_change_p"] == change_of(counts["ours"], counts["source_only"], group)["sp"].p


def test_a_study_of_groups_asks_for_two_of_them_before_anything_is_trained(experiment):
    table = experiment.utterances.corpus.table
    for gender, words in (("unknown", "known of nobody"), ("male", "known of male alone")):
        corpus = replace(experiment.utterances.corpus, table=table.assign(gender=gender))
        of_one = replace(experiment, utterances=replace(experiment.utterances, corpus=corpus))
        for study in ("cross-corpus", "bias-features"):
            with pytest.raises(BadCorpus, match=words):
                next(iter(STUDIES[study].networks(of_one, "cpu", print)))


def test_changes_of_uar_are_means_over_speakers(measured, results):
    def of_speakers(method: str) -> pd.Series:
        part = measured[measured["method"] == method]
        scores = {
            key: balanced_accuracy_score(one["emotion"], one["predicted_emotion"])
            for key, one in part.groupby(["speaker", "seed"])
        }
        return pd.Series(scores).groupby(level=0).mean()

    change = (of_speakers("ours") - of_speakers("source_only")).mean()
    assert results.loc["ours", "uar_change"] == pytest.approx(change)


def test_every_group_stands_with_its_uar(measured, found):
    groups = found[GROUPS].set_index(["method", "group"])
    assert len(groups) == 3 * 2 and set(groups["n_speakers"]) == {8}
    for (method, group), part in measured.groupby(["method", "group"]):
        scores = [balanced_accuracy_score(one["emotion"], one["predicted_emotion"]) for _, one in part.groupby("seed")]
        assert groups.loc[(method, group), "uar"] == pytest.approx(np.mean(scores))


def test_base_rates_stand_beside_the_gaps(found):
    """Everybody says each of three classes equally often."""
    emotions = found[EMOTIONS]
    np.testing.assert_allclose(emotions[["base_rate_lowest", "base_rate_highest"]], 1 / 3)


def test_the_numbers_in_words(found, results):
    words = numbers(found, str.upper)
    first, ours, _ = words.rows
    assert all(len(row) == len(words.heads) for row in words.rows)
    assert (first[0], first[2]) == ("SOURCE_ONLY", "–") and "points" in ours[2]
    assert f"{results.loc['ours', 'sp']:.3f} ({results.loc['ours', 'sp_band']:.3f})" in ours
    assert {"UAR, female", "UAR, male"} <= set(words.heads)


def test_what_came_out_says_gains_costs_and_what_may_be_chance(found):
    first, ours, similar = told(found, str)
    rows = found[RESULTS].set_index("method")
    assert first.startswith(
        f"source_only: mean ΔSP {rows.loc['source_only', 'sp']:.3f}, more than 16 speakers reach by chance"
    )
    assert "mean ΔEO" in first and "change" not in first
    row = rows.loc["ours"]
    assert (
        f"a change of {row['sp_change']:+.3f}" in ours
        and f"UAR {row['uar']:.3f}" in ours
        and "against source_only" in ours
    )
    assert f"a linear probe tells the group in {row['probe_linear']:.3f} ({row['probe_linear_from']:.3f} to" in ours
    assert "which may be chance" not in ours.split(";")[0] and "which may be chance" in similar.split(";")[0]


def test_probes_that_could_not_be_asked_are_said_to_be_not_estimable():
    unasked = tables(answered(*FAIR).assign(**{f"probe_{kind}": np.nan for kind in PROBES}))
    assert numbers(unasked, str).rows[0][-1] == "not estimable, not estimable"
    assert "what a linear probe tells of the group is not estimable" in told(unasked, str)[0]


def test_a_gap_that_is_no_more_than_chance_is_said_to_be():
    fair = tables(answered("source_only", 0.7, 0.0, 0.9))
    first = fair[RESULTS].iloc[0]
    lines = told(fair, str)
    assert len(lines) == 1 and first["sp"] <= first["sp_band"]
    assert "no more than 16 speakers reach by chance" in lines[0]


def test_the_figure_shows_every_method_and_what_chance_reaches(found):
    figure = STUDY.figure(found, escape)
    shown = json.dumps(figure.to_plotly_json(), default=str)
    assert all(name in shown for name in ("source_only", "ours", "similar"))
    strokes = [trace.x[0] for trace in figure.data if trace.marker.symbol == "line-ns-open"]
    bands = found[RESULTS][["sp_band", "eo_band"]].to_numpy().ravel()
    assert strokes == pytest.approx(list(bands))  # what chance reaches, of every method and either gap


def test_with_speakers_of_unknown_group_the_others_are_compared(measured):
    strangers = answered("source_only", 0.7, 0.0, 0.9, 2, seed=5).assign(group=None)
    strangers = pd.concat([strangers.assign(method=name) for name in ("source_only", "ours", "similar")])
    strangers["speaker"] = "x" + strangers["speaker"]
    wider = tables(pd.concat([measured, strangers], ignore_index=True))[RESULTS].set_index("method")
    alone = tables(measured)[RESULTS].set_index("method")
    columns = ["sp", "eo", "sp_from", "sp_band", "probe_linear"]
    np.testing.assert_allclose(wider[columns].astype(float), alone[columns].astype(float))
    assert (wider["n_speakers"] == 18).all() and (wider["uar"] != alone["uar"]).all()


# networks


def test_one_corpus_is_refused():
    with pytest.raises(BadCorpus, match="spoken is one corpus, and this study trains on one and is tested on another"):
        check(spoken())
    check(join([spoken(name="one"), renamed("other")]))


def renamed(name: str):
    """The same voices under other names."""
    table = spoken(6, name=name).table
    return make_corpus(name, table.assign(speaker=name + table["speaker"]).rename(index=lambda one: f"{name}_{one}"))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Experiment:
    """Two hand-made corpora of six voices each; gender is heard plainly, and the rest is noise."""
    torch.manual_seed(0)
    encoder = Compact(CompactSettings(width=16, n_transformer_layers=2, n_heads=2, feedforward=16))
    few = TrainingSettings(epochs=2, batch_size=16, learning_rate=1e-3)
    shared = {"training": few}
    settings = {"embedding": 8, "hidden": 8}
    recipes = [
        Recipe("source_only", "baseline", settings=settings, **shared),
        Recipe("cfa", "cfa", settings={**settings, "source_epochs": 2, "adversary": 8}, **shared),
    ]
    recipes = [recipe.changed([*STUDY.settings, "encoder.layers=[1]"]) for recipe in recipes]

    def heard(corpus, emotions, *others):
        features = torch.randn(len(corpus), encoder.n_layers, 2 * encoder.width)
        features[..., ::2] += 2.0 * torch.tensor([[[one == "male"]] for one in corpus.table["gender"]])
        return Utterances(corpus, emotions, features)

    corpus = join([renamed("english"), renamed("german")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ser_core.training.crossvalidation.embedded", heard)
        workspace = open_workspace(tmp_path_factory.mktemp("workspace"))
        return set_up(recipes, corpus, encoder, Design(2, 1), workspace, "cpu", lambda line: None)


@pytest.fixture(scope="module")
def networks(experiment) -> list:
    return list(trained_folds(experiment, "cpu", lambda line: None))


def test_networks_are_measured_on_target_speakers_with_group_and_probes(networks):
    seen = [measure(network, None) for network in networks]
    for network, table in zip(networks, seen, strict=True):
        assert set(table["speaker"]) == set(network.speakers) and set(table["corpus"]) == {"german"}
        assert (table["group"] == table["gender"]).all()
        assert {f"probe_{kind}" for kind in PROBES} <= set(table.columns)
        assert set(table["probe_linear"]) <= {"female", "male"}
    whole = pd.concat(seen, ignore_index=True)
    assert whole.groupby("method")["speaker"].nunique().to_dict() == {"cfa": 6, "source_only": 6}
    out = tables(whole)
    assert list(out[RESULTS]["method"]) == ["source_only", "cfa"]
    assert out[RESULTS]["probe_linear"].between(0.75, 1).all()  # after two epochs it is not gone
    assert len(told(out, str)) == 2


def test_a_probe_hears_the_targets_speakers_and_nobody_of_whom_it_is_asked(networks, monkeypatch):
    asked, original = [], cross_corpus.answers

    def noted(method, utterances, rows, enrolment):
        asked.append(set(utterances.corpus.table["speaker"].iloc[rows]))
        return original(method, utterances, rows, enrolment)

    monkeypatch.setattr(cross_corpus, "answers", noted)
    everybody = {f"{name}p{one}" for name in ("english", "german") for one in range(6)}
    for network in networks:
        asked.clear()
        measure(network, None)
        measured, learned = asked
        assert measured == set(network.speakers)
        assert learned == {one for one in everybody if one.startswith("german")} - {*network.speakers} and network.dev


def test_with_two_known_speakers_of_a_gender_a_probe_says_nothing_and_unknown_groups_stay_so(networks):
    network = networks[0]
    corpus = network.utterances.corpus
    unsure = corpus.table["speaker"].isin(["englishp0", "germanp1"])
    table = corpus.table.assign(gender=corpus.table["gender"].mask(unsure, "unknown"))
    partly = replace(network, utterances=replace(network.utterances, corpus=replace(corpus, table=table)))
    out = measure(partly, None)
    assert out["group"].isna().equals(out["speaker"].isin(["germanp1"])) and out["probe_linear"].isna().all()


# by the command

RECIPE = """
method = "{}"
[encoder]
name = "compact"
source = "{}"
[training]
epochs = 2
batch_size = 16
[settings]
embedding = 16
hidden = 16
"""


@pytest.fixture(scope="module")
def recipes(tmp_path_factory) -> list:
    """The baseline and CFA on a small encoder without training."""
    folder = tmp_path_factory.mktemp("recipes")
    torch.manual_seed(0)
    Compact(CompactSettings(width=16, n_transformer_layers=2, n_heads=2, feedforward=16)).save(folder / "encoder")
    paths = [folder / f"{name}.toml" for name in ("baseline", "cfa")]
    for path in paths:
        more = "source_epochs = 1\nadversary = 8\n" if path.stem == "cfa" else ""
        path.write_text(RECIPE.format(path.stem, folder / "encoder") + more)
    return paths


@pytest.fixture
def attune(tmp_path, capsys):
    """Run the study; (exit code, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        where = ["--output", tmp_path / "out", "--workspace", tmp_path / "workspace", "--device", "cpu", "--threads", 1]
        try:
            code = main(["study", "cross-corpus", *map(str, [*arguments, *where])])
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return run


def test_the_study_is_answered_by_the_command_with_further_forms_of_the_last_recipe(attune, recipes, tmp_path):
    named = ("synthetic_confounded", "synthetic_even")
    corpora = [part for name in named for part in ("--corpus", f"{name}={tmp_path / name}")]
    figures = tmp_path / "figures"
    code, out, _ = attune(
        *recipes, *corpora, "--folds", 2, "--seeds", 1, "--vary", "settings.alpha=0.0,1.0", "--json", "--figures", figures
    )  # fmt: skip
    folder = tmp_path / "out" / "cross-corpus" / "+".join(named)
    written = json.loads((folder / "study.json").read_text())
    assert code == 0 and json.loads(out) == {"cross-corpus": written}
    methods = ["baseline", "cfa", "cfa, alpha 0.0", "cfa, alpha 1.0"]
    assert [row["method"] for row in written["results"]] == methods
    assert {(row["n_speakers"], row["n_utterances"]) for row in written["results"]} == {(8, 96)}  # of the second corpus
    verdict = written["about"]["leak_check"]
    assert verdict["adapted_to_other_speakers_of"] == ["synthetic_even"] and verdict["speakers_on_both_sides"] == []
    assert "nobody who is measured was heard" in verdict["by_design"][0]
    assert [one["settings"].get("alpha") for one in written["about"]["recipes"]] == [None, None, 0.0, 1.0]
    table = pd.read_csv(folder / "measured.csv")
    assert set(table["corpus"]) == {"synthetic_even"} and set(table["method"]) == set(methods)
    assert {"results.csv", "emotions.csv", "groups.csv"} <= {path.name for path in folder.iterdir()}
    page = (figures / f"cross-corpus_{'+'.join(named)}.html").read_text(encoding="utf-8")
    assert "<script src=" not in page and "cfa, alpha 1.0" in page
    assert str(tmp_path) not in out


def complaint(answer: tuple[int, str, str]) -> str:
    code, out, err = answer
    lines = [line for line in err.splitlines() if line.startswith("attune study")]
    assert code == 2 and out == "" and len(lines) == 1
    return lines[0]


def test_one_corpus_is_refused_in_one_line(attune, recipes, tmp_path):
    assert "name a second --corpus" in complaint(attune(*recipes, "--corpus", f"synthetic_even={tmp_path / 'even'}"))


@pytest.mark.parametrize(
    ("varied", "words"),
    [("settings.alpha", "write KEY=V1,V2"), ("alpha=1", "alpha=1"), ("settings.alfa=1.0", "unknown key 'alfa'")],
)
def test_forms_that_cannot_be_are_refused_in_one_line(attune, recipes, tmp_path, varied, words):
    corpora = [part for name in ("confounded", "even") for part in ("--corpus", f"synthetic_{name}={tmp_path / name}")]
    assert words in complaint(attune(*recipes, *corpora, "--folds", 2, "--vary", varied))


def test_forms_of_a_recipe_differ_in_one_setting_and_are_named_after_it():
    recipe = Recipe("cfa", "cfa", settings={"beta": 0.5})
    two = forms_of(recipe, "settings.alpha=0.1,1.0")
    assert [(one.name, one.settings) for one in two] == [
        ("cfa, alpha 0.1", {"beta": 0.5, "alpha": 0.1}), ("cfa, alpha 1.0", {"beta": 0.5, "alpha": 1.0}),
    ]  # fmt: skip
    assert [one.training.learning_rate for one in forms_of(recipe, "training.learning_rate=0.1")] == [0.1]
    with pytest.raises(BadRecipe, match="write KEY=V1,V2"):
        forms_of(recipe, "settings.alpha=")


def test_all_studies_at_once_leave_out_the_one_that_needs_settings_of_its_own():
    from ser_core.commands.study import ALL, asked_for

    assert "cross-corpus" in STUDIES and "cross-corpus" not in asked_for(ALL, of_model=False)
    with pytest.raises(BadRecipe, match="it needs recipes"):
        asked_for("cross-corpus", of_model=True)

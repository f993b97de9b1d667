"""One corpus trains, another is adapted to: who has which role, and one clear message before training for what cannot be."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ser_core.data.manifest import BadCorpus, Corpus, join, make_corpus
from ser_core.encoders import load_encoder
from ser_core.recipe import BadRecipe, DataChoice, Recipe, read_recipe
from ser_core.training.adaptation import against_rest, target_folds, target_of, with_shared_classes
from ser_core.training.crossvalidation import Design, fold_plan, set_up
from ser_core.training.preparation import prepare

EMOTIONS = ("neutral", "happiness", "anger")
PAIR = ("female", "male") * 4


def silent(line: str) -> None:
    pass


def corpus(
    name: str,
    genders: tuple[str, ...] = PAIR,
    emotions: tuple[str, ...] = EMOTIONS,
    splits: Mapping[int, str] | None = None,
    **columns,
) -> Corpus:
    """One speaker a gender, who says each emotion three times; a manifest only, for nothing may be heard."""
    rows = {
        f"{name}{speaker}_{emotion}_{take}": {
            "path": f"{name}{speaker}_{emotion}_{take}.wav", "speaker": f"{name}{speaker}", "emotion": emotion,
            "text_id": str(take), "gender": gender, "split": (splits or {}).get(speaker), **columns,
        }
        for speaker, gender in enumerate(genders) for emotion in emotions for take in range(3)
    }  # fmt: skip
    return make_corpus(name, pd.DataFrame.from_dict(rows, orient="index"))


@pytest.fixture(scope="module")
def encoder(encoder_folder):
    return load_encoder("compact", encoder_folder)


@pytest.fixture(scope="module")
def ordered(encoder_folder):
    """From a recipe's name and changes to the recipe, on a small encoder."""

    def order(name: str = "cfa", *changes: str) -> Recipe:
        recipe = replace(read_recipe(name), beside=()).changed(["encoder.layers=[1]", *changes])
        return recipe.with_encoder("compact", str(encoder_folder))

    return order


@pytest.fixture(params=["run", "folds"])
def planned(request, encoder, workspace):
    """What is done before a run, or before a cross-validation in two folds; neither opens a file before all is checked."""

    def plan(recipe: Recipe, *corpora: Corpus):
        if request.param == "run":
            return prepare(recipe, join(corpora), workspace)
        return set_up([recipe], join(corpora), encoder, Design(2, 1), workspace, "cpu", silent)

    return plan


# what cannot be


@pytest.mark.parametrize("name", ["cfa", "source_only"])
def test_a_second_corpus_is_needed(ordered, planned, name):
    with pytest.raises(BadRecipe, match="english is the only corpus.*name the second with a further --corpus"):
        planned(ordered(name), corpus("english"))


def test_a_target_that_is_not_among_the_corpora_is_named_with_those_that_are(ordered, planned):
    recipe = ordered("cfa", 'data.target="polish"')
    with pytest.raises(BadRecipe, match="data.target is 'polish', but the corpora are english, german"):
        planned(recipe, corpus("english"), corpus("german"))


def test_a_method_that_adapts_needs_to_be_told_to_what(ordered, planned):
    with pytest.raises(BadRecipe, match="'cfa' adapts to a second corpus: say which with data.target=NAME"):
        planned(ordered("cfa", 'data.target=""'), corpus("english"), corpus("german"))


def test_a_target_without_gender_is_refused(ordered, planned):
    with pytest.raises(
        BadCorpus, match=r"german \(target\).*gender, which is unknown of all \d of them.*fill in the column"
    ):
        planned(ordered(), corpus("english"), corpus("german", ("unknown",) * 8))


@pytest.mark.parametrize(("side", "name"), [("source", "english"), ("target", "german")])
def test_a_source_or_target_of_one_gender_is_refused(ordered, planned, side, name):
    corpora = [corpus(one, ("female",) * 8 if one == name else PAIR) for one in ("english", "german")]
    with pytest.raises(BadCorpus, match=rf"{name} \({side}\).*which is 'female' in all .*name another column"):
        planned(ordered(), *corpora)


def test_remedies_on_the_source_ask_no_gender_of_the_target_but_of_the_source(ordered, encoder, workspace):
    english, german = corpus("english"), corpus("german", ("unknown",) * 8)
    assert prepare(ordered("source_reweighted"), join([english, german]), workspace).test
    with pytest.raises(BadCorpus, match=r"english \(source\).*which is 'female' in all"):
        prepare(ordered("source_reweighted"), join([corpus("english", ("female",) * 8), corpus("german")]), workspace)


def test_groups_that_the_two_sides_do_not_share_are_refused(ordered, planned):
    sides = [corpus(name, PAIR) for name in ("english", "german")]
    told = [
        replace(one, table=one.table.assign(accent=one.table["gender"].map(places)))
        for one, places in zip(
            sides, ({"female": "north", "male": "south"}, {"female": "east", "male": "west"}), strict=True
        )
    ]
    with pytest.raises(BadCorpus, match="share fewer than two groups by accent"):
        planned(ordered("cfa", 'data.protected="accent"'), *told)


def test_an_attribute_that_no_manifest_has_is_refused(ordered, planned):
    with pytest.raises(BadCorpus, match="no corpus has a column 'race'"):
        planned(ordered("cfa", 'data.protected="race"'), corpus("english"), corpus("german"))


@pytest.mark.parametrize("name", ["cfa", "source_only"])
def test_emotions_that_the_source_lacks_are_refused_unless_they_are_left_out(
    ordered, planned, name, encoder, workspace
):
    corpora = corpus("english", emotions=("neutral", "anger")), corpus("german", emotions=(*EMOTIONS, "fear"))
    recipe = ordered(name, 'data.emotions="corpus"')
    with pytest.raises(
        BadCorpus, match="48 utterances of the target are happiness, fear.*set data.emotions=shared to leave them out"
    ):
        planned(recipe, *corpora)
    assert set(prepare(ordered(name), join(corpora), workspace).corpus.emotions) == {"neutral", "anger"}


def test_fewer_than_two_shared_classes_are_refused_and_both_sides_are_told(ordered, planned):
    with pytest.raises(
        BadCorpus, match="share 1 emotions, and two are needed.*english: anger, neutral; german: anger, fear"
    ):
        planned(
            ordered(), corpus("english", emotions=("neutral", "anger")), corpus("german", emotions=("anger", "fear"))
        )


def test_a_class_to_be_told_from_the_rest_must_be_there(ordered, planned):
    with pytest.raises(
        BadRecipe, match="data.against_rest is 'fear', but english.german has neutral, happiness, anger"
    ):
        planned(ordered("cfa", 'data.against_rest="fear"'), corpus("english"), corpus("german"))


@pytest.mark.parametrize("n_folds", [4, None])
def test_too_few_speakers_of_the_target_for_the_folds_are_refused(n_folds):
    both = join([corpus("english"), corpus("german", PAIR[: 3 if n_folds else 1])])
    with pytest.raises(
        BadCorpus, match="german has . speakers: too few for . folds.*others than those who are adapted to"
    ):
        target_folds(both, DataChoice(target="german"), n_folds)


def test_too_few_to_adapt_to_are_refused_before_training(ordered, encoder, workspace):
    """Two folds of one woman and one man: whoever is left to adapt to has one gender."""
    with pytest.raises(BadCorpus, match=r"german \(target\).*in all 1 of them"):
        both = join([corpus("english"), corpus("german", ("female", "male"))])
        set_up([ordered()], both, encoder, Design(2, 1), workspace, "cpu", silent)


def test_recipes_with_different_targets_are_not_compared(ordered, encoder, workspace):
    recipes = [ordered(), ordered("source_only", 'data.target="english"')]
    with pytest.raises(BadRecipe, match=r"different \[data\] target, protected or unlabelled"):
        set_up(recipes, join([corpus("english"), corpus("german")]), encoder, Design(2, 1), workspace, "cpu", silent)


# who does what


def names(prefix: str, *numbers: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number}" for number in numbers)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["cfa", "source_only"])
def test_dev_speakers_are_of_the_source_and_test_speakers_of_the_target(ordered, workspace, name, seed):
    prepared = prepare(ordered(name), join([corpus("english"), corpus("german")]), workspace, seed)
    assert prepared.dev and all(one.startswith("english") for one in prepared.dev)
    assert len(prepared.test) == 4 and all(one.startswith("german") for one in prepared.test)
    heard = {*names("german", *range(8))} - {*prepared.test} if name == "cfa" else set()
    assert {*prepared.target} == heard  # by a method that adapts, and by no other
    assert {*prepared.train} == {*names("english", *range(8))} - {*prepared.dev}
    genders = prepared.corpus.table.groupby("speaker")["gender"].first()
    assert genders[[*prepared.test]].value_counts().to_dict() == {"female": 2, "male": 2}


def test_the_first_corpus_may_be_the_target_as_well(ordered, workspace):
    prepared = prepare(ordered("cfa", 'data.target="english"'), join([corpus("english"), corpus("german")]), workspace)
    assert all(one.startswith("english") for one in prepared.test)
    assert all(one.startswith("german") for one in prepared.dev)


SPLIT = {0: "train", 1: "train", 2: "dev", 3: "dev", 4: "test", 5: "test", 6: "train", 7: "train"}


def test_of_a_manifests_split_the_sources_dev_and_the_targets_test_speakers_count(ordered, workspace):
    """The others of dev and test were to be kept apart, and are: they have no role at all."""
    both = join([corpus("english", splits=SPLIT), corpus("german", splits=SPLIT)])
    prepared = prepare(ordered(), both, workspace)
    assert prepared.dev == names("english", 2, 3) and prepared.test == names("german", 4, 5)
    assert prepared.target == names("german", 0, 1, 6, 7)
    assert prepared.train == names("english", 0, 1, 6, 7)
    assert not set(prepared.corpus.table["speaker"]) & {*names("english", 4, 5), *names("german", 2, 3)}


def test_a_named_split_is_divided_in_the_same_way(ordered, workspace, tmp_path):
    split = tmp_path / "split.toml"
    split.write_text('dev = ["english0", "english1", "german0"]\ntest = ["english7", "german6", "german7"]\n')
    prepared = prepare(ordered("cfa", f'data.split="{split}"'), join([corpus("english"), corpus("german")]), workspace)
    assert (prepared.dev, prepared.test) == (names("english", 0, 1), names("german", 6, 7))
    assert not set(prepared.corpus.table["speaker"]) & {"german0", "english7"}


def test_every_row_has_one_role_and_the_verdict_says_who_is_adapted_to(ordered, workspace):
    prepared = prepare(ordered(), join([corpus("english"), corpus("german")]), workspace)
    table = prepared.corpus.table.assign(role=prepared.role())
    assert table.groupby("corpus")["role"].unique().map(set).to_dict() == {
        "english": {"train", "dev"}, "german": {"target", "test"},
    }  # fmt: skip
    assert prepared.verdict()["adapted_to_other_speakers_of"] == ["german"]
    assert prepared.verdict()["speakers_on_both_sides"] == []
    alone = ordered("baseline", 'data.emotions="corpus"')
    assert "adapted_to_other_speakers_of" not in prepare(alone, join([corpus("english")]), workspace).verdict()


@pytest.fixture
def experiment(ordered, encoder, workspace, monkeypatch):
    """Two folds of two recipes on manifests; what would be heard is a zero."""
    import torch

    from ser_core.data.batches import Utterances

    def silence(corpus, emotions, *others):
        return Utterances(corpus, emotions, torch.zeros(len(corpus), encoder.n_layers, 2 * encoder.width))

    monkeypatch.setattr("ser_core.training.crossvalidation.embedded", silence)
    both = join([corpus("english"), corpus("german", ("female",) * 5 + ("male",) * 3)])
    return set_up([ordered(), ordered("source_only")], both, encoder, Design(2, 2), workspace, "cpu", silent)


def test_in_folds_the_target_is_dealt_out_and_nobody_is_on_two_sides(experiment):
    assert experiment.verdict["adapted_to_other_speakers_of"] == ["german"]
    assert sorted(one for fold in experiment.folds for one in fold) == [*names("german", *range(8))]
    speaker = experiment.utterances.corpus.table["speaker"].to_numpy()
    for seed in range(2):
        for fold, test in enumerate(experiment.folds):
            for recipe in experiment.recipes:
                _, plan, dev = fold_plan(experiment, recipe, seed, fold)
                heard = {role: set(speaker[getattr(plan, role)]) for role in ("train", "dev", "test", "target")}
                assert heard["test"] == set(test) and heard["dev"] == set(dev) <= {*names("english", *range(8))}
                assert heard["target"] == {*names("german", *range(8))} - set(test)
                assert heard["train"] == {*names("english", *range(8))} - set(dev)
                np.testing.assert_array_equal(plan.mixed, [*plan.train, *plan.target])


def test_each_fold_has_its_share_of_each_group(experiment):
    genders = experiment.utterances.corpus.table.groupby("speaker")["gender"].first()
    counts = pd.DataFrame([genders[fold].value_counts() for fold in experiment.folds])
    assert (np.ptp(counts.to_numpy(), axis=0) <= 1).all() and counts.to_numpy().min() >= 1


def test_one_speaker_may_be_left_out_at_a_time():
    both = join([corpus("english"), corpus("german")])
    folds = target_folds(both, DataChoice(target="german"), None)
    assert sorted(folds) == [[one] for one in names("german", *range(8))]


# classes


def test_classes_that_are_not_shared_become_other_and_the_corpus_says_how_many():
    both = join([corpus("english"), corpus("german", emotions=("neutral", "anger", "fear"))])
    shared = with_shared_classes(both, DataChoice())
    assert shared.emotions == ("neutral", "anger")
    lost = both.table["emotion"].isin(["happiness", "fear"])
    assert (shared.table["emotion"][lost] == "other").all()
    assert (shared.table["emotion"][~lost] == both.table["emotion"][~lost]).all()
    assert [line.partition(" are left out")[0] for line in shared.problems] == [
        "english: 24 utterances of happiness", "german: 24 utterances of fear",
    ]  # fmt: skip


def test_one_class_is_told_from_all_others_together():
    told = against_rest(corpus("english"), "anger")
    assert told.emotions == ("anger", "rest") and told.table["emotion"].value_counts().to_dict() == {
        "rest": 48,
        "anger": 24,
    }
    table = corpus("english").table
    table["emotion"] = table["emotion"].replace("happiness", "other")
    some = against_rest(Corpus("english", table, ("neutral", "anger")), "anger")
    assert some.table["emotion"].value_counts().to_dict() == {"anger": 24, "other": 24, "rest": 24}


def test_the_last_is_the_corpus_that_was_named_last():
    both = join([corpus("zulu"), corpus("arabic")])
    assert target_of(both, DataChoice(target="last")) == "arabic"
    assert target_of(both, DataChoice(target="zulu")) == "zulu" and target_of(both, DataChoice()) == ""

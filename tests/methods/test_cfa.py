"""Combined Fairness Adaptation in a world of hand-made features whose bias is known; losses against autograd of the paper's signs."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import Corpus, join, make_corpus
from ser_core.evaluation.gaps import mean_gaps
from ser_core.evaluation.performance import uar
from ser_core.evaluation.probe import ask
from ser_core.inference.predict import answers
from ser_core.methods import METHODS
from ser_core.methods.base import FeatureShape
from ser_core.methods.checkpoint import load_method, save_method
from ser_core.nn.losses import pair_loss
from ser_core.recipe import BadRecipe, DataChoice, Recipe, TrainingSettings
from ser_core.training.adaptation import as_told
from ser_core.training.preparation import make_plan
from ser_core.training.states import States
from ser_core.training.trainer import Plan, Stopped, Watch, fit, seeded

EMOTIONS = ("neutral", "anger")
N_VALUES = 8
NETWORK = {"embedding": 16, "hidden": 16, "input_dropout": 0.0, "dropout": 0.0}
ADAPTED = DataChoice(target="target")
MUCH = TrainingSettings(epochs=15, batch_size=64, learning_rate=3e-3)
LITTLE = TrainingSettings(epochs=2, batch_size=16, learning_rate=3e-3)


def spoken(seed: int = 0, n_speakers: int = 16, n_each: int = 30, confounded: float = 0.9) -> Utterances:
    """Two corpora: what is heard is the emotion (value 0), louder the gender (value 1), and the recording (value 2); else noise.

    In the source so many of the men's utterances are angry, and of the women's neutral; in the target half of either's.
    """
    rng, tables, heard = np.random.default_rng(seed), {"source": {}, "target": {}}, {}
    for name, speaker, place in (
        (a, b, c) for a in ("source", "target") for b in range(n_speakers) for c in range(n_each)
    ):
        man, share = speaker % 2, confounded if name == "source" else 0.5
        angry = int((place + 0.5) / n_each < (share if man else 1 - share))
        utterance_id = f"{name}{speaker:02}_{place:02}"
        tables[name][utterance_id] = {
            "path": "none.wav", "speaker": f"{name}{speaker:02}", "emotion": EMOTIONS[angry], "text_id": str(place),
            "gender": ("female", "male")[man], "accent": "abc"[speaker % 3], "age": 20 + 15 * (speaker % 3),
        }  # fmt: skip
        heard[utterance_id] = rng.normal(size=N_VALUES)
        heard[utterance_id][:3] += 2 * angry - 1, 4 * man - 2, 1.5 * (name == "target")
    corpus = join([make_corpus(name, pd.DataFrame.from_dict(rows, orient="index")) for name, rows in tables.items()])
    features = np.array([heard[one] for one in corpus.table.index], dtype=np.float32)
    return Utterances(corpus, EMOTIONS, torch.from_numpy(features)[:, None])


def plan_of(utterances: Utterances) -> Plan:
    """A quarter of the source's speakers choose, half of the target's are measured."""
    names = sorted(utterances.corpus.table["speaker"].unique())
    source, target = ([one for one in names if one.startswith(name)] for name in ("source", "target"))
    dev, test = source[: len(source) // 4], target[len(target) // 2 :]
    return make_plan(utterances, first_of_each(utterances.corpus), dev, test, ADAPTED)


def built(method: str = "cfa", **settings):
    return METHODS[method].build({**NETWORK, **settings}, FeatureShape(1, N_VALUES, (0,)), EMOTIONS, "test")


def trained(utterances: Utterances, method: str = "cfa", seed: int = 0, much=MUCH, data=ADAPTED, watch=None, **settings):  # fmt: skip
    """The method, and every epoch's record."""
    plan, records = plan_of(utterances), []
    seeded(seed)
    one = built(method, **settings)
    watch = replace(watch or Watch(), on_epoch=records.append)
    fit(one, as_told(utterances, plan.target, data), plan, much, seed, "cpu", watch)
    return one, records


def asked(method, utterances: Utterances, rows: np.ndarray | None = None):
    """What it answers to the target's speakers who are measured."""
    return answers(method, utterances, plan_of(utterances).test if rows is None else rows, {})


@pytest.fixture(scope="module")
def small() -> Utterances:
    return spoken(n_speakers=8, n_each=12, confounded=0.7)


def shortly(utterances: Utterances, **settings):
    """Two epochs of the source, and two of both."""
    return trained(utterances, much=LITTLE, source_epochs=2, **settings)


@pytest.fixture(scope="module")
def undisturbed(small):
    """From settings to a short training that nobody stopped, and its records; each trained once."""
    known: dict[tuple, tuple] = {}

    def of(**settings):
        key = tuple(sorted(settings.items()))
        if key not in known:
            known[key] = shortly(small, **settings)
        return known[key]

    return of


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Such small networks are many times quicker on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# what it is for


def measured(method: str, seed: int, **settings) -> dict[str, float]:
    """Of the target's speakers who were not heard: mean gaps, UAR, and what a fresh probe tells their gender by."""
    utterances = spoken(seed)
    one, _ = trained(utterances, method, seed, **settings)
    plan = plan_of(utterances)
    said, group = asked(one, utterances), utterances.group
    predicted, truth = said.probability.argmax(axis=1), utterances.emotion[plan.test]
    rows = np.concatenate([plan.test, plan.target])
    embedding = np.concatenate([said.embedding, asked(one, utterances, plan.target).embedding])
    told = ask(embedding, group[rows], utterances.speaker[rows], np.arange(len(rows)) < len(plan.test))
    return {
        **mean_gaps(truth, predicted, group[plan.test], 2),
        "uar": uar(truth, predicted),
        "probe": uar(told["label"], told["predicted"]),
    }


def mean_of_two_seeds(method: str, **settings) -> pd.Series:
    return pd.DataFrame([measured(method, seed, **settings) for seed in (0, 1)]).mean()


@pytest.fixture(scope="module")
def source_only() -> pd.Series:
    return mean_of_two_seeds("baseline")


def test_the_bias_of_the_source_is_there_when_only_the_source_is_learned_from(source_only):
    """Men are angry in the source, and so they are in the target, where half of everybody's utterances are."""
    assert source_only["sp"] > 0.3 and source_only["eo"] > 0.3 and source_only["probe"] > 0.9


def test_with_a_strong_adversary_cfa_takes_most_of_the_bias_away_and_recognises_no_less(source_only):
    """β = 2, four times the paper's: with 0.5 some of the gap goes in this world, but not most of it."""
    adapted = mean_of_two_seeds("cfa", beta=2.0, source_epochs=10)
    assert adapted["sp"] < 0.4 * source_only["sp"] and adapted["eo"] < 0.4 * source_only["eo"]
    assert adapted["uar"] > source_only["uar"] - 0.02


def test_with_erasure_most_of_the_bias_is_gone_and_a_line_no_longer_tells_gender(source_only):
    adapted = mean_of_two_seeds("cfa", source_epochs=10, beta=1.0, erased=True, standardised="each")
    assert adapted["sp"] < 0.5 * source_only["sp"] and adapted["eo"] < 0.5 * source_only["eo"]
    assert adapted["uar"] > source_only["uar"] - 0.02
    assert adapted["probe"] < 0.65 < source_only["probe"]


# the losses


def joint_batch(utterances: Utterances, n: int = 24):
    """Rows of both corpora as training sees them."""
    plan = plan_of(utterances)
    told = as_told(utterances, plan.target, ADAPTED)
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.choice(plan.train, n), rng.choice(plan.target, n)])
    return told, told.batch(rows, [np.empty(0, dtype=np.int64)] * len(rows))


def prepared(utterances: Utterances, **settings):
    """Not trained, with its adversary."""
    torch.manual_seed(0)
    one = built(smoothing=0.0, **settings)
    one.fit_statistics(utterances, plan_of(utterances).train)
    return one.eval()


def test_the_joint_loss_moves_the_trunk_as_the_papers_sum_of_three_terms_would(small):
    """L_EC + 0.5·L_GSim − 0.5·L_GC written out, without the layer that reverses; the adversary itself learns + 0.5·L_GC."""
    told, batch = joint_batch(small)
    one = prepared(told)
    trunk, adversary = list(one.trunk.parameters()), list(one.adversary.parameters())
    terms = one.joint_loss(batch)
    ours = torch.autograd.grad(sum(terms.values()), [*trunk, *adversary])
    z, of_source = one(batch).embedding, batch.emotion >= 0
    weight = one.class_weight_
    emotion = cross_entropy(one.head(z)[of_source], batch.emotion[of_source], weight)
    gender = cross_entropy(one.adversary(z), batch.group)
    whole = emotion + 0.5 * pair_loss(z, batch.group, batch.source) - 0.5 * gender
    expected = torch.autograd.grad(whole, trunk, retain_graph=True) + torch.autograd.grad(0.5 * gender, adversary)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)
    assert int(of_source.sum()) == 24 and (batch.emotion[batch.source == batch.source.max()] == -1).all()


def test_a_term_whose_weight_is_zero_is_left_out(small):
    told, batch = joint_batch(small)
    names = {"emotion", "gender_similarity", "gender_adversary"}
    for settings, left_out in (({"alpha": 0.0}, "gender_similarity"), ({"beta": 0.0}, "gender_adversary")):
        one = prepared(told, **settings)
        assert set(one.joint_loss(batch)) == names - {left_out}
        assert (one.adversary is None) == (left_out == "gender_adversary")


def test_with_a_ramp_the_adversary_is_not_heard_at_the_start_and_wholly_at_the_end(small):
    told, batch = joint_batch(small)

    def gradient(progress: float, **settings) -> torch.Tensor:
        one = prepared(told, **settings)
        one.progress = progress
        return torch.autograd.grad(one.joint_loss(batch)["gender_adversary"], one.trunk.layers[1].weight)[0]

    whole = gradient(0.0, ramp=False)
    assert (gradient(0.0, ramp=True) == 0).all() and whole.abs().max() > 0
    torch.testing.assert_close(gradient(1.0, ramp=True), whole, rtol=1e-3, atol=1e-7)


def test_speakers_of_unknown_group_change_neither_term(small):
    told, batch = joint_batch(small)
    one = prepared(told)
    stranger = batch.group == batch.group
    stranger[::5] = False  # some of both corpora
    rows = batch.row.numpy()[stranger.numpy()]
    known = told.batch(rows, [np.empty(0, dtype=np.int64)] * len(rows))
    mixed = replace(batch, group=torch.where(stranger, batch.group, -1))
    for term in ("gender_similarity", "gender_adversary"):
        torch.testing.assert_close(one.joint_loss(mixed)[term], one.joint_loss(known)[term])
    assert one.joint_loss(mixed)["emotion"] == one.joint_loss(batch)["emotion"]  # they are learned from all the same
    nobody = replace(batch, group=torch.full_like(batch.group, -1))
    assert one.joint_loss(nobody)["gender_similarity"] == one.joint_loss(nobody)["gender_adversary"] == 0


def test_a_batch_of_the_target_alone_teaches_no_emotion(small):
    told, batch = joint_batch(small)
    one = prepared(told)
    rows = plan_of(small).target[:8]
    of_target = told.batch(rows, [np.empty(0, dtype=np.int64)] * len(rows))
    terms = one.joint_loss(of_target)
    assert terms["emotion"] == 0 and terms["gender_similarity"] == 0 and terms["gender_adversary"] > 0


@pytest.mark.parametrize(
    "wrong", [{"margin": 2.5}, {"alpha": -1.0}, {"beta": -0.5}, {"standardised": "both"}, {"source_epochs": 0}]
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(BadRecipe, match=next(iter(wrong))):
        built(**wrong)


# what training may know


def weights(method) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in method.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


FORMS = {"paper": {}, "own": {"standardised": "each", "erased": True}}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def altered(utterances: Utterances, **columns) -> Utterances:
    table = utterances.corpus.table.assign(**columns)
    return Utterances(Corpus(utterances.corpus.name, table, utterances.corpus.emotions), EMOTIONS, utterances.features)


@every_form
def test_training_never_sees_the_emotions_of_the_target(small, form, undisturbed):
    table = small.corpus.table
    of_target = table["corpus"] == "target"
    shuffled = table["emotion"].copy()
    shuffled[of_target] = table["emotion"][of_target].sample(frac=1, random_state=0).to_numpy()
    assert (shuffled != table["emotion"]).sum() > 20
    again, _ = shortly(altered(small, emotion=shuffled), **form)
    assert same(weights(undisturbed(**form)[0]), weights(again))


@every_form
def test_training_never_hears_the_speakers_who_are_measured(small, form, undisturbed):
    features = small.features.clone()
    features[plan_of(small).test] = 1e3
    again, _ = shortly(replace(small, features=features), **form)
    assert same(weights(undisturbed(**form)[0]), weights(again))


def test_the_groups_of_the_target_are_learned_from(small, undisturbed):
    """Or the tests above would prove little."""
    table = small.corpus.table
    swapped = table["gender"].mask(
        table["corpus"] == "target", table["gender"].map({"male": "female", "female": "male"})
    )
    assert not same(weights(undisturbed()[0]), weights(shortly(altered(small, gender=swapped))[0]))


@every_form
def test_an_answer_needs_no_gender_and_no_emotion(small, form, undisturbed):
    one, _ = undisturbed(**form)
    nobody = altered(small, gender="unknown")
    test = plan_of(small).test
    np.testing.assert_array_equal(asked(one, nobody, test).probability, asked(one, small, test).probability)
    bare = small.batch(test, [np.empty(0, dtype=np.int64)] * len(test))
    untold = replace(bare, group=None, gender=None, speaker=None, emotion=torch.full_like(bare.emotion, -1))
    torch.testing.assert_close(one(untold).emotion_logits, one(bare).emotion_logits)


def test_only_some_of_the_targets_speakers_may_be_known_and_each_group_keeps_one():
    utterances = spoken(n_speakers=16, n_each=4)
    plan = plan_of(utterances)
    for share, n_known in ((1.0, 4), (0.5, 2), (0.25, 1), (0.0, 1)):
        told = as_told(utterances, plan.target, replace(ADAPTED, known_groups=share))
        table = told.corpus.table.assign(group=told.group)
        heard = table.iloc[plan.target]
        assert heard[heard["group"] >= 0].groupby("group")["speaker"].nunique().tolist() == [n_known, n_known]
        assert (table["group"][table["corpus"] == "source"] >= 0).all()
        assert (told.emotion[(table["corpus"] == "target").to_numpy()] == -1).all()


def test_with_partly_known_groups_the_others_group_is_never_looked_at(small):
    data = replace(ADAPTED, known_groups=0.5)
    told = as_told(small, plan_of(small).target, data).corpus.table["gender"]
    hidden = small.corpus.table["gender"].mask(told.isna(), "unknown")
    assert (hidden == "unknown").any()
    first, again = (shortly(one, data=data)[0] for one in (small, altered(small, gender=hidden)))
    assert same(weights(first), weights(again))


@pytest.mark.parametrize(("attribute", "n_groups"), [("accent", 3), ("age", 3)])
def test_the_protected_attribute_may_be_age_or_any_column_with_three_groups(small, attribute, n_groups):
    """Ages 20, 35 and 50 are three bands."""
    data = replace(ADAPTED, protected=attribute)
    one, records = shortly(small, data=data, erased=True)
    told = as_told(small, plan_of(small).target, data)
    assert len(told.groups) == n_groups == one.adversary.layers[-1].out_features
    rows = plan_of(small).target
    embedding = asked(one, small, rows).embedding
    means = [embedding[told.group[rows] == group].mean(axis=0) for group in range(n_groups)]
    np.testing.assert_allclose(means, [means[0]] * n_groups, atol=1e-4)
    assert all(np.isfinite(record["target_delta_sp"]) for record in records)


# records and files


@every_form
def test_the_gaps_stand_in_every_epochs_record(form, undisturbed):
    _, records = undisturbed(**form)
    names = ["source"] * 2 + ["joint"] * 2 + (["erased"] * 5 if "erased" in form else [])
    assert [record["stage"] for record in records] == names
    for record in records:
        assert all(0 <= record[name] <= 1 for name in ("dev_delta_sp", "dev_delta_eo", "target_delta_sp"))
        assert "target_delta_eo" not in record  # it would need the target's emotions
    assert {"emotion", "gender_similarity", "gender_adversary"} <= set(records[2])


def test_the_gaps_of_the_last_epoch_are_those_of_its_answers(small, undisturbed):
    one, records = undisturbed()
    plan = plan_of(small)
    for rows, where, kinds in ((plan.dev, "dev", ("sp", "eo")), (plan.target, "target", ("sp",))):
        said = asked(one, small, rows).probability.argmax(axis=1)
        expected = mean_gaps(small.emotion[rows], said, small.group[rows], 2)
        assert {kind: records[-1][f"{where}_delta_{kind}"] for kind in kinds} == pytest.approx(
            {kind: expected[kind] for kind in kinds}
        )


@every_form
def test_a_saved_method_has_no_adversary_and_answers_about_the_target_as_before(small, form, undisturbed, tmp_path):
    one, _ = undisturbed(**form)
    assert one.adversary is not None
    save_method(one, Recipe("cfa", "cfa"), tmp_path)
    assert not [name for name in load_file(tmp_path / "weights.safetensors") if "adversary" in name]
    loaded = load_method(tmp_path)
    np.testing.assert_array_equal(asked(loaded, small).probability, asked(one, small).probability)
    live = small.batch(plan_of(small).test[:3], [np.empty(0, dtype=np.int64)] * 3)
    alone = replace(live, source=torch.zeros_like(live.source))  # a person at the microphone is of the target
    torch.testing.assert_close(loaded(alone).emotion_logits, one(live).emotion_logits)


STOPS = [({}, 2), ({}, 3), ({}, 4), ({"erased": True}, 3), ({"erased": True}, 6), ({"standardised": "each"}, 2)]
STOPS += [({"standardised": "each", "erased": True}, epoch) for epoch in (3, 4, 6)]


@pytest.mark.parametrize(("form", "epoch"), STOPS)
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(small, form, epoch, undisturbed, tmp_path):
    """In the middle of the source stage, of both epochs of the joint one, and of the one after the erasure."""
    whole, records = undisturbed(**form)
    at = SimpleNamespace(epoch=0, share=0.0)

    def here(number: int, n_epochs: int, share: float) -> None:
        at.epoch, at.share = number, share

    states = States(tmp_path)
    watch = Watch(on_batch=here, should_stop=lambda: at.epoch == epoch and at.share > 0.3, states=states)
    with pytest.raises(Stopped):
        shortly(small, watch=watch, **form)
    assert (at.epoch, at.share < 1) == (epoch, True)
    restored: list[dict] = []
    resumed, rest = shortly(small, watch=Watch(states=states, on_restored=restored.append), **form)
    assert len(restored) == epoch - 1 and len(rest) == len(records) - len(restored)
    assert same(weights(whole), weights(resumed))

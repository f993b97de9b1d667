"""Intra-speaker clusters: the loss by hand, and trainings in a world of hand-made voices whose clusters are known."""

from collections import Counter
from dataclasses import replace
from math import e, exp, log
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cosine_similarity

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import BadCorpus, make_corpus
from ser_core.evaluation.clusters import NONE
from ser_core.evaluation.performance import uar
from ser_core.inference.predict import answers
from ser_core.methods import METHODS
from ser_core.methods.base import FeatureShape, Preparation
from ser_core.methods.checkpoint import load_method, save_method
from ser_core.methods.cluster_contrastive import contrastive_loss, pairs_of
from ser_core.recipe import BadRecipe, DataChoice, Recipe, TrainingSettings
from ser_core.training.preparation import make_plan
from ser_core.training.states import States
from ser_core.training.trainer import Plan, Stopped, Watch, fit, seeded

EMOTIONS = ("neutral", "happiness", "sadness", "anger")
N_VALUES = 48
NETWORK = {"embedding": 16, "hidden": 16, "input_dropout": 0.0, "dropout": 0.0, "projection": 16}
LITTLE = TrainingSettings(epochs=2, batch_size=16, learning_rate=3e-3)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Such small networks are many times quicker on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def spoken(seed: int = 0, n_speakers: int = 10, n_each: int = 20, heard: float = 4.0) -> Utterances:
    """Four values of a feature rise with an emotion each, the other 44 are noise; a voice is the speaker plus the emotion.

    So clusters of voices are emotions, and who knows these knows which values of the features count.
    """
    rng, rows, features, voices = np.random.default_rng(seed), {}, {}, {}
    of_emotion, of_speaker = rng.normal(size=(4, 8)), 3 * rng.normal(size=(n_speakers, 8))
    sound = 0.3 * rng.normal(size=(n_speakers, N_VALUES))
    for speaker, place, take in ((a, b, c) for a in range(n_speakers) for b in range(4) for c in range(n_each)):
        utterance_id = f"s{speaker:02}_{EMOTIONS[place]}_{take:02}"
        rows[utterance_id] = {
            "path": "none.wav", "speaker": f"s{speaker:02}", "emotion": EMOTIONS[place], "text_id": str(take),
            "gender": ("female", "male")[speaker % 2],
        }  # fmt: skip
        features[utterance_id] = rng.normal(size=N_VALUES) + sound[speaker]
        features[utterance_id][place] += heard
        voices[utterance_id] = of_speaker[speaker] + of_emotion[place] + 0.2 * rng.normal(size=8)
    corpus = make_corpus("spoken", pd.DataFrame.from_dict(rows, orient="index"))
    x, voice = (
        torch.tensor(np.array([values[one] for one in corpus.table.index]), dtype=torch.float32)
        for values in (features, voices)
    )
    return Utterances(corpus, EMOTIONS, x[:, None], speaker_embedding=voice)


def plan_of(utterances: Utterances, labels: float = 1.0) -> Plan:
    """The first speaker chooses, the next four are measured."""
    names = sorted(utterances.corpus.table["speaker"].unique())
    return make_plan(utterances, first_of_each(utterances.corpus), names[:1], names[1:5], DataChoice(labels=labels))


def built(**settings):
    return METHODS["cluster_contrastive"].build(
        {**NETWORK, **settings}, FeatureShape(1, N_VALUES, (0,)), EMOTIONS, "test"
    )


def weights(method) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in method.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


# the loss


def rows_of(speaker: list[int], cluster: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(cluster), torch.tensor(speaker)


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, log((e + 2) / e)), (0.5, log((exp(2) + 2) / exp(2)))])
def test_the_loss_of_two_speakers_by_hand(temperature, expected):
    """The first says two things twice, at right angles: of three others one is alike, cosine 1, and two are not, cosine 0.

    The second says two things once, so nobody of hers has a positive. Length does not count.
    """
    embedding = torch.tensor([[1.0, 0], [2, 0], [0, 3], [0, 1], [1, 0], [0, 1]])
    cluster, speaker = rows_of([0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1])
    assert float(contrastive_loss(embedding, cluster, speaker, temperature)) == pytest.approx(expected)


def test_several_positives_are_averaged_outside_of_the_logarithm():
    """(1, 0) with the positives (1, 0) and (0, 1) and no negative, τ = 1; the formula of the paper, term by term."""
    embedding = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    at_left = -(log(e / (e + 1)) + log(1 / (e + 1))) / 2
    at_top = -2 * log(1 / 2) / 2
    found = contrastive_loss(embedding, *rows_of([0, 0, 0], [3, 3, 3]), 1.0)
    assert float(found) == pytest.approx((2 * at_left + at_top) / 3)


def looped(embedding: torch.Tensor, cluster: torch.Tensor, speaker: torch.Tensor, temperature: float) -> float:
    """Equation 2 of arXiv 2004.11362 within one speaker, utterance by utterance."""
    losses, n = [], len(embedding)
    for i in range(n):
        there = [j for j in range(n) if j != i and speaker[j] == speaker[i] and cluster[j] >= 0 and cluster[i] >= 0]
        alike = [j for j in there if cluster[j] == cluster[i]]
        if alike:
            raised = {j: exp(float(cosine_similarity(embedding[i], embedding[j], dim=0)) / temperature) for j in there}
            losses.append(-sum(log(raised[p] / sum(raised.values())) for p in alike) / len(alike))
    return sum(losses) / len(losses)


def random_batch(seed: int, n: int = 40):
    rng = torch.Generator().manual_seed(seed)
    embedding = torch.randn(n, 6, generator=rng, dtype=torch.float64).float()
    return embedding, torch.randint(-1, 4, (n,), generator=rng), torch.randint(0, 3, (n,), generator=rng)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_loss_is_the_papers_formula_looped_over_utterances(seed, temperature):
    batch = random_batch(seed)
    assert float(contrastive_loss(*batch, temperature)) == pytest.approx(looped(*batch, temperature), rel=1e-4)


def test_positives_never_cross_speakers_although_their_clusters_have_the_same_numbers():
    _, cluster, speaker = random_batch(0)
    alike = pairs_of(cluster, speaker)
    crossing = speaker[:, None] != speaker[None]
    assert not (alike & crossing).any() and alike.any() and torch.equal(alike, alike.T)
    assert ((cluster[:, None] == cluster[None]) & (cluster[:, None] >= 0) & crossing).any()
    assert not alike.diagonal().any()


def test_what_another_speaker_says_changes_nothing_and_is_not_moved():
    """The second speaker has no positives, so all of the loss is the first's."""
    embedding, cluster, _ = random_batch(1, 24)
    speaker, cluster = torch.arange(24) % 2, cluster.clamp(min=0)
    cluster[1::2] = torch.arange(12)
    embedding.requires_grad_(True)
    loss = contrastive_loss(embedding, cluster, speaker)
    (moved,) = torch.autograd.grad(loss, embedding)
    assert (moved[1::2] == 0).all() and (moved[::2].abs().sum(dim=1) > 0).all()
    other = embedding.detach().clone()
    other[1::2] = torch.randn(12, 6, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(contrastive_loss(other, cluster, speaker), loss.detach())


def test_the_loss_of_several_speakers_is_the_mean_of_theirs_by_how_many_have_a_positive():
    embedding, cluster, speaker = random_batch(2)
    own = [speaker == one for one in range(3)]
    n = [int(pairs_of(cluster, speaker)[rows].any(dim=1).sum()) for rows in own]
    apart = [float(contrastive_loss(embedding[rows], cluster[rows], speaker[rows])) for rows in own]
    assert float(contrastive_loss(embedding, cluster, speaker)) == pytest.approx(np.average(apart, weights=n))


def test_those_in_no_cluster_have_no_influence():
    embedding, cluster, speaker = random_batch(3)
    there = cluster >= 0
    embedding.requires_grad_(True)
    loss = contrastive_loss(embedding, cluster, speaker)
    torch.testing.assert_close(loss, contrastive_loss(embedding[there], cluster[there], speaker[there]))
    (moved,) = torch.autograd.grad(loss, embedding)
    assert (~there).sum() > 3 and (moved[~there] == 0).all() and moved.isfinite().all()


@pytest.mark.parametrize("cluster", [[NONE] * 4, [0, 1, 2, 3], [0, NONE, 1, NONE]])
def test_where_nobody_has_a_positive_the_loss_is_zero_and_so_is_what_is_learned(cluster):
    embedding = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    loss = contrastive_loss(embedding, torch.tensor(cluster), torch.zeros(4, dtype=torch.long))
    loss.backward()
    assert float(loss.detach()) == 0 and (embedding.grad == 0).all()


def test_it_is_least_where_clusters_are_apart_and_together():
    cluster, speaker = torch.arange(12) % 3, torch.zeros(12, dtype=torch.long)
    apart, wrong = torch.eye(3)[cluster], torch.eye(3)[torch.arange(12) // 4]
    assert contrastive_loss(apart, cluster, speaker) < contrastive_loss(wrong, cluster, speaker) - 1
    assert float(contrastive_loss(apart, cluster, speaker)) == pytest.approx(log(3), abs=1e-2)  # three positives


# what it is for


def measured(seed: int, **settings) -> float:
    """UAR of the test speakers from three labels an emotion, on what pre-training made of the trunk; no epoch is chosen."""
    utterances = spoken(seed)
    plan = plan_of(utterances, labels=0.03)
    assert Counter(utterances.emotion[plan.train].tolist()) == dict.fromkeys(range(4), 3)
    much = TrainingSettings(epochs=60, batch_size=64, learning_rate=1e-2)
    how = {"pretrain_epochs": 20, "pretrain_learning_rate": 1e-2, "freeze_trunk": True, **settings}
    seeded(seed)
    one = built(**how)
    fit(one, utterances, replace(plan, dev=plan.dev[:0]), much, seed, "cpu")
    said = answers(one, utterances, plan.test, {}).probability.argmax(axis=1)
    return uar(utterances.emotion[plan.test], said)


@pytest.mark.parametrize("seed", [0, 1])
def test_with_few_labels_clusters_that_are_emotions_help_nearly_as_much_as_these_and_random_ones_do_not(seed):
    """Nearly .9 against .4; random pairs teach the trunk nothing that tells emotions apart."""
    none, random = measured(seed, pretrain_epochs=0, freeze_trunk=False), measured(seed, pairs="random")
    clusters, emotions = measured(seed), measured(seed, pairs="emotions")
    assert clusters > none + 0.2 and emotions > none + 0.2 and clusters > emotions - 0.1
    assert random < none + 0.1


# what training does


@pytest.fixture(scope="module")
def small() -> Utterances:
    return spoken(n_speakers=8, n_each=6)


def shortly(utterances: Utterances, watch: Watch | None = None, seed: int = 0, **settings):
    """Two epochs of pre-training, and two of fine-tuning; the method, and every epoch's record."""
    records: list[dict] = []
    seeded(seed)
    small = {"pretrain_epochs": 2, "utterances_per_speaker": 8, "speakers_per_batch": 2}
    one = built(**{**small, "input_dropout": 0.2, "dropout": 0.2, **settings})
    fit(one, utterances, plan_of(utterances), LITTLE, seed, "cpu", replace(watch or Watch(), on_epoch=records.append))
    return one, records


FORMS = {
    "paper": {}, "random": {"pairs": "random"}, "frozen": {"freeze_trunk": True}, "multi-task": {"speaker_weight": 0.1},
    "none": {"pretrain_epochs": 0}, "by silhouette": {"n_clusters": -1},
}  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(small):
    """From the name of a form to a short training that nobody stopped, and its records; each trained once."""
    known: dict[str, tuple] = {}

    def of(form: str):
        if form not in known:
            known[form] = shortly(small, **FORMS[form])
        return known[form]

    return of


@pytest.mark.parametrize("form", ["paper", "random", "multi-task"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(small, form, undisturbed):
    assert same(weights(undisturbed(form)[0]), weights(shortly(small, **FORMS[form])[0]))
    assert not same(weights(undisturbed(form)[0]), weights(shortly(small, seed=1, **FORMS[form])[0]))


STOPS = [("paper", 1), ("paper", 2), ("paper", 3), ("paper", 4), ("random", 2), ("frozen", 2), ("frozen", 4)]
STOPS += [("multi-task", 2), ("multi-task", 3), ("none", 1), ("none", 2), ("by silhouette", 2)]


@pytest.mark.parametrize(("form", "epoch"), STOPS)
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(small, form, epoch, undisturbed, tmp_path):
    """In the middle of each epoch, of the pre-training and of the fine-tuning."""
    whole, records = undisturbed(form)
    at = SimpleNamespace(epoch=0, share=0.0)

    def here(number: int, n_epochs: int, share: float) -> None:
        at.epoch, at.share = number, share

    states = States(tmp_path)
    stops = Watch(on_batch=here, should_stop=lambda: at.epoch == epoch and at.share > 0.2, states=states)
    with pytest.raises(Stopped):
        shortly(small, stops, **FORMS[form])
    assert (at.epoch, at.share < 1) == (epoch, True)
    restored: list[dict] = []
    resumed, rest = shortly(small, Watch(states=states, on_restored=restored.append), **FORMS[form])
    assert len(restored) == epoch - 1 and len(rest) == len(records) - len(restored)
    assert same(weights(whole), weights(resumed))


def test_stopped_between_the_clusters_of_two_speakers_it_begins_again(small, undisturbed, tmp_path):
    asked: list[None] = []

    def third() -> bool:
        asked.append(None)
        return len(asked) == 3

    states = States(tmp_path)
    with pytest.raises(Stopped):
        shortly(small, Watch(should_stop=third, states=states))
    resumed, rest = shortly(small, Watch(states=states))
    assert len(rest) == 4 and same(weights(undisturbed("paper")[0]), weights(resumed))


def test_pretraining_hears_speakers_and_fine_tuning_emotions_and_both_are_logged(undisturbed):
    _, records = undisturbed("paper")
    assert [record["stage"] for record in records] == ["pretrain"] * 2 + ["finetune"] * 2
    assert all("contrastive" in record and "dev_uar" not in record for record in records[:2])
    assert all("emotion" in record and "dev_uar" in record and "speaker" not in record for record in records[2:])
    assert records[1]["contrastive"] < records[0]["contrastive"]


def test_the_multi_task_form_tells_the_speakers_apart_as_well(small, undisturbed):
    one, records = undisturbed("multi-task")
    assert all(record["speaker"] > 0 for record in records[2:])
    rows = plan_of(small).train[:10]
    terms = one.loss(small.batch(rows, [np.empty(0, dtype=np.int64)] * 10))
    said = one.speakers(one(small.batch(rows, [np.empty(0, dtype=np.int64)] * 10)).embedding).log_softmax(dim=1)
    expected = -0.1 * said[torch.arange(10), torch.from_numpy(small.speaker[rows])].mean()
    torch.testing.assert_close(terms["speaker"], expected)


@pytest.mark.parametrize("form", ["paper", "multi-task"])
def test_what_only_training_needs_is_not_saved_and_answers_are_the_same(small, form, undisturbed, tmp_path):
    one, _ = undisturbed(form)
    save_method(one, Recipe("cluster_contrastive", "cluster_contrastive", settings=FORMS[form]), tmp_path)
    saved = load_file(tmp_path / "weights.safetensors")
    assert not [name for name in saved if name.startswith(("projects", "speakers"))]
    test = plan_of(small).test
    np.testing.assert_array_equal(
        answers(load_method(tmp_path), small, test, {}).probability, answers(one, small, test, {}).probability
    )


def test_without_pretraining_there_is_one_stage_and_nothing_to_project(undisturbed):
    one, records = undisturbed("none")
    assert [stage.name for stage in one.stages()] == ["finetune"] == list({record["stage"] for record in records})
    assert one.projects is None


@pytest.mark.parametrize("form", ["none", "paper"])
def test_features_are_standardised_by_all_speech_that_may_be_heard(small, form, undisturbed):
    """Also without pre-training, so that only that differs; those who choose or are tested are not heard."""
    one, _ = undisturbed(form)
    plan = plan_of(small)
    heard = small.features[torch.from_numpy(plan.unlabelled)]
    assert len(plan.unlabelled) > len(plan.train)  # those who are enrolled have no label to learn from
    torch.testing.assert_close(one.front.mean_, heard.mean(dim=0))
    torch.testing.assert_close(one.front.scale_, heard.std(dim=0))


@pytest.mark.parametrize(("frozen", "stays"), [(True, True), (False, False)])
def test_a_frozen_trunk_stays_as_pretraining_made_it_and_the_head_learns(small, frozen, stays):
    seeded(0)
    one, seen = built(pretrain_epochs=2, freeze_trunk=frozen), []
    fit(one, small, plan_of(small), LITTLE, 0, "cpu", Watch(on_epoch=lambda record: seen.append(weights(one))))

    def moved(part: str, first: int, last: int) -> bool:
        names = [name for name in seen[0] if name.startswith(part)]
        return not all(torch.equal(seen[first][name], seen[last][name]) for name in names)

    assert moved("trunk.", 0, 1) and not moved("head.", 0, 1)
    assert moved("trunk.", 1, 3) is not stays and moved("head.", 1, 3)


def test_training_never_hears_the_speakers_who_are_measured(small, undisturbed):
    """Neither in the clusters nor in the statistics."""
    plan = plan_of(small)
    features, voices = small.features.clone(), small.speaker_embedding.clone()
    for kept_apart in (features, voices):
        kept_apart[torch.from_numpy(plan.test)] = 1e3
    again, _ = shortly(replace(small, features=features, speaker_embedding=voices))
    assert same(weights(undisturbed("paper")[0]), weights(again))


# the clusters


def preparation(utterances: Utterances, rows: np.ndarray) -> Preparation:
    nobody = np.empty(0, dtype=np.int64)
    return Preparation(utterances, rows, nobody, rows, nobody, None, lambda: utterances)


def clusters_for(utterances: Utterances, rows: np.ndarray | None = None, **settings) -> np.ndarray:
    """Of each row, as pre-training will use them."""
    one = built(**settings)
    one.prepare_pretraining(preparation(utterances, np.arange(len(utterances.corpus)) if rows is None else rows))
    return one._cluster.numpy()


def test_clusters_are_emotions_where_voices_say_so_and_there_are_as_many(small):
    found = clusters_for(small)
    for one in range(8):
        own = (small.speaker == one) & (found != NONE)
        pairs = set(zip(found[own].tolist(), small.emotion[own].tolist(), strict=True))
        assert len(pairs) == 4 == len({cluster for cluster, _ in pairs})


def test_clusters_do_not_depend_on_emotions_and_only_those_heard_have_one(small):
    rows = plan_of(small).unlabelled
    found = clusters_for(small, rows)
    untold = replace(small.corpus, table=small.corpus.table.assign(emotion=None))
    np.testing.assert_array_equal(clusters_for(replace(small, corpus=untold), rows), found)
    assert (np.delete(found, rows) == NONE).all() and (found[rows] != NONE).mean() > 0.8


def test_random_pairs_are_the_same_clusters_dealt_out_anew(small):
    found, dealt = clusters_for(small), clusters_for(small, pairs="random")
    assert (found != dealt).mean() > 0.5
    for one in range(8):
        own = small.speaker == one
        assert Counter(found[own].tolist()) == Counter(dealt[own].tolist())


def test_true_emotions_are_those_of_the_rows_that_are_heard(small):
    rows = plan_of(small).unlabelled
    found = clusters_for(small, rows, pairs="emotions")
    np.testing.assert_array_equal(found[rows], small.emotion[rows])
    assert (np.delete(found, rows) == NONE).all()


@pytest.mark.parametrize(("settings", "n"), [({"n_clusters": 2}, 2), ({"n_clusters": 0}, 4), ({"n_clusters": 6}, 6)])
def test_there_are_as_many_clusters_as_are_asked_for(small, settings, n):
    found = clusters_for(small, drop_uncertain=False, **settings)
    assert {len(set(found[small.speaker == one])) for one in range(8)} == {n}


# what cannot be


def of_each(utterances: Utterances, n: int) -> np.ndarray:
    """The first rows of every speaker."""
    return np.concatenate([np.flatnonzero(utterances.speaker == one)[:n] for one in np.unique(utterances.speaker)])


@pytest.mark.parametrize("n", [1, 3])
def test_speakers_with_too_few_utterances_are_refused_with_what_to_do(small, n):
    words = rf"spoken: no speaker .* more than {n} utterances, .* need at least 4; add recordings, check the column 'speaker'"
    with pytest.raises(BadCorpus, match=words):
        clusters_for(small, of_each(small, n))


def test_one_utterance_a_speaker_has_no_pairs_of_emotions_either(small):
    with pytest.raises(BadCorpus, match="no speaker .* has more than 1 utterances"):
        clusters_for(small, of_each(small, 1), pairs="emotions")


def test_where_all_sound_the_same_nothing_can_be_learned(small):
    alike = replace(small, speaker_embedding=torch.ones_like(small.speaker_embedding))
    with pytest.raises(BadCorpus, match="no two utterances of a speaker are alike by their clusters"):
        clusters_for(alike)


def test_where_hdbscan_finds_nothing_kmeans_is_named(small):
    """Six utterances of each speaker, every one as far from every other."""
    rows, voices = of_each(small, 6), torch.zeros(len(small.corpus), 6)
    voices[torch.from_numpy(rows)] = torch.eye(6).repeat(8, 1)
    equidistant = replace(small, speaker_embedding=voices)
    with pytest.raises(BadCorpus, match=r"alike by their clusters \(hdbscan\).*set settings.algorithm=kmeans"):
        clusters_for(equidistant, rows, algorithm="hdbscan")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_clusters": 1}, "'n_clusters' is 1, and one cluster has nothing to be told from; take at least 2, 0 or -1"),
        ({"n_clusters": -2}, "'n_clusters' is -2"),
        ({"pairs": "words"}, "'pairs' is 'words', but one of clusters, random, emotions"),
        ({"algorithm": "spectral"}, "'algorithm' is 'spectral', but one of kmeans, hdbscan"),
        ({"temperature": 0.0}, "'temperature' is 0.0"),
        ({"pretrain_epochs": -1}, "'pretrain_epochs' is -1"),
        ({"utterances_per_speaker": 1}, "'utterances_per_speaker' is 1"),
        ({"speakers_per_batch": 0}, "'speakers_per_batch' is 0"),
        ({"projection": 0}, "'projection' is 0"),
        ({"speaker_weight": -0.1}, "'speaker_weight' is -0.1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, words):
    with pytest.raises(BadRecipe, match=words):
        built(**settings)

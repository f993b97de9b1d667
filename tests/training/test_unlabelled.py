"""Speech that nobody labelled beside a corpus that has labels: who hears it, who never does; and labels of which only some are told."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from transformers import Wav2Vec2Config

from ser_core.data.batches import Utterances
from ser_core.data.corpora import load_corpora
from ser_core.data.corpora.synthetic import buzz
from ser_core.data.manifest import BadCorpus, Corpus, join, make_corpus
from ser_core.encoders import load_encoder
from ser_core.encoders.wav2vec2 import Wav2Vec2
from ser_core.recipe import BadRecipe, DataChoice, Recipe, TrainingSettings, read_recipe
from ser_core.training.adaptation import as_told, with_told
from ser_core.training.check import sizes_of
from ser_core.training.crossvalidation import Design, fold_plan, set_up
from ser_core.training.preparation import in_label_set, prepare
from ser_core.training.run import Asked, train
from ser_core.training.trainer import Plan

EMOTIONS = ("neutral", "happiness", "anger")
CPU = Asked(device="cpu")


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Such small networks are many times quicker on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def corpus(name: str, emotions: tuple[str, ...] = EMOTIONS, n_speakers: int = 6, n_takes: int = 3, told: bool = True, **columns) -> Corpus:  # fmt: skip
    """Speakers NAME0 … who say each emotion so often, and maybe nobody wrote down which; a manifest only."""
    rows = {
        f"{name}{speaker}_{emotion}_{take}": {
            "path": f"{name}{speaker}_{emotion}_{take}.wav", "speaker": f"{name}{speaker}", "text_id": str(take),
            "gender": ("female", "male")[speaker % 2], "emotion": emotion if told else None, **columns,
        }
        for speaker in range(n_speakers) for emotion in emotions for take in range(n_takes)
    }  # fmt: skip
    return make_corpus(name, pd.DataFrame.from_dict(rows, orient="index"))


LABELLED, TALK = corpus("english"), corpus("talk", ("neutral", "fear"), told=False)
POLISH = corpus("polish", ("neutral", "fear", "disgust"))


@pytest.fixture(scope="module")
def encoder(encoder_folder):
    return load_encoder("compact", encoder_folder)


@pytest.fixture(scope="module")
def ordered(encoder_folder) -> Callable[..., Recipe]:
    """From changes to the recipe, on a small encoder; seconds long."""

    def order(*changes: str, name: str = "cluster_contrastive") -> Recipe:
        few = TrainingSettings(epochs=2, batch_size=16, learning_rate=1e-3)
        recipe = replace(read_recipe(name), beside=(), training=few)
        small = ["settings.embedding=16", "settings.hidden=16"]
        if recipe.method == "cluster_contrastive":
            small += ["settings.projection=8", "settings.pretrain_epochs=1", "settings.utterances_per_speaker=8"]
        return recipe.with_encoder("compact", str(encoder_folder)).changed(["encoder.layers=[1]", *small, *changes])

    return order


@pytest.fixture
def experiment(encoder, workspace, monkeypatch):
    """From recipes and corpora to two folds of manifests; what would be heard is noise."""

    def of(recipes: list[Recipe], *corpora: Corpus, n_seeds: int = 2):
        def noise(heard, emotions, *others):
            rng = torch.Generator().manual_seed(0)
            features = torch.randn(len(heard), encoder.n_layers, 2 * encoder.width, generator=rng)
            return Utterances(heard, emotions, features)

        monkeypatch.setattr("ser_core.training.crossvalidation.embedded", noise)
        return set_up(recipes, join(corpora), encoder, Design(2, n_seeds), workspace, "cpu", silent)

    return of


def of_corpus(utterances: Utterances, rows: np.ndarray) -> set[str]:
    return set(utterances.corpus.table["corpus"].iloc[rows])


# who hears it


@pytest.mark.parametrize("data", ["", 'data.unlabelled=["polish"]'])
def test_in_every_fold_it_is_heard_by_what_learns_without_labels_and_by_nothing_else(ordered, experiment, data):
    """A corpus that has no emotions, and one whose emotions are not to be used."""
    other = POLISH if data else TALK
    recipe = ordered(*([data] if data else []))
    found = experiment([recipe], LABELLED, other)
    assert sorted(one for fold in found.folds for one in fold) == [f"english{one}" for one in range(6)]
    for seed in range(2):
        for fold in range(2):
            utterances, plan, dev = fold_plan(found, recipe, seed, fold)
            assert all(one.startswith("english") for one in dev)
            assert all(of_corpus(utterances, getattr(plan, role)) == {"english"} for role in ("train", "dev", "test"))
            heard = utterances.corpus.table["speaker"].iloc[plan.unlabelled]
            kept_apart = {*dev, *found.folds[fold]}
            assert set(heard) == set(utterances.corpus.table["speaker"]) - kept_apart
            assert all(one.startswith("english") for one in plan.enrolment)


def test_its_emotions_never_reach_a_method_and_its_classes_are_not_the_recipes(ordered, experiment):
    found = experiment([ordered('data.unlabelled=["polish"]')], LABELLED, POLISH)
    utterances, of_polish = found.utterances, (found.utterances.corpus.table["corpus"] == "polish").to_numpy()
    assert utterances.emotions == utterances.corpus.emotions == EMOTIONS
    assert (utterances.emotion[of_polish] == -1).all() and (utterances.emotion[~of_polish] >= 0).all()
    assert utterances.corpus.table["emotion"][of_polish].isna().all()
    assert not set(found.choice["speaker"]) & set(utterances.corpus.table["speaker"][of_polish])


def test_what_is_not_told_may_be_anything():
    """Another order of its emotions leads to the same corpus."""
    mixed = POLISH.table.assign(emotion=POLISH.table["emotion"].sample(frac=1, random_state=0).to_numpy())
    data = DataChoice(unlabelled=("polish",))
    one, other = (in_label_set(join([LABELLED, each]), data) for each in (POLISH, replace(POLISH, table=mixed)))
    pd.testing.assert_frame_equal(one.table, other.table)
    assert one.emotions == other.emotions


def test_in_a_run_it_has_a_role_of_its_own_and_the_note_says_how_many(ordered, workspace):
    prepared = prepare(ordered(), join([LABELLED, TALK]), workspace)
    talk = tuple(f"talk{one}" for one in range(6))
    assert prepared.unlabelled == talk and not set(talk) & {*prepared.train, *prepared.dev, *prepared.test}
    roles = prepared.role().groupby(prepared.corpus.table["corpus"]).unique().map(set).to_dict()
    assert roles == {"english": {"train", "dev", "test"}, "talk": {"unlabelled"}}
    sizes = sizes_of(prepared).set_index("role")
    assert sizes.loc["unlabelled", ["speakers", "utterances", *EMOTIONS]].tolist() == [6, 36, 0, 0, 0]
    assert sizes["utterances"].sum() == len(prepared.corpus)
    assert [line.partition(" utterances")[0] for line in prepared.corpus.problems] == ["talk: 36"]


def test_several_corpora_without_labels_are_heard_together(ordered, workspace):
    babble = corpus("babble", told=False, n_speakers=2)
    recipe = ordered('data.unlabelled=["polish"]')
    prepared = prepare(recipe, join([babble, LABELLED, POLISH, TALK]), workspace)
    table = prepared.corpus.table
    assert set(table["corpus"][table["speaker"].isin(prepared.unlabelled)]) == {"babble", "polish", "talk"}
    assert set(table["corpus"][prepared.role() == "unlabelled"]) == {"babble", "polish", "talk"}
    assert len(prepared.corpus.problems) == 3 and prepared.corpus.emotions == EMOTIONS


def test_shared_classes_are_those_of_the_labelled_corpora(ordered, workspace):
    german = corpus("german", ("neutral", "anger", "fear"))
    shared = in_label_set(join([LABELLED, german, TALK]), DataChoice(emotions="shared"))
    assert shared.emotions == ("neutral", "anger")
    of_talk = shared.table["corpus"] == "talk"
    assert shared.table["emotion"][of_talk].isna().all() and shared.table["emotion"][~of_talk].notna().all()
    untold = in_label_set(
        join([LABELLED, german, POLISH]), DataChoice(emotions="shared", unlabelled=("polish",))
    )  # polish has no anger: it would leave one class
    assert untold.emotions == ("neutral", "anger")


def test_beside_a_target_the_target_keeps_its_role(ordered, experiment):
    recipe = ordered('data.target="german"', 'data.unlabelled=["polish"]', "data.emotions=shared", name="cfa")
    german = corpus("german")
    found = experiment([recipe], LABELLED, german, POLISH, n_seeds=1)
    assert sorted(one for fold in found.folds for one in fold) == [f"german{one}" for one in range(6)]
    utterances, plan, dev = fold_plan(found, recipe, 0, 0)
    assert of_corpus(utterances, plan.target) == of_corpus(utterances, plan.test) == {"german"}
    assert of_corpus(utterances, plan.train) == of_corpus(utterances, plan.dev) == {"english"}
    assert "polish" in of_corpus(utterances, plan.unlabelled)
    told = as_told(utterances, plan.target, recipe.data)
    assert (told.emotion[(utterances.corpus.table["corpus"] != "english").to_numpy()] == -1).all()


def test_pretraining_does_not_hear_a_target_not_even_without_labels(ordered, experiment):
    """Cross-corpus nothing but what says so (cfa) may hear the corpus that is measured."""
    recipe = ordered('data.target="german"')
    found = experiment([recipe], LABELLED, corpus("german"), TALK, n_seeds=1)
    utterances, plan, _ = fold_plan(found, recipe, 0, 0)
    assert of_corpus(utterances, plan.unlabelled) == {"english", "talk"}


def test_a_target_without_emotions_is_no_corpus_without_labels(ordered, workspace):
    """It is measured on, so that is refused elsewhere; but it must not be taken for one that is only heard."""
    data = DataChoice(target="talk")
    assert not [
        line for line in in_label_set(join([LABELLED, TALK]), data).problems if "without their emotions" in line
    ]


def test_who_is_in_both_corpora_and_tested_is_not_heard(ordered, experiment):
    """A lab's own recordings of the same people: their speech without labels is speech of test speakers."""
    talk = TALK.table.assign(speaker=TALK.table["speaker"].str.replace("talk", "english"))
    recipe = ordered()
    found = experiment([recipe], LABELLED, replace(TALK, table=talk), n_seeds=1)
    for fold, test in enumerate(found.folds):
        utterances, plan, dev = fold_plan(found, recipe, 0, fold)
        heard = set(utterances.corpus.table["speaker"].iloc[plan.unlabelled])
        assert heard and not heard & {*test, *dev}
        assert of_corpus(utterances, plan.unlabelled) == {"english", "talk"}
        assert of_corpus(utterances, plan.test) == of_corpus(utterances, plan.dev) == {"english"}


def test_a_corpus_that_is_not_there_is_named_with_those_that_are(ordered, workspace):
    with pytest.raises(BadRecipe, match="data.unlabelled names 'nemo', but the corpora are english, talk"):
        prepare(ordered('data.unlabelled=["nemo"]'), join([LABELLED, TALK]), workspace)


@pytest.mark.filterwarnings(
    "ignore:Initializing zero-element tensors"
)  # a head of no classes, built before that is said
def test_emotions_of_one_corpus_are_needed(ordered, workspace):
    both = join([LABELLED, POLISH])
    with pytest.raises(BadRecipe, match=r"data.unlabelled names all corpora \(english, polish\)"):
        prepare(ordered('data.unlabelled=["english", "polish"]'), both, workspace)
    with pytest.raises(BadCorpus, match="talk: no utterance has an emotion, so nothing can be learned"):
        prepare(ordered(), TALK, workspace)


def test_a_name_alone_is_no_list_of_names(ordered):
    with pytest.raises(BadRecipe, match="'unlabelled' is 'nemo', but a list of names was expected"):
        ordered('data.unlabelled="nemo"')


def test_a_split_of_the_manifest_need_not_name_those_without_labels(ordered, workspace):
    roles = {f"english{one}": role for one, role in enumerate(["dev", "test", "train", "train", "train", "train"])}
    table = LABELLED.table.assign(split=LABELLED.table["speaker"].map(roles))
    prepared = prepare(ordered(), join([replace(LABELLED, table=table), TALK]), workspace)
    assert (prepared.dev, prepared.test, len(prepared.unlabelled)) == (("english0",), ("english1",), 6)


# bad input


def test_one_labelled_speaker_is_too_few(ordered, workspace):
    with pytest.raises(BadCorpus, match="0 speakers are too few to train|english.*speakers are too few"):
        prepare(ordered(), join([corpus("english", n_speakers=1), TALK]), workspace)


@pytest.fixture(scope="module")
def talk_folder(tmp_path_factory):
    """Recordings of three buzzing voices, and a manifest of nothing but files and speakers."""
    folder, rows = tmp_path_factory.mktemp("talk"), []
    for speaker in range(3):
        for place in range(8):
            emotion, rng = (
                ("neutral", "anger", "sadness", "happiness")[place % 4],
                np.random.default_rng([speaker, place]),
            )
            soundfile.write(folder / f"{speaker}_{place}.wav", buzz(speaker, emotion, 0, rng, 0.4), 16_000)
            rows.append({"path": f"{speaker}_{place}.wav", "speaker": f"talker{speaker}"})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.drop(columns="speaker"), "column 'speaker' is missing; the table needs path and speaker"),
        (lambda table: table.assign(speaker=None), "24 rows have no speaker; every row needs one"),
        (lambda table: table.assign(speaker=table["speaker"].where(table.index > 1)), "2 rows have no speaker"),
    ],
)
def test_a_manifest_without_speakers_is_refused(talk_folder, change, words):
    table = pd.read_csv(talk_folder / "manifest.csv")
    sheet = talk_folder / "manifest_without.csv"
    change(table).to_csv(sheet, index=False)
    with pytest.raises(BadCorpus, match=words):
        load_corpora([f"talk={sheet}"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("speaker_encoder.layer=7", "speaker_encoder.layer is 7, but the encoder's layers are 0 to 2"),
        ("speaker_encoder.name=xvector", "there is no speaker encoder 'xvector'; choose one of ecapa, "),
    ],
)
def test_a_speaker_encoder_or_layer_that_does_not_exist_is_refused_before_anything_is_heard(
    ordered, workspace, change, words
):
    with pytest.raises(BadRecipe, match=words):
        prepare(ordered(change), LABELLED, workspace)


def test_a_layer_below_minus_one_is_refused_where_it_is_read(ordered):
    with pytest.raises(BadRecipe, match="'layer' is -2"):
        ordered("speaker_encoder.layer=-2")


def test_recipes_with_different_speaker_encoders_are_not_compared(ordered, experiment):
    recipes = [ordered(), replace(ordered("speaker_encoder.layer=0"), name="other")]
    with pytest.raises(BadRecipe, match=r"different \[speaker_encoder\]; name one for all of them"):
        experiment(recipes, LABELLED)
    baseline = replace(ordered(name="baseline"), name="baseline")
    assert experiment([recipes[1], baseline], LABELLED).utterances.speaker_embedding is not None


def test_recipes_that_hear_different_corpora_are_not_compared(ordered, experiment):
    recipes = [ordered(), replace(ordered('data.unlabelled=["polish"]'), name="other")]
    with pytest.raises(BadRecipe, match="target, protected or unlabelled; name one for all"):
        experiment(recipes, LABELLED, POLISH)


@pytest.mark.parametrize(("layer", "heard"), [(0, 0), (2, 2), (-1, 0)])
def test_the_embedding_is_the_mean_of_one_layer_of_the_recipes_encoder(ordered, experiment, encoder, layer, heard):
    """Of three layers the one below the middle is the first; means over frames stand before their deviations."""
    utterances = experiment([ordered(f"speaker_encoder.layer={layer}")], LABELLED).utterances
    torch.testing.assert_close(utterances.speaker_embedding, utterances.features[:, heard, : encoder.width])


# some of the labels


def plan_of(counts: dict[int, int]) -> tuple[Plan, np.ndarray]:
    """So many training rows of each class, and a dev row for each four."""
    train = np.repeat(list(counts), list(counts.values()))
    dev = np.repeat(list(counts), [max(1, n // 4) for n in counts.values()])
    emotion = np.random.default_rng(0).permutation(np.concatenate([train, dev]))
    of_dev = np.zeros(len(emotion), dtype=bool)
    for code, n in counts.items():
        of_dev[np.flatnonzero(emotion == code)[: max(1, n // 4)]] = True
    nobody = np.empty(0, dtype=np.int64)
    return Plan(np.flatnonzero(~of_dev), np.flatnonzero(of_dev), nobody, {}), emotion


COUNTS = {0: 400, 1: 120, 2: 9}


def told(share: float, seed: int = 0) -> tuple[Plan, np.ndarray]:
    plan, emotion = plan_of(COUNTS)
    return with_told(plan, emotion, share, np.random.default_rng(seed)), emotion


@pytest.mark.parametrize(
    ("share", "train", "dev"),
    [(0.25, [100, 30, 2], [25, 8, 1]), (0.1, [40, 12, 1], [10, 3, 1]), (0.05, [20, 6, 1], [5, 2, 1]), (0.0, [1] * 3, [1] * 3)],
)  # fmt: skip
def test_of_every_emotion_the_share_is_told_and_at_least_one(share, train, dev):
    plan, emotion = told(share)
    assert np.bincount(emotion[plan.train]).tolist() == train
    assert np.bincount(emotion[plan.dev]).tolist() == dev
    assert (np.diff(plan.train) > 0).all()


def test_what_a_small_share_is_told_a_larger_one_is_told_as_well():
    kept = [told(share)[0] for share in (0.05, 0.1, 0.25, 0.9)]
    for role in ("train", "dev"):
        for smaller, larger in zip(kept, kept[1:], strict=False):
            assert set(getattr(smaller, role)) <= set(getattr(larger, role))


def test_all_labels_are_all_rows_and_nothing_is_drawn():
    plan, emotion = plan_of(COUNTS)
    rng = np.random.default_rng(0)
    assert with_told(plan, emotion, 1.0, rng) is plan
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_the_same_seed_tells_the_same_and_another_seed_others():
    np.testing.assert_array_equal(told(0.1)[0].train, told(0.1)[0].train)
    assert set(told(0.1)[0].train) != set(told(0.1, seed=1)[0].train)


def test_every_recipe_of_a_fold_is_told_the_same_and_every_fold_and_seed_something_else(ordered, experiment):
    english = corpus("english", n_takes=12)
    recipes = [ordered("data.labels=0.25"), ordered("data.labels=0.25", name="baseline")]
    found = experiment(recipes, english)
    plans = [[fold_plan(found, one, seed, fold)[1] for one in recipes] for seed in (0, 1) for fold in (0, 1)]
    for one, other in plans:
        np.testing.assert_array_equal(one.train, other.train)
        np.testing.assert_array_equal(one.dev, other.dev)
    places = [{found.utterances.corpus.table.index[row][8:] for row in one.train} for one, _ in plans]
    assert len({frozenset(one) for one in places}) == 4


def test_untold_utterances_are_still_heard_and_those_who_are_tested_are_all_measured(ordered, experiment):
    recipe = ordered()
    found = experiment([recipe], LABELLED, TALK, n_seeds=1)
    whole, few = (
        fold_plan(found, replace(recipe, data=replace(recipe.data, labels=share)), 0, 0)[1] for share in (1.0, 0.1)
    )
    np.testing.assert_array_equal(whole.unlabelled, few.unlabelled)
    np.testing.assert_array_equal(whole.test, few.test)
    assert len(few.train) == 3 == len(set(found.utterances.emotion[few.train])) and len(few.train) < len(whole.train)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_that_cannot_be_is_refused(ordered, share):
    with pytest.raises(BadRecipe, match=f"'labels' is {share}"):
        ordered(f"data.labels={share}")


# from end to end


@pytest.fixture(scope="module")
def together(synthetic_corpus, talk_folder) -> Corpus:
    """Buzzing voices with emotions, and others without."""
    return join([synthetic_corpus, load_corpora([f"talk={talk_folder}"])])


@pytest.mark.parametrize("changes", [[], ["settings.speaker_weight=0.1", "data.labels=0.5"]])
def test_a_run_hears_a_manifest_without_labels_and_measures_nobody_of_it(
    together, ordered, workspace, tmp_path, changes
):
    said: list[str] = []
    recipe = replace(ordered(*changes), beside=("baseline",))
    assert train(recipe, together, tmp_path / "run", workspace, CPU, said.append)
    assert any(line.startswith("note: talk: 24 utterances are heard without an emotion") for line in said)
    described = json.loads((tmp_path / "run" / "recipe.json").read_text())
    talkers = {f"talker{one}" for one in range(3)}
    assert talkers == set(described["unlabelled_speakers"])
    assert not talkers & {one for role in ("train", "dev", "test") for one in described[f"{role}_speakers"]}
    predictions = pd.read_csv(tmp_path / "run" / "predictions.csv")
    assert set(predictions["corpus"]) == {"synthetic"} and not talkers & set(predictions["speaker"])
    assert set(predictions["method"]) == {"cluster_contrastive", "baseline"}
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    mine = [record["stage"] for record in records if record["method"] == "cluster_contrastive"]
    assert mine == ["pretrain", "finetune", "finetune"]
    assert (
        "Heard without emotions: talker0, talker1, talker2."
        in (tmp_path / "run" / "checkpoint" / "README.md").read_text()
    )


WAV2VEC2 = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": (8, 8),
    "conv_stride": (5, 64), "conv_kernel": (10, 64), "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def wav2vec2_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wav2vec2") / "wav2vec2"
    torch.manual_seed(0)
    Wav2Vec2(Wav2Vec2Config(**WAV2VEC2)).save(folder)
    return folder


@pytest.mark.parametrize("tune", ["lora", "all"])
def test_a_wav2vec2_that_learns_runs_both_stages_and_lists_everybody_it_heard(
    together, ordered, wav2vec2_folder, workspace, tmp_path, tune
):
    recipe = ordered(f"encoder.tune={tune}", "training.epochs=1", "encoder.learning_rate=0.01")
    recipe = recipe.with_encoder("wav2vec2", str(wav2vec2_folder))
    assert train(recipe, together, tmp_path / "run", workspace, CPU, silent)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["stage"] for record in records] == ["pretrain", "finetune"]
    described = json.loads((tmp_path / "run" / "recipe.json").read_text())
    tuned = load_encoder("wav2vec2", tmp_path / "run" / "checkpoint" / "encoder")
    heard = {one for role in ("train", "dev", "unlabelled") for one in described[f"{role}_speakers"]}
    assert set(tuned.heard_speakers) == heard == {f"talker{one}" for one in range(3)} | heard
    before = load_encoder("wav2vec2", wav2vec2_folder).state_dict()
    changed = [name for name, value in tuned.state_dict().items() if not torch.allclose(value, before[name])]
    assert changed and not [name for name in changed if "feature_extractor" in name]
    assert all("_proj" in name for name in changed) is (tune == "lora")

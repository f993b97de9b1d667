"""Trainings that read: paired sentences on the toy corpus, an encoder of text that learns, attributes, and what is refused."""

from dataclasses import replace
from itertools import product

import audmetric
import numpy as np
import pandas as pd
import pytest
import torch

from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import BadCorpus
from ser_core.encoders.text import load_text_encoder
from ser_core.evaluation.performance import uar
from ser_core.evaluation.summary import summarise, summary_table
from ser_core.inference.predict import Trained, answers
from ser_core.methods.base import TextShape
from ser_core.recipe import BadRecipe, TrainingSettings, read_recipe
from ser_core.training.crossvalidation import Design, crossvalidate
from ser_core.training.hearing import embedded
from ser_core.training.preparation import Learned, in_label_set, make_plan, prepare, train_method
from ser_core.training.states import States
from ser_core.training.trainer import Plan, Stopped, Watch
from ser_core.training.words import Words, text_shape, with_own_words, without_words, words_for

DEV, TEST = ("synthetic_6",), ("synthetic_7",)
SAID = {
    "anger": ("angry", "furious"),
    "joy": ("happy", "glad"),
    "neutral": ("open", "here"),
    "sadness": ("sad", "lonely"),
}
FRAMES = {
    "train": ("i am {}", "so {} today", "it was {}", "{} and {}", "is it {}", "{}"),
    "dev": ("i am so {}", "was it {}", "today {}"),
    "test": ("so so {}", "it is {} today", "am i {}"),
}


@pytest.fixture(scope="module")
def encoder(encoder_folder):
    from ser_core.encoders import load_encoder

    return load_encoder("compact", encoder_folder)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """Each emotion has its own words; no sentence stands in two splits."""
    folder = tmp_path_factory.mktemp("sentences")
    (folder / "labels.txt").write_text("\n".join(SAID))
    for split, frames in FRAMES.items():
        lines = [
            f"{frame.format(word, word)}\t{place}\tx"
            for place, words in enumerate(SAID.values())
            for word, frame in product(words, frames)
        ]
        (folder / f"{split}.tsv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def recipe(tiny_reader, encoder_folder, sentences):
    """Voice and words on the toy corpus, tiny."""
    chosen = read_recipe("multimodal").with_encoder("compact", str(encoder_folder))
    return replace(
        chosen,
        settings={"embedding": 16, "hidden": 16, "dropout": 0.1, "input_dropout": 0.1},
        text=replace(chosen.text, name="other", source=str(tiny_reader)),
        data=replace(chosen.data, sentences=str(sentences)),
        training=TrainingSettings(epochs=2, batch_size=16, learning_rate=3e-3),
    )


@pytest.fixture(scope="module")
def learn(synthetic_corpus, encoder, workspace):
    """Train a recipe with speaker 6 as dev and speaker 7 as test."""

    def run(recipe, seed: int = 0, watch: Watch | None = None, corpus=None) -> tuple[Learned, Plan]:
        utterances, words = heard_and_read(recipe, corpus or synthetic_corpus, encoder, workspace, seed)
        plan = make_plan(utterances, first_of_each(utterances.corpus), DEV, TEST, recipe.data)
        return train_method(recipe, utterances, plan, encoder, seed, "cpu", watch, words=words), plan

    return run


def heard_and_read(recipe, corpus, encoder, workspace, seed: int = 0):
    corpus = in_label_set(corpus, recipe.data)
    utterances = embedded(corpus, corpus.emotions, encoder, workspace, "cpu", lambda line: None)
    words = words_for([recipe], workspace)
    read = words.read(utterances, workspace, "cpu", lambda line: None)
    return words.paired(read, DEV, TEST, seed), words


def of_test(learned: Learned, plan: Plan, utterances=None) -> float:
    """UAR on the test speaker."""
    utterances = utterances or learned.utterances
    said = answers(learned.method, utterances, plan.test, plan.enrolment).probability.argmax(axis=1)
    return uar(utterances.emotion[plan.test], said)


def after(n: int):
    """Asks to stop at the n-th question."""
    asked = []

    def should_stop() -> bool:
        asked.append(None)
        return len(asked) > n

    return should_stop


# who says what


def test_utterances_say_sentences_of_their_own_role_and_label_in_a_thousand_draws(
    recipe, synthetic_corpus, encoder, workspace
):
    words_of_its_own = np.where(synthetic_corpus.table["text_id"] == "0", "the door", "the door is open")
    corpus = replace(synthetic_corpus, table=synthetic_corpus.table.assign(text=words_of_its_own))
    utterances, words = heard_and_read(recipe, corpus, encoder, workspace)
    table, of = utterances.corpus.table, words.sentences.table.set_index("text")
    role = table["speaker"].map({DEV[0]: "dev", TEST[0]: "test"}).fillna("train").to_numpy()
    for row in np.flatnonzero(role != "train"):
        said = of.loc[utterances.texts.sentences[utterances.texts.row[row]]]
        assert (said["split"], said["emotion"]) == (role[row], table["emotion"].iloc[row])
    train, rng = np.flatnonzero(role == "train"), np.random.default_rng(0)
    assert (utterances.texts.row[train] == -1).all()
    drawn = {place for _ in range(1000) for place in utterances.texts.draw(train, rng).tolist()}
    assert {of.loc[utterances.texts.sentences[place], "split"] for place in drawn} == {"train"}


def test_the_features_of_a_drawn_sentence_are_those_that_the_encoder_gives(
    recipe, synthetic_corpus, encoder, workspace
):
    utterances, words = heard_and_read(recipe, synthetic_corpus, encoder, workspace)
    rows = np.array([0, 40, 127])
    batch = utterances.batch(rows, [np.empty(0, int)] * 3, said=utterances.texts.draw(rows, np.random.default_rng(0)))
    with torch.inference_mode():
        expected = words.encoder.pooled(batch.sentences) * batch.has_text[:, None, None]
    torch.testing.assert_close(batch.text, expected, atol=2e-3, rtol=2e-3)
    assert batch.has_text.tolist() == [True, True, False]  # the last one is a test speaker's: drawn is for training


def test_the_same_seed_pairs_alike_and_another_seed_otherwise(recipe, synthetic_corpus, encoder, workspace):
    first, again, other = (
        heard_and_read(recipe, synthetic_corpus, encoder, workspace, seed)[0].texts.row for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_own_words_are_read_and_what_cannot_be_read_is_counted(synthetic_corpus, encoder, workspace, tiny_reader):
    """English only: the German ones, the empty ones and those without text are as if nobody knew the words."""
    texts = (["I am so happy", "the door is open", "Ich bin da", "", pd.NA, " the  door is open\n"] * 22)[:128]
    corpus = replace(synthetic_corpus, table=synthetic_corpus.table.assign(text=texts, language=pd.NA))
    corpus.table.loc[corpus.table["text"] == "Ich bin da", "language"] = "de"
    utterances = embedded(corpus, corpus.emotions, encoder, workspace, "cpu", lambda line: None)
    said = []
    words = Words(replace_english(load_text_encoder("other", tiny_reader)), None, 0.3)
    read = words.read(utterances, workspace, "cpu", said.append)
    assert [read.texts.sentences[place] if place >= 0 else None for place in read.texts.own[:6]] == [
        "I am so happy", "the door is open", None, None, None, "the door is open"
    ]  # fmt: skip
    assert len(read.texts.sentences) == 2 and "have no words" in said[0] and said[0].startswith("63 of 128")
    assert words.paired(read, DEV, TEST, 0) is read  # nothing to pair with: their own words hold
    assert read.batch(np.array([2]), [np.empty(0, int)]).has_text.tolist() == [False]


def replace_english(encoder):
    encoder.english = True
    return encoder


def test_controls_take_the_words_away_or_give_the_own_ones_back(recipe, synthetic_corpus, encoder, workspace):
    corpus = replace(synthetic_corpus, table=synthetic_corpus.table.assign(text="the door is open"))
    utterances, _ = heard_and_read(recipe, corpus, encoder, workspace)
    own, none = with_own_words(utterances), without_words(utterances)
    rows, nobody = np.arange(100, 128), [np.empty(0, int)] * 28
    assert set(own.batch(rows, nobody).sentences) == {"the door is open"}
    assert not none.batch(rows, nobody).has_text.any() and none.batch(rows, nobody).text.abs().sum() == 0
    assert own.texts.drawn is None and none.texts.drawn is None


# learning


QUICK = (
    "data.neutral_words=0.0", "settings.text_dropout=0.0", "training.epochs=20", "training.learning_rate=0.01",
)  # fmt: skip


def test_training_lowers_the_loss_and_words_alone_beat_chance_on_speakers_and_sentences_never_met(learn, recipe):
    records = []
    learned, plan = learn(recipe.changed([*QUICK, 'settings.modalities="text"']), watch=Watch(records.append))
    assert records[-1]["emotion"] < 0.5 * records[0]["emotion"]
    assert of_test(learned, plan) > 0.6  # chance is 0.25
    silent = without_words(learned.utterances)
    assert of_test(learned, plan, silent) == 0.25  # one answer for all


def test_voice_and_words_learn_together(learn, recipe):
    records = []
    learned, plan = learn(recipe.changed(QUICK), watch=Watch(records.append))
    assert records[-1]["emotion"] < 0.5 * records[0]["emotion"] and set(records[0]) >= {"emotion", "gender", "dev_uar"}
    assert of_test(learned, plan) > 0.5


def _same(first: Learned, second: Learned) -> bool:
    one, two = first.method.state_dict(), second.method.state_dict()
    same = one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())
    return same and torch.equal(first.utterances.texts.features, second.utterances.texts.features)


PERSONAL = ('settings.listener="speaker_reference"', 'settings.batches="episodes"')


@pytest.mark.parametrize("changes", [(), ('text.tune="lora"',), PERSONAL])
def test_the_same_seed_gives_the_same_network_and_another_seed_another(learn, recipe, changes):
    changed = recipe.changed(changes)
    first, again, other = (learn(changed, seed)[0] for seed in (0, 0, 1))
    assert _same(first, again) and not _same(first, other)


@pytest.mark.parametrize("n", [1, 3, 6])
@pytest.mark.parametrize(
    "changes", [("settings.speaker_weight=0.1",), ('text.tune="lora"',), PERSONAL], ids=["frozen", "lora", "personal"]
)
def test_stopped_within_an_epoch_and_resumed_it_is_exactly_the_same_network(learn, recipe, changes, n, tmp_path):
    changed = recipe.changed(changes)
    whole, parts = [], []
    undisturbed, _ = learn(changed, watch=Watch(whole.append))
    states = States(tmp_path)
    with pytest.raises(Stopped):
        learn(changed, watch=Watch(parts.append, should_stop=after(n), states=states))
    resumed, _ = learn(changed, watch=Watch(parts.append, states=states))
    assert _same(undisturbed, resumed)
    timed = ("seconds", "waited_for_data_s")
    bare = [[{k: v for k, v in record.items() if k not in timed} for record in records] for records in (whole, parts)]
    assert bare[0] == bare[1] and len(bare[0]) == 2


@pytest.mark.parametrize("tune", ["lora", "last", "all"])
def test_an_encoder_of_text_that_learns_answers_otherwise_afterwards_and_is_whole_again(
    learn, recipe, tune, tiny_reader, tmp_path
):
    changed = recipe.changed([f'text.tune="{tune}"', "text.learning_rate=0.01"])
    learned, plan = learn(changed)
    before = load_text_encoder("other", tiny_reader)
    tuned, said = learned.words.encoder, ["i am so happy", "so sad today"]
    with torch.inference_mode():
        old, new = before.pooled(said), tuned.pooled(said)
    assert (new - old).abs().max() > 1e-3
    assert tuned.state_dict().keys() == before.state_dict().keys()  # adapters are added to the weights
    assert not any(weight.requires_grad for weight in tuned.parameters()) and tuned.fingerprint != before.fingerprint
    read = learned.utterances.texts
    some = [read.sentences.index(f"i am so {word}") for word in ("happy", "sad")]
    with torch.inference_mode():
        torch.testing.assert_close(
            read.features[some].float(), tuned.pooled([read.sentences[place] for place in some]), atol=5e-3, rtol=5e-3
        )
    tuned.save(tmp_path / "text")
    with torch.inference_mode():
        torch.testing.assert_close(load_text_encoder("other", tmp_path / "text").pooled(said), new)


def test_what_has_learned_is_a_copy(learn, recipe, tiny_reader):
    first = learn(recipe)[0]
    learn(recipe.changed(['text.tune="all"', "text.learning_rate=0.01"]))
    assert _same(first, learn(recipe)[0])


# attributes, and utterances of no class


RATES = ('settings.heads=["arousal"]', 'data.attributes="circumplex"')


def test_attributes_alone_are_watched_by_ccc_and_the_best_epoch_is_kept(learn, recipe):
    records = []
    learned, plan = learn(
        recipe.changed([*RATES, "training.epochs=6", "training.learning_rate=0.1"]), watch=Watch(records.append)
    )
    said = answers(learned.method, learned.utterances, plan.dev, plan.enrolment)
    rated = learned.utterances.attributes[plan.dev, 0]
    best = max(record["dev_ccc"] for record in records)
    assert audmetric.concordance_cc(rated, said.attributes[:, 0]) == pytest.approx(best, abs=1e-5)
    assert np.isnan(said.attributes[:, 1:]).all() and np.isnan(said.probability).all()
    assert best > records[-1]["dev_ccc"] > -1


def test_dev_utterances_that_nobody_rated_do_not_hide_the_ccc_of_the_others(learn, recipe, synthetic_corpus):
    """As where a corpus with ratings is joined to one without."""
    rated = in_label_set(synthetic_corpus, recipe.changed(RATES).data)
    table = rated.table.copy()
    table.loc[(table["speaker"] == DEV[0]) & (table["text_id"] == "1"), "arousal"] = np.nan
    records = []
    own = recipe.changed([*RATES, 'data.attributes="corpus"'])
    learned, plan = learn(own, watch=Watch(records.append), corpus=replace(rated, table=table))
    truth = learned.utterances.attributes[plan.dev, 0]
    assert 0 < np.isnan(truth).sum() < len(truth)
    said = answers(learned.method, learned.utterances, plan.dev, plan.enrolment).attributes[:, 0]
    known = np.isfinite(truth)
    best = max(record["dev_ccc"] for record in records)
    assert audmetric.concordance_cc(truth[known], said[known]) == pytest.approx(best, abs=1e-5)


def test_the_table_of_a_system_of_attributes_names_no_emotion_and_its_line_has_the_ccc(learn, recipe):
    learned, plan = learn(recipe.changed(RATES))
    trained = Trained("rater", learned.method, learned.utterances, TEST)
    choice = first_of_each(learned.utterances.corpus)
    table = trained.predict(plan.test, choice)
    assert table["predicted_emotion"].isna().all() and table["predicted_arousal"].notna().all()
    assert "predicted_valence" not in table
    none = table.iloc[:0]
    summary = summarise(table, none.assign(control=""), none.assign(draw=0), choice)
    expected = audmetric.concordance_cc(table["arousal"], table["predicted_arousal"])
    assert summary["rater"] == {"n_targets": 12, "n_speakers": 1, "ccc_arousal": pytest.approx(expected, abs=1e-6)}
    assert "CCC arousal" in summary_table(summary) and "| rater | – |" in summary_table(summary)


def test_the_line_of_both_has_uar_and_ccc_averaged_over_seeds(learn, recipe):
    learned, plan = learn(recipe.changed(['settings.heads=["emotion", "valence"]', 'data.attributes="circumplex"']))
    choice = first_of_each(learned.utterances.corpus)
    one = Trained("both", learned.method, learned.utterances, TEST).predict(plan.test, choice)
    two = one.assign(seed=1, predicted_valence=one["predicted_valence"].to_numpy()[::-1])
    both = pd.concat([one, two], ignore_index=True)
    none = both.iloc[:0]
    line = summarise(both, none.assign(control=""), none.assign(draw=0), choice)["both"]
    expected = [audmetric.concordance_cc(part["valence"], part["predicted_valence"]) for part in (one, two)]
    assert line["ccc_valence"] == pytest.approx(np.mean(expected), abs=1e-6) and 0 <= line["uar"] <= 1


def test_utterances_of_no_class_are_trained_on_where_the_recipe_says_so_and_never_predicted(
    learn, recipe, synthetic_corpus
):
    table = synthetic_corpus.table.copy()
    some = table.index.str.endswith("t1_r1")
    table.loc[some, "emotion"] = np.where(np.arange(some.sum()) % 2, "other", "no_agreement")
    corpus = replace(synthetic_corpus, table=table)
    (without, plain), (with_them, plan) = (
        learn(recipe.changed([f"data.others={others}"]), corpus=corpus) for others in ("false", "true")
    )
    assert set(plan.train) - set(plain.train) == set(
        np.flatnonzero(some & ~table["speaker"].isin([*DEV, *TEST]).to_numpy())
    )
    np.testing.assert_array_equal(plan.dev, plain.dev)
    np.testing.assert_array_equal(plan.test, plain.test)
    assert not _same(without, with_them)


# what is refused before anything is trained


def test_ccc_over_parts_of_a_batch_is_refused_in_words(recipe, synthetic_corpus, workspace):
    rates = recipe.changed([*RATES, "training.accumulate=2"])
    with pytest.raises(
        BadRecipe, match="'multimodal': a loss of it .* is taken over a whole batch; leave out training.accumulate"
    ):
        prepare(rates, synthetic_corpus, workspace)
    with pytest.raises(BadRecipe, match="predicts attributes only, and a run's report and model need emotions"):
        prepare(rates.changed(["training.accumulate=1"]), synthetic_corpus, workspace)
    prepare(recipe.changed(["training.accumulate=2"]), synthetic_corpus, workspace)


def test_accumulating_changes_nothing_where_emotions_and_gender_are_learned(learn, recipe):
    whole, parts = (learn(recipe.changed([f"training.accumulate={n}", "training.epochs=1"]))[0] for n in (1, 3))
    for name, value in whole.method.state_dict().items():
        torch.testing.assert_close(value, parts.method.state_dict()[name], atol=2e-4, rtol=2e-3, msg=name)


def test_a_method_of_emotions_only_does_not_learn_from_utterances_of_no_class(recipe, synthetic_corpus, workspace):
    others = recipe.changed(["data.others=true"])
    prepare(others, synthetic_corpus, workspace)
    baseline = replace(read_recipe("baseline"), encoder=others.encoder, data=others.data)
    with pytest.raises(BadRecipe, match="'baseline' learns from emotions only; leave out data.others"):
        prepare(baseline, synthetic_corpus, workspace)
    beside = prepare(replace(others, beside=("baseline",)), synthetic_corpus, workspace)
    assert [recipe.data.others for recipe in beside.recipes] == [True, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('text.name="gpt"', "there is no encoder of text 'gpt'; choose one of minilm, roberta"),
        ("text.layers=[0, 9]", r"text layers \[0, 9\]: 'other' has layers 0 to 2"),
        ('text.tune="some"', "'tune' is 'some', but one of none, last, lora, all was expected"),
        ("data.neutral_words=1.5", "'neutral_words' is 1.5"),
        ('data.attributes="guessed"', "'attributes' is 'guessed', but one of corpus, circumplex"),
    ],
)
def test_a_text_table_that_cannot_be_is_refused_in_words(recipe, synthetic_corpus, workspace, change, words):
    with pytest.raises(BadRecipe, match=words):
        prepare(recipe.changed([change]), synthetic_corpus, workspace)


def test_sentences_that_are_not_there_are_refused_before_training(recipe, synthetic_corpus, workspace, tmp_path):
    nowhere = replace(recipe, data=replace(recipe.data, sentences=str(tmp_path / "nowhere")))
    with pytest.raises(BadCorpus, match="'nowhere' needs labels.txt"):
        prepare(nowhere, synthetic_corpus, workspace)


def test_recipes_that_read_differently_are_not_compared(recipe, workspace):
    other = recipe.changed(["data.neutral_words=0.5"])
    with pytest.raises(BadRecipe, match="read with different encoders of text, or different sentences"):
        words_for([recipe, other], workspace)
    assert words_for([read_recipe("baseline")], workspace) is None


def test_every_second_layer_is_read_unless_the_recipe_names_some(recipe, tiny_reader):
    encoder = load_text_encoder("other", tiny_reader)
    assert text_shape(recipe.text, encoder) == TextShape(3, 16, (0, 2))
    assert text_shape(replace(recipe.text, layers=(1,)), encoder).layers == (1,)


def test_attributes_that_the_corpus_does_not_have_are_refused_in_words(learn, recipe):
    with pytest.raises(BadRecipe, match="'arousal' is to be learned.*data.attributes=circumplex"):
        learn(recipe.changed(RATES[:1]))


def test_a_corpus_without_words_that_is_paired_with_none_is_refused_in_words(learn, recipe):
    alone = replace(recipe, data=replace(recipe.data, sentences=""))
    with pytest.raises(
        BadRecipe, match="the utterances say 0 different sentences; take a corpus with text, or pair it"
    ):
        learn(alone)


def test_a_cross_validation_reads_and_reports_the_controls_of_words(
    recipe, synthetic_corpus, encoder, workspace, tmp_path
):
    small = recipe.changed(["training.epochs=1"])
    rater = replace(small.changed([RATES[0]]), name="rater")
    both = [one.changed([RATES[1]]) for one in (small, rater)]
    summary = crossvalidate(
        both, synthetic_corpus, encoder, Design(n_folds=2, n_seeds=1), tmp_path, workspace, "cpu", lambda line: None
    )
    assert {"uar_no words", "uar_the words that were said"} <= set(summary["multimodal"])
    assert set(summary["rater"]) == {"n_targets", "n_speakers", "ccc_arousal"}
    assert summary["rater"]["n_targets"] == 96
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert table[table["method"] == "rater"]["predicted_emotion"].isna().all()


def test_a_network_of_speech_needs_no_words(learn, recipe):
    alone = recipe.changed(['settings.modalities="speech"', 'data.sentences=""', "training.epochs=1"])
    learned, plan = learn(alone)
    assert len(learned.utterances.texts.sentences) == 0 and 0 <= of_test(learned, plan) <= 1


def test_a_cross_validation_of_attributes_alone_draws_enrolments_as_well(
    recipe, synthetic_corpus, encoder, workspace, tmp_path
):
    rater = recipe.changed([*RATES, *PERSONAL, "training.epochs=1"])
    summary = crossvalidate(
        [rater], synthetic_corpus, encoder, Design(2, 1, 1), tmp_path, workspace, "cpu", lambda line: None
    )
    assert set(summary["multimodal"]) == {"n_targets", "n_speakers", "ccc_arousal"}
    assert pd.read_csv(tmp_path / "draws.csv").empty


def test_a_cross_validation_refuses_what_a_run_refuses(recipe, synthetic_corpus, encoder, workspace, tmp_path):
    baseline = replace(read_recipe("baseline"), encoder=recipe.encoder, data=replace(recipe.data, others=True))
    for refused, words in (
        ([baseline], "'baseline' learns from emotions only; leave out data.others"),
        ([recipe.changed([*RATES, "training.accumulate=2"])], "is taken over a whole batch"),
    ):
        with pytest.raises(BadRecipe, match=words):
            crossvalidate(refused, synthetic_corpus, encoder, Design(2, 1), tmp_path, workspace, "cpu")

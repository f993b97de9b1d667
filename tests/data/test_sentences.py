"""Sentences with an emotion and how utterances are paired with them: nothing crosses a split, and chance is seeded."""

import numpy as np
import pandas as pd
import pytest

from ser_core.data.manifest import BadCorpus
from ser_core.data.sentences import SPLITS, Sentences, pair, read_sentences

LABELS = ("anger", "joy", "neutral")
LINES = {
    "train": ["go away\t0\tx1", "lovely\t1\tx2", "a door\t2\tx3", "both\t0,1\tx4", "shared\t1\tx5", "again\t0\tx6"],
    "dev": ["stop it\t0\ty1", "hooray\t1\ty2", "a wall\t2\ty3", "again\t1\ty4"],
    "test": ["no way\t0\tz1", "yippee\t1\tz2", "a roof\t2\tz3", "shared\t0\tz4"],
}


def written(folder, labels=LABELS, **lines):
    """A folder of sentences; lines of a split may be others, or None for no file."""
    folder.mkdir(exist_ok=True)
    if labels is not None:
        (folder / "labels.txt").write_text("\n".join(labels))
    for split, some in {**LINES, **lines}.items():
        if some is not None:
            (folder / f"{split}.tsv").write_text("\n".join(some) + "\n", "utf-8")
    return folder


def emotion_of(sentences: Sentences, split: str) -> dict[str, str]:
    part = sentences.table[sentences.table["split"] == split]
    return dict(zip(part["text"], part["emotion"], strict=True))


def test_labels_are_read_in_the_fields_words_and_sentences_with_two_are_left_out(tmp_path):
    sentences = read_sentences(written(tmp_path))
    assert emotion_of(sentences, "train") == {"go away": "anger", "lovely": "happiness", "a door": "neutral"}
    assert not (sentences.table["text"] == "both").any()
    assert list(sentences.table.columns) == ["text", "emotion", "split"]


def test_a_sentence_in_two_splits_stays_in_the_later_one_only(tmp_path):
    sentences = read_sentences(written(tmp_path))
    assert emotion_of(sentences, "dev")["again"] == "happiness" and emotion_of(sentences, "test")["shared"] == "anger"
    assert not sentences.table["text"].duplicated().any()


def test_only_line_breaks_end_a_line(tmp_path):
    """People paste other separators into what they write; Python's splitlines would break a sentence there."""
    dev = ["one\u2028two\u0085three\t1\ty", "stop\t0\ty"]
    assert emotion_of(read_sentences(written(tmp_path, dev=dev)), "dev")["one\u2028two\u0085three"] == "happiness"


def test_the_table_is_numbered_from_zero_without_gaps(tmp_path):
    """Pairing tells sentences by these numbers, and so does the matrix of their features."""
    table = read_sentences(written(tmp_path)).table
    assert table.index.to_list() == list(range(len(table)))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"labels": None}, "needs labels.txt, train.tsv, dev.tsv and test.tsv"),
        ({"dev": None}, "needs labels.txt, train.tsv, dev.tsv and test.tsv"),
        ({"labels": ("anger", "joy")}, "'train.tsv' has a label number that labels.txt does not name"),
        ({"labels": ("anger", "joy", "melancholy")}, "labels.txt: 'melancholy' is not an emotion known here"),
        ({"labels": ("anger", "joy", "other")}, "'other' is not an emotion"),
        ({"train": ["no label here"]}, "a line of 'train.tsv' is not text, tab, label numbers"),
        ({"test": ["fine\tanger\tz"]}, "a line of 'test.tsv' is not"),
        ({"test": ["fine\t\tz"]}, "a line of 'test.tsv' is not"),
        ({"test": ["fine\t1,\tz"]}, "a line of 'test.tsv' is not"),
        ({"test": ["fine\t²\tz"]}, "a line of 'test.tsv' is not"),
        ({"test": ["fine\t-1\tz"]}, "a line of 'test.tsv' is not"),
        ({"dev": []}, "a line of 'dev.tsv' is not"),
    ],
)
def test_what_is_no_folder_of_sentences_is_refused_in_words(broken, words, tmp_path):
    with pytest.raises(BadCorpus, match=words):
        read_sentences(written(tmp_path / "sentences", **broken))


def test_a_folder_that_is_not_there_and_bytes_that_are_no_text_are_refused_in_words(tmp_path):
    with pytest.raises(BadCorpus, match="'nobody' needs labels.txt"):
        read_sentences(tmp_path / "nobody")
    (written(tmp_path) / "train.tsv").write_bytes(b"\xff\xfe\x00binary\t0")
    with pytest.raises(BadCorpus, match="not all of them can be read"):
        read_sentences(tmp_path)


def many(n: int = 20) -> Sentences:
    """n sentences of each label and split."""
    names = [(split, emotion) for split in SPLITS for emotion in ("anger", "happiness", "neutral") for _ in range(n)]
    rows = [
        {"text": f"{split} {emotion} {place}", "emotion": emotion, "split": split}
        for place, (split, emotion) in enumerate(names)
    ]
    return Sentences(pd.DataFrame(rows).sample(frac=1, random_state=0).reset_index(drop=True))


def utterances(n: int = 8) -> tuple[pd.Series, pd.Series]:
    """Emotion and role of n utterances of each kind; of boredom and other there are no sentences."""
    kinds = [
        (role, emotion) for role in SPLITS for emotion in ("anger", "happiness", "neutral", "boredom", "other", None)
    ]
    both = [kind for kind in kinds for _ in range(n)]
    return pd.Series([emotion for _, emotion in both]), pd.Series([role for role, _ in both])


def test_dev_and_test_are_paired_once_with_sentences_of_their_own_label_and_split():
    emotion, role = utterances()
    sentences = many()
    fixed = pair(emotion, role, sentences, 0).fixed
    for row, place in enumerate(fixed):
        if place >= 0:
            said = sentences.table.loc[place]
            assert (said["emotion"], said["split"]) == (emotion[row], role[row]) and role[row] != "train"
    paired = (fixed >= 0).tolist()
    assert paired == [
        part != "train" and word in ("anger", "happiness", "neutral") for word, part in zip(emotion, role, strict=True)
    ]


def test_training_draws_sentences_of_training_and_of_the_label_or_neutral_in_a_thousand_draws():
    emotion, role = utterances(2)
    sentences, rng = many(), np.random.default_rng(0)
    pairing, rows = pair(emotion, role, sentences, 0), np.flatnonzero(role == "train")
    drawn = np.concatenate([pairing.draw(rows, 0.3, rng) for _ in range(1000)])
    words, there = np.tile(emotion[rows], 1000), drawn >= 0
    assert there.tolist() == [word in ("anger", "happiness", "neutral") for word in words]
    said = sentences.table.loc[drawn[there]]
    assert set(said["split"]) == {"train"}
    own = said["emotion"].to_numpy() == words[there]
    assert (own | (said["emotion"] == "neutral").to_numpy()).all()
    assert len(set(drawn[there])) == 3 * 20  # each sentence of training comes up


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_neutral_share_is_met_within_chance(share):
    sentences = many()
    pairing = pair(pd.Series(["anger"] * 4000), pd.Series(["train"] * 4000), sentences, 0)
    drawn = pairing.draw(np.arange(4000), share, np.random.default_rng(1))
    found = (sentences.table.loc[drawn, "emotion"] == "neutral").mean()
    assert abs(found - share) <= 4 * np.sqrt(share * (1 - share) / 4000)


def test_without_neutral_sentences_the_label_is_kept_whatever_the_share():
    table = many().table
    few = Sentences(table[table["emotion"] != "neutral"].reset_index(drop=True))
    pairing = pair(pd.Series(["anger"] * 50), pd.Series(["train"] * 50), few, 0)
    drawn = pairing.draw(np.arange(50), 1.0, np.random.default_rng(0))
    assert set(few.table.loc[drawn, "emotion"]) == {"anger"}


def test_the_seed_settles_the_pairing_and_another_seed_gives_another():
    emotion, role = utterances()
    first, again, other = (pair(emotion, role, many(), seed).fixed for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_draws_depend_on_the_generator_alone():
    pairing = pair(pd.Series(["anger", "neutral"] * 20), pd.Series(["train"] * 40), many(), 0)
    one, two = (pairing.draw(np.arange(40), 0.3, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_a_split_that_lacks_an_emotion_which_others_have_is_refused():
    table = many().table
    lacking = Sentences(table[~((table["split"] == "dev") & (table["emotion"] == "anger"))].reset_index(drop=True))
    emotion, role = utterances()
    with pytest.raises(BadCorpus, match="there is none for 'dev anger'; every split needs sentences of each emotion"):
        pair(emotion, role, lacking, 0)

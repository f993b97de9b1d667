"""A corpus as a table: what crosses a split, what another label set makes of it, and several joined."""

import pandas as pd
import pytest

from ser_core import labels
from ser_core.data.manifest import BadCorpus, Corpus, LeakingSplit, check_leaks, join, make_corpus


def corpus(name: str = "toy", speakers: str = "abc", emotions: tuple[str, ...] = ("neutral", "anger")) -> Corpus:
    """Each speaker says sentences 1 and 2 in each emotion."""
    rows = {
        f"{name}_{speaker}_{emotion}_{text}": {
            "path": f"{speaker}{emotion}{text}.wav",
            "speaker": f"{name}_{speaker}",
            "emotion": emotion,
            "text_id": text,
        }
        for speaker in speakers
        for emotion in emotions
        for text in "12"
    }
    return make_corpus(name, pd.DataFrame.from_dict(rows, orient="index"))


def sides(whole: Corpus, test_speakers: set[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    testing = whole.table["speaker"].isin(test_speakers)
    return whole.table[~testing], whole.table[testing]


# leaks


def test_a_split_by_speaker_is_clean_and_shared_sentences_are_reported():
    report = check_leaks(*sides(corpus(), {"toy_c"}))
    assert (report.n_train, report.n_test, report.shared_texts) == (8, 4, ("1", "2"))


def test_sentences_of_one_side_only_are_not_reported():
    train, test = sides(corpus(), {"toy_c"})
    assert check_leaks(train[train["text_id"] == "1"], test).shared_texts == ("1",)
    assert check_leaks(train[train["text_id"] == "1"], test[test["text_id"] == "2"]).shared_texts == ()
    assert check_leaks(train.assign(text_id=pd.NA), test.assign(text_id=pd.NA)).shared_texts == ()


def test_a_speaker_on_both_sides_is_named():
    table = corpus().table
    with pytest.raises(LeakingSplit, match="toy_b; speakers must never cross"):
        check_leaks(table[table["speaker"] != "toy_c"], table[table["speaker"] != "toy_a"])


@pytest.mark.parametrize("flip", [False, True])
def test_a_copy_of_an_utterance_on_the_other_side_is_named(flip):
    table = corpus().table.copy()
    table.loc["toy_c_anger_1", "duplicate_of"] = "toy_a_anger_1"
    train, test = sides(Corpus("toy", table, ("neutral", "anger")), {"toy_c"})
    with pytest.raises(LeakingSplit, match="toy_c_anger_1 = toy_a_anger_1"):
        check_leaks(*((test, train) if flip else (train, test)))


def test_a_copy_on_the_same_side_does_no_harm():
    table = corpus().table.copy()
    table.loc["toy_a_anger_2", "duplicate_of"] = "toy_a_anger_1"
    assert check_leaks(*sides(Corpus("toy", table, ("neutral", "anger")), {"toy_c"})).n_train == 8


@pytest.mark.parametrize("empty", [0, 1])
def test_an_empty_side_is_no_split(empty):
    parts = list(sides(corpus(), {"toy_c"}))
    parts[empty] = parts[empty].iloc[:0]
    with pytest.raises(LeakingSplit, match="needs utterances on both sides"):
        check_leaks(*parts)


# label sets


def test_calm_becomes_other_and_never_neutral():
    whole = corpus(emotions=("neutral", "calm", "boredom", "anger"))
    smaller = whole.relabelled(labels.APP_EMOTIONS)
    assert smaller.emotions == ("neutral", "anger")
    assert set(smaller.table["emotion"][whole.table["emotion"] == "calm"]) == {"other"}
    assert set(smaller.table["emotion"][whole.table["emotion"] == "boredom"]) == {"other"}
    assert set(smaller.table["emotion"][whole.table["emotion"] == "neutral"]) == {"neutral"}
    assert "calm" in whole.emotions, "the corpus itself is untouched"


def test_missing_emotions_stay_missing_and_no_agreement_becomes_other():
    table = corpus().table
    rows = table.assign(emotion=[None, "no_agreement", *table["emotion"][2:]])
    smaller = make_corpus("toy", rows).relabelled(("neutral",))
    assert smaller.table["emotion"].isna().sum() == 1
    assert set(smaller.table["emotion"].dropna()) == {"neutral", "other"}


def test_the_order_of_the_classes_is_that_of_the_label_set():
    whole = corpus(emotions=("surprise", "anger", "neutral"))
    assert whole.emotions == ("neutral", "anger", "surprise")
    assert whole.relabelled(("surprise", "neutral")).emotions == ("surprise", "neutral")


def test_only_keeps_the_rows_named():
    whole = corpus()
    part = whole.only(whole.table["speaker"] == "toy_b")
    assert set(part.table["speaker"]) == {"toy_b"}
    assert len(whole) == 12


# making and joining


def test_rows_are_sorted_by_utterance_and_absent_columns_are_added_as_missing():
    rows = pd.DataFrame({"path": ["z.wav", "a.wav"], "speaker": [2, 1]}, index=["z", "a"])
    made = make_corpus("toy", rows)
    assert made.table.index.to_list() == ["a", "z"]
    assert made.table["speaker"].to_list() == ["1", "2"], "a speaker's number is a name"
    assert made.table[["emotion", "arousal", "text_id", "duplicate_of"]].isna().all(axis=None)
    assert set(made.table["gender"]) == {"unknown"}
    assert "emotion" not in rows, "the rows given are untouched"


def test_a_corpus_of_nothing_is_refused():
    with pytest.raises(BadCorpus, match="no utterance was found"):
        make_corpus("toy", pd.DataFrame({"path": [], "speaker": []}))


def test_joined_corpora_keep_their_names_and_have_all_classes():
    joined = join([corpus("one", emotions=("neutral", "sadness")), corpus("two", emotions=("anger", "neutral"))])
    assert joined.name == "one+two"
    assert joined.emotions == ("neutral", "sadness", "anger")
    assert joined.table["corpus"].value_counts().to_dict() == {"one": 12, "two": 12}
    assert joined.table.index.is_monotonic_increasing


def test_a_corpus_joined_to_itself_is_refused():
    with pytest.raises(BadCorpus, match="two corpora are called 'toy'"):
        join([corpus(), corpus()])


def test_joining_keeps_the_problems():
    spoilt = make_corpus("two", corpus("two").table, ["a file is missing"])
    assert join([corpus("one"), spoilt]).problems == ("a file is missing",)


# attributes


def rated(name: str = "toy", source: str = "", scale: tuple[float, float] | None = (1, 7), **columns) -> Corpus:
    return make_corpus(name, corpus(name).table.assign(**columns), [], scale, source)


def test_a_corpus_without_attributes_has_no_scale_whatever_is_said():
    for made in (corpus(), rated(source="listeners"), rated(arousal=float("nan"), valence="", scale=None)):
        assert (made.attribute_range, made.attributes_from, made.problems) == (None, "", ())
        assert {made.table[name].dtype.name for name in labels.ATTRIBUTES} == {"float64"}


def test_attributes_become_numbers_and_keep_their_scale_and_source():
    made = rated(source="listeners", arousal="2.5", valence=7, dominance=["1", None, "nan", *["4"] * 9])
    assert set(made.table["arousal"]) == {2.5}
    assert made.table["dominance"].isna().sum() == 2
    for kept in (made, made.only(made.table["speaker"] == "toy_a"), made.relabelled(("neutral",))):
        assert (kept.attribute_range, kept.attributes_from) == ((1, 7), "listeners")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"arousal": ["high", *[3] * 11]}, "arousal 'high' of 'toy_a_anger_1' is not a number"),
        ({"valence": [*[3] * 11, 7.01]}, "valence 7.01 of 'toy_c_neutral_2' is outside of its scale, 1 to 7"),
        ({"dominance": [0, *[3] * 11]}, "dominance 0 of 'toy_a_anger_1' is outside of its scale, 1 to 7"),
        ({"dominance": float("inf")}, "dominance inf of 'toy_a_anger_1' is outside"),
    ],
)
def test_an_attribute_that_is_no_number_or_outside_of_the_scale_is_named(columns, words):
    with pytest.raises(BadCorpus, match=words):
        rated(**columns)


@pytest.mark.parametrize(
    ("low", "high", "scale"),
    [(0, 1, (0, 1)), (-0.2, 0.9, (-1, 1)), (1, 5, (1, 5)), (1.5, 5.1, (1, 7)), (2, 8, (1, 9)), (-1, 0, (-1, 1))],
)
def test_where_no_scale_is_said_the_narrowest_that_holds_all_is_taken_and_told(low, high, scale):
    made = rated(scale=None, arousal=low, valence=high)
    assert (made.attribute_range, made.attributes_from) == (scale, "listeners")
    assert made.problems == (f"the attributes' scale is not said; taken as {scale[0]} to {scale[1]}, by listeners",)


@pytest.mark.parametrize(("low", "high"), [(0.5, 3), (-2, 2), (1, 10), (1, float("inf"))])
def test_values_that_fit_no_scale_are_refused(low, high):
    with pytest.raises(BadCorpus, match=f"have values {low:g} to {high:g}, which fit none of the scales known here"):
        rated(scale=None, arousal=low, valence=high)


def test_corpora_with_and_without_attributes_are_joined_freely():
    joined = join([corpus("one"), rated("two", arousal=3), rated("three", arousal=6)])
    assert (joined.attribute_range, joined.attributes_from) == ((1, 7), "listeners")
    assert joined.table.groupby("corpus")["arousal"].sum().to_dict() == {"one": 0, "two": 36, "three": 72}


@pytest.mark.parametrize("other", [{"scale": (1, 5)}, {"source": "circumplex"}])
def test_attributes_on_two_scales_or_of_two_sources_are_not_mixed(other):
    with pytest.raises(BadCorpus, match="would be mixed .one: 1 to 7, by listeners; two: 1 to"):
        join([rated("one", arousal=3), rated("two", arousal=3, **other)])

"""Tables of predictions as people bring them: read rightly, or refused in words; never a wrong number."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.evaluation import predictions as module
from ser_core.evaluation.predictions import BadPredictions, Predictions, check_predictions, read_predictions

GOOD = "utterance_id,speaker,gender,emotion,predicted_emotion\n" + "".join(
    f"u{n},s{n % 3},{('female', 'male')[n % 3 % 2]},{('anger', 'fear')[n % 2]},anger\n" for n in range(12)
)


@pytest.fixture
def read(tmp_path):
    """Write the content as a file and read it."""

    def read_content(content: str | bytes, name: str = "mine.csv") -> Predictions:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_predictions(path)

    return read_content


def rows(n: int = 4, **columns) -> pd.DataFrame:
    """A table that passes; columns replace or join it."""
    base = {
        "utterance_id": [f"u{place}" for place in range(n)],
        "speaker": ["a", "b"] * (n // 2),
        "emotion": ["anger", "anger", "fear", "fear"] * (n // 4),
        "predicted_emotion": ["anger", "fear"] * (n // 2),
    }
    return pd.DataFrame({**base, **columns})


def two_methods(**columns) -> pd.DataFrame:
    return pd.concat([rows(method="one"), rows(method="two")], ignore_index=True).assign(**columns)


# files as programs write them


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: gzip.compress(text.encode()),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.replace(",", ";").encode("utf-16"),
        lambda text: (text + "\n\n").encode(),
    ],
    ids=["utf-8", "byte-order mark", "utf-16", "utf-16 be", "gzip", "crlf", "cr", "semicolons", "tabs", "utf-16 semicolons", "blank lines"],
)  # fmt: skip
def test_what_spreadsheets_write_is_read_alike(read, encode):
    found = read(encode(GOOD.replace("s1", "Zoë")))
    assert len(found.table) == 12 and set(found.table["speaker"]) == {"s0", "Zoë", "s2"}
    assert found.table["emotion"].value_counts().to_dict() == {"anger": 6, "fear": 6}
    assert set(found.table["predicted_emotion"]) == {"anger"} and found.methods == ("mine",)
    assert found.table.groupby("speaker")["gender"].first().to_dict() == {"s0": "female", "Zoë": "male", "s2": "female"}


BROKEN = {
    "empty": (b"", "cannot be read"),
    "blank lines alone": (b"\n\n\n", "cannot be read"),
    "a header alone": (GOOD.splitlines()[0], "no rows"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, "cannot be read"),
    "every byte": (bytes(range(256)) * 8, "cannot be read"),
    "zeros": (b"\0" * 500, "no rows|cannot be read"),
    "latin-1": (GOOD.replace("s1", "Zoë").encode("latin-1"), "UTF-8"),
    "utf-16 without a mark": (GOOD.encode("utf-16-le"), "lacks the columns|cannot be read"),
    "utf-32": (GOOD.encode("utf-32"), "lacks the columns|cannot be read"),
    "gzip that ends too early": (gzip.compress(GOOD.encode() * 50)[:-20], "cannot be read"),
    "gzip with a hole": (gzip.compress(GOOD.encode() * 20)[:30] + b"\0" * 60, "cannot be read"),
    "gzip of noise": (b"\x1f\x8b\x08\0\0\0\0\0\0\0" + b"\xff" * 90, "cannot be read"),
    "an open quote": (GOOD.replace("u5,", '"u5,'), "cannot be read|lacks|rows"),
    "a row with more cells than the header": (GOOD + "u99,s1,male,anger,fear,anger\n", "cannot be read"),
    "JSON": (b'[{"speaker": "a", "emotion": "anger"}]', "lacks the columns|no rows"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_no_table_is_refused_by_its_name(read, kind):
    content, words = BROKEN[kind]
    with pytest.raises(BadPredictions, match=words) as refused:
        read(content)
    assert "mine" in str(refused.value) and "/" not in str(refused.value), "the file is named, its folder is not"


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path):
    with pytest.raises(BadPredictions, match="there is no 'none.csv'"):
        read_predictions(tmp_path / "none.csv")
    with pytest.raises(BadPredictions, match="cannot be read"):
        read_predictions(tmp_path)


def test_rows_that_all_have_a_cell_more_than_the_header_are_refused_and_not_shifted(read):
    """Read with the first cell as an index, the speaker would be the emotion, the emotion the answer."""
    with pytest.raises(BadPredictions):
        read("speaker,emotion,predicted_emotion\ns1,anger,fear,anger\ns2,fear,anger,anger\n")


def test_cells_that_are_lacking_are_refused_and_not_guessed(read):
    with pytest.raises(BadPredictions, match="1 rows have no predicted_emotion"):
        read(GOOD + "u99,s1,male,anger\n")


@settings(max_examples=200)
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_noise_is_refused_and_never_crashes(tmp_path_factory, noise):
    path = tmp_path_factory.getbasetemp() / "noise.csv"
    path.write_bytes(noise)
    with pytest.raises(BadPredictions):
        read_predictions(path)


cells = st.sampled_from(
    ["anger", "fear", "Happy", "a", "", "=1", "nan", "1", "0.5", "inf", "-1", "1e300", "\t", "o,o", '"']
)


@settings(max_examples=200)
@given(st.lists(st.tuples(cells, cells, cells, cells, cells), min_size=1, max_size=4))
def test_any_cells_give_a_table_that_was_checked_or_a_refusal(many):
    names = ["speaker", "emotion", "predicted_emotion", "seed", "p_anger"]
    try:
        found = check_predictions(pd.DataFrame(many, columns=names, dtype=str))
    except BadPredictions as refused:
        assert len(str(refused)) > 20
    else:
        assert found.table["predicted_emotion"].isin(["anger", "fear", "happiness"]).all()
        assert found.table["seed"].between(-1, 1).all()


# columns


@pytest.mark.parametrize("column", ["speaker", "emotion", "predicted_emotion"])
def test_a_missing_column_is_named_beside_those_that_were_found(read, column):
    table = rows().drop(columns=column)
    with pytest.raises(BadPredictions, match=f"lacks the columns {column}.*found utterance_id"):
        read(table.to_csv(index=False))


def test_all_missing_columns_are_named_at_once():
    with pytest.raises(BadPredictions, match=r"speaker, emotion, predicted_emotion \(or p_<emotion>\); found text"):
        check_predictions(pd.DataFrame({"text": ["hello"]}), "mine")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_column_that_stands_there_twice_is_refused(read, separator):
    content = "speaker,speaker,emotion,predicted_emotion\na,b,anger,fear\n".replace(",", separator)
    with pytest.raises(BadPredictions, match="column 'speaker' twice"):
        read(content)


def test_the_least_that_is_needed_is_completed_and_said(read):
    found = read("speaker,emotion,predicted_emotion\n01,anger,fear\n02,fear,fear\n")
    assert found.table["speaker"].to_list() == ["01", "02"], "a number that is a name keeps its zero"
    assert set(found.table["gender"]) == {"unknown"} and set(found.table["seed"]) == {0}
    assert found.table["utterance_id"].is_unique and any("numbered" in note for note in found.notes)


# words


@pytest.mark.parametrize("column", ["emotion", "predicted_emotion"])
def test_an_unknown_label_is_named_with_those_that_are_known(column):
    with pytest.raises(BadPredictions, match=f"column {column}: 'hangry' is not an emotion.*neutral, happiness"):
        check_predictions(rows(**{column: ["anger", "hangry", "fear", "fear"]}))


def test_other_spellings_are_the_same_class():
    found = check_predictions(rows(emotion=["Angry", " ANG ", "fearful", "anxiety"])).table
    assert found["emotion"].to_list() == ["anger", "anger", "fear", "fear"]


def test_utterances_of_no_class_are_left_out_and_counted():
    found = check_predictions(rows(emotion=["anger", "other", None, "no_agreement"]))
    assert len(found.table) == 1 and any("3 utterances without a class" in note for note in found.notes)
    with pytest.raises(BadPredictions, match="nothing to measure"):
        check_predictions(rows(emotion="other"))


@pytest.mark.parametrize("said", ["other", "no_agreement", None])
def test_an_answer_that_is_no_class_is_refused(said):
    with pytest.raises(BadPredictions, match="1 rows have no predicted_emotion that is a class"):
        check_predictions(rows(predicted_emotion=["anger", "fear", "fear", said]))


def test_a_row_without_a_speaker_and_a_gender_nobody_knows_are_refused():
    with pytest.raises(BadPredictions, match="1 rows have no speaker"):
        check_predictions(rows(speaker=["a", "b", None, "b"]))
    with pytest.raises(BadPredictions, match="gender 'x9' is not one of female, male, unknown"):
        check_predictions(rows(gender="X9"))


def test_blanks_around_a_name_make_no_second_speaker():
    found = check_predictions(rows(speaker=["a", "b ", " a", "b"]))
    assert set(found.table["speaker"]) == {"a", "b"}


@pytest.mark.parametrize("seed", ["x", "", "0.5", "inf", "1e300", "nan"])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(BadPredictions, match="seed must hold whole numbers"):
        check_predictions(rows(seed=["0", "0", "0", seed]))


# probabilities


def with_probabilities(anger, fear, **columns) -> pd.DataFrame:
    return rows(p_anger=anger, p_fear=fear, **columns).drop(columns="predicted_emotion")


def test_the_most_probable_class_is_the_answer():
    found = check_predictions(with_probabilities([0.9, 0.2, 0.501, 0.0], [0.1, 0.8, 0.499, 1.0]))
    assert found.table["predicted_emotion"].to_list() == ["anger", "fear", "anger", "fear"]


def test_text_that_is_a_number_counts_as_one(read):
    found = read("speaker,emotion,p_anger,p_fear\na,anger,0.9,1e-1\nb,fear, 0.25 ,.75\n")
    assert found.table["predicted_emotion"].to_list() == ["anger", "fear"]


@pytest.mark.parametrize(
    ("anger", "fear", "words"),
    [
        (np.nan, 1.0, "1 rows have a probability that is no number"),
        ("high", 0.5, "1 rows have a probability that is no number"),
        ("0,5", 0.5, "1 rows have a probability that is no number"),
        ("=1/2", 0.5, "1 rows have a probability that is no number"),
        (np.inf, 0.0, "probabilities of 1 rows are not between 0 and 1"),
        (np.inf, -np.inf, "probabilities of 1 rows are not between 0 and 1"),
        (-0.2, 1.2, "probabilities of 1 rows are not between 0 and 1"),
        (0.5, 0.3, "do not sum to 1"),
        (0.6, 0.6, "do not sum to 1"),
        (90, 10, "not between 0 and 1"),
        (0.0, 0.0, "do not sum to 1"),
    ],
)
@pytest.mark.parametrize("answered", [True, False])
def test_impossible_probabilities_are_refused_even_where_the_answer_is_given(anger, fear, words, answered):
    table = with_probabilities([0.5, 0.5, 0.5, anger], [0.5, 0.5, 0.5, fear])
    with pytest.raises(BadPredictions, match=words):
        check_predictions(table.assign(predicted_emotion="anger") if answered else table)


def test_logits_are_not_taken_for_probabilities():
    with pytest.raises(BadPredictions, match="not between 0 and 1"):
        check_predictions(with_probabilities([2.3, -1.0, 0.5, 4.0], [-0.3, 2.0, 0.1, 1.0]))


def test_a_class_that_a_corpus_does_not_have_may_be_empty_there_and_only_there():
    table = with_probabilities([0.5, 1.0, 0.2, np.nan], [0.5, np.nan, 0.8, np.nan], corpus=["x", "y", "x", "z"])
    with pytest.raises(BadPredictions, match="do not sum to 1"):  # of z nothing is known
        check_predictions(table)
    found = check_predictions(table[:3])
    assert found.table["predicted_emotion"].to_list() == ["anger", "anger", "fear"]


def test_a_probability_of_an_unknown_class_is_named():
    with pytest.raises(BadPredictions, match="column 'p_hangry'"):
        check_predictions(rows(p_hangry=1.0))


def test_one_class_under_two_spellings_is_refused():
    table = rows(p_anger=0.3, p_angry=0.3, p_fear=0.4).drop(columns="predicted_emotion")
    with pytest.raises(BadPredictions, match="p_angry"):
        check_predictions(table)


# rows


def test_a_row_that_stands_there_twice_is_refused():
    with pytest.raises(BadPredictions, match="utterance 'u3' stands there more than once for predictions, seed 0"):
        check_predictions(pd.concat([rows(), rows()[3:]]))


def test_the_same_utterance_may_occur_for_another_method_seed_or_corpus():
    for column, values in (("method", "xy"), ("seed", [0, 1]), ("corpus", "xy")):
        both = pd.concat([rows(**{column: value}) for value in values], ignore_index=True)
        if column == "corpus":
            both["speaker"] += both["corpus"]
        assert len(check_predictions(both).table) == 8


@pytest.mark.parametrize("column", ["gender", "emotion", "speaker"])
def test_one_who_has_two_values_where_one_was_expected_is_named(column):
    """A speaker with two genders; an utterance with two emotions, or of two speakers."""
    values = {"gender": ["male"] * 5 + ["female"] + ["male"] * 2, "emotion": ["anger"] * 4 + ["fear"] * 4}
    values["speaker"] = [*"abab", *"bbab"]
    with pytest.raises(BadPredictions, match=f"two different values of {column}"):
        check_predictions(two_methods(**{column: values[column]}))


def test_speakers_of_two_corpora_who_share_a_number_are_not_taken_for_one_person():
    table = pd.concat([rows(corpus="x"), rows(corpus="y")], ignore_index=True)
    try:
        found = check_predictions(table)
    except BadPredictions as refused:
        assert "corpus" in str(refused) or "corpora" in str(refused)
    else:
        assert found.table["speaker"].nunique() == 4


def test_methods_are_compared_on_the_utterances_that_all_share_and_the_rest_is_counted():
    table = pd.concat([rows(8, method="one"), rows(4, method="two"), rows(4, method="two", seed=1)])
    found = check_predictions(table.assign(seed=table["seed"].fillna(0)))
    assert found.methods == ("one", "two") and len(found.table) == 12
    assert set(found.table["utterance_id"]) == {"u0", "u1", "u2", "u3"}
    assert any("on the 4 that all share, 4 others were left out" in note for note in found.notes)


def test_methods_that_share_no_utterance_are_refused():
    table = pd.concat([rows(method="one"), rows(method="two", utterance_id=list("wxyz"))])
    with pytest.raises(BadPredictions, match="different utterances; not one is shared"):
        check_predictions(table)


def test_more_rows_than_a_machine_can_hold_are_refused(read, monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWS", 5)
    with pytest.raises(BadPredictions, match="more than 5 rows; split it"):
        read(GOOD)


def test_the_table_given_is_untouched():
    table = rows()
    before = table.copy()
    check_predictions(table)
    pd.testing.assert_frame_equal(table, before)

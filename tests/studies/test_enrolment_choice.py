"""Which utterances are enrolled: both sides of a sentence or take on the same targets, and random draws."""

import pandas as pd
import pytest
from known_world import EMOTIONS, Listener, enrolled, network, recognised, spoken, straddling

from ser_core.data.enrolment import first_of_each
from ser_core.studies.conditions import NOBODY
from ser_core.studies.enrolment_choice import N_DRAWS, conditions, two_sides

FIRST = "the first of each (arXiv 2406.06665)"
SPEAKERS = ("p0", "p1")
SIDES = [("sentence", "text_id"), ("take", "take")]
DRAWS = [f"random draw {draw}" for draw in range(1, 21)]


def _by_name(corpus=None, seed: int = 0, fold: int = 0) -> dict:
    trained = network(spoken() if corpus is None else corpus, SPEAKERS, seed, fold)
    return {one.name: one for one in conditions(trained, Listener())}


def test_the_alphabetical_choice_nobody_both_sides_and_twenty_draws_are_there():
    both = [f"{side} {words}" for words, _ in SIDES for side in ("same", "another")]
    assert list(_by_name()) == [FIRST, NOBODY, *both, *DRAWS]
    assert len(DRAWS) == N_DRAWS


def test_the_alphabetical_choice_is_the_papers_and_nobody_has_its_targets():
    by_name = _by_name()
    assert set(enrolled(by_name[FIRST])) >= {f"{who}_{emotion}_A1" for who in SPEAKERS for emotion in EMOTIONS}
    assert recognised(by_name[NOBODY]) == recognised(by_name[FIRST])
    assert enrolled(by_name[NOBODY]) == []


@pytest.mark.parametrize(("words", "column"), SIDES)
def test_the_same_side_shares_it_with_every_target_and_another_with_none(words, column):
    by_name, table = _by_name(), spoken().table
    for name, shares in ((f"same {words}", True), (f"another {words}", False)):
        for targets, choice in by_name[name].parts:
            of_targets, of_enrolled = set(table[column].iloc[targets]), set(table.loc[choice["utterance_id"], column])
            assert len(of_targets) == len(of_enrolled) == 1
            assert (of_targets == of_enrolled) is shares


@pytest.mark.parametrize("words", [words for words, _ in SIDES])
def test_both_sides_have_the_same_targets_and_as_many_enrolled_and_never_one_of_them(words):
    by_name = _by_name()
    same, another = by_name[f"same {words}"], by_name[f"another {words}"]
    assert recognised(same) == recognised(another)
    assert len(recognised(same)) == len(set(recognised(same))) == 2 * 3 * 2  # four of each, one of each side reserved
    assert sorted(enrolled(same)) == sorted(enrolled(another))
    assert len(enrolled(same)) == 2 * 2 * 3
    assert not set(enrolled(same)) & set(recognised(same))


def test_random_draws_differ_hold_one_of_each_and_are_never_targets():
    by_name = _by_name()
    drawn = {name: [one for one in enrolled(by_name[name]) if one[:2] in SPEAKERS] for name in DRAWS}
    assert len({tuple(sorted(names)) for names in drawn.values()}) > 15
    for name, names in drawn.items():
        assert sorted(one.rsplit("_", 1)[0] for one in names) == sorted(f"{w}_{e}" for w in SPEAKERS for e in EMOTIONS)
        assert not set(names) & set(recognised(by_name[name]))
        assert len(recognised(by_name[name])) == 2 * 3 * 3


def test_every_seed_and_fold_is_shown_the_same_draws():
    of_first, of_second = _by_name(seed=0, fold=0), _by_name(seed=2, fold=1)
    assert [enrolled(of_first[name]) for name in DRAWS] == [enrolled(of_second[name]) for name in DRAWS]


def test_copies_never_straddle_enrolment_and_targets():
    copies = {"p0_anger_A2": "p0_anger_A1", "p1_neutral_B2": "p1_neutral_A2", "p0_sadness_A1": "p0_sadness_B1"}
    by_name = _by_name(spoken(n_takes=4, **copies))
    assert "another take" not in by_name and "another sentence" in by_name  # four takes are not two sides
    assert {name: straddling(condition) for name, condition in by_name.items()} == dict.fromkeys(by_name, set())


def test_a_side_that_is_only_a_copy_does_not_count():
    copies = {"p0_anger_B1": "p0_anger_A1", "p0_anger_B2": "p0_anger_A2"}
    trained = network(spoken(**copies), SPEAKERS)
    assert two_sides(trained, "text_id") is None
    assert two_sides(network(spoken(), SPEAKERS), "text_id") is not None


@pytest.mark.parametrize("texts", ["A", "ABC"])
def test_sentences_that_are_not_two_are_left_out(texts):
    assert not [name for name in _by_name(spoken(texts=texts, n_takes=4)) if "sentence" in name]


@pytest.mark.parametrize(("column", "words"), [("recording_day", "recording day"), ("session", "session")])
def test_recording_days_and_sessions_are_looked_at_where_the_manifest_knows_them(column, words):
    corpus = spoken()
    days = corpus.table.assign(**{column: corpus.table["take"].map({"1": "Monday", "2": "Friday"})})
    by_name = _by_name(type(corpus)(corpus.name, days, corpus.emotions))
    assert {f"same {words}", f"another {words}"} <= set(by_name)
    assert recognised(by_name[f"same {words}"]) == recognised(by_name["same take"])


def test_on_either_side_the_alphabetically_first_is_enrolled():
    corpus = spoken()
    sides = two_sides(network(corpus, SPEAKERS), "text_id")
    own = first_of_each(corpus)
    pd.testing.assert_frame_equal(
        sides["A"].sort_values("utterance_id").reset_index(drop=True),
        own[own["speaker"].isin(SPEAKERS)].sort_values("utterance_id").reset_index(drop=True),
        check_dtype=False,
    )


def test_every_fold_looks_at_the_same_sides_also_where_a_speaker_lacks_one():
    corpus = spoken(n_takes=4)
    takes = corpus.table["take"].map({"1": "1", "2": "1", "3": "2", "4": "2"})
    table = corpus.table.assign(take=takes.where(corpus.table["speaker"] != "p0", "1"))
    lacking = type(corpus)(corpus.name, table, corpus.emotions)
    first, second = ([one.name for one in conditions(network(lacking, (who,)), Listener())] for who in ("p0", "p1"))
    assert first == second

"""How many utterances are enrolled: the same targets at every size, the largest set kept apart from them."""

import pytest
from known_world import Listener, enrolled, network, recognised, spoken, straddling

from ser_core.data.manifest import BadCorpus, Corpus
from ser_core.studies.conditions import NOBODY
from ser_core.studies.enrolment_size import conditions, largest_size

SEEDS = range(5)


def _by_name(corpus: Corpus, seed: int = 0, **where) -> dict:
    return {one.name: one for one in conditions(network(corpus, seed=seed, **where), Listener())}


@pytest.mark.parametrize("seed", SEEDS)
def test_targets_are_the_same_at_every_size_and_the_largest_set_is_none_of_them(seed):
    by_name = _by_name(spoken(), seed)
    targets = recognised(by_name[NOBODY])
    assert len(targets) == 2 * 3 * 1  # four utterances of each of three emotions, three of them reserved
    assert all(recognised(condition) == targets for condition in by_name.values())
    assert not set(enrolled(by_name["3 of each"])) & set(targets)


@pytest.mark.parametrize("seed", SEEDS)
def test_smaller_sets_lie_within_larger_ones_and_hold_so_many_of_each_speaker_and_emotion(seed):
    by_name = _by_name(spoken(), seed)
    inside: set[str] = set()
    for size in (1, 2, 3):
        names = enrolled(by_name[f"{size} of each"])
        cells = [tuple(name.split("_")[:2]) for name in names]
        assert len(set(names)) == len(names) == 2 * 3 * size
        assert all(cells.count(cell) == size for cell in cells)
        assert inside < set(names)
        inside = set(names)
    assert enrolled(by_name[NOBODY]) == []


@pytest.mark.parametrize(
    ("n_takes", "sizes"), [(1, "1"), (2, "1 2 3"), (3, "1 2 3 5"), (4, "1 2 3 5")], ids=["2", "4", "6", "8"]
)
def test_sizes_that_the_corpus_cannot_give_are_left_out(n_takes, sizes):
    assert list(_by_name(spoken(n_takes=n_takes))) == [NOBODY, *(f"{size} of each" for size in sizes.split())]


def test_one_utterance_of_an_emotion_cannot_be_spared():
    with pytest.raises(BadCorpus, match="spoken: .* at least two each are needed"):
        _by_name(spoken(texts="A", n_takes=1))


def test_a_rare_emotion_gives_what_it_can_and_keeps_a_target():
    corpus = spoken(n_takes=3)
    rare = corpus.table.index.str.match("p0_anger_(A2|A3|B.)")  # one anger of p0 is left; eleven in twelve have six
    by_name = _by_name(corpus.only(~rare), speakers=("p0", "p1", "p2", "p3"))
    assert "5 of each" in by_name
    assert "p0_anger_A1" in recognised(by_name["5 of each"])
    assert not [name for name in enrolled(by_name["5 of each"]) if name.startswith("p0_anger")]


def test_only_speakers_whom_the_network_has_not_heard_are_recognised_and_enrolled():
    for condition in _by_name(spoken(), speakers=("p2", "p3")).values():
        assert {name[:2] for name in [*recognised(condition), *enrolled(condition)]} == {"p2", "p3"}


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_never_straddle_enrolment_and_targets(seed):
    corpus = spoken(p0_anger_A2="p0_anger_A1", p0_anger_B2="p0_anger_B1", p1_neutral_B2="p1_neutral_A1")
    assert all(straddling(condition) == set() for condition in _by_name(corpus, seed).values())


def test_the_same_seed_reserves_the_same_and_another_seed_others():
    first, again, other = (enrolled(_by_name(spoken(), seed)["3 of each"]) for seed in (3, 3, 4))
    assert first == again
    assert set(first) != set(other)


def test_the_smallest_set_is_drawn_and_not_the_alphabetically_first():
    drawn = {name.split("_")[2] for seed in range(20) for name in enrolled(_by_name(spoken(), seed)["1 of each"])}
    assert drawn == {"A1", "A2", "B1", "B2"}


def test_the_largest_size_is_what_nine_in_ten_can_give():
    assert largest_size([6] * 9 + [2]) == 5
    assert largest_size([6] * 8 + [2] * 2) == 1


def test_every_fold_offers_the_same_sizes_also_where_speakers_have_unequally_many_utterances():
    corpus = spoken(n_takes=3)
    short = corpus.only(~corpus.table.index.str.match("p0_.*_(A3|B.)"))  # p0 says each emotion twice, others six times
    assert list(_by_name(short, speakers=("p0",))) == list(_by_name(short, speakers=("p1",)))


def test_each_fold_has_a_draw_of_its_own():
    corpus = spoken(8)
    first, second = (
        {tuple(name.split("_")[1:]) for name in enrolled(_by_name(corpus, speakers=(who,), fold=fold)["1 of each"])}
        for fold, who in enumerate(("p0", "p1"))
    )
    third = {tuple(one.split("_")[1:]) for one in enrolled(_by_name(corpus, speakers=("p2",), fold=2)["1 of each"])}
    assert not first == second == third

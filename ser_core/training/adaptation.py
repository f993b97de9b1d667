"""One corpus trains, another is adapted to, a third is heard without labels: who of it is heard, what is not told, and what must
be there.

The target's emotions are taken away before training; of its speakers some are heard, and only the others are measured.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ser_core.data.batches import Utterances
from ser_core.data.groups import groups_of
from ser_core.data.manifest import BadCorpus, Corpus
from ser_core.labels import ATTRIBUTES, EMOTIONS, REST
from ser_core.methods.base import Method
from ser_core.recipe import BadRecipe, DataChoice, Recipe
from ser_core.training.trainer import Plan

LAST = "last"


def target_of(corpus: Corpus, data: DataChoice) -> str:
    """Name of the corpus that is adapted to; empty where none is.

    Raises:
        BadRecipe: it is not among the corpora, or the only one.
    """
    names = corpus.name.split("+")
    if not data.target:
        return ""
    if data.target != LAST and data.target not in names:
        raise BadRecipe(f"data.target is '{data.target}', but the corpora are {', '.join(names)}; name one of them")
    if len(names) < 2:
        raise BadRecipe(
            f"{corpus.name} is the only corpus, and one that trains and another that is adapted to are needed: name the "
            f"second with a further --corpus"
        )
    return names[-1] if data.target == LAST else data.target


def of_target(corpus: Corpus, data: DataChoice) -> pd.Series:
    """Which rows are of the corpus that is adapted to, bool; none where none is."""
    return corpus.table["corpus"] == target_of(corpus, data)


def without_emotions_of(corpus: Corpus, names: Collection[str]) -> Corpus:
    """As if nobody had labelled the corpora named.

    Raises:
        BadRecipe: one that is not there, or all that are.
    """
    there = corpus.name.split("+")
    if unknown := sorted(set(names) - set(there)):
        raise BadRecipe(
            f"data.unlabelled names '{unknown[0]}', but the corpora are {', '.join(there)}; name some of them"
        )
    if set(names) == set(there):
        raise BadRecipe(
            f"data.unlabelled names all corpora ({', '.join(there)}), and emotions of one are needed to learn from"
        )
    if not names:
        return corpus
    hidden = corpus.table["corpus"].isin(list(names))
    emotion = corpus.table["emotion"].mask(hidden, None)
    attributes = {name: corpus.table[name].mask(hidden) for name in ATTRIBUTES}
    present = tuple(word for word in corpus.emotions if (emotion == word).any())
    return replace(corpus, table=corpus.table.assign(emotion=emotion, **attributes), emotions=present)


def unlabelled_of(corpus: Corpus, data: DataChoice) -> pd.Series:
    """Which rows are of speakers without any emotion or attribute beside others who have some, bool; those of the target are not."""
    labelled = corpus.table[["emotion", *ATTRIBUTES]].notna().any(axis=1)
    told = labelled.groupby(corpus.table["speaker"]).transform("any")
    return ~told & told.any() & ~of_target(corpus, data)


def notes_on_labels(corpus: Corpus, data: DataChoice) -> tuple[str, ...]:
    """Who is heard without emotions, in words."""
    share = f"of the utterances that train and choose, {data.labels:.3g} keep their emotion, at least one of each (data.labels)"
    n = corpus.table["corpus"][unlabelled_of(corpus, data)].value_counts()
    told = () if data.labels == 1.0 else (share,)
    return told + tuple(
        f"{name}: {n[name]} utterances are heard without an emotion, by stages that learn without labels; who says them "
        f"neither chooses nor is tested"
        for name in sorted(n.index)
    )


def n_told(n: int, share: float) -> int:
    """Of n utterances of an emotion, how many a share is: at least one."""
    return max(1, round(share * n))


def with_told(plan: Plan, emotion: np.ndarray, share: float, rng: np.random.Generator) -> Plan:
    """The plan with the emotions of a share of its utterances alone, to learn from and to choose by.

    Of each emotion at least one; what a small share is told, a larger one of the same `rng` is told as well.

    Args:
        plan: with all of them.
        emotion: class of each row, (N,).
        share: 0 to 1.
        rng: draws them.
    """
    if share == 1.0:
        return plan

    def some(rows: np.ndarray) -> np.ndarray:
        of_classes = [rng.permutation(rows[emotion[rows] == code]) for code in np.unique(emotion[rows])]
        kept = [rows[: n_told(len(rows), share)] for rows in of_classes]
        return np.sort(np.concatenate([*kept, rows[:0]]))

    return replace(plan, train=some(plan.train), dev=some(plan.dev))


def with_shared_classes(corpus: Corpus, data: DataChoice) -> Corpus:
    """With the classes that all of its (labelled) corpora have; utterances of others become 'other', and the corpus says how many.

    Raises:
        BadCorpus: fewer than two are shared.
    """
    labelled = corpus.table[~unlabelled_of(corpus, data)]
    has = {name: set(part["emotion"]) for name, part in labelled.groupby("corpus")}
    shared = [word for word in corpus.emotions if all(word in words for words in has.values())]
    if len(shared) < 2:
        told = "; ".join(
            f"{name}: {', '.join(sorted(words & set(EMOTIONS))) or 'no emotion at all'}" for name, words in has.items()
        )
        raise BadCorpus(
            f"{corpus.name} share {len(shared)} emotions, and two are needed to tell apart ({told}): take corpora that have "
            f"more in common, or name emotions alike in the manifest"
        )
    lost = corpus.table["emotion"].isin(set(corpus.emotions) - set(shared))
    told = [
        f"{name}: {int(n)} utterances of {', '.join(sorted(corpus.table['emotion'][lost & (corpus.table['corpus'] == name)].unique()))} "
        f"are left out, for not all of the corpora have them"
        for name, n in lost.groupby(corpus.table["corpus"]).sum().items()
        if n
    ]
    return replace(corpus.relabelled(shared), problems=(*corpus.problems, *told))


def against_rest(corpus: Corpus, emotion: str) -> Corpus:
    """One class, and all others together as 'rest'.

    Raises:
        BadRecipe: the corpus has no such class.
    """
    if emotion not in corpus.emotions:
        raise BadRecipe(f"data.against_rest is '{emotion}', but {corpus.name} has {', '.join(corpus.emotions)}")
    table, classes = corpus.table, set(corpus.emotions)
    words = table["emotion"].map(lambda word: word if word not in classes or word == emotion else REST)
    return replace(corpus, table=table.assign(emotion=words), emotions=(emotion, REST))


def check_adapts(recipe: Recipe, method: Method, corpus: Corpus, dev: Collection[str], test: Collection[str]) -> None:
    """Make sure that there is what a method needs to compare groups or to adapt, before anything is trained.

    Args:
        recipe: with its [data].
        method: built.
        corpus: in the recipe's label set.
        dev, test: speakers who choose, and who are measured.

    Raises:
        BadRecipe: no target where one is needed.
        BadCorpus: the target has classes that nothing trains, or groups that are not known, or one only.
    """
    if method.hears_target and not recipe.data.target:
        raise BadRecipe(f"'{recipe.name}' adapts to a second corpus: say which with data.target=NAME, or 'last'")
    adapted = of_target(corpus, recipe.data)
    if adapted.any():
        groups_of(corpus.table, recipe.data.protected)
        _check_classes(corpus, adapted)
    if method.compares_groups:
        kept = ~corpus.table["speaker"].isin([*dev, *test])
        groups = groups_of(corpus.table, recipe.data.protected)
        sides = {"source": ~adapted & kept} | ({"target": adapted & kept} if method.hears_target else {})
        found = {side: _groups_on(side, corpus.only(rows), groups[rows], recipe) for side, rows in sides.items()}
        if len(set.intersection(*found.values())) < 2:
            told = "; ".join(f"{side}: {', '.join(sorted(names))}" for side, names in found.items())
            raise BadCorpus(
                f"{corpus.name}: source and target share fewer than two groups by {recipe.data.protected} ({told})"
            )


def _check_classes(corpus: Corpus, adapted: pd.Series) -> None:
    trained = set(corpus.table["emotion"][~adapted])
    unknown = [word for word in corpus.emotions if word not in trained]
    if unknown:
        n = int(corpus.table["emotion"][adapted].isin(unknown).sum())
        raise BadCorpus(
            f"{corpus.name}: {n} utterances of the target are {', '.join(unknown)}, which nothing that trains has; set "
            f"data.emotions=shared to leave them out, or train on a corpus that has them"
        )


def _groups_on(side: str, corpus: Corpus, groups: pd.Series, recipe: Recipe) -> set[str]:
    names, attribute = set(groups.dropna()), recipe.data.protected
    n = corpus.table["speaker"].nunique()
    where = " and ".join(sorted(corpus.table["corpus"].unique())) or side
    if n == 0:
        raise BadCorpus(
            f"{side}: nobody is left to train on, all speakers are kept to choose or to be measured; add speakers, or lower "
            f"data.test_share"
        )
    if len(names) < 2:
        found = (
            f"unknown of all {n} of them"
            if not names
            else f"'{next(iter(names))}' in all {n} of them (where it is known)"
        )
        raise BadCorpus(
            f"{where} ({side}): '{recipe.name}' compares groups by {attribute}, which is {found}; two groups are needed among those "
            f"who are trained on, beside those who choose the epoch and who are measured: fill in the column '{attribute}' of the "
            f"manifest, add speakers, or name another column with data.protected"
        )
    return names


def as_told(utterances: Utterances, target: np.ndarray, data: DataChoice) -> Utterances:
    """As a method may know them: without the emotions of the target, and the groups of some of its speakers.

    Args:
        utterances: with everything.
        target: rows of the corpus that is adapted to.
        data: whose groups are told.
    """
    if len(target) == 0:
        return replace(utterances, protected=data.protected)
    table = utterances.corpus.table.copy()
    of_corpus = table["corpus"].isin(table["corpus"].iloc[target].unique())
    table.loc[of_corpus, "emotion"] = None
    untold = table["speaker"].isin(_untold(table.iloc[target], data))
    table[data.protected] = table[data.protected].mask(untold, pd.NA)
    return replace(utterances, corpus=replace(utterances.corpus, table=table), protected=data.protected)


def _untold(table: pd.DataFrame, data: DataChoice) -> list[str]:
    """Speakers whose group is not told; each group keeps at least one, the first by name."""
    groups = groups_of(table, data.protected).groupby(table["speaker"]).first()
    untold: list[str] = []
    for name in groups.dropna().unique():
        own = sorted(groups.index[groups == name])
        untold += own[max(1, round(data.known_groups * len(own))) :]
    return untold


def target_folds(corpus: Corpus, data: DataChoice, n_folds: int | None) -> list[list[str]]:
    """The target's speakers in folds, each group dealt out evenly; one speaker each if `n_folds` is None.

    Raises:
        BadCorpus: fewer speakers than folds.
    """
    table = corpus.table[of_target(corpus, data)]
    group = groups_of(table, data.protected).fillna("").groupby(table["speaker"]).first()
    order = sorted(group.index, key=lambda speaker: (group[speaker], speaker))
    n = len(order) if n_folds is None else n_folds
    if n < 2 or len(order) < n:
        raise BadCorpus(
            f"{target_of(corpus, data)} has {len(order)} speakers: too few for {n} folds, for those who are measured must "
            f"be others than those who are adapted to"
        )
    return [sorted(order[place::n]) for place in range(n)]


def trains_or_measures(corpus: Corpus, data: DataChoice, speakers: Sequence[str]) -> tuple[list[str], list[str]]:
    """Some speakers, divided into those of the source and those of the target; without those who have no labels."""
    table, apart = corpus.table, unlabelled_of(corpus, data)
    targets, labelled = set(table["speaker"][of_target(corpus, data)]), set(table["speaker"][~apart])
    known = [one for one in speakers if one in labelled]
    return [one for one in known if one not in targets], [one for one in known if one in targets]

"""How far apart groups are over all classes: mean and largest ΔSP and ΔEO, how sure we are, and whether a remedy changed them.

Sources: statistical parity and equalised odds, one class against the rest, as in arXiv 2501.00995, section 4. A gap of a few
speakers is never 0, also where the group does not matter; so each has its null band, and is believed only beyond it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser_core.evaluation.counts import Counts
from ser_core.evaluation.performance import mean_where_known, uar_of_counts
from ser_core.evaluation.statistics import N_RESAMPLES, UNKNOWN, Interval, interval, resampled, shuffled_within

KINDS = ("sp", "eo")


@dataclass(frozen=True)
class Gap:
    """A difference between groups, over the classes; nan where it is not estimable.

    Attributes:
        mean, largest: over the classes.
        interval: 95 % of the mean, resampling the speakers of each group. A gap of resamples is larger than that of the
            speakers (it is never below 0), so whether there is one is asked of the band.
        band: what the mean reaches in 95 % of worlds in which the group does not matter.
        of_class, band_of_class: the same of each class, (C,).
    """

    mean: float
    largest: float
    interval: Interval
    band: float
    of_class: np.ndarray
    band_of_class: np.ndarray


@dataclass(frozen=True)
class Change:
    """What a remedy does to a mean gap: remedy minus reference, on the same utterances.

    Attributes:
        interval: 95 %, resampling the speakers of each group; both methods together.
        p: two-sided, exchanging the two methods' answers to all of a speaker.
    """

    value: float
    interval: Interval
    p: float


def gaps_of_counts(pooled: np.ndarray) -> dict[str, np.ndarray]:
    """Gaps between groups: largest minus smallest.

    Args:
        pooled: truth by prediction of each group, (…, G, C, C).

    Returns:
        uar (…), and for each class (…, C): sp (how often it is answered), eo (recall or false positives, the worse of them).
    """
    spoken, selected, all_of = pooled.sum(-1), pooled.sum(-2), pooled.sum((-1, -2))[..., None]
    right = np.diagonal(pooled, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, false, sp = (
            _range(rate) for rate in (right / spoken, (selected - right) / (all_of - spoken), selected / all_of)
        )
    return {"uar": _range(uar_of_counts(pooled)[..., None])[..., 0], "sp": sp, "eo": np.maximum(recall, false)}


def mean_gaps(truth: np.ndarray, said: np.ndarray, group: np.ndarray, n_classes: int) -> dict[str, float]:
    """Mean over the classes of ΔSP and of ΔEO; nan without two groups, or (ΔEO) where nobody knows the truth.

    Args:
        truth: class of each utterance, (N,) int, -1 where it is not known.
        said: predicted class, (N,) int.
        group: of the speaker, (N,) int.
        n_classes: C.
    """
    groups = np.unique(group)
    if len(groups) < 2:
        return dict.fromkeys(KINDS, float("nan"))
    pooled = np.zeros((len(groups), n_classes, n_classes))
    # without a truth each utterance counts as some class: what is predicted is all that ΔSP looks at
    np.add.at(pooled, (np.searchsorted(groups, group), np.maximum(truth, 0), said), 1)
    gaps = gaps_of_counts(pooled)
    known = bool((truth >= 0).all())
    return {
        "sp": mean_where_known(gaps["sp"]).item(),
        "eo": mean_where_known(gaps["eo"]).item() if known else float("nan"),
    }


def gap_of(counts: Counts, groups: pd.Series, corpora: pd.Series, n: int = N_RESAMPLES) -> dict[str, Gap]:
    """The gaps of one method, by KINDS.

    Args:
        counts: of one method.
        groups: of each speaker, indexed by speaker; speakers of no group are left out.
        corpora: of each speaker; groups are dealt out anew within them.
        n: how often.
    """
    table, number = _of_known(counts, groups)
    if len(np.unique(number)) < 2:
        nothing = np.full(len(counts.emotions), np.nan)
        return {kind: Gap(*[float("nan")] * 2, UNKNOWN, float("nan"), nothing, nothing) for kind in KINDS}
    at_hand = gaps_of_counts(_by_group(table[None], number))
    drawn = gaps_of_counts(_by_group(_draws(number, n) * table, number))
    corpus = corpora.loc[[one for one in counts.speakers if pd.notna(groups.get(one))]].to_numpy()
    dealt = gaps_of_counts(by_dealt_group(table, shuffled_within(number, corpus, n=n)))
    return {
        kind: Gap(
            mean=float(mean_where_known(at_hand[kind])[0]),
            largest=max((float(one) for one in at_hand[kind][0] if one == one), default=float("nan")),
            interval=interval(mean_where_known(drawn[kind]), len(number)),
            band=band(mean_where_known(dealt[kind])),
            of_class=at_hand[kind][0],
            band_of_class=np.array([band(values) for values in dealt[kind].T]),
        )
        for kind in KINDS
    }


def change_of(counts: Counts, reference: Counts, groups: pd.Series, n: int = N_RESAMPLES) -> dict[str, Change]:
    """What a method changes of the mean gaps, by KINDS; both of the same speakers and classes.

    Args:
        counts, reference: of the method, and of the one it is compared with.
        groups: of each speaker.
        n: resamples, and exchanges.
    """
    (mine, number), (theirs, _) = _of_known(counts, groups), _of_known(reference, groups)
    if len(np.unique(number)) < 2:
        return {kind: Change(float("nan"), UNKNOWN, float("nan")) for kind in KINDS}
    times, swap = _draws(number, n), np.random.default_rng(1).random((n, len(number))) < 0.5
    swap[0] = False  # the world at hand is one of them
    first, second = (np.where(swap[..., None, None], one, other) for one, other in ((theirs, mine), (mine, theirs)))
    return {
        kind: Change(
            value=_difference(mine[None], theirs[None], number, kind)[0],
            interval=interval(_difference(times * mine, times * theirs, number, kind), len(number)),
            p=_share_as_far(_difference(first, second, number, kind)),
        )
        for kind in KINDS
    }


def uar_interval(counts: Counts, n: int = N_RESAMPLES) -> Interval:
    """95 % of the UAR over all utterances, resampling the speakers."""
    return interval(_uar_of(_times(len(counts.speakers), n), counts), len(counts.speakers))


def uar_change_of(counts: Counts, reference: Counts, n: int = N_RESAMPLES) -> Change:
    """What a method changes of the UAR over all utterances (its mean over seeds); both of the same speakers and classes."""
    n_speakers = len(counts.speakers)
    times, swap = _times(n_speakers, n), np.random.default_rng(1).random((n, n_speakers)) < 0.5
    swap[0] = False
    alone = np.ones((1, n_speakers))
    exchanged = _uar_of(~swap, counts, reference) - _uar_of(swap, counts, reference)
    return Change(
        value=float((_uar_of(alone, counts) - _uar_of(alone, reference))[0]),
        interval=interval(_uar_of(times, counts) - _uar_of(times, reference), n_speakers),
        p=_share_as_far(exchanged),
    )


def _difference(mine: np.ndarray, theirs: np.ndarray, number: np.ndarray, kind: str) -> np.ndarray:
    """Of the mean gaps, (n,), from counts of each speaker (n, S, C, C)."""
    one, other = (mean_where_known(gaps_of_counts(_by_group(tables, number))[kind]) for tables in (mine, theirs))
    return one - other


def _times(n_speakers: int, n: int) -> np.ndarray:
    """How often each speaker is in a resample of all, (n, S)."""
    return resampled(n_speakers, n=n).astype(float)


def _uar_of(times: np.ndarray, counts: Counts, others: Counts | None = None) -> np.ndarray:
    """UAR, mean over seeds, of each world (n,), in which each speaker counts so often (n, S).

    With `others` a speaker who does not count is answered by them: `times` says whose answers are taken.
    """
    pooled = np.einsum("ns,srij->nrij", times.astype(float), counts.table)
    if others is not None:
        pooled = pooled + np.einsum("ns,srij->nrij", 1.0 - times.astype(float), others.table)
    return mean_where_known(uar_of_counts(pooled))


def _share_as_far(differences: np.ndarray) -> float:
    """How many of the worlds are as far from 0 as the first."""
    return float(np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12))


def _of_known(counts: Counts, groups: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the speakers whose group is known, seeds together, (S, C, C); and the number of their group, (S,)."""
    group = pd.Series(list(counts.speakers)).map(groups)
    known = group.notna().to_numpy()
    return counts.over_seeds[known].astype(float), pd.factorize(group[known], sort=True)[0]


def _by_group(tables: np.ndarray, number: np.ndarray) -> np.ndarray:
    """From speakers (n, S, C, C) to groups (n, G, C, C)."""
    return np.stack([tables[:, number == one].sum(axis=1) for one in np.unique(number)], axis=1)


def by_dealt_group(table: np.ndarray, dealt: np.ndarray) -> np.ndarray:
    """Groups (n, G, C, C) where each world has its own group numbers, (n, S)."""
    member = (dealt[:, None, :] == np.unique(dealt)[None, :, None]).astype(float)
    flat = member @ table.reshape(len(table), -1)
    return flat.reshape(*member.shape[:2], *table.shape[1:])


def _draws(number: np.ndarray, n: int) -> np.ndarray:
    """How often each speaker is in a resample of the speakers of each group, (n, S, 1, 1)."""
    rng, times = np.random.default_rng(0), np.zeros((n, len(number)))
    for group in np.unique(number):
        places = np.flatnonzero(number == group)
        times[:, places] = rng.multinomial(len(places), np.full(len(places), 1 / len(places)), size=n)
    return times[..., None, None]


def _range(rates: np.ndarray) -> np.ndarray:
    """Largest minus smallest over the groups, (…, G, C) to (…, C); nan where a group has nothing to compare."""
    return rates.max(axis=-2) - rates.min(axis=-2)


def band(gaps: np.ndarray) -> float:
    """What gaps reach in 95 % of worlds, (n,); nan where there is none."""
    known = gaps[~np.isnan(gaps)]
    return float(np.quantile(known, 0.95)) if len(known) else float("nan")

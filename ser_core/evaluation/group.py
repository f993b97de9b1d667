"""Fairness to groups: is an emotion recognised, and named, equally often whoever speaks?

Sources: statistical parity and equalised odds, one class against the rest, as in arXiv 2501.00995, section 4; computed by
fairlearn's MetricFrame. The null band (what a gap reaches where the group does not matter) is ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from ser_core.data.groups import age_band, known_group
from ser_core.evaluation.counts import Counts
from ser_core.evaluation.gaps import KINDS, band, by_dealt_group, gaps_of_counts, uar_interval
from ser_core.evaluation.performance import uar_of_counts
from ser_core.evaluation.statistics import Interval, shuffled_within

MIN_UTTERANCES, MIN_SPEAKERS = 10, 2
"""A smaller group is "not estimable": never dropped in silence, and never a number."""

MAX_GROUPS = 12
"""A column with more values than this is not an attribute of groups."""

MAX_ATTRIBUTES, MAX_CROSSED = 8, 24
"""So many attributes are looked at, and intersections of so many groups."""

NOT_AN_ATTRIBUTE = frozenset({
    "utterance_id", "path", "duration_s", "speaker", "split", "emotion", "arousal", "valence", "dominance", "text",
    "text_id", "intensity", "duplicate_of", "take", "sentence", "method", "seed", "fold", "predicted_emotion", "age",
})  # fmt: skip


@dataclass(frozen=True)
class GroupReport:
    """What differs between the groups of one attribute; nan where it is not estimable.

    Attributes:
        n_utterances, n_speakers: of each group, also of those that are too small.
        not_estimable: groups that are too small, and why.
        uar, uar_interval: of each group; intervals by bootstrap over its speakers.
        uar_gap: largest UAR minus smallest.
        uar_gap_band: what the gap reaches in 95 % of worlds in which the group does not matter.
        recall, selection_rate, false_positive_rate, base_rate: of each group and class.
        delta_sp, delta_eo, delta_eo_mean: of each class; statistical parity difference, equalised odds difference
            (worst case) and (mean).
        delta_sp_band, delta_eo_band: as the gap's band.
    """

    n_utterances: dict[str, int]
    n_speakers: dict[str, int]
    not_estimable: dict[str, str]
    uar: dict[str, float]
    uar_interval: dict[str, Interval]
    uar_gap: float
    uar_gap_band: float
    recall: dict[str, dict[str, float]]
    selection_rate: dict[str, dict[str, float]]
    false_positive_rate: dict[str, dict[str, float]]
    base_rate: dict[str, dict[str, float]]
    delta_sp: dict[str, float]
    delta_sp_band: dict[str, float]
    delta_eo: dict[str, float]
    delta_eo_band: dict[str, float]
    delta_eo_mean: dict[str, float]


def attributes(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Protected attributes of the speakers, and their intersections in pairs: name → group of each speaker.

    An attribute is gender, age (in bands), language, corpus, or any further column that is the same for all utterances
    of a speaker and has 2 to 12 values. Speakers of whom it is not known have no group.
    """
    per_speaker = table.groupby("speaker")
    found: dict[str, pd.Series] = {}
    if "age" in table and table["age"].notna().any():
        found["age band"] = per_speaker["age"].first().map(age_band)
    for name in table.columns:
        if name in NOT_AN_ATTRIBUTE or name.startswith(("p_", "predicted_")):
            continue
        if per_speaker[name].nunique().max() == 1:
            found[name] = per_speaker[name].first().map(known_group)
    found = {name: groups for name, groups in found.items() if 2 <= groups.nunique() <= MAX_GROUPS}
    found = dict(sorted(found.items(), key=lambda item: (item[0] != "gender", item[0]))[:MAX_ATTRIBUTES])
    crossed = {f"{one} × {other}": _crossed(found[one], found[other]) for one, other in combinations(found, 2)}
    return found | {name: groups for name, groups in crossed.items() if groups.nunique() <= MAX_CROSSED}


def compare_groups(table: pd.DataFrame, counts: Counts, groups: pd.Series, n_resamples: int = 2_000) -> GroupReport:
    """Every number about the groups of one attribute, for one method.

    Rates are pooled over the seeds first; differences are taken after that.

    Args:
        table: predictions of one method: speaker, corpus, emotion, predicted_emotion.
        counts: of the same table.
        groups: the group of each speaker, indexed by speaker.
        n_resamples: of the speakers for intervals, and of the groups for the bands.
    """
    group_of = pd.Series(list(counts.speakers), index=list(counts.speakers)).map(groups)
    n_seeds = len(counts.seeds)
    spoken = pd.Series(counts.over_seeds.sum(axis=(1, 2)) / n_seeds, index=list(counts.speakers))
    n_utterances = {str(g): round(n) for g, n in spoken.groupby(group_of).sum().items()}
    n_speakers = {str(g): int(n) for g, n in group_of.value_counts(sort=False).sort_index().items()}
    small = {g: words for g in n_utterances if (words := _too_small(n_utterances[g], n_speakers[g]))}
    large = [g for g in n_utterances if g not in small]
    of_group = {g: counts.of(group_of.index[group_of == g].tolist()) for g in large}
    uars = {g: float(uar_of_counts(of_group[g].pooled).mean()) for g in large}
    rates = _rates(of_group, counts.emotions)
    bands = _null_bands(counts, group_of, large, table, n_resamples)
    base = {g: _base_rates(of_group[g]) for g in large}
    sp, eo, eo_mean = (_differences(rates, kind) for kind in ("sp", "eo", "eo_mean"))
    return GroupReport(
        n_utterances=n_utterances,
        n_speakers=n_speakers,
        not_estimable=small,
        uar=uars,
        uar_interval={g: uar_interval(of_group[g], n_resamples) for g in large},
        uar_gap=_range(list(uars.values())),
        uar_gap_band=bands["uar"],
        recall={g: rates["recall"].loc[g].to_dict() for g in large},
        selection_rate={g: rates["selected"].loc[g].to_dict() for g in large},
        false_positive_rate={g: rates["false"].loc[g].to_dict() for g in large},
        base_rate=base,
        delta_sp=sp,
        delta_sp_band=dict(zip(counts.emotions, bands["sp"], strict=True)),
        delta_eo=eo,
        delta_eo_band=dict(zip(counts.emotions, bands["eo"], strict=True)),
        delta_eo_mean=eo_mean,
    )


def _rates(counts: Mapping[str, Counts], emotions: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Recall, selection rate and false positive rate of each group, (G, C), one class against the rest; nan for an empty cell."""
    cells = [
        (group, truth, said, n)
        for group, of in counts.items()
        for truth, row in zip(emotions, of.over_seeds.sum(axis=0), strict=True)
        for said, n in zip(emotions, row, strict=True)
        if n
    ]
    problems = [
        (kind, emotion, group, int(said == emotion), float(n))
        for emotion in emotions
        for group, truth, said, n in cells
        for kind in ("selected", "recall" if truth == emotion else "false")
    ]
    one = pd.DataFrame(problems, columns=["kind", "emotion", "group", "answered", "n"])
    empty = pd.DataFrame(index=list(counts), columns=list(emotions), dtype=float)
    if one.empty:
        return dict.fromkeys(("selected", "recall", "false"), empty)
    from fairlearn.metrics import MetricFrame, selection_rate  # slow to import: the app shows its page first

    rates = MetricFrame(  # recall is how often a class is answered among its own utterances, and so on
        metrics=selection_rate, y_true=one["answered"], y_pred=one["answered"], sensitive_features=one[["group"]],
        control_features=one[["kind", "emotion"]], sample_params={"sample_weight": one["n"]},
    ).by_group.unstack("emotion")  # fmt: skip
    return {
        kind: rates.xs(kind, level="kind").reindex(index=empty.index, columns=empty.columns).astype(float)
        if kind in rates.index.get_level_values("kind")
        else empty
        for kind in ("selected", "recall", "false")
    }


def _differences(rates: Mapping[str, pd.DataFrame], kind: str) -> dict[str, float]:
    """Largest minus smallest over the groups, for each class; nan where a group has nothing to compare."""
    gaps = {name: _range_of_columns(rates[name].to_numpy()) for name in rates}
    value = {
        "sp": lambda: gaps["selected"],
        "eo": lambda: np.maximum(gaps["recall"], gaps["false"]),
        "eo_mean": lambda: (gaps["recall"] + gaps["false"]) / 2,
    }[kind]()
    return dict(zip(rates["selected"].columns, value.tolist(), strict=True))


def _null_bands(counts: Counts, group_of: pd.Series, large: list[str], table: pd.DataFrame, n: int) -> dict:
    """95th percentiles of the gaps where groups are dealt out anew among the speakers of each corpus.

    nan where every corpus has one group only: then a difference between groups may as well be one between corpora.
    """
    inside = group_of.isin(large).to_numpy()
    unknown = np.full(len(counts.emotions), np.nan)
    if len(large) < 2:
        return {"uar": float("nan"), "sp": unknown.tolist(), "eo": unknown.tolist()}
    table_of = counts.over_seeds[inside]
    speakers = np.array(counts.speakers)[inside]
    number = group_of[inside].map({g: place for place, g in enumerate(large)}).to_numpy(dtype=int)
    corpus = table.groupby("speaker")["corpus"].first().loc[speakers].to_numpy()
    if all(len(set(number[corpus == name])) == 1 for name in set(corpus)):  # nothing to deal out
        return {"uar": float("nan"), "sp": unknown.tolist(), "eo": unknown.tolist()}
    dealt = shuffled_within(number, corpus, n=n)
    gaps = gaps_of_counts(by_dealt_group(table_of, dealt))
    return {"uar": band(gaps["uar"]), **{kind: [band(values) for values in gaps[kind].T] for kind in KINDS}}


def _base_rates(counts: Counts) -> dict[str, float]:
    """How often each class is spoken, of all utterances."""
    spoken = counts.over_seeds.sum(axis=(0, 2))
    return dict(zip(counts.emotions, (spoken / spoken.sum()).tolist(), strict=True))


def _range_of_columns(values: np.ndarray) -> np.ndarray:
    if len(values) < 2:
        return np.full(values.shape[1], np.nan)
    return values.max(axis=0) - values.min(axis=0)  # nan if any group is


def _range(values: list[float]) -> float:
    return max(values) - min(values) if len(values) > 1 else float("nan")


def _too_small(n_utterances: int, n_speakers: int) -> str:
    if n_utterances >= MIN_UTTERANCES and n_speakers >= MIN_SPEAKERS:
        return ""
    return f"{n_utterances} utterances of {n_speakers} speakers; {MIN_UTTERANCES} of {MIN_SPEAKERS} are needed"


def _crossed(one: pd.Series, other: pd.Series) -> pd.Series:
    known = one.notna() & other.notna()
    return (one.astype(str) + " × " + other.astype(str)).where(known, None)

"""One table of predictions → every number about it; several methods → their comparison. To and from JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ser_core.evaluation.counts import Counts, classes_of, count
from ser_core.evaluation.group import GroupReport, attributes, compare_groups
from ser_core.evaluation.individual import (
    ALPHAS,
    CURVE,
    gini,
    gini_floor,
    gini_of_rows,
    interval_of_speakers,
    isoelastic_welfare,
    lorenz,
    uar_per_speaker,
    worst,
)
from ser_core.evaluation.performance import accuracy, ccc, macro_f1, recalls, uar_of_counts
from ser_core.evaluation.predictions import Predictions
from ser_core.evaluation.statistics import (
    N_FLIPS,
    N_RESAMPLES,
    UNKNOWN,
    Interval,
    drawn,
    holm,
    interval,
    resampled,
    sign_flip,
)
from ser_core.labels import ATTRIBUTES

BASELINE = "baseline"
GENDER = "gender"
FEWEST_FOR_GINI = 10
FEW_SPEAKERS = 6


@dataclass(frozen=True)
class ModelReport:
    """Numbers of one method; nan where something cannot be estimated. All are means over seeds.

    Attributes:
        uar, uar_interval: pooled over speakers (and folds) for each seed; interval by bootstrap over speakers.
        uar_new_sentence: on utterances whose sentence was not among the speaker's enrolled ones, where that is known.
        confusion: truth by prediction, in the order of `emotions`, utterances averaged over seeds.
        speaker_uar: over the classes the speaker has spoken; `speaker_uar_audmetric` counts a class that was predicted
            but never spoken as recall 0 (arXiv 2406.06665's code). Never compare one with the other.
        speaker_spread: mean, sd, median, min, max of speaker_uar.
        gini_floor: Gini of equally able speakers with as few utterances; excess_gini is what remains above it.
        lorenz: shares of speakers and of UAR.
        welfare: isoelastic, by aversion to inequality α; welfare_curve for more of them.
        worst_speakers: the three with the smallest UAR.
        recall_by_gender, uar_by_gender, delta_sp, delta_eo, delta_eo_mean: of `groups["gender"]`, empty without genders.
        groups: of every attribute and intersection that was asked for.
        ccc: of arousal, valence, dominance where predicted: over all utterances, and averaged over speakers.
    """

    emotions: list[str]
    n_utterances: int
    n_speakers: int
    n_seeds: int
    uar: float
    uar_interval: Interval
    uar_sd_over_seeds: float
    uar_new_sentence: float
    accuracy: float
    macro_f1: float
    recall: dict[str, float]
    confusion: list[list[float]]
    speaker_uar: dict[str, float]
    speaker_uar_interval: dict[str, Interval]
    speaker_uar_audmetric: dict[str, float]
    speaker_spread: dict[str, float]
    gini: float
    gini_interval: Interval
    gini_audmetric: float
    gini_floor: float
    excess_gini: float
    excess_gini_interval: Interval
    lorenz: dict[str, list[float]]
    welfare: dict[str, float]
    welfare_curve: dict[str, float]
    worst_speakers: list[str]
    recall_by_gender: dict[str, dict[str, float]]
    uar_by_gender: dict[str, float]
    delta_sp: dict[str, float]
    delta_eo: dict[str, float]
    delta_eo_mean: dict[str, float]
    ccc: dict[str, dict[str, float]]
    groups: dict[str, GroupReport] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A method against another on the same utterances; the p values of one report are adjusted together (Holm).

    Attributes:
        difference, difference_interval: of UAR; speakers are resampled, both methods on the same ones.
        p, p_holm: sign-flip permutation over the speakers' differences of UAR.
        smallest_p: what so few speakers can reach at best.
        difference_new_sentence, p_new_sentence: the same on utterances whose sentence was not enrolled, where that is
            known; p adjusted by Holm.
        excess_gini_difference, excess_gini_difference_interval: below 0 is more even.
        share_worse, n_worse: speakers whose UAR fell.
        change: of each speaker's UAR.
    """

    model: str
    against: str
    difference: float
    difference_interval: Interval
    p: float
    p_holm: float
    smallest_p: float
    difference_new_sentence: float
    p_new_sentence: float
    excess_gini_difference: float
    excess_gini_difference_interval: Interval
    share_worse: float
    n_worse: int
    change: dict[str, float]


@dataclass(frozen=True)
class Report:
    """Every number of one table of predictions.

    Attributes:
        models: by method.
        comparisons: every other method against the baseline.
        notes: what was left out or filled in.
        leaks: the leak check's verdict; empty where it is not known who was heard in training.
        configuration: what was evaluated how: seed, commit, corpus, hashes.
    """

    models: dict[str, ModelReport]
    comparisons: list[Comparison]
    notes: list[str]
    leaks: dict[str, Any] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict:
        """Plain containers; the one who writes them turns nan into null."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Report":
        """The report again; null becomes nan."""
        models = {name: _model_from_json(of) for name, of in content["models"].items()}
        comparisons = [Comparison(**_known(one, _INTERVALS)) for one in content["comparisons"]]
        return cls(models, comparisons, list(content["notes"]), content["leaks"], content["configuration"])


def make_report(
    predictions: Predictions,
    group_attributes: Sequence[str] | None = None,
    against: str | None = None,
    leaks: Mapping[str, Any] | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> Report:
    """Compute everything.

    Args:
        predictions: checked.
        group_attributes: names as `attributes` gives them; all of them if None.
        against: the method that others are compared with; if None as `reference_of` says.
        leaks: verdict of the leak check.
        configuration: stands in the report as it is.
    """
    table = predictions.table
    found = attributes(table)
    chosen = found if group_attributes is None else {name: found[name] for name in group_attributes if name in found}
    parts = {name: table[table["method"] == name] for name in predictions.methods}
    emotions = classes_of(table)
    counts = {name: count(part, emotions) for name, part in parts.items()}
    floors = {name: gini_floor(counts[name], np.random.default_rng(0)) for name in parts}
    models = {name: _model_report(parts[name], counts[name], floors[name], chosen) for name in parts}
    with_ = {name: against or reference_of(name, predictions.methods) for name in parts}
    new = _new_for_all(parts)
    comparisons = [_compare(counts, floors, new, name, with_[name]) for name in parts if name != with_[name]]
    for p in ("p_new_sentence", "p"):
        adjusted = holm({one["model"]: one[p] for one in comparisons})
        for one in comparisons:
            one["p_holm" if p == "p" else p] = adjusted[one["model"]]
    return Report(
        models,
        [Comparison(**one) for one in comparisons],
        [*predictions.notes, *_cautions(table)],
        dict(leaks or {}),
        dict(configuration or {}),
    )


def _cautions(table: pd.DataFrame) -> list[str]:
    """What makes the numbers of a table say little."""
    n_speakers, emotions = table["speaker"].nunique(), table["emotion"].unique()
    cautions = []
    if n_speakers < FEW_SPEAKERS:
        cautions.append(
            f"with {n_speakers} speaker{'' if n_speakers == 1 else 's'} hardly anything can be told from chance"
        )
    if len(emotions) == 1:
        cautions.append(f"only {emotions[0]} was spoken: UAR is its recall, and to answer it always would give 1")
    return cautions


def group_reports(predictions: Predictions, name: str) -> dict[str, GroupReport]:
    """What differs between the groups of one attribute (as `attributes` names it), for every method."""
    table = predictions.table
    groups = attributes(table)[name]
    parts = {method: table[table["method"] == method] for method in predictions.methods}
    emotions = classes_of(table)
    return {method: compare_groups(part, count(part, emotions), groups) for method, part in parts.items()}


def reference(methods: Sequence[str]) -> str:
    """Which method the others are compared with: 'baseline', or one whose name ends so, or the first."""
    return next((name for name in methods if name.split(": ")[-1] == BASELINE), methods[0])


def reference_of(name: str, methods: Sequence[str]) -> str:
    """Which method one is compared with: of several models ('MODEL: METHOD') the same model's baseline, else `reference`."""
    own = name.rpartition(": ")[0] + f": {BASELINE}"
    return own if own in methods and own != name else reference(methods)


def _model_report(table: pd.DataFrame, counts: Counts, floor: float, groups: Mapping[str, pd.Series]) -> ModelReport:
    per_seed = uar_per_speaker(counts)
    speakers = pd.Series(per_seed.mean(axis=1), index=list(counts.speakers))
    uars = uar_of_counts(counts.pooled)
    n_seeds, n_speakers = len(counts.seeds), len(counts.speakers)
    by_group = {name: compare_groups(table, counts, of) for name, of in groups.items()}
    audmetric = uar_per_speaker(counts, "audmetric")
    gini_interval = _gini_interval(counts)
    new = _new_sentences(table)
    model = ModelReport(
        emotions=list(counts.emotions),
        n_utterances=int(counts.table.sum() // n_seeds),
        n_speakers=n_speakers,
        n_seeds=n_seeds,
        uar=float(uars.mean()),
        uar_interval=interval(resampled_uar(counts), n_speakers),
        uar_sd_over_seeds=float(uars.std()) if n_seeds > 1 else float("nan"),
        uar_new_sentence=float(uar_of_counts(new.pooled).mean()) if new else float("nan"),
        accuracy=_over_seeds(table, accuracy),
        macro_f1=_over_seeds(table, macro_f1),
        recall=dict(zip(counts.emotions, recalls(counts.pooled).mean(axis=0).tolist(), strict=True)),
        confusion=(counts.pooled.sum(axis=0) / n_seeds).tolist(),
        speaker_uar=speakers.to_dict(),
        speaker_uar_interval={
            name: (float(low), float(high))
            for name, (low, high) in zip(counts.speakers, interval_of_speakers(counts), strict=True)
        },
        speaker_uar_audmetric=dict(zip(counts.speakers, audmetric.mean(axis=1).tolist(), strict=True)),
        speaker_spread=_spread(per_seed),
        gini=_mean_gini(per_seed),
        gini_interval=gini_interval,
        gini_audmetric=_mean_gini(audmetric),
        gini_floor=floor if n_speakers > 1 else float("nan"),
        excess_gini=_mean_gini(per_seed) - floor,
        excess_gini_interval=(gini_interval[0] - floor, gini_interval[1] - floor),
        lorenz=_lorenz(per_seed),
        welfare={f"{alpha:g}": _welfare(per_seed, alpha) for alpha in ALPHAS},
        welfare_curve={f"{alpha:g}": _welfare(per_seed, alpha) for alpha in CURVE},
        worst_speakers=worst(speakers),
        recall_by_gender={},
        uar_by_gender={},
        delta_sp={},
        delta_eo={},
        delta_eo_mean={},
        ccc=_ccc(table),
    )
    return with_groups(model, by_group)


def with_groups(model: ModelReport, groups: Mapping[str, GroupReport]) -> ModelReport:
    """A method's report with what differs between groups; that between genders also stands in fields of its own."""
    model = replace(model, groups=dict(groups))
    if GENDER not in groups:
        return model
    gender = groups[GENDER]
    return replace(
        model, recall_by_gender=gender.recall, uar_by_gender=gender.uar, delta_sp=gender.delta_sp,
        delta_eo=gender.delta_eo, delta_eo_mean=gender.delta_eo_mean,
    )  # fmt: skip


def resampled_uar(counts: Counts) -> np.ndarray:
    """UAR, mean over seeds, of each bootstrap resample of the speakers, (2000,)."""
    times = resampled(len(counts.speakers))
    pooled = (times @ counts.table.reshape(len(counts.speakers), -1)).reshape(N_RESAMPLES, *counts.table.shape[1:])
    return uar_of_counts(pooled).mean(axis=1)


def resampled_gini(counts: Counts) -> np.ndarray:
    """Gini, mean over seeds, of the same resamples, (2000,)."""
    per_seed = uar_per_speaker(counts)
    places = drawn(len(counts.speakers))
    return np.mean([gini_of_rows(per_seed[places, seed]) for seed in range(per_seed.shape[1])], axis=0)


def _gini_interval(counts: Counts) -> Interval:
    low, high = _around(_mean_gini(uar_per_speaker(counts)), resampled_gini(counts), len(counts.speakers))
    return float(np.maximum(0.0, low)), high  # which keeps nan


def _around(own: float, resamples: np.ndarray, n_speakers: int) -> Interval:
    """Interval of a Gini (or of a difference of two) around its own value.

    Resamples hold the same speaker several times and so look too even: they are moved to the value, and widened for few
    speakers as Student's t is against the normal. Coverage by simulation is about .92 with 20 speakers and .95 with 91;
    with fewer than ten it is far too low, so there is no interval.
    """
    if n_speakers < FEWEST_FOR_GINI:
        return UNKNOWN
    from scipy.stats import norm, t  # slow to import: the app shows its page first

    wider = t.ppf(0.975, n_speakers - 1) / norm.ppf(0.975) * np.sqrt(n_speakers / (n_speakers - 1))
    return interval(own + wider * (resamples - resamples.mean()), n_speakers)


def _compare(
    counts: Mapping[str, Counts],
    floors: Mapping[str, float],
    new: Mapping[str, Counts | None],
    model: str,
    against: str,
) -> dict:
    here, there = counts[model], counts[against]
    speakers = list(here.speakers)
    change = _change(here, there)
    excess = [_mean_gini(uar_per_speaker(counts[name])) - floors[name] for name in (model, against)]
    moved = resampled_gini(here) - resampled_gini(there)
    own = excess[0] - excess[1]
    return {
        "model": model,
        "against": against,
        "difference": float(uar_of_counts(here.pooled).mean() - uar_of_counts(there.pooled).mean()),
        "difference_interval": interval(resampled_uar(here) - resampled_uar(there), len(speakers)),
        "p": sign_flip(change.to_numpy()),
        "smallest_p": max(2.0 ** (1 - len(speakers)), 2 / (N_FLIPS + 1)) if len(speakers) > 1 else float("nan"),
        **_on_new_sentences(new[model], new[against]),
        "excess_gini_difference": own,
        "excess_gini_difference_interval": _around(own, moved, len(speakers)),
        "share_worse": float((change < 0).mean()),
        "n_worse": int((change < 0).sum()),
        "change": change.to_dict(),
    }


def _mean_gini(per_seed: np.ndarray) -> float:
    """nan for one speaker alone: nobody can be served less."""
    if len(per_seed) < 2:
        return float("nan")
    return float(np.mean([gini(per_seed[:, seed]) for seed in range(per_seed.shape[1])]))


def _spread(per_seed: np.ndarray) -> dict[str, float]:
    seeds = pd.DataFrame(per_seed)
    named = {"mean": "mean", "sd": "std", "median": "median", "min": "min", "max": "max"}
    return {name: float(getattr(seeds, function)().mean()) for name, function in named.items()}


def _welfare(per_seed: np.ndarray, alpha: float) -> float:
    return float(np.mean([isoelastic_welfare(of_seed, alpha) for of_seed in per_seed.T]))


def _lorenz(per_seed: np.ndarray) -> dict[str, list[float]]:
    curves = [lorenz(of_seed) for of_seed in per_seed.T]
    return {"speakers": curves[0][0].tolist(), "uar": np.mean([share for _, share in curves], axis=0).tolist()}


def _over_seeds(table: pd.DataFrame, measure) -> float:
    return float(np.mean([measure(one["emotion"], one["predicted_emotion"]) for _, one in table.groupby("seed")]))


def _change(here: Counts, there: Counts) -> pd.Series:
    """Of each speaker's UAR, averaged over seeds."""
    change = uar_per_speaker(here).mean(axis=1) - uar_per_speaker(there).mean(axis=1)
    return pd.Series(np.where(np.abs(change) > 1e-12, change, 0.0), index=list(here.speakers))


def _new_sentences(table: pd.DataFrame) -> Counts | None:
    """Counts of the utterances whose sentence was not enrolled; None where there are none, or it is not known."""
    new = table[table["sentence"] == "new"] if "sentence" in table else table.iloc[:0]
    return count(new) if len(new) else None


def _new_for_all(parts: Mapping[str, pd.DataFrame]) -> dict[str, Counts | None]:
    """Counts of the utterances whose sentence is new to every method that knows sentences: like is compared with like."""
    keys = {name: part["corpus"] + "\0" + part["utterance_id"] for name, part in parts.items()}
    known = [
        set(keys[name][part["sentence"] == "new"])
        for name, part in parts.items()
        if "sentence" in part and part["sentence"].notna().any()
    ]
    shared = set.intersection(*known) if known else set()
    return {name: count(part[keys[name].isin(shared)]) if shared else None for name, part in parts.items()}


def _on_new_sentences(here: Counts | None, there: Counts | None) -> dict[str, float]:
    if here is None or there is None:
        return {"difference_new_sentence": float("nan"), "p_new_sentence": float("nan")}
    difference = uar_of_counts(here.pooled).mean() - uar_of_counts(there.pooled).mean()
    return {"difference_new_sentence": float(difference), "p_new_sentence": sign_flip(_change(here, there).to_numpy())}


def _ccc(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Over all utterances (O-CCC) and averaged over speakers (A-CCC), as in arXiv 2309.02418."""
    found = {}
    for name in ATTRIBUTES:
        if name in table and f"predicted_{name}" in table:
            pairs = table[["speaker", name, f"predicted_{name}"]].apply(
                lambda column: column if column.name == "speaker" else pd.to_numeric(column, errors="coerce")
            )
            pairs = pairs.replace([np.inf, -np.inf], np.nan).dropna()
            of_speakers = [ccc(one[name], one[f"predicted_{name}"]) for _, one in pairs.groupby("speaker")]
            known = [value for value in of_speakers if not np.isnan(value)]
            found[name] = {
                "overall": ccc(pairs[name], pairs[f"predicted_{name}"]),
                "speaker_mean": float(np.mean(known)) if known else float("nan"),
            }
    return found


_INTERVALS = (
    "uar_interval", "gini_interval", "excess_gini_interval", "difference_interval", "excess_gini_difference_interval",
)  # fmt: skip


def _model_from_json(content: Mapping[str, Any]) -> ModelReport:
    groups = {name: GroupReport(**_known(of, ())) for name, of in content["groups"].items()}
    groups = {name: replace(of, uar_interval=_intervals(of.uar_interval)) for name, of in groups.items()}
    model = ModelReport(**{**_known(content, _INTERVALS), "groups": groups})
    return replace(model, speaker_uar_interval=_intervals(model.speaker_uar_interval))


def _known(content: Mapping[str, Any], intervals: Sequence[str]) -> dict[str, Any]:
    """null → nan; a list of two numbers → a tuple, where an interval stands."""
    return {key: tuple(_with_nan(value)) if key in intervals else _with_nan(value) for key, value in content.items()}


def _intervals(content: Mapping[str, Any]) -> dict[str, Interval]:
    return {name: tuple(ends) for name, ends in content.items()}


def _with_nan(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _with_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_with_nan(value) for value in content]
    return float("nan") if content is None else content

"""A Report as tables: what stands behind each figure, and what people save."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ser_core.evaluation.report import Report


def headline(report: Report) -> pd.DataFrame:
    """One row a method: the numbers to look at first."""
    rows = []
    compared = {one.model: one for one in report.comparisons}
    for name, model in report.models.items():
        against = compared.get(name)
        rows.append({
            "method": name,
            "UAR": model.uar, "UAR from": model.uar_interval[0], "UAR to": model.uar_interval[1],
            "UAR, new sentences": model.uar_new_sentence,
            "accuracy": model.accuracy, "macro F1": model.macro_f1,
            "worst speaker": model.speaker_spread["min"], "best speaker": model.speaker_spread["max"],
            "Gini": model.gini, "Gini floor": model.gini_floor, "excess Gini": model.excess_gini,
            "excess Gini from": model.excess_gini_interval[0], "excess Gini to": model.excess_gini_interval[1],
            "welfare, α = 1": model.welfare["1"], "welfare, α = 5": model.welfare["5"],
            "change of UAR": against.difference if against else np.nan,
            "change, new sentences": against.difference_new_sentence if against else np.nan,
            "change from": against.difference_interval[0] if against else np.nan,
            "change to": against.difference_interval[1] if against else np.nan,
            "p": against.p if against else np.nan, "p (Holm)": against.p_holm if against else np.nan,
            "speakers worse off": against.share_worse if against else np.nan,
            "utterances": model.n_utterances, "speakers": model.n_speakers, "seeds": model.n_seeds,
        })  # fmt: skip
    return pd.DataFrame(rows)


def speakers(report: Report, group_of: Mapping[str, str]) -> pd.DataFrame:
    """One row a speaker: UAR of each method with its interval."""
    first = next(iter(report.models.values()))
    names = sorted(first.speaker_uar, key=first.speaker_uar.get)
    table = pd.DataFrame({"speaker": names, "gender": [group_of.get(name, "unknown") for name in names]})
    for method, model in report.models.items():
        low, high = zip(*(model.speaker_uar_interval[name] for name in names), strict=True)
        table[f"UAR {method}"] = [model.speaker_uar[name] for name in names]
        table[f"from {method}"], table[f"to {method}"] = low, high
    return table


def lorenz(report: Report, methods: Sequence[str]) -> pd.DataFrame:
    """Share of speakers, the worst served first, and the share of all UAR that they have."""
    first = report.models[methods[0]]
    shares = {f"share of UAR, {name}": report.models[name].lorenz["uar"] for name in methods}
    return pd.DataFrame({"share of speakers": first.lorenz["speakers"], **shares})


def ginis(report: Report, methods: Sequence[str]) -> pd.DataFrame:
    """Gini, its floor, and what exceeds it."""
    rows = [
        (name, model.gini, *model.gini_interval, model.gini_floor, model.excess_gini, *model.excess_gini_interval)
        for name in methods
        for model in [report.models[name]]
    ]
    heads = ["method", "Gini", "from", "to", "floor", "excess", "excess from", "excess to"]
    return pd.DataFrame(rows, columns=heads)


def welfare(report: Report, methods: Sequence[str]) -> pd.DataFrame:
    """Isoelastic welfare over α."""
    curves = {name: report.models[name].welfare_curve for name in methods}
    alphas = list(next(iter(curves.values())))
    return pd.DataFrame(
        {"α": [float(alpha) for alpha in alphas], **{name: list(curve.values()) for name, curve in curves.items()}}
    )


def groups(report: Report, attribute: str) -> pd.DataFrame:
    """One row a method and group: size, UAR, and recall of each class; why, where it is not estimable."""
    rows = []
    for method, model in report.models.items():
        of = model.groups[attribute]
        for group in of.n_utterances:
            low, high = of.uar_interval.get(group, (np.nan, np.nan))
            recall = {f"recall {emotion}": of.recall.get(group, {}).get(emotion, np.nan) for emotion in model.emotions}
            rows.append({
                "method": method, "group": group, "speakers": of.n_speakers[group], "utterances": of.n_utterances[group],
                "UAR": of.uar.get(group, np.nan), "from": low, "to": high, **recall,
                "not estimable": of.not_estimable.get(group, ""),
            })  # fmt: skip
    return pd.DataFrame(rows)


def differences(report: Report, attribute: str) -> pd.DataFrame:
    """One row a method and class: ΔSP and ΔEO with what chance reaches."""
    rows = []
    for method, model in report.models.items():
        of = model.groups[attribute]
        base = of.base_rate
        for emotion in model.emotions:
            rows.append({
                "method": method, "emotion": emotion,
                "ΔSP": of.delta_sp[emotion], "chance reaches (ΔSP)": of.delta_sp_band[emotion],
                "ΔEO": of.delta_eo[emotion], "chance reaches (ΔEO)": of.delta_eo_band[emotion],
                "ΔEO, mean": of.delta_eo_mean[emotion], **{f"base rate {group}": base[group][emotion] for group in base},
            })  # fmt: skip
        for words, over in (("mean over emotions", np.mean), ("largest", np.max)):
            named = {"ΔSP": of.delta_sp, "ΔEO": of.delta_eo, "ΔEO, mean": of.delta_eo_mean}
            rows.append(
                {"method": method, "emotion": words, **{head: _over(values, over) for head, values in named.items()}}
            )
    return pd.DataFrame(rows)


def change(report: Report) -> pd.DataFrame:
    """One row a speaker: change of UAR under each method."""
    if not report.comparisons:
        return pd.DataFrame({"speaker": []})
    columns = {f"change under {one.model}": one.change for one in report.comparisons}
    return pd.DataFrame(columns).rename_axis("speaker").reset_index().sort_values(next(iter(columns)))


def confusion(counts: Sequence[Sequence[float]], emotions: Sequence[str]) -> pd.DataFrame:
    """Truth by answer, counts."""
    table = pd.DataFrame(np.asarray(counts), columns=[f"answered {emotion}" for emotion in emotions])
    table.insert(0, "spoken", list(emotions))
    return table


def _over(values: Mapping[str, float], summary) -> float:
    known = [value for value in values.values() if not np.isnan(value)]
    return float(summary(known)) if known else float("nan")


def as_markdown(report: Report) -> str:
    """The headline numbers as a Markdown table, for benchmarks/README.md."""
    compared = {one.model: one for one in report.comparisons}
    heads = [
        "method", "UAR (95 % interval)", "change of UAR", "p (Holm)", "worse off", "new sentences: change, p", "worst – best speaker",
        "excess Gini (95 %)", "its change", "welfare α = 1, 2, 5", "gap of UAR by gender (chance reaches)",
    ]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, model in report.models.items():
        one, gender = compared.get(name), model.groups.get("gender")
        cells = [
            name.replace("|", "/"), f"{_three(model.uar)} ({_span(model.uar_interval)})",
            f"{_signed(one.difference)} ({_span(one.difference_interval)})" if one else "–", _p(one.p_holm) if one else "–",
            f"{one.n_worse} of {len(one.change)}" if one else "–",
            f"{_signed(one.difference_new_sentence)}, {_p(one.p_new_sentence)}" if one else "–",
            f"{_three(model.speaker_spread['min'])} – {_three(model.speaker_spread['max'])}",
            f"{_three(model.excess_gini)} ({_span(model.excess_gini_interval)})",
            f"{_signed(one.excess_gini_difference)} ({_span(one.excess_gini_difference_interval)})" if one else "–",
            ", ".join(_three(model.welfare[alpha]) for alpha in ("1", "2", "5")),
            f"{_three(gender.uar_gap)} ({_three(gender.uar_gap_band)})" if gender else "–",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _three(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def _signed(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:+.3f}"


def _span(interval: tuple[float, float]) -> str:
    return "not estimable" if np.isnan(interval[0]) else f"{_three(interval[0])} to {_three(interval[1])}"


def _p(value: float) -> str:
    return "–" if np.isnan(value) else "< .001" if value < 0.001 else f"{value:.3f}"

"""The lines of a comparison table, from the table of predictions alone."""

import numpy as np
import pandas as pd

from ser_core.evaluation.certainty import calibration_error_of
from ser_core.evaluation.individual import gini, share_worse, speaker_uar
from ser_core.evaluation.performance import ccc_of_rated, uar
from ser_core.labels import ATTRIBUTES

BASELINE = "baseline"
"""The method that the others are compared with, where it is among them."""

OWN_WORDS = "the words that were said"
NO_WORDS = "no words"
"""Controls of methods that read."""


def summarise(
    predictions: pd.DataFrame, controls: pd.DataFrame, draws: pd.DataFrame, choice: pd.DataFrame
) -> dict[str, dict]:
    """Numbers of each method: pooled over folds for each seed, then averaged over seeds.

    Args:
        predictions: columns speaker, gender, emotion, text_id, method, seed, predicted_emotion.
        controls: the same with a column control.
        draws: the same with a column draw.
        choice: who is enrolled with what; targets of a sentence that was not enrolled are also reported by themselves.
    """
    new_sentence = sentence_column(predictions, choice) == "new"
    summary = {}
    for method, part in predictions.groupby("method", sort=False):
        if part["predicted_emotion"].isna().all():  # it predicts attributes only
            summary[method] = {
                "n_targets": _n_targets(part),
                "n_speakers": part["speaker"].nunique(),
                **_attributes(part),
            }
            continue
        line = _over_seeds(part)
        line["uar_new_sentence"] = _mean_uar(part[new_sentence[part.index]])
        line["gini_new_sentence"] = _mean_gini(part[new_sentence[part.index]])
        line["gender_uar"] = {gender: _mean_uar(of_gender) for gender, of_gender in part.groupby("gender")}
        line["share_of_speakers_worse"] = _share_worse(part, predictions[predictions["method"] == BASELINE])
        for control, controlled in controls[controls["method"] == method].groupby("control"):
            line[f"uar_{control}"] = _mean_uar(controlled)
        drawn = [_mean_uar(one) for _, one in draws[draws["method"] == method].groupby("draw")]
        line["draws"] = {"n": len(drawn), "uar": float(np.mean(drawn)), "sd": float(np.std(drawn))} if drawn else None
        summary[method] = line
    return summary


def sentence_column(predictions: pd.DataFrame, choice: pd.DataFrame) -> pd.Series:
    """Was a target's sentence among those its speaker is enrolled with: 'enrolled', 'new', or None where it is not known."""
    enrolled = choice.dropna(subset="text_id").groupby("speaker")["text_id"].agg(lambda ids: set(ids.astype(str)))
    pairs = zip(predictions["speaker"], predictions["text_id"], strict=True)
    said = [
        None if pd.isna(text) else "enrolled" if str(text) in enrolled.get(speaker, set()) else "new"
        for speaker, text in pairs
    ]
    return pd.Series(said, index=predictions.index, dtype=object)


def draw_results(draws: pd.DataFrame) -> pd.DataFrame:
    """UAR and Gini over speakers of each random choice of enrolment: columns draw, method, seed, uar, gini.

    Methods that predict attributes only have no rows.
    """
    draws = draws[draws["predicted_emotion"].notna()]
    rows = [
        (*key, uar(part["emotion"], part["predicted_emotion"]), gini(speaker_uar(part)))
        for key, part in draws.groupby(["draw", "method", "seed"], sort=False)
    ]
    return pd.DataFrame(rows, columns=["draw", "method", "seed", "uar", "gini"])


def _over_seeds(part: pd.DataFrame) -> dict:
    uars = [uar(one["emotion"], one["predicted_emotion"]) for _, one in part.groupby("seed")]
    speakers = [speaker_uar(one) for _, one in part.groupby("seed")]
    return {
        "n_targets": _n_targets(part),
        "n_speakers": int(part["speaker"].nunique()),
        "uar": float(np.mean(uars)),
        "uar_sd_over_seeds": float(np.std(uars)),
        "ece": _mean([calibration_error_of(one) for _, one in part.groupby("seed")]),
        "gini": float(np.mean([gini(one) for one in speakers])),
        "worst_speaker": float(np.mean([one.min() for one in speakers])),
        "best_speaker": float(np.mean([one.max() for one in speakers])),
        "speaker_uar": pd.concat(speakers, axis=1).mean(axis=1).round(4).to_dict(),
        **_attributes(part),
    }


def _n_targets(part: pd.DataFrame) -> int:
    return int((part["seed"] == part["seed"].iloc[0]).sum())


def _attributes(part: pd.DataFrame) -> dict[str, float]:
    """CCC of each attribute that is predicted, over all speakers (O-CCC), averaged over seeds."""
    predicted = [name for name in ATTRIBUTES if f"predicted_{name}" in part and part[f"predicted_{name}"].notna().any()]
    of_seeds = [one for _, one in part.groupby("seed")]
    return {
        f"ccc_{name}": _mean([ccc_of_rated(one[name], one[f"predicted_{name}"]) for one in of_seeds])
        for name in predicted
    }


def _mean_uar(part: pd.DataFrame) -> float:
    """UAR pooled over folds, averaged over seeds; nan without targets."""
    return _mean([uar(one["emotion"], one["predicted_emotion"]) for _, one in part.groupby("seed")])


def _mean_gini(part: pd.DataFrame) -> float:
    return _mean([gini(speaker_uar(one)) for _, one in part.groupby("seed")])


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _share_worse(part: pd.DataFrame, baseline: pd.DataFrame) -> float:
    """Share of speakers whose UAR, averaged over seeds, is below the baseline's; nan without a baseline."""
    if baseline.empty:
        return float("nan")
    here, there = (
        pd.concat([speaker_uar(one) for _, one in table.groupby("seed")], axis=1).mean(axis=1)
        for table in (part, baseline)
    )
    return share_worse(there, here)


def summary_table(summary: dict[str, dict]) -> str:
    """The summary as a Markdown table."""
    attributes = [name for name in ATTRIBUTES if any(f"ccc_{name}" in line for line in summary.values())]
    readers = any(f"uar_{NO_WORDS}" in line for line in summary.values())
    genders = sorted({gender for line in summary.values() for gender in line.get("gender_uar", {})})
    head = [
        "method", "UAR", "± seeds", "Gini", "worst speaker", *(f"UAR {gender}" for gender in genders), "speakers worse",
        "new sentence: UAR", "Gini", "nobody enrolled: UAR", "another speaker's enrolment: UAR", "random enrolments: UAR ± sd",
        *([f"{NO_WORDS}: UAR", f"{OWN_WORDS}: UAR"] if readers else []), *(f"CCC {name}" for name in attributes),
    ]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for method, line in summary.items():
        draws = line.get("draws")
        cells = [
            method, *(_cell(line.get(name)) for name in ("uar", "uar_sd_over_seeds", "gini", "worst_speaker")),
            *(_cell(line.get("gender_uar", {}).get(gender)) for gender in genders),
            _cell(line.get("share_of_speakers_worse"), "{:.0%}"), _cell(line.get("uar_new_sentence")),
            _cell(line.get("gini_new_sentence")),
            _cell(line.get("uar_nobody enrolled")), _cell(line.get("uar_another speaker's enrolment")),
            f"{_cell(draws['uar'])} ± {_cell(draws['sd'])} ({draws['n']})" if draws else "–",
            *([_cell(line.get(f"uar_{NO_WORDS}")), _cell(line.get(f"uar_{OWN_WORDS}"))] if readers else []),
            *(_cell(line.get(f"ccc_{name}")) for name in attributes),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None, form: str = "{:.3f}") -> str:
    return "–" if value is None or np.isnan(value) else form.format(value)

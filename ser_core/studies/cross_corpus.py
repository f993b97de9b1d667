"""Does fairness travel? Trained on some corpora, adapted to and measured on another: who is served, and is gender still heard?

Source: arXiv 2501.00995, section 4: ΔSP and ΔEO of each emotion where a model is used that was made elsewhere. Every method is
measured on the same utterances of the target's speakers; those of them that a method adapts to (without their emotions)
are never those that are measured. The first method is the one that the others are compared with.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from ser_core.data.enrolment import first_of_each
from ser_core.data.groups import groups_of
from ser_core.data.manifest import BadCorpus, Corpus
from ser_core.evaluation.counts import Counts, classes_of, count
from ser_core.evaluation.gaps import KINDS, Gap, change_of, gap_of
from ser_core.evaluation.group import compare_groups
from ser_core.evaluation.probe import PROBES, ask, score
from ser_core.evaluation.statistics import holm
from ser_core.figures.fairness import Named
from ser_core.figures.studies import frontier
from ser_core.inference.predict import Trained, answers, predictions_table
from ser_core.studies.base import (
    Hear,
    Numbers,
    Study,
    Tables,
    accuracy_of,
    check_groups,
    in_points,
    number,
    sizes,
    with_interval,
)
from ser_core.studies.stored import RESULTS
from ser_core.training.crossvalidation import Experiment, trained_folds

EMOTIONS, GROUPS = "emotions", "groups"
"""Names of the tables of one row a method and emotion, and a method and group."""

WORDS = {"sp": "ΔSP", "eo": "ΔEO"}


def check(corpus: Corpus) -> None:
    """Raises BadCorpus unless there are a corpus that trains and another that is adapted to."""
    if corpus.table["corpus"].nunique() < 2:
        raise BadCorpus(
            f"{corpus.name} is one corpus, and this study trains on one and is tested on another: name a second --corpus; "
            f"the last one is the target"
        )


def networks(experiment: Experiment, device: str, say: Callable[[str], None]) -> Iterator[Trained]:
    """Those of cross-validation, once there are groups to compare."""
    check_groups(experiment)
    return trained_folds(experiment, device, say)


def measure(trained: Trained, hear: Hear) -> pd.DataFrame:
    """Predictions of the fold's target speakers, with their group and what fresh probes take their group for.

    The probes learn from the target's other speakers (those who are measured with them, and those who are adapted to), whose
    group is known: nobody is asked of whom it has heard anything.
    """
    utterances, choice = trained.utterances, first_of_each(trained.utterances.corpus)
    targets, enrolled = trained.targets(choice), utterances.enrolment_rows(choice)
    said = answers(trained.method, utterances, targets, enrolled)
    predicted = predictions_table(utterances, targets, said, trained.name, trained.seed, trained.fold)
    table = utterances.corpus.table
    of_target = table["corpus"].isin(set(predicted["corpus"]))
    others = np.flatnonzero(of_target & ~table["speaker"].isin(trained.speakers))
    rows, asked = np.concatenate([targets, others]), np.arange(len(targets) + len(others)) < len(targets)
    embedding = np.concatenate([said.embedding, answers(trained.method, utterances, others, enrolled).embedding])
    group, speaker = groups_of(table, utterances.protected).to_numpy()[rows], table["speaker"].to_numpy()[rows]
    for kind in PROBES:
        answered = ask(embedding, group, speaker, asked, kind)["predicted"]
        predicted[f"probe_{kind}"] = answered.reindex(range(len(targets))).to_numpy()
    return predicted.assign(group=group[: len(targets)])


def tables(measured: pd.DataFrame) -> Tables:
    """results: one row a method: UAR, mean and largest ΔSP and ΔEO, with intervals, null bands and changes (p after Holm); both
    probes.

    emotions: one row a method and emotion: ΔSP, ΔEO, their bands, lowest and highest base rate of a group.
    groups: one row a method and group: UAR with its interval, speakers, utterances.
    """
    parts = dict(list(measured.groupby("method", sort=False)))
    emotions, reference = classes_of(measured), next(iter(parts))
    counts = {name: count(part, emotions) for name, part in parts.items()}
    group, corpus = (measured.groupby("speaker")[column].first() for column in ("group", "corpus"))
    gaps = {name: gap_of(one, group, corpus) for name, one in counts.items()}
    rows = [
        {"method": name, **accuracy_of(counts[name], counts[reference]), **_fairness(counts[name], gaps[name]),
         **_changes(counts[name], counts[reference], group), **_probed(part), **sizes(part)}
        for name, part in parts.items()
    ]  # fmt: skip
    results = pd.DataFrame(rows)
    for name in ("uar_change_p", "sp_change_p", "eo_change_p"):  # adjusted for how many are compared with the first
        compared = results[name].mask(results["method"] == reference)
        results[name] = list(holm(dict(zip(results["method"], compared, strict=True))).values())
    of_groups = {name: compare_groups(part, counts[name], group) for name, part in parts.items()}
    return {
        RESULTS: results,
        EMOTIONS: pd.DataFrame([row for name in parts for row in _of_emotions(name, gaps[name], of_groups[name].base_rate, emotions)]),
        GROUPS: pd.DataFrame([
            {"method": name, "group": one, "uar": report.uar[one], "uar_from": report.uar_interval[one][0],
             "uar_to": report.uar_interval[one][1], "n_speakers": report.n_speakers[one],
             "n_utterances": report.n_utterances[one]}
            for name, report in of_groups.items() for one in report.uar
        ]),
    }  # fmt: skip


def _fairness(counts: Counts, gaps: dict[str, Gap]) -> dict[str, float]:
    return {
        f"{kind}{ending}": value
        for kind, gap in gaps.items()
        for ending, value in (
            ("", gap.mean), ("_from", gap.interval[0]), ("_to", gap.interval[1]), ("_band", gap.band), ("_max", gap.largest),
        )
    }  # fmt: skip


def _changes(counts: Counts, reference: Counts, group: pd.Series) -> dict[str, float]:
    changes = change_of(counts, reference, group)
    return {
        f"{kind}_change{ending}": value
        for kind, one in changes.items()
        for ending, value in (("", one.value), ("_from", one.interval[0]), ("_to", one.interval[1]), ("_p", one.p))
    }


def _probed(part: pd.DataFrame) -> dict[str, float]:
    """Balanced accuracy of the probes; networks of several seeds and folds together."""
    found = {}
    for kind in PROBES:
        known = part[part["group"].notna() & part[f"probe_{kind}"].notna()]
        one = score(pd.DataFrame({
            "label": known["group"], "predicted": known[f"probe_{kind}"], "group": known["speaker"],
            "chance": 1 / max(1, known["group"].nunique()),
        }))  # fmt: skip
        found |= {
            f"probe_{kind}": one.balanced_accuracy,
            f"probe_{kind}_from": one.interval[0],
            f"probe_{kind}_to": one.interval[1],
        }
    return found


def _of_emotions(name: str, gaps: dict[str, Gap], base: dict, emotions: tuple[str, ...]) -> list[dict]:
    return [
        {
            "method": name, "emotion": emotion,
            **{f"{kind}{ending}": float(values[place]) for kind in KINDS
               for ending, values in (("", gaps[kind].of_class), ("_band", gaps[kind].band_of_class))},
            "base_rate_lowest": min((rates[emotion] for rates in base.values()), default=float("nan")),
            "base_rate_highest": max((rates[emotion] for rates in base.values()), default=float("nan")),
        }
        for place, emotion in enumerate(emotions)
    ]  # fmt: skip


def numbers(tables: Tables, named: Named) -> Numbers:
    """One row a method: accuracy, gaps beside what chance reaches, what a probe still hears."""
    results, groups = tables[RESULTS], tables[GROUPS]
    names = list(dict.fromkeys(groups["group"]))
    uars = groups.set_index(["method", "group"])["uar"]
    heads = (
        "Method", "UAR (95 % interval)", "against the first", *(f"UAR, {name}" for name in names),
        "mean ΔSP (chance)", "mean ΔEO (chance)", "largest ΔSP, ΔEO", "probe: linear, kernel",
    )  # fmt: skip
    rows = [
        [
            named(row.method), with_interval(row.uar, row.uar_from, row.uar_to),
            "–" if place == 0 else in_points(row.uar_change, row.uar_change_from, row.uar_change_to),
            *(number(uars[row.method, name]) for name in names),
            f"{number(row.sp)} ({number(row.sp_band)})", f"{number(row.eo)} ({number(row.eo_band)})",
            f"{number(row.sp_max)}, {number(row.eo_max)}", f"{number(row.probe_linear, 2)}, {number(row.probe_kernel, 2)}",
        ]
        for place, row in enumerate(results.itertuples())
    ]  # fmt: skip
    return Numbers(heads, rows)


def told(tables: Tables, named: Named) -> list[str]:
    """What each method comes to and what it costs, against the first; and whether there was anything to gain."""
    first, *others = tables[RESULTS].itertuples()
    name = named(first.method)
    lines = [f"{name}: {'; '.join(_level(first, kind) for kind in KINDS)}; UAR {first.uar:.3f}; {_heard(first)}."]
    for row in others:
        cost = in_points(row.uar_change, row.uar_change_from, row.uar_change_to)
        gaps = "; ".join(f"{_level(row, kind)}, {_change(row, kind)}" for kind in KINDS)
        lines.append(f"{named(row.method)}: {gaps}; UAR {row.uar:.3f}, {cost} against {name}; {_heard(row)}.")
    return lines


def _level(row, kind: str) -> str:
    value, band = getattr(row, kind), getattr(row, f"{kind}_band")
    if np.isnan(value):
        return f"mean {WORDS[kind]} not estimable"
    beyond = "more" if value > band else "no more"
    return f"mean {WORDS[kind]} {value:.3f}, {beyond} than {row.n_speakers} speakers reach by chance ({band:.3f})"


def _change(row, kind: str) -> str:
    value, low, high, p = (getattr(row, f"{kind}_change{ending}") for ending in ("", "_from", "_to", "_p"))
    if np.isnan(value):
        return "its change not estimable"
    sure = "" if p < 0.05 else ", which may be chance"
    return f"a change of {value:+.3f} ({low:+.3f} to {high:+.3f}, p = {p:.2f}{sure})"


def _heard(row) -> str:
    """What probes make of the embedding."""
    told = []
    for kind in PROBES:
        value, low, high = (getattr(row, f"probe_{kind}{ending}") for ending in ("", "_from", "_to"))
        told.append(
            f"what a {kind} probe tells of the group is not estimable"
            if np.isnan(value)
            else f"a {kind} probe tells the group in {with_interval(value, low, high)}"
        )
    return " and ".join(told)


STUDY = Study(
    title="Does fairness travel to another corpus?",
    reading=(
        "Learned from the corpora named first, measured on the last. ΔSP: how differently often an emotion is named for one group and "
        "the other; ΔEO: how differently often it is recognised, or wrongly named, whichever is worse; both are means over the "
        "emotions. To the left the groups are answered more alike, and higher up more is recognised: the best methods stand at the "
        "top left. The upright stroke of a method's colour is what its gap would reach by chance if the group did not matter: a mark "
        "left of it shows no gap. Whiskers: 95 % over speakers."
    ),
    check=check,
    measure=measure,
    tables=tables,
    figure=lambda tables, named: frontier(tables[RESULTS], WORDS, named),
    numbers=numbers,
    told=told,
    networks=networks,
    settings=('data.emotions="shared"', 'data.target="last"'),
    by_design=(
        "Methods that adapt hear other speakers of the target corpus, with their group and without their emotions; nobody who "
        "is measured was heard.",
    ),
)

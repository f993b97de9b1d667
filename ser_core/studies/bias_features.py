"""Which of pitch, energy and rate carries the gap between groups? Each is changed alone, and the answers are counted again.

Source: the first open question of arXiv 2501.00995: which acoustic features contribute to gender bias. Ours: an experiment
instead of a correlation. Every speaker of a group is moved by what her group's mean pitch (rate, energy) lacks to the middle
between the groups; if the gap lives on it, the gap shrinks. Moved as far the other way, it should grow; what does not tell
the two apart may be the harm done to the sound, and so may what processing alone does (faster and slower again). Energy is
brought to one level before anything is heard, so that it cannot matter here; it is changed to show that.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ser_core.data.acoustics import energy_db, pitch_hz, rate_hz, with_energy, with_pitch, with_rate
from ser_core.data.audio import level_and_trim, read_recording
from ser_core.data.enrolment import first_of_each
from ser_core.data.groups import groups_of
from ser_core.encoders.base import SpeechEncoder, autocast
from ser_core.evaluation.counts import Counts, classes_of, count
from ser_core.evaluation.gaps import KINDS, change_of, gap_of
from ser_core.evaluation.performance import uar_of_counts
from ser_core.figures.fairness import Named
from ser_core.figures.studies import gap_changes
from ser_core.inference.predict import Trained
from ser_core.studies.base import Hear, Numbers, Study, Tables, check_groups
from ser_core.studies.stored import RESULTS
from ser_core.training.crossvalidation import Experiment, trained_folds

AS_IT_IS = "as it is"
ALIKE, APART, PROCESSED = "{} alike", "{} further apart", "processing alone"
FEATURES = "features"
"""Name of the table of one row a feature and group."""

_THERE_AND_BACK = 1.1
"""How much faster, and slower again, where nothing but the processing shall be heard."""


@dataclass(frozen=True)
class Feature:
    """What is measured and changed: in octaves (of a frequency) or a tenth of them (of energy), and how a factor is applied."""

    unit: str
    measured: Callable[[Tensor], float]
    change: Callable[[Tensor, float], Tensor]

    def octaves(self, waveform: Tensor) -> float:
        """log2 of an amplitude or a frequency."""
        value = self.measured(waveform)
        return value / (20 * np.log10(2)) if self.unit == "dB" else float(np.log2(value))

    def of_octaves(self, octaves: float) -> float:
        """Back in its unit."""
        return octaves * 20 * np.log10(2) if self.unit == "dB" else 2**octaves


ACOUSTIC: dict[str, Feature] = {
    "pitch": Feature("Hz", pitch_hz, with_pitch),
    "energy": Feature("dB", energy_db, with_energy),
    "rate": Feature("syllables a second", rate_hz, with_rate),
}


@dataclass(frozen=True)
class Changed:
    """A trained network, and what its encoder hears where one feature is changed.

    Attributes:
        rows: that were changed, (M,): all of the speakers who are tested in some fold.
        versions: condition to pooled layers of these rows, (M, L, 2 D).
        features: of these rows, as `measured_features` gives them.
    """

    trained: Trained
    rows: np.ndarray
    versions: dict[str, Tensor]
    features: pd.DataFrame


def networks(experiment: Experiment, device: str, say: Callable[[str], None]) -> Iterator[Changed]:
    """Change the recordings once, then train fold by fold."""
    check_groups(experiment)
    corpus = experiment.utterances.corpus
    tested = [speaker for fold in experiment.folds for speaker in fold]
    rows = np.flatnonzero(corpus.table["speaker"].isin(tested).to_numpy())
    protected = experiment.recipes[0].data.protected
    table = measured_features(corpus.table.iloc[rows], protected)
    return _changed(experiment, device, say, rows, table, protected)


def _changed(experiment, device, say, rows, table: pd.DataFrame, protected: str) -> Iterator[Changed]:
    versions = {}
    paths = experiment.utterances.corpus.table["path"].iloc[rows]
    for condition, factors in conditions(table):
        versions[condition] = heard(experiment.encoder, paths, table["speaker"].map(factors), condition)
        say(f"heard with {condition}")
    for trained in trained_folds(experiment, device, say):
        yield Changed(trained, rows, versions, table)


def measured_features(table: pd.DataFrame, protected: str) -> pd.DataFrame:
    """Each feature of each utterance in octaves, with its speaker and group; the index is that of `table`."""
    found = []
    for path in table["path"]:
        waveform = torch.from_numpy(read_recording(path).waveform)
        levelled = torch.from_numpy(level_and_trim(waveform.numpy()))
        found.append({
            name: feature.octaves(waveform if feature.unit == "dB" else levelled) for name, feature in ACOUSTIC.items()
        })  # fmt: skip
    groups = groups_of(table, protected)
    return pd.DataFrame(found, index=table.index).assign(speaker=table["speaker"], group=groups)


def conditions(table: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    """Processing alone; each feature moved to the middle between the groups, and as far the other way: name, and a factor for
    each speaker."""
    of_speaker = table.groupby("speaker")
    group = of_speaker["group"].first()
    yield PROCESSED, pd.Series(_THERE_AND_BACK, index=group.index)
    for name in ACOUSTIC:
        of_group = of_speaker[name].mean().groupby(group).mean()
        distance = (of_group.mean() - group.map(of_group).astype(float)).fillna(0.0)
        for condition, sign in ((ALIKE, 1), (APART, -1)):
            yield condition.format(name), 2.0 ** (sign * distance)


def heard(encoder: SpeechEncoder, paths: Iterable[str], factors: Iterable[float], condition: str) -> Tensor:
    """Pooled layers (M, L, 2 D) of recordings with one feature changed by a factor each."""
    change = there_and_back if condition == PROCESSED else ACOUSTIC[condition.partition(" ")[0]].change
    layers = []
    with torch.inference_mode(), autocast(encoder.device):
        for path, factor in zip(paths, factors, strict=True):
            waveform = change(torch.from_numpy(read_recording(path).waveform), float(factor))
            levelled = torch.from_numpy(level_and_trim(waveform.numpy())).to(encoder.device)
            layers.append(encoder.pooled([levelled])[0].cpu())
    return torch.stack(layers)


def measure(changed: Changed, hear: Hear) -> pd.DataFrame:
    """Predictions of a network on its targets as they are, and with each feature changed: column condition."""
    trained, choice = changed.trained, first_of_each(changed.trained.utterances.corpus)
    targets, parts = trained.targets(choice), []
    for condition, layers in {AS_IT_IS: None, **changed.versions}.items():
        utterances = trained.utterances
        if layers is not None:
            features = utterances.features.clone()
            features[torch.from_numpy(changed.rows)] = layers.to(features.dtype)
            utterances = replace(utterances, features=features)
        parts.append(replace(trained, utterances=utterances).predict(targets, choice).assign(condition=condition))
    whole = pd.concat(parts)
    own = changed.features.loc[whole["utterance_id"]]
    return whole.assign(**{name: own[name].to_numpy() for name in (*ACOUSTIC, "group")})


def tables(measured: pd.DataFrame) -> Tables:
    """results: one row a method and condition: UAR, mean ΔSP and ΔEO, and their change against recordings as they are.

    features: one row a feature and group: its mean over speakers.
    """
    rows, emotions = [], classes_of(measured)
    group, corpus = (measured.groupby("speaker")[column].first() for column in ("group", "corpus"))
    for method, of_method in measured.groupby("method", sort=False):
        parts = dict(list(of_method.groupby("condition", sort=False)))
        counts = {condition: count(part, emotions) for condition, part in parts.items()}
        for condition, part in parts.items():
            sizes = {"n_speakers": part["speaker"].nunique(), "n_seeds": part["seed"].nunique()}
            rows.append({
                "method": method, "condition": condition, **_row(counts[condition], counts[AS_IT_IS], group, corpus),
                **sizes, "n_utterances": len(part) // sizes["n_seeds"],
            })  # fmt: skip
    return {RESULTS: pd.DataFrame(rows), FEATURES: _of_groups(measured)}


def there_and_back(waveform: Tensor, factor: float) -> Tensor:
    """`factor` times faster and slower again: what the processing alone leaves of (N,) samples."""
    return with_rate(with_rate(waveform, factor), 1 / factor)


def _of_groups(measured: pd.DataFrame) -> pd.DataFrame:
    """Mean over a group's speakers of their means, in the feature's unit."""
    of_speaker = measured.groupby(["group", "speaker"])[list(ACOUSTIC)].mean()
    rows = [
        {"feature": name, "unit": feature.unit, "group": group, "mean": feature.of_octaves(mean)}
        for name, feature in ACOUSTIC.items()
        for group, mean in of_speaker[name].groupby("group").mean().items()
    ]
    return pd.DataFrame(rows)


def _row(counts: Counts, as_it_is: Counts, group: pd.Series, corpus: pd.Series) -> dict[str, float]:
    gaps, changes = gap_of(counts, group, corpus), change_of(counts, as_it_is, group)
    row = {"uar": float(uar_of_counts(counts.pooled).mean())}
    for kind in KINDS:
        row |= {kind: gaps[kind].mean, f"{kind}_band": gaps[kind].band, f"{kind}_change": changes[kind].value}
        row |= dict(zip((f"{kind}_change_from", f"{kind}_change_to"), changes[kind].interval, strict=True))
        row[f"{kind}_change_p"] = changes[kind].p
    return row


def numbers(tables: Tables, named: Named) -> Numbers:
    """A row a method and condition."""
    heads = ("Method, recordings", "UAR", "mean ΔSP", "change (95 %)", "mean ΔEO", "change (95 %)")
    rows = [
        [f"{named(row.method)}, {row.condition}", f"{row.uar:.3f}", *_cells(row, "sp"), *_cells(row, "eo")]
        for row in tables[RESULTS].itertuples()
    ]
    return Numbers(heads, rows)


def _cells(row, kind: str) -> list[str]:
    value, change, low, high, p = (
        getattr(row, f"{kind}{ending}") for ending in ("", "_change", "_change_from", "_change_to", "_change_p")
    )
    told = "–" if row.condition == AS_IT_IS else f"{change:+.3f} ({low:+.3f} to {high:+.3f}), p = {p:.2f}"
    return [f"{value:.3f}", told]


def told(tables: Tables, named: Named) -> list[str]:
    """How the groups differ, and what the gap does without that difference."""
    lines = [
        f"{name} ({part['unit'].iloc[0]}): "
        + ", ".join(f"{group} {mean:.1f}" for group, mean in zip(part["group"], part["mean"], strict=True))
        + "."
        for name, part in tables[FEATURES].groupby("feature", sort=False)
    ]
    for row in tables[RESULTS].itertuples():
        if row.condition == AS_IT_IS:
            lines.append(f"{named(row.method)}: mean ΔEO {row.eo:.3f}, and chance reaches {row.eo_band:.3f}.")
        elif row.condition in (PROCESSED, *map(ALIKE.format, ACOUSTIC)):
            change = _cells(row, "eo")[1]
            lines.append(
                f"{named(row.method)}, {row.condition}: a change of mean ΔEO of {change}, at UAR {row.uar:.3f}."
            )
    return lines


STUDY = Study(
    title="Does pitch, energy or rate carry the gap between women and men?",
    reading=(
        "The difference between the groups' mean pitch, energy or rate was taken away (alike), or doubled (further apart), and the "
        "recordings were recognised again. What carries the gap lies left of zero when alike and right of it when further apart, and "
        "further than processing alone. Pitch takes the formants along. Energy is levelled before anything is heard."
    ),
    check=lambda corpus: None,
    measure=measure,
    tables=tables,
    figure=lambda tables, named: gap_changes(tables[RESULTS], AS_IT_IS, named),
    numbers=numbers,
    told=told,
    networks=networks,
    settings=('encoder.tune="none"',),  # what is changed is heard by the encoder as it is
)

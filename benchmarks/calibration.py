"""What calibration without labels does: 30 s of free speech, even and skewed mixes of labels.

    python benchmarks/calibration.py --corpus ravdess=DIR --encoder whisper --output OUT [--folds 5] [--seeds 3]

Free speech: targets answered by the baseline, by the baseline put right by 30 s of the speaker's unlabelled utterances (a mix of
emotions, or neutral ones), and by speaker_reference with one labelled utterance of each emotion; the same targets.

Mixes: every speaker keeps all utterances of one half of the emotions and a quarter of the other half. Which half is theirs goes
by gender ('by voice': who sounds alike has the same mix, which PLDC needs), or by chance ('by chance': a voice says nothing of
it), or everybody keeps all ('even'). Networks are trained on all utterances; the training speakers' label statistics are those of
what they keep. Statistics of a test speaker are those of all that was predicted of them. 'recovered' is the share of what the
speaker's true label statistics would gain (the oracle).
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ser_core.data.corpora import load_corpora
from ser_core.data.enrolment import target_rows
from ser_core.data.tables import write_json
from ser_core.encoders import load_encoder
from ser_core.evaluation.counts import count
from ser_core.evaluation.individual import gini, gini_floor, speaker_uar
from ser_core.evaluation.performance import accuracy, ccc, uar
from ser_core.inference.calibration import Calibration, CalibrationSettings, SpeakerStatistics
from ser_core.inference.predict import Trained, answers
from ser_core.labels import ATTRIBUTES
from ser_core.recipe import read_recipe
from ser_core.training.calibrate import BASELINE, ENROLLED, MIXED, NEUTRAL, chosen_settings, fit_correction, predictions
from ser_core.training.crossvalidation import Design, Experiment, set_up, trained_folds
from ser_core.training.provenance import provenance
from ser_core.workspace import open_workspace

N_DRAWS = 5
MIXES = ("even", "by voice", "by chance")
KEPT = 0.25
OF_HALF = ("anger", "happiness", "fear", "surprise")
"""The half of the emotions that the first kind of speakers keeps; the rest is the other kind's."""

PLDC = {"sigma": {}, "mu": {"shift": True, "scale": False}, "both": {"shift": True}}


def pairs(experiment: Experiment, say) -> Iterator[tuple[Trained, Trained]]:
    """The baseline and the personaliser of each fold and seed."""
    networks = trained_folds(experiment, "cpu", say)
    yield from zip(networks, networks, strict=True)


def free_speech(experiment: Experiment, say) -> tuple[list[dict], list[dict]]:
    """Predictions' numbers of every answer, and those of the mixes."""
    tables: dict[tuple[str, int], list[pd.DataFrame]] = {}
    mixes: dict[tuple[str, str, int], list[pd.DataFrame]] = {}
    for baseline, personal in pairs(experiment, say):
        utterances, choice = baseline.utterances, experiment.choice
        table = utterances.corpus.table
        held = table["speaker"].isin([*baseline.speakers, *baseline.dev]).to_numpy()
        train = np.flatnonzero(target_rows(utterances.corpus, choice) & ~held)
        correction = fit_correction(baseline.method, utterances, train)
        correction.settings = chosen_settings(correction, baseline.method, utterances, choice, baseline.dev)
        for how in (BASELINE, MIXED, NEUTRAL, ENROLLED):
            method = personal.method if how == ENROLLED else baseline.method
            for draw in range(N_DRAWS):
                rng = np.random.default_rng([draw, 8])
                said = predictions(correction, method, utterances, choice, baseline.speakers, how, rng)
                tables.setdefault((how, draw), []).append(said.assign(seed=baseline.seed))
        for mix in MIXES:
            for name, said in classes_of_mix(baseline, train, correction.settings, mix).items():
                mixes.setdefault((mix, name, baseline.seed), []).append(said)
    lines = [
        _fairness(how, [pd.concat(tables[how, draw]) for draw in range(N_DRAWS)])
        for how in (BASELINE, MIXED, NEUTRAL, ENROLLED)
    ]
    return lines, _of_mixes(mixes)


def _fairness(how: str, draws: list[pd.DataFrame]) -> dict:
    """Means over draws and seeds."""
    rows = []
    for drawn in draws:
        for _, one in drawn.groupby("seed"):
            of_speakers = speaker_uar(one)
            floor = gini_floor(count(one.assign(method=how, fold=0)), np.random.default_rng(0), 300)
            rows.append({
                "uar": uar(one["emotion"], one["predicted_emotion"]), "gini": gini(of_speakers),
                "excess_gini": gini(of_speakers) - floor, "worst_speaker": of_speakers.min(), "n_targets": len(one),
            })  # fmt: skip
    return {"answer": how, **pd.DataFrame(rows).mean().round(4).to_dict()}


def kept_rows(trained: Trained, rows: np.ndarray, mix: str) -> np.ndarray:
    """What every speaker keeps of their utterances under a mix."""
    table = trained.utterances.corpus.table.iloc[rows]
    rng = np.random.default_rng(5)
    speakers = sorted(trained.utterances.corpus.table["speaker"].unique())
    by_chance = dict(zip(speakers, rng.permutation(np.arange(len(speakers)) % 2), strict=True))
    first = (table["gender"] == "female" if mix == "by voice" else table["speaker"].map(by_chance) == 1).to_numpy()
    own = table["emotion"].isin(OF_HALF).to_numpy() == first
    return rows[own | (rng.random(len(rows)) < KEPT) | (mix == "even")]


def classes_of_mix(
    trained: Trained, train: np.ndarray, settings: CalibrationSettings, mix: str
) -> dict[str, pd.DataFrame]:
    """Prior correction on a mix."""
    utterances = trained.utterances
    table = utterances.corpus.table
    correction = fit_correction(trained.method, utterances, kept_rows(trained, train, mix), settings)
    rows = kept_rows(trained, trained.targets(pd.DataFrame(columns=["speaker", "emotion", "utterance_id"])), mix)
    said, speaker, truth = (
        answers(trained.method, utterances, rows, {}),
        table["speaker"].to_numpy()[rows],
        utterances.emotion[rows],
    )
    probability = said.probability.astype(float)
    put_right = {"none": probability, "corrected": probability.copy(), "oracle": probability.copy()}
    for one in np.unique(speaker):
        own = speaker == one
        known = SpeakerStatistics.of(said.embedding[own].astype(float), probability[own])
        put_right["corrected"][own] = correction.transform(probability[own], known)
        true_mix = np.bincount(truth[own], minlength=probability.shape[1]) / own.sum()
        put_right["oracle"][own] = probability[own] * true_mix / probability[own].mean(axis=0)
    names = np.array(utterances.emotions)
    return {
        name: pd.DataFrame(
            {"speaker": speaker, "emotion": names[truth], "predicted_emotion": names[values.argmax(axis=1)]}
        )
        for name, values in put_right.items()
    }


def _of_mixes(mixes: dict[tuple[str, str, int], list[pd.DataFrame]]) -> list[dict]:
    found = pd.DataFrame(
        [
            {"mix": mix, "answer": name, "accuracy": accuracy(one["emotion"], one["predicted_emotion"]),
             "uar": uar(one["emotion"], one["predicted_emotion"])}
            for (mix, name, _), parts in mixes.items()
            for one in [pd.concat(parts)]
        ]
    )  # fmt: skip
    return _with_recovered(found.groupby(["mix", "answer"], sort=False).mean().reset_index(), "accuracy")


def attributes(experiment: Experiment, say) -> list[dict]:
    """A-CCC of pseudo-attributes with and without PLDC on each mix."""
    rows = []
    nobody = pd.DataFrame(columns=["speaker", "emotion", "utterance_id"])
    for trained in trained_folds(experiment, "cpu", say):
        utterances = trained.utterances
        speakers, rated = utterances.corpus.table["speaker"].to_numpy(), utterances.attributes
        held = np.isin(speakers, [*trained.speakers, *trained.dev])
        train = np.flatnonzero(~held & np.isfinite(rated).all(axis=1))
        known = answers(trained.method, utterances, train, {})
        for mix in MIXES:
            kept = np.isin(train, kept_rows(trained, train, mix))
            calibration = Calibration().fit(
                known.embedding[kept].astype(float),
                speakers[train][kept],
                rated[train][kept],
                known.attributes[kept].astype(float),
            )
            targets = kept_rows(trained, trained.targets(nobody), mix)
            said = answers(trained.method, utterances, targets, {})
            for one in trained.speakers:
                own = speakers[targets] == one
                values, truth = said.attributes[own].astype(float), rated[targets][own]
                statistics = SpeakerStatistics.of(said.embedding[own].astype(float), values)
                answered = {
                    "none": values,
                    "oracle": (values - values.mean(0)) / values.std(0) * truth.std(0) + truth.mean(0),
                }
                for name, how in PLDC.items():
                    calibration.settings = CalibrationSettings(**how)
                    answered[name] = calibration.transform(values, statistics)
                rows += [
                    {
                        "mix": mix,
                        "answer": name,
                        "a_ccc": np.nanmean([ccc(truth[:, k], right[:, k]) for k in range(len(ATTRIBUTES))]),
                    }
                    for name, right in answered.items()
                ]
    return _with_recovered(pd.DataFrame(rows).groupby(["mix", "answer"], sort=False).mean().reset_index(), "a_ccc")


def _with_recovered(found: pd.DataFrame, of: str) -> list[dict]:
    """The share of the oracle's gain; none where the oracle gains less than .01."""
    lines = []
    for _, part in found.groupby("mix", sort=False):
        value = part.set_index("answer")[of]
        could = value["oracle"] - value["none"]
        for row in part.round(4).to_dict("records"):
            gained = value[row["answer"]] - value["none"]
            lines.append(
                {**row, "change": round(gained, 4), "recovered": round(gained / could, 3) if could > 0.01 else None}
            )
    return lines


def table(lines: list[dict]) -> str:
    """Markdown."""
    heads = list(lines[0])
    body = ["| " + " | ".join("–" if row[head] is None else str(row[head]) for head in heads) + " |" for row in lines]
    return "\n".join(["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *body])


def main() -> None:
    """Run, print, write calibration.json and calibration.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--encoder", default="whisper", help="key of ENCODERS; it must not have heard the corpus")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--workspace", default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    corpus, encoder = load_corpora(arguments.corpus), load_encoder(arguments.encoder)
    workspace, design = open_workspace(arguments.workspace), Design(arguments.folds, arguments.seeds)
    classes = [
        replace(read_recipe(name).changed(["data.emotions=app"]), beside=())
        for name in ("baseline", "speaker_reference")
    ]

    def say(line: str) -> None:
        print(line, flush=True)

    speech, mixes = free_speech(set_up(classes, corpus, encoder, design, workspace, "cpu", say), say)
    rated = attributes(set_up([read_recipe("vanilla")], corpus, encoder, design, workspace, "cpu", say), say)
    report = {
        "corpus": corpus.name, "encoder": encoder.fingerprint, "folds": arguments.folds, "seeds": arguments.seeds,
        "free_speech": speech, "classes": mixes, "attributes": rated, **provenance(),
    }  # fmt: skip
    Path(arguments.output).mkdir(parents=True, exist_ok=True)
    write_json(Path(arguments.output) / "calibration.json", report)
    text = "\n\n".join(f"{name}\n\n{table(report[name])}" for name in ("free_speech", "classes", "attributes")) + "\n"
    (Path(arguments.output) / "calibration.md").write_text(text)
    say(text)


if __name__ == "__main__":
    main()

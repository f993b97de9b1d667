"""How often the hints of `inference/plausibility.py` are right, and where their thresholds come from.

python benchmarks/plausibility.py --corpus ravdess=DIR … --out benchmarks/results/plausibility

Thresholds are chosen on the dev speakers of recipes/shipped_split.toml, so that at most 3 in 100 right recordings get a
hint; the label's are the strictest of all models; rates are told of the test speakers. Neither were heard in any training of the models that ship.
"""

import argparse
import json
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import torch

import ser_core
from ser_core.data.audio import read_recording
from ser_core.data.corpora import load_corpora
from ser_core.inference.models import shipped_models
from ser_core.inference.plausibility import (
    HARDLY_ITS_LABEL,
    SURELY_ANOTHER,
    label_answer,
    voice_scores,
    voice_threshold,
)
from ser_core.inference.recogniser import Enrolment, Recogniser
from ser_core.workspace import open_workspace

SPLIT = Path(ser_core.__file__).parent / "recipes" / "shipped_split.toml"
FALSE_HINTS, N_DRAWS, MAX_CLIPS = 0.03, 40, 12


def main() -> None:
    """Measure every model that can be used here."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workspace", default=None)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    split, workspace = tomllib.loads(SPLIT.read_text()), open_workspace(arguments.workspace)
    table = load_corpora(arguments.corpus).table
    arguments.out.mkdir(parents=True, exist_ok=True)
    for info in shipped_models():
        if info.why_unavailable(workspace):
            continue
        recogniser = Recogniser(workspace, info.name)
        found = {
            part: measure(recogniser, table[table["speaker"].isin(split[part])], np.random.default_rng(arguments.seed))
            for part in ("dev", "test")
        }
        report = summary(recogniser, found["dev"], found["test"]) | {
            "model": info.name, "seed": arguments.seed, "commit": commit(), "corpora": sorted(table["corpus"].unique()),
        }  # fmt: skip
        (arguments.out / f"{info.name}.json").write_text(json.dumps(report, indent=2) + "\n")
        print(json.dumps(report, indent=2))


def measure(recogniser: Recogniser, table, rng) -> dict[str, list]:
    """Scores of right and wrong recordings: lists by kind."""
    clips = embedded(recogniser, table, rng)
    scores: dict[str, list] = {name: [] for name in ("right", "wrong label", "same gender", "other gender")}
    for (corpus, speaker), mine in clips.items():
        strangers = [(s, c) for (where, s), c in clips.items() if where == corpus and s != speaker]
        for _ in range(N_DRAWS):
            chosen = {emotion: of[rng.integers(len(of))] for emotion, of in mine["by_emotion"].items()}
            scores["right"] += scored(recogniser, chosen, None)
            emotion = rng.choice(sorted(chosen))
            wrong = rng.choice([e for e in recogniser.info.emotions if e != emotion])
            scores["wrong label"] += scored(recogniser, chosen, emotion, label=str(wrong))
            for _, theirs in strangers:
                if emotion in theirs["by_emotion"]:
                    other = theirs["by_emotion"][emotion][0]
                    kind = "same gender" if theirs["gender"] == mine["gender"] else "other gender"
                    scores[kind] += scored(recogniser, {**chosen, emotion: other}, emotion)
    return scores


def scored(recogniser, chosen: dict, which: str | None, label: str | None = None) -> list[tuple[float, float, float]]:
    """(probability of its label, of the most probable other emotion, voice score) of one recording, or of all."""
    names = tuple(chosen)
    emotions = tuple(label if name == which and label else name for name in names)
    enrolment = Enrolment(names, emotions, np.stack([chosen[name] for name in names]))
    voices = voice_scores(recogniser, enrolment)
    rows = []
    for k, name in enumerate(names):
        if which in (None, name):
            said = label_answer(recogniser, enrolment, name)
            others = max(p for emotion, p in said.items() if emotion != emotions[k])
            rows.append((said[emotions[k]], others, float("nan") if voices is None else float(voices[k])))
    return rows


def embedded(recogniser, table, rng) -> dict:
    """By corpus and speaker: gender, and up to twelve embedded recordings of each emotion."""
    clips = {}
    known = table[table["emotion"].isin(recogniser.info.emotions)]
    for (corpus, speaker), rows in known.groupby(["corpus", "speaker"]):
        by_emotion = {}
        for emotion, of in rows.groupby("emotion"):
            paths = of["path"].sample(min(MAX_CLIPS, len(of)), random_state=int(rng.integers(2**31)))
            by_emotion[emotion] = [recogniser.embed([read_recording(path).waveform])[0] for path in paths]
        clips[corpus, speaker] = {"gender": rows["gender"].iloc[0], "by_emotion": by_emotion}
    return clips


def summary(recogniser: Recogniser, dev: dict, test: dict) -> dict:
    """Thresholds from dev speakers, rates of test speakers."""
    right = np.array(dev["right"])
    voice = float(np.nanquantile(right[:, 2], FALSE_HINTS))
    label = next(
        (low, high)
        for low, high in (
            (0.05, 0.8),
            (0.05, 0.9),
            (0.02, 0.9),
            (0.02, 0.95),
            (0.01, 0.95),
            (0.01, 0.98),
            (0.005, 0.99),
        )
        if np.mean((right[:, 0] < low) & (right[:, 1] > high)) <= FALSE_HINTS
    )
    rates = {}
    for kind, rows in test.items():
        if rows:
            rows = np.array(rows)
            rates[kind] = {
                "n": len(rows),
                "label hint": round(float(np.mean((rows[:, 0] < HARDLY_ITS_LABEL) & (rows[:, 1] > SURELY_ANOTHER))), 4),
                "voice hint": round(float(np.nanmean(rows[:, 2] < voice_threshold(recogniser))), 4),
            }
    chosen = {"voice below": round(voice, 4), "label below and other above": label}
    used = {
        "voice below": voice_threshold(recogniser),
        "label below and other above": (HARDLY_ITS_LABEL, SURELY_ANOTHER),
    }
    return {"chosen on dev speakers": chosen, "used": used, "rates on test speakers, as used": rates}


def commit() -> str:
    """Of the repository; 'unknown' outside of one."""
    done = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()

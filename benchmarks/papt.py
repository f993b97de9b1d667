"""Arousal, valence and dominance with and without PAPT and PLDC, as in Tables 2 to 4 of arXiv 2309.02418.

    python benchmarks/papt.py run --corpus ravdess=DIR --output OUT [--systems papt tapt ...]
    python benchmarks/papt.py table --output OUT

`run` trains each system on the same folds and seeds and keeps what it says of dev and test speakers, as it is and after PLDC
(σ, μ, both), with k chosen on each network's own dev speakers. `table` prints O-CCC, A-CCC, the ablation of positions, the
k curve and what it cost. On RAVDESS attributes are pseudo-attributes made from emotion and intensity: a number here shows what
a method changes, not how well anybody's arousal is recognised. Every RAVDESS speaker has the same mix of labels by design.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ser_core.data.corpora import load_corpora
from ser_core.data.tables import write_csv, write_json
from ser_core.encoders import load_encoder
from ser_core.evaluation.performance import ccc
from ser_core.inference.calibration import Calibration, CalibrationSettings, SpeakerStatistics
from ser_core.inference.predict import Trained, answers
from ser_core.labels import ATTRIBUTES
from ser_core.recipe import Recipe, read_recipe
from ser_core.training.crossvalidation import Design, Experiment, fold_plan, set_up, train_fold, trained_folds
from ser_core.training.preparation import build_method
from ser_core.training.provenance import provenance
from ser_core.training.trainer import Watch, fit, seeded
from ser_core.workspace import open_workspace

SYSTEMS: dict[str, tuple[str, tuple[str, ...], int]] = {
    # name: recipe, what is changed, seeds (all if 0)
    "vanilla": ("vanilla", (), 0),
    "weighting": ("vanilla", ("settings.weighting=1.0", "data.transductive=true"), 0),
    "tapt": ("tapt", (), 0),
    "papt": ("papt", (), 0),
    "tapt_transductive": ("tapt", ("data.transductive=true",), 0),
    "papt_transductive": ("papt", ("data.transductive=true",), 0),
    "papt_first": ("papt", ('settings.position="first"',), 1),
    "papt_prefix": ("papt", ('settings.position="prefix"',), 1),
}
COST = ("settings.pretrain_epochs=5", "settings.crop_s=1.0", 'encoder.tune="last"')
"""Half of the paper's epochs, stretches of a second, the upper two layers: what two cores can do in an afternoon."""

HEADS = 'settings.heads=["arousal", "valence", "dominance"]'
"""As in the paper: no emotions beside."""

PLDC = {
    "none": None,
    "sigma": {"shift": False, "scale": True},
    "mu": {"shift": True, "scale": False},
    "both": {"shift": True, "scale": True},
}
SHRINKAGE = 10.0


def systems_recipe(name: str) -> Recipe:
    """The recipe of a system."""
    recipe, changes, _ = SYSTEMS[name]
    cost = () if recipe == "vanilla" else COST
    return replace(read_recipe(recipe).changed([HEADS, *cost, *changes]), name=name)


def run(arguments: argparse.Namespace) -> None:
    """Train and keep what is said."""
    torch.set_num_threads(arguments.threads)
    workspace = open_workspace(arguments.workspace)
    corpus, encoder = load_corpora(arguments.corpus), load_encoder(arguments.encoder)
    for name in arguments.systems:
        recipe = systems_recipe(name)
        n_seeds = SYSTEMS[name][2] or arguments.seeds
        experiment = set_up([recipe], corpus, encoder, Design(arguments.folds, n_seeds), workspace, "cpu")
        start, tables, curves = time.perf_counter(), [], []
        folds = transductive_folds if "transductive" in name else trained_folds
        for trained in folds(experiment, "cpu", lambda line, name=name: print(name, line, flush=True)):
            said, curve = calibrated(trained)
            tables.append(said)
            curves.append(curve)
        folder = Path(arguments.output) / name
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(pd.concat(tables), folder / "said.csv")
        write_csv(pd.concat(curves), folder / "k.csv")
        about = {
            "system": name, "recipe": recipe.without_paths(), "corpus": corpus.name, "folds": experiment.folds,
            "seeds": n_seeds, "shrinkage": SHRINKAGE, "encoder": encoder.fingerprint, "leak_check": experiment.verdict,
            "minutes": round((time.perf_counter() - start) / 60, 1), "threads": arguments.threads,
            "cores": os.cpu_count(), **provenance(),
        }  # fmt: skip
        write_json(folder / "about.json", about)


def transductive_folds(experiment: Experiment, device: str, say: Callable[[str], None]) -> Iterator[Trained]:
    """As `trained_folds`, but pre-trained once a seed, for it hears everybody, whoever is tested; each fold is fine-tuned."""
    for seed in range(experiment.design.n_seeds):
        first: Trained | None = None
        for fold, test in enumerate(experiment.folds):
            if first is None:
                first = train_fold(experiment, experiment.recipes[0], seed, fold, device)
            yield first if fold == 0 else fine_tuned(first, experiment, fold)
            say(f"seed {seed}, fold {fold + 1} of {len(experiment.folds)}: {', '.join(test)}")


def fine_tuned(pretrained: Trained, experiment: Experiment, fold: int) -> Trained:
    """Another fold of a network that is pre-trained already: its second stage alone."""
    recipe, seed = experiment.recipes[0], pretrained.seed
    utterances, plan, dev = fold_plan(replace(experiment, utterances=pretrained.utterances), recipe, seed, fold)
    seeded(1000 * seed + fold)
    method = build_method(recipe, experiment.encoder, utterances.emotions)
    method.continue_from(pretrained.method)
    fit(method, utterances, plan, recipe.training, seed, "cpu", Watch())
    return Trained(recipe.name, method, utterances, tuple(experiment.folds[fold]), seed, fold, dev)


def calibrated(trained: Trained) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What a network says of its test speakers with and without PLDC, and A-CCC on dev for each k."""
    utterances = trained.utterances
    table = utterances.corpus.table
    speaker, rated = table["speaker"].to_numpy(), utterances.attributes
    held = np.isin(speaker, [*trained.speakers, *trained.dev])
    train = np.flatnonzero(~held & np.isfinite(rated).all(axis=1))
    known = answers(trained.method, utterances, train, {})
    calibration = Calibration().fit(known.embedding, speaker[train], rated[train], known.attributes)
    nobody_enrolled = pd.DataFrame(columns=["speaker", "emotion", "utterance_id"])
    of_dev = Said(trained, trained.targets(nobody_enrolled, trained.dev))
    n_train = len(calibration.vectors_)
    curve = pd.DataFrame(
        [
            {"seed": trained.seed, "fold": trained.fold, "k": k, "a_ccc": of_dev.a_ccc(calibration, k, PLDC["sigma"])}
            for k in range(1, n_train + 1)
        ]
    )
    best = int(curve["k"][curve["a_ccc"].idxmax()])
    of_test = Said(trained, trained.targets(nobody_enrolled))
    answered = {name: of_test.put_right(calibration, best, how) for name, how in PLDC.items()}
    for name, method in trained.method.variants().items():
        answered[name] = Said(replace(trained, method=method), of_test.rows).put_right(calibration, best, None)
    tables = []
    for name, values in answered.items():
        said = {f"said_{one}": values[:, place] for place, one in enumerate(ATTRIBUTES)}
        rows = table.iloc[of_test.rows].reset_index()[["utterance_id", "speaker", "gender", *ATTRIBUTES]]
        tables.append(rows.assign(**said, pldc=name, k=best, seed=trained.seed, fold=trained.fold))
    return pd.concat(tables), curve


class Said:
    """What a network says of some rows, speaker by speaker."""

    def __init__(self, trained: Trained, rows: np.ndarray):
        table = trained.utterances.corpus.table
        self.rows, self.speaker = rows, table["speaker"].to_numpy()[rows]
        self.rated = trained.utterances.attributes[rows]
        self.said = answers(trained.method, trained.utterances, rows, {})

    def put_right(self, calibration: Calibration, k: int, how: dict | None) -> np.ndarray:
        """After PLDC with the statistics of all of a speaker's utterances; as it is where `how` is None."""
        values = self.said.attributes.astype(float)
        if how is None:
            return values
        calibration.settings = CalibrationSettings(n_similar=k, shrinkage=SHRINKAGE, **how)
        for one in np.unique(self.speaker):
            own = self.speaker == one
            statistics = SpeakerStatistics.of(self.said.embedding[own], values[own])
            values[own] = calibration.transform(values[own], statistics)
        return values

    def a_ccc(self, calibration: Calibration, k: int, how: dict) -> float:
        """Mean over speakers and attributes."""
        return float(np.mean(list(a_ccc(self.put_right(calibration, k, how), self.rated, self.speaker).values())))


def a_ccc(said: np.ndarray, rated: np.ndarray, speaker: np.ndarray) -> dict[str, float]:
    """Mean over speakers of each attribute's CCC."""
    own = [speaker == one for one in np.unique(speaker)]
    return {
        name: float(np.nanmean([ccc(rated[rows, place], said[rows, place]) for rows in own]))
        for place, name in enumerate(ATTRIBUTES)
    }


def numbers(folder: Path) -> pd.DataFrame:
    """One row a PLDC variant and seed of a system: O-CCC over all folds together, A-CCC over all speakers."""
    rows = []
    for (pldc, seed), part in pd.read_csv(folder / "said.csv").groupby(["pldc", "seed"]):
        said, rated = (part[[f"{prefix}{one}" for one in ATTRIBUTES]].to_numpy() for prefix in ("said_", ""))
        overall = {f"o_{one}": ccc(rated[:, place], said[:, place]) for place, one in enumerate(ATTRIBUTES)}
        mean = {f"a_{one}": value for one, value in a_ccc(said, rated, part["speaker"].to_numpy()).items()}
        rows.append({"system": folder.name, "pldc": pldc, "seed": seed, **overall, **mean})
    return pd.DataFrame(rows)


def table(arguments: argparse.Namespace) -> None:
    """Print, and write table.md, numbers.csv and k.csv."""
    folders = [
        Path(arguments.output) / name for name in SYSTEMS if (Path(arguments.output) / name / "said.csv").is_file()
    ]
    everything = pd.concat([numbers(folder) for folder in folders])
    columns = [f"{kind}_{one}" for one in ATTRIBUTES for kind in ("o", "a")]
    heads = [f"{one} {kind}-CCC" for one in ATTRIBUTES for kind in ("O", "A")]
    lines = [f"| system | PLDC | {' | '.join(heads)} | seeds |", "|" + "---|" * (len(heads) + 3)]
    for (system, pldc), part in everything.groupby(["system", "pldc"], sort=False):
        cells = [
            f"{part[one].mean():.3f}" + (f" ± {part[one].std(ddof=0):.3f}" if len(part) > 1 else "") for one in columns
        ]
        lines.append(f"| {system} | {pldc} | {' | '.join(cells)} | {len(part)} |")
    abouts = {folder.name: json.loads((folder / "about.json").read_text()) for folder in folders}
    cost = [
        f"{name}: {about['minutes']} min on {about['threads']} of {about['cores']} cores"
        for name, about in abouts.items()
    ]
    curve = pd.concat([pd.read_csv(folder / "k.csv").assign(system=folder.name) for folder in folders])
    curve = curve.groupby(["system", "k"])["a_ccc"].mean().reset_index()
    write_csv(everything, Path(arguments.output) / "numbers.csv")
    write_csv(curve, Path(arguments.output) / "k.csv")
    text = "\n".join([*lines, "", "Cost: " + "; ".join(cost)]) + "\n"
    (Path(arguments.output) / "table.md").write_text(text)
    print(text)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    runs, tables = commands.add_parser("run"), commands.add_parser("table")
    runs.set_defaults(does=run)
    tables.set_defaults(does=table)
    for one in (runs, tables):
        one.add_argument("--output", required=True, metavar="DIR")
    runs.add_argument("--corpus", action="append", required=True, metavar="NAME=DIR")
    runs.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    runs.add_argument("--encoder", default="whisper", help="key of ENCODERS; it must not have heard the corpus")
    runs.add_argument("--folds", type=int, default=3)
    runs.add_argument("--seeds", type=int, default=3)
    runs.add_argument("--threads", type=int, default=1)
    runs.add_argument("--workspace", default=None)
    arguments = parser.parse_args()
    arguments.does(arguments)


if __name__ == "__main__":
    main()

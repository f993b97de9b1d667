"""The accuracy table: every corpus by speakers kept apart, each by what the others teach, and compact by actors it never heard.

python benchmarks/accuracy.py --corpus ravdess=DIR --corpus emodb=DIR --corpus nemo=DIR --corpus korean=DIR \\
    --encoder whisper=FOLDER --compact FIRST/checkpoint/encoder SECOND/checkpoint/encoder --output OUT [--parts ravdess emodb …]

Everybody but the fold trains and the last epoch is kept (training.dev_share = 0), as in the models that ship. The encoders of
--compact come from `train distil_compact` with data.split compact_without_first_half_split and …_second_half_split: each is
measured on the half of the actors that it has not heard, and --encoder beside it on the same actors. Each part is written to a
folder of its own, and the table, accuracy.json and accuracy.md, made of all that are there.
"""

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pandas as pd
import torch

from ser_core.commands.training_arguments import split_encoder
from ser_core.data.corpora import load_corpora
from ser_core.data.tables import write_json
from ser_core.encoders import load_encoder
from ser_core.evaluation.performance import uar
from ser_core.evaluation.predictions import check_predictions
from ser_core.evaluation.report import GENDER, make_report
from ser_core.evaluation.summary import sentence_column
from ser_core.recipe import Recipe, read_recipe
from ser_core.training.crossvalidation import ALL_EMOTIONS, ANOTHER_SPEAKER, Design, crossvalidate
from ser_core.training.provenance import provenance
from ser_core.training.ship import for_the_app
from ser_core.workspace import open_workspace

RECIPES = ("baseline", "speaker_reference")
ACROSS = "across"
HALVES = "compact"
FOLDS = {"ravdess": 5, "emodb": None, "nemo": None, "korean": None}
"""Of each corpus; None leaves one speaker out at a time."""
WHERE = {HALVES: "ravdess"}
"""The corpus of a part that is not named after one."""
DRAWN = ("ravdess", "emodb")

_HEAD = (
    "protocol (speakers, targets, seeds)", "encoder", "method", "UAR (95 % interval)", "change", "p", "worst – best speaker",
    "new sentence", "another speaker's enrolment", "random enrolments", "all seven allowed", "excess Gini", "gap by gender (chance reaches)",
)  # fmt: skip
SAID = {
    "ravdess": "RAVDESS, 8 classes, 5 folds",
    "emodb": "EmoDB, 7 classes, leave one speaker out",
    "nemo": "nEMO, 6 classes, leave one speaker out",
    "korean": "Korean, 4 classes, leave one speaker out",
}


def main() -> None:
    """Measure the parts that are asked for, then write the table."""
    arguments = _asked()
    torch.set_num_threads(1)
    for part in arguments.parts:
        (_measure_halves if part == HALVES else _measure)(part, arguments)
    rows = [row for part in [*FOLDS, ACROSS, HALVES] for row in _rows(arguments.output / part)]
    write_json(arguments.output / "accuracy.json", {"rows": rows, "tables_commit": provenance()["commit"]})
    (arguments.output / "accuracy.md").write_text(as_table(rows), encoding="utf-8")
    print(as_table(rows))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--encoder", default="whisper", metavar="NAME[=DIR]")
    parser.add_argument("--compact", nargs=2, metavar="DIR", help="encoders distilled without one half of the actors")
    parser.add_argument("--note", default="", help="what a reader should know of the two encoders, for the card")
    parser.add_argument("--parts", nargs="*", choices=[*FOLDS, ACROSS, HALVES], default=[*FOLDS, ACROSS, HALVES])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=20, help="random choices of enrolment, on RAVDESS and EmoDB")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--workspace", default=None)
    asked = parser.parse_args()
    named = {one.partition("=")[0] for one in asked.corpus}
    needed = {name for part in asked.parts for name in (FOLDS if part == ACROSS else [WHERE.get(part, part)])}
    if missing := [name for name in FOLDS if name in needed - named]:
        parser.error(f"--corpus {missing[0]}=DIR is missing; the parts asked for need {', '.join(sorted(needed))}")
    if HALVES in asked.parts and not asked.compact:
        parser.error("the part compact needs --compact DIR DIR; name other --parts to leave it out")
    beside = asked.output / WHERE[HALVES] / "predictions.csv"
    if HALVES in asked.parts and WHERE[HALVES] not in asked.parts and not beside.is_file():
        parser.error("the part compact stands beside ravdess, of which there are no predictions: name both in --parts")
    return asked


def _measure(part: str, arguments: argparse.Namespace) -> None:
    name, source = split_encoder(arguments.encoder)
    recipes = [_everybody_trains(read_recipe(recipe)).with_encoder(name, source) for recipe in RECIPES]
    if part == ACROSS:
        recipes = [for_the_app(recipe, name, source, "") for recipe in recipes]
    draws = arguments.draws if part in DRAWN else 0
    design = Design(FOLDS.get(part), arguments.seeds, draws, corpora=part == ACROSS)
    _crossvalidate(recipes, list(FOLDS) if part == ACROSS else [part], design, arguments.output / part, arguments)


def _measure_halves(part: str, arguments: argparse.Namespace) -> None:
    """Each encoder on the actors it has not heard; then the predictions of both as those of one."""
    folder, halves = arguments.output / part, []
    for n, source in enumerate(arguments.compact, 1):
        recipes = [_everybody_trains(read_recipe(recipe)).with_encoder("compact", source) for recipe in RECIPES]
        design = Design(FOLDS[WHERE[part]], arguments.seeds, unheard=True)
        halves.append(folder / f"half_{n}")
        _crossvalidate(recipes, [WHERE[part]], design, halves[-1], arguments)
    for name in ("predictions.csv", "controls.csv"):
        pd.concat([_read(half / name) for half in halves]).to_csv(folder / name, index=False)
    shutil.copy(halves[0] / "enrolment.csv", folder / "enrolment.csv")
    reports = [_report(half) for half in halves]
    same = {key: reports[0][key] for key in ("recipes", "design", "folds", "commit")}
    each = {key: [report[key] for report in reports] for key in ("tested", "encoder", "leak_check")}
    write_json(folder / "report.json", {**same, "halves": {**each, "note": arguments.note}})


def _crossvalidate(recipes: list[Recipe], names: list[str], design: Design, output: Path, arguments) -> None:
    workspace, choice = open_workspace(arguments.workspace), recipes[0].encoder
    named = dict(one.split("=", 1) for one in arguments.corpus)
    corpus = load_corpora([f"{name}={named[name]}" for name in names])
    encoder = load_encoder(choice.name, choice.source or None, (workspace.models,))
    crossvalidate(
        recipes, corpus, encoder, design, output, workspace, "cpu", lambda line: print(line, flush=True)
    )  # fmt: skip


def _everybody_trains(recipe: Recipe) -> Recipe:
    return replace(recipe, training=replace(recipe.training, dev_share=0.0), beside=())


def _rows(folder: Path) -> list[dict]:
    """Lines of the table out of one part's folder, if it was measured; without its predictions, which are large, as they were."""
    if not (folder / "report.json").is_file():
        return []
    made = _report(folder)
    if (folder / "predictions.csv").is_file():
        write_json(folder / "report.json", {**made, "rows": list(_measured_rows(folder, made))})
    return _report(folder)["rows"]


def _measured_rows(folder: Path, made: dict) -> Iterator[dict]:
    choice = _read(folder / "enrolment.csv")
    if folder.name == HALVES:
        beside = folder.parent / WHERE[HALVES]
        other = _report(beside)
        if (
            any(other[key] != made[key] for key in ("folds", "commit"))
            or other["design"]["n_seeds"] != made["design"]["n_seeds"]
        ):
            raise SystemExit("compact and ravdess were measured at other folds, seeds or commits: measure both anew")
        for of, encoder in ((beside, other["recipes"][0]["encoder"]["name"]), (folder, "compact")):
            yield from _of_corpus("RAVDESS, actors whom compact never heard", encoder, *_predicted(of), choice, None)
        return
    predictions, controls = _predicted(folder)
    by_corpus = predictions.groupby("corpus")
    for corpus in (name for name in FOLDS if name in by_corpus.groups):
        said = f"{SAID[corpus].split(',')[0]}, learned from the others" if folder.name == ACROSS else SAID[corpus]
        drawn = made["summary"] if folder.name != ACROSS else None
        part, of_corpus = by_corpus.get_group(corpus), controls[controls["corpus"] == corpus]
        yield from _of_corpus(said, made["recipes"][0]["encoder"]["name"], part, of_corpus, choice, drawn)


def _of_corpus(said: str, encoder: str, predictions, controls, choice, drawn: dict | None) -> Iterator[dict]:
    predictions = predictions.reset_index(drop=True)
    predictions["sentence"] = sentence_column(predictions, choice)
    report = make_report(check_predictions(predictions), [GENDER])
    controlled = {
        key: fmean(uar(one["emotion"], one["predicted_emotion"]) for _, one in part.groupby("seed"))
        for key, part in controls.groupby(["method", "control"])
    }
    against = {one.model: one for one in report.comparisons}
    for name, model in report.models.items():
        one, gender = against.get(name), model.groups.get(GENDER)
        yield {
            "protocol": said, "encoder": encoder, "method": name,
            "n_targets": model.n_utterances, "n_speakers": model.n_speakers, "n_seeds": model.n_seeds,
            "uar": model.uar, "uar_interval": model.uar_interval, "uar_sd_over_seeds": model.uar_sd_over_seeds,
            "worst_speaker": model.speaker_spread["min"], "best_speaker": model.speaker_spread["max"],
            "speaker_uar": model.speaker_uar, "new_sentence": model.uar_new_sentence, "excess_gini": model.excess_gini,
            "another_speaker": controlled.get((name, ANOTHER_SPEAKER)), "all_emotions": controlled.get((name, ALL_EMOTIONS)),
            "draws": drawn[name]["draws"] if drawn else None,
            "gap_by_gender": gender.uar_gap if gender else None, "gap_band": gender.uar_gap_band if gender else None,
            "uar_by_gender": model.uar_by_gender,
            "change": one.difference if one else None, "change_interval": one.difference_interval if one else None,
            "p": one.p if one else None, "n_worse": one.n_worse if one else None,
        }  # fmt: skip


def as_table(rows: list[dict]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(_HEAD)} |", "|" + "---|" * len(_HEAD)]
    for row in rows:
        change, draws = row["change"], row["draws"]
        cells = [
            f"{row['protocol']} ({row['n_speakers']}, {row['n_targets']}, {row['n_seeds']})", row["encoder"], row["method"],
            f"{_number(row['uar'])} ({_span(row['uar_interval'])})",
            "–" if change is None else f"{change:+.3f} ({_span(row['change_interval'])})", _chance(row["p"]),
            f"{_number(row['worst_speaker'])} – {_number(row['best_speaker'])}",
            _number(row["new_sentence"]), _number(row["another_speaker"]),
            f"{draws['uar']:.3f} ± {draws['sd']:.3f} ({draws['n']})" if draws else "–",
            _number(row["all_emotions"]), _number(row["excess_gini"]),
            f"{_number(row['gap_by_gender'])} ({_number(row['gap_band'])})",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _span(interval: list[float | None] | None) -> str:
    return "–" if interval is None else " to ".join(map(_number, interval))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _chance(p: float | None) -> str:
    return "< .001" if p is not None and p < 0.001 else _number(p)


def _report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def _predicted(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return _read(folder / "predictions.csv"), _read(folder / "controls.csv")


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"text_id": str, "speaker": str, "utterance_id": str})


if __name__ == "__main__":
    main()

"""The accuracy table: every corpus at hand by speakers who are apart, each corpus by the other three, and compact by actors it never heard.

python benchmarks/accuracy.py --corpus ravdess=DIR --corpus emodb=DIR --corpus nemo=DIR --corpus korean=DIR \\
    --encoder whisper=FOLDER --compact RUN/checkpoint/encoder RUN/checkpoint/encoder --output OUT [--parts ravdess emodb …]

Everybody but the fold trains and the last epoch is kept (training.dev_share = 0), as in the models that ship. The two encoders of
--compact are `train distil_compact --set data.split=\\"compact_without_first_half\\"` and `…_second_half`: each is measured on the
half of the actors that it has not heard, and `whisper` beside on the same actors. Each part is written to a folder of its own,
and the table, accuracy.json and accuracy.md, made of all that are there.
"""

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from ser_core.commands.training_arguments import split_encoder
from ser_core.data.corpora import load_corpora
from ser_core.data.tables import write_json
from ser_core.encoders import load_encoder
from ser_core.evaluation.predictions import check_predictions
from ser_core.evaluation.report import GENDER, make_report
from ser_core.evaluation.summary import sentence_column, summarise
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

_HEAD = (
    "protocol", "encoder", "targets", "speakers", "method", "UAR (95 % interval)", "change", "p", "worst – best speaker",
    "new sentence", "another speaker's enrolment", "random enrolments", "all seven allowed", "excess Gini", "gap by gender (chance reaches)",
)  # fmt: skip
_SAID = {
    "ravdess": "RAVDESS, 8 classes, 5 folds",
    "emodb": "EmoDB, 7 classes, leave one speaker out",
    "nemo": "nEMO, 6 classes, leave one speaker out",
    "korean": "Korean, 4 classes, leave one speaker out",
}


def main() -> None:
    """Measure the parts that are asked for, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--encoder", default="whisper", metavar="NAME[=DIR]")
    parser.add_argument("--compact", nargs=2, metavar="DIR", help="encoders distilled without one half of the actors")
    parser.add_argument("--parts", nargs="*", choices=[*FOLDS, ACROSS, HALVES], default=[*FOLDS, ACROSS, HALVES])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=20, help="random choices of enrolment, on RAVDESS and EmoDB")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--workspace", default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for part in arguments.parts:
        _measure(part, arguments)
    rows = [row for part in [*FOLDS, ACROSS, HALVES] for row in _rows(arguments.output / part)]
    write_json(arguments.output / "accuracy.json", {"rows": rows, "tables_commit": provenance()["commit"]})
    (arguments.output / "accuracy.md").write_text(as_table(rows), encoding="utf-8")
    print(as_table(rows))


def _measure(part: str, arguments: argparse.Namespace) -> None:
    workspace = open_workspace(arguments.workspace)
    name, source = split_encoder(arguments.encoder)
    corpora = dict(one.split("=", 1) for one in arguments.corpus)
    wanted = list(corpora) if part == ACROSS else ["ravdess"] if part == HALVES else [part]
    corpus = load_corpora([f"{one}={corpora[one]}" for one in wanted])
    recipes = [read_recipe(recipe) for recipe in RECIPES]
    folds = FOLDS["ravdess" if part == HALVES else part] if part != ACROSS else None
    draws = arguments.draws if part in ("ravdess", "emodb") else 0
    if part == ACROSS:
        recipes = [for_the_app(recipe, name, source, "") for recipe in recipes]
    halves = {f"half {n}": ("compact", one) for n, one in enumerate(arguments.compact or (), 1)}
    for folder, (encoder, path) in (halves if part == HALVES else {"": (name, source)}).items():
        crossvalidate(
            [_everybody_trains(recipe).with_encoder(encoder, path) for recipe in recipes],
            corpus, load_encoder(encoder, path or None, (workspace.models,)),
            Design(folds, arguments.seeds, draws, corpora=part == ACROSS, unheard=part == HALVES),
            arguments.output / part / folder, workspace, "cpu", lambda line: print(line, flush=True),
        )  # fmt: skip
    if part == HALVES:
        _join([arguments.output / part / folder for folder in halves], arguments.output / part)


def _everybody_trains(recipe: Recipe) -> Recipe:
    return replace(recipe, training=replace(recipe.training, dev_share=0.0), beside=())


def _join(halves: list[Path], folder: Path) -> None:
    """The predictions of both halves as those of one encoder."""
    for name in ("predictions.csv", "controls.csv"):
        pd.concat([_read(half / name) for half in halves]).to_csv(folder / name, index=False)
    shutil.copy(halves[0] / "enrolment.csv", folder / "enrolment.csv")
    reports = [json.loads((half / "report.json").read_text(encoding="utf-8")) for half in halves]
    same = {key: reports[0][key] for key in ("recipes", "design", "commit")}
    each = {key: [report[key] for report in reports] for key in ("tested", "encoder", "leak_check")}
    write_json(folder / "report.json", {**same, "halves": each})


def _rows(folder: Path) -> Iterator[dict]:
    """Lines of the table out of one part's folder, if it was measured."""
    if not (folder / "report.json").is_file():
        return
    made = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    if "rows" not in made:  # the predictions are large and stay where they were made; what is kept are their numbers
        made["rows"] = list(_measured_rows(folder, made))
        write_json(folder / "report.json", made)
    yield from made["rows"]


def _measured_rows(folder: Path, made: dict) -> Iterator[dict]:
    predictions, controls = _read(folder / "predictions.csv"), _read(folder / "controls.csv")
    choice = _read(folder / "enrolment.csv")
    if folder.name == HALVES:
        beside = folder.parent / "ravdess"
        whisper = [_read(beside / name) for name in ("predictions.csv", "controls.csv")]
        yield from _of_corpus("RAVDESS, actors that compact never heard", "whisper", *whisper, choice, None)
        yield from _of_corpus(
            "RAVDESS, actors that compact never heard", "compact", predictions, controls, choice, None
        )
        return
    draws = made["summary"] if folder.name != ACROSS else None
    by_corpus = predictions.groupby("corpus")
    for corpus in (name for name in FOLDS if name in by_corpus.groups):
        part = by_corpus.get_group(corpus)
        said = (
            _SAID[corpus] if folder.name != ACROSS else f"{_SAID[corpus].split(',')[0]}, learned from the other three"
        )
        of_corpus = controls[controls["corpus"] == corpus]
        yield from _of_corpus(said, made["recipes"][0]["encoder"]["name"], part, of_corpus, choice, draws)


def _of_corpus(said: str, encoder: str, predictions, controls, choice, drawn: dict | None) -> Iterator[dict]:
    predictions = predictions.reset_index(drop=True)
    predictions["sentence"] = sentence_column(predictions, choice)
    report = make_report(check_predictions(predictions), [GENDER])
    summary = summarise(predictions, controls.reset_index(drop=True), predictions.iloc[:0].assign(draw=0), choice)
    against = {one.model: one for one in report.comparisons}
    for name, model in report.models.items():
        one, gender = against.get(name), model.groups.get(GENDER)
        yield {
            "protocol": said, "encoder": encoder, "method": name,
            "n_targets": model.n_utterances, "n_speakers": model.n_speakers, "n_seeds": model.n_seeds,
            "uar": model.uar, "uar_interval": model.uar_interval, "uar_sd_over_seeds": model.uar_sd_over_seeds,
            "worst_speaker": model.speaker_spread["min"], "best_speaker": model.speaker_spread["max"],
            "speaker_uar": model.speaker_uar,
            "new_sentence": model.uar_new_sentence, "excess_gini": model.excess_gini,
            "another_speaker": summary[name].get(f"uar_{ANOTHER_SPEAKER}"), "all_emotions": summary[name].get(f"uar_{ALL_EMOTIONS}"),
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
        change = "–" if row["change"] is None else f"{row['change']:+.3f} ({_span(row['change_interval'])})"
        draws = row["draws"]
        gap = "–" if row["gap_by_gender"] is None else f"{row['gap_by_gender']:.3f} ({row['gap_band']:.3f})"
        cells = [
            row["protocol"], row["encoder"], str(row["n_targets"]), str(row["n_speakers"]), row["method"],
            f"{row['uar']:.3f} ({_span(row['uar_interval'])})", change, _number(row["p"]),
            f"{row['worst_speaker']:.3f} – {row['best_speaker']:.3f}", _number(row["new_sentence"]), _number(row["another_speaker"]),
            f"{draws['uar']:.3f} ± {draws['sd']:.3f} ({draws['n']})" if draws else "–",
            _number(row["all_emotions"]), _number(row["excess_gini"]), gap,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _span(interval: list[float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3f}"


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"text_id": str, "speaker": str, "utterance_id": str})


if __name__ == "__main__":
    main()

"""evaluate: whom does a model serve well, and whom does it not? A report of a test set or of a table of predictions."""

import hashlib
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ser_core.data.corpora import load_corpora
from ser_core.evaluation.predictions import BadPredictions, Predictions, check_predictions, read_predictions
from ser_core.evaluation.report import ModelReport, Report, make_report
from ser_core.figures.report_page import comparison_in_words, span, write_report
from ser_core.training.provenance import provenance
from ser_core.workspace import open_workspace


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--predictions", metavar="FILE.csv", help="a table of predictions that is there already")
    parser.add_argument("--corpus", action="append", metavar="NAME=DIR", help="predict these now; may be repeated")
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="a model's name or folder; may be repeated (default: the best here)",
    )
    parser.add_argument("--split", metavar="NAME", help="only utterances of this split of the manifest")
    parser.add_argument("--against", metavar="METHOD", help="what the others are compared with (default: the baseline)")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--output", metavar="DIR", help="for predictions.csv, report.json, report.html")


def run(arguments: Namespace) -> int:
    """Make the report, write the files, say it in a few lines."""
    if bool(arguments.predictions) == bool(arguments.corpus):
        raise BadPredictions("give either --predictions FILE.csv or --corpus NAME=DIR: one of them is needed")
    predictions, leaks, configuration = (_from_file if arguments.predictions else _from_models)(arguments)
    if arguments.against not in (None, *predictions.methods):
        raise BadPredictions(
            f"there is no method '{arguments.against}'; choose one of {', '.join(predictions.methods)}"
        )
    report = make_report(predictions, None, arguments.against, leaks, {**configuration, **provenance()})
    for line in _in_words(report):
        print(line)
    if arguments.output:
        write_report(report, predictions, Path(arguments.output))
        print(f"written: predictions.csv, report.json, report.html and table.md in '{Path(arguments.output).name}'")
    return 0


def _from_file(arguments: Namespace) -> tuple[Predictions, dict, dict]:
    path = Path(arguments.predictions)
    predictions = read_predictions(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return predictions, {}, {"predictions": path.name, "sha256": digest}


def _from_models(arguments: Namespace) -> tuple[Predictions, dict, dict]:
    from ser_core.inference.recogniser import Recogniser  # takes seconds
    from ser_core.inference.test_set import configuration_of, evaluate_models

    workspace = open_workspace(arguments.workspace)
    corpus = load_corpora(arguments.corpus)
    recognisers = [Recogniser(workspace, name, arguments.device) for name in arguments.model or [None]]
    evaluated = evaluate_models(
        recognisers, corpus, workspace, arguments.split,
        progress=lambda share, words: print(f"\r{share:4.0%} {words}", end="", file=sys.stderr, flush=True),
    )  # fmt: skip
    print(file=sys.stderr)
    predictions = check_predictions(evaluated.predictions)
    notes = (*evaluated.notes, *predictions.notes)
    configuration = configuration_of(recognisers, corpus, arguments.split)
    return Predictions(predictions.table, predictions.methods, notes), evaluated.leaks, configuration


def _gini(model: ModelReport) -> str:
    if model.n_speakers < 2:
        return "Gini not estimable"
    return f"Gini {model.gini:.3f} (floor {model.gini_floor:.3f})"


def _in_words(report: Report) -> list[str]:
    lines = []
    for name, model in report.models.items():
        lines.append(
            f"{name}: UAR {model.uar:.3f} ({span(model.uar_interval)}), worst speaker {model.speaker_spread['min']:.3f}, "
            f"{_gini(model)}, {model.n_utterances} utterances, {model.n_speakers} speakers"
        )
    return [*lines, *map(comparison_in_words, report.comparisons), *(f"note: {note}" for note in report.notes)]

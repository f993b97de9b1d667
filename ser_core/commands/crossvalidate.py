"""crossvalidate: compare recipes on one corpus, same folds, seeds, enrolment and targets."""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ser_core.commands.training_arguments import add_training_arguments, count, limit_threads, with_encoder
from ser_core.data.corpora import load_corpora
from ser_core.encoders import load_encoder
from ser_core.evaluation.summary import summary_table
from ser_core.recipe import read_recipe
from ser_core.training.crossvalidation import Design, crossvalidate
from ser_core.workspace import open_workspace


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("recipes", nargs="+", metavar="RECIPE", help="names in ser_core/recipes/ or .toml files")
    add_training_arguments(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TABLE.KEY=VALUE",
        help="change this in every recipe; may be repeated",
    )
    folds = parser.add_mutually_exclusive_group()
    folds.add_argument("--folds", type=count, default=5, help="folds of consecutive speakers")
    folds.add_argument("--leave-one-speaker-out", action="store_true", help="as many folds as speakers")
    folds.add_argument(
        "--leave-one-corpus-out",
        action="store_true",
        help="as many folds as corpora: the others train, it is tested on",
    )
    parser.add_argument(
        "--unheard",
        action="store_true",
        help="measure only speakers whom the encoder has not heard in its own training",
    )
    parser.add_argument("--seeds", type=count, default=3, help="how many, from 0")
    parser.add_argument("--draws", type=count, default=0, help="also evaluate so many random choices of enrolment")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--demo", metavar="DIR", help="also write the predictions as the app's demo results")
    parser.add_argument("--json", action="store_true", help="the summary, alone on standard output")


def run(arguments: Namespace) -> int:
    """Run the design and print its table."""
    limit_threads(arguments.threads)
    workspace = open_workspace(arguments.workspace)
    recipes = [with_encoder(read_recipe(name).changed(arguments.set), arguments.encoder) for name in arguments.recipes]
    corpus = load_corpora(arguments.corpus)
    choice = recipes[0].encoder
    encoder = load_encoder(choice.name, choice.source or None, (workspace.models,))
    design = Design(
        None if arguments.leave_one_speaker_out or arguments.leave_one_corpus_out else arguments.folds, arguments.seeds, arguments.draws,
        arguments.leave_one_corpus_out, arguments.unheard,
    )  # fmt: skip
    summary = crossvalidate(
        recipes, corpus, encoder, design, Path(arguments.output), workspace, arguments.device,
        say=lambda line: print(line, file=sys.stderr, flush=True),
        demo=Path(arguments.demo) if arguments.demo else None,
    )  # fmt: skip
    print(json.dumps(summary, indent=2) if arguments.json else summary_table(summary))
    return 0

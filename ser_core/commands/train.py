"""train: one recipe, one run folder."""

import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from ser_core.commands.training_arguments import add_training_arguments, count, limit_threads, with_encoder
from ser_core.data.corpora import load_corpora
from ser_core.recipe import read_recipe
from ser_core.training.run import train
from ser_core.workspace import open_workspace


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a name in ser_core/recipes/ or a .toml file")
    add_training_arguments(parser)
    parser.add_argument("--seed", type=count, default=0)
    parser.add_argument("--output", metavar="DIR", help="the run folder (default: a new one in the workspace)")


def run(arguments: Namespace) -> int:
    """Train; the run folder is named on standard output."""
    limit_threads(arguments.threads)
    workspace = open_workspace(arguments.workspace)
    recipe = with_encoder(read_recipe(arguments.recipe), arguments.encoder)
    corpus = load_corpora(arguments.corpus)
    name = f"{datetime.now(UTC):%Y-%m-%d}_{recipe.name}_{uuid4().hex[:4]}"
    folder = Path(arguments.output) if arguments.output else workspace.runs / name
    train(
        recipe, corpus, folder, workspace, arguments.seed, arguments.device, lambda line: print(line, file=sys.stderr)
    )
    print(folder)
    return 0

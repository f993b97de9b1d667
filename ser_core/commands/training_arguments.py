"""What train, crossvalidate and build ask alike."""

from argparse import ArgumentParser, ArgumentTypeError

import torch

from ser_core.encoders import ENCODERS
from ser_core.recipe import BadRecipe, Recipe


def add_training_arguments(parser: ArgumentParser, needs_corpus: bool = True) -> None:
    """Corpus, encoder, device, threads."""
    parser.add_argument(
        "--corpus",
        action="append",
        required=needs_corpus,
        default=[],
        metavar="NAME=DIR",
        help="may be repeated; corpora are joined; what adapts to a corpus adapts to the last one",
    )
    parser.add_argument("--encoder", metavar="NAME[=DIR]", help=f"{', '.join(ENCODERS)}; DIR is a folder or hub id")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--threads", type=count, default=0, help="CPU threads (default: all)")


def count(text: str) -> int:
    """An argument that is 0, 1, 2 …"""
    if not text.isdecimal():
        raise ArgumentTypeError(f"'{text}' is not a whole number from 0")
    return int(text)


def split_encoder(argument: str) -> tuple[str, str]:
    """NAME[=DIR] into name and source.

    Raises:
        BadRecipe: no encoder of that name.
    """
    name, _, source = argument.partition("=")
    if name not in ENCODERS:
        raise BadRecipe(f"there is no encoder '{name}'; choose one of {', '.join(ENCODERS)}")
    return name, source


def with_encoder(recipe: Recipe, argument: str | None) -> Recipe:
    """The recipe on the encoder NAME[=DIR]; unchanged if None."""
    return recipe.with_encoder(*split_encoder(argument)) if argument else recipe


def limit_threads(n: int) -> None:
    """Use at most n CPU threads; all if 0."""
    if n > 0:
        torch.set_num_threads(n)

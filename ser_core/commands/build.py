"""build: train a model that ships on the corpora at hand, measure it, write its card.

`build NAME --reader --sentences DIR --output FOLDER` adds the part that reads words to a model that is there, and
`build NAME --calibration --output FOLDER` what puts its baseline right by free speech; `build NAME --card --output FOLDER`
writes its card anew from what was measured.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ser_core.commands.training_arguments import add_training_arguments, count, limit_threads, split_encoder
from ser_core.data.corpora import load_corpora
from ser_core.inference.models import read_model
from ser_core.recipe import BadRecipe
from ser_core.training.calibrate import add_calibration
from ser_core.training.card import write_card
from ser_core.training.reader import add_reader
from ser_core.training.ship import SPLIT, build
from ser_core.workspace import open_workspace


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="of the model")
    add_training_arguments(parser, needs_corpus=False)
    parser.add_argument("--split", default=SPLIT, metavar="FILE", help="a .toml that names the dev and test speakers")
    parser.add_argument("--seed", type=count, default=0)
    parser.add_argument("--reader", action="store_true", help="add the part that reads words to the model in --output")
    parser.add_argument(
        "--sentences", metavar="DIR", help="labelled sentences that utterances are paired with, for --reader"
    )
    parser.add_argument(
        "--calibration", action="store_true", help="add what free speech is heard by to the model in --output"
    )
    parser.add_argument(
        "--card", action="store_true", help="write the card of the model in --output anew; nothing is trained"
    )
    parser.add_argument(
        "--halves", metavar="FILE", help="report.json of the part compact of benchmarks/accuracy.py, for the card"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="the model's folder")


def run(arguments: Namespace) -> int:
    """Build into the output folder; the card is printed."""
    limit_threads(arguments.threads)
    if arguments.halves and (arguments.reader or arguments.calibration or arguments.card):
        raise BadRecipe("--halves belongs to the build of the whole model; --reader, --calibration and --card keep it")
    if arguments.card:
        print(write_card(read_model(Path(arguments.output))))
        return 0
    if not arguments.corpus:
        raise BadRecipe("build needs --corpus NAME=DIR, all that the model learns from; only --card does without")
    if arguments.reader:
        return _add_reader(arguments)
    if arguments.calibration:
        return _add_calibration(arguments)
    encoder, source = split_encoder(arguments.encoder or "compact")
    folder = Path(arguments.output)
    halves = _halves(arguments.halves, encoder) if arguments.halves else None
    build(
        arguments.name, encoder, source, load_corpora(arguments.corpus), folder, open_workspace(arguments.workspace),
        arguments.split, arguments.seed, arguments.device, lambda line: print(line, file=sys.stderr, flush=True),
        halves,
    )  # fmt: skip
    print((folder / "README.md").read_text(encoding="utf-8"))
    return 0


def _halves(file: str, encoder: str) -> dict:
    """What was measured of the encoder's recipe, checked before hours are spent."""
    if encoder != "compact":
        raise BadRecipe(
            f"--halves tells how the encoder that ships was made, but '{encoder}' is not ours: leave it out"
        )
    try:
        measured = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRecipe(f"--halves {Path(file).name} cannot be read ({error.__class__.__name__})") from None
    if not isinstance(measured, dict) or not {"rows", "halves", "commit"} <= measured.keys():
        raise BadRecipe(
            f"--halves {Path(file).name} is not what was measured of two halves; take report.json in the folder 'compact' of "
            f"what benchmarks/accuracy.py wrote"
        )
    return measured


def _add_reader(arguments: Namespace) -> int:
    if not arguments.sentences:
        raise BadRecipe("build --reader needs --sentences DIR, a folder of sentences with emotions (data/sentences.py)")
    folder = Path(arguments.output)
    add_reader(
        folder, load_corpora(arguments.corpus), arguments.sentences, open_workspace(arguments.workspace),
        arguments.split, arguments.seed, arguments.device, lambda line: print(line, file=sys.stderr, flush=True),
    )  # fmt: skip
    print((folder / "README.md").read_text(encoding="utf-8"))
    return 0


def _add_calibration(arguments: Namespace) -> int:
    folder = Path(arguments.output)
    add_calibration(
        folder, load_corpora(arguments.corpus), open_workspace(arguments.workspace), arguments.split, arguments.device,
        lambda line: print(line, file=sys.stderr, flush=True),
    )  # fmt: skip
    print((folder / "README.md").read_text(encoding="utf-8"))
    return 0

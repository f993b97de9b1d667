"""train: one recipe, one run folder; alone, or as one of the processes that torchrun starts."""

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ser_core.commands.training_arguments import add_training_arguments, count, limit_threads
from ser_core.data.corpora import load_corpora
from ser_core.training.jobs import Order, new_folder
from ser_core.training.run import Asked, train
from ser_core.training.scalars import check_tensorboard
from ser_core.workspace import open_workspace


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a name in ser_core/recipes/ or a .toml file")
    add_training_arguments(parser)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="such as training.epochs=5; may be repeated"
    )
    parser.add_argument("--seed", type=count, default=0)
    parser.add_argument("--output", metavar="DIR", help="the run folder (default: a new one in the workspace)")
    parser.add_argument("--resume", action="store_true", help="go on where the run in the output folder was left")
    parser.add_argument("--tensorboard", action="store_true", help="write the scalars as TensorBoard files as well")
    parser.add_argument("--background", action="store_true", help="started by the app: what is said is the log")


def run(arguments: Namespace) -> int:
    """Train; the run folder is named on standard output. 0 when it finished or was stopped on request."""
    limit_threads(arguments.threads)
    workspace = open_workspace(arguments.workspace)
    if arguments.tensorboard:
        check_tensorboard()
    order = Order(
        arguments.recipe, tuple(arguments.corpus), arguments.encoder or "", tuple(arguments.set), arguments.seed,
        arguments.device, arguments.threads, arguments.tensorboard,
    )  # fmt: skip
    order = order.with_whole_paths()
    recipe = order.resolved()
    folder = Path(arguments.output or _same_for_all(new_folder(workspace, recipe.name), arguments.device))
    if not arguments.background:  # else whoever started it has seen to that
        (folder / "stop").unlink(missing_ok=True)
    asked = Asked(arguments.seed, arguments.device, arguments.resume, arguments.tensorboard, order.to_json())
    say = _say if arguments.background else _say_and_keep(folder)
    if arguments.background and hasattr(os, "nice"):
        os.nice(10)  # the page comes first
    with _stopped_politely() as should_stop:
        finished = train(recipe, load_corpora(arguments.corpus), folder, workspace, asked, say, should_stop)
    if int(os.environ.get("RANK", "0")) == 0:
        print(folder if finished else f"{folder} (stopped; go on with --resume)")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _say_and_keep(folder: Path) -> Callable[[str], None]:
    """On the terminal, and in the run's log."""

    def say(line: str) -> None:
        _say(line)
        if folder.is_dir():
            with (folder / "log.txt").open("a", encoding="utf-8") as log:
                log.write(f"{line}\n")

    return say


@contextmanager
def _stopped_politely() -> Iterator[Callable[[], bool]]:
    """The first Ctrl+C (or SIGTERM) asks the training to stop after the batch; the second one ends it."""
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _same_for_all(folder: Path, device: str) -> Path:
    """The first process's choice, where torchrun started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return folder
    from accelerate.utils import broadcast_object_list

    from ser_core.training.trainer import accelerator_for

    accelerator_for(device)
    return broadcast_object_list([folder])[0]

"""COMMANDS: the command line, one file a group. A new command is a file here and a line in the table."""

from argparse import ArgumentParser, Namespace
from typing import Protocol


class Command(Protocol):
    """What a file here offers."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what the command understands."""

    def run(self, arguments: Namespace) -> int:
        """Do it; the exit code."""


COMMANDS: dict[str, str] = {
    "predict": "what do these recordings sound like, to everybody's model and to yours",
    "enrol": "store one recording per emotion of a person",
    "profiles": "list, show, delete, export and import what is stored",
    "accounts": "who may sign in where Attune is shared",
    "record": "record a file from this computer's microphone",
    "transcribe": "what is said in these recordings, written down by Whisper",
    "models": "what can be used here; fetch what cannot yet",
    "corpora": "look whether a corpus can be used",
    "train": "train a recipe into a run folder, go on with one that was stopped",
    "runs": "what was trained and what is training: list, show, stop",
    "crossvalidate": "compare recipes on a corpus",
    "build": "train a model that ships, measure it, write its card",
    "evaluate": "whom does it serve: a report of a test set, or of a table of predictions",
    "study": "open questions, answered by experiment: the enrolment, shifts, how many speakers, fairness on another corpus",
    "ensemble": "the mean of several systems of a cross-validation",
    "embedding": "maps before and after the enrolment is used, and what fresh probes read off them",
    "bench": "measure speed and memory on this machine",
}
"""Name of a module here, and what it does in a line. Modules are imported when they are called: starting stays quick."""

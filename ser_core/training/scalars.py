"""What a training says of every epoch: metrics.jsonl, and TensorBoard files when asked."""

import json
from pathlib import Path
from shutil import rmtree

from ser_core.training.trainer import Epoch


class TensorBoardMissing(ValueError):
    """TensorBoard files were asked for, and the package that writes them is not installed."""


def check_tensorboard() -> None:
    """Make sure that TensorBoard files can be written.

    Raises:
        TensorBoardMissing: the package is not installed.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise TensorBoardMissing(
            "TensorBoard files need the package tensorboard: pip install -c constraints.txt -e '.[tensorboard]'"
        ) from None


class Scalars:
    """Files of a run folder, written anew at every start: the trainer tells of the epochs before a resume as well."""

    def __init__(self, folder: Path, tensorboard: bool):
        self._path, self._board = folder / "metrics.jsonl", None
        if tensorboard:
            check_tensorboard()
            from torch.utils.tensorboard import SummaryWriter

            rmtree(folder / "tensorboard", ignore_errors=True)
            self._board = SummaryWriter(str(folder / "tensorboard"))
        self._n_epochs: dict[str, int] = {}

    def __enter__(self) -> "Scalars":
        self._file = self._path.open("w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def __call__(self, record: Epoch) -> None:
        """Add an epoch; `record` names its method."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        method = record["method"]
        self._n_epochs[method] = self._n_epochs.get(method, 0) + 1
        if self._board is not None:
            for name, value in record.items():
                if isinstance(value, float):
                    self._board.add_scalar(f"{method}/{name}", value, self._n_epochs[method])
            self._board.flush()

"""Reading and writing weights: safetensors and JSON only."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ser_core.weights import EncoderUnavailable


def read_config(folder: Path) -> dict:
    """config.json of a folder.

    Raises:
        EncoderUnavailable: absent or not JSON.
    """
    try:
        return json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        raise EncoderUnavailable(f"'{folder.name}' has no readable config.json; fetch the model again") from None


def read_tensors(folder: Path, keep: Callable[[str], str | None]) -> dict[str, Tensor]:
    """The tensors of all *.safetensors in a folder, renamed by `keep` (None leaves one out), as float32.

    Raises:
        EncoderUnavailable: no such file, or one that is broken.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise EncoderUnavailable(f"'{folder.name}' has no *.safetensors; other weight formats are not read here")
    try:
        everything = [item for file in files for item in load_file(file).items()]
    except (SafetensorError, OSError):
        raise EncoderUnavailable(f"the weights in '{folder.name}' are broken; fetch the model again") from None
    return {name: tensor.float() for key, tensor in everything if (name := keep(key)) is not None}


def heard_speakers(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Whose speech the weights learned from here, as config.json says."""
    return tuple(config.get("heard_speakers", ()))


def write_folder(
    folder: Path, config: Mapping[str, Any], heard: Sequence[str], tensors: Mapping[str, Tensor], half: bool
) -> None:
    """Write config.json, with whose speech was heard, and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in config.items() if key != "_name_or_path"}  # a place on this machine
    (folder / "config.json").write_text(json.dumps({**kept, "heard_speakers": list(heard)}, indent=2))
    copies = {name: (tensor.half() if half else tensor).contiguous().clone() for name, tensor in tensors.items()}
    save_file(copies, folder / "model.safetensors")


def fingerprint(folder: Path) -> str:
    """A short hash of a folder's configuration and weights."""
    digest = hashlib.sha256()
    for file in sorted([folder / "config.json", *folder.glob("*.safetensors")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]

"""Finding and reading weights: safetensors and JSON only, from this machine only."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ser_core.encoders.base import EncoderUnavailable

WEIGHTS = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")
"""The files of a Hugging Face repository that are ever fetched or read."""

TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
"""Those that text encoders need as well."""


def find_folder(source: str | Path, also_in: Sequence[Path] = ()) -> Path:
    """The folder of a model named by path or hub id: the path itself, below `also_in`, or in the hub's local cache.

    Args:
        source: a folder, or a hub id such as openai/whisper-tiny.en.
        also_in: folders that may hold it under the last part of its name, with or without '-encoder'; the
            environment's SER_WEIGHTS is added.

    Raises:
        EncoderUnavailable: it is in none of them; nothing is downloaded.
    """
    name = Path(source).name
    places = [Path(source).expanduser()]
    for folder in (*also_in, *filter(None, [os.environ.get("SER_WEIGHTS")])):
        places += [Path(folder) / name, Path(folder) / f"{name}-encoder", Path(folder)]
    for place in places:
        if (place / "config.json").is_file() and any(place.glob("*.safetensors")):
            return place
    try:
        return Path(snapshot_download(str(source), allow_patterns=list(WEIGHTS), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError, ValueError):
        raise EncoderUnavailable(
            f"the encoder '{name}' is not on this machine; name the folder that holds it (config.json and *.safetensors), "
            f"or let SER_WEIGHTS name it"
        ) from None


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

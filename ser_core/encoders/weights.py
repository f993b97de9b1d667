"""Reading and writing weights: safetensors and JSON only."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from ser_core.data.tables import BadJson, read_json
from ser_core.weights import EncoderUnavailable

_COUNTS = ("num_hidden_layers", "num_attention_heads", "encoder_layers", "encoder_attention_heads")
_MOST = 1_000
"""Layers, or heads, of a published encoder; a file can claim billions, or less than none."""

_MOST_DRAWN = 4
"""Times as many weights as there are in the files; what is missing is drawn at random before anybody can refuse it."""


def read_config(folder: Path) -> dict:
    """config.json of a folder.

    Raises:
        EncoderUnavailable: absent, no JSON object, or a number of layers or heads that no network has.
    """
    try:
        config = read_json(folder / "config.json")
    except BadJson:
        raise EncoderUnavailable(f"'{folder.name}' has no readable config.json; fetch the model again") from None
    for key in _COUNTS:
        count = config.get(key, 1)
        if type(count) is not int or not 1 <= count <= _MOST:
            raise EncoderUnavailable(
                f"'{folder.name}': {key} in config.json is not a number from 1 to {_MOST}; fetch the model again"
            )
    return config


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


def read_published(folder: Path) -> tuple[PreTrainedModel, list[str]]:
    """The model of a Hugging Face folder with safetensors, as transformers reads it, as float32; and the names of weights that
    it lacks, which were drawn at random.

    Raises:
        EncoderUnavailable: it cannot be read, or wants to bring program code of its own.
    """
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file() and b'"auto_map"' in (folder / name).read_bytes():
            raise EncoderUnavailable(f"'{folder.name}' asks for program code of its own, which is never run here")
    try:
        with torch.device("meta"):  # where it takes no memory
            described = AutoModel.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
        if sum(one.numel() for one in described.parameters()) > _MOST_DRAWN * _n_values(folder):
            raise ValueError("far more weights are described than are there")
        model, found = AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception:  # the library raises many kinds, its own and others'
        raise EncoderUnavailable(f"the model in '{folder.name}' cannot be read; fetch it again") from None
    return model, sorted(found["missing_keys"])


def _n_values(folder: Path) -> int:
    """In all of its *.safetensors, by their headers."""
    n = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            n += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118 - no mapping
    return n


class TooLarge(ValueError):
    """A network of other sizes than the weights beside it."""


def check_sizes(build: Callable[[], nn.Module], n_layers: int, tensors: Mapping[str, Tensor]) -> None:
    """Make sure that a network has the sizes of its weights, before memory is asked for: a few bytes can describe terabytes.

    Args:
        build: makes the network; called where tensors take no memory.
        n_layers: how many layers it would have.
        tensors: its weights, by name; those it lacks are for others to find.

    Raises:
        TooLarge: it has others.
    """
    if n_layers > len(tensors):
        raise TooLarge(f"{n_layers} layers are described, and there are {len(tensors)} tensors")
    with torch.device("meta"):
        described = {name: tuple(tensor.shape) for name, tensor in build().state_dict().items()}
    for name, tensor in tensors.items():
        if described.get(name, tuple(tensor.shape)) != tuple(tensor.shape):
            raise TooLarge(f"'{name}' is described as {described[name]}, and is {tuple(tensor.shape)}")


def heard_speakers(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Whose speech the weights learned from here, as config.json says."""
    speakers = config.get("heard_speakers", ())
    return tuple(map(str, speakers)) if isinstance(speakers, list | tuple) else ()


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

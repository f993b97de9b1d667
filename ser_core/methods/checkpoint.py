"""Trained methods on disk: weights.safetensors and model.json. Nothing is ever unpickled."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ser_core.data.tables import read_json
from ser_core.encoders.weights import check_sizes
from ser_core.evaluation.certainty import Certainty
from ser_core.methods import METHODS
from ser_core.methods.base import FeatureShape, Method, TextShape
from ser_core.recipe import Recipe, settings_from


class BadCheckpoint(ValueError):
    """A folder that does not hold a trained method."""


@dataclass(frozen=True)
class _Description:
    """model.json, with which `weights.safetensors` makes a method; those made before certainty was learned have none."""

    name: str
    method: str
    settings: Mapping[str, Any]
    shape: Mapping[str, Any]
    emotions: tuple[str, ...]
    text_shape: Mapping[str, Any] | None = None
    certainty: Mapping[str, Any] = field(default_factory=dict)


def save_method(method: Method, recipe: Recipe, folder: Path, half: bool = False) -> None:
    """Write a trained method, and whatever else it exports, into a folder; in half precision where it ships."""
    folder.mkdir(parents=True, exist_ok=True)
    needed = {name: one for name, one in method.state_dict().items() if not name.startswith(method.training_only)}
    tensors = {name: (tensor.half() if half else tensor).contiguous() for name, tensor in needed.items()}
    save_file(tensors, folder / "weights.safetensors")
    description = {
        "name": recipe.name,
        "method": recipe.method,
        "settings": asdict(method.settings),
        "shape": asdict(method.shape),
        "text_shape": asdict(method.text_shape) if method.text_shape else None,
        "emotions": list(method.emotions),
        "certainty": asdict(method.certainty_),
    }
    (folder / "model.json").write_text(json.dumps(description, indent=2))
    method.export(folder)


def load_method(folder: Path) -> Method:
    """Read what `save_method` wrote.

    Raises:
        BadCheckpoint: absent, broken, or made by a version with other settings.
    """
    try:
        description = settings_from(_Description, read_json(folder / "model.json"), "model.json")
        shape = settings_from(FeatureShape, description.shape, "model.json [shape]")
        text = (
            settings_from(TextShape, description.text_shape, "model.json [text_shape]")
            if description.text_shape
            else None
        )
        cls, settings = METHODS[description.method], description.settings
        build = partial(cls.build, settings, shape, description.emotions, f"{folder.name}/model.json", text)
        weights = {name: tensor.float() for name, tensor in load_file(folder / "weights.safetensors").items()}
        check_sizes(build, len(shape.layers), weights)
        method = build()
        method.certainty_ = settings_from(Certainty, description.certainty, "model.json [certainty]")
        found = method.load_state_dict(weights, strict=False)
        if wrong := [
            *found.unexpected_keys,
            *(one for one in found.missing_keys if not one.startswith(method.training_only)),
        ]:
            raise BadCheckpoint(f"'{wrong[0]}' is missing or unknown")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise BadCheckpoint(
            f"'{folder.name}' does not hold a trained method ({error}); train it or install it again"
        ) from None
    return method.eval()

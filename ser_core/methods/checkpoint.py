"""Trained methods on disk: weights.safetensors and model.json. Nothing is ever unpickled."""

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ser_core.evaluation.certainty import Certainty
from ser_core.methods import METHODS
from ser_core.methods.base import FeatureShape, Method, TextShape
from ser_core.recipe import BadRecipe, Recipe


class BadCheckpoint(ValueError):
    """A folder that does not hold a trained method."""


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
        description = json.loads((folder / "model.json").read_text())
        shape, text = (
            kind(**{**values, "layers": tuple(values["layers"])}) if values else None
            for kind, values in ((FeatureShape, description["shape"]), (TextShape, description.get("text_shape")))
        )
        cls, emotions = METHODS[description["method"]], tuple(description["emotions"])
        method = cls.build(description["settings"], shape, emotions, f"{folder.name}/model.json", text)
        method.certainty_ = Certainty(**description.get("certainty", {}))  # those made before it was learned have none
        weights = {name: tensor.float() for name, tensor in load_file(folder / "weights.safetensors").items()}
        found = method.load_state_dict(weights, strict=False)
        if wrong := [
            *found.unexpected_keys,
            *(one for one in found.missing_keys if not one.startswith(method.training_only)),
        ]:
            raise BadCheckpoint(f"'{wrong[0]}' is missing or unknown")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, BadRecipe) as error:
        raise BadCheckpoint(
            f"'{folder.name}' does not hold a trained method ({error}); train it or install it again"
        ) from None
    return method.eval()

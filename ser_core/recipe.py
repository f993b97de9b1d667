"""A recipe says how much of what a method does: which encoder, which settings, how long. People write it in TOML."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

RECIPES = Path(__file__).resolve().parent / "recipes"

T = TypeVar("T")


class BadRecipe(ValueError):
    """A recipe that cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class EncoderChoice:
    """Which encoder, and which of its layers a method hears.

    Attributes:
        name: a key of ENCODERS.
        source: a folder or hub id; the encoder's own default if empty.
        layers: indices of hidden layers, counted from 0 (the input of the first Transformer layer); the three in the
            middle if empty.
        pooling: 'concatenate' the layers, or 'weighted': one learned weight a layer.
    """

    name: str = "whisper"
    source: str = ""
    layers: tuple[int, ...] = ()
    pooling: str = "concatenate"


@dataclass(frozen=True)
class TrainingSettings:
    """How much: AdamW, a linear warm-up, then a cosine to zero.

    Attributes:
        warmup: share of all steps.
        patience: epochs without a better dev score after which training stops; 0 never stops early.
        dev_share: share of the training speakers, at least one, that choose the epoch where no split names dev speakers.
    """

    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.1
    clip_norm: float = 1.0
    patience: int = 0
    dev_share: float = 0.125


@dataclass(frozen=True)
class DataChoice:
    """Which classes, and which speakers are kept apart.

    Attributes:
        emotions: 'corpus' for the corpus' own classes, 'app' for the seven of the app.
        split: a TOML file in recipes/ that lists dev and test speakers; none if empty.
    """

    emotions: str = "corpus"
    split: str = ""


@dataclass(frozen=True)
class Recipe:
    """What one training run is asked to do."""

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    encoder: EncoderChoice = field(default_factory=EncoderChoice)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    data: DataChoice = field(default_factory=DataChoice)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def without_paths(self) -> dict[str, Any]:
        """As JSON for a report that leaves this machine: of the encoder's folder only the name."""
        return self.with_encoder(self.encoder.name, Path(self.encoder.source).name).to_json()

    def with_encoder(self, name: str, source: str) -> "Recipe":
        """The same recipe on another encoder."""
        return replace(self, encoder=replace(self.encoder, name=name, source=source))


def read_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe by its name in recipes/ or by its path.

    Raises:
        BadRecipe: absent, not TOML, or a key or value that is not known.
    """
    path, content = _read_toml(name_or_path)
    parts = {key: content.pop(key, {}) for key in ("encoder", "training", "data")}
    if "method" not in content:
        raise BadRecipe(f"{path.name}: the key 'method' is missing")
    known = {"name": path.stem, **content}
    return settings_from(
        Recipe,
        {
            **known,
            "encoder": settings_from(EncoderChoice, parts["encoder"], f"{path.name} [encoder]"),
            "training": settings_from(TrainingSettings, parts["training"], f"{path.name} [training]"),
            "data": settings_from(DataChoice, parts["data"], f"{path.name} [data]"),
        },
        path.name,
    )


@dataclass(frozen=True)
class Split:
    """Speakers kept apart by name; whoever is not listed trains."""

    dev: tuple[str, ...]
    test: tuple[str, ...]


def read_split(name_or_path: str | Path) -> Split:
    """Read a split by its name in recipes/ or by its path.

    Raises:
        BadRecipe: as read_recipe; or a speaker in both lists.
    """
    path, content = _read_toml(name_or_path)
    split = settings_from(Split, content, path.name)
    both = set(split.dev) & set(split.test)
    if both:
        raise BadRecipe(f"{path.name}: {sorted(both)[0]} is in dev and in test")
    return split


def settings_from(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """A frozen dataclass from a table, with every key and type checked.

    Raises:
        BadRecipe: a key that the dataclass lacks, one it needs, or a value of another type.
    """
    known = {item.name: item for item in fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise BadRecipe(f"{where}: unknown key '{key}'; known keys are {', '.join(known)}")
        default = known[key].default
        if isinstance(default, (bool, int, float, str)) and not _fits(value, default):
            raise BadRecipe(f"{where}: '{key}' is {value!r}, but a {type(default).__name__} was expected")
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    except TypeError as error:
        raise BadRecipe(f"{where}: {str(error).partition('missing ')[2] or error}") from None


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))


def _read_toml(name_or_path: str | Path) -> tuple[Path, dict[str, Any]]:
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = RECIPES / f"{name_or_path}.toml"
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        raise BadRecipe(f"there is no recipe '{name_or_path}'; name a .toml file or one of {known}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRecipe(f"{path.name} is not valid TOML: {error}") from None

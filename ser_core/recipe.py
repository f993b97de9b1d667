"""A recipe says how much of what a method does: which encoder, which settings, how long. People write it in TOML."""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

RECIPES = Path(__file__).resolve().parent / "recipes"

PARTS = ("settings", "encoder", "text", "speaker_encoder", "training", "data")
"""Tables of a recipe."""

TUNES = ("none", "last", "lora", "all")
TUNES_OF_SPEECH = (*TUNES, "convolutions")
SCHEDULES = ("cosine", "linear", "constant")

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Mapping: "a table"}
_LISTS = {int: "a list of whole numbers", float: "a list of numbers", str: "a list of names"}
_MOST = 2**63
"""No number of a recipe is larger; tomllib reads longer ones."""

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
        tune: how much of the encoder learns as well: 'none', its 'last' layers, 'lora' adapters, or 'all'; or
            'convolutions': the encoder stays as it is and pointwise convolutions on it learn (arXiv 2506.10930).
        last_layers: how many Transformer layers learn with 'last', counted down from the highest that is heard.
        lora_rank: of the adapters, with 'lora'.
        learning_rate: of the encoder, where it learns.
    """

    name: str = "whisper"
    source: str = ""
    layers: tuple[int, ...] = ()
    pooling: str = "concatenate"
    tune: str = "none"
    last_layers: int = 2
    lora_rank: int = 8
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        check_choice("tune", self.tune, TUNES_OF_SPEECH)
        check_range(self, last_layers=(1, None), lora_rank=(1, None), learning_rate=(0, 1))


@dataclass(frozen=True)
class TextChoice:
    """Which encoder reads the words, where a method reads any.

    Attributes:
        name: a key of TEXT_ENCODERS.
        source: a folder or hub id; the encoder's own default if empty.
        layers: indices of hidden layers, counted from 0; every second one if empty.
        tune: how much of it learns as well: 'none', its 'last' layers, 'lora' adapters, or 'all'.
        last_layers, lora_rank, learning_rate: as for the encoder of speech.
    """

    name: str = "minilm"
    source: str = ""
    layers: tuple[int, ...] = ()
    tune: str = "none"
    last_layers: int = 2
    lora_rank: int = 8
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        check_choice("tune", self.tune, TUNES)
        check_range(self, last_layers=(1, None), lora_rank=(1, None), learning_rate=(0, 1))


@dataclass(frozen=True)
class SpeakerEncoderChoice:
    """Which encoder gives the embedding of the voice that a method puts into clusters.

    Attributes:
        name: a key of SPEAKER_ENCODERS or ENCODERS; the recipe's own encoder, as it is before it learns, if empty.
        source: a folder or hub id; the encoder's own default if empty.
        layer: of an encoder of ENCODERS, whose mean over frames is taken; −1 for the one below the middle.
    """

    name: str = ""
    source: str = ""
    layer: int = -1

    def __post_init__(self) -> None:
        check_range(self, layer=(-1, None))


@dataclass(frozen=True)
class TrainingSettings:
    """How much: AdamW, a linear warm-up, then a schedule.

    Attributes:
        batch_size: targets of one optimiser step, over all processes together.
        accumulate: parts that a process works through one after the other for one step, to save memory; the result is the
            same (up to rounding).
        warmup: share of all steps.
        schedule: what follows the warm-up: 'cosine' or 'linear' to zero, or 'constant'.
        patience: epochs without a better dev score after which training stops; 0 never stops early.
        dev_share: share of the training speakers, at least one, that choose the epoch where no split names dev speakers; with 0
            nobody does: everybody trains, and the last epoch is kept.
    """

    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.1
    clip_norm: float = 1.0
    patience: int = 0
    dev_share: float = 0.125
    accumulate: int = 1
    schedule: str = "cosine"

    def __post_init__(self) -> None:
        check_choice("schedule", self.schedule, SCHEDULES)
        check_range(
            self, epochs=(1, None), batch_size=(1, None), accumulate=(1, None), patience=(0, None),
            learning_rate=(0, 1), weight_decay=(0, 1), clip_norm=(0, None), warmup=(0, 1), dev_share=(0, 1),
        )  # fmt: skip


@dataclass(frozen=True)
class DataChoice:
    """Which classes, and which speakers are kept apart.

    Attributes:
        emotions: 'corpus' for the corpus' own classes, 'app' for the seven of the app, 'shared' for those that all of the
            corpora have.
        against_rest: a class that is told from all others together, as a binary task; all classes apart if empty.
        target: name of the corpus that is adapted to, without its emotions, and tested on; 'last' is the one named last.
            The others train. If empty, all corpora train and are tested on alike.
        protected: column of the manifest that groups speakers, for methods that compare groups.
        unlabelled: names of corpora whose emotions and attributes are not used: stages that learn without labels hear them, and
            nobody of them chooses or is tested. Speakers without any label are such by themselves.
        labels: share of the utterances of each emotion, at least one, whose emotion is told in training and to choose the epoch.
        known_groups: share of the target speakers trained on whose group is told; of each group at least one.
        split: a TOML file in recipes/ that lists dev and test speakers; if empty, the manifest's own column split, and
            where it has none, speakers are drawn by the seed.
        test_share: share of the speakers, at least one, that are drawn to be tested.
        others: utterances of no class (other, no agreement) are learned from as well, by methods that can.
        attributes: 'corpus' for those that listeners gave, 'circumplex' for pseudo-attributes made from the emotions.
        sentences: a folder of sentences with emotions (data/sentences.py) that utterances are paired with by label; if
            empty, words are the corpus' own.
        neutral_words: share of training utterances that are paired with a neutral sentence instead.
        transductive: where a stage learns without labels, it hears the dev and test speakers as well.
    """

    emotions: str = "corpus"
    split: str = ""
    test_share: float = 0.2
    others: bool = False
    attributes: str = "corpus"
    sentences: str = ""
    neutral_words: float = 0.3
    transductive: bool = False
    against_rest: str = ""
    target: str = ""
    protected: str = "gender"
    known_groups: float = 1.0
    unlabelled: tuple[str, ...] = ()
    labels: float = 1.0

    def __post_init__(self) -> None:
        check_choice("emotions", self.emotions, ("corpus", "app", "shared"))
        check_choice("attributes", self.attributes, ("corpus", "circumplex"))
        check_range(self, test_share=(0, 0.8), neutral_words=(0, 1), known_groups=(0, 1), labels=(0.001, 1))


@dataclass(frozen=True)
class Recipe:
    """What one training run is asked to do.

    Attributes:
        about: a sentence on what it does.
        paper: where it comes from.
        beside: recipes that are trained in the same run, on the same encoder, speakers and training settings, so that
            there is something to compare with.
    """

    name: str
    method: str
    about: str = ""
    paper: str = ""
    beside: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    encoder: EncoderChoice = field(default_factory=EncoderChoice)
    text: TextChoice = field(default_factory=TextChoice)
    speaker_encoder: SpeakerEncoderChoice = field(default_factory=SpeakerEncoderChoice)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    data: DataChoice = field(default_factory=DataChoice)

    def to_json(self) -> dict[str, Any]:
        """As recipe.json holds it, with every default written out."""
        return asdict(self)

    def without_paths(self) -> dict[str, Any]:
        """As JSON for a report that leaves this machine: of folders and files only the name."""
        return _names_only(self.to_json())

    def with_encoder(self, name: str, source: str) -> "Recipe":
        """The same recipe on another encoder."""
        return replace(self, encoder=replace(self.encoder, name=name, source=source))

    def changed(self, assignments: Sequence[str]) -> "Recipe":
        """The recipe with 'key=value' set, as in training.epochs=5 or settings.use="neutral"; values as TOML writes them.

        Raises:
            BadRecipe: an unknown key, or a value that is impossible.
        """
        parts: dict[str, dict[str, Any]] = {}
        for assignment in assignments:
            key, equals, value = assignment.partition("=")
            part, dot, name = key.strip().partition(".")
            if not (equals and dot and name) or part not in PARTS:
                unknown = f"there is no table '{part}'; " if dot and part not in PARTS else ""
                raise BadRecipe(
                    f"'{assignment}' cannot be set: {unknown}write TABLE.KEY=VALUE, for example training.epochs=5, with a "
                    f"table of {', '.join(PARTS)}"
                )
            parts.setdefault(part, {})[name] = _toml_value(value.strip())
        changed = {
            part: settings_from(type(getattr(self, part)), {**vars(getattr(self, part)), **values}, f"--set {part}")
            for part, values in parts.items()
            if part != "settings"
        }
        return replace(self, **changed, settings={**self.settings, **parts.get("settings", {})})

    def companions(self) -> list["Recipe"]:
        """The recipes beside it, on this one's encoder, speakers and training settings.

        Raises:
            BadRecipe: one of them cannot be read.
        """
        shared = {
            "encoder": self.encoder,
            "text": self.text,
            "speaker_encoder": self.speaker_encoder,
            "training": self.training,
            "data": replace(self.data, others=False, transductive=False),  # which most methods cannot learn from
            "beside": (),
        }
        return [replace(read_recipe(name), **shared) for name in self.beside]


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    texts = {file.stem: file.read_text(encoding="utf-8") for file in RECIPES.glob("*.toml")}
    return sorted(name for name, text in texts.items() if "method" in tomllib.loads(text))


def read_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe by its name in recipes/ or by its path.

    Raises:
        BadRecipe: absent, not TOML, or a key or value that is not known.
    """
    path, content = _read_toml(name_or_path)
    parts = {key: content.pop(key, {}) for key in PARTS if key != "settings"}
    if "method" not in content:
        raise BadRecipe(f"{path.name}: the key 'method' is missing")
    known = {"name": path.stem, **content}
    return settings_from(
        Recipe,
        {
            **known,
            "encoder": settings_from(EncoderChoice, parts["encoder"], f"{path.name} [encoder]"),
            "text": settings_from(TextChoice, parts["text"], f"{path.name} [text]"),
            "speaker_encoder": settings_from(
                SpeakerEncoderChoice, parts["speaker_encoder"], f"{path.name} [speaker_encoder]"
            ),
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
    if not isinstance(values, Mapping):
        raise BadRecipe(f"{where}: a table was expected, but {_shown(values)} was found")
    known, expected = [item.name for item in fields(kind)], get_type_hints(kind)
    for key, value in values.items():
        if key not in known:
            raise BadRecipe(f"{where}: unknown key {_shown(key)}; known keys are {', '.join(known)}")
        if not _fits(value, expected[key]):
            raise BadRecipe(f"{where}: '{key}' is {_shown(value)}, but {_in_words(expected[key])} was expected")
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    except BadRecipe as error:
        raise BadRecipe(f"{where}: {error}") from None
    except TypeError as error:
        raise BadRecipe(f"{where}: {str(error).partition('missing ')[2] or error}") from None


def _fits(value: Any, expected: Any) -> bool:
    """Whether a value read from a file is of the type a dataclass declares; lists stand for tuples."""
    kind, of = get_origin(expected) or expected, get_args(expected)
    if kind in (Union, UnionType):
        return any(_fits(value, one) for one in of)
    if kind is Literal:
        return value in of
    if kind is tuple:
        return isinstance(value, list | tuple) and all(_fits(one, of[0]) for one in value)
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int) and abs(value) > _MOST:
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def _in_words(expected: Any) -> str:
    kind, of = get_origin(expected) or expected, get_args(expected)
    return (_LISTS.get(of[0]) if kind is tuple else _KINDS.get(kind)) or str(expected)


def _shown(value: Any) -> str:
    try:
        said = repr(value)
    except ValueError:  # of thousands of digits
        return "a number that is too long"
    return said if len(said) <= 80 else f"{said[:79]}…"


def check_choice(key: str, value: str, known: Collection[str]) -> None:
    """Make sure that a setting is one of those known.

    Raises:
        BadRecipe: naming the key and what was expected.
    """
    if value not in known:
        raise BadRecipe(f"'{key}' is {value!r}, but one of {', '.join(known)} was expected")


def check_range(settings: Any, **limits: tuple[float, float | None]) -> None:
    """Make sure that numbers lie between a lowest and a highest (open above if None); a learning rate is more than zero.

    Raises:
        BadRecipe: naming the key and what was expected.
    """
    for key, (low, high) in limits.items():
        value = getattr(settings, key)
        above = key.endswith(("learning_rate", "clip_norm")) and value <= low
        if not value >= low or above or (high is not None and value > high):
            most = "" if high is None else f" and at most {high}"
            raise BadRecipe(f"'{key}' is {value}, but {'more than' if above else 'at least'} {low}{most} was expected")


def _names_only(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _names_only(one) for key, one in value.items() if key not in ("about", "paper")}
    if isinstance(value, list | tuple):
        return [_names_only(one) for one in value]
    return Path(value).name if isinstance(value, str) and ("/" in value or "\\" in value) else value


def _toml_value(text: str) -> Any:
    """As TOML reads it; a bare word is text."""
    try:
        return _parsed(f"value = {text}")["value"]
    except ValueError:
        return text


def _parsed(text: str) -> dict[str, Any]:
    """As tomllib reads it; what is nested too deeply for that raises ValueError as well."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("its lists or tables are nested too deeply") from None


def _read_toml(name_or_path: str | Path) -> tuple[Path, dict[str, Any]]:
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = RECIPES / f"{name_or_path}.toml"
    try:
        return path, _parsed(path.read_text(encoding="utf-8"))
    except OSError:
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        raise BadRecipe(f"there is no recipe '{name_or_path}'; name a .toml file or one of {known}") from None
    except ValueError as error:
        raise BadRecipe(f"{path.name} is not valid TOML: {error}") from None

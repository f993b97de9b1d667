"""The small shared world: where corpora and weights lie, a toy corpus, one real utterance; and no network."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[1]

# before anything imports the hub, gradio or torch
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker a core; more threads only wait for each other
os.environ.setdefault("SER_CORPORA", str(_REPOSITORY.parent / "shared" / "corpora"))
os.environ.setdefault("SER_WEIGHTS", str(_REPOSITORY.parent / "shared" / "weights"))

import hypothesis  # noqa: E402
import pytest  # noqa: E402

hypothesis.settings.register_profile("attune", deadline=None, database=None, max_examples=40)
hypothesis.settings.load_profile("attune")


def _present(path: Path, what: str, variable: str) -> Path:
    """The path, or a skip that says why; where CI is set, nothing may be skipped for want of material."""
    if not path.exists():
        reason = f"{what} not found at {path}; name its folder in {variable}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return path


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder with ravdess, emodb, nemo, korean and crema_d_labels."""
    return _present(Path(os.environ["SER_CORPORA"]), "the speech corpora were", "SER_CORPORA")


@pytest.fixture(scope="session")
def weights() -> Path:
    """The folder with the encoders' published weights."""
    return _present(Path(os.environ["SER_WEIGHTS"]), "the encoders' weights were", "SER_WEIGHTS")


@pytest.fixture(scope="session")
def speech_file(corpora: Path) -> Path:
    """One real utterance: RAVDESS, actor 1, neutral, 'Kids are talking by the door.'"""
    name = "Actor_01/03-01-01-01-01-01-01.flac"
    return _present(corpora / "ravdess" / name, "a RAVDESS utterance was", "SER_CORPORA")


class SmallDisk:
    """A disk of a few megabytes of its own, which can be filled to the last byte."""

    def __init__(self, folder: Path):
        self.folder, self._ballast = folder, folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        self._ballast.unlink()

    def may_only_be_read(self, only: bool = True) -> None:
        _mount("-o", f"remount,{'ro' if only else 'rw'}", str(self.folder))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """4 MB, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", "size=4m", "none", str(folder))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk may be mounted here: that takes root, in a container that allows it")
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def synthetic_corpus(tmp_path_factory: pytest.TempPathFactory):
    """8 buzzing voices, 4 emotions, 2 texts, 2 repetitions: 128 utterances of 0.8 s."""
    from ser_core.data.corpora import load_corpus

    return load_corpus("synthetic", tmp_path_factory.mktemp("synthetic"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, tiny_reader: Path) -> Path:
    """A model's folder with random weights: it loads in no time, and its answers differ from utterance to utterance."""
    import shutil

    import torch

    from ser_core.encoders.compact import Compact, CompactSettings
    from ser_core.inference.models import ModelInfo, Reader, write_model
    from ser_core.labels import APP_EMOTIONS, ATTRIBUTES
    from ser_core.methods import METHODS
    from ser_core.methods.base import FeatureShape, TextShape
    from ser_core.methods.checkpoint import save_method
    from ser_core.recipe import Recipe

    folder = tmp_path_factory.mktemp("models") / "tiny"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        encoder = Compact(CompactSettings(width=64, n_transformer_layers=2, n_heads=4, feedforward=64))
        encoder.save(folder / "encoder")
        shape = FeatureShape(n_layers=3, n_values=128, layers=(0, 1, 2))
        for name in ("baseline", "speaker_reference", "enrolment_attention"):
            method = METHODS[name].build({"embedding": 32, "hidden": 32}, shape, APP_EMOTIONS, name)
            with torch.no_grad():
                method.head.layers[-1].weight *= 15.0  # untrained, all answers would be one in seven
            save_method(method, Recipe(name, name), folder / name)
        settings = {"embedding": 32, "hidden": 32, "listener": "speaker_reference", "heads": ("emotion", *ATTRIBUTES)}
        reads = METHODS["multimodal"].build(settings, shape, APP_EMOTIONS, "multimodal", TextShape(3, 16, (0, 1, 2)))
        with torch.no_grad():
            reads.heads["emotion"].layers[-1].weight *= 15.0
        save_method(reads, Recipe("multimodal", "multimodal"), folder / "multimodal")
    shutil.copytree(tiny_reader, folder / "text")
    reader = Reader("multimodal", "other", "text", (1.0, 7.0), "circumplex")
    personalisers = ("speaker_reference", "enrolment_attention")
    write_model(ModelInfo("tiny", folder, "compact", "encoder", APP_EMOTIONS, "baseline", personalisers, reader))
    return folder


@pytest.fixture(scope="session")
def tiny_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a BERT of random weights and a tokenizer that knows a few words and all letters."""
    import string

    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = "i am so happy glad sad lonely angry furious the door is open today and it was here"
    letters = string.ascii_lowercase
    pieces = [*dict.fromkeys([*marks, *words.split(), *letters, *(f"##{one}" for one in letters)])]
    tokenizer = Tokenizer(models.WordPiece({piece: place for place, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    folder = tmp_path_factory.mktemp("readers") / "tiny-bert"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(pieces), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=64,
        )  # fmt: skip
        BertModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)  # fmt: skip
    return folder

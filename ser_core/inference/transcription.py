"""Speech to text with OpenAI's Whisper: its own package and model class, its published weights, offline.

Sources: Radford et al., arXiv 2212.04356, with the thresholds of section 4.5; and Bain et al. (WhisperX), arXiv 2303.00747,
for hearing speech alone: a recording is cut where a voice-activity detector finds pauses, and each piece is written without
timestamps. Whisper invents words in silence, so silence never reaches it.

The weights are those that OpenAI publishes on the hub as safetensors; the .pt files of the package are never opened.
"""

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ser_core.data.audio import SAMPLE_RATE
from ser_core.data.quality import speech_spans
from ser_core.data.talk import speech_pieces
from ser_core.encoders.base import choose_device
from ser_core.encoders.weights import read_config, read_tensors
from ser_core.weights import EncoderUnavailable
from ser_core.workspace import Workspace

if TYPE_CHECKING:
    from whisper.decoding import DecodingResult
    from whisper.model import Whisper

SIZES = {
    "whisper-base.en": "openai/whisper-base.en",
    "whisper-base": "openai/whisper-base",
    "whisper-small.en": "openai/whisper-small.en",
    "whisper-small": "openai/whisper-small",
    "whisper-tiny.en": "openai/whisper-tiny.en",
    "whisper-tiny": "openai/whisper-tiny",
    "whisper-medium.en": "openai/whisper-medium.en",
    "whisper-medium": "openai/whisper-medium",
    "whisper-large-v3-turbo": "openai/whisper-large-v3-turbo",
    "whisper-large-v3": "openai/whisper-large-v3",
    "whisper-large-v2": "openai/whisper-large-v2",
    "whisper-large-v1": "openai/whisper-large",
}
"""Names and hub ids, best first for somebody who waits at a computer without a graphics card."""

WINDOW_S = 30.0
"""What Whisper hears at once, whatever was said."""

_MARGIN_S = 0.2
_PAUSE_S = 2.0
"""Speech on both sides of a longer pause is heard apart: it costs a second pass, and long pauses invite inventions."""

_NO_SPEECH, _UNLIKELY, _REPETITIVE = 0.6, -1.0, 2.4
"""Whisper's own thresholds of the no-speech probability, the mean log probability and the compression ratio."""

_VOCABULARIES = (51864, 51865, 51866)
"""English only, multilingual, and with Cantonese: those for which the package has a tokenizer."""

_MEL_BANDS, _POSITIONS = (80, 128), 1500

_WORDS = {
    "self_attn": "attn", "self_attn_layer_norm": "attn_ln", "encoder_attn": "cross_attn",
    "encoder_attn_layer_norm": "cross_attn_ln", "final_layer_norm": "mlp_ln", "fc1": "mlp.0", "fc2": "mlp.2",
    "q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out", "layers": "blocks",
    "embed_tokens": "token_embedding",
}  # fmt: skip
"""Parts of tensors' names, Hugging Face's and the package's."""

_WHOLE_NAMES = {
    "encoder.embed_positions.weight": "encoder.positional_embedding",
    "decoder.embed_positions.weight": "decoder.positional_embedding",
    "encoder.layer_norm.weight": "encoder.ln_post.weight",
    "encoder.layer_norm.bias": "encoder.ln_post.bias",
    "decoder.layer_norm.weight": "decoder.ln.weight",
    "decoder.layer_norm.bias": "decoder.ln.bias",
}


_SIZES_IN_CONFIG = {
    "n_mels": "num_mel_bins", "n_audio_ctx": "max_source_positions", "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads", "n_audio_layer": "encoder_layers", "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions", "n_text_state": "d_model", "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}  # fmt: skip


class TranscriberUnavailable(ValueError):
    """No Whisper that can write is here; the message says what is missing and how to get it."""


@dataclass(frozen=True)
class Segment:
    """What was said without a long pause.

    Attributes:
        start_s: where it begins in the recording, at most 0.2 s before its speech.
        end_s: where it ends, at most 0.2 s after its speech.
        text: never empty.
        no_speech_probability: how sure Whisper is that nobody speaks, 0 to 1.
        mean_log_probability: of the text's tokens, natural logarithm; 0 is certain.
    """

    start_s: float
    end_s: float
    text: str
    no_speech_probability: float
    mean_log_probability: float


@dataclass(frozen=True)
class Transcript:
    """What was said in a recording.

    Attributes:
        text: all segments in order; empty if no word was said, or none that can be believed.
        language: code such as 'en'; None if the text is empty.
        segments: in order.
        model: name of the Whisper that wrote it.
        seconds: how long that took.
    """

    text: str
    language: str | None
    segments: tuple[Segment, ...]
    model: str
    seconds: float

    def to_json(self) -> dict:
        """The stable form that machines read; what is not a number is None."""
        said = asdict(self)
        segments = [
            {name: None if value != value else value for name, value in segment.items()} for segment in said["segments"]
        ]
        return {**said, "segments": segments}


def available(workspace: Workspace) -> tuple[str, ...]:
    """Keys of SIZES that can be used on this machine, best first; encoders without a decoder do not count."""
    return tuple(name for name in SIZES if _folder_of(name, workspace) is not None)


class Transcriber:
    """A Whisper that was loaded; many threads may ask it, one after the other is served.

    Attributes:
        name: key of SIZES, or the folder's name.
        device: where it computes.
    """

    def __init__(self, workspace: Workspace, name: str | Path | None = None, device: str = "auto"):
        """Load it.

        Args:
            workspace: where fetched models lie.
            name: key of SIZES, or a folder in Hugging Face's form; None for the best that is here.
            device: auto, cuda, mps or cpu.

        Raises:
            TranscriberUnavailable: it is not here, or cannot be used.
            DeviceUnavailable: no such device.
        """
        self.device = choose_device(device)
        self.name, folder = _find(name, workspace)
        self._model = load_whisper(folder).to(self.device)
        self._lock = Lock()  # while it writes, the package keeps state on the model

    def transcribe(self, waveform: np.ndarray) -> Transcript:
        """Write down what is said; the same recording always gives the same text.

        Args:
            waveform: (N,) float32 in [-1, 1], 16 kHz, of any length.
        """
        start = time.perf_counter()
        pieces = speech_pieces(speech_spans(waveform), waveform, _PAUSE_S, WINDOW_S, _MARGIN_S)
        language, segments = self._write_all(waveform, pieces) if pieces else (None, ())
        text = " ".join(segment.text for segment in segments)
        return Transcript(text, language if text else None, segments, self.name, time.perf_counter() - start)

    def _write_all(
        self, waveform: np.ndarray, pieces: Sequence[tuple[float, float]]
    ) -> tuple[str, tuple[Segment, ...]]:
        with self._lock, torch.inference_mode():
            heard = [self._hear(waveform, *piece) for piece in pieces]
            longest = max(range(len(pieces)), key=lambda place: pieces[place][1] - pieces[place][0])
            language = self._language(heard[longest])
            written = [self._write(features, language) for features in heard]
        return language, tuple(
            Segment(start, end, result.text.strip(), result.no_speech_prob, result.avg_logprob)
            for (start, end), result in zip(pieces, written, strict=True)
            if _believed(result)
        )

    def _hear(self, waveform: np.ndarray, start_s: float, end_s: float) -> Tensor:
        """The encoder's output, (1500, D), of up to 30 s."""
        from whisper.audio import N_SAMPLES, log_mel_spectrogram, pad_or_trim

        samples = waveform[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]
        mel = log_mel_spectrogram(pad_or_trim(np.array(samples, dtype=np.float32), N_SAMPLES), self._model.dims.n_mels)
        return self._model.embed_audio(mel[None].to(self.device, torch.float16 if self._half else torch.float32))[0]

    def _language(self, features: Tensor) -> str:
        if not self._model.is_multilingual:
            return "en"
        _, probabilities = self._model.detect_language(features)
        return max(probabilities, key=probabilities.get)

    def _write(self, features: Tensor, language: str) -> "DecodingResult":
        from whisper.decoding import DecodingOptions

        # no second try at a higher temperature: it would be drawn at random, and what is bad is dropped
        options = DecodingOptions(language=language, temperature=0.0, without_timestamps=True, fp16=self._half)
        return self._model.decode(features, options)

    @property
    def _half(self) -> bool:
        return self.device.type == "cuda"


def _believed(result: "DecodingResult") -> bool:
    """Whether there is text that Whisper itself takes for speech, and that does not go round in circles."""
    nobody = result.no_speech_prob > _NO_SPEECH and result.avg_logprob < _UNLIKELY
    return bool(result.text.strip()) and not nobody and result.compression_ratio <= _REPETITIVE


def load_whisper(folder: Path) -> "Whisper":
    """The package's own model with the weights of a folder in Hugging Face's form, on the CPU.

    Raises:
        TranscriberUnavailable: the folder holds no such model, or not all of it.
    """
    from whisper.model import ModelDimensions, Whisper  # here, because it takes seconds

    sizes = _check(folder)
    model = Whisper(ModelDimensions(**sizes))
    try:
        model.load_state_dict(read_tensors(folder, whispers_name), assign=True)
    except EncoderUnavailable as error:
        raise TranscriberUnavailable(str(error)) from None
    except RuntimeError:  # torch's, with a line for each tensor
        raise TranscriberUnavailable(
            f"the weights in '{folder.name}' do not fit its config.json; fetch the model again"
        ) from None
    _read_tokenizer(model)
    model.alignment_heads = model.alignment_heads.to_dense()  # Apple's devices take no sparse tensors
    return model.requires_grad_(False).eval()


def _read_tokenizer(model: "Whisper") -> None:
    """Now, so that the first transcript does not wait for it; the package keeps it, and leaves its file open."""
    from whisper.tokenizer import get_tokenizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        get_tokenizer(model.is_multilingual, num_languages=model.num_languages)


def whispers_name(key: str) -> str | None:
    """What the package calls a tensor of transformers' WhisperForConditionalGeneration; None for one it does not have.

    >>> whispers_name("model.decoder.layers.3.encoder_attn.q_proj.weight")
    'decoder.blocks.3.cross_attn.query.weight'
    """
    key = key.removeprefix("model.")
    if not key.startswith(("encoder.", "decoder.")):
        return None  # proj_out is the token embedding once more
    return _WHOLE_NAMES.get(key) or ".".join(_WORDS.get(part, part) for part in key.split("."))


def _find(name: str | Path | None, workspace: Workspace) -> tuple[str, Path]:
    """What it is called, and its folder."""
    if name is None:
        name = next(iter(available(workspace)), None)
        if name is None:
            raise TranscriberUnavailable(
                f"no Whisper that writes text is on this machine; {_remedy('whisper-base.en')}"
            )
    if str(name) in SIZES and (found := _folder_of(str(name), workspace)):
        return str(name), found
    named = Path(name).expanduser()
    if named.is_dir():
        return named.resolve().name, named.resolve()
    if str(name) in SIZES:
        raise TranscriberUnavailable(f"'{name}' is not on this machine; {_remedy(str(name))}")
    raise TranscriberUnavailable(_no_folder(named))


def _no_folder(path: Path) -> str:
    if path.is_file():
        return (
            f"'{path.name}' is a file; name the folder that holds config.json and *.safetensors, as the hub has it "
            f"(.pt files can hold programs and are never opened)"
        )
    return f"there is no Whisper '{path.name}'; choose one of {', '.join(SIZES)} or name its folder"


def _remedy(name: str) -> str:
    return (
        f"`python -m ser_core models fetch {name}` downloads it, or let SER_WEIGHTS name the folder that holds '{name}'"
    )


def _folder_of(name: str, workspace: Workspace) -> Path | None:
    for place in _places(name, workspace):
        with suppress(TranscriberUnavailable):
            _check(place)
            return place
    return None


def _places(name: str, workspace: Workspace) -> list[Path]:
    """Where a size may lie: fetched, below or at SER_WEIGHTS, in the hub's local cache."""
    endings = tuple(dict.fromkeys((name, SIZES[name].rpartition("/")[2])))
    places = [workspace.models / ending for ending in endings]
    if given := os.environ.get("SER_WEIGHTS"):
        places += [Path(given) / ending for ending in endings]
        places += [Path(given)] if Path(given).name in endings else []
    cached = try_to_load_from_cache(SIZES[name], "config.json")
    return [*places, Path(cached).parent] if isinstance(cached, str) else places


def _check(folder: Path) -> dict[str, int]:
    """The package's ModelDimensions; told from the configuration and the weights' shapes, without reading weights.

    Raises:
        TranscriberUnavailable: why it cannot be used.
    """
    config, shapes = _config(folder), _shapes(folder)
    if config.get("model_type") != "whisper":
        raise TranscriberUnavailable(f"'{folder.name}' is a {config.get('model_type')} model, not Whisper")
    if not any(name.startswith("decoder.") for name in shapes):  # an encoder alone, as for recognition
        raise TranscriberUnavailable(
            f"'{folder.name}' has no decoder; it hears but cannot write; {_remedy('whisper-base.en')}"
        )
    sizes = _sizes(folder, config)
    if missing := [name for name in _landmarks(sizes) if name not in shapes]:
        raise TranscriberUnavailable(f"'{folder.name}' lacks weights, {missing[0]} among them; fetch the model again")
    if any(shapes[name] != shape for name, shape in _landmarks(sizes).items() if shape):
        raise TranscriberUnavailable(
            f"the weights in '{folder.name}' do not fit its config.json; fetch the model again"
        )
    return sizes


def _landmarks(sizes: Mapping[str, int]) -> dict[str, list[int] | None]:
    """Tensors that tell whether all files are here, and the shapes of those that tell all sizes."""
    layers = {"encoder": sizes["n_audio_layer"], "decoder": sizes["n_text_layer"]}
    ends = [f"{half}.layers.{layer}.fc2.weight" for half, n_layers in layers.items() for layer in range(n_layers)]
    return {
        **dict.fromkeys((*_WHOLE_NAMES, *ends)),
        "encoder.conv1.weight": [sizes["n_audio_state"], sizes["n_mels"], 3],
        "encoder.embed_positions.weight": [sizes["n_audio_ctx"], sizes["n_audio_state"]],
        "decoder.embed_tokens.weight": [sizes["n_vocab"], sizes["n_text_state"]],
        "decoder.embed_positions.weight": [sizes["n_text_ctx"], sizes["n_text_state"]],
    }


def _config(folder: Path) -> Mapping:
    try:
        config = read_config(folder)
    except EncoderUnavailable as error:
        raise TranscriberUnavailable(str(error)) from None
    if not isinstance(config, dict):
        raise TranscriberUnavailable(f"config.json of '{folder.name}' describes no model; fetch the model again")
    return config


def _shapes(folder: Path) -> dict[str, list[int]]:
    """Of all tensors, from the files' headers; named as in transformers, without 'model.'."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise TranscriberUnavailable(f"'{folder.name}' has no *.safetensors; other weight formats are not read here")
    shapes = {}
    try:
        for file in files:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - no mapping
                    shapes[name.removeprefix("model.")] = list(tensors.get_slice(name).get_shape())
    except (SafetensorError, OSError):
        raise TranscriberUnavailable(f"the weights in '{folder.name}' are broken; fetch the model again") from None
    return shapes


def _sizes(folder: Path, config: Mapping) -> dict[str, int]:
    try:
        sizes = {ours: config[theirs] for ours, theirs in _SIZES_IN_CONFIG.items()}
    except KeyError as error:
        raise TranscriberUnavailable(
            f"config.json of '{folder.name}' lacks {error.args[0]}; fetch the model again"
        ) from None
    if not _are_whispers(sizes):
        found = ", ".join(f"{_SIZES_IN_CONFIG[name]} {value}" for name, value in sizes.items())
        raise TranscriberUnavailable(
            f"'{folder.name}' has sizes that no published Whisper has ({found}); expected are a vocabulary of "
            f"{_VOCABULARIES[0]} to {_VOCABULARIES[-1]}, {_MEL_BANDS[0]} or {_MEL_BANDS[1]} mel bands and {_POSITIONS} positions"
        )
    return sizes


def _are_whispers(sizes: Mapping[str, object]) -> bool:
    return (
        all(type(size) is int and 0 < size <= _VOCABULARIES[-1] for size in sizes.values())
        and sizes["n_vocab"] in _VOCABULARIES
        and sizes["n_mels"] in _MEL_BANDS
        and sizes["n_audio_ctx"] == _POSITIONS
        and not any(sizes["n_audio_state"] % sizes[heads] for heads in ("n_audio_head", "n_text_head"))
    )

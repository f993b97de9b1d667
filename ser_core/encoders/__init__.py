"""ENCODERS: the speech encoders. A new one is a file here and a line in the table."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ser_core.encoders.base import SpeechEncoder
from ser_core.encoders.compact import Compact
from ser_core.encoders.convolved import Convolved
from ser_core.encoders.ecapa import Ecapa
from ser_core.encoders.wav2vec2 import Wav2Vec2
from ser_core.encoders.whisper import Whisper
from ser_core.weights import EncoderUnavailable, find_folder
from ser_core.workspace import ASSETS

ENCODERS: dict[str, tuple[Callable[[Path], SpeechEncoder], str]] = {
    # name: from a folder, and the folder or hub id taken when none is named
    "compact": (Compact.from_folder, str(ASSETS / "models" / "compact" / "encoder")),
    "whisper": (Whisper.from_folder, "openai/whisper-tiny.en"),
    "wav2vec2": (Wav2Vec2.from_folder, "facebook/wav2vec2-base"),
}
"""Those that a recipe may name. `Convolved` is none of them: a training makes it of one of these, and only models name it."""

SPEAKER_ENCODERS: dict[str, tuple[Callable[[Path], Ecapa], str]] = {
    # as in ENCODERS
    "ecapa": (Ecapa.from_folder, "speechbrain/spkrec-ecapa-voxceleb"),
}
"""Encoders of a voice: their embedding may be clustered (methods/cluster_contrastive.py), but nothing is learned on them."""


def load_encoder(name: str, source: str | Path | None = None, also_in: Sequence[Path] = ()) -> SpeechEncoder | Ecapa:
    """A frozen encoder in evaluation mode, on the CPU.

    Args:
        name: a key of ENCODERS or SPEAKER_ENCODERS, or 'convolved'.
        source: a folder or hub id; the table's default if None. What a training made has none and must be named.
        also_in: further folders to look in, such as the workspace's models.

    Raises:
        EncoderUnavailable: its weights are not on this machine.
    """
    if name == Convolved.name:
        return Convolved.from_folder(find_folder(source or name, also_in), load_encoder).requires_grad_(False)
    if name in SPEAKER_ENCODERS:
        from_folder, default = SPEAKER_ENCODERS[name]
        place = Path(source or default).expanduser()  # if it is there, what it lacks is better said by its reader
        return from_folder(place if place.is_dir() else find_folder(source or default, also_in))
    if name not in ENCODERS:
        raise EncoderUnavailable(f"there is no encoder '{name}'; known are {', '.join([*ENCODERS, *SPEAKER_ENCODERS])}")
    from_folder, default = ENCODERS[name]
    return from_folder(find_folder(source or default, also_in)).requires_grad_(False)

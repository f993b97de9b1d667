"""Which weights are on this machine. Found without torch, so that a wrong name is told before anything slow begins."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

WEIGHTS = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")
"""The files of a Hugging Face repository that are ever fetched or read."""


class EncoderUnavailable(ValueError):
    """The encoder's weights are not on this machine; the message says how to get them."""


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
        with suppress(OSError):  # a name that no file can have
            if (place / "config.json").is_file() and any(place.glob("*.safetensors")):
                return place
    try:
        return Path(snapshot_download(str(source), allow_patterns=list(WEIGHTS), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError, ValueError):
        raise EncoderUnavailable(
            f"the encoder '{name}' is not on this machine; name the folder that holds it (config.json and *.safetensors), "
            f"or let SER_WEIGHTS name it"
        ) from None

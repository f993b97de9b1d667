"""What every speech encoder promises: waveforms in, all its hidden layers out, and how they are pooled."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

logger = logging.getLogger("attune")

T = TypeVar("T")

_FITTED: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
"""How much at once fitted, of networks that were short of memory."""


class DeviceUnavailable(ValueError):
    """This computer has no such device, or this torch cannot use it."""


class SpeechEncoder(nn.Module, ABC):
    """From waveforms to hidden layers.

    Attributes:
        fingerprint: names the weights and every setting that changes the output; a key of caches.
        n_layers: L, hidden layers given back, the input of the first Transformer layer counted as layer 0.
        width: D, size of a frame.
        never_trained: parts that stay as they are also where all of the encoder learns.
        lora_targets: names of the linear layers that adapters may be put on; empty where none may.
        heard_speakers: whose speech its training here has heard, with or without labels; nothing may be measured on
            them. Empty for published encoders, of which that is not known.
    """

    fingerprint: str
    n_layers: int
    width: int
    never_trained: tuple[str, ...] = ()
    lora_targets: tuple[str, ...] = ()
    heard_speakers: tuple[str, ...] = ()

    @abstractmethod
    def local(self, waveforms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What the Transformer is given, before it knows of positions: each frame hears only what is near.

        Args:
            waveforms: B tensors (N_b,) float32, 16 kHz, levelled and trimmed (`data.audio.level_and_trim`).

        Returns:
            frames (B, T, D), and which there are (B, T) bool.
        """

    @abstractmethod
    def contextual(self, local: Tensor, mask: Tensor) -> Tensor:
        """The Transformer: frames (B, T, D) that `local` gave, maybe changed since, to all hidden layers (B, L, T, D)."""

    def forward(self, waveforms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """All hidden layers of a batch; an utterance's frames do not depend on its neighbours in the batch.

        Args:
            waveforms: B tensors (N_b,), as for `local`.

        Returns:
            layers (B, L, T, D), zero where there is no frame, and which frames there are (B, T) bool.
        """
        local, mask = self.local(waveforms)
        return self.contextual(local, mask), mask

    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """The L − 1 Transformer layers, lowest first."""

    @abstractmethod
    def save(self, folder: Path, half: bool = False) -> None:
        """Write config.json and model.safetensors, which the class reads by `from_folder`; in half precision if asked."""

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return next(self.parameters()).device

    def pooled(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Mean and standard deviation over frames of each layer, (B, L, 2 D) float32."""
        layers, mask = self(waveforms)
        return statistics(layers.float(), mask)


def statistics(layers: Tensor, mask: Tensor) -> Tensor:
    """Mean and (biased) standard deviation over frames, (B, L, T, D) and (B, T) to (B, L, 2 D)."""
    weight = mask[:, None, :, None].to(layers.dtype)
    n_frames = weight.sum(dim=2).clamp(min=1.0)
    mean = (layers * weight).sum(dim=2) / n_frames
    variance = ((layers - mean[:, :, None]).square() * weight).sum(dim=2) / n_frames
    return torch.cat([mean, (variance + 1e-8).sqrt()], dim=-1)


def mean_of_layer(pooled: Tensor, layer: int) -> Tensor:
    """The mean over frames of one layer, from `statistics` (N, L, 2 D) to (N, D)."""
    return pooled[:, layer, : pooled.shape[2] // 2]


def below_the_middle(n_layers: int) -> int:
    """The layer whose means are put into clusters where none is named.

    Of Whisper tiny.en's, its clusters agreed well with the emotion and least with the sentence in EmoDB and nEMO.
    """
    return max(0, n_layers // 2 - 1)


def frame_mask(n_frames: Sequence[int], device: torch.device) -> Tensor:
    """Which frames there are, (B, T) bool, from the number of frames of each utterance."""
    lengths = torch.tensor(list(n_frames), device=device)
    return torch.arange(int(lengths.max()), device=device)[None] < lengths[:, None]


def choose_device(name: str = "auto") -> torch.device:
    """The device named, or for 'auto' the best there is: CUDA, then MPS, then the CPU.

    Raises:
        DeviceUnavailable: the one named is not here.
    """
    if name != "auto":
        try:
            return torch.zeros(0, device=name).device
        except (RuntimeError, AssertionError, NotImplementedError):
            raise DeviceUnavailable(f"there is no device '{name}' that torch can use here; try auto or cpu") from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def precision(device: torch.device) -> str:
    """Names what `autocast` computes in; part of every cache's key."""
    return "bf16" if device.type == "cuda" else "fp32"


def autocast(device: torch.device, wanted: str = "") -> torch.autocast:
    """bfloat16 where the device is CUDA, full precision elsewhere; or what is wanted, as `precision` names it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=(wanted or precision(device)) == "bf16")


def as_memory_allows(
    compute: Callable[[Sequence], T], items: Sequence, at_once: int, network: nn.Module, may_move: bool = True
) -> Iterator[T]:
    """What is computed of one part of some items after the other: of fewer at once where memory ends, then on the CPU.

    Args:
        compute: from some of the items, in order, to what is wanted of them; asks the network where it is.
        items: a list or an array.
        at_once: how many at first; the network's next parts begin with what fitted.
        network: what computes. It moves to the CPU, and stays there, where its device has no room for one item.
        may_move: whether it does.
    """
    place = 0
    while place < len(items):
        size = min(at_once, _FITTED.get(network, at_once))
        device = next(network.parameters()).device
        found = None
        try:
            found = compute(items[place : place + size])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or (size == 1 and (device.type == "cpu" or not may_move)):
                raise
        if found is not None:
            yield found
            place += size
            continue
        if device.type == "cuda":
            torch.cuda.empty_cache()  # here, for the error held what was computed so far
        if network not in _FITTED:
            logger.warning("memory on %s is short: fewer recordings at once, or the CPU, which takes longer", device)
        _FITTED[network] = max(1, size // 2)
        if size == 1:
            network.to("cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, of whatever device."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)

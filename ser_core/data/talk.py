"""Free speech: cut into utterances by voice activity, and refused where it cannot show how a person speaks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser_core.data.audio import SAMPLE_RATE, AudioRejected, Limits
from ser_core.data.quality import speech_spans

TALK = Limits(min_s=0.5, max_s=180.0, max_bytes=40 * 2**20)
"""What a recording of free speech may be."""

WANTED_S = (30, 60)
"""How long a person is asked to talk, in seconds."""

LEAST_SPEECH_S = 15.0
"""Less speech says little about a voice."""

LEAST_UTTERANCES = 5
LONGEST_S = 5.0
"""Of one utterance that is cut out."""

_SHORTEST_S = 0.8
_LEAST_SHARE = 0.2
"""Music, or a room where others talk far away: so little of a recording is found to be speech."""

_PAUSE_S, _MARGIN_S = 0.35, 0.1


@dataclass(frozen=True)
class Talk:
    """Free speech of one person.

    Attributes:
        utterances: waveforms (N,), float32, 16 kHz, in order.
        speech_s: seconds of speech in all.
    """

    utterances: tuple[np.ndarray, ...]
    speech_s: float


def cut_talk(waveform: np.ndarray) -> Talk:
    """Cut free speech into utterances.

    Args:
        waveform: (N,) float32 in [-1, 1], 16 kHz.

    Raises:
        AudioRejected: too little speech in it (little_speech), too little of it is speech (hardly_speech), or it is in
            too few parts (few_utterances).
    """
    spans, duration_s = speech_spans(waveform), len(waveform) / SAMPLE_RATE
    speech_s = sum(end - start for start, end in spans)
    if speech_s < _LEAST_SHARE * duration_s:
        raise AudioRejected(
            "hardly_speech",
            f"{speech_s:.0f} of {duration_s:.0f} seconds sound like speech; music, or a noisy room, hides a voice: talk "
            f"for {WANTED_S[0]} to {WANTED_S[1]} seconds where it is quiet",
        )
    pieces = [piece for piece in speech_pieces(spans, waveform, _PAUSE_S, LONGEST_S, _MARGIN_S) if _long_enough(piece)]
    if speech_s < LEAST_SPEECH_S:
        raise AudioRejected(
            "little_speech",
            f"{speech_s:.1f} seconds of speech were found, at least {LEAST_SPEECH_S:.0f} are needed, and pauses do not count; talk "
            f"again, for {WANTED_S[0]} to {WANTED_S[1]} seconds",
        )
    if len(pieces) < LEAST_UTTERANCES:
        raise AudioRejected(
            "few_utterances",
            f"the speech falls into {len(pieces)} parts, at least {LEAST_UTTERANCES} are needed; make a short pause between "
            f"sentences, and talk for {WANTED_S[0]} to {WANTED_S[1]} seconds",
        )
    utterances = tuple(waveform[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] for start, end in pieces)
    return Talk(utterances, speech_s)


def speech_pieces(
    spans: Sequence[tuple[float, float]], waveform: np.ndarray, pause_s: float, longest_s: float, margin_s: float
) -> list[tuple[float, float]]:
    """Speech with a little around it, joined over short pauses: (start, end) in seconds.

    Args:
        spans: where somebody speaks, (start, end) in seconds, in order, apart from each other.
        waveform: (N,), 16 kHz.
        pause_s: speech on both sides of a longer pause stands apart.
        longest_s: of a piece; speech that does not pause for so long is cut where it is quietest.
        margin_s: kept before and after speech, where there is room.
    """
    short = [part for span in spans for part in _cut(*span, waveform, longest_s - 2 * margin_s)]
    pieces: list[tuple[float, float]] = []
    for start, end in _with_margins(short, len(waveform) / SAMPLE_RATE, margin_s):
        if pieces and start - pieces[-1][1] < pause_s and end - pieces[-1][0] <= longest_s:
            pieces[-1] = (pieces[-1][0], end)
        else:
            pieces.append((start, end))
    return pieces


def _cut(start_s: float, end_s: float, waveform: np.ndarray, longest_s: float) -> list[tuple[float, float]]:
    parts = []
    while end_s - start_s > longest_s:
        at = _quietest(waveform, start_s + 2 / 3 * longest_s, start_s + longest_s)
        parts.append((start_s, at))
        start_s = at
    return [*parts, (start_s, end_s)]


def _quietest(waveform: np.ndarray, start_s: float, end_s: float) -> float:
    """Middle of the 0.1 s with the least energy between two places, in seconds."""
    frame = SAMPLE_RATE // 10
    samples = waveform[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]
    energy = np.square(samples[: len(samples) // frame * frame].reshape(-1, frame), dtype=np.float64).sum(axis=1)
    return start_s + (int(energy.argmin()) + 0.5) * frame / SAMPLE_RATE


def _with_margins(
    spans: Sequence[tuple[float, float]], duration_s: float, margin_s: float
) -> list[tuple[float, float]]:
    """Each span wider on both sides, but never beyond the middle of the pause to its neighbour."""
    if not spans:
        return []
    middles = [(before[1] + after[0]) / 2 for before, after in zip(spans, spans[1:], strict=False)]
    earliest, latest = [0.0, *middles], [*middles, duration_s]
    return [
        (max(start - margin_s, first), min(end + margin_s, last))
        for (start, end), first, last in zip(spans, earliest, latest, strict=True)
    ]


def _long_enough(piece: tuple[float, float]) -> bool:
    return piece[1] - piece[0] >= _SHORTEST_S

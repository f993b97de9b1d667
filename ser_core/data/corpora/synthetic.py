"""A toy corpus the project makes itself, for tests and the smoke recipe: buzzing voices, nobody's speech.

Every speaker has a pitch of their own; every emotion raises or lowers pitch, tremor and brightness around it. So an
emotion can be told within a speaker far better than across speakers, which is what personalisation lives on.

Two more of them are a world with a known bias: in `synthetic_confounded` women are mostly happy or neutral and men mostly
sad or angry; in `synthetic_even`, whose voices are others, gender and emotion have nothing to do with each other.
"""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from ser_core.data.audio import SAMPLE_RATE
from ser_core.data.manifest import Corpus, make_corpus
from ser_core.data.whole import written

_EMOTIONS = {  # semitones of pitch, tremor in Hz, brightness (slope of the harmonics)
    "neutral": (0.0, 3.0, 1.6),
    "happiness": (4.0, 5.0, 1.2),
    "sadness": (-3.0, 2.0, 2.2),
    "anger": (2.0, 8.0, 0.7),
}
_N_SPEAKERS, _N_TEXTS, _N_REPETITIONS, _DURATION_S = 8, 2, 2, 0.8
_OFTEN, _SELDOM = 4, 1
"""Repetitions of an emotion that a gender mostly shows, and of the others, where they are confounded."""


def load(folder: Path) -> Corpus:
    """Make the corpus in a folder (once; the seed is fixed) and read it."""
    return _load("synthetic", folder, lambda woman, emotion: _N_REPETITIONS)


def load_confounded(folder: Path) -> Corpus:
    """As `load`; women are mostly happy or neutral, men mostly sad or angry."""
    usual = {True: ("happiness", "neutral"), False: ("sadness", "anger")}
    return _load(
        "synthetic_confounded", folder, lambda woman, emotion: _OFTEN if emotion in usual[woman] else _SELDOM, 0.25
    )


def load_even(folder: Path) -> Corpus:
    """As `load`, other voices."""
    return _load("synthetic_even", folder, lambda woman, emotion: _N_REPETITIONS, 0.75)


def _load(name: str, folder: Path, often: Callable[[bool, str], int], between: float = 0.0) -> Corpus:
    """A corpus of `often` repetitions for a gender and emotion; `between` moves the voices."""
    rows, prefix = {}, "s" if name == "synthetic" else f"{name}_s"
    for speaker, emotion, text in product(range(_N_SPEAKERS), _EMOTIONS, range(_N_TEXTS)):
        woman = speaker % 2 == 1
        for repetition in range(often(woman, emotion)):
            utterance_id = f"{prefix}{speaker}_{emotion}_t{text}_r{repetition}"
            path = folder / f"{utterance_id}.wav"
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                seed = [
                    speaker,
                    list(_EMOTIONS).index(emotion),
                    text,
                    repetition,
                    *([round(100 * between)] if between else []),
                ]
                waveform = buzz(speaker, emotion, text, np.random.default_rng(seed), between)
                with written(path) as hidden:
                    soundfile.write(hidden, waveform, SAMPLE_RATE, format="WAV")
            rows[utterance_id] = {
                "path": str(path),
                "duration_s": _DURATION_S,
                "speaker": f"{name}_{speaker}",
                "gender": "female" if woman else "male",
                "language": "none",
                "emotion": emotion,
                "text_id": str(text),
            }
    return make_corpus(name, pd.DataFrame.from_dict(rows, orient="index"))


def buzz(speaker: int, emotion: str, text: int, rng: np.random.Generator, between: float = 0.0) -> np.ndarray:
    """One utterance, (N,) float32: harmonics of a trembling pitch, in syllables that depend on the text."""
    woman, voice = speaker % 2 == 1, speaker // 2 + between
    semitones, tremor_hz, slope = _EMOTIONS[emotion]
    time = np.arange(int(_DURATION_S * SAMPLE_RATE)) / SAMPLE_RATE
    base_hz = (180.0 if woman else 100.0) * 2 ** (rng.normal(0, 0.3) / 12 + voice * 1.5 / 12)
    pitch = base_hz * 2 ** (semitones / 12) * (1 + 0.03 * np.sin(2 * np.pi * tremor_hz * time))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    slope = slope + 0.15 * voice + rng.normal(0, 0.05)
    voice = sum(np.sin(harmonic * phase) / harmonic**slope for harmonic in range(1, 16))
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * (4 + 2 * text) * time) ** 2
    sound = voice * syllables + rng.normal(0, 0.01, len(time))
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def speechlike(seconds: float) -> np.ndarray:
    """One voice that goes on for so long, (N,) float32: an utterance to measure speed on."""
    return np.resize(buzz(0, "neutral", 0, np.random.default_rng(0)), int(seconds * SAMPLE_RATE))

"""A toy corpus the project makes itself, for tests and the smoke recipe: buzzing voices, nobody's speech.

Every speaker has a pitch of their own; every emotion raises or lowers pitch, tremor and brightness around it. So an
emotion can be told within a speaker far better than across speakers, which is what personalisation lives on.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from ser_core.data.audio import SAMPLE_RATE
from ser_core.data.manifest import Corpus, make_corpus

_EMOTIONS = {  # semitones of pitch, tremor in Hz, brightness (slope of the harmonics)
    "neutral": (0.0, 3.0, 1.6),
    "happiness": (4.0, 5.0, 1.2),
    "sadness": (-3.0, 2.0, 2.2),
    "anger": (2.0, 8.0, 0.7),
}
_N_SPEAKERS, _N_TEXTS, _N_REPETITIONS, _DURATION_S = 8, 2, 2, 0.8


def load(folder: Path) -> Corpus:
    """Make the corpus in a folder (once; the seed is fixed) and read it."""
    rows = {}
    for speaker in range(_N_SPEAKERS):
        for emotion in _EMOTIONS:
            for text in range(_N_TEXTS):
                for repetition in range(_N_REPETITIONS):
                    utterance_id = f"s{speaker}_{emotion}_t{text}_r{repetition}"
                    path = folder / f"{utterance_id}.wav"
                    if not path.exists():
                        folder.mkdir(parents=True, exist_ok=True)
                        seed = [speaker, list(_EMOTIONS).index(emotion), text, repetition]
                        soundfile.write(path, buzz(speaker, emotion, text, np.random.default_rng(seed)), SAMPLE_RATE)
                    rows[utterance_id] = {
                        "path": str(path),
                        "duration_s": _DURATION_S,
                        "speaker": f"synthetic_{speaker}",
                        "gender": "female" if speaker % 2 else "male",
                        "language": "none",
                        "emotion": emotion,
                        "text_id": str(text),
                    }
    return make_corpus("synthetic", pd.DataFrame.from_dict(rows, orient="index"))


def buzz(speaker: int, emotion: str, text: int, rng: np.random.Generator) -> np.ndarray:
    """One utterance, (N,) float32: harmonics of a trembling pitch, in syllables that depend on the text."""
    semitones, tremor_hz, slope = _EMOTIONS[emotion]
    time = np.arange(int(_DURATION_S * SAMPLE_RATE)) / SAMPLE_RATE
    base_hz = (180.0 if speaker % 2 else 100.0) * 2 ** (rng.normal(0, 0.3) / 12 + (speaker // 2) * 1.5 / 12)
    pitch = base_hz * 2 ** (semitones / 12) * (1 + 0.03 * np.sin(2 * np.pi * tremor_hz * time))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    slope = slope + 0.15 * (speaker // 2) + rng.normal(0, 0.05)
    voice = sum(np.sin(harmonic * phase) / harmonic**slope for harmonic in range(1, 16))
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * (4 + 2 * text) * time) ** 2
    sound = voice * syllables + rng.normal(0, 0.01, len(time))
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)

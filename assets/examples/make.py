"""Makes the example voice: python assets/examples/make.py (needs the synthesiser flite, of the same name in Debian).

Prosody follows what is said of vocal emotion: anger and happiness fast, loud, high and varied, sadness slow, quiet, low
and flat, fear fast and high with little range and dull (Juslin and Laukka 2003, Psychological Bulletin 129(5)); disgust
slow, low and quiet (Murray and Arnott 1993, J. Acoust. Soc. Am. 93(2)); surprise, high with a wide range, is our own
guess. It is a caricature by rule: nobody felt or said any of it.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from torchaudio.functional import highpass_biquad, resample, treble_biquad

from ser_core.inference.prompts import PROMPTS

HERE = Path(__file__).parent
RATE_HZ = 16_000
VOICE = "slt"
ROOM_DBFS = -66.0
"""A quiet room around the voice, for digital silence is in no recording."""

PROSODY = {  # stretch of duration, mean F0 in Hz, its deviation in Hz, level in dBFS, treble in dB
    "neutral": (1.00, 170, 36, -26, 0),
    "happiness": (0.90, 225, 104, -21, 4),
    "sadness": (1.38, 148, 18, -33, -8),
    "anger": (0.84, 205, 88, -16, 9),
    "fear": (0.78, 262, 40, -27, -2),
    "disgust": (1.22, 152, 52, -28, -3),
    "surprise": (0.96, 250, 144, -20, 4),
}
"""As asked of flite, which varies F0 less than it is asked to."""

TAKES = (
    ("1-neutral", "neutral", "The shop on the corner opens at nine."),
    ("2-anger", "anger", "This is the last time that I clean it up."),
    ("3-sadness", "sadness", "I kept the letters in a box under the bed."),
    ("4-happiness", "happiness", "We are going to the sea on Saturday."),
    ("5-surprise", "surprise", "I had no idea that you could sing."),
)


def main() -> int:
    """Write all files; 1 if the synthesiser is not installed."""
    if shutil.which("flite") is None:
        print("make.py: flite is not installed; on Debian or Ubuntu: sudo apt install flite", file=sys.stderr)
        return 1
    rng = np.random.default_rng(0)
    for emotion, sentence in PROMPTS.items():
        write(HERE / "enrolment" / f"{emotion}.flac", emotion, sentence, rng)
    for name, emotion, sentence in TAKES:
        write(HERE / "takes" / f"{name}.flac", emotion, sentence, rng)
    return 0


def write(path: Path, emotion: str, sentence: str, rng: np.random.Generator) -> None:
    """Say one sentence in one emotion into a file."""
    stretch, f0_hz, deviation_hz, level_dbfs, treble_db = PROSODY[emotion]
    spoken, rate_hz = synthesise(sentence, stretch, f0_hz, deviation_hz)
    voice = resample(torch.from_numpy(spoken), rate_hz, RATE_HZ)
    voice = treble_biquad(highpass_biquad(voice, RATE_HZ, 60.0), RATE_HZ, treble_db, 2_000.0).numpy()
    voice *= 10 ** (level_dbfs / 20) / np.sqrt(np.mean(voice**2))
    voice = np.tanh(voice * 1.2) / 1.2  # peaks bend before they break
    voice = np.pad(voice, (RATE_HZ // 4, RATE_HZ // 3))
    room = np.cumsum(rng.normal(size=len(voice)))  # brown, as rooms are
    room = highpass_biquad(torch.from_numpy(room).float(), RATE_HZ, 80.0).numpy()
    voice = voice + room * 10 ** (ROOM_DBFS / 20) / np.sqrt(np.mean(room**2))
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, voice.astype(np.float32), RATE_HZ, subtype="PCM_16")


def synthesise(sentence: str, stretch: float, f0_hz: float, deviation_hz: float) -> tuple[np.ndarray, int]:
    """(N,) float32 and its rate."""
    settings = {"duration_stretch": stretch, "int_f0_target_mean": f0_hz, "int_f0_target_stddev": deviation_hz}
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        options = [word for name, value in settings.items() for word in ("--setf", f"{name}={value}")]
        subprocess.run(["flite", "-voice", VOICE, *options, "-t", sentence, "-o", file.name], check=True)
        return soundfile.read(file.name, dtype="float32")


if __name__ == "__main__":
    sys.exit(main())

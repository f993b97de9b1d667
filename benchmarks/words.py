"""What words cost: `python benchmarks/words.py [--threads N] [--output FILE.json]`

Milliseconds of reading a 20-word sentence; of the answer from the voice with words switched off, with words counted after
each answer (as the app does it), and while a Whisper of base size with random weights writes beside it (as live mode does).
Blocks of each kind alternate, so that a busy computer is busy for all of them; medians.
"""

import argparse
import json
import threading
from pathlib import Path
from statistics import median

import torch
from whisper.model import ModelDimensions, Whisper

from ser_core.commands.bench import spoken
from ser_core.data.audio import Recording
from ser_core.inference.recogniser import Recogniser
from ser_core.inference.timing import timed
from ser_core.training.provenance import provenance
from ser_core.workspace import open_workspace

SENTENCE = "I really did not think that we would ever come this far today but here we are at last together"
BASE = ModelDimensions(
    n_mels=80, n_audio_ctx=1500, n_audio_state=512, n_audio_head=8, n_audio_layer=6,
    n_vocab=51865, n_text_ctx=448, n_text_state=512, n_text_head=8, n_text_layer=6,
)  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--threads", type=int, default=1, help="1, as the app sets it")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--workspace")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recogniser = Recogniser(open_workspace(arguments.workspace), arguments.model, "cpu")
    voice = spoken(3.0)
    recording, features = Recording(voice), recogniser.embed([voice])
    recogniser.with_words(features, SENTENCE)  # loads what reads
    kinds = {"off": [], "counted": [], "beside": []}
    for _ in range(arguments.blocks):
        kinds["off"] += timed(lambda: recogniser.recognise(recording), arguments.repeats)
        for _ in range(arguments.repeats):
            kinds["counted"] += timed(lambda: recogniser.recognise(recording), 1)
            recogniser.with_words(features, SENTENCE)
        with writing_beside():
            kinds["beside"] += timed(lambda: recogniser.recognise(recording), arguments.repeats)
    read = [recogniser.with_words(features, SENTENCE).milliseconds["read"] for _ in range(arguments.repeats)]
    medians = {name: round(median(times), 3) for name, times in kinds.items()}
    report = {
        "model": recogniser.info.name, "threads": arguments.threads, "words": len(SENTENCE.split()),
        "reading_ms": round(median(read), 3), "voice_ms": medians,
        "change": {name: round(medians[name] / medians["off"] - 1, 4) for name in ("counted", "beside")}, **provenance(),
    }  # fmt: skip
    print(json.dumps(report, indent=2))
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


class writing_beside:  # noqa: N801 - reads as a verb
    """Within it, another thread hears 30 s and writes 20 tokens, again and again."""

    model: Whisper | None = None

    def __enter__(self):
        writing_beside.model = writing_beside.model or Whisper(BASE).eval()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._write)
        self.thread.start()

    def __exit__(self, *error):
        self.over.set()
        self.thread.join()

    def _write(self) -> None:
        mel = torch.zeros(1, 80, 3000)
        with torch.inference_mode():
            while not self.over.is_set():
                heard = self.model.embed_audio(mel)
                for n in range(1, 20):
                    if not self.over.is_set():
                        self.model.logits(torch.zeros(1, n, dtype=torch.long), heard)


if __name__ == "__main__":
    main()

"""bench: speed and memory of the models that ship, on this machine; benchmarks/speed.py compares them with others."""

import json
import os
import platform
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ser_core.commands.training_arguments import count, limit_threads
from ser_core.data.audio import SAMPLE_RATE, Recording, read_recording
from ser_core.data.corpora import load_corpora
from ser_core.data.quality import has_speech
from ser_core.encoders.cache import EmbeddingCache
from ser_core.inference.examples import example_takes
from ser_core.inference.models import shipped_models
from ser_core.inference.onnx import OnnxRecogniser, export_onnx, onnx_installed
from ser_core.inference.recogniser import Enrolment, Recogniser
from ser_core.inference.timing import WARM_UP, percentiles, timed
from ser_core.workspace import Workspace, open_workspace

_UTTERANCE_S = 3.0
_PADDED_S = 30.0


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--threads", type=count, default=0, help="CPU threads (default: all)")
    parser.add_argument("--repeats", type=count, default=30)
    parser.add_argument("--corpus", metavar="NAME=DIR", help="also measure how fast a corpus is embedded")
    parser.add_argument("--json", action="store_true")


def run(arguments: Namespace) -> int:
    """Measure and print: median and 95th percentile of the repeats, and how many they were."""
    limit_threads(arguments.threads)
    workspace = open_workspace(arguments.workspace)
    utterance = spoken(_UTTERANCE_S)
    listen_ms = _milliseconds(lambda: has_speech(utterance), arguments.repeats)
    rows = [_row("whether anybody speaks, which is part of two answers, 3 s utterance", listen_ms, "ms")]
    for info in shipped_models():
        if not info.why_unavailable(workspace):
            rows += _model(Recogniser(workspace, info.name, arguments.device), arguments, workspace)
    machine = f"{os.cpu_count()} cores ({platform.machine()}), {torch.get_num_threads()} threads, {_device_name(arguments.device)}"
    if arguments.json:
        print(json.dumps({"machine": machine, "rows": rows}, indent=2))
    else:
        lines = [_line(row) for row in rows]
        print(
            "\n".join(
                [
                    f"Measured on {machine}, torch {torch.__version__}.\n",
                    "| what | p50 | p95 | n |",
                    "|---|---|---|---|",
                    *lines,
                ]
            )
        )
    return 0


def _model(recogniser: Recogniser, arguments: Namespace, workspace: Workspace) -> list[dict]:
    name = recogniser.info.name
    utterance, enrolment = utterance_and_enrolment(recogniser, _UTTERANCE_S)
    answer_ms = _milliseconds(lambda: recogniser.recognise(utterance, enrolment), arguments.repeats)
    rows = [_row(f"{name}: two answers, 3 s utterance, {len(enrolment.utterances)} enrolled", answer_ms, "ms")]
    if onnx_installed():
        rows.append(_by_onnxruntime(recogniser, utterance, enrolment, arguments, workspace))
    encode_ms = _milliseconds(lambda: recogniser.embed([utterance.waveform]), arguments.repeats)
    rows.append(_row(f"{name}: encoder alone", encode_ms, "ms"))
    if recogniser.info.encoder == "whisper":
        padded = [
            torch.from_numpy(np.pad(utterance.waveform, (0, int(_PADDED_S * SAMPLE_RATE) - len(utterance.waveform))))
        ]
        with torch.inference_mode():
            padded_ms = _milliseconds(lambda: recogniser.encoder.pooled(padded), max(3, arguments.repeats // 5))
        rows.append(_row(f"{name}: encoder alone, padded to 30 s as published", padded_ms, "ms"))
        rows.append(
            _row(f"{name}: times faster without the padding", [np.median(padded_ms) / np.median(encode_ms)], "×")
        )
    if arguments.corpus:
        rows.append(
            _row(
                f"{name}: embedding {arguments.corpus.partition('=')[0]}",
                [_times_real_time(recogniser, arguments.corpus)],
                "× real time",
            )
        )
    return rows


def utterance_and_enrolment(recogniser: Recogniser, seconds: float) -> tuple[Recording, Enrolment]:
    """What two answers need: an utterance, and one enrolled of each emotion, all of that length."""
    clips = [(word, word, spoken(seconds)) for word in recogniser.info.emotions]
    return Recording(spoken(seconds)), recogniser.enrol(clips)


def spoken(seconds: float) -> np.ndarray:
    """The example voice, again and again, (N,) float32 at 16 kHz: whether anybody speaks is found as soon as with a person."""
    return np.resize(read_recording(example_takes()[0].path).waveform, int(seconds * SAMPLE_RATE))


def _by_onnxruntime(
    recogniser: Recogniser, utterance: Recording, enrolment: Enrolment, arguments: Namespace, workspace: Workspace
) -> dict:
    """As the row before it, by the model's export with as many threads as torch has."""
    info = recogniser.info
    with tempfile.TemporaryDirectory() as folder:
        export = export_onnx(info.name, workspace, Path(folder) / info.name)
        exported = OnnxRecogniser(export.folder, torch.get_num_threads())

    def answer_twice() -> None:
        has_speech(utterance.waveform)
        features = exported.embed(utterance.waveform)
        exported.probabilities(features, info.baseline)
        exported.probabilities(features, info.personaliser(None), enrolment)

    milliseconds = _milliseconds(answer_twice, arguments.repeats)
    return _row(f"{info.name}: two answers by onnxruntime on the CPU, the same utterance", milliseconds, "ms")


def _times_real_time(recogniser: Recogniser, named: str) -> float:
    """Seconds of audio embedded a second, reading and decoding included, on at most 400 files."""
    paths = load_corpora([named]).table["path"].to_list()[:400]
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddingCache(Path(folder), recogniser.encoder)
        start = time.perf_counter()
        cache.embed(paths)
        seconds = time.perf_counter() - start
    return cache.seconds_read / seconds


def _milliseconds(measured: Callable[[], object], repeats: int) -> list[float]:
    timed(measured, WARM_UP)
    return timed(measured, repeats)


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device in ("auto", "cuda") and torch.cuda.is_available() else "no GPU"


def _row(what: str, values: Sequence[float], unit: str) -> dict:
    return {"what": what, "unit": unit, **percentiles(values)}


def _line(row: dict) -> str:
    p95 = f"{row['p95']:.4g}" if row["n"] > 1 else "–"
    return f"| {row['what']}, {row['unit']} | {row['p50']:.4g} | {p95} | {row['n']} |"

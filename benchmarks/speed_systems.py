"""One system's speed, measured in a process of its own: what benchmarks/speed.py starts, once for each.

    python benchmarks/speed_systems.py NAME [--seconds 3] [--repetitions 30] [--weights DIR] [--corpus NAME=DIR]

Prints one JSON object. Each builder imports what it needs itself, so that no system's memory holds another's libraries.
"""

import json
import resource
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchaudio.functional import compute_deltas
from torchaudio.transforms import MFCC

from ser_core.data.audio import SAMPLE_RATE, read_recording
from ser_core.data.corpora import load_corpora
from ser_core.data.corpora.synthetic import speechlike
from ser_core.inference.timing import WARM_UP, percentiles, timed
from ser_core.labels import APP_EMOTIONS
from ser_core.workspace import open_workspace

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline
    from transformers import PretrainedConfig

BATCH = 16
BUDGET_S, FEWEST = 10.0, 5
"""A slow system is repeated as often as fits into the budget, but at least so often; batches at most so often."""

N_MFCC, N_RANDOM = 20, 1000
"""Coefficients a frame; utterances that the SVM is fitted on without a corpus."""


@dataclass(frozen=True)
class System:
    """What is measured, loaded and ready.

    Attributes:
        what: in words.
        n_weights: of all that takes part in an answer.
        answer: about one utterance.
        answer_many: about BATCH utterances at once.
        uncounted_macs: multiply-accumulates of an answer that torch does not see.
    """

    what: str
    n_weights: int
    answer: Callable[[], object]
    answer_many: Callable[[], object]
    uncounted_macs: int = 0


def shipped(asked: Namespace) -> System:
    """Two answers of a model of ours, baseline and personalised, one utterance of each emotion enrolled."""
    from ser_core.commands.bench import utterance_and_enrolment
    from ser_core.inference.recogniser import Recogniser

    recogniser = Recogniser(open_workspace(asked.workspace), asked.name, "cpu")
    utterance, enrolment = utterance_and_enrolment(recogniser, asked.seconds)
    personaliser = recogniser.method(recogniser.info.personaliser(None))
    n_weights = sum(map(_n_weights, (recogniser.encoder, recogniser.baseline, personaliser)))

    def answer_many() -> list:
        features = recogniser.embed([utterance.waveform] * BATCH)
        return [recogniser.answer(features[place : place + 1], enrolment) for place in range(BATCH)]

    what = f"{asked.name}: two answers, {len(enrolment.utterances)} enrolled"
    return System(what, n_weights, lambda: recogniser.recognise(utterance, enrolment), answer_many)


def padded_whisper(asked: Namespace) -> System:
    """The Whisper encoder as transformers offers it: its pipeline for classes of sound, which pads to 30 s; one answer."""
    from transformers import WhisperFeatureExtractor, WhisperForAudioClassification, pipeline

    folder = Path(asked.weights)
    model = WhisperForAudioClassification.from_pretrained(
        folder,
        local_files_only=True,
        num_labels=len(APP_EMOTIONS),
        dtype=torch.float32,  # stored as fp16, which a CPU computes slowly
    )
    extractor = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
    classify = pipeline("audio-classification", model=model.eval(), feature_extractor=extractor, device="cpu")
    waveform = speechlike(asked.seconds)
    return System(
        "the same Whisper encoder in transformers' pipeline, padded to 30 s", _n_weights(model),
        lambda: classify(waveform), lambda: classify([waveform] * BATCH, batch_size=BATCH),
    )  # fmt: skip


def wav2vec2_base(asked: Namespace) -> System:
    """The size that published systems use most; arXiv 2006.11477."""
    return _forward("an encoder of wav2vec2-base's size, random weights", wav2vec2_base_config(), asked)


def wavlm_large(asked: Namespace) -> System:
    """The size of the best published ones; arXiv 2110.13900."""
    return _forward("an encoder of WavLM-large's size, random weights", wavlm_large_config(), asked)


def mfcc_svm(asked: Namespace) -> System:
    """Classical features and an SVM, fitted on a corpus or, without one, on random features; one answer."""
    features = CepstralStatistics()
    svm, fitted_on = _fitted(features, asked.corpus)
    waveform = torch.from_numpy(speechlike(asked.seconds))
    scaler, machine = svm[0], svm[-1]
    learned = (machine.support_vectors_, machine.dual_coef_, machine.intercept_, scaler.mean_, scaler.scale_)
    return System(
        f"MFCC statistics and an SVM, fitted on {fitted_on}", sum(each.size for each in learned),
        lambda: svm.predict(features(waveform[None]).numpy()),
        lambda: svm.predict(features(waveform.expand(BATCH, -1)).numpy()),
        uncounted_macs=machine.support_vectors_.size + machine.dual_coef_.size,
    )  # fmt: skip


PEERS: dict[str, Callable[[Namespace], System]] = {
    "whisper-pipeline": padded_whisper,
    "wav2vec2-base": wav2vec2_base,
    "wavlm-large": wavlm_large,
    "mfcc-svm": mfcc_svm,
}
"""What a user would pick instead; any other name is a model that ships."""


class CepstralStatistics(nn.Module):
    """Waveforms (B, N) to mean and standard deviation over frames of MFCC and their deltas, (B, 4 N_MFCC)."""

    def __init__(self):
        super().__init__()
        self.mfcc = MFCC(SAMPLE_RATE, N_MFCC, melkwargs={"n_fft": 400, "hop_length": 160, "n_mels": 40})

    def forward(self, waveforms: Tensor) -> Tensor:
        cepstra = self.mfcc(waveforms)  # (B, M, T)
        both = torch.cat([cepstra, compute_deltas(cepstra)], dim=1)  # (B, 2 M, T)
        return torch.cat([both.mean(dim=-1), both.std(dim=-1, correction=0)], dim=-1)


def wav2vec2_base_config() -> "PretrainedConfig":
    """As published: 12 layers of width 768."""
    from transformers import Wav2Vec2Config

    return Wav2Vec2Config()


def wavlm_large_config() -> "PretrainedConfig":
    """As published: 24 layers of width 1024, layer normalisation throughout."""
    from transformers import WavLMConfig

    return WavLMConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
        feat_extract_norm="layer", do_stable_layer_norm=True,
    )  # fmt: skip


def _forward(what: str, config: "PretrainedConfig", asked: Namespace) -> System:
    from transformers import AutoModel

    model = AutoModel.from_config(config).eval()
    waveform = torch.from_numpy(speechlike(asked.seconds))[None]
    many = waveform.expand(BATCH, -1)
    return System(what, _n_weights(model), lambda: model(waveform), lambda: model(many))


def _fitted(features: CepstralStatistics, corpus: str | None) -> tuple["Pipeline", str]:
    """The SVM, and on what it was fitted, in words."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if corpus:
        x, y = _of_corpus(features, corpus)
        on = f"{len(x)} utterances of {corpus.partition('=')[0]}"
    else:
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(N_RANDOM, 4 * N_MFCC)), rng.choice(APP_EMOTIONS, N_RANDOM)
        on = f"{N_RANDOM} random ones"
    return make_pipeline(StandardScaler(), SVC()).fit(x, y), on


def _of_corpus(features: CepstralStatistics, named: str) -> tuple[np.ndarray, np.ndarray]:
    corpus = load_corpora([named])
    table = corpus.table[corpus.table["emotion"].isin(corpus.emotions)]
    heard = [features(torch.from_numpy(read_recording(path).waveform)[None])[0].numpy() for path in table["path"]]
    return np.stack(heard), table["emotion"].to_numpy(dtype=str)


def _n_weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def macs(answer: Callable[[], object]) -> int:
    """Multiply-accumulates of products of matrices, convolutions and attention; Fourier transforms are not counted.

    torch's counter knows neither attention on a CPU nor its fused Transformer layer (they count as 0), so both are
    taken apart while it counts; in inference mode it would break weight-normalised convolutions.
    """
    fused, attention = torch.backends.mha.get_fastpath_enabled(), sdpa_kernel(SDPBackend.MATH)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(False), torch.no_grad(), FlopCounterMode(display=False) as counter, attention:
            answer()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops() // 2


def peak_mib() -> float:
    """The most memory that this process has held so far, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would tell the peak of whoever started this process, if that was higher
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def repetitions(wanted: int, fewest: int, one_ms: float) -> int:
    """How often something that takes so long is repeated: as wanted if it fits into the budget."""
    return min(wanted, max(fewest, int(1000 * BUDGET_S / one_ms)))


def summary(times: list[float], n_answered: int) -> dict:
    """Of milliseconds, each for so many utterances: repetitions, median, 95th percentile, utterances a second."""
    found = percentiles(times)
    return {
        "repetitions": found["n"],
        "p50_ms": found["p50"],
        "p95_ms": found["p95"],
        "utterances_per_s": round(1000 * n_answered * len(times) / sum(times), 3),
    }


def measured(system: System, wanted: int) -> dict:
    """All numbers of a system; the memory of single answers is read before batches need more."""
    with torch.inference_mode():
        warm_ms = median(timed(system.answer, WARM_UP))
        alone = summary(timed(system.answer, repetitions(wanted, FEWEST, warm_ms)), 1)
        memory = peak_mib()
        [batch_ms] = timed(system.answer_many, 1)
        together = summary(timed(system.answer_many, repetitions(FEWEST, 1, batch_ms)), BATCH)
        memory_together = peak_mib()
    n_macs = macs(system.answer) + system.uncounted_macs
    return {
        "what": system.what, "weights_m": round(system.n_weights / 1e6, 3), **alone, "peak_mib": round(memory),
        "batch": {"size": BATCH, **together, "peak_mib": round(memory_together)}, "macs_g": round(n_macs / 1e9, 4),
    }  # fmt: skip


def main() -> None:
    """Measure one and print."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("name", help=f"{', '.join(PEERS)}, or a model that ships")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--weights", metavar="DIR", help="the folder of Whisper's encoder")
    parser.add_argument("--corpus", metavar="NAME=DIR", help="to fit the SVM on")
    parser.add_argument("--workspace", metavar="DIR")
    asked = parser.parse_args()
    row = measured(PEERS.get(asked.name, shipped)(asked), asked.repetitions)
    print(json.dumps({"name": asked.name, **row, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()

"""Before a run: can it be done, who would do what, how long would it take, how much memory?"""

import time
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from ser_core.data.audio import SAMPLE_RATE
from ser_core.data.batches import Batch
from ser_core.data.corpora import load_corpora
from ser_core.encoders.base import SpeechEncoder, choose_device
from ser_core.encoders.convolved import N_CONVOLUTIONS, Convolved
from ser_core.methods.base import Method
from ser_core.recipe import Recipe
from ser_core.training.jobs import Order
from ser_core.training.preparation import ROLES, Prepared, build_method, class_set, learning_encoder, prepare
from ser_core.training.scalars import check_tensorboard
from ser_core.workspace import Workspace

_UTTERANCE_S = 3.0
"""Taken for the length of an utterance where the corpus does not say."""

_BYTES_AT_REST = 4 * (1 + 1 + 2 + 1)
"""Of each weight that learns: itself, its gradient, two moments of AdamW, the best copy; float32."""


@dataclass(frozen=True)
class Estimate:
    """What a run will take, from a few steps that were tried just now.

    Attributes:
        seconds: of embedding and training.
        memory_bytes: of weights, features and activations; the program itself comes on top.
    """

    seconds: float
    memory_bytes: int

    @property
    def in_words(self) -> str:
        """As in 'about 2 minutes and 0.3 GiB of memory'."""
        amount = (
            f"{self.memory_bytes / 2**30:.1f} GiB"
            if self.memory_bytes > 2**29
            else f"{self.memory_bytes / 2**20:.0f} MiB"
        )
        return f"about {_duration(self.seconds)} and {amount} of memory, by a few steps tried on this computer just now"


@dataclass(frozen=True)
class Checked:
    """An order that can be carried out.

    Attributes:
        recipe: resolved.
        sizes: one row a role (train, dev, test): speakers, their genders, utterances, and utterances of each emotion.
        verdict: of the leak check.
        notes: what can be lived with.
        estimate: None where it was not asked for.
    """

    recipe: Recipe
    sizes: pd.DataFrame
    verdict: dict
    notes: tuple[str, ...]
    estimate: Estimate | None


def check_order(order: Order, workspace: Workspace, estimated: bool = True) -> Checked:
    """Check everything that can be checked before the start; nothing is written.

    Raises:
        BadRecipe, BadCorpus, LeakingSplit, EncoderUnavailable, DeviceUnavailable, TensorBoardMissing: what is wrong.
    """
    if order.tensorboard:
        check_tensorboard()
    choose_device(order.device)
    recipe = order.resolved()
    prepared = prepare(recipe, load_corpora(list(order.corpora)), workspace, order.seed)
    notes = prepared.corpus.problems
    estimate = estimate_of(prepared, order.device) if estimated and prepared.encoder is not None else None
    return Checked(recipe, sizes_of(prepared), prepared.verdict(), notes, estimate)


def sizes_of(prepared: Prepared) -> pd.DataFrame:
    """Speakers, genders, utterances and emotions of each role."""
    table, role = prepared.corpus.table, prepared.role()
    rows = []
    for name in ROLES:
        part = table[role == name]
        if name in ("unlabelled", "target") and part.empty:
            continue
        of_gender = part.drop_duplicates("speaker")["gender"].value_counts()
        emotions = {word: int((part["emotion"] == word).sum()) for word in prepared.corpus.emotions}
        genders = {gender: int(n) for gender, n in sorted(of_gender.items())}
        rows.append(
            {"role": name, "speakers": part["speaker"].nunique(), **genders, "utterances": len(part), **emotions}
        )
    counts = pd.DataFrame(rows).fillna(0)
    return counts.astype({name: int for name in counts.columns if name != "role"})


def estimate_of(prepared: Prepared, device: str = "auto") -> Estimate:
    """Try the encoder and a step of each method on made-up material of the right size."""
    where, encoder = choose_device(device), prepared.encoder
    n_dev = prepared.n_targets("dev")
    duration_s = pd.to_numeric(prepared.corpus.table["duration_s"], errors="coerce").mean()
    waveform = torch.randn(int((duration_s if duration_s > 0 else _UTTERANCE_S) * SAMPLE_RATE)) * 0.05
    with torch.inference_mode():
        one_s = _seconds(lambda: encoder.to(where).pooled([waveform.to(where)]))
    n_features = encoder.n_layers * 2 * encoder.width
    seconds, memory = one_s * len(prepared.corpus), 4 * n_features * len(prepared.corpus)
    for place, recipe in enumerate(prepared.recipes):
        tuned = place == 0 and recipe.encoder.tune != "none"
        method = build_method(recipe, encoder, class_set(prepared.corpus, recipe.data), prepared.words).to(where)
        cost = _a_step(recipe, prepared, method, waveform, tuned, where)
        seconds += one_s * len(prepared.corpus) * _hearings(recipe, method) if tuned else 0.0
        for stage in method.stages():
            how, learns = replace(recipe.training, **stage.training), tuned and stage.encoder != "rests"
            step_s = cost.heads_s + (cost.heard_s * how.batch_size if learns else 0.0)
            dev_s = one_s * n_dev if learns and stage.monitor != "nothing" else 0.0
            seconds += how.epochs * (step_s * _n_drawn(prepared, stage.rows) / how.batch_size + dev_s)
        memory = max(memory, 4 * n_features * len(prepared.corpus) + cost.n_bytes)
    encoder.to("cpu")
    return Estimate(seconds, memory)


def _n_drawn(prepared: Prepared, rows: str) -> int:
    """Utterances of an epoch, by what a stage draws from (`Stage.rows`)."""
    role = prepared.role()
    if rows == "unlabelled":
        return len(role) if prepared.recipes[0].data.transductive else int(role.isin(["train", "unlabelled"]).sum())
    return prepared.n_targets("train") + (int((role == "target").sum()) if rows == "mixed" else 0)


def _hearings(recipe: Recipe, method: Method) -> int:
    """How often the whole corpus is heard anew: when the encoder has learned; before it, where there is one on it; and for
    each stage that is prepared."""
    return 1 + (recipe.encoder.tune == "convolutions") + sum(stage.prepare is not None for stage in method.stages())


@dataclass(frozen=True)
class _Cost:
    """Of one optimiser step: seconds of its heads, seconds a target where the encoder learns, and bytes."""

    heads_s: float
    heard_s: float
    n_bytes: int


def _a_step(recipe: Recipe, prepared: Prepared, method: Method, waveform, tuned: bool, where) -> _Cost:
    """Tried on a part of a step, where the encoder learns, and scaled up."""
    encoder = prepared.encoder
    learning = learning_encoder(recipe, encoder, method) if tuned else None
    n_enrolled = len(prepared.corpus.emotions) if method.uses_enrolment else 0
    weights = list(method.parameters()) + (list(learning.learned().values()) if learning else [])
    at_rest = _BYTES_AT_REST * sum(weight.numel() for weight in weights)
    batch = _made_up(method, recipe.training.batch_size, n_enrolled).to(where)
    heads_s = _seconds(lambda: method(batch).embedding.sum().backward())
    if learning is None:
        return _Cost(heads_s, 0.0, at_rest + 6 * 4 * (batch.features.numel() + batch.enrolment.numel()))
    learning.to(where)
    some = tuple(waveform.to(where) for _ in range(4))
    four_s = _seconds(lambda: learning(some).sum().backward(), repeats=2)
    # enrolled recordings of one speaker are heard once a batch
    n_heard = 1 + 0.6 * n_enrolled
    n_at_once = recipe.training.batch_size * n_heard / recipe.training.accumulate
    activations = int(n_at_once * _activation_bytes(learning.encoder, len(waveform)))
    return _Cost(heads_s, four_s / 4 * n_heard, at_rest + activations)


def _made_up(method: Method, n: int, n_enrolled: int) -> Batch:
    """A batch of noise of the right size."""
    layers = method.shape.n_layers, method.shape.n_values
    enrolled = torch.arange(n_enrolled).expand(n, -1)
    text = method.text_shape
    return Batch(
        features=torch.randn(n, *layers),
        waveforms=(),
        emotion=torch.zeros(n, dtype=torch.long),
        classes=torch.ones(n, len(method.emotions), dtype=torch.bool),
        enrolment=torch.randn(n, n_enrolled, *layers),
        present=enrolled >= 0,
        enrolment_emotion=enrolled % len(method.emotions),
        text=torch.randn(n, text.n_layers, text.n_values) if text else None,
        has_text=torch.ones(n, dtype=torch.bool) if text else None,
    )


def _activation_bytes(encoder: SpeechEncoder, n_samples: int) -> int:
    """Of one utterance in all Transformer layers: 34 values a width and frame, and attention (arXiv 2205.05198, section 4).

    Of convolutions: what goes into each of them, and the layers below, which are weighed.
    """
    n_frames = n_samples / SAMPLE_RATE * 50
    if isinstance(encoder, Convolved):
        n_below = encoder.inner.n_layers * encoder.inner.width
        return int(4 * n_frames * (n_below + 2 * N_CONVOLUTIONS * encoder.width))
    return int(2 * (encoder.n_layers - 1) * n_frames * (34 * encoder.width + 5 * 8 * n_frames))


def _seconds(measured, repeats: int = 3) -> float:
    """The median of some runs after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        measured()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"

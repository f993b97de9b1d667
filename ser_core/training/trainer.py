"""The only training loop: it runs the stages of any method."""

import copy
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from ser_core.data.batches import Utterances
from ser_core.data.sampling import SAMPLERS, in_order
from ser_core.encoders.base import choose_device
from ser_core.evaluation.performance import uar
from ser_core.inference.predict import probabilities
from ser_core.methods.base import Method, Stage
from ser_core.recipe import TrainingSettings

Epoch = dict[str, Any]
"""stage, epoch, the named losses, dev_<monitor>, seconds."""


@dataclass(frozen=True)
class Plan:
    """Which rows train, which choose the epoch, and who is enrolled with what.

    Attributes:
        train: rows that may be training targets.
        dev: rows that may be dev targets; empty keeps the last epoch.
        test: rows that are predicted afterwards; training never looks at them.
        enrolment: rows of each speaker's fixed enrolment; never among the targets.
    """

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray
    enrolment: Mapping[str, np.ndarray]


class TrainingDiverged(ValueError):
    """The loss is no longer a number."""


def fit(
    method: Method,
    utterances: Utterances,
    plan: Plan,
    settings: TrainingSettings,
    seed: int,
    device: str = "auto",
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Method:
    """Train a method in place, stage after stage; each stage ends with its best epoch on dev.

    Args:
        method: built, not yet trained.
        utterances: features or waveforms of the corpus.
        plan: which rows do what.
        settings: how much.
        seed: of initial order, dropout and augmentation; the caller seeds the weights (`seeded`).
        device: 'auto', or as torch names it.
        on_epoch: called after every epoch.

    Raises:
        TrainingDiverged: the loss became nan or infinite.
    """
    accelerator = Accelerator(cpu=choose_device(device).type == "cpu")
    rng = np.random.default_rng(seed)
    method.rng = rng
    method.fit_statistics(utterances, plan.train)
    method.to(accelerator.device)
    for stage in method.stages():
        _run_stage(method, stage, utterances, plan, settings, rng, accelerator, on_epoch or (lambda epoch: None))
    return method.to("cpu").eval()


def seeded(seed: int) -> None:
    """Seed every source of chance there is."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries may draw from it
    torch.manual_seed(seed)


def _run_stage(method, stage: Stage, utterances, plan: Plan, settings, rng, accelerator, on_epoch) -> None:
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    n_steps = settings.epochs * math.ceil(len(plan.train) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, n_steps, settings.warmup))
    optimiser = accelerator.prepare(optimiser)
    best, best_score, waited = None, -math.inf, 0
    for epoch in range(settings.epochs):
        start = time.perf_counter()
        method.train()
        sums: dict[str, float] = {}
        n_seen = 0
        for rows, enrolled in SAMPLERS[stage.batches](utterances, plan.train, plan.enrolment, settings.batch_size, rng):
            batch = utterances.batch(rows, enrolled).to(accelerator.device)
            with accelerator.autocast():
                terms = stage.loss(batch)
            loss = sum(terms.values())
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(trained, settings.clip_norm)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            n_seen += len(batch)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach()) * len(batch)
        losses = {name: total / n_seen for name, total in sums.items()}
        if not all(math.isfinite(value) for value in losses.values()):
            raise TrainingDiverged(
                f"stage {stage.name}, epoch {epoch + 1}: the loss is {losses}; lower the learning rate"
            )
        record: Epoch = {"stage": stage.name, "epoch": epoch + 1, **losses}
        if len(plan.dev):
            value = _MONITORS[stage.monitor](method, stage, utterances, plan, accelerator)
            record[f"dev_{stage.monitor}"] = value
            score = value if stage.monitor == "uar" else -value
            waited += 1
            if score > best_score:
                best, best_score, waited = copy.deepcopy(method.state_dict()), score, 0
        record["seconds"] = round(time.perf_counter() - start, 3)
        on_epoch(record)
        if settings.patience and waited >= settings.patience:
            break
    if best is not None:
        method.load_state_dict(best)


def _rate(step: int, n_steps: int, warmup: float) -> float:
    n_warm = max(1, round(warmup * n_steps))
    if step < n_warm:
        return (step + 1) / n_warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - n_warm) / max(1, n_steps - n_warm))))


def _dev_uar(method, stage, utterances, plan, accelerator) -> float:
    """Mean over the corpora in dev of their UAR."""
    predicted = probabilities(method, utterances, plan.dev, plan.enrolment).argmax(axis=1)
    truth = utterances.emotion[plan.dev]
    corpora = utterances.corpus.table["corpus"].to_numpy()[plan.dev]
    return float(np.mean([uar(truth[corpora == name], predicted[corpora == name]) for name in np.unique(corpora)]))


def _dev_loss(method, stage, utterances, plan, accelerator) -> float:
    method.eval()
    total = 0.0
    with torch.inference_mode():
        for rows, enrolled in in_order(utterances, plan.dev, plan.enrolment, 8):
            terms = stage.loss(utterances.batch(rows, enrolled).to(accelerator.device))
            total += float(sum(terms.values())) * len(rows)
    return total / len(plan.dev)


_MONITORS = {"uar": _dev_uar, "loss": _dev_loss}

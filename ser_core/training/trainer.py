"""The only training loop: it runs the stages of any method, on one process or many, and goes on where it was stopped.

However a batch of pooled features is divided, among processes or into parts worked through in turn (`accumulate`), the step is
the same up to rounding: all draw the same batches and the same dropout, and each term is weighed by what its rows count.
(Methods that hear waveforms and draw noise of their own are neither divided nor shared; preparation.py refuses that.)
"""

import copy
import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from ser_core.data.batches import Batch, Utterances
from ser_core.data.sampling import SAMPLERS, in_order
from ser_core.encoders.base import autocast, choose_device, is_out_of_memory
from ser_core.encoders.text import TextEncoder
from ser_core.encoders.tuning import LearningEncoder
from ser_core.evaluation.gaps import mean_gaps
from ser_core.evaluation.performance import ccc_of_rated, uar
from ser_core.inference.predict import Answers, answers
from ser_core.methods.base import Method, Preparation, Stage
from ser_core.nn.dropout import Share, share_of_batch
from ser_core.recipe import TrainingSettings
from ser_core.training.states import State, States

logger = logging.getLogger("attune")

Epoch = dict[str, Any]
"""stage, epoch, the named losses, dev_<monitor>, seconds, waited_for_data_s."""


@dataclass(frozen=True)
class Plan:
    """Which rows train, which choose the epoch, and who is enrolled with what.

    Attributes:
        train: rows that may be training targets.
        dev: rows that may be dev targets; empty keeps the last epoch.
        test: rows that are predicted afterwards; training never looks at them.
        enrolment: rows of each speaker's fixed enrolment; never among the targets.
        unlabelled: rows that may be heard in training without their labels; those of test speakers, and of the corpus that is
            tested on (data.target), are among them only where a recipe says so (data.transductive).
        target: rows of the corpus that is adapted to (data.target), of speakers who are not tested; heard without emotions.
    """

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray
    enrolment: Mapping[str, np.ndarray]
    unlabelled: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    target: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def mixed(self) -> np.ndarray:
        """Rows that are learned from, and those of the corpus that is adapted to."""
        return np.concatenate([self.train, self.target])


@dataclass(frozen=True)
class Watch:
    """What goes on around a training.

    Attributes:
        on_epoch: told of every epoch.
        on_restored: told of every epoch before a resume, once it goes on.
        on_batch: told the epoch, counted from 1 over all stages, how many there are at most, and the share of it that is done.
        should_stop: asked between batches; the training then saves its state and raises `Stopped`.
        states: where it stands, saved after every epoch and after `save_every_s` within one; None saves nothing.
    """

    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    on_restored: Callable[[Epoch], None] = lambda epoch: None
    on_batch: Callable[[int, int, float], None] = lambda epoch, n_epochs, share: None
    should_stop: Callable[[], bool] = lambda: False
    states: States | None = None
    save_every_s: float = 300.0


class TrainingDiverged(ValueError):
    """The loss is no longer a number."""


class Stopped(ValueError):
    """Somebody asked to stop; the state is saved."""


def fit(
    method: Method,
    utterances: Utterances,
    plan: Plan,
    settings: TrainingSettings,
    seed: int,
    device: str = "auto",
    watch: Watch | None = None,
    learning: LearningEncoder | None = None,
    reading: LearningEncoder | None = None,
) -> Utterances:
    """Train a method in place, stage after stage; each stage ends with its best epoch on dev.

    Returns the utterances as the last stage's preparation left them.

    Args:
        method: built, not yet trained.
        utterances: features or waveforms of the corpus.
        plan: which rows do what.
        settings: how much.
        seed: of initial order, dropout and augmentation; the caller seeds the weights (`seeded`).
        device: 'auto', or as torch names it.
        watch: who is told, who may stop it, and where its state is kept.
        learning: the encoder, where it learns as well (in place); the method then hears what it hears.
        reading: the encoder of text, where it learns as well.

    Raises:
        TrainingDiverged: the loss became nan or infinite.
        Stopped: it was asked to.
        DamagedState: a state is there and cannot be read.
    """
    training = _Training(method, utterances, plan, settings, seed, device, watch or Watch(), learning, reading)
    return training.run()


def accelerator_for(device: str) -> Accelerator:
    """On the device named; bfloat16 where it is CUDA; with the other processes where torchrun started several.

    Raises:
        DeviceUnavailable: the device is not here.
    """
    chosen = choose_device(device)
    some_unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    precision = "bf16" if chosen.type == "cuda" else "no"
    return Accelerator(cpu=chosen.type == "cpu", mixed_precision=precision, kwargs_handlers=[some_unused])


def agreed(accelerator: Accelerator, here: bool) -> bool:
    """What the first process says, known to all."""
    return here if accelerator.num_processes == 1 else bool(broadcast_object_list([here])[0])


def seeded(seed: int) -> None:
    """Seed every source of chance there is."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries may draw from it
    torch.manual_seed(seed)


def hear(
    pooled: Callable[[tuple[Tensor, ...], Tensor], Tensor],
    utterances: Utterances,
    rows: np.ndarray,
    accelerator: Accelerator,
    between: Callable[[], None] = lambda: None,
) -> Utterances:
    """The utterances with some rows as the encoder hears them now; processes share the work.

    Args:
        pooled: from waveforms and the numbers of who speaks them to pooled layers, (B, L, 2 D), on the accelerator's device.
        utterances: with the features it had before, maybe another encoder's: then those not heard anew are lost.
        rows: which are heard anew.
        accelerator: of this process.
        between: called between recordings, as often in every process; may raise to stop.
    """
    size = 1 if accelerator.device.type == "cpu" else 32  # on a CPU padding costs time
    mine = rows[accelerator.process_index :: accelerator.num_processes]
    parts: list[tuple[np.ndarray, Tensor]] = []
    with torch.inference_mode(), autocast(accelerator.device):
        for start in range(0, math.ceil(len(rows) / accelerator.num_processes), size):
            between()
            some = mine[start : start + size]
            if len(some) == 0:
                continue
            speaker = torch.from_numpy(utterances.speaker[some]).to(accelerator.device)
            heard = pooled(tuple(utterances.waveform(int(row)).to(accelerator.device) for row in some), speaker)
            parts.append((some, heard.cpu()))
    features = utterances.features.clone()
    for some, heard in gather_object(parts):
        if features.shape[1:] != heard.shape[1:]:
            features = heard.new_zeros(len(features), *heard.shape[1:])
        features[torch.from_numpy(some)] = heard
    return replace(utterances, features=features)


def read_anew(encoder: TextEncoder, utterances: Utterances, needed: np.ndarray | None = None) -> Utterances:
    """The utterances with their sentences (those `needed`, or all) as an encoder of text reads them now."""
    texts = utterances.texts
    rows = np.arange(len(texts.sentences)) if needed is None else needed
    features = texts.features.clone()
    with torch.inference_mode(), autocast(encoder.device):
        for start in range(0, len(rows), 64):
            some = rows[start : start + 64]
            features[torch.from_numpy(some)] = (
                encoder.pooled([texts.sentences[row] for row in some]).to(features.dtype).cpu()
            )
    return replace(utterances, texts=replace(texts, features=features))


class _Network(nn.Module):
    """What learns, as one module, so that processes can agree on its gradients."""

    def __init__(self, method: Method, learning: LearningEncoder | None, reading: LearningEncoder | None):
        super().__init__()
        self.method = method
        self.learning = learning
        self.reading = reading

    def forward(self, stage: Stage, batch: Batch) -> dict[str, Tensor]:
        if stage.encoder == "inside":
            return dict(stage.loss(batch, self.learning.encoder))
        if self.learning is not None and stage.encoder == "pools":
            batch = batch.heard(self.method.pooled(self.learning.encoder, batch.waveforms, batch.speaker))
        if self.reading is not None:
            batch = batch.read(self.reading(batch.sentences))
        return dict(stage.loss(batch))


@dataclass
class _Position:
    """How far a training is.

    Attributes:
        stage, epoch, n_done: the stage, the epoch in it, and the batches done in that, counted from 0.
        best_score, waited: of the stage, and epochs since.
        sums, n_seen: of the losses of the epoch so far.
        order: state of the generator that draws, at the start of the epoch.
        seconds: spent on the epoch so far.
        records: of all epochs so far.
        finished: nothing is left to do.
    """

    stage: int = 0
    epoch: int = 0
    n_done: int = 0
    best_score: float | None = None
    waited: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    n_seen: int = 0
    order: dict | None = None
    seconds: float = 0.0
    records: list[Epoch] = field(default_factory=list)
    finished: bool = False


@dataclass(frozen=True)
class _Part:
    """What this process works through at once.

    Attributes:
        batch: what is heard.
        rows: of the targets; none where the batch is only there to keep step with the other processes.
        share: which rows of the whole step they are; None for all of them.
    """

    batch: Batch
    rows: np.ndarray
    share: Share | None


@dataclass(frozen=True)
class _Step:
    """A step of the optimiser: the rows of all processes together, this process's parts, and what they were made of."""

    rows: np.ndarray
    parts: tuple[_Part, ...]
    drawn: tuple


class _Training:
    def __init__(self, method, utterances, plan, settings, seed, device, watch: Watch, learning, reading):
        self.method, self.utterances, self.plan, self.settings = method, utterances, plan, settings
        self.watch, self.learning, self.reading = watch, learning, reading
        self.asked = settings
        self.accelerator = accelerator_for(device)
        self.rng = np.random.default_rng(seed)  # who is drawn when
        method.rng = np.random.default_rng([seed, 1])  # augmentation
        self.at = _Position()
        self.best: dict[str, Tensor] | None = None
        self.start: dict[str, Tensor] = {}  # of the stage, where it has a preparation: a resume prepares from them
        self.optimiser: torch.optim.Optimizer | None = None
        self.saved_at = time.monotonic()

    def run(self) -> Utterances:
        state = self.watch.states.latest() if self.watch.states else None
        self.method.fit_statistics(self.utterances, self.plan.train)
        self.network = self.accelerator.prepare(_Network(self.method, self.learning, self.reading))
        if state:
            self._restore(state)
        try:
            for place, stage in enumerate(self.method.stages()):
                if place == self.at.stage and not self.at.finished:
                    self._run_stage(stage, state)
                    state = None
            if state:  # nothing was left to do, but what the last stage heard is wanted
                self._prepare(self.method.stages()[-1], state)
        except Stopped:
            self._save()
            raise
        if not self.at.finished:
            self.at.finished = True
            self._save()
        for encoder in self._encoders().values():
            encoder.to("cpu")
        self.method.to("cpu").eval()
        return self.utterances

    def _run_stage(self, stage: Stage, state: State | None) -> None:
        self.settings = replace(self.asked, **stage.training)
        self._prepare(stage, state)
        self.optimiser = self.accelerator.prepare(self._optimiser())
        if state:
            self._restore_optimiser(state)
        while self.at.epoch < self.settings.epochs and not self._out_of_patience():
            self._run_epoch(stage)
        if self.best is not None:
            self._load_weights(self.best)
        self.best, self.optimiser = None, None
        if self.at.stage + 1 < len(self.method.stages()):
            self.start = {}
        self.at = _Position(self.at.stage + 1, records=self.at.records)
        self._save()

    def _prepare(self, stage: Stage, state: State | None) -> None:
        """With the weights that the stage began with, also after a resume within it."""
        if stage.prepare is None:
            return
        now = self._weights()
        if state and self.start:
            self._load_weights(self.start)
        start = self._weights()
        try:
            self.utterances = stage.prepare(self._preparation())
        except Stopped:
            self._load_weights(now)
            raise
        if state and self.start:
            self._load_weights(now)
        self.start = start

    def _preparation(self) -> Preparation:
        encoder, rows = self.learning.encoder if self.learning else None, np.arange(len(self.utterances.corpus))

        def heard() -> Utterances:
            if encoder is None:
                return self.utterances
            pooled = partial(self.method.pooled, encoder)
            return hear(pooled, self.utterances, rows, self.accelerator, self._check_stop)

        plan = self.plan
        return Preparation(
            self.utterances, plan.train, plan.test, plan.unlabelled, plan.target, encoder, heard, self._check_stop
        )

    def _out_of_patience(self) -> bool:
        return 0 < self.settings.patience <= self.at.waited

    def _run_epoch(self, stage: Stage) -> None:
        draws = self._draws(stage)
        self.method.train()
        start, waited_s = time.perf_counter() - self.at.seconds, 0.0
        for step, seconds in self._steps(stage, draws[self.at.n_done :]):
            self._take(stage, step, self._rate(len(draws)), self._progress(len(draws)))
            waited_s += seconds
            self.at.n_done += 1
            self.at.n_seen += len(step.rows)
            self.at.seconds = time.perf_counter() - start
            n_epochs = sum({"epochs": self.asked.epochs, **one.training}["epochs"] for one in self.method.stages())
            self.watch.on_batch(len(self.at.records) + 1, n_epochs, self.at.n_done / len(draws))
            if agreed(self.accelerator, time.monotonic() - self.saved_at > self.watch.save_every_s):
                self._save()
        record: Epoch = {"stage": stage.name, "epoch": self.at.epoch + 1, **self._losses(stage)}
        if len(self.plan.dev) and stage.monitor != "nothing":
            value = _MONITORS[stage.monitor](self, stage)
            record[f"dev_{stage.monitor}"] = value
            self._keep_best(-value if stage.monitor == "loss" else value)
        if len(self.plan.target):
            record |= _gaps(self, stage, self.plan.dev, "dev", ("sp", "eo"))
            record |= _gaps(self, stage, self.plan.target, "target", ("sp",))  # ΔEO needs emotions, and there are none
        record |= {"seconds": round(time.perf_counter() - start, 3), "waited_for_data_s": round(waited_s, 3)}
        self.at = _Position(
            self.at.stage, self.at.epoch + 1, best_score=self.at.best_score, waited=self.at.waited,
            records=[*self.at.records, record],
        )  # fmt: skip
        self._save()
        self.watch.on_epoch(record)

    def _draws(self, stage: Stage) -> list[tuple[np.ndarray, list[np.ndarray], np.ndarray | None]]:
        """The epoch's batches; the same again after a resume within it."""
        if self.at.order is not None:
            self.rng.bit_generator.state = self.at.order
        self.at.order = copy.deepcopy(self.rng.bit_generator.state)
        sampler = SAMPLERS[stage.batches]
        drawn = getattr(self.plan, stage.rows)
        rows = sampler(
            self.utterances, drawn, self.plan.enrolment, self.settings.batch_size, self.rng, **stage.sampling
        )
        said = self.utterances.texts.draw if self.method.text_shape else lambda targets, rng: None
        if self.method.uses_enrolment:
            return [(targets, enrolled, said(targets, self.rng)) for targets, enrolled in rows]
        return [(targets, [_NOBODY] * len(targets), said(targets, self.rng)) for targets, _ in rows]

    def _steps(self, stage: Stage, draws: Sequence) -> Iterator[tuple[_Step, float]]:
        """Steps, the next one read while this one is learned from, and how long each had to be waited for, in seconds."""
        if not draws:  # stopped while dev was looked at: the epoch itself is done
            return
        with ThreadPoolExecutor(1, "read-ahead") as reader:
            coming = [reader.submit(self._step, stage, *draw) for draw in draws[:1]]
            for following in [*draws[1:], None]:
                start = time.perf_counter()
                step = coming.pop().result()
                waited_s = time.perf_counter() - start
                if following is not None:
                    coming.append(reader.submit(self._step, stage, *following))
                yield step, waited_s

    def _step(self, stage: Stage, rows: np.ndarray, enrolled: list[np.ndarray], said: np.ndarray | None) -> _Step:
        """A batch, divided among processes and parts."""
        n_here, waveforms = self.settings.accumulate, self.learning is not None and stage.encoder != "rests"
        n_slots = max(1, max(len(slots) for slots in enrolled))
        places = np.array_split(np.arange(len(rows)), n_here * self.accelerator.num_processes)
        parts = []
        for mine in places[self.accelerator.process_index * n_here :][:n_here]:
            there = mine if len(mine) else np.zeros(1, dtype=np.int64)
            words = None if said is None else said[there]
            batch = self.utterances.batch(rows[there], [enrolled[place] for place in there], n_slots, waveforms, words)
            share = Share(int(there[0]), int(there[-1]) + 1, len(rows)) if len(places) > 1 else None
            parts.append(_Part(batch, rows[mine], share))
        return _Step(rows, tuple(parts), (rows, enrolled, said))

    def _take(self, stage: Stage, step: _Step, rate: float, progress: float) -> None:
        """One step of the optimiser, at a share of the full learning rate; `progress` is the share of the stage done."""
        for group, full in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * full
        self.method.progress = progress
        chance, noise = _chance(self.accelerator.device), copy.deepcopy(self.method.rng.bit_generator.state)
        while (sums := self._gradients(stage, step, chance)) is None:
            self.optimiser.zero_grad()
            self.method.rng.bit_generator.state = noise
            step = self._in_smaller_parts(stage, step)
        self.accelerator.clip_grad_norm_(self._learned(), self.settings.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.at.sums = sums

    def _gradients(self, stage: Stage, step: _Step, chance: Mapping[str, Tensor]) -> dict[str, float] | None:
        """Those of a step, part after part, and the sums of the losses with it; None where memory ended on the way."""
        device, n_processes, sums = self.accelerator.device, self.accelerator.num_processes, dict(self.at.sums)
        for place, part in enumerate(step.parts):
            _set_chance(chance, device)
            self._check_stop()
            is_last = place == len(step.parts) - 1
            together = nullcontext() if is_last else self.accelerator.no_sync(self.network)
            try:
                with together, share_of_batch(part.share) if part.share else nullcontext():
                    terms = self.network(stage, part.batch.to(device))
                    weighed = {name: term * self._weight(stage, name, part, step) for name, term in terms.items()}
                    self.accelerator.backward(
                        sum(weighed.values()) * n_processes
                    )  # gradients are averaged over processes
            except (RuntimeError, MemoryError) as error:
                if not (is_out_of_memory(error) and self._can_divide(stage, step)):
                    raise
                return None
            for name, term in weighed.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach()) * len(step.rows)
        return sums

    def _can_divide(self, stage: Stage, step: _Step) -> bool:
        """Whether the step comes to the same in more parts, and nobody else has to know."""
        alone = self.accelerator.num_processes == 1 and self.utterances.features is not None
        return alone and not stage.whole and len(step.parts) < len(step.rows)

    def _in_smaller_parts(self, stage: Stage, step: _Step) -> _Step:
        """The same step again, and all after it, with twice as many parts."""
        if self.accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
        n_parts = min(2 * len(step.parts), len(step.rows))
        if n_parts > self.settings.accumulate:
            logger.warning("memory is short: going on with training.accumulate=%d, which changes no result", n_parts)
            self.settings, self.asked = (replace(one, accumulate=n_parts) for one in (self.settings, self.asked))
        return self._step(stage, *step.drawn)

    def _weight(self, stage: Stage, term: str, part: _Part, step: _Step) -> float:
        """What a part counts in the step, 0 to 1."""
        if term not in stage.counts:
            return len(part.rows) / len(step.rows)
        count = stage.counts[term]
        of_part, of_step = (float(count(self.utterances, rows).sum()) for rows in (part.rows, step.rows))
        return of_part / of_step if of_step else 0.0

    def _progress(self, n_steps: int) -> float:
        """Share of the stage that is done, 0 to 1."""
        return (self.at.epoch * n_steps + self.at.n_done) / (self.settings.epochs * n_steps)

    def _rate(self, n_steps: int) -> float:
        """Share of the full learning rate for the next step."""
        step, n_all = self.at.epoch * n_steps + self.at.n_done, self.settings.epochs * n_steps
        n_warm = max(1, round(self.settings.warmup * n_all))
        if step < n_warm:
            return (step + 1) / n_warm
        return _SCHEDULES[self.settings.schedule](min(1.0, (step - n_warm) / max(1, n_all - n_warm)))

    def _losses(self, stage: Stage) -> Epoch:
        """Mean of each term over the epoch, of all processes."""
        names = sorted(self.at.sums)
        sums = torch.tensor([self.at.sums[name] for name in names], device=self.accelerator.device)
        means = (self.accelerator.reduce(sums, "sum") / self.at.n_seen).tolist()
        losses = dict(zip(names, means, strict=True))
        if not all(math.isfinite(value) for value in losses.values()):
            raise TrainingDiverged(
                f"stage {stage.name}, epoch {self.at.epoch + 1}: the loss is {losses}; lower the learning rate"
            )
        return losses

    def _keep_best(self, score: float) -> None:
        self.at.waited += 1
        if self.at.best_score is None or score > self.at.best_score:
            self.best, self.at.best_score, self.at.waited = self._weights(), score, 0

    def _check_stop(self) -> None:
        if agreed(self.accelerator, self.watch.should_stop()):
            raise Stopped("stopped; it can be resumed")

    def dev_answers(self, stage: Stage) -> Answers:
        """About the dev targets."""
        return self.answers_about(self.plan.dev, stage)

    def answers_about(self, asked: np.ndarray, stage: Stage) -> Answers:
        """About some rows, as the method and the encoders are now; processes share the work."""
        plan, utterances = self.plan, self.utterances
        if self.reading is not None:
            needed = np.unique(utterances.texts.row[asked])
            utterances = read_anew(self.reading.encoder, utterances, needed[needed >= 0])
        if self.learning is not None and stage.encoder != "rests":
            enrolled = [
                plan.enrolment[one] for one in {*utterances.corpus.table["speaker"].iloc[asked]} & {*plan.enrolment}
            ]
            rows = np.unique(np.concatenate([asked, *enrolled]))
            encoder = self.learning.encoder
            utterances = hear(
                partial(self.method.pooled, encoder), utterances, rows, self.accelerator, self._check_stop
            )
        rank, n_processes = self.accelerator.process_index, self.accelerator.num_processes
        mine = answers(self.method, utterances, asked[rank::n_processes], plan.enrolment)
        if n_processes == 1:
            return mine
        whole = {name: np.empty((len(asked), part.shape[1]), part.dtype) for name, part in vars(mine).items()}
        for place, theirs in gather_object([(rank, mine)]):
            for name, part in vars(theirs).items():
                whole[name][place::n_processes] = part
        return Answers(**whole)

    def _encoders(self) -> dict[str, LearningEncoder]:
        """Those that learn, by the beginning of their weights' names in a state."""
        both = {"encoder.": self.learning, "text.": self.reading}
        return {prefix: encoder for prefix, encoder in both.items() if encoder is not None}

    def _optimiser(self) -> torch.optim.Optimizer:
        groups = [{"params": [weight for weight in self.method.parameters() if weight.requires_grad]}]
        self.rates = [self.settings.learning_rate]
        for encoder in self._encoders().values():
            groups.append({"params": list(encoder.learned().values())})
            self.rates.append(encoder.rate)
        return torch.optim.AdamW(groups, lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay)

    def _learned(self) -> list[Tensor]:
        return [weight for group in self.optimiser.param_groups for weight in group["params"]]

    def _weights(self) -> dict[str, Tensor]:
        """Copies of everything that a training changes."""
        weights = {f"method.{name}": tensor.detach().clone() for name, tensor in self.method.state_dict().items()}
        for prefix, encoder in self._encoders().items():
            weights |= {f"{prefix}{name}": tensor for name, tensor in encoder.state().items()}
        return weights

    def _load_weights(self, weights: Mapping[str, Tensor]) -> None:
        self.method.load_state_dict(_below(weights, "method."))
        for prefix, encoder in self._encoders().items():
            encoder.load_state(_below(weights, prefix))

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if self.watch.states is None or not self.accelerator.is_main_process:
            return
        tensors = {f"last.{name}": tensor for name, tensor in self._weights().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in (self.best or {}).items()}
        tensors |= {f"start.{name}": tensor for name, tensor in self.start.items()}
        if not self.at.finished and self.optimiser is not None:
            for place, values in self.optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{place}.{name}": tensor for name, tensor in values.items()}
        tensors |= {f"chance.{name}": state for name, state in _chance(self.accelerator.device).items()}
        generators = {name: rng.bit_generator.state for name, rng in self._generators().items()}
        self.watch.states.save(tensors, {"at": asdict(self.at), "generators": generators})

    def _restore(self, state: State) -> None:
        self.at = _Position(**state.content["at"])
        self._load_weights(_below(state.tensors, "last."))
        self.best = _below(state.tensors, "best.") or None
        self.start = _below(state.tensors, "start.")
        for name, rng in self._generators().items():
            rng.bit_generator.state = state.content["generators"][name]
        _set_chance(_below(state.tensors, "chance."), self.accelerator.device)
        for record in self.at.records:
            self.watch.on_restored(record)

    def _restore_optimiser(self, state: State) -> None:
        values: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below(state.tensors, "optimiser.").items():
            place, _, key = name.partition(".")
            values.setdefault(int(place), {})[key] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": values})

    def _generators(self) -> dict[str, np.random.Generator]:
        return {"order": self.rng, "augmentation": self.method.rng}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _chance(device: torch.device) -> dict[str, Tensor]:
    """State of torch's generators."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _set_chance(state: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


_SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda share: 0.5 * (1 + math.cos(math.pi * share)),
    "linear": lambda share: 1 - share,
    "constant": lambda share: 1.0,
}


def _dev_uar(training: _Training, stage: Stage) -> float:
    """Mean over the corpora in dev of their UAR."""
    utterances, dev = training.utterances, training.plan.dev
    predicted = training.dev_answers(stage).probability.argmax(axis=1)
    truth, corpora = utterances.emotion[dev], utterances.corpus.table["corpus"].to_numpy()[dev]
    return float(np.mean([uar(truth[corpora == name], predicted[corpora == name]) for name in np.unique(corpora)]))


def _dev_ccc(training: _Training, stage: Stage) -> float:
    """Mean over the attributes that are learned of their CCC on the dev targets; −1 where none is defined."""
    said, rated = training.dev_answers(stage).attributes, training.utterances.attributes[training.plan.dev]
    values = [ccc_of_rated(rated[:, place], said[:, place]) for place in range(rated.shape[1])]
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else -1.0


def _dev_loss(training: _Training, stage: Stage) -> float:
    """Mean over the dev targets; every process computes all of it."""
    utterances, plan = training.utterances, training.plan
    training.method.eval()
    total = 0.0
    with torch.inference_mode():
        for rows, _ in in_order(utterances, plan.dev, plan.enrolment, 8):
            training._check_stop()
            terms = stage.loss(utterances.batch(rows, [_NOBODY] * len(rows)).to(training.accelerator.device))
            total += float(sum(terms.values())) * len(rows)
    return total / len(plan.dev)


def _gaps(training: _Training, stage: Stage, rows: np.ndarray, where: str, kinds: tuple[str, ...]) -> Epoch:
    """Mean differences between groups on some rows; nothing where there are no two groups."""
    utterances = training.utterances
    said, group = training.answers_about(rows, stage).probability.argmax(axis=1), utterances.group[rows]
    known = group >= 0
    gaps = mean_gaps(utterances.emotion[rows][known], said[known], group[known], len(utterances.emotions))
    return {f"{where}_delta_{kind}": gaps[kind] for kind in kinds if math.isfinite(gaps[kind])}


_NOBODY = np.empty(0, dtype=np.int64)

_MONITORS: dict[str, Callable[[_Training, Stage], float]] = {"uar": _dev_uar, "ccc": _dev_ccc, "loss": _dev_loss}

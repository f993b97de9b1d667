"""One recipe in, one run folder out.

recipe.json      what was asked, fully resolved, with versions, commit, seed and the speakers of each role
status.json      state, heartbeat, progress; the error in words
metrics.jsonl    one line an epoch and method
state/           where each method's training stands (training/states.py)
checkpoint/      a model's folder (inference/models.py), once all is trained
predictions.csv  of the test speakers; with report.json, report.html and table.md
log.txt          what was said
"""

import json
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import Corpus
from ser_core.data.tables import to_json, write_json
from ser_core.data.whole import UNFINISHED, disk_trouble, push_to_disk, replaced
from ser_core.encoders import ENCODERS
from ser_core.encoders.base import SpeechEncoder, is_out_of_memory
from ser_core.encoders.convolved import Convolved
from ser_core.evaluation.predictions import Predictions, check_predictions
from ser_core.evaluation.report import Report, make_report
from ser_core.evaluation.summary import sentence_column
from ser_core.figures.report_page import write_report
from ser_core.inference.models import ModelInfo, Reader, write_model
from ser_core.inference.predict import Trained
from ser_core.inference.test_set import corpus_hash
from ser_core.methods import METHODS
from ser_core.methods.base import Method, Stage
from ser_core.methods.checkpoint import save_method
from ser_core.recipe import BadRecipe, Recipe
from ser_core.training.card import run_card
from ser_core.training.certainty import described_certainty, learn_certainty
from ser_core.training.hearing import embedded
from ser_core.training.preparation import (
    Prepared,
    build_method,
    class_set,
    make_plan,
    on_tuned_encoder,
    prepare,
    train_method,
)
from ser_core.training.provenance import provenance
from ser_core.training.scalars import Scalars
from ser_core.training.states import States
from ser_core.training.status import Reporter, read_status, try_device
from ser_core.training.trainer import Epoch, Stopped, Watch, accelerator_for, agreed
from ser_core.training.words import Words
from ser_core.weights import WEIGHTS, find_folder
from ser_core.workspace import Workspace

_BEFORE_IT_BEGINS = {"log.txt", "order.json", "lock", "status.json", "stop"}
"""Files that stand in a run folder before recipe.json does."""


class FolderInUse(ValueError):
    """The output folder holds something already."""


class AnotherRun(ValueError):
    """The output folder holds the run of another recipe, seed or corpus."""


@dataclass(frozen=True)
class Asked:
    """How a run is to be made, beside its recipe.

    Attributes:
        seed: of everything.
        device: 'auto', or as torch names it.
        resume: go on in a folder where a run stands already; start afresh where none does.
        tensorboard: write the scalars as TensorBoard files as well.
        order: what the person typed or chose, for recipe.json.
    """

    seed: int = 0
    device: str = "auto"
    resume: bool = False
    tensorboard: bool = False
    order: dict | None = None


def train(
    recipe: Recipe,
    corpus: Corpus,
    folder: Path,
    workspace: Workspace,
    asked: Asked | None = None,
    say: Callable[[str], None] = print,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train a recipe on a corpus into a run folder, or go on with it; the first process alone writes.

    Returns:
        False where it was stopped; the run can then be resumed.

    Raises:
        BadRecipe, BadCorpus, LeakingSplit, EncoderUnavailable, FolderInUse, AnotherRun, DamagedState, RunIsActive: before
            anything is written.
        UnreadableUtterances, TrainingDiverged, OSError …: after status.json says so.
    """
    asked = asked or Asked()
    accelerator = accelerator_for(asked.device)
    prepared = prepare(recipe, corpus, workspace, asked.seed)
    is_first = accelerator.is_main_process
    if prepared.encoder is None and accelerator.num_processes > 1:
        raise BadRecipe(f"'{recipe.name}' trains an encoder of its own: start it as one process")
    if is_first and asked.resume and not (folder / "recipe.json").exists():
        say(f"there is no run to go on with in '{folder.name}': it starts afresh")
    if accelerator.num_processes > 1 and any(stage.whole for stage in _stages(prepared)):
        raise BadRecipe(
            f"'{recipe.name}': a loss of it (CCC, pairs, or a difference between groups) is taken over a whole batch; start it as one "
            f"process"
        )
    if agreed(accelerator, is_first and _has_finished(folder, prepared, asked)):
        say(f"the run in '{folder.name}' has finished already")
        return True
    if not is_first:
        return _Run(prepared, folder, workspace, asked, lambda line: None, None).go(should_stop)
    for problem in prepared.corpus.problems:
        say(f"note: {problem}")
    folder.mkdir(parents=True, exist_ok=True)
    reporter = Reporter(folder, accelerator.device.type)
    with reporter.beating():
        return _reported(_Run(prepared, folder, workspace, asked, say, reporter), reporter, say, should_stop)


def _stages(prepared: Prepared) -> list[Stage]:
    classes = class_set(prepared.corpus, prepared.recipes[0].data)
    methods = [build_method(recipe, prepared.encoder, classes, prepared.words) for recipe in prepared.recipes]
    return [stage for method in methods for stage in method.stages()]


def _reported(run: "_Run", reporter: Reporter, say: Callable[[str], None], should_stop: Callable[[], bool]) -> bool:
    """Run it, and say in status.json how it ended."""
    try:
        finished = run.go(lambda: should_stop() or (run.folder / "stop").exists())
    except BaseException as error:
        foreseen = isinstance(error, (ValueError, OSError)) and type(error) is not ValueError
        if not foreseen:
            say(traceback.format_exc())
        reporter.say(state="failed", error=_in_words(error), eta_s=None)
        raise
    words = "finished" if finished else "stopped; it can be resumed"
    reporter.say(state="finished" if finished else "stopped", words=words, eta_s=None)
    say(words)
    return finished


def _in_words(error: BaseException) -> str:
    if is_out_of_memory(error):
        return (
            "out of memory, also for the smallest part of a batch: resume on the terminal with --device cpu, or start a new run "
            "with a smaller training.batch_size, or one that tunes less of the encoder"
        )
    if trouble := disk_trouble(error):
        return trouble
    return " ".join(str(error).split()) or type(error).__name__


def _has_finished(folder: Path, prepared: Prepared, asked: Asked) -> bool:
    """Whether nothing is left to do in the folder; checks that it may be used.

    Raises:
        FolderInUse, AnotherRun, DamagedState: it may not.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return False
    if not asked.resume:
        raise FolderInUse(
            f"the output folder '{folder.name}' is not empty; name another one, or add --resume to go on with the run in it"
        )
    _check_same(folder, prepared, asked)
    for recipe in prepared.recipes:
        States(folder / "state" / recipe.name).latest()
    status = read_status(folder)
    return status is not None and status.state == "finished"


def _check_same(folder: Path, prepared: Prepared, asked: Asked) -> None:
    try:
        before = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["identity"]
    except (OSError, ValueError, KeyError):
        if any(path.name not in _BEFORE_IT_BEGINS and path.suffix != UNFINISHED for path in folder.iterdir()):
            raise FolderInUse(f"'{folder.name}' holds files, but no run to go on with; name another folder") from None
        return
    now = json.loads(to_json(_identity(prepared, asked)))
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            raise AnotherRun(
                f"the run in '{folder.name}' is another one: {key} is {before.get(key)!r} there and {now.get(key)!r} here; "
                f"name another output folder, or ask for the same again"
            )


def _identity(prepared: Prepared, asked: Asked) -> dict[str, Any]:
    """All that decides the result."""
    flat = {"seed": asked.seed, "corpus": corpus_hash(prepared.corpus)[:16]}
    flat["encoder weights"] = prepared.encoder.fingerprint if prepared.encoder else "none"
    if prepared.voices and prepared.voices.encoder:
        flat["speaker encoder weights"] = prepared.voices.encoder.fingerprint
    for recipe in prepared.recipes:
        for part, values in recipe.without_paths().items():
            parts = values if isinstance(values, dict) else {"": values}
            flat |= {f"{recipe.name}: {part}{'.' if key else ''}{key}": value for key, value in parts.items()}
    return {key: value for key, value in flat.items() if not key.endswith("training.accumulate")}  # changes no result


class _Run:
    """One run on one process."""

    def __init__(
        self, prepared: Prepared, folder: Path, workspace: Workspace, asked: Asked, say, reporter: Reporter | None
    ):
        self.prepared, self.folder, self.workspace, self.asked = prepared, folder, workspace, asked
        self.say, self.reporter = say, reporter  # no reporter: not the first process
        self.accelerator = accelerator_for(asked.device)

    def go(self, should_stop: Callable[[], bool]) -> bool:
        """Everything, from the queue to the report; False where it was stopped."""
        lock = self._turn(should_stop)
        try:
            if agreed(self.accelerator, should_stop()):
                return False
            self._describe()
            self._train(should_stop)
        except Stopped:
            return False
        finally:
            if lock is not None:
                lock.release()
        return True

    def _turn(self, should_stop: Callable[[], bool]):
        """The device's lock, once it is this run's turn."""
        lock = None
        while not agreed(self.accelerator, lock is not None or should_stop()):  # in rounds: no process waits for long
            if self.reporter is not None:
                lock = try_device(self.workspace, self.reporter, self.accelerator.device.type)
            if lock is None:
                time.sleep(0.5)
        if self.reporter is not None and lock is not None:
            self.reporter.say(state="running", words="reading")
        return lock

    def _describe(self) -> None:
        path = self.folder / "recipe.json"
        if self.reporter is None or path.exists():  # a resumed run: it was checked to be the same
            return
        prepared, first = self.prepared, self.prepared.recipes[0]
        content = {
            **first.to_json(), "seed": self.asked.seed, "corpus": prepared.corpus.name, "order": self.asked.order,
            **prepared.speakers, "n_train_targets": prepared.n_targets("train"), "identity": _identity(prepared, self.asked), **provenance(),
        }  # fmt: skip
        write_json(path, content)
        push_to_disk(self.folder)

    def _train(self, should_stop: Callable[[], bool]) -> None:
        prepared, first = self.prepared, self.prepared.recipes[0]
        corpus, encoder = prepared.corpus, prepared.encoder

        def between(n_done: int) -> None:
            if agreed(self.accelerator, should_stop()):
                raise Stopped("stopped while listening")
            self._progress(f"listening: {n_done} of {len(corpus)} recordings", 0.0, None)

        utterances = embedded(
            corpus, class_set(corpus, first.data), encoder, self.workspace, self.asked.device, self.say, between
        )
        words = prepared.words
        if words is not None:
            read = words.read(utterances, self.workspace, self.asked.device, self.say)
            utterances = words.paired(read, prepared.dev, prepared.test, self.asked.seed)
        if prepared.voices is not None:
            utterances = prepared.voices.heard(utterances, self.workspace, self.asked.device, self.say, between)
        choice = first_of_each(corpus)
        trained: list[Trained] = []
        with self._scalars() as scalars:
            for place, recipe in enumerate(prepared.recipes):
                needs = METHODS[recipe.method].needs_labels
                plan = make_plan(
                    utterances, choice, prepared.dev, prepared.test, recipe.data, needs, (self.asked.seed,)
                )
                watch = self._watch(recipe, place, scalars, should_stop)
                recipe = recipe if place == 0 else on_tuned_encoder(recipe)
                learned = train_method(
                    recipe, utterances, plan, encoder, self.asked.seed, self.asked.device, watch, words=words
                )
                utterances, encoder, words = learned.utterances, learned.encoder, learned.words
                if prepared.recognises:
                    learn_certainty(learned.method, utterances, plan.dev, plan.enrolment)
                trained.append(Trained(recipe.name, learned.method, utterances, prepared.test, self.asked.seed))
        if self.reporter is not None:
            self._conclude(trained, choice, encoder, words)
        self.accelerator.wait_for_everyone()

    def _scalars(self):
        if self.reporter is None:
            return nullcontext(lambda record: None)
        return Scalars(self.folder, self.asked.tensorboard)

    def _watch(self, recipe: Recipe, place: int, scalars, should_stop: Callable[[], bool]) -> Watch:
        shares, clock = self._shares(), _Clock()

        def on_restored(record: Epoch) -> None:
            scalars({"method": recipe.name, **record})

        def on_epoch(record: Epoch) -> None:
            record = {"method": recipe.name, **record}
            scalars(record)
            self.say("  ".join(f"{key} {_short(value)}" for key, value in record.items()))

        def on_batch(epoch: int, n_epochs: int, share: float) -> None:
            done = (epoch - 1 + share) / n_epochs
            words = f"{recipe.name}: epoch {epoch} of {n_epochs}"
            wanted = sum(shares[place:]) / shares[place]
            self._progress(words, sum(shares[:place]) + done * shares[place], clock.left(done, wanted))

        return Watch(on_epoch, on_restored, on_batch, should_stop, States(self.folder / "state" / recipe.name))

    def _shares(self) -> list[float]:
        """How much of the work each method is: an encoder that learns takes nearly all of it."""
        n = len(self.prepared.recipes)
        if n == 1 or self.prepared.recipes[0].encoder.tune == "none":
            return [1 / n] * n
        return [0.98, *[0.02 / (n - 1)] * (n - 1)]

    def _progress(self, words: str, share: float, eta_s: float | None) -> None:
        if self.reporter is not None:
            self.reporter.progress(words, share, eta_s)

    def _conclude(
        self, trained: Sequence[Trained], choice: pd.DataFrame, encoder: SpeechEncoder | None, words: Words | None
    ) -> None:
        """Predictions of the test speakers, the report and the model's folder."""
        self._progress("predicting and counting", 1.0, None)
        if not self.prepared.recognises:
            _save_alone(trained[0].method, self.prepared.recipes[0], self.folder / "checkpoint")
            return
        report, predictions = _reported_predictions(trained, choice, self.prepared, self.asked)
        _write_model(self.folder, trained, self.prepared, encoder, words, report, predictions.table)
        write_report(report, predictions, self.folder)
        for name, model in report.models.items():
            self.say(f"{name}: UAR {model.uar:.3f} on {model.n_speakers} test speakers")


class _Clock:
    """How long something will take that has gone on since the first look."""

    def __init__(self):
        self.start: tuple[float, float] | None = None

    def left(self, done: float, wanted: float) -> float | None:
        """Seconds to go from `done` to `wanted` at the pace so far; None at the first look."""
        if self.start is None:
            self.start = (time.monotonic(), done)
            return None
        seconds, gained = time.monotonic() - self.start[0], done - self.start[1]
        return round((wanted - done) * seconds / gained, 1) if gained > 0 else None


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _reported_predictions(
    trained: Sequence[Trained], choice: pd.DataFrame, prepared: Prepared, asked: Asked
) -> tuple[Report, Predictions]:
    # what adapts is compared with what does not, which stands first
    tables = [
        one.predict(one.targets(choice), choice) for one in sorted(trained, key=lambda one: one.method.hears_target)
    ]
    predictions = pd.concat(tables, ignore_index=True)
    predictions = predictions.assign(sentence=sentence_column(predictions, choice)).dropna(axis=1, how="all")
    checked = check_predictions(predictions, prepared.recipes[0].name)
    checked = replace(checked, notes=(*prepared.corpus.problems, *checked.notes))
    configuration = {
        "recipes": [recipe.without_paths() for recipe in prepared.recipes],
        "corpus": {"name": prepared.corpus.name, "sha256 of its table": corpus_hash(prepared.corpus)},
        "enrolment": "the alphabetically first utterance of each emotion of a speaker (arXiv 2406.06665), never a target",
        **prepared.speakers, "seed": asked.seed, **provenance(),
    }  # fmt: skip
    return make_report(checked, None, None, prepared.verdict(), configuration), checked


def _save_alone(method: Method, recipe: Recipe, folder: Path) -> None:
    """A network that recognises nothing by itself, with the encoder that it has trained."""
    with replaced(folder) as temporary:
        save_method(method, recipe, temporary)


def _write_model(
    folder: Path,
    trained: Sequence[Trained],
    prepared: Prepared,
    encoder: SpeechEncoder,
    words: Words | None,
    report: Report,
    predictions: pd.DataFrame,
) -> None:
    """checkpoint/: a model as those that ship; the first method without enrolment is its baseline."""
    with replaced(folder / "checkpoint") as temporary:
        for one, recipe in zip(trained, prepared.recipes, strict=True):
            save_method(one.method, recipe, temporary / one.name)
        choice = prepared.recipes[0].encoder
        hearing = [one for one in trained if one.method.text_shape is None]
        info = ModelInfo(
            name=folder.name,
            folder=temporary,
            encoder=Convolved.name if choice.tune == "convolutions" else choice.name,
            source=_place_encoder(prepared.recipes[0], encoder, temporary),
            emotions=trained[0].method.emotions,
            baseline=next((one.name for one in hearing if not one.method.uses_enrolment), ""),
            personalisers=tuple(one.name for one in hearing if one.method.uses_enrolment),
            reader=_reader(trained, prepared, words, temporary),
        )
        write_model(info)
        data = {
            "corpora": sorted(prepared.corpus.table["corpus"].unique()),
            **prepared.speakers,
            "certainty": {
                one.name: described_certainty(one.method, predictions[predictions["method"] == one.name]) for one in trained
            },
        }  # fmt: skip
        content, notes = report.to_json(), [one.method.note for one in trained if one.method.note]
        write_json(temporary / "report.json", {**content, **data})
        (temporary / "README.md").write_text(
            run_card(info, content, prepared.recipes[0], data, notes), encoding="utf-8"
        )


def _reader(trained: Sequence[Trained], prepared: Prepared, words: Words | None, folder: Path) -> Reader | None:
    """The first method that reads, with its encoder of text in the model's folder where that has learned."""
    reads = [place for place, one in enumerate(trained) if one.method.text_shape is not None]
    if not reads or words is None:
        return None
    choice, corpus = prepared.recipes[reads[0]].text, prepared.corpus
    source = choice.source
    if choice.tune != "none" or Path(source).is_dir() and source:
        words.encoder.save(folder / "text")
        source = "text"
    scale = (corpus.attribute_range or ()) if getattr(trained[reads[0]].method, "rates", ()) else ()
    return Reader(trained[reads[0]].name, choice.name, source, scale, corpus.attributes_from if scale else "")


def _place_encoder(recipe: Recipe, encoder: SpeechEncoder, folder: Path) -> str:
    """The encoder goes into the model's folder where it has learned or lies in a folder; others are named by their hub id."""
    if recipe.encoder.tune != "none":
        encoder.save(folder / "encoder")
        return "encoder"
    source = recipe.encoder.source or ENCODERS[recipe.encoder.name][1]
    if not Path(source).expanduser().is_dir():  # a hub id: found again by it
        return source
    (folder / "encoder").mkdir()
    for path in [one for pattern in WEIGHTS for one in find_folder(source).glob(pattern)]:
        shutil.copy(path, folder / "encoder")
    return "encoder"

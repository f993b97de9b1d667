"""A part of the tab Train: runs that were started, here or from a terminal; watched, stopped, resumed, and what became of them."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_STORED, ZipFile

import gradio as gr

from ser_core.data.tables import to_csv
from ser_core.evaluation.predictions import read_predictions
from ser_core.figures import training
from ser_core.figures.style import empty
from ser_core.inference.models import forget_model, trained_models, use_model
from ser_core.training import jobs
from ser_core.training.jobs import CannotDo, Job, list_jobs
from ser_core.ui import fairness
from ser_core.ui.errors import for_people
from ser_core.ui.runs_shown import Watched, pieces, watched
from ser_core.ui.saving import SaveButton, picture_buttons
from ser_core.ui.services import Services
from ser_core.ui.test_sets import TestSet
from ser_core.ui.theme import safe

_ROOT = Path(__file__).resolve().parents[2]

LOOK_EVERY_S = 2.0
N_OUTPUTS = 20
"""How many components show runs."""

_RUN = 1
"""Place of the list of runs among them."""

FIGURES = {"dev": "How well the dev speakers are recognised", "losses": "Losses"}
GAPS = "How differently groups are answered"


class NoRunChosen(ValueError):
    """Something needs a run, and there is none."""


class NotThere(ValueError):
    """A run has no file of the kind yet."""


def as_test_set(job: Job) -> TestSet:
    """The test speakers of a finished run.

    Raises:
        NotThere: it has not finished.
        BadPredictions: its table was changed by hand, and cannot be evaluated.
    """
    report = job.report()
    if report is None:
        raise NotThere("the report comes when the run has finished")
    predictions = read_predictions(job.folder / "predictions.csv")
    title = f"Test speakers of the run {job.name}, recognised by networks that never heard them"
    return TestSet(title, predictions, report.get("leaks") or {}, report.get("configuration") or {})


# what happens


def open_page(services: Services, *chosen) -> list:
    """The page has come, or somebody came to the tab, or chose something: everything anew."""
    return shown_page(watched(services, *chosen))


def shown_page(now: Watched) -> list:
    """Everything, and what was shown."""
    parts = pieces(now)
    return [*(part.make() for part in parts), tuple(part.key for part in parts)]


def look_again(services: Services, seen: tuple, *chosen) -> list:
    """The clock has ticked: only what has changed."""
    parts = pieces(watched(services, *chosen))
    keys = tuple(part.key for part in parts)
    if keys == seen:
        return [gr.skip()] * (len(parts) + 1)
    before = seen if len(seen or ()) == len(keys) else [None] * len(keys)
    made = [part.make() if part.key != old else gr.skip() for part, old in zip(parts, before, strict=True)]
    if chosen and chosen[0] and not isinstance(made[_RUN], dict):  # what is chosen stays: it may have changed meanwhile
        made[_RUN] = gr.Dropdown(choices=list(keys[_RUN][0]), interactive=True)
    return [*made, keys]


def first_look(services: Services) -> list:
    """The page has come: where there are runs they are what is shown."""
    now = watched(services)
    return [gr.Tabs(selected="runs") if now.listed else gr.skip(), *shown_page(now)]


def stop(services: Services, name: str, *chosen) -> list:
    """Stop the run; it can be resumed."""
    jobs.stop_job(_job(services, name))
    return open_page(services, name, *chosen)


def resume(services: Services, name: str, *chosen) -> list:
    """Go on with the run."""
    jobs.resume_job(_job(services, name), services.workspace)
    return open_page(services, name, *chosen)


def delete(services: Services, name: str, *chosen) -> list:
    """Delete the run; the one deleted before cannot be brought back any more."""
    job = _job(services, name)
    if not job.is_over:
        raise CannotDo(f"'{job.name}' is {job.state}; stop it first")
    jobs.empty_bin(services.workspace)
    jobs.delete_job(job)
    return open_page(services, None, *chosen)


def bring_back(services: Services, name: str, *chosen) -> list:
    """Undo the deletion."""
    deleted = watched(services).deleted
    restored = jobs.restore_job(deleted) if deleted else None
    return open_page(services, restored.name if restored else name, *chosen)


def show_report(services: Services, name: str) -> list:
    """The run's predictions, in the tab Fairness."""
    return [gr.Tabs(selected="fairness"), *fairness.opened_page(services, as_test_set(_job(services, name)))]


def use(services: Services, name: str, model: str) -> list:
    """The run's model becomes one of those that answer."""
    info = use_model(_job(services, name).folder, services.workspace, model.strip())
    words = (
        f"“{safe(info.name)}” is in the list of models now: choose it in the tabs Compare and Fairness, or with "
        f"<code>--model {safe(info.name)}</code> in a terminal."
    )
    return [f'<p class="pill good" role="status">{words}</p>', "", *_model_lists(services)]


def forget(services: Services, model: str | None) -> list:
    """A model that was trained here is no longer one of those that answer."""
    if not model:
        raise NoRunChosen("choose the model to forget first")
    forget_model(model, services.workspace)
    services.models.forget(model)
    words = f"“{safe(model)}” was taken off the list; its run, if it is still there, can put it back."
    return [f'<p class="pill good" role="status">{words}</p>', *_model_lists(services)]


def _model_lists(services: Services) -> list:
    """What the lists of models offer, in Compare, Fairness and here."""
    offered = [info.name for info in services.models.offered()]
    return [gr.Dropdown(choices=offered), gr.Dropdown(choices=offered, multiselect=True), *list_trained(services)]


def list_trained(services: Services) -> list:
    """Models that were trained here."""
    names = [info.name for info in trained_models(services.workspace)]
    return [gr.Dropdown(choices=names, value=None), gr.Row(visible=bool(names))]


def save_curves(services: Services, *chosen) -> str:
    """The numbers behind the curves."""
    now = watched(services, *chosen)
    return services.files.document(
        "curves.csv", to_csv(training.numbers({job.name: job.history() for job in now.compared}))
    )


def save_predictions(services: Services, name: str) -> str:
    """The run's predictions of its test speakers."""
    path = _job(services, name).folder / "predictions.csv"
    if not path.is_file():
        raise NotThere("predictions come when the run has finished")
    return services.files.document(f"{name}-predictions.csv", path.read_bytes())


def save_model(services: Services, name: str) -> str:
    """The run's model folder as an archive."""
    folder = _job(services, name).folder / "checkpoint"
    if not (folder / "model.json").is_file():
        raise NotThere("the model comes when the run has finished")
    return _zipped(services, folder, name)


def save_onnx(services: Services, name: str, progress=gr.Progress()) -> str:  # noqa: B008
    """The run's model as ONNX graphs, checked against torch; made by a process of its own."""
    folder = _job(services, name).folder / "checkpoint"
    if not (folder / "model.json").is_file():
        raise NotThere("the model comes when the run has finished")
    progress(0.0, desc="exporting, and checking against torch: about half a minute")
    with TemporaryDirectory(dir=services.workspace.temporary) as made:
        output = Path(made) / "onnx"
        said = ["models", "export", str(folder), "--output", str(output), "--workspace", str(services.workspace.root)]
        done = subprocess.run([sys.executable, "-m", "ser_core", *said], capture_output=True, text=True, cwd=_ROOT)
        if done.returncode:
            raise NotThere((done.stderr.strip().splitlines() or ["the export failed"])[-1].partition(": ")[2])
        return _zipped(services, output, f"{name}-onnx")


def _zipped(services: Services, folder: Path, name: str) -> str:
    archive = services.files.document(f"{name}.zip", b"")
    with ZipFile(archive, "w", ZIP_STORED) as zipped:  # weights cannot be made smaller
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            zipped.write(path, Path(name) / path.relative_to(folder))
    return archive


def _job(services: Services, name: str | None) -> Job:
    """
    Raises:
        NoRunChosen: there is none of that name.
    """
    found = next((job for job in list_jobs(services.workspace) if job.name == name), None)
    if found is None:
        raise NoRunChosen("that run is gone; choose another one")
    return found


# where it stands


class RunsPart:
    """The part laid out.

    Attributes:
        timer: reads the runs anew; it must stand outside of tabs that may be closed.
        chosen: components that say what is looked at.
        outputs: of `open_page` and of everything that gives the same.
    """

    def __init__(self, services: Services, timer: gr.Timer):
        """Lay it out."""
        self.seen = gr.State(())
        parts = self._parts = {"list": gr.HTML(elem_id="train-list")}
        with gr.Row(equal_height=False):
            parts["run"] = gr.Dropdown(
                [], value=None, label="Run", elem_id="train-run", interactive=False, min_width=260
            )
            parts["beside"] = gr.Dropdown(
                [],
                value=[],
                multiselect=True,
                label="Beside it",
                elem_id="train-beside",
                interactive=False,
                min_width=260,
            )
        parts["state"] = gr.HTML(elem_id="train-state")
        parts["progress"] = gr.HTML(elem_id="train-progress")
        with gr.Row(elem_classes="actions"):
            for name, words in (("stop", "Stop"), ("resume", "Resume"), ("delete", "Delete")):
                parts[name] = _small(words, f"train-{name}", 100)
            parts["bring_back"] = gr.Button(
                "", size="sm", elem_id="train-bring-back", scale=0, min_width=140, visible=False
            )
        self._curves()
        gr.HTML('<div class="step"><h2>Results</h2><p>Of the epoch whose weights are kept.</p></div>')
        parts["results"] = gr.HTML(elem_id="train-results")
        self._afterwards()
        with gr.Accordion("The end of the log", open=False, elem_id="train-log"):
            parts["log"] = gr.HTML()
        parts["command"] = gr.Textbox(
            label="The same from a terminal", interactive=False, elem_id="train-command", buttons=["copy"], lines=2
        )
        self.chosen = [parts["run"], parts["beside"], parts["smoothing"]]
        shown = ("list", "run", "beside", "state", "progress", "figure_dev", "figure_losses", "figure_gaps", "gaps", "results", "log", "command",
                 "stop", "resume", "delete", "bring_back", "report", "use")  # fmt: skip
        self.outputs = [*(parts[name] for name in shown), timer, self.seen]
        self._timer = timer

    def _curves(self) -> None:
        parts = self._parts
        for name, title in FIGURES.items():
            self._figure(name, title)
        with gr.Column(visible=False) as parts["gaps"]:
            self._figure("gaps", GAPS)
        with gr.Row(elem_classes="actions", equal_height=False):
            parts["smoothing"] = gr.Slider(
                0, 0.95, value=0, step=0.05, label="Smoothing of the curves", elem_id="train-smoothing", min_width=240
            )
            parts["save_curves"] = SaveButton("Save the numbers (CSV)", "train-curves-csv", 180)

    def _figure(self, name: str, title: str) -> None:
        gr.HTML(f'<div class="step"><h2>{title}</h2><p>{training.READING[name]}</p></div>')
        self._parts[f"figure_{name}"] = gr.Plot(
            empty("No run yet"),
            show_label=False,
            elem_id=f"train-figure-{name}",
            elem_classes="figure",
            container=False,
        )
        with gr.Row(elem_classes="actions"):
            picture_buttons(f"train-figure-{name}", f"attune-train-{name}")

    def _afterwards(self) -> None:
        parts = self._parts
        gr.HTML('<div class="step"><h2>When it has finished</h2></div>')
        with gr.Row(elem_classes="actions"):
            parts["report"] = gr.Button(
                "Show its fairness report", size="sm", elem_id="train-report", scale=0, min_width=200, interactive=False
            )
            parts["save_predictions"] = SaveButton("Save its predictions (CSV)", "train-predictions-csv", 200)
            parts["save_model"] = SaveButton("Save its model (ZIP)", "train-model-zip", 180)
            parts["save_onnx"] = SaveButton("Export it to ONNX (ZIP)", "train-onnx-zip", 190)
        with gr.Row(elem_classes="actions"):
            parts["model_name"] = gr.Textbox(
                label="Name for its model",
                placeholder="my-model",
                elem_id="train-model-name",
                min_width=220,
                max_length=60,
            )
            parts["use"] = _small("Use this model", "train-use", 140)
        parts["used"] = gr.HTML(elem_id="train-used")
        with gr.Row(elem_classes="actions", visible=False) as parts["of_trained"]:
            parts["trained"] = gr.Dropdown(
                [],
                value=None,
                label="Models that were trained here",
                elem_id="train-trained",
                min_width=220,
            )
            parts["forget"] = gr.Button("Forget that model", size="sm", elem_id="train-forget", scale=0, min_width=140)

    def connect(self, services: Services, page: gr.Blocks, tab: gr.Tab, views: gr.Tabs, around: "Around") -> None:
        """What happens."""
        parts = self._parts

        def do(handler, *bound):
            return for_people(handler, services, *bound)

        private = {"api_visibility": "private", "concurrency_id": "runs", "concurrency_limit": 4}
        # one after the other: a run that is being stopped must not be resumed before it has stopped
        in_turn = {"api_visibility": "private", "concurrency_id": "run-control", "concurrency_limit": 1}
        hidden = {"show_progress": "hidden", **private}
        page.load(do(first_look), None, [views, *self.outputs], **hidden)
        page.load(do(list_trained), None, [parts["trained"], parts["of_trained"]], **hidden)
        tab.select(do(open_page), self.chosen, self.outputs, **hidden)
        self._timer.tick(
            do(look_again), [self.seen, *self.chosen], self.outputs, trigger_mode="once", show_progress="hidden",
            concurrency_limit=None, api_visibility="private",
        )  # fmt: skip
        again = [parts["run"].input, parts["beside"].input, parts["smoothing"].release]
        gr.on(again, do(open_page), self.chosen, self.outputs, trigger_mode="always_last", **hidden)
        for name, handler in (("stop", stop), ("resume", resume), ("delete", delete), ("bring_back", bring_back)):
            parts[name].click(
                do(handler), self.chosen, self.outputs, trigger_mode="once", show_progress_on=parts["state"], **in_turn
            )
        parts["report"].click(
            do(show_report), parts["run"], [around.tabs, *around.fairness], trigger_mode="once",
            show_progress_on=parts["report"], **private,
        )  # fmt: skip
        lists = [around.compare_models, around.fairness_models, parts["trained"], parts["of_trained"]]
        parts["use"].click(
            do(use), [parts["run"], parts["model_name"]], [parts["used"], parts["model_name"], *lists], trigger_mode="once",
            **hidden,
        )  # fmt: skip
        parts["forget"].click(do(forget), parts["trained"], [parts["used"], *lists], trigger_mode="once", **hidden)
        parts["save_curves"].makes(do(save_curves), self.chosen, **hidden)
        parts["save_predictions"].makes(do(save_predictions), [parts["run"]], **hidden)
        parts["save_model"].makes(do(save_model), [parts["run"]], **hidden)
        parts["save_onnx"].makes(do(save_onnx), [parts["run"]], show_progress_on=parts["used"], **private)


@dataclass(frozen=True)
class Around:
    """What the tab changes outside of itself.

    Attributes:
        tabs: of the page.
        fairness: what a test set fills.
        fairness_models, compare_models: lists of models.
    """

    tabs: gr.Tabs
    fairness: list
    fairness_models: gr.Dropdown
    compare_models: gr.Dropdown


def _small(words: str, elem_id: str, min_width: int) -> gr.Button:
    return gr.Button(words, size="sm", elem_id=elem_id, scale=0, min_width=min_width, interactive=False)

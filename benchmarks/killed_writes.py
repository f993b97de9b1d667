"""WRITES: everything the program writes, and what must hold whatever moment it is killed at. benchmarks/kills.py kills them.

A write goes on for ever in a process of its own and says aloud what is done ("acknowledged"). After each kill its check looks
at what is there as the program would, in another process: what was acknowledged is there, and nothing is there by half.
"""

import io
import json
import os
import sqlite3
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch

from ser_core.__main__ import main
from ser_core.data.tables import write_json
from ser_core.data.whole import replaced
from ser_core.encoders.cache import EmbeddingCache
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.evaluation.predictions import check_predictions
from ser_core.evaluation.report import make_report
from ser_core.figures.report_page import write_report
from ser_core.inference.consent import consent_now
from ser_core.inference.models import ModelInfo, forget_model, trained_models, use_model, write_model
from ser_core.inference.profiles import ProfileStore, open_store
from ser_core.labels import APP_EMOTIONS
from ser_core.training.states import States
from ser_core.training.status import Reporter, read_status
from ser_core.ui.serve import private_folder
from ser_core.workspace import open_workspace

Say = Callable[[object], None]


@dataclass(frozen=True)
class Write:
    """One way of writing.

    Attributes:
        go: writes for ever into a folder; it is told the number of its life, and says what is acknowledged, a word a line.
        check: from the folder and all that was acknowledged, in order, to what is wrong, in words.
        prepare: makes what is there before.
    """

    go: Callable[[Path, int, Say], None]
    check: Callable[[Path, Sequence[str]], Iterator[str]]
    prepare: Callable[[Path], object] = lambda folder: None


# profiles


def _store(folder: Path) -> ProfileStore:
    return open_store(open_workspace(folder))


@cache
def _noise(seconds: float = 0.6) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, int(16_000 * seconds)).astype(np.float32)


def _two() -> list:
    return [("anger", _noise(), {}), ("fear", _noise(), {})]


def _ann(folder: Path) -> None:
    _store(folder).add_many("Ann", _two(), create=consent_now())


def _sound(folder: Path) -> Iterator[str]:
    """Whether the database is, and every recording in it can be played."""
    store = _store(folder)
    for profile in store.list():
        for utterance in profile.utterances:
            store.audio(profile.name, utterance.utterance_id)
    with closing(sqlite3.connect(open_workspace(folder).profiles)) as connection:
        if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            yield "the database is damaged"


def _ids(folder: Path) -> list[str]:
    return [one.utterance_id for profile in _store(folder).list() for one in profile.utterances]


def _add(folder: Path, life: int, say: Say) -> None:
    store, n = _store(folder), 0
    while True:
        n += 1
        made = store.add_many(f"{life} {n}", _two(), create=consent_now())
        for utterance in made.utterances:
            say(utterance.utterance_id)


def _added(folder: Path, said: Sequence[str]) -> Iterator[str]:
    yield from _sound(folder)
    if set(said) - set(_ids(folder)):
        yield "an acknowledged recording is lost"
    if {len(profile.utterances) for profile in _store(folder).list()} - {2}:
        yield "one recording of two was added"


def _replace(folder: Path, life: int, say: Say) -> None:
    while True:
        say(_store(folder).add("Ann", "anger", _noise()).utterance_id)


def _replaced(folder: Path, said: Sequence[str]) -> Iterator[str]:
    yield from _sound(folder)
    there = [one.utterance_id for one in _store(folder).get("Ann").utterances if one.emotion == "anger"]
    if len(there) != 1 or there[0] in said[:-1]:
        yield f"{len(there)} recordings where one replaces the other, or an earlier one"


def _remove(folder: Path, life: int, say: Say) -> None:
    store = _store(folder)
    while True:
        store.add_many("Ann", _two())
        removed = store.remove("Ann", store.get("Ann").utterances[0].utterance_id)
        say(f"-{removed.utterance_id}")
        store.restore("Ann", removed)
        say(f"+{removed.utterance_id}")


def _removed(folder: Path, said: Sequence[str]) -> Iterator[str]:
    yield from _sound(folder)
    there, last = _ids(folder), said[-1]
    gone = {word[1:] for word in said[:-1]} - {last[1:]}
    if set(there) & gone:
        yield "what was removed or replaced is back"
    if len(there) not in (1, 2):
        yield f"{len(there)} recordings are there"


def _rename(folder: Path, life: int, say: Say) -> None:
    store = _store(folder)
    names = ["Ann", "Bo"] if store.list()[0].name == "Ann" else ["Bo", "Ann"]
    while True:
        say(store.rename(names[0], names[1]).name)
        names.reverse()


def _renamed(folder: Path, said: Sequence[str]) -> Iterator[str]:
    yield from _sound(folder)
    if len(_store(folder).list()) != 1 or len(_ids(folder)) != 2:
        yield "a profile is lost, or there twice"


def _delete(folder: Path, life: int, say: Say) -> None:
    store, n = _store(folder), 0
    while True:
        n += 1
        made = store.add_many(f"{life} {n}", _two(), create=consent_now())
        store.delete(made.name)
        for utterance in made.utterances:
            say(utterance.utterance_id)


def _deleted(folder: Path, said: Sequence[str]) -> Iterator[str]:
    yield from _sound(folder)
    if set(said) & set(_ids(folder)):
        yield "what was deleted is back"
    if {len(profile.utterances) for profile in _store(folder).list()} - {2}:
        yield "a profile was deleted by half"


def _import(folder: Path, life: int, say: Say) -> None:
    store, n = _store(folder), 0
    content = store.export("Ann")
    while True:
        n += 1
        for utterance in store.import_archive(content, consent_now(), f"{life} {n}").utterances:
            say(utterance.utterance_id)


def _export(folder: Path, life: int, say: Say) -> None:
    with redirect_stdout(io.StringIO()):
        while True:
            main(["profiles", "export", "Ann", str(folder / "ann.zip"), "--workspace", str(folder)])
            say("exported")


def _exported(folder: Path, said: Sequence[str]) -> Iterator[str]:
    with zipfile.ZipFile(folder / "ann.zip") as archive:
        if archive.testzip() or len(archive.namelist()) != 3:
            yield "the archive is there by half"


# embeddings, trainings, models, reports


@cache
def _encoder() -> Compact:
    torch.manual_seed(0)
    return Compact(CompactSettings(width=16, n_transformer_layers=1, n_heads=2, feedforward=16)).eval()


def _embed(folder: Path, life: int, say: Say) -> None:
    rng, cache, place = np.random.default_rng(life), EmbeddingCache(folder / "cache", _encoder()), 0
    while True:
        place += 1
        path = folder / f"{life}-{place}.wav"
        soundfile.write(path, rng.normal(0, 0.1, 10_000), 16_000)
        cache.embed([str(path)])
        say(path.name)


def _embedded(folder: Path, said: Sequence[str]) -> Iterator[str]:
    cache, path = EmbeddingCache(folder / "cache", _encoder()), str(folder / said[-1])
    there = cache.embed([path])
    if cache.n_read:
        yield "an acknowledged embedding is lost"
    if not torch.allclose(there, EmbeddingCache(folder / "anew", _encoder()).embed([path])):
        yield "an embedding is not that of its recording"
    for file in cache.folder.glob("*.npy"):
        np.load(file, allow_pickle=False)


def _weights(step: int) -> dict[str, torch.Tensor]:
    return {name: torch.full((300, 300), float(step)) for name in ("method.a", "optimiser.0.b")}


def _save(folder: Path, life: int, say: Say) -> None:
    states = States(folder / "state")
    state = states.latest()
    step = state.content["step"] if state else 0
    while True:
        step += 1
        states.save(_weights(step), {"step": step})
        say(step)


def _saved(folder: Path, said: Sequence[str]) -> Iterator[str]:
    state = States(folder / "state").latest()
    step = state.content["step"]
    if step not in (int(said[-1]), int(said[-1]) + 1):
        yield f"state {step}, although {said[-1]} was acknowledged"
    if any((tensor != step).any() for tensor in state.tensors.values()):
        yield "a state is mixed with another one"
    if len(list((folder / "state").iterdir())) > 4:
        yield "states pile up"


def _report_status(folder: Path, life: int, say: Say) -> None:
    reporter, n = Reporter(folder, "cpu"), 0
    while True:
        n += 1
        reporter.say(state="running", words=f"{life} {n}", share=0.5)
        say(f"{life}-{n}")


def _status(folder: Path, said: Sequence[str]) -> Iterator[str]:
    status = read_status(folder)
    if status is None or tuple(map(int, status.words.split())) < tuple(map(int, said[-1].split("-"))):
        yield "the status is lost, or an earlier one"


def _trained(folder: Path) -> None:
    """A finished run, as far as `models use` looks."""
    made = folder / "run" / "checkpoint"
    for part in ("encoder", "baseline", "speaker_reference"):
        (made / part).mkdir(parents=True)
        (made / part / "weights.safetensors").write_bytes(os.urandom(50_000))
    write_model(ModelInfo("run", made, "compact", "encoder", APP_EMOTIONS, "baseline", ("speaker_reference",)))


def _use(folder: Path, life: int, say: Say) -> None:
    workspace, n = open_workspace(folder / "workspace"), 0
    while True:
        n += 1
        use_model(folder / "run", workspace, f"used-{life}-{n}")
        say(f"+used-{life}-{n}")
        if n % 3:
            forget_model(f"used-{life}-{n}", workspace)
            say(f"-used-{life}-{n}")


def _used(folder: Path, said: Sequence[str]) -> Iterator[str]:
    workspace = open_workspace(folder / "workspace")
    there = {info.name: info.folder for info in trained_models(workspace)}
    last = {word[1:]: word[0] for word in said}
    for name, sign in last.items():
        stays = int(name.rpartition("-")[2]) % 3 == 0  # the others may have been about to be forgotten
        if sign == "+" and stays and name not in there:
            yield f"{name} was put to use and is not there"
    source = {file.relative_to(folder / "run/checkpoint") for file in (folder / "run/checkpoint").rglob("*")}
    for name, model in there.items():
        if {file.relative_to(model) for file in model.rglob("*")} != source:
            yield f"{name} is there by half"
    for blocked in {path.name for path in workspace.trained.glob("[!.]*")} - set(there):
        yield f"the name {blocked} is blocked by what no list shows"


@cache
def _reported(ours: str) -> tuple:
    rows = [
        {"utterance_id": f"{s}{e}{k}", "speaker": f"s{s}", "gender": ("female", "male")[s % 2], "emotion": e, "method": m,
         "seed": 0, "fold": 0, "predicted_emotion": e if m == ours or k else "anger"}
        for s in range(4) for e in ("anger", "fear") for k in range(2) for m in ("baseline", "ours")
    ]  # fmt: skip
    predictions = check_predictions(pd.DataFrame(rows), "toy")
    return make_report(predictions), predictions


def _evaluate(folder: Path, life: int, say: Say) -> None:
    while True:
        for ours in ("ours", "baseline"):
            write_report(*_reported(ours), folder / "out")
            say(ours)


def _evaluated(folder: Path, said: Sequence[str]) -> Iterator[str]:
    for ours in ("ours", "baseline"):
        if not (folder / ours).exists():
            write_report(*_reported(ours), folder / ours)
    names = {path.name for path in (folder / "ours").iterdir()}
    for name in names:
        content, whole = (
            (folder / "out" / name).read_text(),
            [(folder / o / name).read_text() for o in ("ours", "baseline")],
        )
        if content not in whole and not (
            name == "report.html" and content.endswith("</body></html>")
        ):  # its ids are random
            yield f"{name} is there by half"


def _order(folder: Path, life: int, say: Say) -> None:
    n = 0
    while True:
        n += 1
        write_json(folder / "recipe.json", {"n": n, "life": life, "text": "x" * 20_000})
        say(f"{life}-{n}")


def _ordered(folder: Path, said: Sequence[str]) -> Iterator[str]:
    content = json.loads((folder / "recipe.json").read_text())
    if (content["life"], content["n"]) < tuple(map(int, said[-1].split("-"))):
        yield "an earlier recipe.json is there"


def _build(folder: Path, life: int, say: Say) -> None:
    n = 0
    while True:
        n += 1
        with replaced(folder / "model", revised=n % 2 == 0) as draft:
            for part in ("a", "b", "c"):
                (draft / part).write_text(f"{life}-{n} " * 5_000)
        say(f"{life}-{n}")


def _built(folder: Path, said: Sequence[str]) -> Iterator[str]:
    if not (folder / "model").exists():  # between two renames: the next build puts it back
        try:
            with replaced(folder / "model"):
                raise InterruptedError
        except InterruptedError:
            pass
    parts = {(folder / "model" / part).read_text() for part in ("a", "b", "c")}
    if len(parts) != 1:
        yield "a model of two builds"
    elif tuple(map(int, parts.pop().split()[0].split("-"))) < tuple(map(int, said[-1].split("-"))):
        yield "an earlier model is there"


def _upload(folder: Path, life: int, say: Say) -> None:
    with private_folder(open_workspace(folder)) as workspace:
        n = 0
        while True:
            n += 1
            soundfile.write(workspace.temporary / f"{n}.wav", _noise(), 16_000)
            say(n)


def _uploaded(folder: Path, said: Sequence[str]) -> Iterator[str]:
    with private_folder(open_workspace(folder)) as workspace:
        private = workspace.temporary
        left = [path for path in (folder / "temporary").rglob("*") if path.is_file() and path.suffix != ".alive"]
        if left or list(private.iterdir()):
            yield f"{len(left)} uploads of a dead app are left"
        if (folder / "temporary").stat().st_mode & 0o077 or private.stat().st_mode & 0o077:
            yield "others can read the private folder"
    if list((folder / "temporary").iterdir()):
        yield "the private folder is not empty at the end"


WRITES: dict[str, Write] = {
    "profile: recordings added": Write(_add, _added),
    "profile: a recording replaced": Write(_replace, _replaced, _ann),
    "profile: a recording removed and put back": Write(_remove, _removed, _ann),
    "profile: renamed": Write(_rename, _renamed, _ann),
    "profile: deleted": Write(_delete, _deleted),
    "profile: imported": Write(_import, _added, _ann),
    "profile: exported to a file": Write(_export, _exported, _ann),
    "embeddings of a corpus": Write(_embed, _embedded),
    "state of a training": Write(_save, _saved),
    "status of a run": Write(_report_status, _status),
    "recipe.json of a run": Write(_order, _ordered),
    "a model put to use and forgotten": Write(_use, _used, _trained),
    "a model built or revised": Write(_build, _built),
    "files of evaluate": Write(_evaluate, _evaluated),
    "uploads of the app": Write(_upload, _uploaded),
}

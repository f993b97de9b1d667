"""What grows how: utterances, their length, and how many are enrolled.

    python benchmarks/growth.py [--largest 10000] [--within 20] [--quick] --output DIR

Every row is measured at that size, none is extrapolated: repeated up to 20 times until `--within` seconds are over, at least
once; n says how often. A size whose predecessor took so long that it would take more than ten minutes is left out, and
named. Utterances are made (3 s, except where the length is what grows), all of different content, and read from FLAC files
where a corpus is embedded. Writes growth.json and growth.md into the folder.
"""

import os
import platform
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch

from ser_core.commands.bench import spoken, utterance_and_enrolment
from ser_core.commands.training_arguments import count, limit_threads
from ser_core.data.audio import SAMPLE_RATE, Recording
from ser_core.data.tables import write_json
from ser_core.encoders.cache import EmbeddingCache
from ser_core.evaluation.predictions import check_predictions
from ser_core.evaluation.report import make_report
from ser_core.inference.consent import consent_now
from ser_core.inference.models import shipped_models
from ser_core.inference.profiles import ProfileStore, open_store
from ser_core.inference.recogniser import Recogniser
from ser_core.inference.timing import percentiles, timed
from ser_core.labels import APP_EMOTIONS
from ser_core.training.provenance import provenance
from ser_core.workspace import open_workspace

SIZES = (1, 10, 100, 1_000, 10_000)
LENGTHS_S = (3.0, 10.0, 30.0)
ENROLLED = (1, 7, 20, 50)
REPEATS, LONGEST_S = 20, 600.0
OF_A_SPEAKER = 40
"""Utterances, as in a corpus of acted speech."""

ERASED = "a profile stored and erased again beside the others"

Row = dict[str, str | float]


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    asked, load = _asked(words), os.getloadavg()[0]
    limit_threads(asked.threads)
    left_out: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for part in PARTS for row in part(asked, Path(folder), left_out)]
    report = {
        "cores": os.cpu_count(), "machine": platform.machine(), "threads": torch.get_num_threads(),
        "load_before": round(load, 2), "rows": rows, "left_out": left_out, **provenance(),
    }  # fmt: skip
    print(as_markdown(report))
    asked.output.mkdir(parents=True, exist_ok=True)
    write_json(asked.output / "growth.json", report)
    (asked.output / "growth.md").write_text(as_markdown(report) + "\n", encoding="utf-8")
    return 0


def _asked(words: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=count, default=0, help="CPU threads (default: as torch chooses)")
    parser.add_argument("--largest", type=count, default=SIZES[-1], help="the most utterances (default: 10000)")
    parser.add_argument("--within", type=float, default=20.0, metavar="S", help="seconds that each row may take")
    parser.add_argument("--model", default="compact", choices=[info.name for info in shipped_models()])
    parser.add_argument("--quick", action="store_true", help="up to 10 utterances, half a second a row")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    asked = parser.parse_args(words)
    if asked.quick:
        asked.largest, asked.within = min(asked.largest, 10), 0.5
    return asked


def evaluation(asked: Namespace, folder: Path, left_out: list[str]) -> Iterator[Row]:
    """A report of two methods, from the table that was read."""

    def ready(n: int) -> Callable[[], object]:
        table = made_predictions(n)
        return lambda: make_report(check_predictions(table))

    yield from _grown("report of a table, two methods", "utterances", _sizes(asked), ready, asked, left_out)


def profiles(asked: Namespace, folder: Path, left_out: list[str]) -> Iterator[Row]:
    """Everybody who has a profile: by name, as each page lists them, with all recordings but their sound; and to erase one."""
    clips = [(emotion, spoken(3.0), {}) for emotion in APP_EMOTIONS]

    def passing(store: ProfileStore) -> None:
        store.add_many("passing", clips, create=consent_now())
        store.delete("passing")

    def ready(n: int, store: ProfileStore, measured: Callable[[ProfileStore], object]) -> Callable[[], object]:
        n_stored = sum(len(profile.utterances) for profile in store.list())
        while n_stored < n:
            some = clips[: n - n_stored]
            store.add_many(f"person {n_stored}", some, create=consent_now())
            n_stored += len(some)
        return lambda: measured(store)

    kinds = {"names of all profiles": ProfileStore.names, "all that profiles hold": ProfileStore.list, ERASED: passing}
    for what, measured in kinds.items():
        store = open_store(open_workspace(folder / what))
        grow = partial(ready, store=store, measured=measured)
        yield from _grown(f"{what}, seven utterances each", "utterances", _sizes(asked), grow, asked, left_out)
        store.close()


def embedding(asked: Namespace, folder: Path, left_out: list[str]) -> Iterator[Row]:
    """A corpus that is heard for the first time, and again."""
    recogniser = Recogniser(open_workspace(folder / "workspace"), asked.model, "cpu")
    recogniser.embed([spoken(3.0)])

    def first(n: int) -> Callable[[], object]:
        paths = made_files(n, folder)

        def embed() -> None:
            with tempfile.TemporaryDirectory() as anew:
                EmbeddingCache(Path(anew), recogniser.encoder).embed(paths)

        return embed

    def again(n: int) -> Callable[[], object]:
        paths, kept = made_files(n, folder), folder / "kept"
        EmbeddingCache(kept, recogniser.encoder).embed(paths)
        return lambda: EmbeddingCache(kept, recogniser.encoder).embed(paths)

    sizes = _sizes(asked)
    rows = list(_grown(f"{asked.model}: corpus embedded", "utterances", sizes, first, asked, left_out))
    yield from rows
    heard = [row["size"] for row in rows]
    yield from _grown(f"{asked.model}: corpus embedded before", "utterances", heard, again, asked, left_out)


def answers(asked: Namespace, folder: Path, left_out: list[str]) -> Iterator[Row]:
    """Two answers, the longer the utterance and the more is enrolled; and to hear what is enrolled."""
    recogniser = Recogniser(open_workspace(folder / "workspace"), asked.model, "cpu")
    _, seven = utterance_and_enrolment(recogniser, 3.0)
    utterance = Recording(spoken(3.0))

    def clips(n: int) -> list[tuple[str, str, np.ndarray]]:
        return [(str(k), recogniser.info.emotions[k % len(recogniser.info.emotions)], spoken(3.0)) for k in range(n)]

    def longer(seconds: float) -> Callable[[], object]:
        recording = Recording(spoken(seconds))
        return lambda: recogniser.recognise(recording, seven)

    def more(n: int) -> Callable[[], object]:
        enrolment = recogniser.enrol(clips(n))
        return lambda: recogniser.recognise(utterance, enrolment)

    def heard(n: int) -> Callable[[], object]:
        unheard = clips(n)
        return lambda: recogniser.enrol(unheard)

    name = asked.model
    yield from _grown(f"{name}: two answers, 7 enrolled", "seconds", LENGTHS_S, longer, asked, left_out)
    yield from _grown(f"{name}: two answers, 3 s", "enrolled", ENROLLED, more, asked, left_out)
    yield from _grown(f"{name}: the enrolment heard for the first time", "enrolled", ENROLLED, heard, asked, left_out)


PARTS = (evaluation, profiles, embedding, answers)


def _grown(
    what: str, of: str, sizes: Sequence[float], ready: Callable, asked: Namespace, left_out: list[str]
) -> Iterator[Row]:
    """A row a size; `ready` prepares, and what it gives back is measured, after one call that does not count where it is short."""
    took_s, before = 0.0, 0.0
    for size in sizes:
        if before and took_s * size / before > LONGEST_S:
            left_out.append(f"{what}, {size:,} {of}: {before:,} took {took_s:.0f} s")
            continue
        print(f"{what}: {size:,} {of}", file=sys.stderr, flush=True)
        measured = ready(size)
        if took_s < 1.0:
            measured()
        times = timed(measured, REPEATS, asked.within)
        took_s, before = times[-1] / 1000, size
        yield {"what": what, "size": size, "of": of, **percentiles(times)}


def _sizes(asked: Namespace) -> list[int]:
    return [size for size in SIZES if size <= asked.largest]


def made_predictions(n: int) -> pd.DataFrame:
    """Two methods on n utterances of speakers with OF_A_SPEAKER each, right about half of the time."""
    rng, emotions = np.random.default_rng(0), np.array(APP_EMOTIONS)
    speaker = np.arange(n) // OF_A_SPEAKER
    truth = emotions[np.arange(n) % len(emotions)]
    parts = []
    for method in ("baseline", "speaker_reference"):
        p = rng.dirichlet(np.ones(len(emotions)), n)
        p[np.arange(n), np.arange(n) % len(emotions)] += 0.2
        p = p / p.sum(axis=1, keepdims=True)
        named = {f"p_{emotion}": p[:, k] for k, emotion in enumerate(emotions)}
        parts.append(
            pd.DataFrame(
                {
                    "utterance_id": [f"u{k:05d}" for k in range(n)], "corpus": "made", "method": method,
                    "speaker": [f"s{k:04d}" for k in speaker], "gender": np.where(speaker % 2, "male", "female"),
                    "emotion": truth, "predicted_emotion": emotions[p.argmax(axis=1)], **named,
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def made_files(n: int, folder: Path) -> list[str]:
    """FLAC files of 3 s, each with noise of its own, for what is alike is embedded once; those that are there are taken."""
    paths = [folder / f"{k:05d}.flac" for k in range(n)]
    utterance = spoken(3.0)
    for k, path in enumerate(paths):
        if not path.is_file():
            noise = np.random.default_rng(k).normal(scale=1e-3, size=len(utterance))
            soundfile.write(path, utterance + noise, SAMPLE_RATE)
    return [str(path) for path in paths]


def as_markdown(report: dict) -> str:
    """The tables, one after the other."""
    commit = f"{report['commit'][:12]}{', modified' if report['modified'] else ''}"
    lines = [
        f"{report['cores']} cores ({report['machine']}), {report['threads']} threads, no GPU, torch {report['torch']}, commit "
        f"{commit}, load before the run {report['load_before']}.",
        "", "| what | size | p50, ms | p95, ms | n |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for row in report["rows"]:
        p95 = _number(row["p95"]) if row["n"] > 1 else "–"
        lines.append(f"| {row['what']} | {row['size']:,g} {row['of']} | {_number(row['p50'])} | {p95} | {row['n']} |")
    return "\n".join([*lines, *(f"\nLeft out: {one}" for one in report["left_out"])])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())

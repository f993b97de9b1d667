"""Ten people at once: python benchmarks/load.py --corpus DIR [--people 10] [--shared] [--quick] [--output FILE.json]

Starts the app with the model compact in a workspace of its own. Each person is another actor of RAVDESS on a page of their own:
opens it, agrees, makes a profile, enrols seven recordings, and compares others, one after the other with a breath between, while
all the others do the same. First all come at the same moment. Then every answer is computed again without the app, from the
person's own files: an answer that differs by more than 1e-4 was somebody else's. Last, the queue is filled until it refuses.

1 if an answer was mixed up, a person was left without one, or a refusal was not in our words. Needs the packages of the app.
"""

import itertools
import json
import os
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier

import numpy as np
import people
from people import EMOTIONS, Page, Refused, utterance

from ser_core.data.audio import read_recording
from ser_core.data.tables import write_json
from ser_core.inference.recogniser import Recogniser
from ser_core.training.provenance import provenance
from ser_core.ui.doors import BUSY
from ser_core.workspace import open_workspace

MODEL, TOLERANCE, PASSWORD = "compact", 1e-4, "a long enough passphrase"


@dataclass
class Person:
    """One of the people, and what became of what they did.

    Attributes:
        name: of their profile; and of their account where the app is shared.
        actor: whose recordings they have.
        answers: what the app answered, by the file.
        seconds: from choosing a file to its answer.
        without_model_s: of events for which no model is needed.
        enrol_s: from choosing a file to its being stored.
        refusals: what the app said when it did not do something; it was tried again.
    """

    name: str
    actor: str
    answers: dict[Path, dict] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    without_model_s: list[float] = field(default_factory=list)
    enrol_s: list[float] = field(default_factory=list)
    open_s: float = 0.0
    refusals: list[str] = field(default_factory=list)


def main() -> int:
    """Measure, print and write."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="RAVDESS")
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--recordings", type=int, default=12, help="that each compares")
    parser.add_argument("--breath", type=float, default=2.0, metavar="SECONDS", help="between two actions, on average")
    parser.add_argument("--shared", action="store_true", help="an account each, at an app that is shared")
    parser.add_argument("--quick", action="store_true", help="three people, two recordings each")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.people, arguments.recordings = 3, 2
    folders = people.actors(arguments.corpus)[: arguments.people]
    crowd = [Person(f"Person {place}", actor) for place, actor in enumerate(folders, 1)]
    with tempfile.TemporaryDirectory() as folder:
        if arguments.shared:
            people.make_accounts(folder, {person.name: PASSWORD for person in crowd})
        options = ["--model", MODEL, *(["--shared"] if arguments.shared else [])]
        with people.started(Path(folder), *options) as (url, _):
            began = time.monotonic()
            together = Barrier(len(crowd))
            with ThreadPoolExecutor(len(crowd)) as all_at_once:
                list(all_at_once.map(lambda person: live(person, url, together, arguments), crowd))
            lasted = time.monotonic() - began
            told = crowded(url, crowd[0].name if arguments.shared else None)
        differences = [each for person in crowd for each in differs(person, arguments.corpus, Path(folder))]
    result = report(crowd, differences, told, lasted, arguments)
    print(json.dumps(result, indent=2))
    if arguments.output:
        write_json(arguments.output, result)
    return 0 if result["passed"] else 1


def live(person: Person, url: str, together: Barrier, arguments: Namespace) -> None:
    """What one person does."""
    rng = np.random.default_rng(int(person.actor[-2:]))
    talks = people.client(url)
    if arguments.shared:
        people.sign_in(talks, person.name, PASSWORD)
    page = Page(talks)

    def breathe() -> None:
        time.sleep(float(rng.exponential(arguments.breath)))

    together.wait()
    began = time.monotonic()
    insist(person, page.open)
    person.open_s = time.monotonic() - began
    insist(person, lambda: page.do("enrol-consent", "input", enrol_consent=True))
    breathe()
    made = insist(person, lambda: page.do("enrol-create", enrol_name=person.name))
    person.without_model_s.append(made.seconds)
    for emotion, file in enrolled(arguments.corpus, person.actor).items():
        breathe()
        person.enrol_s.append(insist(person, lambda e=emotion, f=file: people.enrol(page, e, f)).seconds)
    for file in itertools.islice(to_compare(arguments.corpus, person.actor), arguments.recordings):
        breathe()
        person.answers[file], took = insist(person, lambda f=file: people.compare(page, f))
        person.seconds.append(took)
        for button in ("enrol-erase", "enrol-erase-cancel"):  # to think of erasing needs no model
            breathe()
            person.without_model_s.append(insist(person, lambda b=button: page.do(b)).seconds)
    page.close()


def insist(person: Person, action):
    """Do it, and again a second later where the app is too busy, as the page tells people to."""
    while True:
        try:
            return action()
        except Refused as error:
            if error.status not in (429, 503):
                raise
            person.refusals.append(str(error))
            time.sleep(1.0)


def enrolled(corpus: Path, actor: str) -> dict[str, Path]:
    """A recording of each emotion."""
    return {emotion: utterance(corpus, actor, emotion) for emotion in EMOTIONS}


def to_compare(corpus: Path, actor: str):
    """Recordings of the same actor that are not enrolled."""
    for sentence, take, emotion in itertools.product((2, 1), (1, 2), EMOTIONS):
        if (sentence, take) != (1, 1):
            yield utterance(corpus, actor, emotion, take, sentence)


def differs(person: Person, corpus: Path, folder: Path) -> list[float]:
    """How far each of a person's answers is from what their own files give without the app."""
    recogniser = Recogniser(open_workspace(folder / "without the app"), MODEL, "cpu")
    clips = [(name, name, read_recording(file).waveform) for name, file in enrolled(corpus, person.actor).items()]
    enrolment = recogniser.enrol(clips)
    found = []
    for file, answer in person.answers.items():
        own = recogniser.recognise(read_recording(file), enrolment).to_json("", person.name, ())
        found.append(
            max(
                abs(own[kind]["probabilities"][emotion] - p)
                for kind in ("baseline", "personalised")
                for emotion, p in answer[kind]["probabilities"].items()
            )
            if answer["profile"] == person.name
            else float("inf")
        )
    return found


def crowded(url: str, account: str | None) -> dict[str, int]:
    """Ask three hundred times without waiting for what takes long; what is said where the queue is full, and how often."""
    talks = people.client(url)
    if account:
        people.sign_in(talks, account, PASSWORD)
    page, told = Page(talks).open(), {}
    answers = [page.join(page.event("fairness-demo")) for _ in range(300)]
    for answer in answers:
        if answer.status_code != 200:
            said = f"{answer.status_code} {answer.json()['detail']}"
            told[said] = told.get(said, 0) + 1
    page.close()
    return told


def report(crowd: list[Person], differences: list[float], told: dict, lasted: float, arguments: Namespace) -> dict:
    """All of it."""
    n_answers = sum(len(person.answers) for person in crowd)
    mixed_up = sum(each > TOLERANCE for each in differences)
    in_our_words = bool(told) and all(said.endswith(BUSY) for said in told)
    return {
        "people": len(crowd),
        "breath_s": arguments.breath,
        "shared": arguments.shared,
        "lasted_s": round(lasted, 1),
        "answers": n_answers,
        "answers_mixed_up": mixed_up,
        "largest_difference": float(np.max(differences)),
        "open_s": spread([person.open_s for person in crowd]),
        "enrol_s": spread([each for person in crowd for each in person.enrol_s]),
        "answer_s": spread([each for person in crowd for each in person.seconds]),
        "without_model_s": spread([each for person in crowd for each in person.without_model_s]),
        "refused_and_tried_again": sum(len(person.refusals) for person in crowd),
        "full_queue_said": told,
        "passed": not mixed_up and n_answers == len(crowd) * arguments.recordings and in_our_words,
        "model": MODEL,
        "cores": os.cpu_count(),
        "machine": machine(),
        **provenance(),
    }


def machine() -> str:
    """The processor's name, where Linux tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def spread(seconds: list[float]) -> dict[str, float]:
    """Median, 95th percentile, most."""
    return {name: round(float(np.quantile(seconds, q)), 3) for name, q in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))}


if __name__ == "__main__":
    sys.exit(main())

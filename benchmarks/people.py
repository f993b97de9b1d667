"""People at the app without a browser: each has a page of their own, which asks through gradio's queue as the real one does.

A page knows the app's components and events from its configuration, keeps what it is told, and follows one event with
those that come after it. `started` starts the app itself. Needs httpx, which gradio brings along.
"""

import json
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
EMOTIONS = {
    "neutral": "01", "happiness": "03", "sadness": "04", "anger": "05", "fear": "06", "disgust": "07", "surprise": "08",
}  # fmt: skip
"""RAVDESS' codes."""

PATIENCE_S = 120.0


class Refused(RuntimeError):
    """The app did not do what was asked; the message is what a person would read.

    Attributes:
        status: of the HTTP answer; 200 where the event ran and failed.
    """

    def __init__(self, status: int, words: str):
        super().__init__(words)
        self.status = status


@dataclass(frozen=True)
class Done:
    """An event that ended.

    Attributes:
        values: what it put where, by elem_id, or by number where a component has none.
        seconds: from asking to the answer.
    """

    values: Mapping[str | int, Any]
    seconds: float


@dataclass
class Page:
    """A page of the app.

    Attributes:
        client: talks to the app; cookies that it has are the person's.
        session: names the page; whoever knows it can ask in its place.
    """

    client: httpx.Client
    session: str = field(default_factory=lambda: secrets.token_hex(6))

    def open(self) -> "Page":
        """Fetch the page, hold its heartbeat, and let it ask what it asks when it comes."""
        _checked(self.client.get("/"))
        config = _checked(self.client.get("/config")).json()
        self._names = {one["id"]: one["props"].get("elem_id") or one["id"] for one in config["components"]}
        self._values = {self._names[one["id"]]: one["props"].get("value") for one in config["components"]}
        self._states = {one["id"] for one in config["components"] if one["type"] == "state"}
        self._events = {one["id"]: one for one in config["dependencies"]}
        self._alive = threading.Event()
        threading.Thread(target=self._heartbeat, name="heartbeat", daemon=True).start()
        self._alive.wait(PATIENCE_S)
        self._run([one for one in self._events.values() if any(how == "load" for _, how in one["targets"])])
        return self

    def do(self, what: str, how: str = "click", **values: Any) -> Done:
        """Set components off and wait for all that follows.

        Args:
            what: the elem_id.
            how: the event: click, input, upload, select …
            **values: what the person has put into components, by elem_id with _ for -.

        Raises:
            Refused: the app did not do it.
        """
        self.put(**values)
        return self._run([self.event(what, how)])

    def put(self, **values: Any) -> None:
        """Put something into components, by elem_id with _ for -."""
        self._values |= {name.replace("_", "-"): value for name, value in values.items()}

    def event(self, what: str, how: str = "click") -> dict:
        """An event of the app's configuration."""
        found = [
            one
            for one in self._events.values()
            if any(self._names.get(target, target) == what and trigger == how for target, trigger in one["targets"])
        ]
        return found[0]

    def called(self, name: str) -> dict:
        """An event of the app's configuration, by its handler's name."""
        return next(one for one in self._events.values() if one["api_name"] == name)

    def upload(self, path: Path) -> dict:
        """Hand a file over, as the page does before an event; what stands for it."""
        with path.open("rb") as content:
            sent = self.client.post("/gradio_api/upload", files={"files": (path.name, content)})
        (stored,) = _checked(sent).json()
        size = path.stat().st_size
        return {"path": stored, "orig_name": path.name, "size": size, "meta": {"_type": "gradio.FileData"}}

    def saved(self, file: Mapping[str, Any]) -> bytes:
        """The content of a file that the app put into a button or player."""
        return _checked(self.client.get(f"/gradio_api/file={file['path']}")).content

    def close(self) -> None:
        """Leave the page."""
        self.client.close()

    def _heartbeat(self) -> None:
        beating = self.client.stream("GET", f"/gradio_api/heartbeat/{self.session}", timeout=None)
        with suppress(httpx.HTTPError, RuntimeError), beating as beats:  # until the page is closed
            for _ in beats.iter_lines():
                self._alive.set()

    def _run(self, events: Sequence[Mapping]) -> Done:
        """Ask for events at once, then for what follows them; what the first of them says."""
        began, first, waiting = time.monotonic(), None, list(events)
        while waiting:
            following: list[Mapping] = []
            for event, output in self._asked(waiting):
                changed = self._taken_in(event, output)
                if first is None:
                    first = Done(changed, time.monotonic() - began)
                following += self._after(event, set(output.get("changed_state_ids", ())))
            waiting = following
        return first or Done({}, time.monotonic() - began)

    def _after(self, event: Mapping, states: set[int]) -> Iterator[Mapping]:
        for one in self._events.values():
            follows = one["trigger_after"] == event["id"]
            changed = any(target in states and how == "change" for target, how in one["targets"])
            if (follows or changed) and one["backend_fn"]:
                yield one

    def _taken_in(self, event: Mapping, output: Mapping) -> dict:
        changed = {}
        for component, value in zip(event["outputs"], output.get("data") or (), strict=False):
            is_update = isinstance(value, dict) and value.get("__type__") == "update"
            if not is_update or "value" in value:
                changed[self._names[component]] = value["value"] if is_update else value
        self._values |= changed
        return changed

    def inputs(self, event: Mapping) -> list:
        """What the page sends with an event; the app knows itself what is None here and was never shown."""
        return [None if one in self._states else self._values.get(self._names[one]) for one in event["inputs"]]

    def join(self, event: Mapping, data: Sequence | None = None) -> httpx.Response:
        """Ask for an event, with other data than the page's if given; the answer as it came."""
        body = {
            "data": self.inputs(event) if data is None else list(data),
            "fn_index": event["id"],
            "session_hash": self.session,
            "trigger_id": event["targets"][0][0],
            "event_data": None,
        }
        return self.client.post("/gradio_api/queue/join", json=body)

    def _asked(self, events: Sequence[Mapping]) -> list[tuple[Mapping, Mapping]]:
        asked = {_checked(self.join(event)).json()["event_id"]: event for event in events}
        return [(asked[event_id], output) for event_id, output in self.completed(set(asked))]

    def completed(self, waiting: set[str]) -> Iterator[tuple[str, Mapping]]:
        """Events as they end, with what they say.

        Raises:
            Refused: one failed.
        """
        params = {"session_hash": self.session}
        with self.client.stream("GET", "/gradio_api/queue/data", params=params, timeout=PATIENCE_S) as messages:
            for line in messages.iter_lines():
                message = json.loads(line[6:]) if line.startswith("data: ") else {}
                if message.get("msg") == "unexpected_error":
                    raise Refused(messages.status_code, message.get("message") or "unexpected error")
                if message.get("msg") != "process_completed" or message["event_id"] not in waiting:
                    continue
                if not message["success"]:
                    raise Refused(200, (message.get("output") or {}).get("error") or "Error")
                waiting.discard(message["event_id"])
                yield message["event_id"], message["output"]
                if not waiting:
                    return


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code >= 400:
        with suppress(ValueError):
            raise Refused(answer.status_code, str(answer.json().get("detail")))
        raise Refused(answer.status_code, answer.text[:300])
    return answer


def client(url: str) -> httpx.Client:
    """What talks to the app, with room for a heartbeat beside other requests."""
    return httpx.Client(base_url=url, timeout=PATIENCE_S)


def make_accounts(workspace: str | Path, passwords: Mapping[str, str]) -> None:
    """Accounts for an app that is shared, as its administrator makes them."""
    for name, password in passwords.items():
        command = [sys.executable, "-m", "ser_core", "accounts", "add", name, "--password-stdin"]
        command += ["--workspace", str(workspace)]
        subprocess.run(command, input=password, text=True, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def sign_in(talks: httpx.Client, name: str, password: str) -> None:
    """Sign in at an app that is shared; the client keeps the cookie."""
    answer = talks.post("/sign-in", data={"name": name, "password": password})
    if answer.status_code >= 400 or not talks.cookies:
        raise Refused(answer.status_code, "could not sign in")


def create(page: Page, name: str) -> Done:
    """Agree, and make a profile."""
    page.do("enrol-consent", "input", enrol_consent=True)
    return page.do("enrol-create", enrol_name=name)


def enrol(page: Page, emotion: str, file: Path) -> Done:
    """Choose a file on a card."""
    done = page.do(f"enrol-{emotion}-audio", "upload", **{f"enrol_{emotion}_audio": page.upload(file)})
    state = str(done.values.get(f"enrol-{emotion}-state"))
    if "recorded" not in state and "recordings" not in state:
        raise Refused(200, re.sub("<[^>]+>", " ", state))
    return done


def compare(page: Page, file: Path) -> tuple[dict, float]:
    """Choose a file in Compare: the answer, as its button saves it, and seconds from choosing to the answer."""
    began = time.monotonic()
    done = page.do("compare-audio", "upload", compare_audio=page.upload(file))
    took = time.monotonic() - began
    saves = done.values.get("compare-json")
    if not saves:
        raise Refused(200, re.sub("<[^>]+>", " ", str(done.values.get("compare-status"))))
    return json.loads(page.saved(saves)), took


def erase(page: Page) -> Done:
    """Erase the profile in use."""
    page.do("enrol-erase")
    return page.do("enrol-erase-confirm")


def utterance(corpus: Path, actor: str, emotion: str, take: int = 1, sentence: int = 1) -> Path:
    """A recording of RAVDESS: the folder's name of an actor, an emotion, repetition 1 or 2, sentence 1 or 2."""
    (found,) = (corpus / actor).glob(f"03-01-{EMOTIONS[emotion]}-01-{sentence:02d}-{take:02d}-*")
    return found


def actors(corpus: Path) -> list[str]:
    """Folders of RAVDESS' actors."""
    return sorted(path.name for path in corpus.glob("Actor_*"))


@contextmanager
def started(workspace: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """app.py on a free port, ready to answer; its address and process. What it printed is checked at its end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{(port := free.getsockname()[1])}"
    command = [sys.executable, "app.py", "--no-browser", "--port", str(port), "--workspace", str(workspace), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        _wait_until_ready(url, process)
        yield url, process
    finally:
        process.terminate()
        printed, _ = process.communicate(timeout=PATIENCE_S)
        if "Traceback" in printed:
            print(printed, file=sys.stderr)


def _wait_until_ready(url: str, process: subprocess.Popen) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/healthz", timeout=5).json()["state"] == "ready":
                return
        time.sleep(0.1)
    process.kill()
    raise SystemExit("the app did not start")

"""Every rule holds for whoever does not use the page: by gradio's client, by hand through its queue; all other doors are shut."""

import asyncio
import gzip
import json
import re
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import psutil
import pytest
import soundfile
from gradio import Blocks, route_utils
from person import expect, sent_back
from playwright.sync_api import Page as Browsed

from ser_core.inference.profiles import ProfileStore
from ser_core.ui import streams
from ser_core.ui.doors import BUSY, Doors
from ser_core.ui.memory import IS_GLIBC

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import people  # noqa: E402

pytestmark = pytest.mark.timeout(600)


@dataclass
class ByHand:
    """A script that joins gradio's queue itself; gradio's own client reaches public events only."""

    page: people.Page

    def file(self, path: Path) -> dict:
        return self.page.upload(path)

    def ask(self, what: str, how: str = "click", **values) -> str:
        """All that comes back, as text."""
        self.page.put(**values)
        joined = self.page.join(self.page.event(what, how))
        if joined.status_code != 200:
            return joined.text
        try:
            return str([output for _, output in self.page.completed({joined.json()["event_id"]})])
        except people.Refused as error:
            return str(error)


@pytest.fixture(scope="module")
def way(app) -> Iterator[ByHand]:
    """A way past the page."""
    page = people.Page(people.client(app.url)).open()
    yield ByHand(page)
    page.close()


def names(app) -> list[str]:
    return [profile.name for profile in ProfileStore(app.workspace / "profiles.sqlite3").list()]


def recordings(app, name: str) -> tuple:
    return ProfileStore(app.workspace / "profiles.sqlite3").get(name).utterances


def agreeing(way: ByHand, name: str) -> str:
    """Agree and make a profile of one's own."""
    way.ask("enrol-consent", "input", enrol_consent=True)
    assert "is ready" in way.ask("enrol-create", enrol_name=name)
    return name


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Recordings that must be refused, by what the refusal says."""
    folder = tmp_path_factory.mktemp("bad")
    noise = np.random.default_rng(0).normal(0, 0.1, 31 * 16_000).astype(np.float32)
    files = {
        "too_long.wav": noise,
        "too_short.wav": noise[:4_000],
        "silent.wav": np.zeros(32_000, np.float32),
        "nan.wav": np.full(32_000, np.nan, np.float32),
    }
    for name, samples in files.items():
        soundfile.write(folder / name, samples, 16_000, subtype="FLOAT")
    soundfile.write(folder / "hours.flac", np.zeros(16_000 * 3_600, np.int16), 16_000)
    soundfile.write(folder / "too_large.wav", np.tile(noise[: 29 * 16_000], 6).reshape(-1, 6), 16_000, subtype="FLOAT")
    (folder / "text.wav").write_text("not audio")
    return {
        words: folder / name
        for name, words in (
            ("too_long.wav", "30 s"), ("too_short.wav", "at least 0.5 s"), ("silent.wav", "silent"),
            ("nan.wav", "not numbers|not finite|no number"), ("hours.flac", "30 s"), ("too_large.wav", "10 MB"),
            ("text.wav", "not audio that can be read"),
        )
    }  # fmt: skip


def test_nothing_is_stored_without_consent(way: ByHand, app, speech_file: Path):
    before = names(app)
    assert "Nothing is stored yet" in way.ask("enrol-create", enrol_name="Nobody asked")
    for how in ("enrol-neutral-audio", "enrol-talk-audio"):
        recording = {how.replace("-", "_"): way.file(speech_file)}
        assert re.search("Choose a profile|Nothing is stored yet", way.ask(how, "upload", **recording))
    assert names(app) == before


def test_recordings_beyond_the_limits_are_refused_in_words_without_a_path(way: ByHand, app, bad_files: dict):
    name = agreeing(way, "Limits")
    for words, file in bad_files.items():
        for what in ("enrol-fear-audio", "compare-audio"):
            said = way.ask(what, "upload", **{what.replace("-", "_"): way.file(file)})
            assert re.search(words, said), (file.name, said[:500])
            assert str(app.workspace.parent) not in re.sub(r"\S*/temporary/\S*", "", said)
    assert recordings(app, name) == ()


def test_gradios_own_client_reaches_one_event_and_its_limits_hold(app, bad_files: dict):
    from gradio_client import Client, handle_file

    client = Client(app.url, verbose=False)
    try:
        for words, file in bad_files.items():
            said = str(client.predict(handle_file(str(file)), None, None, api_name="/compare"))
            assert re.search(words, said), (file.name, said[:500])
            assert str(app.workspace.parent) not in re.sub(r"\S*/temporary/\S*", "", said)
        for name in ("/create", "/export", "/start"):
            with pytest.raises(ValueError, match="Cannot find a function"):
                client.predict("Made by a script", api_name=name)
    finally:
        client.close()


def test_free_speech_beyond_the_limits_is_refused(way: ByHand, app, tmp_path: Path):
    name = agreeing(way, "Talks")
    soundfile.write(tmp_path / "talk.flac", np.zeros(16_000 * 185, np.int16), 16_000)
    said = way.ask("enrol-talk-audio", "upload", enrol_talk_audio=way.file(tmp_path / "talk.flac"))
    assert re.search("at most 180 s", said), said[:600]
    assert ProfileStore(app.workspace / "profiles.sqlite3").get(name).talk == ()


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "{workspace}/profiles.sqlite3", "{workspace}/temporary/../profiles.sqlite3", "app.py", "/dev/zero",
     "http://127.0.0.1:9/x.wav", "http://169.254.169.254/latest", "https://example.org/x.wav", "file:///etc/passwd", "\0", 7, None],
)  # fmt: skip
def test_only_what_was_uploaded_can_be_named_as_a_file(app, way: ByHand, path):
    path = path.format(workspace=app.workspace) if isinstance(path, str) else path
    before = sorted((app.workspace / "temporary").rglob("*"))
    for what in ("compare-audio", "enrol-anger-audio", "enrol-import", "fairness-table"):
        for file in ({"path": path}, {"path": path, "url": path}, [{"path": path}], {"value": {"path": path}}):
            file = file | {"meta": {"_type": "gradio.FileData"}} if isinstance(file, dict) else file
            event = way.page.event(what, "upload")
            refused = way.page.join(event, [file, *[None] * (len(event["inputs"]) - 1)])
            assert refused.status_code == 400 and "uploaded on this page" in refused.text
            assert "passwd" not in refused.text and str(app.workspace) not in refused.text
    assert sorted((app.workspace / "temporary").rglob("*")) == before


@pytest.mark.parametrize("name", ["a/b", "..\\b", "", "x" * 65, "a\nb"])
def test_names_that_none_may_have_are_refused(way: ByHand, app, name: str):
    before = names(app)
    way.ask("enrol-consent", "input", enrol_consent=True)
    assert re.search("cannot be a name|give it 1 to 64|Type a name", way.ask("enrol-create", enrol_name=name))
    assert names(app) == before


def test_markup_in_a_name_stays_text(way: ByHand):
    name = agreeing(way, "<img src=x onerror=alert(1)>")
    assert "<img" not in way.ask("enrol-erase")
    way.page.put(enrol_name=name)
    assert "<img" not in way.ask("enrol-create")


def test_archives_beyond_the_limits_are_refused(way: ByHand, app, tmp_path: Path):
    way.ask("enrol-consent", "input", enrol_consent=True)
    before = names(app)
    document = json.dumps(
        {"format": "attune-profile", "version": 1, "name": "Bomb", "created": "2026", "utterances": []}
    )
    contents = {
        "bomb": {"profile.json": document, "01_anger.flac": bytes(201 * 10**6)},
        "climbs": {"profile.json": document, "../../outside.flac": b"fLaC"},
        "empty": {},
    }
    for name, files in contents.items():
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for inside, content in files.items():
                archive.writestr(inside, content)
        said = way.ask("enrol-import", "upload", enrol_import=way.file(tmp_path / f"{name}.zip"), enrol_name="")
        assert "pill poor" in said and str(tmp_path) not in said, said[:300]
    assert names(app) == before
    way.ask("enrol-consent", "input", enrol_consent=False)
    said = way.ask("enrol-import", "upload", enrol_import=way.file(tmp_path / "empty.zip"))
    assert "Nothing is stored yet" in said


def test_tables_beyond_the_limits_are_refused_and_no_cell_that_is_saved_is_a_formula(way: ByHand, tmp_path: Path):
    rows = [{"speaker": f"s{place}", "emotion": "anger", "predicted_emotion": "anger"} for place in range(5_001)]
    tables = {
        "5,?000": pd.DataFrame(rows),
        "'emotion'|emotion": pd.DataFrame({"speaker": ["<b>a</b>"]}),
    }
    for words, table in tables.items():
        table.to_csv(tmp_path / "table.csv", index=False)
        said = way.ask("fairness-table", "upload", fairness_table=way.file(tmp_path / "table.csv"))
        assert re.search(words, said) and "<b>a" not in said and str(tmp_path) not in said, said[:300]
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress(b"speaker,emotion\n" + b"a,anger\n" * 10**6)[:5_000])
    said = way.ask("fairness-table", "upload", fairness_table=way.file(tmp_path / "torn.csv.gz"))
    assert "Something went wrong" not in said and str(tmp_path) not in said
    formulas = pd.DataFrame({"speaker": ["=1+1", "@x"], "emotion": "anger", "predicted_emotion": ["anger", "fear"]})
    formulas.to_csv(tmp_path / "formulas.csv", index=False)
    way.page.do("fairness-table", "upload", fairness_table=way.file(tmp_path / "formulas.csv"))
    for saves in ("fairness-figure-speakers-csv", "fairness-report-predictions"):
        (file,) = way.page.do(saves).values.values()
        cells = re.findall(r"[^,\n]+", way.page.saved(file).decode())
        assert "'=1+1" in cells and not any(cell[0] in "=@" for cell in cells)


def test_trainings_that_cannot_be_are_refused_and_start_nothing(way: ByHand, app):
    wrong = (
        {"train_epochs": -3},
        {"train_folder": "/nowhere/at/all"},
        {"train_settings": "no such setting"},
        {"train_source": "/etc"},
    )
    standing = {"train_epochs": 5, "train_folder": "", "train_settings": "", "train_source": ""}
    for changes in wrong:
        said = way.ask("train-start", **(standing | changes))
        assert "Started" not in said and "Traceback" not in said
    assert not list((app.workspace / "runs").glob("*"))


SHUT = [
    *(("POST", f"/gradio_api/{route}/{name}{slash}") for route in ("run", "api", "call", "call/v2")
      for name in ("compare", "create", "stop", "nonsense") for slash in ("", "/")),
    *(("POST", f"/gradio_api/{path}") for path in (
        "component_server", "process_recording", "vibe-edit", "undo-vibe-edit", "vibe-starter-queries", "stream/x",
        "stream/x/close", "run-history/connect", "profiling/clear")),
    *(("GET", f"/gradio_api/{path}") for path in (
        "proxy=http://127.0.0.1/", "proxy=https://example.org/", "file=http://127.0.0.1:22/", "file=https://example.org/",
        "deep_link?session_hash=x", "token", "user", "queue/status", "runs", "vibe-code", "openapi.json", "dev/reload",
        "call/compare/x", "custom_component/a/client/component/index.js", "file=profiles.sqlite3")),
    ("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/monitoring"), ("GET", "/monitoring/summary"), ("GET", "/logout"),
    ("POST", "/login"), ("GET", "/?deep_link=../x"), ("PUT", "/config"), ("DELETE", "/gradio_api/upload"), ("TRACE", "/"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), SHUT, ids=lambda part: str(part))
def test_doors_that_the_page_does_not_use_are_shut(app, method: str, path: str):
    before = names(app)
    sent = {"data": ["Made by hand", None, True], "fn_index": None, "session_hash": "guessed"}
    answer = httpx.request(method, app.url + path, json=sent if method == "POST" else None, timeout=60)
    assert answer.status_code in (404, 405)
    assert str(app.workspace) not in answer.text
    assert names(app) == before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"data": [], "fn_index": 99999, "session_hash": "x"}',
     b'{"data": 3, "fn_index": 6, "session_hash": "x"}', b'{"data": [], "fn_index": "6", "session_hash": "x"}',
     b'{"data": [1], "fn_index": 6, "session_hash": "x"}', b'{"data": [1, 2, 3], "fn_index": 6, "session_hash": {}}',
     b'{"data": [1, 2, 3], "fn_index": 6}', b'{"data": ["' + b"x" * 2**21 + b'"], "fn_index": 4, "session_hash": "x"}'],
    ids=lambda content: content[:60].decode(errors="replace"),
)  # fmt: skip
def test_what_is_no_event_is_refused(app, content: bytes):
    """The app itself is asked whether it said a word of it when it ends: no stack trace may stand there."""
    for sent in (content, iter([content])):  # of known length, and piece by piece
        headers = {"Content-Type": "application/json"}
        answer = httpx.post(f"{app.url}/gradio_api/queue/join", content=sent, headers=headers, timeout=60)
        assert 400 <= answer.status_code < 500
        assert "Traceback" not in answer.text and str(app.workspace) not in answer.text


def test_headers_without_end_are_refused(app):
    answer = httpx.get(app.url, headers={"X-Much": "x" * 70_000}, timeout=60)
    assert answer.status_code in (400, 431)


def test_who_does_not_know_a_page_hears_nothing_of_it(app, way: ByHand):
    with httpx.stream("GET", f"{app.url}/gradio_api/heartbeat/{way.page.session}", timeout=60) as beats:
        assert next(beats.iter_lines()) == "data: ALIVE"
    answer = httpx.get(f"{app.url}/gradio_api/info", timeout=60)
    assert list(answer.json()["named_endpoints"]) == ["/compare"]
    assert str(app.workspace) not in answer.text


@pytest.fixture
def full(app, corpora: Path) -> Iterator[list[httpx.Response]]:
    """Somebody evaluates a corpus, and others wait for their turn until the queue is full: what those are told who come then."""
    busy, others = (people.Page(people.client(app.url)).open() for _ in range(2))
    busy.put(fairness_layout="ravdess", fairness_folder=str(corpora / "ravdess"), fairness_split="")
    works = threading.Thread(target=busy.do, args=["fairness-evaluate"])
    works.start()
    others.put(fairness_folder="", fairness_split="")
    begins = others.join(others.event("fairness-evaluate")).json()["event_id"]
    assert len(list(others.completed({begins}))) == 1
    joined = [others.join(others.called("evaluate")) for _ in range(150)]
    yield [one for one in joined if one.status_code != 200]
    asked = [one.json()["event_id"] for one in joined if one.status_code == 200]
    for event_id in asked:
        wanted = {"session_hash": others.session, "fn_index": others.called("evaluate")["id"], "event_id": event_id}
        others.client.post("/gradio_api/cancel", json=wanted)
    busy.join(busy.event("fairness-stop"))
    works.join()
    others.close()
    busy.close()


def test_a_full_queue_says_what_happened_and_what_to_do(full: list, page: Browsed):
    assert full and all(answer.status_code == 429 and answer.json()["detail"] == BUSY for answer in full)
    page.locator("#enrol-consent input").check()
    expect(page.get_by_text(BUSY).first).to_be_visible()


@pytest.fixture
def gradio(tmp_path: Path, tiny_model: Path) -> Blocks:
    """What the app mounts, not served; made where an event loop runs, for gradio closes none that it makes."""
    from ser_core.ui.build_app import build_app
    from ser_core.ui.services import Services
    from ser_core.workspace import open_workspace

    async def build() -> Blocks:
        return build_app(Services(open_workspace(tmp_path), str(tiny_model))).routes[-1].app.get_blocks()

    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(lambda: asyncio.run(build())).result()


def test_what_a_page_asked_is_not_forgotten_when_its_stream_breaks_off(app, corpora: Path):
    page = people.Page(people.client(app.url)).open()
    page.put(fairness_layout="ravdess", fairness_folder=str(corpora / "ravdess"), fairness_split="")
    list(
        page.completed({page.join(page.event("fairness-evaluate")).json()["event_id"]})
    )  # it makes what stops the next one
    asked = page.join(page.called("evaluate")).json()["event_id"]
    for _ in range(2):
        with page.client.stream("GET", "/gradio_api/queue/data", params={"session_hash": page.session}) as messages:
            assert next(messages.iter_lines()).startswith("data: ")
        time.sleep(0.5)  # the app has noticed
    stopped = page.join(page.event("fairness-stop")).json()["event_id"]
    assert {event for event, _ in page.completed({asked, stopped})} == {asked, stopped}
    page.close()


def test_what_a_page_that_left_had_asked_is_dropped(gradio: Blocks, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "LEFT_AFTER_S", 2.0)
    dropped, pages = [], streams.Streams(gradio._queue)
    monkeypatch.setattr(pages, "_drop", lambda session_hash: asyncio.sleep(0, dropped.append(session_hash)))
    gradio._queue.pending_messages_per_session |= {"stays": 1, "left": 2, "asks": 3}

    async def leave() -> None:
        with pages.open("stays"):
            for page in ("stays", "left", "asks"):
                with pages.open(page):
                    await gradio._queue.clean_events(
                        session_hash=page
                    )  # gradio does so for each stream that breaks off
            await asyncio.sleep(1.0)
            pages.asked("asks")
            while not dropped:
                await asyncio.sleep(0.01)
            assert dropped == ["left"] and list(gradio._queue.pending_messages_per_session) == ["stays", "asks"]
            while len(dropped) < 2:  # it asked, and never listened
                await asyncio.sleep(0.01)

    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(lambda: asyncio.run(leave())).result()
    assert dropped == ["left", "asks"] and list(gradio._queue.pending_messages_per_session) == ["stays"]


def test_old_uploads_are_deleted_though_another_comes_meanwhile(gradio: Blocks, tmp_path: Path):
    class Uploaded(set):
        """Another file is uploaded while the first time is under way."""

        n_looks = 0

        def __iter__(self):
            self.n_looks += 1
            for place, file in enumerate(super().__iter__()):
                yield file
                if self.n_looks == 1 and place == 0:
                    self.add("new.wav")

        def __isub__(self, others):
            self.difference_update(others)
            return self

    old = tmp_path / "old.wav"
    old.write_bytes(b"RIFF")
    gradio.temp_file_sets = [uploaded := Uploaded([str(old)])]
    route_utils.delete_files_created_by_app(gradio, 0)
    assert uploaded.n_looks == 2 and not old.exists()


@pytest.mark.parametrize("erased", ["before", "when its size is asked", "on its way", "never"])
def test_a_file_erased_before_it_is_handed_over_is_not_kept_any_more(gradio: Blocks, tmp_path: Path, erased: str):
    file = tmp_path / "answers.json"
    file.write_text("{}")

    async def hands_over(scope, receive, send):
        if erased == "on its way":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if erased != "never":
            file.unlink()
        raise RuntimeError("File at path … does not exist.")

    def ask() -> list:
        sent = sent_back(Doors(hands_over, gradio, tmp_path), f"/gradio_api/file={file}")
        return [message["status"] for message in sent if "status" in message]

    if erased == "before":
        file.unlink()
    if erased == "never":
        with pytest.raises(RuntimeError):
            ask()
    else:
        assert ask() == [200 if erased == "on its way" else 404]


def test_a_file_with_a_name_that_is_too_long_is_not_there(app):
    (folder,) = (app.workspace / "temporary").glob("*/")
    answer = httpx.get(f"{app.url}/gradio_api/file={folder}/{'a' * 300}")
    assert answer.status_code == 404 and "not kept" in answer.text


def test_messages_wait_for_so_many_pages_only(gradio: Blocks):
    streams.Streams(gradio._queue)
    waiting = gradio._queue.pending_messages_per_session
    for place in range(waiting.max_size + 1):
        waiting[str(place)] = place
    assert len(waiting) == waiting.max_size and "0" not in waiting, "as gradio's own"


def test_of_pages_that_were_left_only_the_last_are_remembered_and_of_open_ones_all(gradio: Blocks):
    page = gradio
    for place in range(20):
        page.state_holder[f"page {place}"].is_closed = place % 2 == 0
    (leave,) = (one.fn for one in page.fns.values() if any(how == "unload" for _, how in one.targets))
    leave()
    kept = [int(name.split()[1]) for name in page.state_holder.session_data]
    assert [place for place in kept if place % 2 == 0] == list(range(4, 20, 2))
    assert [place for place in kept if place % 2] == list(range(1, 20, 2))


@pytest.mark.skipif(not IS_GLIBC, reason="only glibc keeps what is freed, and can be told")
def test_what_was_freed_is_given_back_when_a_page_is_left(gradio: Blocks):
    taken = [bytearray(60_000) for _ in range(4_000)]
    last = taken.pop()  # above all the others, so that glibc keeps them
    taken.clear()
    (leave,) = (one.fn for one in gradio.fns.values() if any(how == "unload" for _, how in one.targets))
    resident = psutil.Process().memory_info
    before = resident().rss
    leave()
    assert before - resident().rss > 3_000 * len(last)


ALONE = """
import fcntl, socket, struct, sys
with socket.socket() as one:  # only the loopback interface is here, and it is down
    fcntl.ioctl(one, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import people
with people.started(Path(sys.argv[2]), "--model", sys.argv[3]) as (url, process):
    page = people.Page(people.client(url)).open()
    people.create(page, "Alone")
    people.enrol(page, "neutral", Path(sys.argv[4]))
    answer, _ = people.compare(page, Path(sys.argv[4]))
    page.close()
assert answer["profile"] == "Alone" and answer["personalised"]
"""

LISTENS = """
import os, sys
def hear(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        address = arguments
    else:
        return
    host = address[0] if isinstance(address, tuple) else address
    if host not in ("127.0.0.1", "::1", "localhost", "0.0.0.0", None, ""):
        with open(os.environ["HEARD"], "a") as heard:
            print(event, host, file=heard)
sys.addaudithook(hear)
"""


def test_in_a_network_with_nothing_else_the_app_answers_and_asks_nobody(
    tmp_path: Path, tiny_model: Path, speech_file: Path, monkeypatch: pytest.MonkeyPatch
):
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network of its own can be made here; that takes Linux and its administrator")
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(LISTENS)
    monkeypatch.setenv("HEARD", str(tmp_path / "heard.txt"))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'hook'}:{ROOT}")
    arguments = [str(ROOT / "benchmarks"), str(tmp_path / "workspace"), str(tiny_model), str(speech_file)]
    command = ["unshare", "-n", sys.executable, "-c", ALONE, *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    heard = tmp_path / "heard.txt"
    assert not heard.exists(), heard.read_text()


def test_what_listens_would_hear_a_request_to_somebody_else(tmp_path: Path):
    heard = tmp_path / "heard.txt"
    program = LISTENS + "import socket\nsocket.socket(type=socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    subprocess.run([sys.executable, "-c", program], env={"HEARD": str(heard)}, check=False, capture_output=True)
    assert "192.0.2.1" in heard.read_text()

"""The tab About, without a browser; and its cards in one."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from threading import Event, Thread

import pytest
from person import barriers, tab
from playwright.sync_api import Page, expect

import ser_core
from ser_core.inference.models import shipped_models
from ser_core.ui import about
from ser_core.ui.services import Services
from ser_core.workspace import open_workspace

ROOT = Path(ser_core.__file__).parents[1]


@pytest.fixture
def services(tmp_path: Path, tiny_model: Path) -> Services:
    return Services(open_workspace(tmp_path / "workspace"), str(tiny_model))


def test_every_model_that_ships_is_there_with_its_card(services: Services):
    filled = about.fill(services)
    for place, info in enumerate(shipped_models()):
        said, _, card, save = filled[4 * place : 4 * place + 4]
        assert info.name in said
        assert [line for line in card.splitlines() if line and not line.startswith(("<div", "</div"))] == list(
            filter(None, info.card.splitlines())
        )
        assert "Licence" in card and card.count('tabindex="0">\n\n|') == info.card.count("\n|---|") > 1
        assert Path(save.value["path"]).read_text(encoding="utf-8") == info.card


def test_a_model_without_its_weights_offers_to_get_them(services: Services, tmp_path, monkeypatch):
    monkeypatch.delenv("SER_WEIGHTS")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    place = [info.name for info in shipped_models()].index("whisper-tiny.en") * 4
    said, button = about.fill(services)[place : place + 2]
    assert "not on this computer" in said and button.visible


class Asked(list):
    """What a hub was asked for, and the hub; while its `goes_on` is not set, it stops in the middle of the weights."""

    server: ThreadingHTTPServer


@pytest.fixture
def hub(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """A hub on this computer that has whisper-tiny.en and speaks as huggingface.co does; what it was asked for."""
    files = {path.name: path for path in (weights / "whisper-tiny.en-encoder").iterdir()}
    tree = [{"type": "file", "path": name, "size": path.stat().st_size, "oid": name} for name, path in files.items()]
    asked = Asked()

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            name = self.path.rpartition("/")[2]
            said = tree if "/tree/" in self.path else {"id": "openai/whisper-tiny.en", "sha": "0" * 40, "siblings": []}
            content = files[name].read_bytes() if name in files else json.dumps(said).encode()
            self.send_response(200)
            for header, value in {
                "Content-Length": len(content),
                "ETag": f'"{name}"',
                "X-Repo-Commit": "0" * 40,
            }.items():
                self.send_header(header, str(value))
            self.end_headers()
            if self.command == "GET":
                goes_on = self.server.goes_on.is_set() or name != "model.safetensors"
                asked.append(f"sent {name}")
                self.wfile.write(content if goes_on else content[: len(content) // 2])
                self.server.goes_on.wait() if not goes_on else None

        do_HEAD = do_GET

        def log_message(self, *_) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.goes_on = Event()
        server.goes_on.set()
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        asked.server = server
        yield asked
        server.goes_on.set()
        server.shutdown()


def test_a_download_fetches_the_weights_although_the_page_itself_is_offline(services: Services, hub, monkeypatch):
    monkeypatch.delenv("SER_WEIGHTS")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (info,) = (info for info in shipped_models() if info.name == "whisper-tiny.en")
    (first, _), *_, (last, button) = about.fetch(services, info.name)
    assert "not on this computer" in first and "Downloading its weights: nothing yet" in first
    assert "ready to use" in last and "Its weights are here" in last and not button.visible
    assert info.encoder_folder(services.workspace) == services.workspace.models / info.name
    info.load_encoder(services.workspace)
    assert any(path.endswith("model.safetensors") for path in hub)


def fetching(workspace: Path, *before: str) -> subprocess.Popen:
    command = [*before, sys.executable, "-m", "ser_core", "models", "fetch", "whisper-tiny.en"]
    command += ["--workspace", str(workspace)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_HUB", "SER_WEIGHTS"))}
    return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_a_download_that_was_killed_is_no_model_and_goes_on_with_what_is_missing(hub, services: Services, monkeypatch):
    monkeypatch.delenv("SER_WEIGHTS")
    (info,) = (info for info in shipped_models() if info.name == "whisper-tiny.en")
    hub.server.goes_on.clear()
    killed = fetching(services.workspace.root)
    while "sent model.safetensors" not in hub:
        assert killed.poll() is None, killed.communicate()[1]
        time.sleep(0.05)
    time.sleep(1.0)  # what was sent arrives
    killed.kill()
    killed.communicate()
    assert "not on this machine" in info.why_unavailable(services.workspace)
    (half,) = services.workspace.models.rglob("*.incomplete")
    os.utime(half, (0, 0))  # long ago
    hub.server.goes_on.set()
    again = fetching(services.workspace.root)
    assert again.communicate(timeout=300)[1].count("Traceback") == 0 and again.returncode == 0
    info.load_encoder(services.workspace)
    assert hub.count("sent config.json") == 1  # it had arrived whole
    assert not list(services.workspace.models.rglob("*.incomplete"))


def test_without_a_network_a_download_says_so_at_once_and_leaves_nothing(tmp_path: Path):
    alone = ("unshare", "--net", "--map-root-user")
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no network of its own may be made here (unshare --net)")
    ended = fetching(tmp_path, *alone)
    said = ended.communicate(timeout=300)[1]
    assert ended.returncode == 2 and re.search("could not be fetched .* check the connection", said)
    assert not [path for path in (tmp_path / "models").rglob("*") if path.is_file()]


def test_a_download_that_fails_says_what_to_do_and_can_be_tried_again(services: Services, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")  # nobody answers there
    *_, (last, button) = about.fetch(services, "whisper-tiny.en")
    assert re.search("could not be fetched .* check the connection", last) and "Downloading" not in last
    assert str(services.workspace.root) not in last and button.interactive


def test_a_download_ends_when_nobody_waits_for_it_any_more(services: Services, monkeypatch):
    started = []

    class Noted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    fetching = about.fetch(services, "whisper-tiny.en")
    next(fetching)
    fetching.close()
    assert started[0].returncode == -signal.SIGKILL


def test_it_says_where_data_is_kept_and_how_to_erase_it(services: Services):
    services.create("Ann", True)
    said = about.kept_where(services)
    assert str(services.workspace.root) in said and "profiles.sqlite3" in said and re.search(r"\d\.\d&nbsp;MB", said)
    assert "1 profile on" in said and "Nothing is sent anywhere" in said and "delete the folder" in said


def test_versions_are_those_that_are_installed(services: Services):
    rows = {name: (version, licence) for name, version, licence in about.versions()}
    assert rows["Attune"][0] == ser_core.__version__
    for name in about.PACKAGES:
        assert rows[name][0] == metadata.version(name) and rows[name][1] not in ("", "not stated")
    report = about.for_a_report(services)
    assert f"torch {metadata.version('torch')}" in report and "commit" in report
    assert str(services.workspace.root) not in report and str(Path.home()) not in report


def test_the_law_is_told():
    assert "Article 5(1)(f)" in about.LAW and "Article 50(3)" in about.LAW and "education" in about.LAW


@pytest.mark.timeout(900)
@pytest.mark.parametrize("width", [1280, 390])
def test_cards_open_by_keyboard_and_their_tables_widen_nothing(page: Page, width: int):
    page.set_viewport_size({"width": width, "height": 844})
    tab(page, "About")
    expect(page.locator("#about-data")).to_contain_text("Nothing is sent anywhere")
    for info in shipped_models():
        page.get_by_role("button", name=f"Card of {info.name}").press("Enter")
    n_tables = sum(info.card.count("\n|---|") for info in shipped_models())
    expect(page.locator(".card-text .scroll[tabindex='0'] table:visible")).to_have_count(n_tables)
    assert not barriers(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

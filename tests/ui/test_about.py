"""The tab About, without a browser; and its cards in one."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from threading import Thread

import pytest
from person import barriers, tab
from playwright.sync_api import Page, expect

import ser_core
from ser_core.inference.models import shipped_models
from ser_core.ui import about
from ser_core.ui.services import Services
from ser_core.workspace import open_workspace


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


@pytest.fixture
def hub(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub on this computer that has whisper-tiny.en and speaks as huggingface.co does; what it was asked for."""
    files = {path.name: path for path in (weights / "whisper-tiny.en-encoder").iterdir()}
    tree = [{"type": "file", "path": name, "size": path.stat().st_size, "oid": name} for name, path in files.items()]
    asked = []

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
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield asked
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
    assert str(services.workspace.root) in said and "profiles.sqlite3" in said and "0.0&nbsp;MB" in said
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

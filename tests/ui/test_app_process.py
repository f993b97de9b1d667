"""app.py as people start and stop it."""

import asyncio
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from person import sent_back

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(600)


def refused(*arguments: str, workspace: Path) -> str:
    """What app.py says when it does not start: one line, and exit code 2."""
    command = [sys.executable, "app.py", "--no-browser", "--workspace", str(workspace), *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 2
    assert ended.stdout == "" and len(ended.stderr.splitlines()) == 1
    return ended.stderr


def get(url: str, **headers: str):
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=120)


@pytest.mark.parametrize("port", ["abc", "0", "70000", "-1"])
def test_a_port_that_is_none_is_refused(port: str, tmp_path: Path):
    assert "is not a port" in refused(f"--port={port}", workspace=tmp_path)


def test_a_port_in_use_is_refused_where_it_was_asked_for(tmp_path: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        said = refused("--port", str(other.getsockname()[1]), workspace=tmp_path)
    assert "in use by another program" in said


def test_without_a_port_the_next_free_one_is_taken(monkeypatch: pytest.MonkeyPatch):
    from ser_core.ui import serve

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr(serve, "PORT", taken)
        with serve.open_port(None) as ours:
            assert taken < ours.getsockname()[1] < taken + 20


def test_no_answer_waits_for_the_one_before_to_be_acknowledged():
    from ser_core.ui import serve

    async def delays() -> bool:
        accepted = asyncio.get_running_loop().create_future()
        listening = serve.open_port(None)
        server = await asyncio.start_server(lambda _, out: accepted.set_result(out), sock=listening)
        _, back = await asyncio.open_connection(*listening.getsockname())
        out = await accepted
        no_delay = out.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        for each in (back, out):
            each.close()
            await each.wait_closed()
        server.close()
        return not no_delay

    with ThreadPoolExecutor(1) as elsewhere:  # the browser's tests have a loop here
        assert not elsewhere.submit(lambda: asyncio.run(delays())).result()


def test_a_model_that_does_not_exist_is_refused(tmp_path: Path):
    assert "there is no model 'nonsense'" in refused("--model", "nonsense", workspace=tmp_path)


def test_a_workspace_that_is_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert "the workspace cannot be used" in refused(workspace=tmp_path / "file")


def test_it_ends_quietly_and_its_private_folder_is_empty_before_and_after(start_app, tmp_path: Path, tiny_model: Path):
    temporary = tmp_path / "temporary"
    (temporary / "left").mkdir(parents=True)
    (temporary / "left" / "voice.wav").write_bytes(b"RIFF")
    temporary.chmod(0o755)
    running = start_app(tmp_path, "--model", str(tiny_model))
    try:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o700
        assert not (temporary / "left").exists()
        (temporary / "uploaded.wav").write_bytes(b"RIFF")
        an_open_page = get(f"{running.url}/gradio_api/heartbeat/somebody")
    finally:
        printed = running.stop()
    an_open_page.close()
    assert printed.startswith(f"Attune is at {running.url}")
    assert list(temporary.iterdir()) == []


UNTIL_IT_SERVES = """
import sys, app, uvicorn
stubs, slow = [], {"torch", "transformers", "scipy", "sklearn", "fairlearn"}
sys.addaudithook(lambda event, args: stubs.append(args[0]) if event == "open" and str(args[0]).endswith(".pyi") else None)
uvicorn.Server.run = lambda server, sockets: print("gradio" in sys.modules, slow & set(sys.modules), stubs)
app.main()
"""


def test_the_first_page_waits_for_nothing_that_it_does_not_show(tmp_path: Path, tiny_model: Path):
    """Neither for the model, though it is named and so looked for, nor for statistics, nor for gradio's type stubs."""
    arguments = ["--no-browser", "--workspace", str(tmp_path), "--model", str(tiny_model)]
    command = [sys.executable, "-c", UNTIL_IT_SERVES, *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.stdout.splitlines()[1:] == ["True set() []"], ended.stderr


def test_control_c_ends_it_quietly(start_app, tmp_path: Path):
    assert start_app(tmp_path, "--device", "cpu").stop(signal.SIGINT).count("\n") == 1


def test_only_pages_of_this_computer_are_answered(app):
    assert get(app.url).status == 200
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            get(app.url, **headers)


def test_the_page_cannot_be_framed_or_sniffed(app):
    headers = get(app.url).headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Permissions-Policy"].startswith("microphone=(self)")


def test_what_gradio_raises_for_a_page_that_left_is_no_bug_and_a_bug_stays_one():
    from starlette.exceptions import HTTPException

    from ser_core.ui.serve import OnlyOurNames

    async def fails(scope, receive, send):
        raise RuntimeError("a bug")

    async def forgot_the_page(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("response already started") from HTTPException(status)

    with pytest.raises(RuntimeError):
        sent_back(OnlyOurNames(fails, {"localhost"}), "/config")
    leaves = OnlyOurNames(forgot_the_page, {"localhost"})
    status = 404
    assert len(sent_back(leaves, "/gradio_api/queue/data")) == 1
    status = 500
    with pytest.raises(RuntimeError):
        sent_back(leaves, "/gradio_api/queue/data")


@pytest.mark.parametrize("path", ["profiles.sqlite3", "../../../../../../etc/passwd"])
def test_no_file_can_be_fetched(app, path: str):
    with pytest.raises(urllib.error.HTTPError, match="403|404"):
        get(f"{app.url}/gradio_api/file={app.workspace / path}")


def test_bad_recordings_are_refused_without_the_page_as_well(app, tmp_path: Path):
    """As a script would send them, past everything that the page checks."""
    from gradio_client import Client, handle_file

    bad = tmp_path / "renamed.wav"
    bad.write_text("not audio")
    client = Client(app.url, verbose=False)
    try:
        shown = client.predict(handle_file(str(bad)), None, None, api_name="/compare")
    finally:
        client.close()
    assert any("not audio that can be read" in part for part in shown if isinstance(part, str))
    assert str(app.workspace) not in str(shown)


def test_live_sound_is_refused_without_a_take_of_its_own(app):
    """As a script would send it."""
    for query in ("piece=0&rate_hz=16000", "piece=-1&rate_hz=inf", "piece=x&rate_hz=16000"):
        request = urllib.request.Request(f"{app.url}/live/guessed?{query}", data=bytes(100), method="POST")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=60)
        refused.value.close()
        assert refused.value.code in (404, 422)

"""From a command line to a served page: a port, a private folder for what is uploaded, and only this computer let in."""

import logging
import shutil
import socket
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ser_core.workspace import Workspace

HOST = "127.0.0.1"
PORT = 7860
_N_TRIED = 20
_OUR_NAMES = {HOST, "localhost"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; frame-ancestors 'none'; form-action 'self'",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


class BadPort(ValueError):
    """A port that cannot be had; the message says what to do."""


def serve(workspace: Workspace, model: str | None, device: str, port: str | None, browser: bool) -> None:
    """Serve the app until the process is told to end (Ctrl+C, SIGTERM).

    Args:
        workspace: where everything is kept.
        model: name or folder; the best that is available if None. One that is named is checked before anything starts.
        device: 'auto', or as torch names it.
        port: as typed; 7860 or the next that is free if None.
        browser: open the page.

    Raises:
        BadPort, UnknownModel, EncoderUnavailable, DeviceUnavailable: bad input.
    """
    with closing(open_port(port)) as listening, emptied(workspace.temporary):
        from ser_core.training.jobs import empty_bin
        from ser_core.ui.build_app import build_app  # gradio takes seconds: not for a port that is taken
        from ser_core.ui.services import Services

        services = Services(workspace, model, device)
        services.models.check()
        empty_bin(workspace)
        url = f"http://{HOST}:{listening.getsockname()[1]}"
        server = uvicorn.Server(
            uvicorn.Config(
                OnlyThisComputer(build_app(services)),
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        # an open page's connection is cut off at the end; that is no news
        logging.getLogger("uvicorn.error").addFilter(lambda _record: not server.should_exit)
        print(f"Attune is at {url} (Ctrl+C ends it)", flush=True)
        services.models.start_loading()
        if browser:
            threading.Thread(target=webbrowser.open, args=[url], daemon=True).start()
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def open_port(port: str | None) -> socket.socket:
    """A socket that listens on this computer only.

    Raises:
        BadPort: no number, or taken; where none was asked for, the first twenty are all taken.
    """
    if port is not None and not (port.isdecimal() and 1 <= int(port) <= 65_535):
        raise BadPort(f"--port {port!r} is not a port; give a number from 1 to 65535")
    for number in [int(port)] if port else range(PORT, PORT + _N_TRIED):
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((HOST, number))
            opened.listen()  # from here on a browser waits instead of being turned away
            return opened
        except PermissionError:
            opened.close()
            raise BadPort(f"port {number} may not be used by you; give one above 1023 with --port") from None
        except OSError:
            opened.close()
    what = f"port {port} is" if port else f"ports {PORT} to {PORT + _N_TRIED - 1} are all"
    raise BadPort(f"{what} in use by another program; stop that program, or give another one with --port")


@contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """A folder that only its owner can read, empty at the start and at the end."""
    _empty(folder)
    try:
        yield
    finally:
        _empty(folder)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


class OnlyThisComputer:
    """Refuses pages of other hosts that reach for this one (DNS rebinding, cross-site requests); adds safety headers."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        if not _is_ours(Headers(scope=scope)):
            return await PlainTextResponse("Attune answers this computer only.", 400)(scope, receive, send)

        answered = False

        async def send_safely(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            return await self.app(scope, receive, send_safely)
        except (OSError, RuntimeError) as error:
            if not (_wants_a_deleted_file(scope) or _of_a_page_that_left(error)):
                raise
        return None if answered else await PlainTextResponse("This is not kept.", 404)(scope, receive, send)


def _wants_a_deleted_file(scope: Scope) -> bool:
    """An upload is deleted once it is stored; the page's player may still ask for it."""
    _, names_a_file, path = scope.get("path", "").partition("/gradio_api/file=")
    return bool(names_a_file) and not Path(path).exists()


def _of_a_page_that_left(error: OSError | RuntimeError) -> bool:
    """Gradio forgets a page as soon as it is left, and raises 404 in the streams it still answers, after their headers."""
    return isinstance(error.__cause__, HTTPException) and error.__cause__.status_code == 404


def _is_ours(headers: Headers) -> bool:
    named = [f"//{headers.get('host', '')}", *headers.getlist("origin")]
    return all(_host(name) in _OUR_NAMES for name in named)


def _host(address: str) -> str | None:
    with suppress(ValueError):
        return urlsplit(address).hostname
    return None

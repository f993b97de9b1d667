"""From a command line to a served page: a port, a private folder for what is uploaded, and who is let in."""

import errno
import inspect
import ipaddress
import logging
import os
import shutil
import socket
import threading
import time
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvicorn
from filelock import FileLock, Timeout
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ser_core.data.whole import disk_trouble
from ser_core.imports import uncollected
from ser_core.workspace import Workspace

if TYPE_CHECKING:
    from ser_core.ui.services import Services

logger = logging.getLogger("attune")

HOST = "127.0.0.1"
PORT = 7860
_N_TRIED = 20
_PAGE_FIRST_S = 5.0
"""After which the model is loaded where no page is open that asks for it: at once, it would keep the first page waiting."""
_FIRST_LOOK_S, _LOOK_AGAIN_S, _STEADY_S = 60.0, 3600.0, 60.0
_ALIVE = ".alive"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; frame-ancestors 'none'; form-action 'self'",
    "Referrer-Policy": "same-origin",  # with none at all, a form of our own would come from "null"
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


class BadPort(ValueError):
    """A port or an address that cannot be had; the message says what to do."""


class WorkspaceUnusable(ValueError):
    """The folder where all is kept cannot be written; the message says what to do."""


class BadServing(ValueError):
    """Options that do not go together; the message says what to do."""


@dataclass(frozen=True)
class Serving:
    """How the app is served.

    Attributes:
        model: name or folder; the best that is available if None. One that is named is checked before anything starts.
        device: 'auto', or as torch names it.
        port: as typed; 7860 or the next that is free if None.
        browser: open the page.
        keep_days: profiles that nobody used for longer are erased; none if None.
        shared: several people sign in, each with profiles of their own. What follows is for that alone.
        listen: the address to listen at; this computer only if None.
        host_names: by which it is reached, beside 'localhost'.
        certificate, private_key: files for https; both or none.
        corpora: the folder below which corpora may be evaluated and trained on; none if None.
    """

    model: str | None = None
    device: str = "auto"
    port: str | None = None
    browser: bool = False
    keep_days: int | None = None
    shared: bool = False
    listen: str | None = None
    host_names: Sequence[str] = ()
    certificate: str | None = None
    private_key: str | None = None
    corpora: str | None = None

    def check(self) -> None:
        """Look whether the options go together.

        Raises:
            BadServing: they do not.
        """
        if self.keep_days is not None and self.keep_days < 1:
            raise BadServing(f"--keep-days {self.keep_days} is not a number of days; give 1 or more")
        if not self.shared and (self.listen or self.host_names or self.certificate or self.private_key or self.corpora):
            raise BadServing(
                "--listen, --host-name, --certificate, --private-key and --corpora are for --shared; add it"
            )
        if bool(self.certificate) != bool(self.private_key):
            raise BadServing("--certificate and --private-key go together; give both files or none")
        for path in (self.certificate, self.private_key, self.corpora):
            if path and not Path(path).exists():
                raise BadServing(f"there is no '{Path(path).name}' at the place named; check the path")
        if self.listen == "0.0.0.0" and not self.host_names:
            raise BadServing("--listen 0.0.0.0 needs --host-name: the name by which others reach this computer")
        if self.listen and not self.certificate:
            raise BadServing(
                "passwords and voices would travel unprotected: give --certificate and --private-key with --listen, or leave "
                "it away and let a reverse proxy on this computer speak https"
            )


def serve(workspace: Workspace, how: Serving) -> None:
    """Serve the app until the process is told to end (Ctrl+C, SIGTERM).

    Raises:
        BadPort, BadServing, WorkspaceUnusable, StoreUnusable, UnknownModel, EncoderUnavailable, DeviceUnavailable: bad
            input.
    """
    how.check()
    with closing(open_port(how.port, how.listen or HOST)) as listening, private_folder(workspace) as workspace:
        os.environ["GRADIO_TEMP_DIR"] = str(workspace.temporary)  # before gradio is imported
        from ser_core.inference.profiles import open_store
        from ser_core.training.jobs import empty_bin

        with uncollected():
            services, app = _app(workspace, how)
        if workspace.database or workspace.key_file:  # a server that is down, or another key, is told now
            open_store(workspace).list()
        services.models.check()
        empty_bin(workspace)
        address = how.host_names[0] if how.listen and how.host_names else how.listen or HOST
        url = f"http{'s' if how.certificate else ''}://{address}:{listening.getsockname()[1]}"
        server = uvicorn.Server(
            uvicorn.Config(
                OnlyOurNames(app, {HOST, "localhost", how.listen or HOST, *map(str.lower, how.host_names)}),
                ssl_certfile=how.certificate,
                ssl_keyfile=how.private_key,
                http="h11",  # which takes no headers without end
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        # an open page's connection is cut off at the end; that is no news
        logging.getLogger("uvicorn.error").addFilter(lambda _record: not server.should_exit)
        if workspace.key_file and workspace.temporary.is_relative_to(workspace.root):
            print(
                "What the page uploads and plays is not encrypted while Attune runs: there is no /dev/shm here",
                flush=True,
            )
        print(f"Attune is at {url} (Ctrl+C ends it)", flush=True)
        unless_a_page_asks = threading.Timer(_PAGE_FIRST_S, services.models.start_loading)
        unless_a_page_asks.daemon = True
        unless_a_page_asks.start()
        if how.browser:
            threading.Thread(target=webbrowser.open, args=[url], daemon=True).start()
        with suppress(KeyboardInterrupt), erasing_unused(workspace, how.keep_days):
            server.run(sockets=[listening])


def _app(workspace: Workspace, how: Serving) -> "tuple[Services, ASGIApp]":
    """The services and the page, behind a door where it is shared; gradio takes seconds: not for a port that is taken."""
    with _without_stubs():
        from ser_core.ui.build_app import build_app

    if not how.shared:
        from ser_core.ui.services import Services

        services = Services(workspace, how.model, how.device, how.keep_days)
        return services, build_app(services)
    from ser_core.inference.accounts import Accounts
    from ser_core.ui.shared import SharedServices
    from ser_core.ui.sign_in import Door, account_of

    shared = SharedServices(workspace, how.model, how.device, how.keep_days, Path(how.corpora) if how.corpora else None)
    accounts = Accounts(workspace)
    if not accounts.list():
        print("Nobody can sign in yet: make accounts with “python -m ser_core accounts add NAME”.", flush=True)
    return shared, Door(build_app(shared, account_of), shared, accounts)


@contextmanager
def _without_stubs() -> Iterator[None]:
    """Import gradio in half the time: it does not write stubs for editors then, as it does of all that has a file."""

    def nowhere(_defined: object) -> str:
        raise OSError

    find, inspect.getfile = inspect.getfile, nowhere
    try:
        yield
    finally:
        inspect.getfile = find


def open_port(port: str | None, host: str = HOST) -> socket.socket:
    """A socket that listens at an address, by itself on this computer only.

    Raises:
        BadPort: no number, or taken; where none was asked for, the first twenty are all taken; or no address of this
            computer.
    """
    if not _is_address(host):
        raise BadPort(f"--listen {host!r} is no IPv4 address; give one of this computer, or 0.0.0.0 for all of them")
    if port is not None and not (port.isdecimal() and 1 <= int(port) <= 65_535):
        raise BadPort(f"--port {port!r} is not a port; give a number from 1 to 65535")
    for number in [int(port)] if port else range(PORT, PORT + _N_TRIED):
        # said to be TCP, or asyncio lets it wait 40 ms with the second half of every answer (Nagle's algorithm)
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((host, number))
            opened.listen()  # from here on a browser waits instead of being turned away
            return opened
        except PermissionError:
            opened.close()
            raise BadPort(f"port {number} may not be used by you; give one above 1023 with --port") from None
        except OSError as error:
            opened.close()
            if error.errno == errno.EADDRNOTAVAIL:
                raise BadPort(f"{host} is no address of this computer; give another one with --listen") from None
    what = f"port {port} is" if port else f"ports {PORT} to {PORT + _N_TRIED - 1} are all"
    raise BadPort(f"{what} in use by another program; stop that program, or give another one with --port")


@contextmanager
def private_folder(workspace: Workspace) -> Iterator[Workspace]:
    """The workspace with a folder for this app's page, which only its owner can read; what dead apps have left is deleted.

    Several apps may use one workspace: each holds a lock beside its folder as long as it lives, whatever way it ends.

    Raises:
        WorkspaceUnusable: nothing can be written there.
    """
    temporary = workspace.temporary
    one_at_a_time = FileLock(workspace.root / "temporary.lock")  # not beside a folder in memory: anybody writes there
    try:
        temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        in_memory = not temporary.is_relative_to(workspace.root)
        if in_memory and (
            temporary.is_symlink() or temporary.stat().st_uid != os.getuid()
        ):  # anybody may make one there
            raise WorkspaceUnusable("the private folder of the page belongs to somebody else; let them take it away")
        temporary.chmod(0o700)
        with one_at_a_time:
            _sweep(temporary)
            if in_memory and (workspace.root / "temporary").is_dir():
                _sweep(workspace.root / "temporary")  # from before recordings were encrypted
            own = Path(mkdtemp(dir=temporary))
            alive = FileLock(own.with_suffix(_ALIVE))
            alive.acquire()
    except OSError as error:
        why = disk_trouble(error) or f"{error.strerror}: name another folder with --workspace"
        raise WorkspaceUnusable(f"nothing can be written into the workspace; {why}") from None
    try:
        yield replace(workspace, app=own.name)
    finally:
        with one_at_a_time:
            alive.release()
            _sweep(temporary)


def _sweep(temporary: Path) -> None:
    """Delete all but the folders of apps that live."""
    for lock in temporary.glob(f"*{_ALIVE}"):
        with suppress(Timeout):
            FileLock(lock, timeout=0).acquire().lock.release()
            lock.unlink(missing_ok=True)
    for left in temporary.iterdir():
        if left.suffix != _ALIVE and not left.with_suffix(_ALIVE).exists():
            shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def erasing_unused(workspace: Workspace, days: int | None) -> Iterator[None]:
    """Meanwhile, profiles that nobody used for so many days are erased, soon after the start and then every hour.

    Not while the clock is in doubt: where it was set during the last hour, that is left for the next.
    """
    ended = threading.Event()

    def look() -> None:
        wait_s, ahead = _FIRST_LOOK_S, time.time() - _since_start()
        while not ended.wait(wait_s):
            wait_s, was, ahead = _LOOK_AGAIN_S, ahead, time.time() - _since_start()
            if abs(ahead - was) < _STEADY_S:
                _erase_unused(workspace, days)

    if days:
        threading.Thread(target=look, name="retention", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _since_start() -> float:
    """Seconds that nobody can set, and that go on while the computer sleeps where it can tell that."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _erase_unused(workspace: Workspace, days: int) -> None:
    """One look; what keeps it from being done is logged, and the next look tries again."""
    from ser_core.inference.profiles import expire_unused

    try:
        erased = expire_unused(workspace, days)
    except ValueError as error:
        logger.warning("unused profiles were not erased: %s", error)
    else:
        for one in erased:
            logger.warning(
                "a profile that nobody used for more than %d days was erased (%d recordings)", days, one.n_utterances
            )


class OnlyOurNames:
    """Refuses pages of other hosts that reach for this one (DNS rebinding, cross-site requests); adds safety headers."""

    def __init__(self, app: ASGIApp, names: set[str]):
        self.app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        if not self._is_ours(Headers(scope=scope)):
            words = "Attune answers this computer only, and by the names it was started with."
            return await PlainTextResponse(words, 400)(scope, receive, send)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            return await self.app(scope, receive, send_safely)
        except (OSError, RuntimeError) as error:
            if not _of_a_page_that_left(error):
                raise

    def _is_ours(self, headers: Headers) -> bool:
        named = [f"//{headers.get('host', '')}", *headers.getlist("origin")]
        return all(_host(name) in self._names for name in named)


def _of_a_page_that_left(error: OSError | RuntimeError) -> bool:
    """Gradio forgets a page as soon as it is left, and raises 404 in the streams it still answers, after their headers."""
    return isinstance(error.__cause__, HTTPException) and error.__cause__.status_code == 404


def _host(address: str) -> str | None:
    with suppress(ValueError):
        return urlsplit(address).hostname
    return None


def _is_address(host: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.IPv4Address(host))
    return False

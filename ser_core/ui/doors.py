"""The doors of gradio: those that the page goes through are open, all others are shut; and what is said at a full one.

Mounted into an application, gradio takes any file of this computer, and any address, for an upload; serves events over four
routes more than the page uses; and answers what it cannot make out with a stack trace in the log.
"""

import json
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exception_handlers import http_exception_handler
from gradio import Blocks, Error, route_utils
from gradio.components import checkboxgroup, dropdown, radio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ser_core.ui.streams import Streams

BUSY = (
    "Attune is busy: too many people ask it for something at the same moment. This was not done and nothing is lost; "
    "wait a few seconds, then try again."
)

MAY_USE = "attune.may_use"
"""Where the scope says, in shared mode, whether the page of an event is one of whoever sends it."""

_READ = re.compile(
    r"/(config/?|theme\.css|favicon\.ico|manifest\.json|robots\.txt|(static|assets|svelte)/.*)?"
    r"|/gradio_api/(info|queue/data|upload_progress|startup-events|theme\.css|heartbeat/[\w-]+|file=(/|\w:[/\\]).*)",
    re.DOTALL,
)
_SENT = re.compile(r"/gradio_api/(queue/join|upload|cancel|reset)")
_EVENT, _ANSWERS, _FILE = "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/file="
_MAX_EVENT_BYTES = 2**20
_DELETING_TRIES = 100
_MAX_HEADER_BYTES = 2**16


class Doors:
    """Lets through what the page asks for; files in it must have been uploaded."""

    def __init__(self, app: ASGIApp, page: Blocks, uploads: Path):
        """Stand before gradio.

        Args:
            app: gradio.
            page: whose events there are.
            uploads: the folder where gradio puts them.
        """
        self._app, self._page, self._uploads = app, page, uploads.resolve()
        self._streams = Streams(page._queue)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if refusal := _refusal(scope, path):
            return await refusal(scope, receive, send)
        file = path.removeprefix(_FILE)
        if file != path and self._was_uploaded(file):
            return await self._handed_over(Path(file), scope, receive, send)
        if path == _ANSWERS:
            with self._streams.open(Request(scope).query_params.get("session_hash", "")):
                return await self._app(scope, receive, send)
        if path != _EVENT:
            return await self._app(scope, receive, send)
        content = await _content(Request(scope, receive))
        if refusal := self._refused_event(content, scope.get(MAY_USE, lambda _page: True)):
            return await refusal(scope, receive, send)

        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": content, "more_body": False}

        return await self._app(scope, again, send)

    async def _handed_over(self, file: Path, scope: Scope, receive: Receive, send: Send) -> None:
        """An upload is deleted once it is stored; the page's player may still ask for it, or be fetching it just then."""
        began = False

        async def sends(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            if _is_there(file):
                return await self._app(scope, receive, sends)
        except (OSError, RuntimeError):
            if _is_there(file):
                raise
        return None if began else await _no(404, "This is not kept any more.")(scope, receive, send)

    def _refused_event(self, content: bytes, may_use: Callable[[str], bool]) -> Response | None:
        if len(content) > _MAX_EVENT_BYTES:
            return _no(413, "This is more than the page ever sends.")
        try:
            event = json.loads(content)
            data, number = event["data"], event["fn_index"]
            wanted = self._page.fns[number].inputs
            is_whole = isinstance(data, list) and len(data) == len(wanted)
        except (ValueError, TypeError, KeyError, RecursionError):
            is_whole = False
        if not is_whole:
            return _no(400, "This is no event of the page; reload the page.")
        page = str(event.get("session_hash") or "")
        if not may_use(page):
            return _no(403, "This is not yours.")
        if not all(self._was_uploaded(path) for path in _files(data)):
            return _no(400, "A file is needed that was uploaded on this page; choose it once more.")
        self._streams.asked(page)
        return None

    def _was_uploaded(self, path: Any) -> bool:
        try:
            return self._uploads in Path(path).resolve().parents
        except (TypeError, ValueError, OSError):
            return False


class _OwnFile(route_utils.GradioUploadFile):
    """An upload that shares its place with no other; gradio gives two people who send the same file one, which the first to be done deletes."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.sha.update(secrets.token_bytes(16))


route_utils.GradioUploadFile = _OwnFile


_delete_old = route_utils.delete_files_created_by_app


def _delete_old_at_last(page: Blocks, age: int | None) -> None:
    """What gradio does on schedule; when a file is uploaded in that very moment it would fail, and never delete again."""
    for _ in range(_DELETING_TRIES):
        with suppress(RuntimeError):
            _delete_old(page, age)
            break


route_utils.delete_files_created_by_app = _delete_old_at_last


for _module in (
    checkboxgroup,
    dropdown,
    radio,
):  # what was not on offer is told, and not written down with names of people
    _module.Error = partial(Error, print_exception=False)


def guard(mounted: FastAPI, page: Blocks, uploads: Path) -> None:
    """Shut all doors of a mounted page but those it needs, and speak our own words at a full queue.

    Args:
        mounted: gradio's application, not asked for anything yet.
        page: what it serves.
        uploads: the folder where gradio puts what is uploaded.
    """

    async def in_our_words(request: Request, error: HTTPException) -> Response:
        if error.status_code == 503:  # for that one status gradio's page has words of its own
            error = HTTPException(429, BUSY, {"Retry-After": "3"})
        return await http_exception_handler(request, error)

    mounted.add_exception_handler(HTTPException, in_our_words)
    mounted.add_middleware(Doors, page=page, uploads=uploads)


def _refusal(scope: Scope, path: str) -> Response | None:
    if sum(len(name) + len(value) for name, value in scope["headers"]) > _MAX_HEADER_BYTES:
        return _no(431, "The headers of this request are too long.")
    doors = {"GET": _READ, "HEAD": _READ, "POST": _SENT}.get(scope["method"])
    if doors is None or not doors.fullmatch(path) or b"deep_link" in scope["query_string"]:
        return _no(404, "There is nothing here.")
    return None


def _is_there(file: Path) -> bool:
    with suppress(OSError):  # a name that is too long
        return file.exists()
    return False


async def _content(request: Request) -> bytes:
    """The body; what is too long is broken off."""
    content = bytearray()
    if int(request.headers.get("content-length") or 0) <= _MAX_EVENT_BYTES:
        async for part in request.stream():
            content += part
            if len(content) > _MAX_EVENT_BYTES:
                break
        return bytes(content)
    return bytes(_MAX_EVENT_BYTES + 1)


def _files(data: Any) -> list:
    """What is named as a path or an address, however deep."""
    found, waiting = [], [data]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            found += [one["path"]] if "path" in one else []
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


def _no(status: int, words: str) -> JSONResponse:
    return JSONResponse({"detail": words}, status, {"Connection": "close"} if status == 413 else None)

"""Shared mode's door: nothing of the app is answered before somebody has signed in.

A session is a random cookie that scripts cannot read; what it stands for is in memory only, so that all end with the
app. Behind the door the account travels in the request's scope, as ACCOUNT; gradio asks `account_of` for it.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ser_core.inference.accounts import Account, Accounts
from ser_core.inference.archives import ProfileError
from ser_core.inference.profiles import folded
from ser_core.ui.doors import MAY_USE
from ser_core.ui.errors import sentence
from ser_core.ui.limits import Limit, TooOften
from ser_core.ui.shared import NotYours, SharedServices
from ser_core.ui.sign_in_page import sign_in_page

ACCOUNT = "attune.account"
"""Where the scope says who signed in: an account's id, as text."""

COOKIE = "attune-session"
SESSION_S = 12 * 3600
_LOOK_AGAIN_S = 10.0
"""How often it is looked whether the account is still there, with the same password."""

_MOST_SESSIONS = 16
"""Of an account."""

_MAX_BODY = 4096  # bytes
_OPEN = ("/healthz",)


def account_of(request: HTTPConnection) -> str | None:
    """Who signed in; for gradio's `auth_dependency`."""
    return request.scope.get(ACCOUNT)


@dataclass
class _Session:
    account: Account
    began: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)


class Sessions:
    """Who is signed in just now."""

    def __init__(self, accounts: Accounts, left: Callable[[Account], None]):
        """Nobody yet; `left` is told of an account whose last session has ended."""
        self._accounts, self._left = accounts, left
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def begin(self, account: Account) -> str:
        """A session, by a token that nobody can guess; the account's oldest ends where it has too many."""
        now, token = time.monotonic(), secrets.token_urlsafe(32)
        sessions = list(self._sessions.items())
        over = [one for one, session in sessions if now - session.began > SESSION_S]
        own = [one for one, session in sessions if session.account.id == account.id]
        with self._lock:
            self._sessions[token] = _Session(account)
        for one in {*over, *own[: len(own) + 1 - _MOST_SESSIONS]}:
            self.end(one)
        return token

    def account(self, token: str | None) -> Account | None:
        """Whose session it is; None if there is none, it is over, or its account is gone or has another password."""
        session = self._sessions.get(token or "")
        if session is None:
            return None
        now = time.monotonic()
        over = now - session.began > SESSION_S
        if not over and now - session.looked > _LOOK_AGAIN_S:
            over = not self._accounts.stands(session.account)
            session.looked = now
        if over:
            self.end(token)
            return None
        return session.account

    def end(self, token: str | None) -> None:
        """Sign out."""
        with self._lock:
            ended = self._sessions.pop(token or "", None)
            others = {session.account.id for session in self._sessions.values()}
        if ended and ended.account.id not in others:
            self._left(ended.account)


class Door:
    """Lets nobody in who has not signed in; `/sign-in`, `/sign-out` and whether the app is there are open to all."""

    def __init__(self, app: ASGIApp, services: SharedServices, accounts: Accounts):
        """The app behind the door.

        Args:
            app: what is behind it.
            services: they know whose a page or a file is.
            accounts: who may sign in.
        """
        self.app = app
        self._services, self._accounts = services, accounts
        self._sessions = Sessions(accounts, lambda account: services.for_account(account).leave())
        self._by_name = Limit(5, 60, "more than 5 sign-ins as this account failed within a minute")
        self._by_address = Limit(20, 60, "more than 20 sign-ins from your computer failed within a minute")
        self._guessing = threading.Semaphore(2)  # each check takes 32 MiB and a core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in _OPEN:
            return await self.app(scope, receive, send)
        connection = HTTPConnection(scope)
        try:
            account = await run_in_threadpool(self._sessions.account, connection.cookies.get(COOKIE))
            if scope["type"] == "http" and scope["path"] in ("/sign-in", "/sign-out"):
                answer = await self._open(Request(scope, receive), account)
                return await answer(scope, receive, send)
        except ProfileError as error:  # the database is busy, or its server down
            return await PlainTextResponse(sentence(error), 503, {"Retry-After": "5"})(scope, receive, send)
        if account is None:
            return await _turned_away(scope)(scope, receive, send)
        if not self._may(connection, account):
            return await PlainTextResponse("This is not yours.", 403)(scope, receive, send)
        known = {ACCOUNT: str(account.id), MAY_USE: partial(self._is_theirs, account)}
        return await self.app({**scope, **known}, receive, _unkept(send))

    def _may(self, connection: HTTPConnection, account: Account) -> bool:
        """Whether the page and the file that are named, if any, are the account's own."""
        path, page = connection.scope["path"], connection.query_params.get("session_hash")
        _, names_a_page, beating = path.partition("/heartbeat/")
        _, names_a_file, file = path.partition("/file=")
        if names_a_file and not self._services.for_account(account).files.may_see(file):
            return False
        return self._is_theirs(account, page or (beating if names_a_page else None))

    def _is_theirs(self, account: Account, page: str | None) -> bool:
        try:
            self._services.claim(page, self._services.for_account(account))
        except NotYours:
            return False
        return True

    async def _open(self, request: Request, account: Account | None) -> Response:
        if request.url.path == "/sign-out":
            return (
                await run_in_threadpool(self._signed_out, request)
                if request.method == "POST"
                else RedirectResponse("/", 303)
            )
        if request.method != "POST":
            return RedirectResponse("/", 303) if account else HTMLResponse(sign_in_page())
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > _MAX_BODY:
                return PlainTextResponse("This is too long for a name and a password.", 413)
        filled = parse_qs(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=10)
        name, password = (filled.get(key, [""])[0] for key in ("name", "password"))
        return await run_in_threadpool(self._sign_in, name, password, request)

    def _sign_in(self, name: str, password: str, request: Request) -> Response:
        address = request.client.host if request.client else ""
        key = folded(name)[:200]
        try:
            self._by_address.take(address)
            self._by_name.take(key)
        except TooOften as error:
            return HTMLResponse(sign_in_page(name, sentence(error)), 429, {"Retry-After": str(error.wait_s)})
        with self._guessing:
            account = self._accounts.signed_in(name, password)
        if account is None:
            return HTMLResponse(sign_in_page(name, "No account has this name and password. Nothing was changed."), 401)
        self._by_address.forgive(address)
        self._by_name.forgive(key)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE,
            self._sessions.begin(account),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    def _signed_out(self, request: Request) -> Response:
        self._sessions.end(request.cookies.get(COOKIE))
        # the browser forgets which profile was chosen: the next one at this computer may be somebody else
        answer = RedirectResponse("/sign-in", 303, {"Clear-Site-Data": '"storage", "cache"'})
        answer.delete_cookie(COOKIE)
        return answer


def _turned_away(scope: Scope) -> Response:
    wants_page = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/"
    if wants_page:
        return RedirectResponse("/sign-in", 303)
    return PlainTextResponse("Sign in first.", 401)


def _unkept(send: Send) -> Send:
    """What somebody sees stays in no browser's cache, where the next one could find it."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if name.lower() != b"cache-control"]
            message = {**message, "headers": [*kept, (b"cache-control", b"no-store")]}
        await send(message)

    return sent

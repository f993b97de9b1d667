"""Shared mode: one page for all accounts, each of which has services, and so profiles and files, of its own."""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from ser_core.inference.accounts import Account
from ser_core.inference.consent import SHARED
from ser_core.ui.limits import Limit
from ser_core.ui.services import Services
from ser_core.workspace import Workspace

if TYPE_CHECKING:
    import gradio as gr

_MOST_PAGES = 1_000
"""Of an account, that are remembered as its own."""

TAKES = (30, 60.0)
"""How many recordings are heard, for each account, and within how many seconds."""


class NotYours(ValueError):
    """Something of another account was reached for."""


class SharedServices(Services):
    """What all accounts share: the models, who listens live, the trainings. It has no profiles itself."""

    is_shared = True
    wording = SHARED

    def __init__(
        self, workspace: Workspace, model: str | None, device: str, keep_days: int | None, corpora: Path | None
    ):
        """As `Services`; `corpora` is the folder below which corpora may be read, none if None."""
        super().__init__(workspace, model, device, keep_days)
        self.profiles = self.store
        del self.store  # whoever forgets to ask whose services these are fails, and sees nobody's profiles
        self._corpora = corpora.resolve() if corpora else None
        self._takes = Limit(*TAKES, f"more than {TAKES[0]} recordings within a minute")
        self._accounts: dict[int, AccountServices] = {}
        self._lock = threading.Lock()

    def of(self, request: "gr.Request") -> Services:
        """The services of whoever signed in.

        Raises:
            NotYours: the page belongs to another account.
        """
        account = self._accounts[int(request.username)]  # the door let nobody else in
        self.claim(request.session_hash, account)
        return account

    def for_account(self, account: Account) -> "AccountServices":
        """The services of whoever signed in."""
        with self._lock:
            if account.id not in self._accounts:
                self._accounts[account.id] = AccountServices(self, account)
            return self._accounts[account.id]

    def claim(self, page: str | None, account: "AccountServices") -> None:
        """A page belongs to the account that first came with it.

        Raises:
            NotYours: that was another one.
        """
        with self._lock:
            if page and any(page in other.pages for other in self._accounts.values() if other is not account):
                raise NotYours("this page belongs to another account; reload it")
            if page:
                account.pages[page] = None
                account.pages.move_to_end(page)
            while len(account.pages) > _MOST_PAGES:
                account.pages.popitem(last=False)


class AccountServices(Services):
    """One account's: profiles, files, visits and pages of its own, the rest shared."""

    is_shared = True

    def __init__(self, shared: SharedServices, account: Account):
        """Of an account; nothing is opened before it is first used."""
        self.workspace, self.wording = shared.workspace, shared.wording
        self.models, self.scribe, self.listeners = shared.models, shared.scribe, shared.listeners
        self.visits, self.pages = WeakSet(), OrderedDict[str, None]()
        self.store, self.account_name = shared.profiles.of(account.id), account.name
        self.files = shared.files.apart()
        self._account, self._shared, self._refused = account.id, shared, set()

    def leave(self) -> None:
        """Nobody is signed in any more: what was uploaded, played and saved meanwhile goes."""
        for visit in list(self.visits):
            visit.clear()
        self._refused.clear()
        self.files.empty()

    def whose(self, name: str) -> str:
        return f"{self._account}/{name}"  # a slash can be in no name

    def take(self) -> None:
        self._shared._takes.take(str(self._account))

    def may_read(self, path: Path) -> Path:
        corpora = self._shared._corpora
        if corpora is None:
            raise NotYours(
                "where Attune is shared, corpora can be read only if whoever runs it named their folder (--corpora)"
            )
        if not path.resolve().is_relative_to(corpora):
            raise NotYours(
                "where Attune is shared, only corpora in the folder that was named for it (--corpora) can be read; ask whoever runs it"
            )
        return path

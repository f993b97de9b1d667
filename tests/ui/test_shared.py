"""Shared mode, reached for as an attacker would: without a session, with another account's ids, by guessing passwords."""

import asyncio
import inspect
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from person import barriers
from playwright.sync_api import Browser

from ser_core.inference.accounts import Accounts
from ser_core.inference.consent import SHARED, consent_now
from ser_core.inference.profiles import open_store
from ser_core.ui import serve, sign_in, train
from ser_core.ui.build_app import build_page
from ser_core.ui.limits import Limit, TooOften
from ser_core.ui.serve import BadServing, Serving
from ser_core.ui.services import Services
from ser_core.ui.shared import NotYours, SharedServices
from ser_core.ui.sign_in import COOKIE, Sessions
from ser_core.workspace import Workspace, open_workspace

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two accounts."""
    made = open_workspace(tmp_path_factory.mktemp("shared") / ".attune")
    for name in ("Ann", "Bo"):
        Accounts(made).add(name, f"{PASSWORD} of {name}")
    return made


@pytest.fixture(scope="module")
def shared(start_app: Callable, workspace: Workspace, calibrated_model: Path):
    running = start_app(workspace.root, "--shared", "--model", str(calibrated_model))
    yield running
    running.stop()


@pytest.fixture
def visitor(shared) -> httpx.Client:
    """Somebody who has not signed in."""
    with httpx.Client(base_url=shared.url, timeout=120) as client:
        yield client


def signed_in(url: str, name: str) -> httpx.Client:
    client = httpx.Client(base_url=url, timeout=120)
    answer = client.post("/sign-in", data={"name": name, "password": f"{PASSWORD} of {name}"})
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    return client


@pytest.fixture(scope="module")
def ann(shared):
    client = signed_in(shared.url, "Ann")
    yield client
    client.close()


@pytest.fixture(scope="module")
def bo(shared):
    client = signed_in(shared.url, "Bo")
    yield client
    client.close()


def asks(client: httpx.Client) -> Client:
    """The same person by gradio's own client."""
    return Client(str(client.base_url), verbose=False, httpx_kwargs={"cookies": dict(client.cookies)})


def calls(client: httpx.Client, function: int, data: list, page: str) -> httpx.Response:
    """Join the queue as the page does."""
    body = {"data": data, "fn_index": function, "session_hash": page, "trigger_id": None, "event_data": None}
    return client.post("/gradio_api/queue/join", json=body)


def train_form(**changes) -> tuple:
    """What the tab Train sends, filled in as little as can be."""
    empty = dict.fromkeys((item.name for item in fields(train.Form)), "")
    filled = {"recipe": "smoke", "layout": "ravdess", "folder": "here", "tune": "none", "test_share": 0.2}
    return tuple((empty | filled | changes).values())


def functions(client: httpx.Client) -> dict[tuple[str, str] | str, int]:
    """Functions of the page by the element and the event that call them, and by their names."""
    config = client.get("/config").json()
    elements = {one["id"]: one["props"].get("elem_id") for one in config["components"]}
    by_event = {
        (elements[target], event): made["id"]
        for made in config["dependencies"]
        for target, event in made["targets"]
        if elements.get(target)
    }
    return by_event | {made["api_name"]: made["id"] for made in config["dependencies"] if made["api_name"]}


def said(client: httpx.Client, page: str) -> str:
    """All that the queue says until the event is done."""
    lines = []
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": page}) as stream:
        for line in stream.iter_lines():
            lines.append(line)
            if "process_completed" in line or "unexpected_error" in line:
                break
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/config"),
        ("GET", "/gradio_api/info"),
        ("POST", "/gradio_api/run/compare"),
        ("POST", "/gradio_api/call/compare"),
        ("POST", "/gradio_api/queue/join"),
        ("GET", "/gradio_api/queue/data?session_hash=x"),
        ("POST", "/gradio_api/upload"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/heartbeat/x"),
        ("POST", "/live/guessed?piece=0&rate_hz=16000"),
        ("GET", "/theme.css"),
    ],
)
def test_nothing_is_answered_before_somebody_signed_in(visitor, method, path):
    for headers in ({}, {"Cookie": f"{COOKIE}=guessed"}):
        answer = visitor.request(method, path, headers=headers)
        assert (answer.status_code, answer.text) == (401, "Sign in first.")


def test_the_page_leads_to_the_sign_in_and_only_whether_the_app_is_there_is_told(visitor):
    answer = visitor.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    page = visitor.get("/sign-in")
    assert page.status_code == 200 and "prohibited in the EU" in page.text and page.headers["x-frame-options"] == "DENY"
    assert set(visitor.get("/healthz").json()) == {"state"}


def test_an_unknown_name_and_a_wrong_password_are_told_alike_and_markup_stays_text(visitor):
    answers = [
        visitor.post("/sign-in", data={"name": name, "password": "wrong, wrong, wrong"})
        for name in ("Cleo", "<b>Dee</b>")
    ]
    wrong = visitor.post("/sign-in", data={"name": "Bo", "password": "wrong, wrong, wrong"})
    assert {answer.status_code for answer in (*answers, wrong)} == {401}
    assert wrong.text == answers[0].text.replace("Cleo", "Bo")
    assert "<b>Dee" not in answers[1].text and "&lt;b&gt;Dee" in answers[1].text
    assert visitor.post("/sign-in", content=b"x" * 5000).status_code == 413


def test_after_five_failures_even_the_right_password_has_to_wait_and_others_need_not(workspace, shared, visitor):
    Accounts(workspace).add("Eve", f"{PASSWORD} of Eve")
    codes = [visitor.post("/sign-in", data={"name": "eve ", "password": "guess"}).status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]
    refused = visitor.post("/sign-in", data={"name": "Eve", "password": f"{PASSWORD} of Eve"})
    assert refused.status_code == 429 and 1 <= int(refused.headers["retry-after"]) <= 60
    assert "wait" in refused.text and COOKIE not in refused.cookies
    signed_in(shared.url, "Bo").close()


def test_the_session_is_a_cookie_that_no_script_and_no_other_page_can_use(shared):
    with httpx.Client(base_url=shared.url) as client:
        fields = {"name": "Ann", "password": f"{PASSWORD} of Ann"}
        cookie = client.post("/sign-in", data=fields).headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        page = client.get("/")
        assert page.status_code == 200 and page.headers["cache-control"] == "no-store"
        token = dict(client.cookies)
        assert client.post("/sign-out").headers["clear-site-data"] == '"storage", "cache"'
    with httpx.Client(base_url=shared.url, cookies=token) as client:
        assert client.get("/config").status_code == 401


def test_two_accounts_use_one_name_and_neither_reaches_what_the_other_keeps(workspace, ann, bo):
    """Bo's browser says that Ann's profile was chosen before."""
    stores = {one.name: open_store(workspace, one.id) for one in Accounts(workspace).list()}
    for name, profiles in (("Ann", ("Me", "Only Ann")), ("Bo", ("Me",))):
        for profile in profiles:
            stores[name].create(profile, consent_now(SHARED))
    assert open_store(workspace).list() == []
    does = functions(bo)
    for client, page, reached in ((bo, "page-of-bo", False), (ann, "page-of-ann", True)):
        calls(client, does["restore_choice"], ["Only Ann", None], page)
        said(client, page)
        calls(client, does["enrol-erase", "click"], [None], page)
        assert ("This erases “Only Ann”" in said(client, page)) is reached
        calls(client, does["enrol-erase-confirm", "click"], [None], page)
        assert ("Erased “Only Ann”" in said(client, page)) is reached
        assert ("Only Ann" in [one.name for one in stores["Ann"].list()]) is not reached
    assert [[one.name for one in stores[name].list()] for name in ("Ann", "Bo")] == [["Me"], ["Me"]]


def test_a_page_of_another_account_cannot_be_used(ann, bo):
    press = functions(ann)["enrol-example", "click"]
    calls(ann, press, [], "secret-page")
    assert "process_completed" in said(ann, "secret-page")
    assert bo.get("/gradio_api/queue/data", params={"session_hash": "secret-page"}).status_code == 403
    assert bo.get("/gradio_api/heartbeat/secret-page").status_code == 403
    assert calls(bo, press, [], "secret-page").status_code == 403


def test_a_file_made_for_one_account_is_given_to_no_other(shared, ann, bo):
    does = functions(ann)
    calls(ann, does["enrol-example", "click"], [], "a-page-of-ann")
    said(ann, "a-page-of-ann")
    calls(ann, does["enrol-export", "click"], [None], "a-page-of-ann")
    said(ann, "a-page-of-ann")
    [made] = list((shared.workspace / "temporary").rglob("accounts/**/attune-*.zip"))
    assert ann.get(f"/gradio_api/file={made}").content.startswith(b"PK")
    for path in (
        made,
        f"{made.parent}/../{made.parent.name}/{made.name}",
        f"/{made}",
        str(made).replace("accounts", "./accounts"),
    ):
        assert bo.get(f"/gradio_api/file={path}").status_code == 403
    payload = {"path": str(made), "meta": {"_type": "gradio.FileData"}}
    calls(bo, does["enrol-import", "upload"], [payload, "Stolen", None], "a-page-of-bo")
    assert "not one of this page" in said(bo, "a-page-of-bo")


def test_who_uploads_the_same_file_gets_one_of_their_own(shared, ann, bo):
    places = [
        client.post("/gradio_api/upload", files={"files": ("same.wav", b"the same content")}).json()[0]
        for client in (ann, ann, bo)
    ]
    assert len(set(places)) == 3 and all(Path(place).read_bytes() == b"the same content" for place in places)


def test_the_one_and_thirtieth_recording_of_a_minute_is_refused_for_its_account_alone(ann, bo, tmp_path):
    bad = tmp_path / "no.wav"
    bad.write_text("no sound")
    asking, other = asks(ann), asks(bo)
    try:
        shown = [str(asking.predict(handle_file(str(bad)), None, None, api_name="/compare")) for _ in range(31)]
        theirs = str(other.predict(handle_file(str(bad)), None, None, api_name="/compare"))
    finally:
        asking.close()
        other.close()
    assert ["more than 30 recordings" in one for one in [s.lower() for s in shown]] == [False] * 30 + [True]
    assert "more than 30" not in theirs.lower()


def test_every_handler_that_touches_the_services_asks_whose_they_are(workspace):
    services = SharedServices(workspace, None, "auto", None, None)

    async def build():  # gradio makes a loop of its own where none runs, and leaves it open
        return build_page(services)

    with ThreadPoolExecutor(1) as elsewhere:  # in this thread Playwright may have a loop
        page = elsewhere.submit(lambda: asyncio.run(build())).result()
    handlers = [made.fn for made in page.fns.values() if made.fn is not None]
    asking = [handler for handler in handlers if "asker" in inspect.signature(handler).parameters]
    assert len(asking) > 100
    for handler in set(handlers) - set(asking):
        held = inspect.getclosurevars(handler).nonlocals.values() if inspect.isfunction(handler) else ()
        assert not any(isinstance(one, SharedServices) for one in held), handler


def test_corpora_are_read_below_the_folder_that_was_named_only(workspace, tmp_path):
    accounts = Accounts(workspace)
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "way-out").symlink_to(tmp_path)
    services = SharedServices(workspace, None, "auto", None, tmp_path / "corpora").for_account(accounts.get("Ann"))
    assert services.may_read(tmp_path / "corpora" / "ravdess")
    for path in (tmp_path, tmp_path / "corpora" / ".." / "x", tmp_path / "corpora" / "way-out" / "x", Path("/etc")):
        with pytest.raises(NotYours, match="--corpora"):
            services.may_read(path)
    for typed in ("ravdess=..", "ravdess=/etc", "ravdess=x/../.."):
        with pytest.raises(NotYours, match="only corpora in the folder"):
            train._allowed_order(services, train_form(folder=str(tmp_path / "corpora" / "ravdess"), further=typed))
    with pytest.raises(NotYours, match="named their folder"):
        SharedServices(workspace, None, "auto", None, None).for_account(accounts.get("Ann")).may_read(tmp_path)


def test_who_leaves_takes_along_what_was_played_and_saved(workspace, tmp_path):
    services = SharedServices(workspace, None, "auto", None, None)
    ann, bo = (services.for_account(Accounts(workspace).get(name)) for name in ("Ann", "Bo"))
    files = [Path(one.files.document("x.txt", "words")) for one in (ann, bo)]
    ann.leave()
    assert [path.exists() for path in files] == [False, True]


def test_a_session_ends_with_its_account_its_password_or_its_time(workspace, monkeypatch):
    accounts = Accounts(workspace)
    account = accounts.add("Finn", PASSWORD)
    gone: list = []
    sessions = Sessions(accounts, gone.append)
    tokens = [sessions.begin(account) for _ in range(2)]
    assert all(sessions.account(token) == account for token in tokens) and sessions.account("guessed") is None
    sessions.end(tokens[0])
    assert sessions.account(tokens[0]) is None and gone == []
    monkeypatch.setattr(sign_in, "_LOOK_AGAIN_S", 0.0)
    assert sessions.account(tokens[1]) == account
    accounts.change("Finn", "another password")
    assert sessions.account(tokens[1]) is None and gone == [account]
    late = sessions.begin(accounts.get("Finn"))
    monkeypatch.setattr(sign_in, "SESSION_S", -1.0)
    assert sessions.account(late) is None


def test_too_many_sessions_of_an_account_end_its_oldest_and_nobody_elses(workspace, monkeypatch):
    monkeypatch.setattr(sign_in, "_MOST_SESSIONS", 2)
    accounts = Accounts(workspace)
    sessions = Sessions(accounts, lambda account: None)
    other = sessions.begin(accounts.get("Bo"))
    tokens = [sessions.begin(accounts.get("Ann")) for _ in range(3)]
    assert [sessions.account(token) is not None for token in (other, *tokens)] == [True, False, True, True]


def test_a_name_in_another_spelling_of_unicode_is_no_further_guess(workspace, visitor):
    Accounts(workspace).add("Zoé", PASSWORD)
    spellings = ("Zoé", "Zoe\u0301", "ZOÉ", " zoé ", "zoe\u0301", "ZOE\u0301")
    codes = [
        visitor.post("/sign-in", data={"name": name, "password": "guess, guess"}).status_code for name in spellings
    ]
    assert codes == [401] * 5 + [429]


def test_whoever_agreed_to_another_end_is_asked_again(tmp_path):
    asked = [Services(open_workspace(tmp_path), keep_days=days) for days in (30, None, 60)]
    assert "at most 30 days" in dict(asked[0].wording.points)["For how long"]
    made = asked[0].create("Ann", agreed=True)
    assert made.consent.version.endswith("30 days")
    assert [services.has_agreed(made) for services in asked] == [True, False, False]


def test_what_was_not_on_offer_is_told_and_not_logged():
    with pytest.raises(gr.Error) as told:
        gr.Dropdown(["a name"]).preprocess("another")
    assert told.value.print_exception is False


def test_a_limit_counts_for_each_key_and_forgets_what_is_long_ago():
    limit = Limit(2, 0.2, "more than two")
    for key in ("a", "a", "b"):
        limit.take(key)
    with pytest.raises(TooOften, match="more than two; wait 1 s") as refused:
        limit.take("a")
    assert refused.value.wait_s == 1
    limit.forgive("a")
    limit.take("a")
    time.sleep(0.25)
    limit.take("a")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shared": True, "listen": "0.0.0.0"}, "needs --host-name"),
        ({"listen": "0.0.0.0"}, "are for --shared"),
        ({"shared": True, "listen": "127.0.0.2"}, "travel unprotected"),
        ({"shared": True, "certificate": __file__}, "go together"),
        ({"shared": True, "certificate": "/no/where", "private_key": __file__}, "no 'where'"),
        ({"keep_days": 0}, "not a number of days"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, words):
    with pytest.raises(BadServing, match=words):
        Serving(**options).check()


def test_an_address_that_is_none_of_this_computers_is_refused():
    for host, words in (("everywhere", "no IPv4 address"), ("192.0.2.1", "no address of this computer")):
        with pytest.raises(serve.BadPort, match=words):
            serve.open_port(None, host)


def test_the_sign_in_page_is_accessible_and_no_wider_than_a_telephone(browser: Browser, shared):
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
        page = context.new_page()
        page.goto(f"{shared.url}/sign-in")
        assert barriers(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_label("Name").fill("Bo")
        page.get_by_label("Password").fill(f"{PASSWORD} of Bo")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("Signed in as Bo").wait_for(timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Password").wait_for()
        context.close()

"""The page: its tabs and how it is served."""

from collections.abc import Callable
from pathlib import Path

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool

from ser_core.data.whole import disk_trouble
from ser_core.inference.archives import MAX_UNPACKED  # the largest of the limits; recordings have their own
from ser_core.ui import about, compare, enrol, fairness, train
from ser_core.ui.doors import guard
from ser_core.ui.errors import for_people, sentence
from ser_core.ui.listening import MAX_PIECE_BYTES, answer
from ser_core.ui.memory import give_back, keep_few_heaps
from ser_core.ui.runs import Around
from ser_core.ui.services import Services
from ser_core.ui.theme import CSS, HEADER, THEME, safe

_DELETE_UPLOADS = (600, 3600)
"""Every ten minutes, what is older than an hour; all of it when the app ends."""

_MAX_WAITING = 128
"""Events, of all pages: a page that comes asks for eight at once, and ten people may come at the same moment."""

_LEFT_KEPT = 8
"""Of so many pages that were left, the latest, what they showed is kept: a computer may only have slept."""

_SCRIPTS = ("page.js", "enrol.js", "live.js")


def signed_in(services: Services) -> str:
    """Who is signed in, and the way out."""
    return (
        f'<form class="signed-in" method="post" action="sign-out">Signed in as <b>{safe(services.account_name)}</b> '
        "<button>Sign out</button></form>"
    )


def build_page(services: Services) -> gr.Blocks:
    """The tabs, and the choice of a profile that they share."""
    blocks = gr.Blocks(title="Attune", analytics_enabled=False, delete_cache=_DELETE_UPLOADS)
    # before it is filled: afterwards gradio would describe every part of it once more
    with blocks.queue(max_size=_MAX_WAITING, default_concurrency_limit=2, api_open=False) as page:
        chosen = gr.State(enrol.NOBODY)  # the name of the profile in use; whoever sets it makes all tabs follow
        # in the browser, so that a reload finds it again: nothing but the name; the secret hides it from nobody
        remembered = gr.BrowserState(enrol.NOBODY, storage_key="attune-profile", secret="attune")
        gr.HTML(HEADER)
        if services.is_shared:
            account = gr.HTML(elem_id="account")
            page.load(for_people(signed_in, services), None, account, api_visibility="private", show_progress="hidden")
        enrol.microphone_help()
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab("Enrol", id="enrol") as tab:
                enrol.build(services, chosen, remembered, tab, page)
            with gr.Tab("Compare", id="compare") as tab:
                models = compare.build(services, chosen, tab, page)
            with gr.Tab("Fairness", id="fairness") as tab:
                opened = fairness.build(services, tab, page)
            with gr.Tab("Train", id="train") as tab:
                train.build(services, tab, page, Around(tabs, opened.outputs, opened.models, models))
            with gr.Tab("About", id="about") as tab:
                about.build(services, tab)
        page.unload(lambda: _forget_left(page))
    return page


def _forget_left(page: gr.Blocks) -> None:
    """Gradio keeps what ten thousand pages showed, some megabytes each."""
    holder = page.state_holder
    left = [name for name, one in list(holder.session_data.items()) if one.is_closed]  # the latest at the end
    for name in left[:-_LEFT_KEPT]:
        holder.session_data.pop(name, None)
        holder.time_last_used.pop(name, None)
    give_back()


def build_app(services: Services, account_of: Callable[[Request], str | None] | None = None) -> FastAPI:
    """The page as a web application, closed in every way that gradio leaves open.

    Args:
        services: what it calls.
        account_of: who signed in, where it is shared; gradio then answers nobody else.
    """
    keep_few_heaps()
    app, page = FastAPI(docs_url=None, redoc_url=None, openapi_url=None), build_page(services)
    _own_routes(app, services)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        auth_dependency=account_of,
        theme=THEME,
        css=CSS,
        head=_scripts(),
        max_file_size=MAX_UNPACKED,
        run_history=False,
        footer_links=[],
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        show_error=False,
        allowed_paths=[],
        pwa=False,
    )
    mounted = app.routes[-1].app  # what was mounted last
    guard(mounted, page, services.workspace.temporary)
    mounted.add_exception_handler(OSError, _no_room_for_an_upload)
    return app


def _no_room_for_an_upload(_request: Request, error: OSError) -> PlainTextResponse:
    """Where gradio puts what is uploaded onto the disk itself; every other trouble is a bug."""
    if not (trouble := disk_trouble(error)):
        raise error
    return PlainTextResponse(sentence(trouble), 507)


def _own_routes(app: FastAPI, services: Services) -> None:
    """Whether the app is there; and where live sound goes."""

    @app.get("/healthz")
    def healthz() -> dict:
        services.listeners.tidy()
        return {"state": services.models.state()}

    @app.post("/live/{token}")
    async def hear(token: str, piece: int, rate_hz: int, request: Request) -> JSONResponse:
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > MAX_PIECE_BYTES + 1:
                break  # it is refused below, whatever else comes
        status, shown = await run_in_threadpool(answer, services.listeners, token, piece, rate_hz, bytes(content))
        return JSONResponse(shown, status)


def _scripts() -> str:
    """Our own JavaScript, within the page: nothing is fetched from elsewhere."""
    folder = Path(__file__).parent
    return "".join(f"<script>{(folder / name).read_text(encoding='utf-8')}</script>" for name in _SCRIPTS)

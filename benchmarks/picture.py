"""A figure's page (HTML by plotly, offline) as a picture: python benchmarks/picture.py FIGURE.html PICTURE.svg|png [--width N].

Needs Chromium and playwright (the extra `dev`).
"""

import base64
import os
import shutil
from argparse import ArgumentParser
from pathlib import Path
from urllib.parse import unquote

from playwright.sync_api import sync_playwright

HEIGHT_PX = 900


def main() -> None:
    """Draw it in a browser and keep what was drawn."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=900)
    arguments = parser.parse_args()
    kind = arguments.picture.suffix.removeprefix(".")
    arguments.picture.parent.mkdir(parents=True, exist_ok=True)
    arguments.picture.write_bytes(drawn(arguments.page, kind, arguments.width))


def drawn(page_file: Path, kind: str, width: int) -> bytes:
    """The first figure of the page as 'svg' or 'png'."""
    browser = os.environ.get("BROWSER_PATH") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = opened.new_page(viewport={"width": width, "height": HEIGHT_PX})
        page.goto(page_file.resolve().as_uri())
        page.wait_for_selector(".js-plotly-plot .main-svg")
        data = page.evaluate(
            "([kind, width]) => { const figure = document.querySelector('.js-plotly-plot');"
            " return Plotly.toImage(figure, {format: kind, width, height: figure.layout.height, scale: 2}); }",
            [kind, width],
        )
        opened.close()
    head, _, content = data.partition(",")
    return base64.b64decode(content) if head.endswith("base64") else unquote(content).encode()


if __name__ == "__main__":
    main()

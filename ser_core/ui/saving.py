"""A button that makes a file when it is pressed, and saves it.

gradio's own download button saves what was made before the press.
"""

from collections.abc import Callable, Sequence

import gradio as gr

from ser_core.ui.theme import PLUMBING


class SaveButton:
    """Two buttons: the one that is pressed, and a hidden one from which the browser takes the file."""

    def __init__(self, words: str, elem_id: str, min_width: int):
        self.button = gr.Button(words, size="sm", elem_id=elem_id, scale=0, min_width=min_width)
        self._file = gr.DownloadButton("File", elem_id=f"{elem_id}-file", **PLUMBING)
        self._js = f"() => window.attune.save('{elem_id}-file')"

    def makes(self, handler: Callable, inputs: Sequence, **options) -> None:
        """What the press runs; it gives back a path."""
        made = self.button.click(handler, inputs, self._file, trigger_mode="once", **options)
        made.success(None, None, None, js=self._js)


def picture_buttons(figure: str, name: str) -> None:
    """Buttons that save a plotly figure, by its elem_id, as it is drawn on the page: NAME.svg, NAME.png."""
    for kind in ("svg", "png"):
        words = f"Save the picture ({kind.upper()})"
        button = gr.Button(words, size="sm", elem_id=f"{figure}-{kind}", scale=0, min_width=180)
        button.click(None, None, None, js=f"() => window.attune.picture('{figure}', '{name}.{kind}')")

"""Files of results: CSV in which no cell can be taken for a formula (OWASP ASVS 5, 1.2.10), JSON in which nan is null."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ser_core.data.whole import written


class BadJson(ValueError):
    """A file that holds no JSON object."""


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")


def to_csv(table: pd.DataFrame) -> str:
    """CSV with a header, without the index; numbers with five decimals, text that looks like a formula behind a quote.

    >>> to_csv(pd.DataFrame({"speaker": ["=1+1"], "uar": [0.5]}))
    "speaker,uar\\n'=1+1,0.50000\\n"
    """
    text = {name: table[name].map(_harmless) for name in table.columns if not _holds_numbers(table[name])}
    shown = table.assign(**text).rename(columns=_harmless)
    return shown.to_csv(index=False, float_format="%.5f", lineterminator="\n")


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write `to_csv` whole or not at all."""
    with written(path) as hidden:
        hidden.write_text(to_csv(table), encoding="utf-8")


def _holds_numbers(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def _harmless(value: object) -> object:
    if not isinstance(value, str):
        return value
    line = " ".join(value.splitlines()) if value.splitlines() != [value] else value  # a row of its own to some readers
    return f"'{line}" if value.startswith(_FORMULA) or line.lstrip().startswith(_FORMULA) else line


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `to_json` whole or not at all."""
    with written(path) as hidden:
        hidden.write_text(to_json(content), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file.

    Raises:
        BadJson: absent, no JSON, or something else than an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise BadJson(f"'{path.name}' is missing or holds no JSON object; write or fetch it again")
    return content


def to_json(content: Mapping[str, Any]) -> str:
    """Strict JSON: numbers that do not exist become null."""
    return json.dumps(_without_nan(content), indent=2, ensure_ascii=False, allow_nan=False)


def _without_nan(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content

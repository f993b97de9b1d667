"""Protected attributes: which group a speaker belongs to, by gender, age, language or any further column of the manifest."""

import pandas as pd

from ser_core.data.manifest import BadCorpus

AGE = "age"
_AGE_BANDS = {"under 25": (0, 25), "25 to 39": (25, 40), "40 to 59": (40, 60), "60 and over": (60, 200)}


def groups_of(table: pd.DataFrame, attribute: str) -> pd.Series:
    """Group of each row's speaker by a column of the manifest; ages in bands; None where it is not known.

    Raises:
        BadCorpus: the manifest has no such column.
    """
    if attribute not in table:
        raise BadCorpus(
            f"no corpus has a column '{attribute}', which data.protected names; add it to the manifest, or take gender, age or "
            f"language"
        )
    return table[attribute].map(age_band if attribute == AGE else known_group)


def age_band(age: object) -> str | None:
    """The band of an age in years.

    >>> age_band(31), age_band("unknown")
    ('25 to 39', None)
    """
    years = pd.to_numeric(age, errors="coerce")
    return next((band for band, (low, high) in _AGE_BANDS.items() if low <= years < high), None)


def known_group(value: object) -> str | None:
    """The value as a group; None where nothing or 'unknown' stands."""
    return None if pd.isna(value) or str(value).strip().lower() in ("", "unknown") else str(value)

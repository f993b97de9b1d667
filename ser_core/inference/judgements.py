"""Was the answer right? What a person said they meant, beside what both answers said."""

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")


@dataclass(frozen=True)
class Judgement:
    """One answer, and what was meant.

    Attributes:
        at: when it was answered, ISO 8601, UTC.
        model: which model answered.
        personaliser: which of its personalisers; None if nobody was enrolled.
        meant: one of `labels.EMOTIONS`, or 'other'.
        baseline: the baseline's emotion.
        personalised: the personalised one; None if there was none.
    """

    at: str
    model: str
    personaliser: str | None
    meant: str
    baseline: str
    personalised: str | None


@dataclass(frozen=True)
class Tally:
    """How often the answers were right: the baseline's among `n`, the personalised ones among `n_personalised`."""

    n: int
    baseline_right: int
    n_personalised: int
    personalised_right: int


def tally(judgements: Sequence[Judgement]) -> Tally:
    """Count.

    >>> tally([Judgement("", "m", None, "fear", "fear", None), Judgement("", "m", "p", "fear", "anger", "fear")])
    Tally(n=2, baseline_right=1, n_personalised=1, personalised_right=1)
    """
    personalised = [one for one in judgements if one.personalised is not None]
    return Tally(
        n=len(judgements),
        baseline_right=sum(one.baseline == one.meant for one in judgements),
        n_personalised=len(personalised),
        personalised_right=sum(one.personalised == one.meant for one in personalised),
    )


def to_csv(judgements: Sequence[Judgement], sure: Sequence[tuple[bool, bool | None]]) -> str:
    """One row a judgement; no cell can be taken for a formula by a spreadsheet (OWASP ASVS 5, 1.2.10).

    Args:
        judgements: of one visit.
        sure: whether each one's two answers were sure; None where there was no such answer.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*(item.name for item in fields(Judgement)), "baseline_sure", "personalised_sure"])
    for judgement, both in zip(judgements, sure, strict=True):
        rows.writerow([*(_harmless(value) for value in astuple(judgement)), *both])
    return text.getvalue()


def _harmless(value: str | None) -> str:
    text = value or ""
    return f"'{text}" if text.startswith(_FORMULA) else text

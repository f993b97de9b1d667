"""How well people do: the line beside which a model's numbers stand, where it is known."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class HumanLine:
    """What listeners reach on a corpus, by voice alone.

    Attributes:
        uar: of single listeners' answers.
        gini: over the actors they listened to.
        source: where it comes from, in words.
    """

    uar: float
    gini: float
    source: str


HUMAN_LINES = {
    "crema_d": HumanLine(
        0.407, 0.102, "CREMA-D, single listeners' answers, voice only (Cao et al. 2014, IEEE TAC 5(4))"
    )
}
"""Quoted, not measured here: the listeners' single answers are not among the labels at hand."""


def human_line(corpora: Iterable[str]) -> HumanLine | None:
    """Of a corpus that is looked at alone; None otherwise: people's share of other sentences says nothing about these."""
    names = set(corpora)
    return HUMAN_LINES.get(names.pop()) if len(names) == 1 else None

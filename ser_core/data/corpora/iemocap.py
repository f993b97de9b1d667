"""IEMOCAP: Busso et al. 2008, Language Resources and Evaluation 42, 335-359. By signed agreement.

Session1 … 5/dialog/EmoEvaluation/DIALOGUE.txt, whose lines '[start - end] UTTERANCE emotion [valence, activation,
dominance]' hold what the listeners agreed on, beside dialog/transcriptions/DIALOGUE.txt and
sentences/wav/DIALOGUE/UTTERANCE.wav. Attributes are means of listeners' ratings from 1 to 5. Excitement counts as
happiness, as is common practice; frustration is *other* here.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ser_core.data.manifest import BadCorpus, Corpus, existing_files, few_texts, make_corpus, read_text
from ser_core.labels import ATTRIBUTES

_EMOTIONS = {
    "ang": "anger", "hap": "happiness", "exc": "happiness", "sad": "sadness", "neu": "neutral", "fea": "fear",
    "sur": "surprise", "dis": "disgust", "fru": "other", "oth": "other", "xxx": "no_agreement",
}  # fmt: skip
_GENDERS = {"F": "female", "M": "male"}
_AGREED = re.compile(r"\[[^\]]*\]\s+((Ses\d\d)[FM]_\w+_([FM])\d+)\s+(\w+)\s+\[([^,\]]*),([^,\]]*),([^,\]]*)\]")
_SAID = re.compile(r"(Ses\w+)\s+\[[^\]]*\]:\s*(.*)")
_SCALE = (1.0, 5.0)


def load(folder: Path) -> Corpus:
    """Read the listeners' evaluations, transcriptions and sentences of the sessions that are there.

    Raises:
        BadCorpus: not this layout, a line or emotion that cannot be read, or more than one in twenty recordings missing.
    """
    sheets = sorted(folder.glob("Session*/dialog/EmoEvaluation/Ses*.txt"))
    if not sheets:
        raise BadCorpus("iemocap: Session1/dialog/EmoEvaluation/Ses01F_impro01.txt … was expected, and there is none")
    rows = [row for sheet in sheets for row in _utterances(sheet)]
    if not rows:
        raise BadCorpus("iemocap: no line of EmoEvaluation/ is '[start - end] UTTERANCE emotion [v, a, d]'")
    table, missing = existing_files("iemocap", pd.DataFrame(rows).set_index("utterance_id"), "sentences/wav/*/*.wav")
    table, outside = _inside(table)
    problems = (*_not_evaluated(folder, sheets), *missing, *outside, *few_texts(table, "dialog/transcriptions/*.txt"))
    return make_corpus("iemocap", table, problems, _SCALE, "listeners")


def _inside(table: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Means outside of the scale (the release is said to have a few) are left out, and the problem in words."""
    low, high = _SCALE
    rated = table[list(ATTRIBUTES)]
    values = rated.apply(pd.to_numeric, errors="coerce")  # what is no number is refused later, by name
    wrong = values.lt(low) | values.gt(high)
    words = f"{int(wrong.sum().sum())} means lie outside of the scale of {low:g} to {high:g} and were left out"
    return table.assign(**rated.mask(wrong)), (words,) if wrong.any(axis=None) else ()


def _utterances(sheet: Path) -> Iterator[dict]:
    """One row for each line that begins with a time; the lines below it are the single listeners."""
    session, dialogue = sheet.parents[2], sheet.stem
    texts = _texts(session / "dialog" / "transcriptions" / sheet.name)
    for line in read_text(sheet).splitlines():
        if not line.startswith("["):
            continue
        utterance, prefix, letter, emotion, valence, activation, dominance = _agreed(line, sheet.name)
        yield {
            "utterance_id": utterance,
            "path": str(session / "sentences" / "wav" / dialogue / f"{utterance}.wav"),
            "speaker": f"iemocap_{prefix}{letter}",  # the dialogue's own letter says who wore the markers
            "gender": _GENDERS[letter],
            "language": "en",
            "emotion": _EMOTIONS[emotion],
            "arousal": activation,
            "valence": valence,
            "dominance": dominance,
            "text": texts.get(utterance),
        }


def _agreed(line: str, name: str) -> list[str]:
    match = _AGREED.match(line)
    if match is None:
        raise BadCorpus(
            f"iemocap: {name} has the line '{line[:80]}'; '[start - end] UTTERANCE emotion [v, a, d]' was expected"
        )
    if match[4] not in _EMOTIONS:
        raise BadCorpus(f"iemocap: emotion '{match[4]}' of '{match[1]}' is not one of {' '.join(_EMOTIONS)}")
    return [part.strip() for part in match.groups()]


def _texts(path: Path) -> dict[str, str]:
    """What was said, by utterance; empty if there is no transcription."""
    lines = read_text(path).splitlines() if path.is_file() else []
    said = {match[1]: " ".join(match[2].split()) for line in lines if (match := _SAID.match(line))}
    return {utterance: text for utterance, text in said.items() if text}


def _not_evaluated(folder: Path, sheets: list[Path]) -> tuple[str, ...]:
    """Dialogues with recordings and no evaluation, in words."""
    named = {sheet.stem for sheet in sheets}
    without = sorted({path.name for path in folder.glob("Session*/sentences/wav/Ses*")} - named)
    return (
        (f"{len(without)} dialogues have recordings and no EmoEvaluation, '{without[0]}' among them",)
        if without
        else ()
    )

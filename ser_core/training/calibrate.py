"""What puts a model's baseline right by free speech of a person: learned from its training speakers, measured on others.

Free speech is imitated by some of a speaker's utterances, 30 s of them where there are as many, whose labels are not looked at and which are never
targets: drawn at random ('mixed'), or the neutral ones only, for most free talk is neutral.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each, target_rows
from ser_core.data.manifest import Corpus
from ser_core.data.tables import write_json
from ser_core.data.whole import replaced
from ser_core.evaluation.individual import gini, speaker_uar
from ser_core.evaluation.performance import uar
from ser_core.inference.calibration import CalibrationSettings, PriorCorrection, SpeakerStatistics
from ser_core.inference.models import CALIBRATION, VOICES, read_model
from ser_core.inference.predict import answers
from ser_core.inference.voices import VoiceLine
from ser_core.labels import APP_EMOTIONS, GENDERS
from ser_core.methods.base import Method
from ser_core.methods.checkpoint import load_method
from ser_core.recipe import DataChoice, read_split
from ser_core.training.card import write_card
from ser_core.training.hearing import embedded
from ser_core.training.preparation import in_label_set
from ser_core.training.provenance import provenance
from ser_core.training.ship import SPLIT
from ser_core.workspace import Workspace

TALK_S = 30.0
_MOST_OF_ONE = 80
"""Utterances of one speaker from which voices are learned."""

_USUAL_S = 3.0
"""Of an utterance whose length the manifest does not say."""

N_SIMILAR = (3, 5, 10)
SHRINKAGES = (3.0, 10.0, 30.0, 100.0)
BASELINE, ENROLLED = "baseline", "labelled enrolment"
MIXED, NEUTRAL = "calibrated, mixed talk", "calibrated, neutral talk"


def fit_correction(
    method: Method, utterances: Utterances, train: np.ndarray, settings: CalibrationSettings | None = None
) -> PriorCorrection:
    """Learned from labelled rows of training speakers, by a method that uses no enrolment."""
    said = answers(method, of_all_classes(utterances), train, {})
    speaker = utterances.corpus.table["speaker"].to_numpy()[train]
    return PriorCorrection(settings).fit(
        said.embedding.astype(np.float64), speaker, utterances.emotion[train], said.probability.astype(np.float64),
        utterances.classes[train],
    )  # fmt: skip


def of_all_classes(utterances: Utterances) -> Utterances:
    """As an app hears them, which knows of no corpus that lacks a class."""
    everything = replace(utterances)
    everything.__dict__["classes"] = np.ones_like(utterances.classes)
    return everything


def chosen_settings(
    correction: PriorCorrection, method: Method, utterances: Utterances, choice: pd.DataFrame, dev: Collection[str]
) -> CalibrationSettings:
    """k and shrinkage with the best mean over dev speakers of UAR after mixed and after neutral talk; several draws of it."""
    scores = {}
    for n_similar, shrinkage in product(N_SIMILAR, SHRINKAGES):
        correction.settings = CalibrationSettings(n_similar, shrinkage)
        said = [
            predictions(correction, method, utterances, choice, dev, how, np.random.default_rng([draw, 7]))
            for draw in range(5)
            for how in (MIXED, NEUTRAL)
        ]
        scores[n_similar, shrinkage] = np.mean([speaker_uar(one).mean() for one in said])
    return CalibrationSettings(*max(scores, key=scores.get))


def predictions(
    correction: PriorCorrection,
    method: Method,
    utterances: Utterances,
    choice: pd.DataFrame,
    speakers: Collection[str],
    how: str,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """What is said of the targets that no imitated talk needs: the same for every `how` with the same `rng`.

    Args:
        correction: fitted.
        method: gives the baseline's answers, or with `ENROLLED` those of the enrolled speaker.
        utterances: of all speakers.
        choice: who is enrolled with what; never targets.
        speakers: who is recognised.
        how: BASELINE, MIXED, NEUTRAL or ENROLLED.
        rng: draws the talk.
    """
    table, tables = utterances.corpus.table, []
    free = target_rows(utterances.corpus, choice)
    for speaker in sorted(speakers):
        own = rng.permutation(np.flatnonzero(free & (table["speaker"] == speaker).to_numpy()))
        talks = imitated_talk(utterances, own)
        targets = np.setdiff1d(own, np.concatenate(list(talks.values())))
        enrolment = utterances.enrolment_rows(choice) if how == ENROLLED else {}
        said = answers(method, utterances, targets, enrolment).probability
        if how in talks:
            open_minded = of_all_classes(utterances)
            heard = answers(method, open_minded, talks[how], {})
            known = SpeakerStatistics.of(heard.embedding.astype(np.float64), heard.probability.astype(np.float64))
            said = correction.transform(answers(method, open_minded, targets, {}).probability, known)
            said = said * utterances.classes[targets]  # among the classes that the corpus has, as the others are
        rows = table.iloc[targets][["speaker", "gender", "corpus", "emotion"]]
        predicted = np.array(utterances.emotions)[said.argmax(axis=1)]
        tables.append(rows.assign(predicted_emotion=predicted, n_talk=len(talks.get(how, ()))))
    return pd.concat(tables)


def imitated_talk(utterances: Utterances, rows: np.ndarray) -> Mapping[str, np.ndarray]:
    """Rows that stand for free speech, of those given in random order; about half of the neutral ones stay for targets."""
    duration = pd.to_numeric(utterances.corpus.table["duration_s"]).fillna(_USUAL_S).to_numpy(dtype=float)
    neutral = (
        rows[utterances.emotion[rows] == utterances.emotions.index("neutral")]
        if "neutral" in utterances.emotions
        else rows[:0]
    )
    talks = {}
    for how, some in ((MIXED, rows), (NEUTRAL, neutral[: (len(neutral) + 1) // 2])):
        n = int(np.searchsorted(np.cumsum(duration[some]), TALK_S)) + 1
        talks[how] = some[: min(n, max(len(rows) // 2, 1))]
    return talks


def measured(
    correction: PriorCorrection,
    methods: Mapping[str, Method],
    utterances: Utterances,
    choice: pd.DataFrame,
    speakers: Collection[str],
    n_draws: int = 5,
) -> dict[str, dict[str, float]]:
    """UAR, Gini and worst speaker of each answer, on the same targets; means over draws of the talk.

    Args:
        correction: of the baseline.
        methods: BASELINE, and ENROLLED where labelled enrolment is to stand beside.
        utterances, choice, speakers: as for `predictions`.
        n_draws: of talk.
    """
    lines = {}
    for how in (BASELINE, MIXED, NEUTRAL, *([ENROLLED] if ENROLLED in methods else [])):
        method = methods[ENROLLED if how == ENROLLED else BASELINE]
        tables = [
            predictions(correction, method, utterances, choice, speakers, how, np.random.default_rng([draw, 8]))
            for draw in range(n_draws)
        ]
        of_speakers = [speaker_uar(one) for one in tables]
        lines[how] = {
            "uar": float(np.mean([uar(one["emotion"], one["predicted_emotion"]) for one in tables])),
            "gini": float(np.mean([gini(one) for one in of_speakers])),
            "worst_speaker": float(np.mean([one.min() for one in of_speakers])),
            "neutral_recall": float(np.mean([_recall(one, "neutral") for one in tables])),
            "n_talk": float(np.mean([one.groupby("speaker")["n_talk"].first().mean() for one in tables])),
            "n_speakers": len(of_speakers[0]), "n_targets": float(np.mean([len(one) for one in tables])),
        }  # fmt: skip
    return lines


def voice_line(method: Method, utterances: Utterances, train: np.ndarray) -> VoiceLine:
    """Between the low and the high voices of training rows; which is which their speakers' gender says."""
    rng, speaker = np.random.default_rng(0), utterances.speaker[train]
    some = np.concatenate([rng.permutation(train[speaker == one])[:_MOST_OF_ONE] for one in np.unique(speaker)])
    some = some[utterances.gender[some] >= 0]
    return VoiceLine.fit(_front(method, utterances, some), utterances.gender[some] == GENDERS.index("female"))


def two_voices(line: VoiceLine, method: Method, utterances: Utterances, speakers: Collection[str]) -> dict[str, float]:
    """How often a dozen utterances of one speaker are taken for two people's, and half a dozen of each of two are not."""
    rng, table = np.random.default_rng(9), utterances.corpus.table
    rows = {one: np.flatnonzero((table["speaker"] == one).to_numpy()) for one in sorted(speakers)}
    first = {one: table.iloc[of[0]] for one, of in rows.items()}

    def taken_for_two(*who: str) -> bool:
        drawn = [rng.choice(rows[one], 12 // len(who), replace=False) for one in who]
        return line.are_two(_front(method, utterances, np.concatenate(drawn)))

    pairs = [(a, b) for a, b in combinations(rows, 2) if first[a]["corpus"] == first[b]["corpus"]]
    apart = [(a, b) for a, b in pairs if first[a]["gender"] != first[b]["gender"]]
    alike = [pair for pair in pairs if pair not in apart]
    found = {"one speaker": [(one,) for one in rows], "other gender": apart, "same gender": alike}
    return {
        name: float(np.mean([taken_for_two(*who) for who in of for _ in range(20)])) for name, of in found.items() if of
    }


def _front(method: Method, utterances: Utterances, rows: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return method.front.standardised(utterances.features[torch.from_numpy(rows)]).flatten(1).double().numpy()


def _recall(predictions: pd.DataFrame, emotion: str) -> float:
    own = predictions[predictions["emotion"] == emotion]
    return float((own["predicted_emotion"] == emotion).mean()) if len(own) else float("nan")


def add_calibration(
    folder: Path,
    corpus: Corpus,
    workspace: Workspace,
    split: str = SPLIT,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> dict:
    """Learn the correction of a model that ships, measure it, and write it into the model's folder, with its card.

    Args:
        folder: of the model (inference/models.py); its other parts stay as they are.
        corpus: all corpora that it was trained on, joined.
        workspace: for the cache of embeddings.
        split: names the dev and test speakers.
        device: where to compute.
        say: told of progress.
    """
    info = read_model(folder)
    corpus = in_label_set(corpus, DataChoice(emotions="app"))
    utterances = embedded(corpus, APP_EMOTIONS, info.load_encoder(workspace), workspace, device, say)
    choice, of = first_of_each(corpus), read_split(split)
    methods = {BASELINE: load_method(folder / info.baseline), ENROLLED: load_method(folder / info.personalisers[0])}
    train = np.flatnonzero(target_rows(corpus, choice) & ~corpus.table["speaker"].isin([*of.dev, *of.test]).to_numpy())
    correction = fit_correction(methods[BASELINE], utterances, train)
    settings = chosen_settings(correction, methods[BASELINE], utterances, choice, of.dev)
    correction.settings = settings
    say(
        f"{info.name}: {settings.n_similar} similar speakers, shrinkage {settings.shrinkage:g}, chosen on {len(of.dev)} speakers"
    )
    line = voice_line(methods[BASELINE], utterances, train)
    with replaced(folder, revised=True) as draft:
        correction.save(draft / CALIBRATION)
        correction = PriorCorrection.load(draft / CALIBRATION)  # what ships is what is measured
        line.save(draft / VOICES)
        test = corpus.table[corpus.table["speaker"].isin(of.test)]
        report = {
            "by_corpus": {
                name: measured(correction, methods, utterances, choice, set(part["speaker"]))
                for name, part in test.groupby("corpus")
            },
            "two_voices": two_voices(line, methods[BASELINE], utterances, of.test),
            "n_similar": settings.n_similar, "shrinkage": settings.shrinkage, "talk_s": TALK_S, "n_draws": 5, **provenance(),
        }  # fmt: skip
        write_json(draft / "calibration.json", report)
        write_card(replace(info, folder=draft))
    return report

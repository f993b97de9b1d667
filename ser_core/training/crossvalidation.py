"""Several recipes on one corpus: same folds, same seeds, same enrolment, same targets (protocol of the README).

Writes into the output folder:
    predictions.csv  one row for each target, method and seed
    enrolment.csv    the utterances used to enrol: speaker, emotion, utterance_id
    controls.csv     predictions of the same networks with another speaker's enrolment, and with nobody enrolled
    draws.csv        results of random choices of enrolment, one row a draw, method and seed (with --draws)
    report.json      the summary, with recipes, versions, commit, seeds, folds and the leak checker's verdict
    table.md         the summary as a table
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each, of_another_speaker, random_of_each, target_rows
from ser_core.data.manifest import BadCorpus, Corpus, check_leaks
from ser_core.encoders.base import SpeechEncoder
from ser_core.evaluation.summary import draw_results, summarise, summary_table
from ser_core.inference.predict import predictions_table, probabilities
from ser_core.methods import METHODS
from ser_core.methods.base import Method
from ser_core.recipe import BadRecipe, Recipe
from ser_core.training.run import (
    build_method,
    check_encoder_has_not_heard,
    class_set,
    draw_dev_speakers,
    embedded,
    in_label_set,
    make_plan,
    provenance,
    write_json,
)
from ser_core.training.trainer import fit, seeded
from ser_core.workspace import Workspace

COLUMNS = ("utterance_id", "path", "corpus", "speaker", "gender", "emotion", "text_id", "method", "seed", "fold")
ANOTHER_SPEAKER = "another speaker's enrolment"
NOBODY = "nobody enrolled"


@dataclass(frozen=True)
class Design:
    """How a corpus is cut and repeated.

    Attributes:
        n_folds: folds of consecutive speakers; None leaves one speaker out at a time.
        n_seeds: 0 to n_seeds - 1.
        n_draws: random choices of enrolment, evaluated with the networks of every seed.
    """

    n_folds: int | None = 5
    n_seeds: int = 3
    n_draws: int = 0


def crossvalidate(
    recipes: Sequence[Recipe],
    corpus: Corpus,
    encoder: SpeechEncoder,
    design: Design,
    output: Path,
    workspace: Workspace,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> dict:
    """Run the design and write the output folder; returns the summary of report.json.

    Raises:
        BadRecipe: two recipes of one name, or of different label sets.
        BadCorpus: too few speakers for the folds.
        LeakingSplit: a speaker on both sides of a fold.
    """
    _check(recipes, design)
    output.mkdir(parents=True, exist_ok=True)
    check_encoder_has_not_heard(encoder, set(corpus.table["speaker"]))
    corpus = in_label_set(corpus, recipes[0].data)
    folds = speaker_folds(corpus, design.n_folds)
    utterances = embedded(corpus, class_set(corpus, recipes[0].data), encoder, workspace, device, say)
    choice = first_of_each(corpus)
    runs, leaks = [], []
    for seed in range(design.n_seeds):
        for fold, test_speakers in enumerate(folds):
            held_out = corpus.table["speaker"].isin(test_speakers)
            leaks.append(asdict(check_leaks(corpus.table[~held_out], corpus.table[held_out])))
            for recipe in recipes:
                runs.append(
                    _one_fold(recipe, utterances, encoder, choice, seed, fold, test_speakers, design.n_draws, device)
                )
            say(f"seed {seed}, fold {fold + 1} of {len(folds)}: {', '.join(test_speakers)}")
    tables = {
        name: pd.concat([run[name] for run in runs], ignore_index=True) for name in ("predictions", "controls", "draws")
    }
    summary = summarise(tables["predictions"], tables["controls"], tables["draws"], choice)
    _write(output, tables, choice, summary, recipes, design, folds, leaks, encoder)
    return summary


def speaker_folds(corpus: Corpus, n_folds: int | None) -> list[list[str]]:
    """Consecutive speakers, in order of name, into folds of (nearly) equal size; one each if `n_folds` is None.

    Raises:
        BadCorpus: fewer speakers than folds, or fewer than three in all.
    """
    speakers = sorted(corpus.table["speaker"].unique())
    n_folds = len(speakers) if n_folds is None else n_folds
    if len(speakers) < max(3, n_folds) or n_folds < 2:
        raise BadCorpus(
            f"{corpus.name} has {len(speakers)} speakers: too few for {n_folds} folds; "
            f"at least 2 folds and 3 speakers (train, dev, test) are needed"
        )
    return [part.tolist() for part in np.array_split(np.array(speakers, dtype=object), n_folds)]


def _one_fold(
    recipe: Recipe,
    utterances: Utterances,
    encoder,
    choice: pd.DataFrame,
    seed: int,
    fold: int,
    test: list[str],
    n_draws: int,
    device: str,
) -> dict[str, pd.DataFrame]:
    method, rows = _train_fold(recipe, utterances, encoder, choice, seed, fold, test, device)
    mark = {"method": recipe.name, "seed": seed, "fold": fold}
    predicted = _predict(method, utterances, rows, choice, mark)
    controls, draws = [], []
    if method.uses_enrolment:
        rng = np.random.default_rng([seed, fold, 1])
        own = choice[choice["speaker"].isin(test)]
        if len(test) > 1:
            swapped = of_another_speaker(own, test, rng)
        else:  # leave one speaker out: somebody else's enrolment comes from the training speakers
            other = rng.choice(sorted(set(choice["speaker"]) - set(test)))
            swapped = choice[choice["speaker"] == other].assign(speaker=test[0])
        controls = [
            _predict(method, utterances, rows, swapped, mark).assign(control=ANOTHER_SPEAKER),
            _predict(method, utterances, rows, own.iloc[:0], mark).assign(control=NOBODY),
        ]
    for draw in range(n_draws):
        drawn = random_of_each(utterances.corpus, np.random.default_rng([draw, 2]))
        targets = np.flatnonzero(
            target_rows(utterances.corpus, drawn) & utterances.corpus.table["speaker"].isin(test).to_numpy()
        )
        draws.append(_predict(method, utterances, targets, drawn, mark).assign(draw=draw))
    empty = predicted.iloc[:0]
    return {
        "predictions": predicted,
        "controls": pd.concat(controls) if controls else empty.assign(control=""),
        "draws": pd.concat(draws) if draws else empty.assign(draw=0),
    }


def _train_fold(recipe, utterances, encoder, choice, seed, fold, test, device) -> tuple[Method, np.ndarray]:
    corpus = utterances.corpus
    others = sorted(set(corpus.table["speaker"]) - set(test))
    dev = draw_dev_speakers(corpus, others, recipe.training.dev_share, np.random.default_rng([seed, fold]))
    plan = make_plan(utterances, choice, dev, test)
    seeded(1000 * seed + fold)
    method = build_method(recipe, encoder, utterances.emotions)
    return fit(method, utterances, plan, recipe.training, seed, device), plan.test


def _predict(method, utterances: Utterances, rows: np.ndarray, choice: pd.DataFrame, mark: dict) -> pd.DataFrame:
    probability = probabilities(method, utterances, rows, utterances.enrolment_rows(choice))
    table = predictions_table(utterances, rows, probability, **mark)
    return table[[*COLUMNS, "predicted_emotion", *(f"p_{emotion}" for emotion in utterances.emotions)]]


def _check(recipes: Sequence[Recipe], design: Design) -> None:
    names = [recipe.name for recipe in recipes]
    if len(set(names)) < len(names):
        raise BadRecipe(f"two recipes have the same name among {', '.join(names)}; rename one")
    if len({recipe.data.emotions for recipe in recipes}) > 1:
        raise BadRecipe("the recipes have different label sets ([data] emotions); compare like with like")
    if len({(recipe.encoder.name, recipe.encoder.source) for recipe in recipes}) > 1:
        raise BadRecipe("the recipes have different encoders; name one for all of them with --encoder")
    silent = [recipe.name for recipe in recipes if METHODS[recipe.method].hears_waveforms]
    if silent:
        raise BadRecipe(f"'{silent[0]}' trains an encoder and recognises nothing; it cannot be compared")
    if design.n_seeds < 1 or design.n_draws < 0:
        raise BadRecipe(f"{design.n_seeds} seeds and {design.n_draws} draws: at least 1 seed and 0 draws are needed")


def _write(output, tables, choice, summary, recipes, design, folds, leaks, encoder) -> None:
    tables["predictions"].to_csv(output / "predictions.csv", index=False, float_format="%.5f")
    tables["controls"].to_csv(output / "controls.csv", index=False, float_format="%.5f")
    choice.to_csv(output / "enrolment.csv", index=False)
    if design.n_draws:
        draw_results(tables["draws"]).to_csv(output / "draws.csv", index=False, float_format="%.5f")
    shared = sorted({text for leak in leaks for text in leak["shared_texts"]})
    # a speaker on both sides, or heard by the encoder, would have stopped the run
    verdict = {"speakers_on_both_sides": [], "heard_by_the_encoder": [], "sentences_on_both_sides": shared}
    report = {
        "summary": summary,
        "leak_check": verdict,
        "design": asdict(design),
        "folds": folds,
        "encoder": encoder.fingerprint,
        "recipes": [recipe.without_paths() for recipe in recipes],
        **provenance(),
    }
    write_json(output / "report.json", report)
    (output / "table.md").write_text(summary_table(summary))

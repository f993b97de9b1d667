"""Several recipes on one corpus, or on several joined: same folds, seeds, enrolment and targets (protocol of benchmarks/README.md).

Writes into the output folder:
    predictions.csv  one row for each target, method and seed
    dev.csv          the same of the dev speakers of each fold
    enrolment.csv    the utterances used to enrol: speaker, emotion, utterance_id
    controls.csv     predictions of the same networks with another speaker's enrolment, with nobody enrolled, and, where a
                     corpus lacks emotions that another has, with those allowed as well
    draws.csv        results of random choices of enrolment, one row a draw, method and seed (with --draws)
    report.json      the summary, with recipes, versions, commit, seeds, folds and the leak checker's verdict
    table.md         the summary as a table
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each, of_another_speaker, random_of_each
from ser_core.data.manifest import BadCorpus, Corpus, check_leaks
from ser_core.data.tables import write_csv, write_json
from ser_core.data.whole import filled
from ser_core.encoders.base import SpeechEncoder
from ser_core.evaluation.demo import write_demo
from ser_core.evaluation.summary import NO_WORDS, OWN_WORDS, draw_results, sentence_column, summarise, summary_table
from ser_core.inference.predict import Trained
from ser_core.methods import METHODS
from ser_core.recipe import BadRecipe, Recipe
from ser_core.training.adaptation import check_adapts, target_folds, trains_or_measures, unlabelled_of
from ser_core.training.hearing import embedded
from ser_core.training.preparation import (
    build_method,
    check_encoder_has_not_heard,
    check_learns,
    check_some_emotions,
    class_set,
    draw_dev_speakers,
    heard_without_labels,
    in_label_set,
    make_plan,
    train_method,
)
from ser_core.training.provenance import provenance
from ser_core.training.trainer import Plan
from ser_core.training.voices import listening, voices_for
from ser_core.training.words import Words, with_own_words, without_words, words_for
from ser_core.workspace import Workspace

ANOTHER_SPEAKER = "another speaker's enrolment"
NOBODY = "nobody enrolled"
ALL_EMOTIONS = "all emotions"
"""Control: emotions that the target's corpus lacks, and another one has, may be answered as well."""


@dataclass(frozen=True)
class Design:
    """How a corpus is cut and repeated.

    Attributes:
        n_folds: folds of consecutive speakers; None leaves one speaker out at a time.
        n_seeds: 0 to n_seeds - 1.
        n_draws: random choices of enrolment, evaluated with the networks of every seed.
        corpora: every corpus is a fold instead: the others train, it is tested on; `n_folds` is then None.
        unheard: measure only speakers whom the encoder has not heard in its own training; who trains in a fold stays the same.
    """

    n_folds: int | None = 5
    n_seeds: int = 3
    n_draws: int = 0
    corpora: bool = False
    unheard: bool = False


def crossvalidate(
    recipes: Sequence[Recipe],
    corpus: Corpus,
    encoder: SpeechEncoder,
    design: Design,
    output: Path,
    workspace: Workspace,
    device: str = "auto",
    say: Callable[[str], None] = print,
    demo: Path | None = None,
) -> dict:
    """Run the design and write the output folder; returns the summary of report.json.

    With `demo` the predictions are also written there as the app shows them (evaluation/demo.py).

    Raises:
        BadRecipe: two recipes of one name, or of different label sets; a design that does not suit them or the encoder.
        BadCorpus: too few speakers or corpora for the folds, or an emotion that only one corpus teaches.
        LeakingSplit: a speaker on both sides of a fold, or heard by the encoder.
    """
    _check(recipes, design)
    output.mkdir(parents=True, exist_ok=True)  # before hours are spent
    experiment = set_up(recipes, corpus, encoder, design, workspace, device, say)
    runs = [_measured(trained, experiment.choice, design.n_draws) for trained in trained_folds(experiment, device, say)]
    tables = {
        name: pd.concat([run[name] for run in runs], ignore_index=True)
        for name in ("predictions", "dev", "controls", "draws")
    }
    summary = summarise(tables["predictions"], tables["controls"], tables["draws"], experiment.choice)
    report = _write(output, tables, summary, experiment)
    if demo is not None:
        about = {name: report[name] for name in ("leak_check", "design", "folds", "encoder", "commit", "written")}
        write_demo(tables["predictions"], {"corpus": corpus.name, **about}, demo)
    return summary


@dataclass(frozen=True)
class Experiment:
    """Recipes on one corpus, checked and embedded, ready to be trained fold by fold.

    Attributes:
        choice: who is enrolled with what, the same for every recipe; never targets.
        folds: the speakers of each, kept out of its training.
        tested: those of them who are measured.
        shared_texts: sentences on both sides of a fold; scripted corpora always have some.
        words: who reads, where a recipe reads.
    """

    recipes: tuple[Recipe, ...]
    utterances: Utterances
    encoder: SpeechEncoder
    design: Design
    choice: pd.DataFrame
    folds: list[list[str]]
    tested: list[list[str]]
    shared_texts: tuple[str, ...]
    words: Words | None = None

    @property
    def verdict(self) -> dict[str, list[str]]:
        """What the leak check found; a speaker on both sides, or heard by the encoder, would have stopped the run."""
        return {
            "speakers_on_both_sides": [],
            "heard_by_the_encoder": [],
            "sentences_on_both_sides": list(self.shared_texts),
            **heard_without_labels(self.recipes, self.utterances.corpus, [one for fold in self.tested for one in fold]),
        }


def set_up(
    recipes: Sequence[Recipe],
    corpus: Corpus,
    encoder: SpeechEncoder,
    design: Design,
    workspace: Workspace,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> Experiment:
    """Check a design, cut the corpus into folds and embed it.

    Raises:
        BadRecipe, BadCorpus, LeakingSplit: as for `crossvalidate`.
    """
    _check(recipes, design)
    corpus = in_label_set(corpus, recipes[0].data)
    check_some_emotions(corpus)
    for problem in corpus.problems:
        say(f"note: {problem}")
    data = recipes[0].data
    labelled = corpus.only(~unlabelled_of(corpus, data))
    folds = target_folds(corpus, data, design.n_folds) if data.target else _folds(labelled, design)
    tested = _unheard(folds, encoder) if design.unheard else folds
    texts = {
        text
        for fold in folds
        for held_out in [corpus.table["speaker"].isin(fold)]
        for text in check_leaks(corpus.table[~held_out], corpus.table[held_out]).shared_texts
    }
    words, emotions = words_for(recipes, workspace), class_set(corpus, data)
    voices = voices_for(recipes, encoder, workspace)
    for one in listening(encoder, voices):
        check_encoder_has_not_heard(one, [speaker for fold in tested for speaker in fold])
    for recipe in recipes:
        method = build_method(recipe, encoder, emotions, words)
        check_learns(recipe, method)
        for seed, fold in product(range(design.n_seeds), range(len(folds))):
            check_adapts(recipe, method, corpus, dev_of_fold(corpus, folds, recipe, seed, fold), folds[fold])
    utterances = embedded(corpus, emotions, encoder, workspace, device, say)
    utterances = words.read(utterances, workspace, device, say) if words else utterances
    utterances = voices.heard(utterances, workspace, device, say) if voices else utterances
    choice = first_of_each(corpus)
    return Experiment(tuple(recipes), utterances, encoder, design, choice, folds, tested, tuple(sorted(texts)), words)


def _folds(corpus: Corpus, design: Design) -> list[list[str]]:
    if not design.corpora:
        return speaker_folds(corpus, design.n_folds)
    by_corpus = corpus.table.groupby("corpus", sort=False)
    speakers = by_corpus["speaker"].unique()
    if len(speakers) < 2:
        raise BadCorpus(
            f"only {speakers.index[0]} has emotions: to leave one corpus out at a time, name two or more that have (--corpus)"
        )
    in_both = corpus.table.groupby("speaker")["corpus"].nunique()
    if (in_both > 1).any():
        raise BadCorpus(
            f"speaker '{in_both.idxmax()}' is in {in_both.max()} corpora: to leave one corpus out at a time, nobody may be in "
            f"two; rename speakers that are different people, and join corpora that share people"
        )
    has = {name: set(part["emotion"]) for name, part in by_corpus}
    for name, emotion in (
        (name, emotion) for name, own in has.items() for emotion in corpus.emotions if emotion in own
    ):
        if not any(emotion in own for other, own in has.items() if other != name):
            raise BadCorpus(
                f"'{emotion}' is in {name} alone, so nobody teaches it when {name} is tested; set data.emotions to \"shared\", "
                f'or to "app" if the corpora have the app\'s seven between them'
            )
    return [sorted(of_corpus) for of_corpus in speakers]


def _unheard(folds: list[list[str]], encoder: SpeechEncoder) -> list[list[str]]:
    if not encoder.heard_speakers:
        raise BadRecipe(
            "unheard speakers are to be measured, but this encoder does not say whom it has heard: of published ones that is "
            "not known, of one trained here its config.json tells"
        )
    left = [[speaker for speaker in fold if speaker not in encoder.heard_speakers] for fold in folds]
    return left if any(left) else folds  # whoever was heard is then named by the check


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


def trained_folds(
    experiment: Experiment, device: str = "auto", say: Callable[[str], None] = print
) -> Iterator[Trained]:
    """Every recipe trained on every fold with every seed, one after the other."""
    for seed in range(experiment.design.n_seeds):
        for fold, test in enumerate(experiment.tested):
            if not test:
                continue
            for recipe in experiment.recipes:
                yield train_fold(experiment, recipe, seed, fold, device)
            say(f"seed {seed}, fold {fold + 1} of {len(experiment.folds)}: {', '.join(test)}")


def dev_of_fold(corpus: Corpus, folds: list[list[str]], recipe: Recipe, seed: int, fold: int) -> list[str]:
    """The dev speakers of one recipe on one fold: some of those who train and are not tested."""
    trains, _ = trains_or_measures(corpus, recipe.data, sorted(set(corpus.table["speaker"]) - set(folds[fold])))
    return draw_dev_speakers(corpus, trains, recipe.training.dev_share, np.random.default_rng([seed, fold]))


def fold_plan(experiment: Experiment, recipe: Recipe, seed: int, fold: int) -> tuple[Utterances, Plan, tuple[str, ...]]:
    """The utterances with their words, which rows do what, and the dev speakers, of one recipe on one fold.

    Raises:
        LeakingSplit: a speaker or a copy of an utterance on two sides.
    """
    utterances, words, test = experiment.utterances, experiment.words, experiment.folds[fold]
    dev = dev_of_fold(utterances.corpus, experiment.folds, recipe, seed, fold)
    utterances = words.paired(utterances, dev, test, seed) if words else utterances
    plan = make_plan(utterances, experiment.choice, dev, test, recipe.data, draw=(seed, fold))
    return utterances, plan, tuple(dev)


def train_fold(experiment: Experiment, recipe: Recipe, seed: int, fold: int, device: str = "auto") -> Trained:
    """One recipe on one fold with one seed."""
    utterances, plan, dev = fold_plan(experiment, recipe, seed, fold)
    learned = train_method(
        recipe,
        utterances,
        plan,
        experiment.encoder,
        seed,
        device,
        weights_seed=1000 * seed + fold,
        words=experiment.words,
    )
    return Trained(recipe.name, learned.method, learned.utterances, tuple(experiment.tested[fold]), seed, fold, dev)


def another_speakers(trained: Trained, choice: pd.DataFrame) -> pd.DataFrame:
    """The control: every tested speaker gets somebody else's enrolment; where one alone is tested, that of anybody else."""
    rng, test = np.random.default_rng([trained.seed, trained.fold, 1]), list(trained.speakers)
    if len(test) > 1:
        return of_another_speaker(choice[choice["speaker"].isin(test)], test, rng)
    other = rng.choice(sorted(set(choice["speaker"]) - set(test)))
    return choice[choice["speaker"] == other].assign(speaker=test[0])


def _measured(trained: Trained, choice: pd.DataFrame, n_draws: int) -> dict[str, pd.DataFrame]:
    """Predictions, the same with the controls, and with random choices of enrolment."""
    targets = trained.targets(choice)
    predicted = trained.predict(targets, choice)
    predicted = predicted.assign(sentence=sentence_column(predicted, choice))
    controls, draws = [predicted.iloc[:0].assign(control="")], [predicted.iloc[:0].assign(draw=0)]
    if trained.method.text_shape is not None:
        for control, utterances in _other_words(trained.utterances).items():
            said = replace(trained, utterances=utterances).predict(targets, choice)
            controls.append(said.assign(control=control))
    if trained.method.uses_enrolment:
        swapped = another_speakers(trained, choice)
        controls += [
            trained.predict(targets, swapped).assign(control=ANOTHER_SPEAKER),
            trained.predict(targets, choice.iloc[:0]).assign(control=NOBODY),
        ]
    classes = trained.utterances.classes
    if trained.method.tells_emotions and (classes != classes.any(axis=0)).any():
        controls.append(trained.predict(targets, choice, among_all=True).assign(control=ALL_EMOTIONS))
    for control, method in trained.method.variants().items():
        controls.append(replace(trained, method=method).predict(targets, choice).assign(control=control))
    for draw in range(n_draws):
        drawn = random_of_each(trained.utterances.corpus, np.random.default_rng([draw, 2]))
        draws.append(trained.predict(trained.targets(drawn), drawn).assign(draw=draw))
    return {
        "predictions": predicted,
        "dev": trained.predict(trained.targets(choice, trained.dev), choice),
        "controls": pd.concat(controls),
        "draws": pd.concat(draws),
    }


def _other_words(utterances: Utterances) -> dict[str, Utterances]:
    """The controls of methods that read."""
    own = {} if utterances.texts.drawn is None else {OWN_WORDS: with_own_words(utterances)}
    return {**own, NO_WORDS: without_words(utterances)}


def _check(recipes: Sequence[Recipe], design: Design) -> None:
    names = [recipe.name for recipe in recipes]
    if len(set(names)) < len(names):
        raise BadRecipe(f"two recipes have the same name among {', '.join(names)}; rename one")
    if len({(recipe.data.emotions, recipe.data.attributes, recipe.data.against_rest) for recipe in recipes}) > 1:
        raise BadRecipe(
            "the recipes have different label sets ([data] emotions, attributes, against_rest); compare like with like"
        )
    if len({(recipe.data.target, recipe.data.protected, recipe.data.unlabelled) for recipe in recipes}) > 1:
        raise BadRecipe(
            "the recipes have different [data] target, protected or unlabelled; name one for all of them (study --set)"
        )
    if len({(recipe.encoder.name, recipe.encoder.source) for recipe in recipes}) > 1:
        raise BadRecipe("the recipes have different encoders; name one for all of them with --encoder")
    silent = [recipe.name for recipe in recipes if METHODS[recipe.method].hears_waveforms]
    if silent:
        raise BadRecipe(f"'{silent[0]}' trains an encoder and recognises nothing; it cannot be compared")
    if design.corpora and (design.n_folds is not None or recipes[0].data.target):
        raise BadRecipe(
            "one corpus is left out at a time: that goes neither with a number of folds nor with [data] target"
        )
    if design.n_seeds < 1 or design.n_draws < 0:
        raise BadRecipe(f"{design.n_seeds} seeds and {design.n_draws} draws: at least 1 seed and 0 draws are needed")


def _write(output: Path, tables: dict[str, pd.DataFrame], summary: dict, experiment: Experiment) -> dict:
    report = {
        "summary": summary,
        "leak_check": experiment.verdict,
        "design": asdict(experiment.design),
        "folds": experiment.folds,
        "tested": experiment.tested,
        "encoder": experiment.encoder.fingerprint,
        "recipes": [recipe.without_paths() for recipe in experiment.recipes],
        **provenance(),
    }
    with filled(output) as hidden:
        for name in ("predictions", "dev", "controls"):
            write_csv(tables[name].dropna(axis=1, how="all"), hidden / f"{name}.csv")
        write_csv(experiment.choice, hidden / "enrolment.csv")
        if experiment.design.n_draws:
            write_csv(draw_results(tables["draws"]), hidden / "draws.csv")
        write_json(hidden / "report.json", report)
        (hidden / "table.md").write_text(summary_table(summary))
    return report

"""From a recipe and a corpus to what a training needs: who trains, who chooses, who is tested; and all that can be wrong."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest

import numpy as np
import pandas as pd

from ser_core.data.batches import Utterances
from ser_core.data.circumplex import with_pseudo_attributes
from ser_core.data.enrolment import first_of_each, target_rows
from ser_core.data.manifest import BadCorpus, Corpus, LeakingSplit, LeakReport, check_leaks
from ser_core.encoders import ENCODERS, load_encoder
from ser_core.encoders.base import SpeechEncoder
from ser_core.encoders.convolved import Convolved
from ser_core.encoders.tuning import LearningEncoder
from ser_core.labels import APP_EMOTIONS, NO_AGREEMENT, OTHER
from ser_core.methods import METHODS
from ser_core.methods.base import FeatureShape, Method
from ser_core.nn.front import POOLINGS
from ser_core.recipe import BadRecipe, DataChoice, EncoderChoice, Recipe, read_split
from ser_core.training.adaptation import (
    against_rest,
    as_told,
    check_adapts,
    n_told,
    notes_on_labels,
    of_target,
    target_of,
    trains_or_measures,
    unlabelled_of,
    with_shared_classes,
    with_told,
    without_emotions_of,
)
from ser_core.training.trainer import Plan, Stopped, Watch, accelerator_for, agreed, fit, hear, read_anew, seeded
from ser_core.training.voices import Voices, listening, voices_for
from ser_core.training.words import Words, text_shape, words_for
from ser_core.workspace import Workspace

_DRAW_OF_LABELS = 21
_NAMES_OF_SPLITS = {"dev": ("dev", "valid", "val"), "test": ("test", "eval"), "train": ("train",)}
"""How manifests call their splits; a longer word that begins so counts as well (Development, Test1)."""


ROLES = ("train", "unlabelled", "target", "dev", "test")
"""What a speaker may be in a run."""


@dataclass(frozen=True)
class Prepared:
    """What one run will do, checked; nothing is written yet.

    Attributes:
        recipes: the one asked for, and those beside it.
        corpus: in the recipes' label set, without utterances of no role.
        encoder: frozen; None where waveforms are heard.
        dev, test: speakers; all others train.
        leaks: what stands on both sides although speakers do not.
        words: who reads, where a recipe reads.
        voices: who hears voices, where a recipe puts them into clusters.
    """

    recipes: tuple[Recipe, ...]
    corpus: Corpus
    encoder: SpeechEncoder | None
    dev: tuple[str, ...]
    test: tuple[str, ...]
    leaks: LeakReport | None
    words: Words | None = None
    voices: Voices | None = None

    @property
    def train(self) -> tuple[str, ...]:
        """Speakers who are learned from with their emotions."""
        table = self.corpus.table
        adapted = set(table["speaker"][of_target(self.corpus, self.recipes[0].data)])
        return tuple(sorted(set(table["speaker"]) - {*self.dev, *self.test, *self.unlabelled} - adapted))

    @property
    def unlabelled(self) -> tuple[str, ...]:
        """Speakers who are heard without labels."""
        table = self.corpus.table
        apart = unlabelled_of(self.corpus, self.recipes[0].data)
        return tuple(sorted(set(table["speaker"][apart]) - set(table["speaker"][~apart])))

    @property
    def target(self) -> tuple[str, ...]:
        """Speakers of the corpus that is adapted to who are not tested; nobody where no recipe hears them."""
        if not hear_target(self.recipes):
            return ()
        of = self.corpus.table["speaker"][of_target(self.corpus, self.recipes[0].data)]
        return tuple(sorted(set(of) - set(self.test)))

    @property
    def recognises(self) -> bool:
        """Whether there is anything to predict: an encoder's own training gives no answers."""
        return self.encoder is not None

    @property
    def speakers(self) -> dict[str, tuple[str, ...]]:
        """Who has which role, by ROLE_speakers, as run folders and models keep it."""
        return {f"{role}_speakers": getattr(self, role) for role in ROLES}

    def role(self) -> pd.Series:
        """One of ROLES for each row of the corpus."""
        speaker = self.corpus.table["speaker"]
        return speaker.map({one: role for role in ROLES for one in getattr(self, role)})

    def n_targets(self, role: str) -> int:
        """How many utterances of a role are targets: of a class, not enrolled, and told of where data.labels tells a share."""
        targets = target_rows(self.corpus, first_of_each(self.corpus)) & (self.role() == role)
        share = self.recipes[0].data.labels if role in ("train", "dev") else 1.0
        return sum(n_told(n, share) for n in self.corpus.table["emotion"][targets].value_counts())

    def verdict(self) -> dict:
        """What the leak check found; anything worse would have stopped it."""
        return {
            "speakers_on_both_sides": [],
            "heard_by_the_encoder": [],
            "sentences_on_both_sides": list(self.leaks.shared_texts) if self.leaks else [],
            **heard_without_labels(self.recipes, self.corpus, self.test),
        }


def hear_target(recipes: Collection[Recipe]) -> bool:
    """Whether one of the recipes adapts to a second corpus."""
    return any(METHODS[recipe.method].hears_target for recipe in recipes)


def heard_without_labels(recipes: Collection[Recipe], corpus: Corpus, test: Collection[str]) -> dict[str, list[str]]:
    """Lines of a verdict: which test speakers a recipe hears, where it is transductive; which corpus is adapted to, without
    those of its speakers who are tested."""
    heard = any(recipe.data.transductive for recipe in recipes)
    adapted = {target_of(corpus, recipe.data) for recipe in recipes} - {""} if hear_target(recipes) else ()
    return {
        **({"test_speakers_heard_without_labels": sorted(test)} if heard else {}),
        **({"adapted_to_other_speakers_of": sorted(adapted)} if adapted else {}),
    }


def prepare(recipe: Recipe, corpus: Corpus, workspace: Workspace, seed: int = 0) -> Prepared:
    """Check a recipe on a corpus and say who does what.

    Raises:
        BadRecipe: a setting that is unknown or impossible here.
        BadCorpus: nobody to train, choose or test on, or a class that cannot be learned.
        LeakingSplit: a speaker or a copy on two sides, or a test speaker whom the encoder has heard.
        EncoderUnavailable: its weights are not here.
    """
    recipes = (recipe, *recipe.companions())
    hears = METHODS[_known(recipe)].hears_waveforms
    words = words_for(recipes, workspace)
    corpus = in_label_set(corpus, recipe.data)
    if METHODS[recipe.method].needs_labels:
        check_some_emotions(corpus)
    if hears:
        _check_needs_no_encoder(recipe)
        corpus = without_test_speakers(corpus, recipe)
    encoder = None if hears else _encoder(recipe.encoder, workspace)
    voices = voices_for(recipes, encoder, workspace)
    heard = {speaker for one in listening(encoder, voices) for speaker in one.heard_speakers}
    corpus, dev, test = assign_speakers(corpus, recipe, seed, not hears, heard)
    if encoder is not None:
        for one in listening(encoder, voices):
            check_encoder_has_not_heard(one, test)
        _check_builds(recipes, encoder, corpus, words, dev, test)
    table = corpus.table
    of_dev, of_test = table["speaker"].isin(dev), table["speaker"].isin(test)
    if METHODS[recipe.method].needs_labels:
        _check_classes(corpus, ~of_dev & ~of_test & ~of_target(corpus, recipe.data))
    if dev:
        check_leaks(table[~of_dev & ~of_test], table[of_dev])
    leaks = check_leaks(table[~of_test], table[of_test]) if test else None
    return Prepared(recipes, corpus, encoder, dev, test, leaks, words, voices)


def assign_speakers(
    corpus: Corpus, recipe: Recipe, seed: int, tested: bool = True, heard: Collection[str] = ()
) -> tuple[Corpus, tuple[str, ...], tuple[str, ...]]:
    """The corpus without utterances of no role, the dev speakers and the test speakers.

    As the recipe's split names them; else as the manifest's column split says; else drawn by the seed, genders in turn.

    Args:
        corpus: of all speakers.
        recipe: names the split, or how many are drawn.
        seed: of the draw.
        tested: False where nobody is tested.
        heard: speakers whom the encoder has heard: they are drawn to be tested only if there are no others.

    Raises:
        BadCorpus: a role for which there is nobody.
        LeakingSplit: a speaker with two roles.
    """
    apart = unlabelled_of(corpus, recipe.data)
    labelled, dev, test = _assigned(corpus.only(~apart), recipe, seed, tested, heard)
    apart &= ~corpus.table["speaker"].isin(_kept_by_split(corpus.only(apart), recipe.data))
    return corpus.only(apart | corpus.table.index.isin(labelled.table.index)), dev, test


def _kept_by_split(corpus: Corpus, data: DataChoice) -> set[str]:
    """Speakers whom a split keeps to choose or to be tested."""
    if data.split:
        split = read_split(data.split)
        return {*split.dev, *split.test}
    role = corpus.table["split"].map(lambda word: _role(corpus.name, word), na_action="ignore")
    return set(corpus.table["speaker"][role.isin(["dev", "test"])])


def _assigned(
    corpus: Corpus, recipe: Recipe, seed: int, tested: bool, heard: Collection[str]
) -> tuple[Corpus, tuple[str, ...], tuple[str, ...]]:
    speakers = sorted(corpus.table["speaker"].unique())
    sources, targets = trains_or_measures(corpus, recipe.data, speakers) if recipe.data.target else (speakers, speakers)
    if recipe.data.split:
        split = read_split(recipe.data.split)
        dev, test = (sorted(set(names) & set(speakers)) for names in (split.dev, split.test))
    elif corpus.table["split"].notna().any():
        corpus, dev, test = _of_manifest(corpus)
    else:
        rng = np.random.default_rng(seed)
        unheard = [one for one in targets if one not in set(heard)] or targets
        n_test = max(1, round(recipe.data.test_share * len(targets))) if tested else 0
        test = draw_speakers(corpus, unheard, n_test, rng)
        dev = draw_dev_speakers(corpus, sorted(set(sources) - set(test)), recipe.training.dev_share, rng)
    if recipe.data.target:  # those whom a split keeps from the other side are kept from all
        corpus = corpus.only(~corpus.table["speaker"].isin({*test} - {*targets} | {*dev} - {*sources}))
        dev, test = sorted({*dev} & {*sources}), sorted({*test} & {*targets})
    for role, names in (
        ("dev", dev if recipe.training.dev_share else ["nobody"]),
        ("test", test if tested else ["nobody"]),
    ):
        if not names:
            raise BadCorpus(
                f"{corpus.name} has no {role} speakers; the split must name some ({', '.join(speakers[:3])} … are there), "
                f"or leave the split out and they are drawn"
            )
    if not set(corpus.table["speaker"]) - {*dev, *test}:
        raise BadCorpus(
            f"{corpus.name}: all {len(speakers)} speakers are kept for dev and test, so nobody is left to train"
        )
    return corpus, tuple(sorted(dev)), tuple(sorted(test if tested else []))


def _of_manifest(corpus: Corpus) -> tuple[Corpus, list[str], list[str]]:
    having = corpus.table.groupby("corpus")["split"].agg(lambda split: split.notna().any())
    if not having.all():
        raise BadCorpus(
            f"{', '.join(having.index[having])} says in its column split who trains and who is tested, and "
            f"{', '.join(having.index[~having])} does not: nobody of it would have a role; name dev and test speakers of both in "
            f"a file, data.split"
        )
    role = corpus.table["split"].map(lambda word: _role(corpus.name, word), na_action="ignore")
    kept = corpus.only(role.notna())
    pairs = pd.DataFrame({"speaker": kept.table["speaker"], "role": role[role.notna()]}).drop_duplicates()
    twice = pairs["speaker"][pairs["speaker"].duplicated()]
    if len(twice):
        raise LeakingSplit(
            f"{corpus.name}: {', '.join(sorted(twice)[:3])} stand in two splits of the manifest; speakers must never cross"
        )
    return kept, *(sorted(pairs["speaker"][pairs["role"] == name]) for name in ("dev", "test"))


def _role(corpus: str, word: object) -> str:
    for role, beginnings in _NAMES_OF_SPLITS.items():
        if str(word).strip().lower().startswith(beginnings):
            return role
    raise BadCorpus(f"{corpus}: split '{word}' is not one of train, dev and test")


def _known(recipe: Recipe) -> str:
    if recipe.method not in METHODS:
        raise BadRecipe(f"{recipe.name}: there is no method '{recipe.method}'; choose one of {', '.join(METHODS)}")
    return recipe.method


def _check_needs_no_encoder(recipe: Recipe) -> None:
    if recipe.encoder.tune != "none" or recipe.beside or recipe.training.accumulate > 1:
        raise BadRecipe(
            f"'{recipe.name}' trains an encoder of its own: leave out encoder.tune, beside and training.accumulate"
        )
    METHODS[recipe.method].build(recipe.settings, FeatureShape(0, 0, ()), (), recipe.name)


def _encoder(choice: EncoderChoice, workspace: Workspace) -> SpeechEncoder:
    if choice.name not in ENCODERS:
        raise BadRecipe(f"there is no encoder '{choice.name}'; choose one of {', '.join(ENCODERS)}")
    return load_encoder(choice.name, choice.source or None, (workspace.models,))


def _check_builds(
    recipes: Collection[Recipe],
    encoder: SpeechEncoder,
    corpus: Corpus,
    words: Words | None,
    dev: Collection[str],
    test: Collection[str],
) -> None:
    names = [recipe.name for recipe in recipes]
    if len(set(names)) < len(names):
        raise BadRecipe(f"two recipes of one run have the same name among {', '.join(names)}; rename one")
    for recipe in recipes:
        if METHODS[_known(recipe)].hears_waveforms:
            raise BadRecipe(f"'{recipe.name}' trains an encoder and recognises nothing; it cannot stand beside another")
        method = build_method(recipe, encoder, class_set(corpus, recipe.data), words)
        learning_encoder(recipe, encoder, method)
        check_learns(recipe, method)
        check_adapts(recipe, method, corpus, dev, test)
        if not method.tells_emotions:
            raise BadRecipe(
                f"'{recipe.name}' predicts attributes only, and a run's report and model need emotions: add 'emotion' to "
                f"settings.heads, or compare such systems by crossvalidate"
            )


def check_learns(recipe: Recipe, method: Method) -> None:
    """Make sure that a method can learn from what its recipe gives it.

    Raises:
        BadRecipe: naming the setting.
    """
    if recipe.data.others and not method.learns_others:
        raise BadRecipe(f"'{recipe.name}' learns from emotions only; leave out data.others")
    without_labels = method.is_transductive or any(stage.rows == "unlabelled" for stage in method.stages())
    if recipe.data.transductive and not without_labels:
        raise BadRecipe(f"'{recipe.name}' learns nothing without labels; leave out data.transductive")
    if method.is_transductive and not recipe.data.transductive:
        raise BadRecipe(f"'{recipe.name}' hears the test speakers, without labels: say so with data.transductive=true")
    if recipe.encoder.tune not in ("none", "convolutions") and all(
        stage.encoder == "rests" for stage in method.stages()
    ):
        raise BadRecipe(f"'{recipe.name}' has no stage in which the encoder learns; set encoder.tune to none")
    if recipe.encoder.tune == "none" and any(stage.encoder == "inside" for stage in method.stages()):
        raise BadRecipe(f"'{recipe.name}' pre-trains the encoder: set encoder.tune to all, last or lora")
    if recipe.encoder.tune != "none" and recipe.beside and method.hears_target:
        raise BadRecipe(
            f"'{recipe.name}' would leave its encoder, adapted to the target, to {', '.join(recipe.beside)}, which then were no "
            f"baseline: copy the recipe to a file without 'beside', and train the baseline by itself"
        )
    if recipe.training.accumulate > 1 and any(stage.whole for stage in method.stages()):
        raise BadRecipe(
            f"'{recipe.name}': a loss of it (CCC, pairs, or a difference between groups) is taken over a whole batch; leave out "
            f"training.accumulate"
        )


def check_some_emotions(corpus: Corpus) -> None:
    """Raises BadCorpus where there are no two emotions to tell apart."""
    if not corpus.emotions:
        raise BadCorpus(f"{corpus.name}: no utterance has an emotion, so nothing can be learned")
    if len(corpus.emotions) < 2:
        raise BadCorpus(f"{corpus.name}: '{corpus.emotions[0]}' is its only emotion; two are needed to tell them apart")


def _check_classes(corpus: Corpus, trains: pd.Series) -> None:
    """Every class needs an utterance to enrol with and one to learn from."""
    emotion, targets = corpus.table["emotion"], target_rows(corpus, first_of_each(corpus))
    for name in corpus.emotions:
        if not (trains & targets & (emotion == name)).any():
            n = int((trains & (emotion == name)).sum())
            raise BadCorpus(
                f"{corpus.name}: the training speakers have {n} utterances of '{name}', and none is left to learn from once "
                f"one of each speaker is enrolled; add recordings of it, or take the class out of the manifest"
            )


def make_plan(
    utterances: Utterances,
    choice: pd.DataFrame,
    dev: Collection[str],
    test: Collection[str],
    data: DataChoice | None = None,
    needs_labels: bool = True,
    draw: Sequence[int] = (0,),
) -> Plan:
    """The protocol in one place: who trains, who chooses the epoch, and that no enrolment utterance is a target.

    Args:
        utterances: of all speakers.
        choice: the fixed enrolment.
        dev: speakers that choose the epoch.
        test: speakers left out; whoever is neither trains.
        data: what a recipe says of others, transductive, target and labels.
        needs_labels: False where utterances without a usable emotion, and the enrolled ones, are learned from as well.
        draw: seeds the choice of whose emotion is told, where not all are (data.labels).

    Raises:
        LeakingSplit: a speaker or a copy of an utterance on two sides, or nobody left to train.
    """
    table, data = utterances.corpus.table, data or DataChoice()
    usable = target_rows(utterances.corpus, choice) if needs_labels else np.ones(len(table), dtype=bool)
    of_dev, of_test = (table["speaker"].isin(list(speakers)).to_numpy() for speakers in (dev, test))
    if len(dev):
        check_leaks(table[~(of_dev | of_test)], table[of_dev])
    if of_test.any():
        check_leaks(table[~of_test], table[of_test])
    of_no_class = table["emotion"].isin([OTHER, NO_AGREEMENT]).to_numpy() if data.others else False
    adapted = of_target(utterances.corpus, data).to_numpy()
    plan = Plan(
        train=np.flatnonzero((usable | of_no_class) & ~of_dev & ~of_test & ~adapted),
        dev=np.flatnonzero(usable & of_dev),
        test=np.flatnonzero(usable & of_test),
        enrolment=utterances.enrolment_rows(choice),
        unlabelled=np.flatnonzero(~of_dev & ~of_test & ~adapted | data.transductive),
        target=np.flatnonzero(adapted & ~of_dev & ~of_test),
    )
    if not needs_labels:
        return plan
    return with_told(plan, utterances.emotion, data.labels, np.random.default_rng([*draw, _DRAW_OF_LABELS]))


@dataclass(frozen=True)
class Learned:
    """What came out of a training.

    Attributes:
        utterances: as the encoders hear and read them now.
        encoder, words: tuned where the recipe tunes them.
    """

    method: Method
    utterances: Utterances
    encoder: SpeechEncoder | None
    words: Words | None


def train_method(
    recipe: Recipe,
    utterances: Utterances,
    plan: Plan,
    encoder: SpeechEncoder | None,
    seed: int,
    device: str = "auto",
    watch: Watch | None = None,
    weights_seed: int | None = None,
    words: Words | None = None,
) -> Learned:
    """A recipe's method, trained; the utterances as it hears them; and the encoders, which may have learned as well.

    Args:
        recipe: what is trained.
        utterances: as the encoder hears them now.
        plan: which rows do what.
        encoder: frozen; a copy learns where the recipe says so.
        seed: of order and augmentation.
        device: 'auto', or as torch names it.
        watch: who is told, who may stop it.
        weights_seed: of the first weights and of dropout; `seed` if None.
        words: who reads; a copy of the encoder of text learns where the recipe says so.

    Raises:
        TrainingDiverged, Stopped: see `fit`.
    """
    seeded(seed if weights_seed is None else weights_seed)
    method = build_method(recipe, encoder, utterances.emotions, words)
    learning, reading = learning_encoder(recipe, encoder, method), reading_encoder(recipe, words, method)
    accelerator, watch = accelerator_for(device), watch or Watch()

    def between() -> None:
        if agreed(accelerator, watch.should_stop()):
            raise Stopped("stopped; it can be resumed")

    def heard_by(hearing: SpeechEncoder) -> Utterances:
        pooled, rows = partial(method.pooled, hearing.to(accelerator.device)), np.arange(len(utterances.corpus))
        return hear(pooled, utterances, rows, accelerator, between)

    if learning is not None and recipe.encoder.tune == "convolutions":
        learning.encoder.fit(utterances.features[plan.train])  # those of the encoder below
        # the method's own statistics need what is heard before it learns
        utterances = heard_by(learning.encoder)
    told = as_told(utterances, plan.target, recipe.data)
    told = fit(method, told, plan, recipe.training, seed, device, watch, learning, reading)
    utterances = replace(told, corpus=utterances.corpus)
    if reading is not None:
        words = replace(words, encoder=reading.merged(f"{words.encoder.fingerprint}-tuned", ()))
        utterances = read_anew(words.encoder, utterances)
    if learning is None:
        return Learned(method, utterances, encoder, words)
    of_stages = [getattr(plan, stage.rows) for stage in method.stages()]
    heard = utterances.corpus.table["speaker"].iloc[np.concatenate([plan.train, plan.dev, *of_stages])]
    tuned = learning.merged(f"{encoder.fingerprint}-tuned", tuple(heard.unique()))
    rests = method.stages()[-1].encoder == "rests"  # then it was heard with these weights before
    return Learned(method, utterances if rests else heard_by(tuned), tuned.to("cpu"), words)


def build_method(
    recipe: Recipe, encoder: SpeechEncoder | None, emotions: tuple[str, ...], words: Words | None = None
) -> Method:
    """The method of a recipe, untrained, for an encoder's features, and for words where it reads."""
    cls, shape = METHODS[recipe.method], feature_shape(recipe.encoder, encoder)
    text = text_shape(recipe.text, words.encoder) if words and cls.reads else None
    return cls.build(recipe.settings, shape, emotions, recipe.name, text)


def reading_encoder(recipe: Recipe, words: Words | None, method: Method) -> LearningEncoder | None:
    """A copy of the encoder of text that learns as the recipe says; None where it stays as it is."""
    if words is None or method.text_shape is None or recipe.text.tune == "none":
        return None
    return LearningEncoder(words.encoder, recipe.text, method.text_shape.layers)


def learning_encoder(recipe: Recipe, encoder: SpeechEncoder | None, method: Method) -> LearningEncoder | None:
    """A copy of the encoder that learns as the recipe says; None where it stays as it is."""
    if encoder is None or recipe.encoder.tune == "none":
        return None
    return LearningEncoder(encoder, recipe.encoder, method.shape.layers)


def on_tuned_encoder(recipe: Recipe) -> Recipe:
    """The recipe on an encoder that another one has tuned: it learns no more."""
    # layers below convolutions are heard through them alone
    layers = () if recipe.encoder.tune == "convolutions" else recipe.encoder.layers
    encoder = replace(recipe.encoder, tune="none", layers=layers)
    return replace(recipe, encoder=encoder, text=replace(recipe.text, tune="none"))


def feature_shape(choice: EncoderChoice, encoder: SpeechEncoder | None) -> FeatureShape:
    """What the encoder hands over, and which of it is heard; convolutions on it hand over one layer.

    Raises:
        BadRecipe: a layer that the encoder does not have, or a pooling that does not exist.
    """
    if encoder is None:
        return FeatureShape(0, 0, (), choice.pooling)
    middle = encoder.n_layers // 2
    layers = choice.layers or tuple(range(max(0, middle - 1), min(encoder.n_layers, middle + 2)))
    if not all(isinstance(layer, int) and 0 <= layer < encoder.n_layers for layer in layers):
        raise BadRecipe(f"layers {list(layers)}: the encoder '{choice.name}' has layers 0 to {encoder.n_layers - 1}")
    if choice.pooling not in POOLINGS:
        raise BadRecipe(f"pooling '{choice.pooling}' is not one of {', '.join(POOLINGS)}")
    if choice.tune == "convolutions":
        return FeatureShape(Convolved.n_layers, 2 * Convolved.width, (0,), choice.pooling)
    return FeatureShape(encoder.n_layers, 2 * encoder.width, layers, choice.pooling)


def in_label_set(corpus: Corpus, data: DataChoice) -> Corpus:
    """The corpus with the classes and attributes a recipe wants."""
    corpus = without_emotions_of(corpus, data.unlabelled)
    corpus = with_pseudo_attributes(corpus) if data.attributes == "circumplex" else corpus
    corpus = corpus.relabelled(APP_EMOTIONS) if data.emotions == "app" else corpus
    corpus = with_shared_classes(corpus, data) if data.emotions == "shared" else corpus
    corpus = against_rest(corpus, data.against_rest) if data.against_rest else corpus
    return replace(corpus, problems=(*corpus.problems, *notes_on_labels(corpus, data)))


def class_set(corpus: Corpus, data: DataChoice) -> tuple[str, ...]:
    """The classes a method tells apart."""
    return APP_EMOTIONS if data.emotions == "app" and not data.against_rest else corpus.emotions


def without_test_speakers(corpus: Corpus, recipe: Recipe) -> Corpus:
    """The corpus without those whom the recipe's split keeps for testing: such a training never opens their files."""
    test = read_split(recipe.data.split).test if recipe.data.split else ()
    return corpus.only(~corpus.table["speaker"].isin(test))


def check_encoder_has_not_heard(encoder: SpeechEncoder, test: Collection[str]) -> None:
    """Make sure that no test speaker was heard when the encoder was trained, not even without labels.

    Raises:
        LeakingSplit: naming them.
    """
    heard = sorted(set(encoder.heard_speakers) & set(test))
    if heard:
        raise LeakingSplit(
            f"the encoder has heard {len(heard)} of the test speakers in its own training ({', '.join(heard[:3])} …); "
            f"results on them would mislead: use another encoder, or speakers it has not heard"
        )


def draw_dev_speakers(corpus: Corpus, speakers: list[str], share: float, rng: np.random.Generator) -> list[str]:
    """Some of the training speakers at random, genders in turn; at least one, and at least one is left to train.

    With a share of 0 there are none.

    Raises:
        BadCorpus: fewer than two speakers.
    """
    if share == 0:
        return []
    if len(speakers) < 2:
        raise BadCorpus(
            f"{corpus.name}: {len(speakers)} speakers are too few to train; dev speakers must be others than train speakers"
        )
    return draw_speakers(corpus, speakers, min(len(speakers) - 1, max(1, round(share * len(speakers)))), rng)


def draw_speakers(corpus: Corpus, speakers: list[str], n: int, rng: np.random.Generator) -> list[str]:
    """At most n of the speakers at random, genders in turn."""
    gender = corpus.table.groupby("speaker")["gender"].first()
    queues = [
        list(rng.permutation([one for one in speakers if gender[one] == name])) for name in sorted({*gender[speakers]})
    ]
    turns = [
        speaker for turn in zip_longest(*(queues[place] for place in rng.permutation(len(queues)))) for speaker in turn
    ]
    return [str(speaker) for speaker in turns if speaker is not None][:n]

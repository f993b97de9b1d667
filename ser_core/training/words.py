"""The words that go with utterances in a training: the corpus' own, or sentences they are paired with; and who reads them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from ser_core.data.batches import Texts, Utterances
from ser_core.data.sentences import Sentences, pair, read_sentences
from ser_core.encoders.base import choose_device
from ser_core.encoders.text import TEXT_ENCODERS, TextCache, TextEncoder, load_text_encoder
from ser_core.methods import METHODS
from ser_core.methods.base import TextShape
from ser_core.recipe import BadRecipe, Recipe, TextChoice
from ser_core.workspace import Workspace


@dataclass(frozen=True)
class Words:
    """Who reads, and what there is to read beside the corpus' own text.

    Attributes:
        encoder: of text, frozen.
        sentences: that utterances are paired with; None where they keep their own words.
        neutral_share: of training utterances that are paired with a neutral sentence instead.
    """

    encoder: TextEncoder
    sentences: Sentences | None
    neutral_share: float

    def read(self, utterances: Utterances, workspace: Workspace, device: str, say: Callable[[str], None]) -> Utterances:
        """The utterances with their own words, and all sentences read once."""
        table = utterances.corpus.table
        language = table["language"].fillna("").astype(str)
        cleaned = [
            self.encoder.reading(text, word).text if isinstance(text, str) else ""
            for text, word in zip(table["text"], language, strict=True)
        ]
        known = sorted({text for text in cleaned if text})
        others = [] if self.sentences is None else self.sentences.table["text"].to_list()
        if n_silent := sum(not text for text in cleaned):
            say(f"{n_silent} of {len(cleaned)} utterances have no words that '{self.encoder.fingerprint}' can read")
        cache = TextCache(workspace.embeddings, self.encoder.to(choose_device(device)))
        say(f"words: {len(known)} different sentences in the corpus, {len(others)} to pair with")
        if others and not cache.holds(others):
            say(f"reading {len(others)} sentences; the first time this takes a few minutes on a CPU")
        features = torch.cat(
            [cache.embed(known), cache.embed(others)]
        )  # apart, so that sentences are read once for all corpora
        self.encoder.to("cpu")
        place = {text: number for number, text in enumerate(known)}
        own = np.array([place.get(text, -1) for text in cleaned], dtype=np.int64)
        return replace(utterances, texts=Texts((*known, *others), features, own, own))

    def paired(self, utterances: Utterances, dev: Collection[str], test: Collection[str], seed: int) -> Utterances:
        """The utterances with sentences of their label and role, where there are any to pair them with."""
        if self.sentences is None:
            return utterances
        table, texts = utterances.corpus.table, utterances.texts
        role = pd.Series("train", index=table.index)
        role[table["speaker"].isin(list(dev))] = "dev"
        role[table["speaker"].isin(list(test))] = "test"
        pairing = pair(table["emotion"], role, self.sentences, seed)
        offset = len(texts.sentences) - len(self.sentences.table)

        def drawn(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            places = pairing.draw(rows, self.neutral_share, rng)
            return np.where(places >= 0, places + offset, -1)

        trains = np.flatnonzero((self.sentences.table["split"] == "train").to_numpy()) + offset
        fixed = np.where(pairing.fixed >= 0, pairing.fixed + offset, -1)
        return replace(utterances, texts=replace(texts, row=fixed, drawn=drawn, trains=trains))


def with_own_words(utterances: Utterances) -> Utterances:
    """As they were spoken."""
    return replace(utterances, texts=replace(utterances.texts, row=utterances.texts.own, drawn=None))


def without_words(utterances: Utterances) -> Utterances:
    """As if nobody knew the words."""
    nothing = np.full(len(utterances.texts.row), -1, dtype=np.int64)
    return replace(utterances, texts=replace(utterances.texts, row=nothing, drawn=None))


def words_for(recipes: Sequence[Recipe], workspace: Workspace) -> Words | None:
    """What the recipes read; None where none of them reads.

    Raises:
        BadRecipe: an encoder that is not known, or recipes that read differently.
        BadCorpus: the sentences cannot be read.
        EncoderUnavailable: the encoder of text is not on this machine.
    """
    reading = [recipe for recipe in recipes if METHODS[recipe.method].reads]
    if not reading:
        return None
    first = reading[0]
    chosen = {(one.text.name, one.text.source, one.data.sentences, one.data.neutral_words) for one in reading}
    if len(chosen) > 1:
        raise BadRecipe(
            "the recipes read with different encoders of text, or different sentences; compare like with like"
        )
    if first.text.name not in TEXT_ENCODERS:
        raise BadRecipe(f"there is no encoder of text '{first.text.name}'; choose one of {', '.join(TEXT_ENCODERS)}")
    encoder = load_text_encoder(first.text.name, first.text.source or None, (workspace.models,))
    sentences = read_sentences(first.data.sentences) if first.data.sentences else None
    return Words(encoder, sentences, first.data.neutral_words)


def text_shape(choice: TextChoice, encoder: TextEncoder) -> TextShape:
    """What the encoder of text hands over, and which of it is read.

    Raises:
        BadRecipe: a layer that it does not have.
    """
    layers = choice.layers or tuple(range(0, encoder.n_layers, 2))
    if not all(isinstance(layer, int) and 0 <= layer < encoder.n_layers for layer in layers):
        raise BadRecipe(f"text layers {list(layers)}: '{choice.name}' has layers 0 to {encoder.n_layers - 1}")
    return TextShape(encoder.n_layers, encoder.width, layers)

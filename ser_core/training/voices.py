"""The embedding of the voice that a method puts into clusters: by a speaker encoder of its own, or by the recipe's encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ser_core.data.batches import Utterances
from ser_core.encoders import ENCODERS, SPEAKER_ENCODERS, load_encoder
from ser_core.encoders.base import SpeechEncoder, below_the_middle, mean_of_layer
from ser_core.methods import METHODS
from ser_core.recipe import BadRecipe, Recipe
from ser_core.training.hearing import embedded
from ser_core.workspace import Workspace


@dataclass(frozen=True)
class Voices:
    """Who hears voices.

    Attributes:
        encoder: None for the one whose features the utterances have.
        layer: whose mean over frames is the embedding; None for an encoder that gives one vector an utterance.
    """

    encoder: SpeechEncoder | None
    layer: int | None

    def heard(
        self,
        utterances: Utterances,
        workspace: Workspace,
        device: str,
        say: Callable[[str], None],
        between: Callable[[int], None] = lambda n_done: None,
    ) -> Utterances:
        """The utterances with their speaker embedding, (N, E)."""
        of = utterances
        if self.encoder is not None:
            of = embedded(utterances.corpus, utterances.emotions, self.encoder, workspace, device, say, between)
        return replace(utterances, speaker_embedding=self.embedding(of.features))

    def embedding(self, features: Tensor) -> Tensor:
        """Of pooled layers (N, L, V), (N, E)."""
        return features[:, 0] if self.layer is None else mean_of_layer(features, self.layer)


def voices_for(recipes: Sequence[Recipe], encoder: SpeechEncoder | None, workspace: Workspace) -> Voices | None:
    """Who hears voices for the recipes; None where none of them asks for it.

    Args:
        recipes: trained together.
        encoder: theirs.
        workspace: where encoders may lie.

    Raises:
        BadRecipe: an encoder or a layer that does not exist, or recipes that name different ones.
        EncoderUnavailable: it is not on this machine.
    """
    asking = [recipe for recipe in recipes if METHODS[recipe.method].hears_speaker_encoder]
    if not asking:
        return None
    if len({recipe.speaker_encoder for recipe in asking}) > 1:
        raise BadRecipe("the recipes have different [speaker_encoder]; name one for all of them")
    chosen, own = asking[0].speaker_encoder, None
    if chosen.source and not chosen.name:
        raise BadRecipe(
            f"speaker_encoder.source is '{Path(chosen.source).name}', but not whose weights these are: set speaker_encoder.name as well"
        )
    if chosen.name:
        known = {**SPEAKER_ENCODERS, **ENCODERS}
        if chosen.name not in known:
            raise BadRecipe(f"there is no speaker encoder '{chosen.name}'; choose one of {', '.join(known)}")
        own = load_encoder(chosen.name, chosen.source or None, (workspace.models,))
    if chosen.name in SPEAKER_ENCODERS and chosen.layer >= 0:
        raise BadRecipe(
            f"speaker_encoder.layer is {chosen.layer}, but '{chosen.name}' has no layers to choose from; leave it out"
        )
    if chosen.name in SPEAKER_ENCODERS:
        return Voices(own, None)
    return Voices(own, _layer(chosen.layer, own or encoder))


def listening(encoder: SpeechEncoder | None, voices: Voices | None) -> list[SpeechEncoder]:
    """All encoders that hear a corpus: that of the recipes, and that of voices where it is another."""
    return [one for one in (encoder, voices and voices.encoder) if one is not None]


def _layer(layer: int, encoder: SpeechEncoder) -> int:
    """Raises BadRecipe where there is no such layer."""
    if layer >= encoder.n_layers:
        raise BadRecipe(f"speaker_encoder.layer is {layer}, but the encoder's layers are 0 to {encoder.n_layers - 1}")
    return below_the_middle(encoder.n_layers) if layer < 0 else layer

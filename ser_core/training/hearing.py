"""A corpus as an encoder hears it, from the cache where it was heard before; processes share the work."""

import math
import time
from collections.abc import Callable

from ser_core.data.batches import Utterances
from ser_core.data.manifest import Corpus
from ser_core.encoders.base import SpeechEncoder
from ser_core.encoders.cache import EmbeddingCache
from ser_core.training.trainer import accelerator_for
from ser_core.workspace import Workspace

_CHUNK = 32


def embedded(
    corpus: Corpus,
    emotions: tuple[str, ...],
    encoder: SpeechEncoder | None,
    workspace: Workspace,
    device: str,
    say: Callable[[str], None],
    between: Callable[[int], None] = lambda n_done: None,
) -> Utterances:
    """The corpus with its cached features, or without where there is no encoder to hear it; processes share the work.

    Args:
        corpus: what is heard.
        emotions: classes that the method tells apart.
        encoder: frozen.
        workspace: for the cache.
        device: 'auto', or as torch names it.
        say: told what was done.
        between: told now and then how many recordings are done; may raise to stop.
    """
    if encoder is None:
        return Utterances(corpus, emotions)
    start, accelerator = time.perf_counter(), accelerator_for(device)
    cache = EmbeddingCache(workspace.embeddings, encoder.to(accelerator.device))
    paths = corpus.table["path"].to_list()
    mine = paths[accelerator.process_index :: accelerator.num_processes]
    for place in range(0, math.ceil(len(paths) / accelerator.num_processes), _CHUNK):  # as often in every process
        between(place * accelerator.num_processes)
        cache.embed(mine[place : place + _CHUNK])
    accelerator.wait_for_everyone()
    features = cache.embed(paths)
    if cache.n_read:
        say(f"embedded {cache.n_read} of {len(corpus)} utterances in {time.perf_counter() - start:.0f} s")
    return Utterances(corpus, emotions, features)

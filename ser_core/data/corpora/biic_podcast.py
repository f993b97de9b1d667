"""BIIC-Podcast: Upadhyay et al. 2023, "An Intelligent Infrastructure Toward Large Scale Naturalistic Affective Speech
Corpora Collection", Proc. ACII. Taiwanese Mandarin, collected in the manner of MSP-Podcast. By signed agreement.

Published are the names of its files and sets, the scale from 1 to 7 and the classes; the rest of the layout is taken to be
that of MSP-Podcast, and what differs is refused by name.
"""

from pathlib import Path

from ser_core.data.corpora.msp_podcast import read_podcasts
from ser_core.data.manifest import Corpus


def load(folder: Path) -> Corpus:
    """Read the labels, audio and transcripts; raises BadCorpus as `msp_podcast.load`."""
    return read_podcasts(folder, "biic_podcast", "zh")

"""CORPORA: the layouts we can read. A new corpus is a file here and a line in the table."""

from pathlib import Path

from ser_core.data.corpora import (
    biic_podcast,
    crema_d,
    emodb,
    fau_aibo,
    iemocap,
    manifest_file,
    msp_podcast,
    nemo,
    ravdess,
    synthetic,
)
from ser_core.data.manifest import BadCorpus, Corpus, Loader, join

CORPORA: dict[str, Loader] = {
    "synthetic": synthetic.load,
    "synthetic_confounded": synthetic.load_confounded,
    "synthetic_even": synthetic.load_even,
    "ravdess": ravdess.load,
    "emodb": emodb.load,
    "nemo": nemo.load,
    "crema_d": crema_d.load,
    "msp_podcast": msp_podcast.load,
    "biic_podcast": biic_podcast.load,
    "iemocap": iemocap.load,
    "fau_aibo": fau_aibo.load,
    "fau_aibo_2": fau_aibo.load_2,
}

_MADE_HERE = (synthetic.load, synthetic.load_confounded, synthetic.load_even)
"""Loaders that make what they load."""


def load_corpus(name: str, folder: str | Path) -> Corpus:
    """Read a corpus from disk.

    Args:
        name: a key of CORPORA for an official layout; any other name reads `folder` as a manifest of that name.
        folder: the corpus' folder; for a manifest the CSV or TSV itself, or the folder that holds it.

    Raises:
        BadCorpus: nothing is there, or it is not what its name says.
    """
    path = Path(folder).expanduser()
    if not path.exists() and CORPORA.get(name) not in _MADE_HERE:
        raise BadCorpus(f"{name}: there is no '{path.name}' at the place named; check the path")
    if name in CORPORA and path.is_file():
        raise BadCorpus(
            f"{name} is read from the folder it comes in, and '{path.name}' is a file; give a table of yours a name of its own, "
            f"as in mine={path.name}"
        )
    if name in CORPORA:
        return CORPORA[name](path)
    try:
        return manifest_file.load(path, name)
    except manifest_file.NoManifest as error:
        raise BadCorpus(f"{error}; or did you mean one of the layouts {', '.join(CORPORA)}?") from None


def load_corpora(named_folders: list[str]) -> Corpus:
    """Read 'NAME=DIR' once or more, joined into one corpus.

    Raises:
        BadCorpus: a part is not NAME=DIR, or cannot be read.
    """
    corpora = []
    for named in named_folders:
        name, equals, folder = named.partition("=")
        if not (name and equals and folder):
            raise BadCorpus(f"'{named}' is not NAME=DIR; write for example ravdess=/path/to/ravdess")
        corpora.append(load_corpus(name, folder))
    return corpora[0] if len(corpora) == 1 else join(corpora)

"""Every folder the program writes to, under one root; and where the things that ship lie."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "assets"
"""Beside the package: Attune is run from its checkout, installed with `pip install -e`."""


_MEMORY = Path("/dev/shm")
"""Where files lie in memory, if at all."""


@dataclass(frozen=True)
class Workspace:
    """One folder that holds all the program keeps: profiles, caches, runs, fetched models.

    Attributes:
        root: the folder.
        database: SQLAlchemy's URL of the database of profiles, with its password; None for the file in the folder.
        app: names the folder of a running app's page among those of other apps.
        key_file: what recordings are encrypted with, outside of the folder; None if they are not.
    """

    root: Path
    database: str | None = field(default=None, repr=False)
    key_file: Path | None = None
    app: str = ""

    @property
    def profiles(self) -> Path:
        """The database of profiles, unless it is elsewhere."""
        return self.root / "profiles.sqlite3"

    @property
    def embeddings(self) -> Path:
        """Embeddings of corpora (never of profiles), one folder an encoder."""
        return self.root / "embeddings"

    @property
    def models(self) -> Path:
        """Encoders fetched by `models fetch`."""
        return self.root / "models"

    @property
    def runs(self) -> Path:
        """Trainings, one folder each."""
        return self.root / "runs"

    @property
    def trained(self) -> Path:
        """Models that were trained here and put to use."""
        return self.root / "trained"

    @property
    def temporary(self) -> Path:
        """What the page of an app uploads, a folder each; private, and gone when the app is, at the latest at the next start.

        In memory where recordings are encrypted, for it holds them as they are; in the workspace all the same where
        the computer has no such place.
        """
        if self.key_file is None or not _MEMORY.is_dir():
            return self.root / "temporary" / self.app
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return _MEMORY / f"attune-{os.getuid()}-{name}" / self.app


def open_workspace(root: str | Path | None = None) -> Workspace:
    """The workspace at a folder, made if absent and readable by its owner only.

    Args:
        root: the folder; else the environment's SER_WORKSPACE; else ~/.attune. The environment's SER_DATABASE and
            SER_KEY_FILE name the database and the key.
    """
    folder = Path(root or os.environ.get("SER_WORKSPACE") or Path.home() / ".attune").expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key_file = os.environ.get("SER_KEY_FILE")
    key = Path(key_file).expanduser().absolute() if key_file else None
    return Workspace(folder, os.environ.get("SER_DATABASE") or None, key)

"""Every folder the program writes to, under one root; and where the things that ship lie."""

import os
from dataclasses import dataclass
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "assets"
"""Beside the package: Attune is run from its checkout, installed with `pip install -e`."""


@dataclass(frozen=True)
class Workspace:
    """One folder that holds all the program keeps: profiles, caches, runs, fetched models."""

    root: Path

    @property
    def profiles(self) -> Path:
        """The database of profiles."""
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
        """What the app's page uploads; private, and emptied at start and exit."""
        return self.root / "temporary"


def open_workspace(root: str | Path | None = None) -> Workspace:
    """The workspace at a folder, made if absent and readable by its owner only.

    Args:
        root: the folder; else the environment's SER_WORKSPACE; else ~/.attune.
    """
    folder = Path(root or os.environ.get("SER_WORKSPACE") or Path.home() / ".attune").expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Workspace(folder)

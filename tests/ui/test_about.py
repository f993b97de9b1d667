"""The tab About, without a browser."""

import subprocess
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

import ser_core
from ser_core.inference.models import shipped_models
from ser_core.ui import about
from ser_core.ui.about import FetchFailed
from ser_core.ui.services import Services
from ser_core.workspace import open_workspace


@pytest.fixture
def services(tmp_path: Path, tiny_model: Path) -> Services:
    return Services(open_workspace(tmp_path / "workspace"), str(tiny_model))


def test_every_model_that_ships_is_there_with_its_card(services: Services):
    assert about._shipped_names() == sorted(info.name for info in shipped_models())
    filled = about.fill(services)
    for info in shipped_models():
        place = about._shipped_names().index(info.name) * 4
        said, _, card, save = filled[place : place + 4]
        assert info.name in said
        assert card == info.card and "Licence" in card and "UAR" in card
        assert Path(save.value["path"]).read_text(encoding="utf-8") == info.card


def test_a_model_without_its_weights_offers_to_get_them(services: Services, tmp_path, monkeypatch):
    monkeypatch.delenv("SER_WEIGHTS")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    place = about._shipped_names().index("whisper-tiny.en") * 4
    said, button = about.fill(services)[place : place + 2]
    assert "not on this computer" in said and button.visible


def test_downloading_runs_the_command_a_person_would_type_and_tells_its_last_word(services: Services, monkeypatch):
    asked = []

    def typed(command, **options):
        asked.append((command, options["env"]))
        return SimpleNamespace(returncode=2, stderr="attune models: 'x' could not be fetched; check the connection\n")

    monkeypatch.setattr(subprocess, "run", typed)
    with pytest.raises(FetchFailed, match="check the connection"):
        about.fetch(services, "whisper-tiny.en", gr.Progress())
    ((command, environment),) = asked
    assert command[1:6] == ["-m", "ser_core", "models", "fetch", "whisper-tiny.en"]
    assert "HF_HUB_OFFLINE" not in environment


def test_it_says_where_data_is_kept_and_how_to_erase_it(services: Services):
    services.create("Ann", True)
    said = about.kept_where(services)
    assert str(services.workspace.profiles) in said and "1 profile on" in said and "Nothing is sent anywhere" in said


def test_versions_are_those_that_are_installed(services: Services):
    rows = {name: (version, licence) for name, version, licence in about.versions(services)}
    assert rows["Attune"][0] == ser_core.__version__
    for name in about.PACKAGES:
        assert rows[name][0] == metadata.version(name) and rows[name][1]
    report = about.for_a_report(services)
    assert f"torch {metadata.version('torch')}" in report and str(services.workspace.root) not in report


def test_the_law_is_told():
    assert "Article 5(1)(f)" in about.LAW and "Article 50(3)" in about.LAW and "education" in about.LAW

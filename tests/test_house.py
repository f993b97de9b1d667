"""The house rules that a machine can check."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ser_core.__main__ import parse
from ser_core.commands import COMMANDS
from ser_core.data.corpora import CORPORA
from ser_core.encoders import ENCODERS
from ser_core.inference.models import read_model, shipped_models
from ser_core.inference.prompts import HINTS, PROMPTS
from ser_core.labels import APP_EMOTIONS
from ser_core.methods import METHODS
from ser_core.methods.checkpoint import load_method
from ser_core.recipe import RECIPES, read_recipe, read_split

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / folder / "README.md" for folder in (".", "benchmarks", "ser_core/recipes")]
SOURCES = sorted([*(REPOSITORY / "ser_core").rglob("*.py"), REPOSITORY / "app.py"])


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [REPOSITORY / name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


def test_imports_only_go_down_the_row_of_rooms():
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_nothing_is_unpickled_evaluated_or_run_through_a_shell(source):
    forbidden = (
        r"torch\.load\(|\bpickle\b|joblib|trust_remote_code|shell\s*=\s*True|(?<![\w.])eval\(|(?<![\w.])exec\(|\.cuda\("
    )
    assert not re.search(forbidden, source.read_text(encoding="utf-8"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_file_opens_by_saying_what_it_is(source):
    text = source.read_text(encoding="utf-8")
    assert not text or text.startswith('"""')


def test_the_repository_holds_no_addresses_of_registries_and_no_paths_of_a_machine():
    text_files = [
        path
        for path in _tracked()
        if path.suffix in (".py", ".md", ".toml", ".txt", ".json", ".css", "") and path.name != Path(__file__).name
    ]
    for path in text_files:
        text = path.read_text(encoding="utf-8", errors="ignore")
        assert not re.search(r"(^|[^\w.])/(work|root)/[A-Za-z]", text), path
        assert not re.search(r"index-url|files\.pythonhosted|pypi\.org/simple", text), path


def test_every_emotion_of_the_app_has_a_sentence_and_a_hint():
    assert set(PROMPTS) == set(HINTS) == set(APP_EMOTIONS)


def test_every_recipe_names_a_method_and_every_table_a_file():
    for path in RECIPES.glob("*.toml"):
        if path.stem.endswith("_split"):
            split = read_split(path.stem)
            assert split.dev and split.test
        else:
            recipe = read_recipe(path.stem)
            assert recipe.method in METHODS and recipe.encoder.name in ENCODERS
    assert {"ravdess", "emodb", "nemo", "crema_d", "synthetic"} <= set(CORPORA)
    for name in COMMANDS:
        assert (REPOSITORY / "ser_core" / "commands" / f"{name}.py").is_file()


@pytest.mark.parametrize("name", ["compact", "whisper-tiny.en"])
def test_what_ships_is_whole_has_a_card_and_names_its_test_speakers(name):
    info = read_model(REPOSITORY / "assets" / "models" / name)
    assert info.emotions == APP_EMOTIONS
    for part in (info.baseline, *info.personalisers):
        assert load_method(info.folder / part).emotions == APP_EMOTIONS
    for speaker in read_split("shipped_split").test:
        assert speaker in info.card
    for word in ("Licence", "non-commercial", "Intended use", "Limits", "prohibited in the EU"):
        assert word in info.card


def test_the_compact_model_weighs_at_most_25_mb_and_all_that_ships_36():
    sizes = {path: path.stat().st_size for path in (REPOSITORY / "assets" / "models").rglob("*") if path.is_file()}
    assert sum(size for path, size in sizes.items() if "compact" in path.parts) <= 25 * 10**6
    assert sum(sizes.values()) <= 36 * 10**6
    assert [model.name for model in shipped_models()] == ["whisper-tiny.en", "compact"]


def test_nothing_lies_about_at_the_top():
    expected = {
        ".ci", ".gitignore", "README.md", "app.py", "assets", "benchmarks", "constraints.txt", "pyproject.toml", "ser_core", "tests",
    }  # fmt: skip
    assert {path.relative_to(REPOSITORY).parts[0] for path in _tracked()} == expected


def _anchors(page: Path) -> set[str]:
    """What a link into a page may name: its headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_of_a_page_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), link
        assert not anchor or anchor in _anchors(there), link
    for name in re.findall(r"(?:tests/)?benchmarks/[\w/]+\.(?:py|sh)", text):
        assert (REPOSITORY / name).is_file(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_command_of_a_page_is_one_that_there_is(page, capsys):
    text = page.read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    named = "|".join(COMMANDS)
    lines = [
        *re.findall(r"-m ser_core (.+)", blocks),
        *re.findall(rf"^\| `((?:{named})(?: [^`]+)?)`", text, re.MULTILINE),
    ]
    assert lines
    for line in lines:
        try:
            parse(shlex.split(line, comments=True))
        except SystemExit:
            pytest.fail(f"{line}: {capsys.readouterr().err}")
    for command, rest in re.findall(rf"`({named})\s([^`]+)`", text):  # in a sentence, and often only in part
        with pytest.raises(SystemExit):
            parse([command, *[word for word in rest.split()[:1] if word[0] != "-"], "--help"])
        known = re.findall(r"--[\w-]+", capsys.readouterr().out)
        assert set(re.findall(r"(?<!\S)--[\w-]+", rest)) <= set(known), (command, rest)

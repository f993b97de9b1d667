"""Before a run: who would do what, what it would take, and what is wrong with the order."""

from dataclasses import replace

import pytest
import torch

from ser_core.data.corpora import load_corpora
from ser_core.data.manifest import BadCorpus, LeakingSplit
from ser_core.encoders.base import DeviceUnavailable
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.recipe import BadRecipe, read_recipe, recipe_names
from ser_core.training.check import check_order
from ser_core.training.jobs import Order
from ser_core.training.preparation import prepare
from ser_core.weights import EncoderUnavailable
from ser_core.workspace import open_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return open_workspace(tmp_path_factory.mktemp("workspace"))


def _encoder(folder, heard=()):
    torch.manual_seed(0)
    settings = CompactSettings(width=32, n_transformer_layers=2, n_heads=2, feedforward=32)
    encoder = Compact(settings)
    encoder.heard_speakers = tuple(heard)
    encoder.save(folder)
    return f"compact={folder}"


@pytest.fixture(scope="module")
def order(tmp_path_factory) -> Order:
    folder = tmp_path_factory.mktemp("material")
    return Order("smoke", (f"synthetic={folder / 'toy'}",), _encoder(folder / "encoder"), device="cpu")


def test_the_table_of_sizes_counts_every_utterance_and_speaker_once(order, workspace):
    checked = check_order(order, workspace)
    corpus = load_corpora(list(order.corpora))
    sizes = checked.sizes.set_index("role")
    assert list(sizes.index) == ["train", "dev", "test"]
    assert sizes["utterances"].sum() == len(corpus) == sizes[list(corpus.emotions)].to_numpy().sum()
    assert sizes["speakers"].sum() == 8 == sizes[["female", "male"]].to_numpy().sum()
    assert checked.verdict["speakers_on_both_sides"] == []


def test_an_estimate_grows_with_the_epochs_and_with_what_learns(order, workspace):
    def estimate(*settings: str):
        return check_order(replace(order, settings=settings), workspace).estimate

    few, many = estimate("training.epochs=1"), estimate("training.epochs=400")
    assert 0 < few.seconds < many.seconds and "memory" in few.in_words
    assert estimate("encoder.tune=all", "training.epochs=400").seconds > many.seconds
    assert estimate("encoder.tune=all").memory_bytes > many.memory_bytes


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"recipe": "nothing"}, BadRecipe, "no recipe 'nothing'"),
        ({"corpora": ("ravdess=/nowhere",)}, BadCorpus, "nowhere"),
        ({"corpora": ("ravdess",)}, BadCorpus, "NAME=DIR"),
        ({"encoder": "huge"}, BadRecipe, "no encoder 'huge'"),
        ({"encoder": "whisper=/nowhere"}, EncoderUnavailable, "not on this machine"),
        ({"device": "abacus"}, DeviceUnavailable, "abacus"),
        ({"settings": ("training.epochs=many",)}, BadRecipe, "'many'"),
        ({"settings": ("beside.epochs=1",)}, BadRecipe, "training.epochs=5"),
        ({"settings": ("data.split=nowhere",)}, BadRecipe, "no recipe 'nowhere'"),
        ({"seed": -1}, BadRecipe, "seed -1"),
        ({"recipe": "distil_compact", "settings": ("training.accumulate=2",)}, BadRecipe, "leave out"),
        ({"recipe": "enrolment_attention", "settings": ("settings.n_heads=3",)}, BadRecipe, "n_heads 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_words(order, workspace, change, error, words):
    with pytest.raises(error, match=words):
        check_order(replace(order, **change), workspace)


def test_speakers_whom_the_encoder_has_heard_are_not_drawn_to_be_tested(order, workspace, tmp_path):
    heard = [f"synthetic_{one}" for one in range(6)]
    knowing = replace(order, encoder=_encoder(tmp_path / "encoder", heard))
    prepared = prepare(knowing.resolved(), load_corpora(list(order.corpora)), workspace, seed=3)
    assert set(prepared.test) == {"synthetic_6", "synthetic_7"}
    everybody = replace(order, encoder=_encoder(tmp_path / "all", [f"synthetic_{one}" for one in range(8)]))
    with pytest.raises(LeakingSplit, match="has heard"):
        check_order(everybody, workspace)


def test_a_command_in_words_says_all_that_was_asked_for(order, tmp_path):
    asked = replace(order, settings=("training.epochs=5",), seed=4, tensorboard=True)
    words = asked.in_words(tmp_path / "run", resume=True)
    for part in (
        "train smoke",
        "--corpus synthetic=",
        "--set training.epochs=5",
        "--seed 4",
        "--tensorboard",
        "--resume",
    ):
        assert part in words


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_says_what_it_does_and_can_be_read_again_as_json(name):
    recipe = read_recipe(name)
    assert recipe.about.endswith(".") and len(recipe.about) > 20
    assert recipe.to_json()["method"] == recipe.method and all(one.name for one in recipe.companions())

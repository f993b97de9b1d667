"""Words in the terminal: predict --text, ensemble."""

import json

import numpy as np
import pandas as pd
import pytest

from ser_core.__main__ import main


def said(capsys, *arguments) -> tuple[int, str, str]:
    try:
        code = main(list(map(str, arguments)))
    except SystemExit as error:
        code = error.code
    return code, *capsys.readouterr()


def test_predict_counts_words_that_are_given(capsys, tiny_model, speech_file, tmp_path):
    common = ("predict", speech_file, "--model", tiny_model, "--workspace", tmp_path, "--json")
    code, out, _ = said(capsys, *common, "--text", "I am so happy")
    answer = json.loads(out)[0]
    assert code == 0 and answer["with_words"]["text"] == "I am so happy" and answer["transcript"] is None
    assert set(answer["with_words"]["attributes"]["baseline"]) == {"arousal", "valence", "dominance"}
    code, out, _ = said(capsys, *common)
    assert "with_words" not in json.loads(out)[0]
    assert json.loads(out)[0]["baseline"]["probabilities"] == answer["baseline"]["probabilities"]


def test_predict_says_what_is_missing_where_there_is_no_whisper(capsys, tiny_model, speech_file, tmp_path, monkeypatch):
    monkeypatch.delenv("SER_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    code, _, error = said(
        capsys, "predict", "--transcribe", speech_file, "--model", tiny_model, "--workspace", tmp_path
    )
    assert code == 2 and "models fetch whisper-base" in error
    code, _, error = said(
        capsys, "predict", speech_file, "--transcribe", "--text", "x", "--model", tiny_model, "--workspace", tmp_path
    )
    assert code == 2 and "give one of them" in error


def predictions(method: str, p: float, arousal: float) -> pd.DataFrame:
    names = [f"u{place}" for place in range(4)]
    truth = ["anger", "fear", "anger", "fear"]
    return pd.DataFrame({
        "utterance_id": names, "seed": 0, "fold": 0, "method": method, "emotion": truth, "arousal": [1.0, 2, 3, 4],
        "p_anger": p, "p_fear": 1 - p, "predicted_emotion": "anger" if p > 0.5 else "fear",
        "predicted_arousal": np.array([1.0, 2, 3, 4]) * arousal,
    })  # fmt: skip


def test_ensemble_is_the_mean_of_the_methods_of_a_table(capsys, tmp_path):
    table = pd.concat([predictions("a", 0.9, 1.0), predictions("b", 0.3, 0.5), predictions("c", 0.1, 0.0)])
    table.to_csv(tmp_path / "predictions.csv", index=False)
    path = tmp_path / "predictions.csv"
    code, out, _ = said(capsys, "ensemble", path, "a", "b", "--output", tmp_path / "mean.csv", "--name", "both")
    mixed = pd.read_csv(tmp_path / "mean.csv")
    assert code == 0 and "UAR 0.500" in out and "CCC arousal" in out
    assert mixed["p_anger"].tolist() == pytest.approx([0.6] * 4) and set(mixed["predicted_emotion"]) == {"anger"}
    assert mixed["predicted_arousal"].tolist() == pytest.approx([0.75, 1.5, 2.25, 3.0]) and set(mixed["method"]) == {
        "both"
    }
    for wrong, words in ((["a"], "two systems"), (["a", "z"], "no method 'z'")):
        code, _, error = said(capsys, "ensemble", path, *wrong, "--output", tmp_path / "other.csv")
        assert code == 2 and words in error and not (tmp_path / "other.csv").exists()

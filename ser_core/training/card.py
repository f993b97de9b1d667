"""The card of a model that ships, written from its reports: every number in it was measured by `build`."""

import json
from collections.abc import Sequence
from statistics import fmean

from ser_core.data.whole import written
from ser_core.evaluation.summary import NO_WORDS, OWN_WORDS
from ser_core.inference.models import ModelInfo
from ser_core.labels import ATTRIBUTES
from ser_core.recipe import BadRecipe, Recipe

_LICENCES = {
    "ravdess": "RAVDESS, Livingstone & Russo 2018, CC BY-NC-SA 4.0",
    "emodb": "EmoDB, Burkhardt et al. 2005, freely usable with citation",
    "nemo": "nEMO, Christop 2024, CC BY-NC-SA 4.0",
    "korean": "Korean emotional speech, Selvas AI / KAIST emotiontts_open_db, CC BY-NC-SA 4.0",
    "msp_podcast": "MSP-Podcast, Lotfian & Busso 2019, by signed agreement",
    "biic_podcast": "BIIC-Podcast, Upadhyay et al. 2023, by signed agreement",
    "fau_aibo": "FAU Aibo, Steidl 2009, by signed agreement",
    "fau_aibo_2": "FAU Aibo, Steidl 2009, by signed agreement",
    "iemocap": "IEMOCAP, Busso et al. 2008, by signed agreement",
    **dict.fromkeys(
        ("synthetic", "synthetic_confounded", "synthetic_even"), "synthetic buzzing voices made by this project"
    ),
}

_SHIPPED = "- Few speakers, four languages, adults. Other languages, ages, spontaneous speech, telephones and noise are untested."
_OWN = "- It knows the voices, languages and microphones of the data above, and no others."

_FOOT = """
## Intended use
Demonstration and research: how much a model of emotional expression gains from one labelled utterance per emotion of
the person who speaks, and whom it serves well. Non-commercial only, because corpora it learned from are.

## Limits
- It recognises *acted* expressions in short scripted utterances. It does not know what anybody feels.
- Few speakers, four languages, adults. Other languages, ages, spontaneous speech, telephones and noise are untested.
- It is often wrong, and more often for some people than for others: see the tables, speaker by speaker.
- Whoever enrols another person's recordings, or noisy ones, may get far worse answers than with none: see *another speaker's enrolment*, and the study of wrong enrolments in the project's benchmarks/README.md.
- Inferring emotions of people at work or in education is prohibited in the EU (AI Act, Article 5(1)(f)).
- Never use it to decide anything about a person.
"""


def model_card(info: ModelInfo, report: dict, words: dict | None = None, calibration: dict | None = None) -> str:
    """Markdown: data, licence, accuracy, fairness, words and free speech where they were added, intended use, limits."""
    parts = [_head(info, report), _data(report), "## Accuracy and fairness on test speakers\n"]
    parts.append(
        "Enrolment: the alphabetically first utterance of each emotion, removed from the targets of every method. "
        "UAR over the classes of the seven that the corpus has, of all targets together: so it may lie above or below that of both "
        "genders. Gini, worst speaker and gender are of the two to four people listed. One seed: the weights that ship.\n"
    )
    for corpus, summary in report["by_corpus"].items():
        parts.append(_table(corpus, summary))
        parts.append(_per_speaker(summary, info))
    if "halves" in report:
        parts.append(_halves(report["halves"]))
    parts.append(_certainty(report["certainty"]))
    parts.extend([_words(words)] if words else [])
    parts.extend([_free_speech(calibration)] if calibration else [])
    return "\n".join([*parts, _FOOT])


def run_card(info: ModelInfo, report: dict, recipe: Recipe, data: dict, notes: Sequence[str] = ()) -> str:
    """Markdown of a model that somebody trained here: the same, from the report of its own test speakers.

    Args:
        info, report, recipe: of the model.
        data: corpora, the speakers of each role, and how sure each method may be.
        notes: what the saved model lacks, in words.
    """
    corpora = "\n".join(
        f"- {_LICENCES.get(name, f'{name}: its licence is not known here, see where the corpus is from')}"
        for name in data["corpora"]
    )
    rows = [
        f"| {name} | {_number(one['uar'])} | {_number(one['speaker_spread']['min'])} | {_number(one['gini'])} | "
        f"{_number(one['excess_gini'])} |"
        for name, one in report["models"].items()
    ]
    table = "\n".join(["| method | UAR | worst speaker | Gini | excess Gini |", "|---|---|---|---|---|", *rows])
    learned = {"none": "frozen", "last": "its last layers learned as well", "lora": "with LoRA adapters, merged",
               "convolutions": "frozen, with pointwise convolutions on it that learned"}  # fmt: skip
    tuned = learned.get(recipe.encoder.tune, "learned as a whole")
    heard = report["leaks"].get("test_speakers_heard_without_labels", [])
    if heard:
        notes = [*notes, f"Heard without labels in training, so not unheard: {', '.join(heard)}."]
    if data["target_speakers"]:
        notes = [*notes, f"Of {', '.join(data['target_speakers'])} no emotion was told: the corpus was adapted to."]
    if recipe.data.labels < 1:
        notes = [*notes, f"Of the utterances that train and choose, {recipe.data.labels:.3g} kept their emotion."]
    if data["unlabelled_speakers"]:
        notes = [*notes, f"Heard without emotions: {', '.join(data['unlabelled_speakers'])}."]
    return (
        f"# {info.name}\n\nTrained here by the recipe '{recipe.name}' ({recipe.paper or 'no paper'}), seed "
        f"{report['configuration']['seed']}. {recipe.about}\n\nEncoder: {recipe.encoder.name}, {tuned}.\n\n"
        f"The licences of the data bind the weights: non-commercial data make non-commercial weights.\n\n"
        f"## Data\n{corpora}\n\nLearned from {', '.join(data['train_speakers'])}. Epochs chosen on "
        f"{', '.join(data['dev_speakers'])}. Tested on {', '.join(data['test_speakers'])}.\n\n"
        f"## Accuracy and fairness on test speakers\n{table}\n\nOne seed, {len(data['test_speakers'])} speakers: rough. "
        f"All numbers are in report.json. {' '.join(notes)}\n\n{_certainty(data['certainty'])}{_FOOT.replace(_SHIPPED, _OWN)}"
    )


def write_card(info: ModelInfo) -> str:
    """README.md of a shipped model's folder, from what is measured there of its parts; returns it.

    report.json is of the whole; words.json and calibration.json, where they are, of the parts that were added.

    Raises:
        BadRecipe: there is no report.json.
    """
    if not (info.folder / "report.json").is_file():
        raise BadRecipe(
            f"{info.folder.name} has no report.json, which its card is written from: `build` the whole model"
        )
    report, words, calibration = (
        json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        for file in (info.folder / f"{name}.json" for name in ("report", "words", "calibration"))
    )
    card = model_card(info, report, words, calibration)
    with written(info.folder / "README.md") as hidden:
        hidden.write_text(card, encoding="utf-8")
    return card


def _words(report: dict) -> str:
    """What was measured of the part that reads words."""
    rows = [
        f"| {corpus} | {name} | {one['n_targets']} | {_number(one['uar'])} | {_number(one.get('ece'))} | "
        + " | ".join(_number(one.get(f"ccc_{attribute}")) for attribute in ATTRIBUTES)
        + " |"
        for corpus, lines in report["by_corpus"].items()
        for name, one in lines.items()
    ]
    head = f"| corpus | answer | targets | UAR | ECE | {' | '.join(f'CCC {attribute}' for attribute in ATTRIBUTES)} |"
    table = "\n".join([head, "|" + "---|" * (5 + len(ATTRIBUTES)), *rows])
    sentences = report["sentences"]
    return (
        f"## Words\nThe part that reads (`{report['recipe']['name']}`, arXiv 2506.10930, with a speaker reference on the "
        f"speech side) learned from the same speakers and from GoEmotions (Demszky et al. 2020, Apache-2.0), through "
        f"all-MiniLM-L6-v2 (Apache-2.0), which knows English only. Made by `python -m ser_core build NAME --reader`, seed "
        f"{report['seed']}, commit {report['commit'][:12]}.\n\n"
        f"The words below are *paired text*: every test utterance got a test sentence of its own label, because the corpora say "
        f"the same sentences in every emotion. So the gain is what words could add where they say what the voice says; it is not "
        f"a result on real conversation. '{OWN_WORDS}' are the scripted sentences (only the English ones can be read), "
        f"'{NO_WORDS}' is how it answers without. Arousal, valence and dominance are *pseudo-attributes* drawn from the labels "
        f"(data/circumplex.py), not ratings.\n\n{table}\n\n"
        f"The words alone, on the {sentences['n']} GoEmotions test sentences with one label: macro-F1 "
        f"{_number(sentences['macro_f1'])}, UAR {_number(sentences['uar'])} (the head was trained with classes alike).\n\n"
    )


def _free_speech(report: dict) -> str:
    """What was measured of free speech."""
    rows = [
        f"| {corpus} | {name} | {one['n_speakers']} | {one['n_targets']:.0f} | "
        + f"{one['n_talk']:.0f} | "
        + " | ".join(_number(one[key]) for key in ("uar", "gini", "worst_speaker", "neutral_recall"))
        + " |"
        for corpus, lines in report["by_corpus"].items()
        for name, one in lines.items()
    ]
    two = report["two_voices"]
    table = "\n".join(
        [
            "| corpus | answer | speakers | targets | utterances of talk | UAR | Gini | worst speaker | recall of neutral |",
            "|" + "---|" * 9,
            *rows,
        ]
    )
    return (
        f"## Free speech\n`calibration.safetensors` puts the baseline right by half a minute "
        f"of a person's speech without labels: prior correction, p'(c) ∝ p(c) · π̄(c)/π̂(c), with π̄ from "
        f"the {report['n_similar']} most similar training speakers (the analogue for classes of PLDC, arXiv 2309.02418), shrinkage "
        f"{report['shrinkage']:g} utterances, both chosen on dev speakers. It holds one row of numbers a training speaker, without "
        f"names. Made by `python -m ser_core build NAME --calibration`, commit {report['commit'][:12]}.\n\nTalk was imitated by "
        f"utterances of the test speakers that are no targets, some {report['talk_s']:.0f} s or as many as could be spared: a random mix of "
        f"emotions, or neutral ones only, after which neutral itself is heard less often; means over "
        f"{report['n_draws']} draws. The mix of emotions in these corpora is even by design, which suits the correction; in life it "
        f"is not.\n\n{table}\n\n`voices.safetensors` tells whether a low and a high voice take turns in free speech (a hint, kept "
        f"nowhere): {two.get('one speaker', 0):.1%} of single test speakers' twelve utterances were taken for two people's, "
        f"{two.get('other gender', 0):.0%} of those shared by a woman and a man, and {two.get('same gender', 0):.0%} of those of two people "
        f"of one gender.\n\n"
    )


def _head(info: ModelInfo, report: dict) -> str:
    encoder = (
        "its own, in `encoder/`; it learned from the same training speakers, without labels, to imitate the lower layers of OpenAI's "
        "Whisper tiny.en (MIT)"
        if info.source == "encoder"
        else (f"`{info.source}`, frozen and not included; whose voices its publisher trained it on is not known here")
    )
    return (
        f"# {info.name}\n\nSpeech emotion recognition in seven classes ({', '.join(info.emotions)}), with a baseline and "
        f"{len(info.personalisers)} personalisers: {', '.join(info.personalisers)}.\n\nEncoder: {encoder}. "
        f"Made by `python -m ser_core build` (see the project's benchmarks/README.md), seed {report['seed']}, commit {report['commit'][:12]}, "
        f"torch {report['torch']}.\n\nLicence of the weights: CC BY-NC-SA 4.0 (non-commercial).\n"
    )


def _data(report: dict) -> str:
    sources = "\n".join(f"- {_LICENCES.get(corpus, corpus)}" for corpus in report["by_corpus"])
    return (
        f"## Data\n{sources}\n\nThe heads learned from {report['n_train_targets']} utterances of {len(report['train_speakers'])} speakers: "
        f"{', '.join(report['train_speakers'])}. All epochs were gone through and the last was kept; "
        f"how sure it may be was learned on {', '.join(report['dev_speakers'])}. Tested on {', '.join(report['test_speakers'])}, whom no stage of training here heard, not even without labels "
        f"(recipes/shipped_split.toml). Calm and boredom are *other* and were neither trained nor tested.\n"
    )


def _table(corpus: str, summary: dict) -> str:
    genders = sorted({gender for line in summary.values() for gender in line["gender_uar"]})
    head = ["method", "UAR", *genders, "Gini", "worst speaker", "new sentence: UAR", "another speaker's enrolment: UAR"]
    lines = [f"### {corpus}\n", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for method, line in summary.items():
        values = [
            line["uar"], *(line["gender_uar"].get(gender) for gender in genders), line["gini"], line["worst_speaker"],
            line["uar_new_sentence"], line.get("uar_another speaker's enrolment"),
        ]  # fmt: skip
        lines.append(f"| {method} | {' | '.join(_number(value) for value in values)} |")
    return "\n".join(lines) + "\n"


def _halves(measured: dict) -> str:
    """How the encoder's recipe does on many more speakers than the weights that ship have left unheard."""
    head = ["encoder", "method", "UAR (95 % interval)", "worst speaker", "excess Gini", "new sentence: UAR"]
    rows = [
        f"| {row['encoder']} | {row['method']} | {row['uar']:.3f} ({row['uar_interval'][0]:.3f} to {row['uar_interval'][1]:.3f}) | "
        + " | ".join(_number(row[name]) for name in ("worst_speaker", "excess_gini", "new_sentence"))
        + " |"
        for row in measured["rows"]
    ]
    of_halves = measured["halves"]["tested"]
    halves = [", ".join(sorted(one.removeprefix("ravdess_") for fold in folds for one in fold)) for folds in of_halves]
    return (
        "### RAVDESS, all 20 actors, by encoders of ours that never heard them\n\n"
        "The four actors above are few. So the encoder's recipes were run twice more, each time without one half of the actors, who "
        "were not heard even without labels: the first without "
        f"{halves[0]}, the second without {halves[1]} (recipes/compact_without_first_half_split.toml, …_second_half_split.toml). The heads "
        f"learned in 5 folds from the 16 actors outside the fold, in RAVDESS' eight classes, {measured['rows'][0]['n_seeds']} seeds; each "
        "encoder is measured on its own half, and Whisper tiny.en (`whisper`) on the same actors, folds and seeds. These are "
        f"not the weights that ship, but what their recipes give (`benchmarks/accuracy.py`, commit {measured['commit'][:12]}). "
        f"{measured['halves'].get('note', '')}\n\n"
        + "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *rows])
        + "\n"
    )


def _per_speaker(summary: dict, info: ModelInfo) -> str:
    before, after = summary[info.baseline]["speaker_uar"], summary[info.personalisers[0]]["speaker_uar"]
    listed = "; ".join(f"{speaker} {_number(before[speaker])} → {_number(after[speaker])}" for speaker in before)
    worse = [speaker for speaker in before if after[speaker] < before[speaker]]
    said = f"**Worse off once enrolled: {', '.join(worse)}.**" if worse else "Nobody is worse off once enrolled."
    return f"Per speaker, {info.baseline} → {info.personalisers[0]}: {listed}. {said}\n"


def _certainty(by_method: dict) -> str:
    """What the confidence of an answer is worth: temperatures, calibration errors, and what is told as not sure."""
    head = [
        "corpus", "method", "ECE on dev", "ECE before", "ECE", "ECE by chance", "not sure", "accuracy", "accuracy of the sure", "accuracy of the others",
    ]  # fmt: skip
    names = ("ece_before", "ece", "ece_by_chance", "not_sure", "accuracy", "accuracy_sure", "accuracy_not_sure")
    rows = []
    for corpus in sorted({corpus for one in by_method.values() for corpus in one["test"]}):
        for method, one in by_method.items():
            test, dev = one["test"][corpus], one["dev"].get(corpus, {})  # a corpus may have no dev speakers
            values = [dev.get("ece"), *(test[name] for name in names)]
            rows.append(f"| {corpus} | {method} | {' | '.join(_number(value) for value in values)} |")
    learned = "; ".join(
        f"{method} {one['temperature']:.2f}, {one['sure_from']:.2f}" for method, one in by_method.items()
    )
    return (
        "## How sure it is\n"
        "Each method's logits are divided by a temperature that minimises the negative log-likelihood of the dev targets (arXiv "
        "1706.04599), corpora counted alike; no answer changes by it. An answer is told as *not sure* where its probability is below "
        "a threshold: the lowest one from 0.5 on at which answers of the dev speakers were right three times in four, but never "
        "one that refuses more than half of them. Temperature and threshold: "
        f"{learned}.\n\n"
        "ECE: expected calibration error, 15 bins, 0 where 70 % means right 70 times in 100; on the test speakers but for the first "
        "column, *before* at temperature 1, *by chance* what answers as confident would have were they calibrated: few utterances make "
        "it large. *Not sure* is the share of answers below the "
        "threshold. Probabilities here are among the emotions that the corpus has; in the app all emotions are asked for.\n\n"
        + "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *rows])
        + f"\n\nMean ECE over the corpora, before → after (by chance): {_means(by_method)}. One temperature cannot put right that a method is "
        "too sure of one corpus and not sure enough of another, and where dev speakers are not like the test speakers it makes it worse: "
        f"{_worse(by_method)}.\n"
    )


def _means(by_method: dict) -> str:
    means = {
        method: [
            fmean(of_corpus[name] for of_corpus in one["test"].values())
            for name in ("ece_before", "ece", "ece_by_chance")
        ]
        for method, one in by_method.items()
    }
    return "; ".join(
        f"{method} {_number(before)} → {_number(after)} ({_number(chance)})"
        for method, (before, after, chance) in means.items()
    )


def _worse(by_method: dict) -> str:
    """Which methods' mean calibration error the temperature raises."""
    worse = [
        method
        for method, one in by_method.items()
        if fmean(test["ece"] for test in one["test"].values())
        > fmean(test["ece_before"] for test in one["test"].values())
    ]
    return f"so here for {', '.join(worse)}" if worse else "here for none"


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3f}"

"""What the tab Compare asks for and shows, without a browser."""

import json
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import soundfile

from ser_core.data.audio import read_recording
from ser_core.evaluation.certainty import Certainty
from ser_core.inference.consent import Consent
from ser_core.inference.live import Moment, as_table
from ser_core.ui import answers, compare, live, shown
from ser_core.ui.answers import GAINS_DB, Asked, Visit
from ser_core.ui.errors import for_people
from ser_core.ui.services import Services
from ser_core.workspace import open_workspace

FIRST, SECOND, BARS, NUMBERS, CHANGE, CLIPS, OTHERS, STATUS = range(1, 9)
JSON = 17


@pytest.fixture
def services(tmp_path: Path, tiny_model: Path) -> Services:
    return Services(open_workspace(tmp_path / "workspace"), str(tiny_model))


@pytest.fixture
def ann(services: Services, utterance) -> str:
    """A profile with three recordings."""
    services.create("Ann", True)
    for emotion in ("neutral", "anger", "sadness"):
        services.enrol("Ann", emotion, str(utterance(emotion)), True)
    return "Ann"


def heard(services: Services, file: Path, name: str = "", personaliser: str | None = None, visit: Visit | None = None):
    """All that the page shows after a recording."""
    return compare.hear(services, str(file), visit, name, None, personaliser)


def test_nobody_gets_the_baseline_only_and_is_told_so(services: Services, utterance):
    page = heard(services, utterance("fear"))
    assert page[0].now.prediction.personalised is None
    assert "Nobody is chosen" in page[SECOND] and page[CLIPS] == page[OTHERS] == ""
    assert "one answer only" in page[CHANGE]
    waiting = compare.hear(services, None, None, "", None, None)[SECOND]
    assert "Nobody is chosen" in waiting
    services.create("Bo", True)
    assert "has no recording yet" in heard(services, utterance("fear"), "Bo")[SECOND]


def test_the_saved_answer_is_that_of_the_recogniser_with_why(services: Services, ann: str, utterance):
    page = heard(services, utterance("fear"), ann)
    said, visit = json.loads(Path(page[JSON].value["path"]).read_text()), page[0]
    recogniser = services.models.recogniser()
    assert said["profile"] == ann and said["model"] == "tiny" and said["meant"] is None
    assert said["personalised"]["probabilities"] == visit.now.prediction.personalised.probabilities
    assert sum(said["personalised"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert [each["emotion"] for each in said["without_each"]] == ["neutral", "sadness", "anger"]
    assert said["personaliser"] == recogniser.info.personalisers[0]


def test_noise_is_answered_never_as_sure_and_the_page_says_why(
    services: Services, ann: str, tmp_path: Path, speech_file
):
    noise = tmp_path / "noise.wav"
    soundfile.write(noise, 0.1 * np.random.default_rng(0).normal(size=32_000), 16_000)
    recogniser = services.models.recogniser()
    assert recogniser.answer(recogniser.embed([read_recording(noise).waveform])).baseline.sure, (
        "the network alone would be"
    )
    page = heard(services, noise, ann)
    now = page[0].now
    assert "no speech was found" in page[STATUS]
    assert "Not sure" in page[FIRST] and "Not sure" in page[SECOND]
    words = answers.with_words(services, now, "i am happy")
    models = [one for _, found in answers.by_every_model(services, now) for one in found]
    levels = [one.prediction for one in answers.at_levels(services, now)]
    said = [now.prediction, *now.others, *models, *levels, words]
    assert not any(one.baseline.sure or (one.personalised and one.personalised.sure) for one in said)
    assert not any(one.sure for one in now.without.values())
    visit, before = page[0], services.profile(ann).utterances
    visit.meant[visit.shown] = "anger"
    assert "Press the button once more" in compare.add_to_profile(services, visit)[0]
    assert services.profile(ann).utterances == before
    assert "Added to Ann" in compare.add_to_profile(services, visit)[0]
    assert "no speech" not in heard(services, speech_file, ann)[STATUS]


def test_every_personaliser_is_explained(services: Services, ann: str, utterance):
    for personaliser in services.models.recogniser().info.personalisers:
        page = heard(services, utterance("fear"), ann, personaliser)
        assert [bar.name for bar in page[BARS].data] == ["Baseline", "Personalised"]
        assert "The largest change" in page[CHANGE] and "Difference" in page[NUMBERS]
        assert page[CLIPS].count("<tr>") == 1 + 3 and "Answer without it" in page[CLIPS]
        assert "Weight" in page[CLIPS] and "attends" in page[CLIPS]
        now = page[0].now
        alike = shown.clips_table(replace(now, prediction=replace(now.prediction, attention=None)))
        assert "Weight" not in alike and "weighs all recordings alike" in alike
        assert page[OTHERS].count("(shown)") == 1


def test_half_a_profile_says_what_is_missing(services: Services, ann: str, utterance):
    status = heard(services, utterance("fear"), ann)[STATUS]
    assert "3 of 7 emotions enrolled" in status and "fear" in status and "neutral" not in status.partition("without")[2]


def test_the_very_recording_that_is_enrolled_proves_nothing(services: Services, ann: str, utterance):
    assert "this very recording is enrolled" in heard(services, utterance("anger"), ann)[STATUS]
    assert "this very recording" not in heard(services, utterance("anger", 2), ann)[STATUS]


def test_a_broken_choice_is_explained_where_the_answer_would_be(services: Services, ann: str, utterance):
    status = heard(services, utterance("fear"), ann, "nonsense")[STATUS]
    assert "has no personaliser" in status and "nonsense" in status


def test_another_choice_answers_anew_about_the_same_recording(services: Services, ann: str, utterance):
    visit = heard(services, utterance("fear"), ann)[0]
    page = compare.ask_again(services, visit, ann, None, "enrolment_attention")
    assert len(visit.answers) == 1 and visit.now.prediction.personaliser == "enrolment_attention"
    expected = answers.compare(services, read_recording(utterance("fear")), Asked(ann, None, "enrolment_attention"))
    assert visit.now.prediction.personalised == expected.prediction.personalised
    assert "Ann" in page[SECOND]


def test_what_was_meant_is_counted_for_both_answers(services: Services, ann: str, utterance):
    visit = heard(services, utterance("fear"), ann)[0]
    said = visit.now.prediction
    compare.judge(services, visit, said.baseline.emotion)
    heard(services, utterance("disgust"), ann, visit=visit)
    _, tally, *_, saved = compare.judge(services, visit, "other")
    assert json.loads(Path(saved.value["path"]).read_text())["meant"] == "other"
    assert "baseline right 1 of 2" in tally
    right = int(said.personalised.emotion == said.baseline.emotion)
    assert f"personalised {right} of 2" in tally
    history = shown.history_table(visit)
    assert history.count("✓ right") == 1 + right and "Other" in history
    csv = Path(compare.save_visit(services, "csv", visit)).read_text().splitlines()
    assert len(csv) == 3 and csv[2].split(",")[3] == "other"


def test_an_answer_below_the_threshold_is_not_sure_wherever_it_is_shown_or_saved(
    services: Services, ann: str, utterance
):
    services.models.recogniser().baseline.certainty_ = Certainty(1.0, 1.0)
    services.models.recogniser().method("speaker_reference").certainty_ = Certainty(1.0, 0.0)
    page = heard(services, utterance("fear"), ann)
    said, visit = page[0].now.prediction, page[0]
    leads = said.baseline.emotion
    assert '<p class="word">Not sure</p>' in page[FIRST] and f"Perhaps {leads}, " in page[FIRST]
    assert (
        f'<p class="word">{said.personalised.emotion.capitalize()}</p>' in page[SECOND] and " sure</p>" in page[SECOND]
    )
    assert f"Not sure (perhaps {leads} " in page[OTHERS] and "Not sure" not in page[CLIPS]
    assert f"Not sure (perhaps {leads})" in shown.history_table(visit)
    assert shown.history_choices(visit)[0][0].startswith(f"1 · Not sure (perhaps {leads}) → ")
    assert json.loads(Path(page[JSON].value["path"]).read_text())["baseline"]["sure"] is False
    compare.judge(services, visit, "fear")
    header, row = Path(compare.save_visit(services, "csv", visit)).read_text().splitlines()
    assert header.endswith("baseline_sure,personalised_sure") and row.endswith("False,True")
    moment = Moment(0.0, 3.0, said, 1.0)
    assert live.said_aloud(moment).startswith(f"Baseline not sure (perhaps {leads}), personalised ")
    assert "Not sure" in live.answers_now(moment, ann)
    assert live.stretches([moment], 0.4)[0].unsure == {"baseline"}
    assert '<th scope="row">Not sure</th><td>0.4&nbsp;s</td><td>0.0&nbsp;s</td>' in live.summary(
        live.stretches([moment], 0.4)
    )
    row = as_table([moment, Moment(3.0, 6.0, None, 1.0)])
    assert list(row["baseline_sure"]) == [False, None] and list(row["personalised_sure"]) == [True, None]


def test_two_answers_that_agree_may_differ_in_how_sure_they_are(services: Services, ann: str, utterance):
    comparison = heard(services, utterance("fear"), ann)[0].now
    one = comparison.prediction.baseline

    def words(first: bool, second: bool) -> str:
        both = {"baseline": replace(one, sure=first), "personalised": replace(one, sure=second)}
        return shown.change_in_words(replace(comparison, prediction=replace(comparison.prediction, **both)))

    assert "Both answers name the same emotion." in words(True, True)
    assert "neither is sure" in words(False, False)
    assert "only the personalised one is sure" in words(False, True)
    assert "only the baseline is sure" in words(True, False)


def test_a_tally_is_kept_only_if_asked_and_forgotten_if_asked(services: Services, ann: str, utterance):
    visit = heard(services, utterance("fear"), ann)[0]
    compare.judge(services, visit, "fear")
    assert services.store.judgements(ann) == []
    compare.keep(services, visit)
    tally = compare.keep(services, visit)[0]  # twice changes nothing
    assert len(services.store.judgements(ann)) == 1 and "Kept with the profile" in tally
    compare.forget(services, visit)
    assert services.store.judgements(ann) == []


def test_a_corrected_utterance_joins_the_profile_in_one_click(services: Services, ann: str, utterance):
    visit = heard(services, utterance("fear"), ann)[0]
    _, _, add, *_ = compare.judge(services, visit, "fear")
    assert add.interactive and "Ann as fear" in add.value
    compare.add_to_profile(services, visit)
    assert not compare.judge(services, visit, "anger")[2].interactive  # it is enrolled: not twice
    assert services.profile(ann).emotions == ("neutral", "sadness", "anger", "fear")
    assert not compare.judge(services, visit, "other")[2].interactive  # something else cannot be enrolled


def test_nothing_is_added_to_a_synthetic_voice_or_without_consent_to_this_wording(services: Services, ann, utterance):
    services.store.agree(ann, Consent("2020-01", "2020-01-01T00:00:00+00:00"))
    for name, words in ((services.add_example().name, "synthetic"), (ann, "tick the box")):
        visit, before = heard(services, utterance("fear"), name)[0], services.profile(name)
        assert not compare.judge(services, visit, "fear")[2].interactive
        with pytest.raises(gr.Error, match=words):
            for_people(compare.add_to_profile, services)(None, visit)
        assert services.profile(name) == before


def test_choosing_somebody_else_leaves_what_was_judged_alone(services: Services, ann: str, utterance):
    visit = heard(services, utterance("fear"), ann)[0]
    compare.judge(services, visit, "fear")
    services.create("Bo", True)
    compare.ask_again(services, visit, "Bo", None, None)
    assert [one.asked.profile for one in visit.answers] == [ann, "Bo"] and visit.meant == {0: "fear"}
    compare.ask_again(services, visit, "Bo", None, None)  # nothing changed: nothing is asked
    assert len(visit.answers) == 2


def test_the_last_word_on_an_answer_is_the_one_that_is_kept(services: Services, ann: str, utterance):
    visit = heard(services, utterance("fear"), ann)[0]
    for meant, personaliser in (("fear", None), ("anger", "enrolment_attention")):
        compare.ask_again(services, visit, ann, None, personaliser)
        compare.judge(services, visit, meant)
        compare.keep(services, visit)
    assert [one.meant for one in services.store.judgements(ann)] == ["anger"]


def test_an_earlier_answer_can_be_shown_again(services: Services, ann: str, utterance):
    visit = heard(services, utterance("fear"), ann)[0]
    first = visit.now
    heard(services, utterance("disgust"), ann, visit=visit)
    audio, *page = compare.show_earlier(services, visit, 0)
    assert len(read_recording(audio).waveform) == len(first.recording.waveform)
    assert visit.now is first and first.prediction.baseline.emotion.capitalize() in page[FIRST]
    assert 1 + len(page) == len(compare.show_earlier(services, visit, 0))  # nothing to do: as many updates


def test_a_visit_forgets_its_oldest_answers(services: Services, utterance, monkeypatch):
    monkeypatch.setattr(answers, "_MAX_HISTORY", 2)
    visit = heard(services, utterance("fear"))[0]
    compare.judge(services, visit, "fear")
    for emotion in ("disgust", "sadness"):
        heard(services, utterance(emotion), visit=visit)
        compare.judge(services, visit, emotion)
    assert len(visit.answers) == 2 and visit.meant == {0: "disgust", 1: "sadness"} and visit.shown == 1


def test_loudness_is_tried_only_when_asked_and_told_in_words(services: Services, ann: str, utterance):
    visit = heard(services, utterance("fear"), ann)[0]
    levels, figure, words, now = compare.try_levels(services, visit, 0)
    assert len(levels) == len(GAINS_DB) and len(figure.data) == 2
    assert "Baseline:" in words and "As recorded" in now
    moved, at_10 = compare.at_level(services, levels, 10)
    assert "+10 dB" in at_10 and "+5 dB" in compare.at_level(services, levels, 7)[1]
    assert compare.at_level(services, None, 10)[1] == ""


def test_every_model_answers_one_after_the_other(services: Services, ann: str, utterance):
    visit = heard(services, utterance("fear"), ann)[0]
    *_, told = compare.every_model(services, visit)
    assert "tiny" in told and "compact" in told
    expected = answers.compare(services, visit.now.recording, Asked(ann, "compact")).prediction.personalised
    assert f"{expected.emotion.capitalize()} " in told

"""predict: two answers for each recording."""

import json
import sys
import time
from argparse import ArgumentParser, Namespace

from ser_core.commands.clips import add_clip_argument, parse_clips
from ser_core.data.audio import NO_SPEECH, AudioRejected, read_recording
from ser_core.data.quality import has_speech
from ser_core.inference.archives import ProfileError
from ser_core.inference.enrolment import enrolment_of
from ser_core.inference.profiles import open_store
from ser_core.inference.recogniser import Enrolment, Recogniser
from ser_core.inference.transcription import Transcriber
from ser_core.workspace import open_workspace

BAD_INPUT = 2


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help="recordings of one utterance each")
    parser.add_argument("--profile", metavar="NAME", help="a stored profile of the speaker")
    add_clip_argument(parser, "--enrol", "enrol for this call only; may be repeated")
    parser.add_argument("--model", metavar="NAME", help="a model's name or folder (default: the best available here)")
    parser.add_argument("--personaliser", metavar="NAME", help="how the enrolment is used (default: the model's first)")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--text", metavar="WORDS", help="what is said in the recordings, to be counted as well")
    parser.add_argument("--transcribe", action="store_true", help="let Whisper write the words down, and count them")
    parser.add_argument("--whisper", metavar="NAME", help="which Whisper, a name or folder (default: the best here)")
    parser.add_argument("--json", action="store_true", help="a list of objects, alone on standard output")


def run(arguments: Namespace) -> int:
    """Answer for each file in order; a bad one becomes an error while the others are answered."""
    workspace = open_workspace(arguments.workspace)
    clips = parse_clips(arguments.enrol)
    if clips and arguments.profile:
        raise ProfileError("--profile and --enrol were both given; give one of them")
    recogniser = Recogniser(workspace, arguments.model, arguments.device)
    recogniser.info.personaliser(arguments.personaliser)
    enrolment = _enrolment(arguments.profile, clips, recogniser, workspace)
    if arguments.text is not None and not arguments.text.strip():
        raise ProfileError("--text is empty; write down what is said in the recordings, or leave it out")
    if arguments.text is not None and arguments.transcribe:
        raise ProfileError("--text and --transcribe were both given; give one of them")
    if arguments.text is not None or arguments.transcribe:
        recogniser.text_encoder()  # a model that reads nothing is refused before anything is heard
    writer = Transcriber(workspace, arguments.whisper, arguments.device) if arguments.transcribe else None
    if enrolment is not None and enrolment.talk is not None and not recogniser.can_calibrate(enrolment):
        print(
            f"attune predict: the model '{recogniser.info.name}' cannot use the free speech of the profile",
            file=sys.stderr,
        )
    answers = [_answer(path, recogniser, enrolment, arguments, writer) for path in arguments.audio]
    for answer in answers:
        if "error" in answer:
            print(f"attune predict: {answer['path']}: {answer['error']['message']}", file=sys.stderr)
        elif not arguments.json:
            print(_in_words(answer))
    if arguments.json:
        print(json.dumps(answers, indent=2))
    return BAD_INPUT if any("error" in answer for answer in answers) else 0


def _enrolment(profile: str | None, clips, recogniser: Recogniser, workspace) -> Enrolment | None:
    if profile:
        return enrolment_of(open_store(workspace), profile, recogniser)
    for clip in clips:
        if not has_speech(clip.recording.waveform):
            print(
                f"attune predict: {clip.label}: no speech was found in it; it is enrolled all the same", file=sys.stderr
            )
    if clips:
        return recogniser.enrol([(clip.label, clip.emotion, clip.recording.waveform) for clip in clips])
    return None


def _answer(
    path: str, recogniser: Recogniser, enrolment: Enrolment | None, arguments: Namespace, writer: Transcriber | None
) -> dict:
    start = time.perf_counter()
    try:
        recording = read_recording(path)
    except AudioRejected as error:
        return {"path": path, "error": {"code": error.code, "message": str(error)}}
    clock = {"decode": 1000 * (time.perf_counter() - start)}
    features, speech = recogniser.hear(recording, clock)
    prediction = recogniser.answer(features, enrolment, arguments.personaliser, clock, speech)
    answer = prediction.to_json(path, arguments.profile, recording.warnings)
    if arguments.text is None and writer is None:
        return answer
    transcript = writer.transcribe(recording.waveform) if writer else None
    text, language = (transcript.text, transcript.language or "") if transcript else (arguments.text, "")
    said = recogniser.with_words(features, text, enrolment, language, speech)
    return answer | {"transcript": transcript.to_json() if transcript else None, "with_words": said.to_json()}


def _in_words(answer: dict) -> str:
    parts = [f"baseline {_top(answer['baseline'])}"]
    if answer["personalised"]:
        parts.append(f"personalised {_top(answer['personalised'])} ({answer['personaliser']})")
    if answer["calibrated"]:
        parts.append(f"calibrated {_top(answer['calibrated']['answer'])} (by free speech)")
    if said := answer.get("with_words"):
        counted = f"with the words “{said['text']}” {_top(said['personalised'] or said['baseline'])}"
        parts.append(counted if said["text"] else said["note"] or "no words were said")
    parts += [] if answer["speech"] else [NO_SPEECH]
    parts.append(f"{answer['model']}, {answer['milliseconds']['total']:.0f} ms")
    return f"{answer['path']}: {'; '.join([*parts, *answer['warnings']])}"


def _top(answer: dict) -> str:
    words = f"{answer['emotion']} {answer['probabilities'][answer['emotion']]:.0%}"
    return words if answer["sure"] else f"not sure (perhaps {words})"

"""enrol: store recordings of a person, from files or from this computer's microphone: labelled ones, or free speech."""

import json
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import asdict

import numpy as np

from ser_core.commands.agreeing import add_agree_argument, ask_for_consent
from ser_core.commands.clips import BadClip, add_clip_argument, parse_clips
from ser_core.commands.record import add_device_argument, record_with_meter
from ser_core.data.audio import AudioRejected, read_recording
from ser_core.data.quality import assess, has_speech
from ser_core.data.talk import TALK, cut_talk
from ser_core.inference.archives import as_flac
from ser_core.inference.consent import LOCAL
from ser_core.inference.enrolment import enrolment_of
from ser_core.inference.plausibility import hints
from ser_core.inference.profiles import Profile, ProfileStore, UnknownProfile, open_store
from ser_core.inference.prompts import HINTS, PROMPTS
from ser_core.inference.recogniser import Recogniser
from ser_core.labels import APP_EMOTIONS
from ser_core.workspace import open_workspace


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="of the profile; made if there is none, else its recordings are replaced"
    )
    add_clip_argument(parser, "--clip", "one recording of an emotion; may be repeated")
    parser.add_argument(
        "--record", action="store_true", help="be guided through all emotions with this computer's microphone"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each guided recording")
    parser.add_argument(
        "--talk",
        metavar="FILE",
        help="a recording of 30 to 60 seconds of free speech, without labels; replaces an earlier one",
    )
    parser.add_argument(
        "--without-speech",
        action="store_true",
        help="store recordings of an emotion also where no speech is found: the detector may miss an unusual voice",
    )
    add_device_argument(parser)
    add_agree_argument(parser)
    parser.add_argument("--json", action="store_true", help="the profile as an object, alone on standard output")


def run(arguments: Namespace) -> int:
    """Files: all of them are stored, or none. Microphone: each take is stored as it comes."""
    if [bool(arguments.clip), arguments.record, bool(arguments.talk)].count(True) != 1:
        raise BadClip(
            "give recordings with --clip EMOTION=FILE, free speech with --talk FILE, or --record to use the microphone: one of "
            "them at a time, a profile may hold all"
        )
    store = open_store(open_workspace(arguments.workspace))
    how = _record if arguments.record else _talk if arguments.talk else _from_files
    profile = how(store, arguments)
    if arguments.json:
        kept = {"name": profile.name, "emotions": profile.emotions, "talk": len(profile.talk)}
        print(json.dumps({**kept, "consent": asdict(profile.consent)}))
    else:
        print(f"{profile.name}: {_kept(profile)}")
    return 0


def _kept(profile: Profile) -> str:
    parts = [f"{len(set(profile.emotions))} of {len(APP_EMOTIONS)} emotions enrolled"]
    parts += [f"({', '.join(profile.emotions)})"] if profile.emotions else []
    parts += [f"and free speech in {len(profile.talk)} parts"] if profile.talk else []
    if profile.utterances and set(APP_EMOTIONS) - set(profile.emotions):
        parts[-1] += (
            "; with some emotions only, an answer may be wrong where the baseline is right: enrol the others too"
        )
    return " ".join(parts)


def _talk(store: ProfileStore, arguments: Namespace) -> Profile:
    talk = cut_talk(read_recording(arguments.talk, TALK).waveform)  # refused before anything is made
    made = None if _known(store, arguments) else ask_for_consent(arguments.agree)
    profile = store.add_talk(arguments.name, talk.utterances, create=made)
    recogniser = Recogniser(open_workspace(arguments.workspace))
    heard = store.embeddings(profile.name, recogniser.fingerprint, recogniser.embed_each, talk=True)
    _say_advice("talk", recogniser.hints_of_talk(heard))
    return profile


def _known(store: ProfileStore, arguments: Namespace) -> Profile | None:
    """The profile, if there is one, told aloud: a name may be somebody else's; asked again if the wording changed."""
    try:
        profile = store.get(arguments.name)
    except UnknownProfile:
        return None
    n = len(profile.utterances) + len(profile.talk)
    replaced = (
        "; what is given now takes the place of what there is for the same emotion, free speech that of free speech"
    )
    print(f"adding to {profile.name}, who has {n} recording{'' if n == 1 else 's'}{replaced}", file=sys.stderr)
    if profile.consent is None or profile.consent.version != LOCAL.version:
        profile = store.agree(arguments.name, ask_for_consent(arguments.agree))
    return profile


def _from_files(store: ProfileStore, arguments: Namespace) -> Profile:
    clips, given = [], parse_clips(arguments.clip)
    for clip in given:
        try:
            _check_speech(clip.recording.waveform, arguments)
        except AudioRejected as error:
            raise BadClip(f"{clip.label}: {error}") from None
    for clip in given:
        quality = assess(clip.recording)
        clips.append((clip.emotion, clip.recording.waveform, quality.to_dict()))
        _say_advice(clip.emotion, [*clip.recording.warnings, *quality.advice])
    made = None if _known(store, arguments) else ask_for_consent(arguments.agree)
    profile = store.add_many(arguments.name, clips, create=made)
    _say_hints(store, profile, arguments)
    return profile


def _say_hints(store: ProfileStore, profile: Profile, arguments: Namespace) -> None:
    """Which recordings do not sound like their label, or like the others' person."""
    if not profile.utterances:
        return
    recogniser = Recogniser(open_workspace(arguments.workspace))
    odd = hints(recogniser, enrolment_of(store, profile.name, recogniser))
    for utterance in profile.utterances:
        _say_advice(utterance.emotion, odd.get(utterance.utterance_id, ()))


def _record(store: ProfileStore, arguments: Namespace) -> Profile:
    made = not _known(store, arguments)
    if made:
        store.create(arguments.name, ask_for_consent(arguments.agree))
    try:
        for emotion in APP_EMOTIONS:
            print(f"\n{emotion.upper()}: {HINTS[emotion]}\n  “{PROMPTS[emotion]}”", file=sys.stderr)
            while not _skipped() and not _take(store, arguments, emotion):
                pass
    finally:
        if made and not store.get(arguments.name).utterances:  # a profile without a voice is of no use
            store.delete(arguments.name)
            print("  nothing was recorded; nothing was stored", file=sys.stderr)
    profile = store.get(arguments.name)
    _say_hints(store, profile, arguments)
    return profile


def _skipped() -> bool:
    print("  Enter records, s skips: ", end="", file=sys.stderr, flush=True)
    return input().strip().lower() == "s"


def _take(store: ProfileStore, arguments: Namespace, emotion: str) -> bool:
    """Record once; whether it was stored."""
    waveform = record_with_meter(arguments.seconds, arguments.input_device)
    try:
        waveform = read_recording(as_flac(waveform)).waveform  # too short, silent and clipped are told first
        _check_speech(waveform, arguments)
        quality = assess(waveform)
        store.add(arguments.name, emotion, waveform, quality.to_dict())
    except AudioRejected as error:
        _say_advice(emotion, [str(error)])
        return False
    _say_advice(emotion, quality.advice)
    return True


def _check_speech(waveform: np.ndarray, arguments: Namespace) -> None:
    if not (arguments.without_speech or has_speech(waveform)):
        raise AudioRejected(
            "no_speech",
            "no speech was found in the recording; check that the right microphone is chosen, and say a whole sentence, or, if "
            "somebody does speak in it, add --without-speech",
        )


def _say_advice(emotion: str, advice) -> None:
    for words in advice:
        print(f"  {emotion}: {words}", file=sys.stderr)

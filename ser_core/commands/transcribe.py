"""transcribe: what is said in each recording."""

import json
import sys
from argparse import ArgumentParser, Namespace

from ser_core.data.audio import AudioRejected, Limits, read_recording
from ser_core.inference.transcription import Transcriber, Transcript
from ser_core.workspace import open_workspace

BAD_INPUT = 2

RECORDING = Limits(min_s=0.5, max_s=600.0, max_bytes=100 * 2**20)
"""Longer than an utterance: Whisper cuts at pauses by itself."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("audio", nargs="+", metavar="FILE", help="recordings, of 10 minutes at most")
    parser.add_argument(
        "--whisper",
        metavar="NAME_OR_FOLDER",
        help="such as whisper-base (default: the best for this machine that is here)",
    )
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--json", action="store_true", help="a list of objects, alone on standard output")


def run(arguments: Namespace) -> int:
    """Write down each file in order; a bad one becomes an error while the others are written down."""
    transcriber = Transcriber(open_workspace(arguments.workspace), arguments.whisper, arguments.device)
    answers = []
    for path in arguments.audio:
        try:
            transcript = transcriber.transcribe(read_recording(path, RECORDING).waveform)
            answers.append({"path": path, **transcript.to_json()})
            if not arguments.json:
                print(_in_words(path, transcript), flush=True)
        except AudioRejected as error:
            answers.append({"path": path, "error": {"code": error.code, "message": str(error)}})
            print(f"attune transcribe: {path}: {error}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(answers, indent=2))
    return BAD_INPUT if any("error" in answer for answer in answers) else 0


def _in_words(path: str, transcript: Transcript) -> str:
    said = f"{transcript.text} ({transcript.language})" if transcript.text else "no words were found"
    segments = [f"  {segment.start_s:.2f} to {segment.end_s:.2f} s: {segment.text}" for segment in transcript.segments]
    return "\n".join([f"{path}: {said}; {transcript.model}, {transcript.seconds:.1f} s", *segments])

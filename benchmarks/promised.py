"""What README promises, and what holds each promise: tests, and measurements with their commands."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Promise:
    """One row of README's table.

    Attributes:
        name: R1 to R20, and letters for what else is promised.
        words: what is promised.
        tests: files below tests/, or FILE::test_name; each set of parameters of a test counts as a test.
        results: a file below benchmarks/results/, and from what it holds to the figure in words.
        command: what measures it, after 'python benchmarks/'.
    """

    name: str
    words: str
    tests: tuple[str, ...] = ()
    results: str = ""
    figure: Callable[[Any], str] | None = None
    command: str = ""


def _start(found: dict) -> str:
    rows = {row["what"]: row for row in found["rows"]}
    shown = [
        what for what, row in rows.items() if row["unit"] == "s" and "processor" not in what and "terminal" not in what
    ]
    return "; ".join(f"{what} {rows[what]['p50']:.1f} s" for what in shown)


def _recorded(found: dict) -> str:
    return f"{found['in_the_database']} of {found['recordings']} kept, at most {found['largest_error_hz']:.3f} Hz away"


def _fuzzed(found: dict) -> str:
    peak = max(one["peak_growth_mib"] for one in found["readers"].values())
    return (
        f"{found['cases']:,} cases and {found['guided_runs']:,} guided by coverage: {found['findings']} findings, "
        f"memory grew by {peak:.0f} MiB at most"
    )


def _fuzzed_audio(found: dict) -> str:
    audio = next(one for name, one in found["readers"].items() if name.startswith("audio"))
    return f"{audio['cases']:,} damaged files, {len(audio['findings'])} findings"


def _killed_trainings(found: dict) -> str:
    one = found["training"]
    return f"{one['kills']} kills, {one['kills_that_lost_an_epoch']} lost an epoch; the same result as undisturbed: {_yes(one['the same result as undisturbed'])}"


def _killed_writes(found: dict) -> str:
    each = found["writes"]["each"].values()
    return f"{sum(one['kills'] for one in each)} kills of {len(each)} kinds of write, {sum(len(one['problems']) for one in each)} problems"


def _stopped(found: dict) -> str:
    each = found["stops"]["seconds until the process is gone"]
    return ", ".join(f"{what}: {max(seconds):.1f} s" for what, seconds in each.items())


def _erased(found: dict) -> str:
    rows = [row for row in found["rows"] if "erased" in row["what"] and row["size"] >= 1_000]
    return "stored and erased again, " + ", ".join(
        f"beside {row['size']:,} recordings {row['p50'] / 1000:.1f} s" for row in rows
    )


def _crowd(found: dict) -> str:
    return (
        f"{found['people']} people, {found['answers']} answers, {found['answers_mixed_up']} mixed up; 95 in 100 answers within "
        f"{found['answer_s']['p95']:.1f} s, events that need no model within {found['without_model_s']['p95']:.2f} s"
    )


def _soaked(found: dict) -> str:
    memory, left = (
        found["memory_mib"],
        [name for name in found["files_left"] if not name.endswith(".alive")],
    )  # its lock
    return (
        f"{found['visits']} visits in {found['minutes']:.0f} minutes: memory {memory['first tenth']:.0f} MiB in the first tenth, "
        f"{memory['last tenth']:.0f} in the last (second half: {found['memory_mib_per_minute']['second half']:+.3f} MiB a minute); "
        f"files left behind: {len(left)}, profiles: {len(found['profiles_left'])}"
    )


def _live(found: dict) -> str:
    behind, memory = found["drift"]["clock_minus_sound_ms"], found["memory_mib"]
    return (
        f"{found['listened_s'] / 60:.1f} minutes on a busy machine: answers {behind['first tenth']} ms behind the sound at first, "
        f"{behind['last tenth']} at last; memory {memory['first tenth']} and {memory['last tenth']} MiB, of which the take 18"
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


PROMISES: tuple[Promise, ...] = (
    Promise(
        "R1", "the app is imported and built within 3 s, without torch; the first page comes within 5 s (aim: it can be used within 2 s; not met)",
        ("ui/test_app_process.py::test_the_first_page_waits_for_nothing_that_it_does_not_show",),
        "start.json", _start, "start.py --model compact --output FILE",
    ),
    Promise(
        "R2", "nothing is asked of any other computer, also where there is no network",
        ("ui/test_doors.py::test_in_a_network_with_nothing_else_the_app_answers_and_asks_nobody",
         "ui/test_doors.py::test_what_listens_would_hear_a_request_to_somebody_else",
         "ui/test_browser.py", "ui/test_browser_more.py"),
    ),
    Promise(
        "R3", "what is recorded in the browser is what is kept: mono, 16 kHz, within 5 Hz",
        ("inference/test_recording.py::test_two_seconds_of_440_hz_are_recorded_as_two_seconds_of_440_hz",),
        "recordings.json", _recorded, "recordings.py --output FILE",
    ),
    Promise(
        "R4", "a malformed, oversized, long, silent or damaged recording is refused in words, by a code, without a path",
        ("data/test_audio.py", "ui/test_doors.py::test_recordings_beyond_the_limits_are_refused_in_words_without_a_path"),
    ),
    Promise(
        "R5", "six hours in one megabyte are refused from the header; no file breaks the readers off",
        ("data/test_audio.py::test_six_hours_of_silence_are_refused_from_the_header",), "fuzz.json", _fuzzed_audio, "fuzz.py --output FILE",
    ),
    Promise("R6", "every rule holds on all five routes: page, client, run, call, queue", ("ui/test_doors.py",)),
    Promise(
        "R7", "a killed training goes on from what it had acknowledged, to the same result",
        ("training/test_processes.py::test_a_killed_run_is_lost_and_goes_on_from_its_last_state_to_the_same_result",
         "training/test_run.py::test_a_stopped_run_goes_on_to_exactly_the_same_result"),
        "kills.json", _killed_trainings, "kills.py training --corpus ravdess=DIR",
    ),
    Promise(
        "R8", "a cancelled training is gone within 5 s; one that fails says why; one at a time; found again after a restart",
        ("training/test_processes.py",), "kills.json", _stopped, "kills.py stops",
    ),
    Promise(
        "R9", "whatever writes may be killed: nothing acknowledged is lost, nothing is there by half",
        ("inference/test_profiles.py::test_what_was_acknowledged_survives_being_killed_at_any_time", "benchmarks/test_kills.py"),
        "kills.json", _killed_writes, "kills.py writes",
    ),
    Promise(
        "R10", "what the page uploads and plays is gone after the end, and at the next start after a kill; only its owner can read it",
        ("ui/test_app_process.py::test_it_ends_quietly_and_its_private_folder_is_empty_before_and_after", "ui/test_disk.py"),
    ),
    Promise(
        "R11", "an erased profile leaves no byte in database, log, temporary files or cache; unused ones are erased in time, if so set",
        ("inference/test_profiles.py", "inference/test_database_server.py",
         "ui/test_services.py::test_erasing_says_what_was_erased_and_leaves_no_file"),
        "growth/growth.json", _erased, "growth.py --threads 2 --output DIR",
    ),
    Promise("R12", "with a key, no recording or embedding lies readable on the disk; the key lies elsewhere, for its owner only", ("inference/test_sealing.py",)),
    Promise("R13", "no account lists, reads or erases what is another's, also not by its ids", ("ui/test_shared.py", "inference/test_accounts.py")),
    Promise(
        "R14", "ten people at once get their own answers, and a full queue says so",
        ("ui/test_doors.py::test_a_full_queue_says_what_happened_and_what_to_do",),
        "load_shared.json", _crowd, "load.py --shared --corpus DIR --output FILE",
    ),
    Promise(
        "R15", "limits: recordings a minute, failed sign-ins, foreign hosts, safety headers",
        ("ui/test_shared.py::test_the_one_and_thirtieth_recording_of_a_minute_is_refused_for_its_account_alone",
         "ui/test_shared.py::test_after_five_failures_even_the_right_password_has_to_wait_and_others_need_not",
         "ui/test_app_process.py::test_only_pages_of_this_computer_are_answered",
         "ui/test_app_process.py::test_the_page_cannot_be_framed_or_sniffed"),
    ),
    Promise("R16", "no cell of a saved table is a formula", ("data/test_tables.py",)),
    Promise("R17", "nothing is unpickled, evaluated or run through a shell", ("test_house.py::test_nothing_is_unpickled_evaluated_or_run_through_a_shell",)),
    Promise(
        "R18", "axe finds nothing serious on any tab, light and dark, 1280 and 390 wide; no page scrolls sideways",
        ("ui/test_browser_more.py::test_every_state_is_accessible_and_no_page_is_wider_than_the_window",
         "ui/test_browser_fairness.py::test_the_tab_is_accessible_and_no_wider_than_the_window",
         "ui/test_browser_train.py::test_the_tab_is_accessible_and_no_wider_than_the_window",
         "ui/test_shared.py::test_the_sign_in_page_is_accessible_and_no_wider_than_a_telephone"),
    ),
    Promise(
        "R19", "fairness per class is fairlearn's to 1e-9, per speaker audmetric's; Gini lies in [0, 1), whatever the scale",
        ("evaluation/test_group.py", "evaluation/test_individual.py", "evaluation/test_performance.py"),
    ),
    Promise(
        "R20", "nothing is stored before the notice was shown and agreed to; the time and the wording are kept",
        ("ui/test_services.py::test_nothing_is_stored_before_consent", "ui/test_doors.py::test_nothing_is_stored_without_consent",
         "ui/test_browser.py::test_nothing_can_be_recorded_or_created_without_consent",
         "inference/test_profiles.py::test_consent_is_kept_with_its_time_and_wording_and_can_be_given_anew"),
    ),
    Promise(
        "A", "any input ends in a value or a sentence: audio, manifests, recipes, tables, archives, models",
        ("benchmarks/test_fuzz.py",), "fuzz.json", _fuzzed, "fuzz.py --coverage-guided 20 --output FILE",
    ),
    Promise("B", "people come and go for half an hour, and memory stands still; no file and no profile is left", (), "soak.json", _soaked, "soak.py --shared --corpus DIR --output FILE"),
    Promise("E", "listening for ten minutes neither drifts nor piles up", ("inference/test_live.py",), "live/compact_10_minutes.json", _live, "live.py --minutes 9.8 --corpus DIR --out FILE"),
    Promise("C", "profiles lie on PostgreSQL by the same rules, and move there and back whole", ("inference/test_database_server.py", "inference/test_moving.py")),
    Promise(
        "D", "full disks, disks that can only be read, two apps on one folder, a microphone pulled out, no memory left: said in words, nothing lost",
        ("inference/test_full_disk.py", "ui/test_disk.py", "encoders/test_cache.py",
         "inference/test_recording.py::test_a_microphone_that_is_pulled_out_is_told_and_can_be_used_again"),
    ),
    Promise(
        "F", "where nobody speaks no answer is sure, and nothing is enrolled unless whoever records it insists",
        ("data/test_quality.py", "ui/test_answers.py::test_noise_is_answered_never_as_sure_and_the_page_says_why",
         "ui/test_services.py::test_where_nobody_speaks_nothing_is_stored_unless_somebody_insists",
         "commands/test_cli.py::test_predict_answers_about_noise_but_is_never_sure_and_says_why",
         "commands/test_cli.py::test_where_the_microphone_hears_nobody_nothing_is_stored"),
    ),
)  # fmt: skip

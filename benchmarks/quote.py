"""The tables that README.md and benchmarks/README.md quote, between <!-- NAME --> and <!-- NAME end -->, from what was measured.

python benchmarks/quote.py
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import promises
import speed

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results"
STUDIES = REPOSITORY / "assets" / "studies"
PAGES = (REPOSITORY / "README.md", REPOSITORY / "benchmarks" / "README.md")

_OWN, _OTHERS = {
    "RAVDESS": "English (RAVDESS)", "EmoDB": "German (EmoDB)", "nEMO": "Polish (nEMO)", "Korean": "Korean",
}, "learned from the others"  # fmt: skip
_PAPT = {
    ("vanilla", 3): "fine-tuning alone (vanilla)",
    ("weighting", 3): "training speakers like the test speakers count double (transductive)",
    ("tapt", 3): "TAPT",
    ("papt", 3): "PAPT",
    ("papt", 1): "PAPT, vector last (seed 0 alone, beside the positions below)",
    ("tapt_transductive", 3): "TAPT, transductive",
    ("papt_transductive", 3): "PAPT, transductive",
    ("papt_first", 1): "PAPT, vector first (1 seed)",
    ("papt_prefix", 1): "PAPT, vector as prefix (1 seed)",
}
"""Rows of the table of pre-training: a system, over so many seeds."""
_PLDC = {"none": "–", "sigma": "σ", "mu": "μ", "both": "both"}
_TRAVELS = {
    "ravdess+emodb": "English → German", "ravdess+nemo": "English → Polish",
    "nemo+ravdess": "Polish → English", "ravdess+korean": "English → Korean",
}  # fmt: skip
_SAID = {
    "right": "right (a false alarm)", "wrong label": "another label",
    "same gender": "a stranger of the same gender", "other gender": "a stranger of another gender",
}  # fmt: skip


def in_short() -> str:
    """Who was tested, and the UAR and the worst-served speaker without and with an enrolment: one row a corpus and encoder."""
    head = ("spoken by", "people", "encoder", "UAR for everybody (95 %)", "worst served", "UAR once enrolled", "worst served", "change (95 %)")  # fmt: skip
    rows = json.loads(_text("accuracy/accuracy.json"))["rows"]
    lines = []
    for base, enrolled in zip(rows[::2], rows[1::2], strict=True):
        corpus, _, how = base["protocol"].partition(", ")
        if "never heard" in how and base["encoder"] == "whisper":
            continue  # the first row once more
        said = _OWN[corpus] + (f", {_OTHERS}" if how == _OTHERS else "")
        lines.append((
            said, base["n_speakers"], {"whisper": "Whisper tiny.en"}.get(base["encoder"], base["encoder"]),
            _with_interval(base["uar"], base["uar_interval"]), _number(base["worst_speaker"]),
            _with_interval(enrolled["uar"], enrolled["uar_interval"]), _number(enrolled["worst_speaker"]),
            _with_interval(enrolled["change"], enrolled["change_interval"], "+"),
        ))  # fmt: skip
    return _table(head, lines)


def demo() -> str:
    """The headline of the demo results, for who reads a report for the first time."""
    report = json.loads(_text("ravdess/fairness.json"))
    base, enrolled = (report["models"][name] for name in ("baseline", "speaker_reference"))
    change = next(one for one in report["comparisons"] if one["model"] == "speaker_reference")

    def row(what: str, read: Callable[[dict], str], changed: str = "–") -> tuple[str, ...]:
        return what, read(base), read(enrolled), changed

    def gap(model: dict) -> str:
        gender = model["groups"]["gender"]
        return f"{_number(gender['uar_gap'])} ({_number(gender['uar_gap_band'])})"

    difference = _with_interval(change["difference"], change["difference_interval"], "+")
    evener = _with_interval(change["excess_gini_difference"], change["excess_gini_difference_interval"], "+")
    return _table(("", "for everybody", "enrolled", "change (95 %)"), [
        row("UAR (95 %)", lambda one: _with_interval(one["uar"], one["uar_interval"]), difference),
        row("worst – best served person", lambda one: f"{_number(one['speaker_spread']['min'])} – {_number(one['speaker_spread']['max'])}"),
        ("worse off than without", "–", f"{change['n_worse']} of {enrolled['n_speakers']}", "–"),
        row("Gini, and its floor", lambda one: f"{_number(one['gini'])}, {_number(one['gini_floor'])}"),
        row("what is above the floor (95 %)", lambda one: _with_interval(one["excess_gini"], one["excess_gini_interval"]), evener),
        row("women, men", lambda one: ", ".join(_number(one["uar_by_gender"][who]) for who in ("female", "male"))),
        row("gap between them (chance reaches)", gap),
    ])  # fmt: skip


def fast() -> str:
    """What a user waits for, beside what else there is."""
    head = ("system", "weights, millions", "median", "95 in 100 within")
    systems = json.loads(_text("speed.json"))["systems"]
    return _table(head, [
        (one["what"].replace(", 7 enrolled", ""), f"{one['weights_m']:.3g}", f"{one['p50_ms']:.3g} ms", f"{one['p95_ms']:.3g} ms")
        for one in systems
    ])  # fmt: skip


def hints() -> str:
    """How often a hint at enrolment is right."""
    models = ("compact", "whisper-tiny.en")
    rates = [json.loads(_text(f"plausibility/{name}.json"))["rates on test speakers, as used"] for name in models]
    head = ("recording", "n", *(f"{name}: {kind} hint" for name in models for kind in ("label", "voice")))
    return _table(head, [
        (said, rates[0][key]["n"], *(f"{100 * of[key][f'{kind} hint']:.1f} %" for of in rates for kind in ("label", "voice")))
        for key, said in _SAID.items()
    ])  # fmt: skip


def pretraining() -> str:
    """CCC after pre-training without labels, and after calibration."""
    measured = pd.read_csv(RESULTS / "papt" / "numbers.csv")
    lines = []
    for (system, n_seeds), said in _PAPT.items():
        of_system = measured[(measured["system"] == system) & (measured["seed"] < n_seeds)]
        for pldc in _PLDC if n_seeds > 1 else ("none",):
            mean = of_system[of_system["pldc"] == pldc].mean(numeric_only=True)
            parts = [f"{mean[f'o_{one}']:.3f} / {mean[f'a_{one}']:.3f}" for one in ("arousal", "valence", "dominance")]
            lines.append((said, _PLDC[pldc], *parts))
            said = ""
    return _table(("system", "PLDC", *(f"{one}: O / A" for one in ("arousal", "valence", "dominance"))), lines)


def travels() -> str:
    """Fairness on another corpus: recognition, both gaps, and the probe of gender; ¹ where only one seed was measured."""
    tables = {}
    for pair in _TRAVELS:
        full = pd.read_csv(STUDIES / "cross-corpus" / pair / "results.csv").set_index("method")
        single = RESULTS / "cross_corpus" / f"one_seed_{pair}" / "results.csv"
        rest = [pd.read_csv(single).set_index("method").drop(full.index, errors="ignore")] if single.is_file() else []
        tables[pair] = pd.concat([full, *rest])
    head = [
        f"{said} ({tables[pair]['n_speakers'].iloc[0]} speakers, {tables[pair]['n_utterances'].iloc[0]} utterances)"
        for pair, said in _TRAVELS.items()
    ]
    lines = [
        (method, *(_travelled(tables[pair].loc[method]) for pair in _TRAVELS))
        for method in tables["ravdess+emodb"].index
    ]
    lines += [
        (f"*chance reaches, {method}*", *(
            f"– · {_short(tables[pair].loc[method, 'sp_band'])} · {_short(tables[pair].loc[method, 'eo_band'])} · .50" for pair in _TRAVELS
        ))
        for method in ("source_only", "cfa", "cfa_erased")
    ]  # fmt: skip
    return _table(("method", *head), lines)


def _travelled(row: pd.Series) -> str:
    mark = "¹" if row["n_seeds"] == 1 else ""
    numbers = [_short(row["uar"]) + mark, _short(row["sp"]), _short(row["eo"]), _short(row["probe_linear"], 2)]
    return " · ".join(numbers)


def _copied(path: Path) -> Callable[[], str]:
    """The table that the measurement itself wrote."""
    return lambda: "".join(line for line in path.read_text(encoding="utf-8").splitlines(True) if line.startswith("|"))


def _speed() -> str:
    lines = speed.as_markdown(json.loads(_text("speed.json"))).splitlines()
    return "\n".join(line for line in lines if line.startswith("|"))


def _started() -> str:
    found = json.loads(_text("start.json"))
    rows = [
        (f"{row['what']}, {row['unit']}", f"{row['p50']:.2f}", f"{row['p95']:.2f}", row["n"]) for row in found["rows"]
    ]
    return _table(("what", "p50", "p95", "n"), rows)


def _crowds() -> str:
    rows = []
    for name, how in (("load.json", "one page each"), ("load_shared.json", "signed in, an account each")):
        found = json.loads(_text(name))
        seconds = [
            f"{found[what]['p50']:.2f}, {found[what]['p95']:.2f}" for what in ("answer_s", "enrol_s", "without_model_s")
        ]
        rows.append((how, found["people"], found["answers"], found["answers_mixed_up"], *seconds))
    head = (
        "how",
        "people",
        "answers",
        "mixed up",
        "an answer: p50, p95, s",
        "to enrol: p50, p95, s",
        "without a model: p50, p95, s",
    )
    return _table(head, rows)


def _live() -> str:
    short, long = (json.loads(_text(f"live/{name}.json")) for name in ("compact", "compact_10_minutes"))
    behind = long["drift"]["clock_minus_sound_ms"]
    rows = [
        ("page ready, from the first byte, s", *(one["page_ready_s"] for one in (short, long))),
        ("updates a second", *(one["updates_per_s"] for one in (short, long))),
        (
            "delay: median, 95th percentile, longest, ms",
            *(", ".join(str(one["delay_ms"][what]) for what in ("median", "p95", "max")) for one in (short, long)),
        ),
        (
            "processor share of one listener, of one core",
            *(f"{one['app_cpu_share_of_one_core']:.0%}" for one in (short, long)),
        ),
        (
            "behind the sound in the first and the last tenth, ms",
            "–",
            f"{behind['first tenth']}, {behind['last tenth']}",
        ),
        (
            "memory in the first and the last tenth, MiB (the take has 18 of them)",
            "–",
            f"{long['memory_mib']['first tenth']}, {long['memory_mib']['last tenth']}",
        ),
        (
            "files in the workspace at first, at most, at last",
            "–",
            ", ".join(str(long["files_in_workspace"][what]) for what in ("at first", "most", "at last")),
        ),
    ]
    return _table(("what", "1.5 minutes (an earlier compact)", "9.8 minutes, other programs running"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "promises": lambda: _table(*promises.table()),
    "in short": in_short,
    "demo": demo,
    "fast": fast,
    "bench": _copied(RESULTS / "bench.md"),
    "start": _started,
    "growth": _copied(RESULTS / "growth" / "growth.md"),
    "load": _crowds,
    "live": _live,
    "accuracy": _copied(RESULTS / "accuracy" / "accuracy.md"),
    "ravdess": _copied(RESULTS / "ravdess" / "table.md"),
    "whom it serves": _copied(RESULTS / "ravdess" / "fairness.md"),
    "papt": pretraining,
    "cc": travels,
    "label-budget": _copied(STUDIES / "label-budget" / "ravdess" / "table.md"),
    "clusters": _copied(STUDIES / "clusters" / "ravdess" / "table.md"),
    "fine-tuning": _copied(RESULTS / "ravdess" / "finetuned.md"),
    "speed": _speed,
    "training": _copied(RESULTS / "ravdess" / "training.md"),
    "hints": hints,
}
"""What stands between the markers of each name."""


def quoted(page: str) -> str:
    """A page with every marked table as it was measured; a marker that is not in TABLES is a KeyError."""

    def filled(found: re.Match) -> str:
        return f"<!-- {found[1]} -->\n{TABLES[found[1]]().strip()}\n<!-- {found[1]} end -->"

    return re.sub(r"<!-- ([\w -]+?) -->\n.*?<!-- \1 end -->", filled, page, flags=re.DOTALL)


def main() -> None:
    """Write both pages anew."""
    for page in PAGES:
        page.write_text(quoted(page.read_text(encoding="utf-8")), encoding="utf-8")


def _text(name: str) -> str:
    return (RESULTS / name).read_text(encoding="utf-8")


def _table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (head, *rows)).replace(
        "\n", "\n|" + "---|" * len(head) + "\n", 1
    )


def _with_interval(value: float, interval: Sequence[float], sign: str = "") -> str:
    low, high = map(_number, interval)
    return f"{value:{sign}.3f} ({low} to {high})"


def _number(value: float) -> str:
    return f"{value:.3f}"


def _short(value: float, digits: int = 3) -> str:
    """Without the nought before the point."""
    return f"{value:.{digits}f}".removeprefix("0")


if __name__ == "__main__":
    main()

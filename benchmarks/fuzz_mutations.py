"""What may come in instead of what was expected: valid inputs bent by what they are made of, for benchmarks/fuzz.py.

Every function takes a valid input as bytes and a `random.Random`, and gives other bytes. What is structured (JSON, CSV, TOML, zip,
safetensors) is mostly bent as a structure, so that readers get beyond their first check, and now and then as bytes.
"""

import csv
import gzip
import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

_NUMBERS = (0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_ODD_TEXT = (
    "", " ", "0", "-1", "nan", "NaN", "inf", "-inf", "1e999", "1e-999", "9" * 30, "9" * 5_000, "None", "null", "true", "=1+1", "\t", "\0",
    "\r", "\n", '"', "'", "''", '"""', "\\", "\ud7ff", "é", "日本", "\u202e", "🙂", "x" * 300, "x" * 5_000, "../x", "/", ".", "..", "a/../b",
    "neutral", "Happy", "ANGER", "other", "no_agreement", "unknown", "female", "speaker", "p_anger", "path", "1970-01-01", "1;2", "1,5",
)  # fmt: skip
_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 10**6, 2**31, 2**63, -(2**63), 10**30, 0.0, -0.5, 1e308, -1e-308, float("nan"), float("inf"), [], {},
    [None], [[]], [{}], {"": None}, [0, 1, 2], ["a"], [1e308], {"a": {"b": []}}, *_ODD_TEXT,
)  # fmt: skip
_ODD_TOML = (
    "1", "-1", "0", "1e400", "nan", "inf", "-inf", "true", '""', '"x"', "''", "[]", "[[]]", "{}", "{a = 1}", "[1, 'a']", "1979-05-27",
    "1979-05-27T07:32:00Z", "07:32:00", "0xff", "0o7", "1_000", "9" * 30, "9" * 5_000, "'''x'''", '"""', "[" * 50, "[" * 3_000, "{a=" * 3_000,
    "[" * 300 + "]" * 300, '"\\ud800"', '"\\u0000"', "a.b", "neutral", "None", "[0, 3]", '["a", "b"]', "[true]", "[[1]]", "0.5",
)  # fmt: skip
_DEEP = 100_000
"""Brackets; deeper than any parser that calls itself goes."""


def bent_bytes(content: bytes, rng: Random) -> bytes:
    """Bits, numbers, holes, copies and ends, mostly near the start, where headers are."""
    bent = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        n = len(bent)
        if n == 0:
            return rng.randbytes(rng.choice((0, 1, 4, 100)))
        at = rng.randrange(min(n, 128) if rng.random() < 0.6 else n)
        kind = rng.randrange(8)
        if kind == 0:
            bent[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            bent[at] = rng.randrange(256)
        elif kind == 2:
            form = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
            value = struct.pack(form, rng.choice(_NUMBERS) & (256 ** struct.calcsize(form) - 1))
            bent[at : at + len(value)] = value
        elif kind == 3:
            del bent[at : at + rng.choice((1, 4, 64, 1_000))]
        elif kind == 4:
            piece = bent[at : at + rng.choice((4, 64, 1_000))]
            to = rng.randrange(n)
            bent[to:to] = piece
        elif kind == 5:
            bent[at : at + rng.choice((4, 64))] = rng.randbytes(rng.choice((4, 64)))
        elif kind == 6:
            del bent[rng.randrange(n) :]
        else:
            bent[at:at] = bytes(rng.choice((1, 4, 1_000)))
    return bytes(bent)


def bent_json(content: bytes, rng: Random) -> bytes:
    """One or more places of the tree hold something else."""
    tree = json.loads(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        tree = _bent_tree(tree, rng)
    if rng.random() < 0.02:
        opened = rng.choice(("[", '{"a":'))
        return opened.encode() * _DEEP
    text = json.dumps(tree, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.03:
        text = text.replace(rng.choice(("0", "1", "true", "null")), "9" * rng.choice((30, 5_000)), 1)
    return text.encode("utf-8", errors="surrogatepass")


def _bent_tree(tree: Any, rng: Random) -> Any:
    if isinstance(tree, dict) and tree and rng.random() < 0.85:
        key = rng.choice(list(tree))
        kind = rng.randrange(10)
        if kind == 0:
            return {name: value for name, value in tree.items() if name != key}
        if kind == 1:
            return {(rng.choice(_ODD_TEXT) if name == key else name): value for name, value in tree.items()}
        if kind == 2:
            return {**tree, rng.choice(_ODD_TEXT): rng.choice(_ODD_VALUES)}
        return {**tree, key: _bent_tree(tree[key], rng)}
    if isinstance(tree, list) and tree and rng.random() < 0.85:
        at = rng.randrange(len(tree))
        kind = rng.randrange(6)
        if kind == 0:
            return tree[:at] + tree[at + 1 :]
        if kind == 1:
            return tree[:at] + [tree[at]] * rng.choice((2, 1_000)) + tree[at + 1 :]
        return [*tree[:at], _bent_tree(tree[at], rng), *tree[at + 1 :]]
    if type(tree) is int and rng.random() < 0.5:
        return rng.choice((tree + 1, tree - 1, -tree, tree * 1_000, 0, float(tree)))
    return rng.choice(_ODD_VALUES)


def bent_csv(content: bytes, rng: Random) -> bytes:
    """Cells, columns and rows; separators, quotes, encodings, compression."""
    rows = list(csv.reader(io.StringIO(content.decode())))
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not rows:
            break
        at = rng.randrange(len(rows)) if rng.random() < 0.7 else 0
        row, kind = rows[at], rng.randrange(9)
        column = rng.randrange(len(row)) if row else 0
        if kind <= 3 and row:
            row[column] = rng.choice(_ODD_TEXT)
        elif kind == 4:
            word = rng.choice(_ODD_TEXT)
            for other in rows[1:]:
                other[column : column + 1] = [word]
        elif kind == 5:
            for other in rows:
                del other[column : column + 1]
        elif kind == 6:
            rows[at:at] = [list(row)] * rng.choice((1, 100))
        elif kind == 7:
            row.extend(["x"] * rng.choice((1, 50)))
        else:
            del rows[at]
    stream = io.StringIO()
    writer = csv.writer(
        stream, delimiter=rng.choice(",,,,,,,,,,,,;\t|"), quoting=rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    )
    writer.writerows(rows)
    text = stream.getvalue()
    if rng.random() < 0.1:
        text = text.replace("\n", rng.choice(("\r", "\n\n", '"\n', "\u2028")))
    encoding = rng.choice(("utf-8",) * 8 + ("utf-16", "utf-8-sig", "latin-1", "utf-32"))
    bent = text.encode(encoding, errors="replace")
    return gzip.compress(bent) if rng.random() < 0.05 else bent


def bent_toml(content: bytes, rng: Random) -> bytes:
    """Lines of 'key = value' and of '[table]'."""
    lines = content.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(lines)) if lines else 0
        key, equals, _ = (lines[at] if lines else "").partition("=")
        kind = rng.randrange(7)
        if kind <= 3 and equals:
            lines[at] = f"{key}= {rng.choice(_ODD_TOML)}"
        elif kind == 4 and equals:
            lines[at] = f"{rng.choice(_ODD_TEXT)} ={lines[at].partition('=')[2]}"
        elif kind == 5:
            lines[at:at] = [
                rng.choice(
                    (
                        "[training]",
                        "[[training]]",
                        "[encoder.x]",
                        "training = 1",
                        "settings = []",
                        "x.y.z = 1",
                        "[data]",
                    )
                )
            ]
        elif lines:
            del lines[at]
    return "\n".join(lines).encode("utf-8", errors="surrogatepass")


def bent_settings(content: bytes, rng: Random) -> bytes:
    """Lines as they follow --set: a key of one, a value of another or none at all."""
    lines = content.decode().splitlines()
    chosen = [rng.choice(lines) for _ in range(rng.choice((1, 1, 2, 3)))]
    for place, line in enumerate(chosen):
        key, _, value = line.partition("=")
        kind = rng.randrange(5)
        if kind <= 2:
            chosen[place] = f"{key}={rng.choice(_ODD_TOML)}"
        elif kind == 3:
            chosen[place] = f"{rng.choice(_ODD_TEXT)}={value}".replace("\n", " ")
        else:
            chosen[place] = f"{key.partition('.')[0]}.{rng.choice(lines).partition('=')[0].partition('.')[2]}={value}"
    return "\n".join(chosen).encode("utf-8", errors="surrogatepass")


def bent_safetensors(content: bytes, rng: Random) -> bytes:
    """The header's JSON, with its length put right, or the numbers behind it."""
    size = struct.unpack("<Q", content[:8])[0]
    header, numbers = content[8 : 8 + size], content[8 + size :]
    kind = rng.randrange(4)
    if kind == 0:
        return content[: 8 + size] + bent_bytes(numbers, rng)
    if kind == 1:
        tree = json.loads(header)
        name = rng.choice(list(tree))
        if isinstance(tree[name], dict) and "dtype" in tree[name]:
            tree[name]["dtype"] = rng.choice(("F16", "BF16", "F32", "F64", "I64", "U8", "BOOL", "F8_E4M3", "C64", "X"))
        header = json.dumps(tree).encode()
    else:
        header = bent_json(header, rng)
    return struct.pack("<Q", len(header)) + header + numbers


def bent_zip(content: bytes, rng: Random) -> bytes:
    """Members bent, named otherwise, repeated, left out, compressed otherwise."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    at, kind = rng.randrange(len(members)), rng.randrange(8)
    name, inside = members[at]
    if kind <= 3:
        members[0] = (members[0][0], bent_json(members[0][1], rng))
    elif kind == 4:
        members[at] = (name, bent_bytes(inside, rng))
    elif kind == 5:
        members[at] = (
            rng.choice(("../x", "/etc/x", "C:\\x", "profile.json", "a/b.flac", ".", "é", "x" * 300, "nul\0")),
            inside,
        )
    elif kind == 6:
        members[at:at] = [members[at]] * rng.choice((1, 40))
    else:
        members[at] = (name, bytes(rng.choice((0, *[10**5] * 20, 3 * 10**6))))
    stream = io.BytesIO()
    methods = (zipfile.ZIP_STORED,) * 5 + (zipfile.ZIP_DEFLATED,) * 3 + (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", rng.choice(methods)) as archive:
        warnings.simplefilter("ignore", UserWarning)  # a name that is there twice
        for name, inside in members:
            archive.writestr(name, inside)
    return stream.getvalue()


MUTATIONS: dict[str, Callable[[bytes, Random], bytes]] = {
    "bytes": bent_bytes,
    "json": bent_json,
    "csv": bent_csv,
    "toml": bent_toml,
    "settings": bent_settings,
    "safetensors": bent_safetensors,
    "zip": bent_zip,
}


def bent(kind: str, content: bytes, rng: Random) -> bytes:
    """An input of a kind, bent as what it is, or, one time in five, as bytes; now and then both."""
    if rng.random() < 0.2:
        return bent_bytes(content, rng)
    changed = MUTATIONS[kind](content, rng)
    return bent_bytes(changed, rng) if rng.random() < 0.1 else changed

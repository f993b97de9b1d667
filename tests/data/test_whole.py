"""Whole or not at all: what a failed or killed writer leaves, and when that goes."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ser_core.data.whole import UNFINISHED, disk_trouble, filled, removed, replaced, written


def hidden_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def in_a_new_program(script: str, *arguments: object) -> None:
    command = [sys.executable, "-c", f"import os, sys\nfrom pathlib import Path\n{script}", *map(str, arguments)]
    subprocess.run(command, check=False, timeout=60)


def test_what_fails_on_the_way_leaves_what_there_was(tmp_path: Path):
    (tmp_path / "file").write_text("before")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "part").write_text("before")
    for write in (written(tmp_path / "file"), filled(tmp_path / "folder"), replaced(tmp_path / "folder")):
        with pytest.raises(KeyError), write as hidden:
            (hidden / "part" if hidden.is_dir() else hidden).write_text("half")
            raise KeyError
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "part").read_text() == "before"
    assert hidden_in(tmp_path) == hidden_in(tmp_path / "folder") == []


def test_a_folder_is_filled_beside_what_is_there_and_replaced_with_or_without_it(tmp_path: Path):
    folder = tmp_path / "made" / "folder"
    for name, write in (("a", filled(folder)), ("b", filled(folder)), ("c", replaced(folder, revised=True))):
        with write as hidden:
            (hidden / name).write_text(name)
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b", "c"]
    with replaced(folder) as hidden:
        (hidden / "d").write_text("d")
    assert [path.name for path in folder.iterdir()] == ["d"] and hidden_in(folder.parent) == []
    removed(folder)
    assert list(folder.parent.iterdir()) == []


def test_what_a_killed_program_left_goes_once_it_is_an_hour_old(tmp_path: Path):
    dies = "from ser_core.data.whole import *\nwith written(Path(sys.argv[1])) as hidden: hidden.write_text('half'); os._exit(9)"
    writes = "from ser_core.data.whole import *\nwith written(Path(sys.argv[1])) as hidden: hidden.write_text('whole')"
    others = tmp_path / ".somebody's.tmp"
    others.write_text("not ours")
    in_a_new_program(dies, tmp_path / "file")
    (left,) = tmp_path.glob(f".*{UNFINISHED}")
    in_a_new_program(writes, tmp_path / "file")
    assert left.exists() and (tmp_path / "file").read_text() == "whole"  # it may still be written to
    for old in (left, others):
        os.utime(old, (time.time() - 4000,) * 2)
    in_a_new_program(writes, tmp_path / "file")
    assert not left.exists() and others.exists()


def test_a_folder_that_was_set_aside_when_the_program_was_killed_comes_back(tmp_path: Path):
    (tmp_path / ".model-before").mkdir()
    (tmp_path / ".model-before" / "weights").write_text("whole")
    with pytest.raises(KeyError), replaced(tmp_path / "model"):
        raise KeyError
    assert (tmp_path / "model" / "weights").read_text() == "whole"


def test_only_troubles_of_the_disk_are_told_as_such():
    assert "the disk is full" in disk_trouble(OSError(errno.ENOSPC, "No space left on device"))
    assert "can only be read" in disk_trouble(OSError(errno.EROFS, "Read-only file system"))
    assert disk_trouble(OSError(errno.ENOENT, "No such file")) == disk_trouble(ValueError("28")) == ""

"""The app on a disk that is full or can only be read, and two apps on one workspace."""

import signal
import stat
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from ser_core.ui.serve import WorkspaceUnusable, private_folder
from ser_core.workspace import open_workspace
from tests.ui.person import ask, tab, upload

pytestmark = pytest.mark.timeout(600)


def test_two_apps_on_one_workspace_leave_each_others_uploads_and_those_of_a_killed_one_go(app, start_app, tiny_model):
    def folders() -> set[Path]:
        return {path for path in (app.workspace / "temporary").iterdir() if path.is_dir()}

    (ours,) = folders()
    (ours / "voice.wav").write_bytes(b"RIFF")
    killed = start_app(app.workspace, "--model", str(tiny_model))
    (of_killed,) = folders() - {ours}
    (of_killed / "voice.wav").write_bytes(b"RIFF")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (ours.parent, ours, of_killed)} == {0o700}
    killed.process.send_signal(signal.SIGKILL)
    killed.process.communicate()
    with private_folder(open_workspace(app.workspace)) as workspace:  # as a third app starts
        assert (ours / "voice.wav").exists() and not of_killed.exists()
        assert list(workspace.temporary.iterdir()) == []
    assert folders() == {ours}
    (ours / "voice.wav").unlink()


def test_a_workspace_that_can_only_be_read_is_refused_in_words(small_disk):
    workspace = open_workspace(small_disk.folder / "workspace")
    small_disk.may_only_be_read()
    with pytest.raises(WorkspaceUnusable, match="can only be read.*--workspace") as refused, private_folder(workspace):
        pass
    assert str(small_disk.folder) not in str(refused.value)
    small_disk.may_only_be_read(False)
    with private_folder(workspace) as private:
        assert private.temporary.is_dir()


def test_on_a_full_disk_the_page_says_so_and_goes_on_once_there_is_room(
    browser: Browser, start_app, small_disk, utterance, tiny_model: Path
):
    app = start_app(small_disk.folder / "workspace", "--model", str(tiny_model))
    page = browser.new_page()
    page.goto(app.url)
    page.locator("#enrol-progress").wait_for()
    tab(page, "Compare")
    small_disk.fill()
    upload(page.locator("#compare-audio"), utterance("anger"))
    expect(page.get_by_text("The disk is full: free some space, then try again").first).to_be_visible()
    small_disk.free()
    page.reload()
    page.locator("#enrol-progress").wait_for()
    tab(page, "Compare")
    ask(page, utterance("anger"))
    page.close()
    assert "No space left" not in app.stop()

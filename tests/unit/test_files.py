# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""config_files: what is planned, what is shown, and what is refused."""

from __future__ import annotations

import os

import pytest
from lifeline.act import files
from lifeline.act.files import Current, Wanted, diff, inspect, plan, read_mode, read_wanted
from lifeline.errors import LifelineError

A_FILE = Current("file", b"old\n", uid=7, gid=8, mode=0o640)


def wanted(**options):
    return Wanted(**{"path": "/etc/x", "content": b"new\n", **options})


def test_nothing_to_do_when_content_and_attributes_are_right():
    assert plan(wanted(content=b"old\n", mode=0o640), A_FILE, 7, 8) is None


def test_owner_and_mode_that_are_not_asked_for_are_kept():
    change = plan(wanted(), A_FILE, None, None)
    assert (change.action, change.uid, change.gid, change.mode) == ("replace", 7, 8, 0o640)


@pytest.mark.parametrize(("options", "mode"), [({}, 0o644), ({"secret": True}, 0o600), ({"state": "directory"}, 0o755)])
def test_mode_of_a_new_path(options, mode):
    change = plan(wanted(**options), Current(), None, None)
    assert (change.action, change.mode, change.uid) == ("create", mode, os.geteuid())


@pytest.mark.parametrize(("uid", "gid", "mode"), [(1, 8, 0o640), (7, 1, 0o640), (7, 8, 0o600)])
def test_wrong_attributes_alone_are_a_change(uid, gid, mode):
    assert plan(wanted(content=b"old\n", mode=mode), A_FILE, uid, gid).action == "attributes"


def test_without_force_content_is_kept_but_attributes_are_not():
    assert plan(wanted(force=False), A_FILE, None, None) is None
    assert plan(wanted(force=False, mode=0o600), A_FILE, None, None).action == "attributes"
    assert plan(wanted(force=False), Current(), None, None).action == "create"


def test_a_link_where_a_file_should_be_is_replaced():
    assert plan(wanted(), Current("link", target="/elsewhere"), None, None).action == "replace"


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("file", "directory", "is a directory"),
        ("file", "other", "device, socket or pipe"),
        ("directory", "file", "is a file"),
        ("directory", "link", "symbolic link to /elsewhere"),
    ],
)
def test_what_must_not_be_thrown_away_is_refused(state, kind, words):
    with pytest.raises(LifelineError, match=words):
        plan(wanted(state=state), Current(kind, target="/elsewhere"), None, None)


def test_absent():
    assert plan(wanted(state="absent"), Current(), None, None) is None
    assert plan(wanted(state="absent"), A_FILE, None, None).action == "remove"


def test_a_user_that_does_not_exist_yet_is_a_change_and_shown_by_name():
    change = plan(wanted(content=b"old\n", owner="redis-to-come"), A_FILE, files.UNKNOWN_ID, None)
    assert change.action == "attributes"
    assert "owner: redis-to-come\n" in diff(change)[0]["after"]


def test_diff_of_content():
    (part,) = diff(plan(wanted(), A_FILE, None, None))
    assert (part["before"], part["after"]) == ("old\n", "new\n")


def test_diff_of_a_secret_shows_neither_side():
    for current in (A_FILE, Current()):
        shown = repr(diff(plan(wanted(secret=True), current, None, None)))
        assert "not shown" in shown
        assert "new\\n'" not in shown
        assert "old\\n'" not in shown


def test_repr_holds_no_content():
    assert "new" not in repr(wanted())
    assert "old" not in repr(A_FILE)


@pytest.mark.parametrize("text", ["416", "640", "0888", "u=rw", "00640", ""])
def test_mode_must_be_four_octal_digits(text):
    with pytest.raises(LifelineError, match="four octal digits"):
        read_mode("/etc/x", text)


def test_mode_is_octal():
    assert read_mode("/etc/x", "0640") == 0o640


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"path": "etc/x"}], "not an absolute path"),
        ([{"path": "/etc/x"}, {"path": "/etc/../etc/x"}], "listed twice"),
        ([{"path": "/etc/x", "validate": ["true"]}], "no '%s'"),
    ],
)
def test_options_that_cannot_be_meant(entries, words):
    with pytest.raises(LifelineError, match=words):
        read_wanted({"files": entries})


def test_inspect_does_not_follow_a_link_for_a_file(tmp_path):
    (tmp_path / "real").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = inspect(str(tmp_path / "link"))
    assert (found.kind, found.content, found.target) == ("link", b"", str(tmp_path / "real"))


def test_inspect_follows_our_own_link_to_a_directory(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert inspect(str(tmp_path / "link"), follow=True).kind == "directory"


def test_inspect_does_not_wait_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert inspect(str(tmp_path / "pipe")).kind == "other"

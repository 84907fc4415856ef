# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""config_files on a real file system, and what a whole ansible run shows of it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from modules import Modules, ansible

SECRET = "s3cret # with 'quotes' \\ and %"


@pytest.fixture
def run():
    """``run({"files": [...]}, check=True)`` calls the module; it needs no redis-py, so one interpreter is enough."""
    modules = Modules(Path(sys.executable), "none")
    return lambda options, **extra: modules("config_files", options, **extra)


@pytest.fixture
def place(tmp_path):
    directory = tmp_path / "place"
    directory.mkdir()
    return directory


def tree(directory):
    """Everything below a directory: name -> (mode, link target or content)."""
    return {
        str(path.relative_to(directory)): (
            path.lstat().st_mode,
            os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else None,
        )
        for path in sorted(directory.rglob("*"))
    }


def test_check_run_verify_run_again(run, place):
    (place / "old.conf").write_text("a 1\n")
    (place / "gone").write_text("bye")
    (place / "seed").write_text("rewritten by the daemon")
    options = {
        "files": [
            {"path": f"{place}/d", "state": "directory", "mode": "0750"},
            {"path": f"{place}/d/new.conf", "content": "b 2\n", "mode": "0640"},
            {"path": f"{place}/old.conf", "content": "a 2\n"},
            {"path": f"{place}/gone", "state": "absent"},
            {"path": f"{place}/seed", "content": "seed", "force": False},
        ],
        "secret_files": [{"path": f"{place}/d/acl", "content": SECRET}],
    }
    before = tree(place)
    changed = sorted(f"{place}/{name}" for name in ("d", "d/acl", "d/new.conf", "gone", "old.conf"))

    checked = run(options, check=True)
    assert checked.changed
    assert checked["changed_paths"] == changed
    assert tree(place) == before

    done = run(options)
    assert done["changed_paths"] == changed
    assert done["diff"] == checked["diff"]
    after = tree(place)
    assert after["d/new.conf"] == (0o100640, "b 2\n")
    assert after["d/acl"] == (0o100600, SECRET)
    assert after["d"] == (0o040750, None)
    assert after["old.conf"][1] == "a 2\n"
    assert after["seed"][1] == "rewritten by the daemon"
    assert set(after) == {"d", "d/acl", "d/new.conf", "old.conf", "seed"}

    again = run(options)
    assert (again.changed, again["changed_paths"], again["diff"]) == (False, [], [])


def test_a_secret_is_in_no_output_of_a_whole_run(place):
    for content in ("old secret 51", "new secret 52"):
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [{"config_files": {"secret_files": [{"path": f"{place}/acl", "content": "{{ content }}"}]}}],
        }
        (place / "play.yml").write_text(json.dumps([play]))
        (place / "known.json").write_text(
            json.dumps(
                {"content": content, "ansible_python_interpreter": sys.executable, "ansible_connection": "local"}
            )
        )
        done = ansible(
            "ansible-playbook", "-i", "localhost,", "-e", f"@{place}/known.json", "--diff", "-vvv", f"{place}/play.yml"
        )
        text = done.stdout + done.stderr
        assert (place / "acl").read_text() == content, text
        assert "new secret content, not shown" in text
        assert "secret 51" not in text
        assert "secret 52" not in text


def test_a_refused_file_leaves_all_old_files(run, place):
    (place / "one").write_text("old\n")
    (place / "two").write_text("old\n")
    before = tree(place)
    options = {
        "files": [
            {"path": f"{place}/one", "content": "new\n"},
            {"path": f"{place}/two", "content": "bad\n", "validate": ["grep", "-H", "good", "%s"]},
        ]
    }
    result = run(options, fails=True)
    assert result["msg"].startswith(f"config_files: grep refused the new {place}/two")
    assert (result.changed, result["changed_paths"]) == (False, [])
    assert tree(place) == before


def test_what_a_check_says_about_a_secret_file_is_not_shown(run, place):
    options = {"secret_files": [{"path": f"{place}/x", "content": "hush 53\n", "validate": ["cat", "%s", "/nowhere"]}]}
    result = run(options, fails=True)
    assert "as the file is secret" in result["msg"]
    assert "hush 53" not in json.dumps({**result.data, "invocation": None})
    assert tree(place) == {}


def test_a_check_that_is_not_installed(run, place):
    options = {"files": [{"path": f"{place}/x", "content": "", "validate": ["lifeline-no-such-program", "%s"]}]}
    assert "lifeline-no-such-program" in run(options, fails=True)["msg"]
    assert tree(place) == {}


def test_a_link_is_replaced_and_its_target_left_alone(run, place):
    (place / "precious").write_text("precious")
    (place / "conf").symlink_to(place / "precious")
    result = run({"files": [{"path": f"{place}/conf", "content": "mine"}]})
    assert result["diff"][0]["before"] == f"(symbolic link to {place}/precious)\n"
    assert not (place / "conf").is_symlink()
    assert (place / "conf").read_text() == "mine"
    assert (place / "precious").read_text() == "precious"


def test_removing_a_link_leaves_its_target(run, place):
    (place / "precious").mkdir()
    (place / "link").symlink_to(place / "precious")
    run({"files": [{"path": f"{place}/link", "state": "absent"}]})
    assert set(tree(place)) == {"precious"}


def test_the_other_name_of_a_hard_link_is_left_alone(run, place):
    (place / "precious").write_text("precious")
    (place / "precious").chmod(0o600)
    os.link(place / "precious", place / "conf")
    before = tree(place)
    options = {"files": [{"path": f"{place}/conf", "content": "precious", "mode": "0666"}]}
    assert "hard link" in run(options, fails=True)["msg"]
    assert tree(place) == before


def test_a_missing_user_is_a_change_in_check_mode_and_an_error_in_earnest(run, place):
    options = {"files": [{"path": f"{place}/a", "content": "a", "owner": "lifeline-nobody", "group": "lifeline-none"}]}
    checked = run(options, check=True)
    assert checked["changed_paths"] == [f"{place}/a"]
    assert checked["diff"][1]["after"].startswith("owner: lifeline-nobody\ngroup: lifeline-none\n")
    assert "the user lifeline-nobody does not exist" in run(options, fails=True)["msg"]
    assert tree(place) == {}


def test_check_mode_below_a_directory_that_is_not_there_yet(run, place):
    options = {"files": [{"path": f"{place}/d/a", "content": "a"}]}
    assert run(options, check=True)["changed_paths"] == [f"{place}/d/a"]
    assert f"cannot write {place}/d/a: No such file or directory" in run(options, fails=True)["msg"]


def test_only_an_empty_directory_is_removed(run, place):
    (place / "d").mkdir()
    (place / "d" / "ours").write_text("")
    (place / "d" / "theirs").write_text("")
    options = {"files": [{"path": f"{place}/d/ours", "state": "absent"}, {"path": f"{place}/d", "state": "absent"}]}
    assert "still holds theirs" in run(options, fails=True)["msg"]
    assert set(tree(place)) == {"d", "d/ours", "d/theirs"}
    (place / "d" / "theirs").unlink()
    assert run(options)["changed_paths"] == [f"{place}/d", f"{place}/d/ours"]
    assert tree(place) == {}


def test_settings_change_in_place_and_the_rest_stays(run, place):
    file = place / "sentinel.conf"
    file.write_text('# learned\nbind "127.0.0.1" -::1\nport 26379\nsentinel monitor x 192.0.2.1 6379 2\n')
    file.chmod(0o640)
    same = {"secret_files": [{"path": str(file), "settings": {"bind": ["127.0.0.1", "-::1"], "port": 26379}}]}
    assert not run(same).changed, "the same in other words"

    options = {"secret_files": [{"path": str(file), "settings": {"bind": ["192.0.2.9", "127.0.0.1"], "tls-port": 0}}]}
    before = tree(place)
    assert run(options, check=True).changed
    assert tree(place) == before
    assert run(options).changed
    assert file.read_text() == (
        "# learned\nbind 192.0.2.9 127.0.0.1\nport 26379\nsentinel monitor x 192.0.2.1 6379 2\ntls-port 0\n"
    )
    assert file.stat().st_mode & 0o777 == 0o640
    assert not run(options).changed


def test_settings_of_a_file_that_is_not_there_are_refused(run, place):
    result = run({"files": [{"path": f"{place}/none.conf", "settings": {"port": 1}}]}, fails=True)
    assert "there is no file" in result["msg"]
    assert tree(place) == {}

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Root writes into a folder whose owner is hostile: nothing outside is ever written, nor given away."""

from __future__ import annotations

import ast
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from lifeline.act import lock
from lifeline.act.configure import store
from lifeline.act.files import work as config_files
from lifeline.common import atomic
from lifeline.errors import LifelineError

ROOT = Path(__file__).resolve().parents[2]
NOBODY = pwd.getpwnam("nobody")
PYTHON = shutil.which("python3", path="/usr/bin") or sys.executable  # one that every account can start
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be lent")

# What the enemy does, many times a second, in a folder of his own: sub is a folder, a link out, or gone, and each file
# in it a link out, a second name of somebody's file, or gone.
ENEMY = """
import contextlib, os, sys
home, outside = sys.argv[1:]
os.chdir(home)
print("ready", flush=True)
while True:
    with contextlib.suppress(OSError):
        os.rename("sub", "real")
    with contextlib.suppress(OSError):
        os.symlink(outside, "sub")
    for name in ("x.conf", "x.conf.lifeline", ".x.conf.new"):
        with contextlib.suppress(OSError):
            os.symlink(f"{outside}/precious", f"real/{name}")
    with contextlib.suppress(OSError):
        for name in os.listdir("real"):
            if name.startswith("."):
                os.unlink(f"real/{name}")
                os.symlink(f"{outside}/precious", f"real/{name}")
    with contextlib.suppress(OSError):
        os.unlink("sub")
    with contextlib.suppress(OSError):
        os.rename("real", "sub")
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that every account can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def outside(home: Path) -> Path:
    """A folder and a file of root's that must stay as they are."""
    folder = home / "outside"
    folder.mkdir(mode=0o755)
    (folder / "precious").write_text("precious")
    (folder / "precious").chmod(0o600)
    return folder


@pytest.fixture
def theirs(home: Path) -> Path:
    """A folder that belongs to an account without rights."""
    folder = home / "theirs"
    (folder / "sub").mkdir(parents=True)
    for path in (folder, folder / "sub"):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    return folder


@pytest.fixture
def enemy(theirs: Path, outside: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [PYTHON, "-S", "-c", ENEMY, theirs, outside],
        user=NOBODY.pw_uid, group=NOBODY.pw_gid, extra_groups=[], stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout and process.stdout.readline()
    yield
    assert process.poll() is None, "the enemy gave up"
    process.kill()
    process.wait()


def tried(writer: Callable[[], Any]) -> bool:
    try:
        writer()
    except (OSError, LifelineError):
        return False
    return True


def state(folder: Path) -> list[Any]:
    found = [folder, *sorted(folder.iterdir())]
    return [
        (str(path), one.st_uid, one.st_mode, one.st_ino, path.read_text() if path.is_file() else "")
        for path, one in ((path, path.lstat()) for path in found)
    ]


def writers(path: Path) -> dict[str, Callable[[], Any]]:
    entry = {"path": str(path), "content": "mine", "owner": "nobody", "mode": "0666"}
    folder = {"path": str(path.parent), "state": "directory", "owner": "nobody", "mode": "0777"}
    return {
        "atomic": lambda: atomic.write(path, "mine", 0o666, (NOBODY.pw_uid, NOBODY.pw_gid)),
        "kept": lambda: atomic.write(path, "mine"),
        "store": lambda: store(path, "mine"),
        "config_files": lambda: config_files({"files": [folder, entry]}, False),
        "lock": lambda: lock.work(
            {
                "directory": str(path.parent), "estate": "x", "state": "held", "run": "r", "who": "w", "what": "w",
                "process": "", "stale": 1.0, "dead_run": "", "unfinished": False,
            },
            False,
        ),
        "remove": lambda: config_files({"files": [{"path": str(path), "state": "absent"}]}, False),
    }  # fmt: skip


@as_root
def test_B5_a_folder_swapped_during_writes_leads_nowhere(enemy: None, theirs: Path, outside: Path) -> None:
    """Before: the account redis, swapping its folder for a link while root wrote there, had root write elsewhere.

    Now: one writer opens the folder once, follows no link that another account can make, and writes only there.
    """
    before = state(outside)
    outcomes: dict[str, list[bool]] = {}
    end = time.monotonic() + 2
    while time.monotonic() < end:
        for name, writer in writers(theirs / "sub" / "x.conf").items():
            outcomes.setdefault(name, []).append(tried(writer))
    assert state(outside) == before
    assert any(map(any, outcomes.values())), "nothing was ever written, so nothing was tried"


@as_root
@pytest.mark.parametrize("name", ["x.conf", "x.conf.lifeline", ".x.conf.new", ".x.conf.PID"])
def test_B5_a_link_at_a_name_that_can_be_guessed(theirs: Path, outside: Path, name: str) -> None:
    before = state(outside)
    for writer in writers(theirs / "sub" / "x.conf").values():
        planted = theirs / "sub" / name.replace("PID", str(os.getpid()))
        planted.unlink(missing_ok=True)
        planted.symlink_to(outside / "precious")
        os.chown(planted, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)
        tried(writer)
        assert state(outside) == before


@as_root
def test_B5_a_folder_that_is_a_link_of_another_account_is_refused(theirs: Path, outside: Path) -> None:
    for owner in (NOBODY.pw_uid, 0):  # a link of root's may have been moved there
        link = theirs / f"link{owner}"
        link.symlink_to(outside)
        os.chown(link, owner, owner, follow_symlinks=False)
        before = state(outside)
        for name, writer in writers(link / "x.conf").items():
            if name != "remove":
                with pytest.raises(LifelineError):
                    writer()
            assert not tried(writer) or name == "remove"
        assert state(outside) == before


@as_root
def test_B5_a_second_name_of_a_file_lends_no_rights(theirs: Path, outside: Path) -> None:
    os.link(outside / "precious", theirs / "sub" / "x.conf")
    (outside / "precious").chmod(0o4755)
    before = state(outside)
    with pytest.raises(LifelineError, match="hard link"):
        atomic.write(theirs / "sub" / "x.conf", "mine")
    for name in ("lock", "store"):
        tried(writers(theirs / "sub" / "x.conf")[name])
    atomic.write(theirs / "sub" / "x.conf", "mine", 0o640, atomic.MAKERS)
    assert state(outside) == before


@as_root
def test_a_new_file_takes_nothing_from_the_acl_of_its_folder(theirs: Path) -> None:
    # version 2; user::rwx, user:nobody:rwx, group::rwx, mask::rwx, other::rwx
    entries = ((1, -1), (2, NOBODY.pw_uid), (4, -1), (16, -1), (32, -1))
    raw = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + (7).to_bytes(2, "little") + (who & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, who in entries
    )
    try:
        os.setxattr(theirs / "sub", "system.posix_acl_default", raw)
    except OSError:
        pytest.skip("this file system has no access lists")
    atomic.write(theirs / "sub" / "secret", "mine", 0o600, (0, 0))
    assert "system.posix_acl_access" not in os.listxattr(theirs / "sub" / "secret")


def test_what_is_there_keeps_its_owner_and_mode(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("old")
    file.chmod(0o4640)
    atomic.write(file, "new \udcff")
    assert file.read_bytes() == b"new \xff"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640, "never a set-id bit"
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_file_and_its_folders(tmp_path: Path) -> None:
    atomic.write(tmp_path / "a" / "b" / "x", b"new", make=0o750)
    assert (tmp_path / "a" / "b" / "x").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a" / "b" / "x").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o750


def test_our_own_links_to_folders_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "near").symlink_to("real/../real/deep")
    (tmp_path / "far").symlink_to(tmp_path / "near")
    atomic.write(tmp_path / "far" / "x", "new")
    assert (tmp_path / "real" / "deep" / "x").read_text() == "new"
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="symbolic links"):
        atomic.write(tmp_path / "round" / "x", "new")


def test_an_error_names_the_whole_path_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory") as raised:
        atomic.write(tmp_path / "folder", "new", 0o600, atomic.MAKERS)
    assert raised.value.filename == str(tmp_path / "folder")
    with pytest.raises(LifelineError, match="not a regular file"):
        atomic.write(tmp_path / "folder", "new")
    with pytest.raises(FileNotFoundError) as missing:
        atomic.write(tmp_path / "none" / "x", "new")
    assert missing.value.filename == str(tmp_path / "none")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_pipe_at_the_place_of_a_lock_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.lock")
    with pytest.raises((OSError, LifelineError)), atomic.locked(tmp_path / "x.lock", 0o640):
        pass


# What else may open a file for writing, and why.
ALONE = {
    "atomic.py": "the writer itself",
    "machine.py": "settings of the kernel below /proc, which know no rename",
    "files.py": "openssl's own configuration in a temporary folder",
    "lock.py": "below the lock that the writer opened",
    "kept.py": "data files, linked, copied and moved below descriptors of their folders",
}


def test_nothing_else_writes_files() -> None:
    found = {}
    for path in sorted((ROOT / "module_utils" / "lifeline").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or path.name in ALONE:
                continue
            said = ast.unparse(call)
            name = said.partition("(")[0].rpartition(".")[2]
            if name in ("write_text", "write_bytes", "mkstemp", "NamedTemporaryFile", "copyfile", "chown", "chmod"):
                found[f"{path.name}:{call.lineno}"] = said
            if name in ("rename", "link", "symlink") and said.startswith("os."):
                found[f"{path.name}:{call.lineno}"] = said
            if "O_CREAT" in said or (name == "open" and re.search(r"'([wax]b?|[rwax]b?\+)'", said)):
                found[f"{path.name}:{call.lineno}"] = said
    assert found == {}

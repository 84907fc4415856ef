# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Copies of data: who may follow without one, how they are made, and which of them may go."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifeline.act import replicate
from lifeline.act.kept import PRESERVE_DIR, Keeper
from lifeline.act.replicate import at_stake, replicaof
from lifeline.act.retention import COMPARED, Copy, Policy, to_drop
from lifeline.errors import LifelineError

A, B, C = "a" * 40, "b" * 40, "c" * 40
ROOT = Path(__file__).resolve().parents[2]


def view(role: str = "slave", keys: int = 10, replid: str = A, offset: int = 100, **more: Any) -> dict[str, Any]:
    return {"role": role, "keys": keys, "replid": replid, "offset": offset, "loading": False, **more}


PRIMARY = view("master", replid=B, replid2=A, second_offset=101, offset=150)


@pytest.mark.parametrize(
    ("target", "safe"),
    [
        (view("master", keys=0), True),
        (view("master", keys=1), False),
        (view("master", replid=B, offset=150), False),
        (view(offset=100), True),
        (view(offset=101), False),
        (view(replid=B, offset=150), True),
        (view(replid=B, offset=151), False),
        (view(replid=C), False),
        (view(replid=C, keys=0), True),
        (view(replid=""), False),
        (view(loading=True, keys=0), False),
        ({}, False),
    ],
)
def test_B4_who_takes_writes_follows_only_once_a_copy_is_kept(target: dict[str, Any], safe: bool) -> None:
    """Before: a surplus of 0 by the new primary's own word let a server with 1000 keys follow it without a copy.

    Now: a server that takes writes or has no provable history in common is kept first, whatever the claimant says.
    """
    sent: list[Any] = []
    assert (at_stake(target, PRIMARY) == "") == safe
    if safe:
        replicaof(lambda *words: sent.append(words), ("192.0.2.1", 6379), target, PRIMARY)
        assert sent == [("REPLICAOF", "192.0.2.1", 6379)]
    else:
        with pytest.raises(LifelineError):
            replicaof(lambda *words: sent.append(words), ("192.0.2.1", 6379), target, PRIMARY)
        assert sent == []


@given(claim=st.fixed_dictionaries({key: st.one_of(st.text(max_size=3), st.integers()) for key in ("replid", "replid2")}
                                   | {key: st.integers() for key in ("offset", "second_offset", "keys")}))  # fmt: skip
def test_no_claim_makes_a_primary_with_keys_follow(claim: dict[str, Any]) -> None:
    assert at_stake(view("master", keys=1000), claim)
    assert at_stake(view("master", keys=1000), {})


def test_A17_replicaof_is_sent_from_one_place() -> None:
    """Before: six places sent REPLICAOF, and waiting for a replica was one of them.

    Now: one guarded function sends it; a role cannot go round it.
    """
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("module_utils", "library")
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"""["'](REPLICAOF|SLAVEOF)["'](?!, "NO")""", line) and "commands" not in line
    }
    assert found == {Path(replicate.__file__).relative_to(ROOT).as_posix()}


def spare(name: str, age_s: float, spare: bool = True, size: int = 100) -> Copy:
    return Copy(name, age_s, size, lambda: spare)


DAY = 86400.0
FREE = (1000, 1000)


@pytest.mark.parametrize(
    ("copies", "space", "gone"),
    [
        ([spare("a", 3), spare("b", 2), spare("c", 1)], FREE, ["a"]),
        ([spare("a", 3, False), spare("b", 2), spare("c", 1)], FREE, ["b"]),
        ([spare("a", 3, False), spare("b", 2, False), spare("c", 1, False)], FREE, []),
        ([spare("a", 50 * DAY)], FREE, []),
        ([spare("a", 50 * DAY), spare("b", 40 * DAY)], FREE, ["a"]),
        ([spare("a", 3), spare("b", 2)], (100, 1000), ["a"]),
        ([spare("a", 3, size=0), spare("b", 2)], (199, 1000), ["a"]),
        ([spare("a", 3, False), spare("b", 2)], (0, 1000), []),
        ([], (0, 1000), []),
    ],
)
def test_A20_copies_go_by_number_age_and_space(copies: list[Copy], space: tuple[int, int], gone: list[str]) -> None:
    """Before: every restart of a dead primary left a whole copy, and nothing ever removed one.

    Now: copies whose jobs were compared go by number, age and free space; never the newest, never another.
    """
    assert to_drop(copies, Policy(2, 30, 20), *space) == gone


def keeper(home: Path) -> Keeper:
    state = home.stat()
    return Keeper(str(home), (state.st_uid, state.st_gid))


def data(home: Path, log: str = "log") -> Path:
    folder = home / "appendonlydir"
    folder.mkdir(parents=True, exist_ok=True)
    (home / "dump.rdb").write_text("snapshot")
    (folder / "appendonly.aof.1.base.rdb").write_text("base")
    (folder / "appendonly.aof.1.incr.aof").write_text(log)
    (folder / "appendonly.aof.manifest").write_text("manifest")
    return home


def test_an_unchanged_server_is_not_copied_twice(tmp_path: Path) -> None:
    kept = keeper(data(tmp_path))
    first = kept.keep_files("20261130T000000Z")
    assert kept.keep_files("20261130T000100Z") == first
    assert os.listdir(tmp_path / PRESERVE_DIR) == ["20261130T000000Z"]
    base = Path(first[0]) / "appendonlydir" / "appendonly.aof.1.base.rdb"
    assert base.stat().st_ino == (tmp_path / "appendonlydir" / base.name).stat().st_ino, "no second copy of a base"


def test_a_copy_that_a_newer_one_holds_may_go_and_one_with_jobs_of_its_own_may_not(tmp_path: Path) -> None:
    kept = keeper(data(tmp_path))
    kept.keep_files("20261130T000000Z")
    kept.keep_files(data(tmp_path, "log and more") and "20261130T000100Z")
    kept.keep_files(data(tmp_path, "another log") and "20261130T000200Z")
    gone, unknown = kept.retain(Policy(1, 30, 0), 2e9, 10)
    assert unknown == []
    assert [Path(path).name for path in gone] == ["20261130T000000Z"]
    (tmp_path / PRESERVE_DIR / "20261130T000100Z" / COMPARED).touch()
    assert [Path(path).name for path in kept.retain(Policy(1, 30, 0), 2e9, 10)[0]] == ["20261130T000100Z"]
    assert os.listdir(tmp_path / PRESERVE_DIR) == ["20261130T000200Z"]


def test_a_copy_that_fails_half_way_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keeper(data(tmp_path))

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(LifelineError, match="No space left"):
        kept.keep_files("20261130T000000Z")
    assert os.listdir(tmp_path / PRESERVE_DIR) == []


@pytest.mark.parametrize("name", ["../../x", "/etc/shadow", "..", "", "a/b"])
def test_B5_a_snapshots_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    """Before: root linked dbfilename=../../x out of the data folder, and followed a folder swapped for a link.

    Now: names have no slash, and every folder and file is held by a descriptor that no link was followed to.
    """
    home = data(tmp_path / "home")
    (tmp_path / "x").write_text("secret")
    with pytest.raises(LifelineError, match="nothing was changed"):
        keeper(home).keep_snapshot("now", name, None)
    assert not (home / PRESERVE_DIR / "now").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is lent")
def test_links_of_the_servers_account_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    data(outside)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    mine = Keeper(str(home), (65534, 65534))
    (home / "dump.rdb").symlink_to(outside / "dump.rdb")
    (home / "appendonlydir").symlink_to(outside / "appendonlydir")
    assert not mine.has_data()
    (home / PRESERVE_DIR).symlink_to(outside)
    (home / "real.rdb").write_text("x")
    with pytest.raises(LifelineError, match="nothing was changed"):
        mine.keep_files("now")
    (tmp_path / "link").symlink_to(home)
    os.lchown(tmp_path / "link", 65534, 65534)
    with pytest.raises(LifelineError, match="link"):
        Keeper(str(tmp_path / "link"), (65534, 65534)).has_data()
    with pytest.raises(LifelineError, match="belongs to user 0"):
        Keeper(str(outside), (65534, 65534)).set_aside("now")
    assert sorted(os.listdir(outside)) == ["appendonlydir", "dump.rdb"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is lent")
def test_a_folder_that_is_swapped_in_mid_copy_leads_nobody_out(tmp_path: Path) -> None:
    """As the account ``redis`` would: its folder is a folder now, and a link into another's the next moment."""
    home, secret = tmp_path / "home", tmp_path / "secret"
    data(home)
    secret.mkdir()
    (secret / "appendonly.aof.1.incr.aof").write_text("secret")
    for path in (home, home / "appendonlydir"):
        os.chown(path, 65534, 65534)
    stop = threading.Event()

    def swap() -> None:
        real, aside = home / "appendonlydir", home / "aside"
        while not stop.is_set():
            real.rename(aside)
            real.symlink_to(secret)
            real.unlink()
            aside.rename(real)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(150):
            try:
                path, _size = Keeper(str(home), (65534, 65534)).keep_files(f"c{number:03}")
            except LifelineError:
                continue
            for found in Path(path).rglob("*.incr.aof"):
                assert found.read_text() != "secret"
            os.utime(home / "dump.rdb", ns=(number, number))
    finally:
        stop.set()
        thread.join()
    assert os.listdir(secret) == ["appendonly.aof.1.incr.aof"]
    assert (home / PRESERVE_DIR).stat().st_uid == 0 and (home / PRESERVE_DIR).stat().st_mode & 0o777 == 0o700


NOBODY = (65534, 65534)
ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root is lent")


def of_nobody(home: Path) -> Path:
    for path in (home, *home.rglob("*")):
        os.chown(path, *NOBODY)
        path.chmod(0o700 if path.is_dir() else 0o600)
    return home


@ONLY_ROOT
def test_B5_what_the_account_may_not_read_root_does_not_copy_for_it(tmp_path: Path) -> None:
    """Before: root opened whatever bore a data file's name, also a second name of a file that the account may not read.

    Now: a process with the account's rights opens each file, and the kernel decides.
    """
    home = of_nobody(data(tmp_path / "home"))
    kept = Keeper(str(home), NOBODY)
    path, size = kept.keep_files("20261130T000000Z")
    assert size and (Path(path) / "dump.rdb").read_text() == "snapshot"
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret").chmod(0o600)
    os.link(tmp_path / "secret", home / "other.rdb")
    for make in (lambda: kept.keep_files("20261130T000100Z"), lambda: kept.keep_snapshot("x", "other.rdb", None)):
        with pytest.raises(LifelineError, match=r"Permission denied \(other.rdb\); nothing was changed"):
            make()
    assert os.listdir(home / PRESERVE_DIR) == ["20261130T000000Z"]
    assert (tmp_path / "secret").stat().st_nlink == 2


@ONLY_ROOT
def test_B5_a_file_that_is_swapped_by_its_account_is_its_own_or_none(tmp_path: Path) -> None:
    """Before: as above.

    Now: an account that swaps a file for a link while it is copied gets a copy of what it may read, or none.
    """
    home, secret = of_nobody(data(tmp_path / "home")), tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    tmp_path.chmod(0o755)
    attacker = (
        "import os, sys\nos.chdir(sys.argv[1]); os.setgid(65534); os.setuid(65534); os.close(1)\nwhile True:\n"
        "  os.symlink('../../secret', 'x'); os.rename('x', 'appendonly.aof.1.incr.aof')\n"
        "  open('y', 'w').write('mine'); os.rename('y', 'appendonly.aof.1.incr.aof')\n"
    )
    swapping = subprocess.Popen([sys.executable, "-c", attacker, str(home / "appendonlydir")], stdout=subprocess.PIPE)
    kept, made, end = Keeper(str(home), NOBODY), set(), time.monotonic() + 60
    try:
        assert swapping.stdout is not None and swapping.stdout.read() == b"", "it works as nobody now"
        while len(made) < 5 and time.monotonic() < end:
            with contextlib.suppress(LifelineError):
                made.add(kept.keep_files(f"c{len(made)}")[0])
    finally:
        swapping.kill()
        swapping.wait()
    texts = [found.read_text() for path in made for found in Path(path).rglob("*.incr.aof")]
    assert len(made) == 5 and set(texts) <= {"mine", "", "log"}


@pytest.mark.parametrize("after_s", [60, 7200])
def test_A20_what_a_killed_copy_left_is_removed_and_nothing_else(tmp_path: Path, after_s: float) -> None:
    """Before: the half of a copy that a killed run left stayed for good, and took the room of the next.

    Now: the next run removes it once no run can be working on it: a folder of its own, by its name; nothing else.
    """
    home = data(tmp_path)
    child = os.fork()
    if child == 0:
        os.utime = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # in the middle of the first copied file
        keeper(home).keep_files("20261130T000000Z")
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    left = home / PRESERVE_DIR / ".part-20261130T000000Z"
    assert list(left.iterdir())
    others = [left.with_name(name) for name in (".part-mine", "part-20261130T000000Z", ".part-20261130T000001Zx")]
    for other in others:
        other.mkdir()
    (link := left.with_name(".part-20261130T000002Z")).symlink_to(others[0])
    (file := left.with_name(".part-20261130T000003Z")).touch()
    for path in (left, *others, file):
        os.utime(path, (time.time() - after_s,) * 2)
    keeper(home).keep_files("20261130T000100Z")
    assert left.exists() == (after_s < 3600)
    assert all(path.exists() for path in (*others, link, file))


@ONLY_ROOT
def test_what_a_killed_copy_of_another_user_left_stays(tmp_path: Path) -> None:
    home = data(tmp_path)
    (left := home / PRESERVE_DIR / ".part-20261130T000000Z").mkdir(parents=True)
    os.chown(left, *NOBODY)
    os.utime(left, (0, 0))
    keeper(home).keep_files("20261130T000100Z")
    assert left.exists()


@pytest.mark.parametrize(("seconds", "gone"), [(30.0, True), (0.0, False)])
def test_A20_large_copies_are_compared_as_long_as_there_is_time(tmp_path: Path, seconds: float, gone: bool) -> None:
    """Before: a copy of more than 64 MiB was not compared with newer ones, never removed, and nobody was told.

    Now: it is compared for as long as the step has; what was not compared is said.
    """
    kept = keeper(data(tmp_path))
    log = tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof"
    os.truncate(log, 70 << 20)
    kept.keep_files("20261130T000000Z")
    with log.open("ab") as file:
        file.write(b"more")
    kept.keep_files("20261130T000100Z")
    copy = kept.target("20261130T000000Z")
    assert kept.retain(Policy(1, 30, 0), 2e9, seconds) == ([copy] if gone else [], [] if gone else [copy])
    assert kept.retain(Policy(5, 1e9, 0), 2e9, 0.0) == ([], []), "what the policy leaves is not compared"

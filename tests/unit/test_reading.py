# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that an account of the host may have swapped are read in bounded time, or not at all."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lifeline.act.configure import read_text
from lifeline.common import reading, shell
from lifeline.common.url import url_from_file
from lifeline.errors import LifelineError
from lifeline.formats.certificate import file_certificate, key_fits
from lifeline.observe import files, logs, start
from lifeline.observe.redact import Redactor

SECOND = 5.0


def in_time(work: object, *arguments: object) -> object:
    """What ``work`` returns, or the error that it raises; fails when it does not end."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(work(*arguments))  # type: ignore[operator]
        except (OSError, LifelineError) as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECOND)
    assert found, "it waits forever"
    return found[0]


READERS: dict[str, Callable[[str], object]] = {
    "shell": shell.read,
    "data_files": files.data_files,
    "data_folder": files.data_folder,
    "snapshot": files.snapshot,
    "start": lambda path: start.look(path, {}),
    "log": lambda path: logs.file_groups(path, 0.0, str),
    "configure": read_text,
    "certificate": file_certificate,
    "key": lambda path: key_fits(path, path),
    "url": lambda path: url_from_file(path, "REDIS_URL"),
}


@pytest.mark.parametrize("name", READERS)
def test_B9_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(name: str, tmp_path: Path) -> None:
    """Before: a named pipe as redis-main.conf kept the look, and each step, waiting forever.

    Now: only regular files are read.
    """
    pipe = str(tmp_path / "redis-main.conf")
    os.mkfifo(pipe)
    in_time(READERS[name], pipe)


def test_B9_a_device_is_not_read() -> None:
    for path in ("/dev/zero", "/dev/tty", "/proc"):
        with pytest.raises(OSError, match=r"regular|directory|No such device"):
            reading.data(path)


def test_B9_the_link_of_another_account_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root's own")
    link, relative = tmp_path / "link", tmp_path / "relative"
    link.symlink_to(secret)
    relative.symlink_to("link")
    assert reading.text(str(link)) == reading.text(str(relative)) == "root's own"
    if os.geteuid() == 0:
        os.chown(link, 65534, 65534, follow_symlinks=False)
        for path in (link, relative):
            with pytest.raises(OSError, match="another account"):
                reading.text(str(path))


def test_B9_links_in_a_ring_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        reading.data(str(tmp_path / "a"))


def test_B11_a_file_is_read_whole_or_not(tmp_path: Path) -> None:
    """Before: a configuration file was read however long it was.

    Now: one that is longer than any is refused, since a part of it would be written back as the whole.
    """
    path = tmp_path / "long"
    path.write_bytes(b"a" * 100)
    assert len(reading.data(str(path), 100)) == 100
    with pytest.raises(OSError, match="more than 99 bytes"):
        reading.data(str(path), 99)
    assert reading.beginning(str(path), 10) == "a" * 10


def test_text_is_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a\r\nb\rc\n\xff")
    assert reading.text(str(path)) == path.read_text(encoding="utf-8", errors="replace")
    assert reading.text(str(path), "surrogateescape")[-1] == "\udcff"


PARTS = ("XFS (a): ", "MASTER a", "can't open the RDB file ", "Unknown command ", "1", "\\", "token-")


@pytest.mark.parametrize("part", PARTS)
def test_B9_a_log_line_of_a_mebibyte_is_cut(part: str, tmp_path: Path) -> None:
    """Before: a line of a mebibyte in a log took time that grew with its square.

    Now: a line is cut before any pattern looks at it.
    """
    log = tmp_path / "redis.log"
    line = f"1:M 30 Nov 2026 10:00:00.000 # {part * ((1 << 20) // len(part))}\n"
    log.write_text(f"{line}1:M 30 Nov 2026 10:00:01.000 # Can't open the log file\n")
    started = time.process_time()
    found = logs.file_groups(str(log), 0.0, Redactor(["a-planted-secret"]))
    assert time.process_time() - started < 1
    assert found["groups"]["log_denied"]["count"] == 1
    assert all(len(text) <= logs.SAMPLE_CHARS for text in found["last"])

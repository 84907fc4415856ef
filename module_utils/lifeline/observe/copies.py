# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether what a server that does not run would load is whole, before anybody starts it from that.

The server's own checkers tell, with the rights of the data folder's owner. They only read.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from typing import Any, Mapping, Optional

from ..common.atomic import folder
from ..common.folders import regular
from ..errors import LifelineError
from . import checker

# Larger copies are not checked, and none for longer: the look that this is part of has to end (redis_look_timeout).
MOST_BYTES = 4 << 30
MOST_S = 20.0

# What is read of a damaged file's rest, and of a file's end for its marks, in bytes; how many marks are told.
MOST_REST = 16 << 20
MARKS_BYTES = 4 << 20
MARKS = 64

_ANALYZED = re.compile(r"^AOF analyzed: filename=(\S{1,255}), size=(\d{1,20}), ok_up_to=(\d{1,20}),", re.MULTILINE)
_RECORD = re.compile(rb"\*\d{1,7}\r\n\$\d{1,10}\r\n")
_HEADER = re.compile(rb"([*$])(\d{1,10})\r\n")
_HALF_HEADER = re.compile(rb"[*$]\d{0,10}\r?")


def look(files: Mapping[str, Any]) -> dict[str, Any]:
    """``{aof}`` or ``{rdb}``, whichever the server would load (``files`` as ``data_files`` has them).

    ``{ok, loads, file, size, ok_up_to, lost_bytes, lost_records, why, marks}``: ``ok`` whether it is whole, null where
    nobody could tell, ``why`` then and where it is not. ``loads``: whether a server would load it; ``lost_bytes`` and
    ``lost_records`` are what it would drop then, or what lies behind the damage. ``marks``: ``append_only_marks``.
    """
    place = str(files.get("dir") or "")
    try:
        state = os.stat(place)
    except OSError:
        return {}
    account = (state.st_uid, state.st_gid)
    if files.get("aof_configured"):
        aof: Mapping[str, Any] = files.get("aof") or {}
        usable = aof.get("manifest") and aof.get("size") and not aof.get("missing")
        return {"aof": _append_only(files, aof, account)} if usable else {}
    rdb: Mapping[str, Any] = files.get("rdb") or {}
    return {"rdb": _snapshot(files, rdb, account)} if rdb.get("size") else {}


def _verdict(ok: Optional[bool], size: int, **more: Any) -> dict[str, Any]:
    found = {"ok": ok, "loads": ok, "file": "", "size": size, "ok_up_to": None, "lost_bytes": None}
    return {**found, "lost_records": None, "why": "", "marks": {}, **more}


def _snapshot(files: Mapping[str, Any], rdb: Mapping[str, Any], account: tuple[int, int]) -> dict[str, Any]:
    size, path = int(rdb["size"]), str(files.get("rdb_path"))
    if size > MOST_BYTES:
        return _verdict(None, size, why=f"it has {size} bytes, too many to check")
    said = checker.run("rdb", path, account, min(MOST_S, checker.seconds_for(size)))
    ok, _keys, why = checker.rdb_keys(said)
    return _verdict(ok, size, file=os.path.basename(path), why=why)


def _append_only(files: Mapping[str, Any], aof: Mapping[str, Any], account: tuple[int, int]) -> dict[str, Any]:
    size, manifest = int(aof["size"]), str(files.get("aof_manifest"))
    names = [str(entry["name"]) for entry in aof.get("entries") or []]
    marks = append_only_marks(_rest(manifest, names[-1], None, MARKS_BYTES)[0]) if names else {}
    if size > MOST_BYTES:
        return _verdict(None, size, why=f"it has {size} bytes, too many to check", marks=marks)
    said = checker.run("aof", manifest, account, min(MOST_S, checker.seconds_for(size)))
    if not isinstance(said, checker.Said):
        return _verdict(None, size, why=said, marks=marks)
    damage = damaged(said)
    if damage is None:
        last = ([line.strip() for line in said.text.splitlines() if line.strip()] or [""])[-1][:200]
        return _verdict(True if said.status == 0 else None, size, why="" if said.status == 0 else last, marks=marks)
    name, length, good = damage
    if not name:
        return _verdict(False, size, ok_up_to=0, lost_bytes=size, why="its base does not load", marks=marks)
    rest, behind = _rest(manifest, name, good, MOST_REST)
    tail = bool(names) and name == names[-1] and cut_off(rest, behind)
    what = "the last write in it is cut off" if tail else "it is damaged"
    return _verdict(
        False,
        size,
        loads=tail and files.get("load_truncated") is not False,
        file=name,
        ok_up_to=good,
        lost_bytes=length - good,
        lost_records=max(1, len(_RECORD.findall(rest))),
        why=f"{what} at byte {good} of {length} of {name}",
        marks=marks,
    )


def damaged(said: checker.Said) -> Optional[tuple[str, int, int]]:
    """(file, its length, how far it is good) of a damaged append-only file; no file where its base is. None where the
    checker names no damage."""
    if said.status == 0:
        return None
    looked = _ANALYZED.findall(said.text)
    if looked and int(looked[-1][2]) < int(looked[-1][1]):
        return os.path.basename(looked[-1][0]), int(looked[-1][1]), int(looked[-1][2])
    return ("", 0, 0) if "RDB ERROR DETECTED" in said.text else None


def _rest(manifest: str, name: str, start: Optional[int], most: int) -> tuple[bytes, int]:
    """(at most so many bytes of a file from ``start``, else of its end; how many there are from there)."""
    try:
        with folder(os.path.dirname(manifest)) as place, regular(place, name) as file:
            length = os.fstat(file).st_size
            begin = max(0, length - most) if start is None else min(start, length)
            return os.pread(file, most, begin), length - begin
    except (OSError, LifelineError):
        return b"", 0


def cut_off(rest: bytes, length: int) -> bool:
    """Whether ``length`` bytes, of which ``rest`` are the first, begin a command, or a transaction, and end before it
    does: a server loads what is before. Where a command is no command, it loads nothing."""
    place, first = 0, True
    while place < length:
        begun = place
        place = _past_command(rest, place, length)
        if place < 0 or place > length:
            return place > length
        if first and b"multi" not in rest[begun:place].lower():
            return False  # a whole command that the checker did not take
        first = False
    return not first


def _past_command(rest: bytes, place: int, length: int) -> int:
    """Where the next command begins; beyond ``length`` where this one is cut off, -1 where it is none."""
    header = _HEADER.match(rest, place)
    if header is None or header[1] != b"*":
        half = _HALF_HEADER.fullmatch(rest, place) and len(rest) == length and rest[place : place + 1] == b"*"
        return length + 1 if half else -1
    place = header.end()
    for _word in range(int(header[2])):
        header = _HEADER.match(rest, place)
        if header is None or header[1] != b"$":
            half = place == length or (_HALF_HEADER.fullmatch(rest, place) and len(rest) == length)
            return length + 1 if half and rest[place : place + 1] in (b"", b"$") else -1
        place = header.end() + int(header[2]) + 2
        if place > length:
            return length + 1
        if rest[place - 2 : place] != b"\r\n":
            return -1
    return place


def append_only_marks(end: bytes) -> dict[str, int]:
    """Some records at the end of an append-only file, by their digest, and how many bytes come after each.

    Servers of one history write the same records, so two copies tell by these how many bytes one has and the other
    lacks. A record that comes twice tells nothing.
    """
    starts = [found.start() for found in _RECORD.finditer(end)]
    digests = [
        (hashlib.blake2b(end[start:stop], digest_size=6).hexdigest(), len(end) - stop)
        for start, stop in zip(starts, starts[1:])
    ]
    often = Counter(digest for digest, _ in digests)
    return dict(sorted(found for found in digests if often[found[0]] == 1)[:MARKS])

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What lies on a host's disk for its server: configuration, snapshot, append-only file."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import time
from typing import Any, Mapping, Optional, Sequence

from ..common import reading

# The directives of redis.conf that say where the data is and what it was configured for; nothing secret among them.
_CONFIG_WORDS = (
    "dir",
    "dbfilename",
    "appendonly",
    "appenddirname",
    "appendfilename",
    "aof-load-truncated",
    "replicaof",
    "slaveof",
    "save",
    "aclfile",
)

# A manifest has a line a file; more than these bytes of one, or more names than these, are not looked at.
MANIFEST_BYTES = 65536
MOST_NAMES = 32

# The first nine bytes of a snapshot: who wrote it, and in which version of the format.
_RDB_HEADER = re.compile(rb"REDIS\d{4}|VALKEY\d{3}")
RDB_END = 0xFF  # stands before the checksum of eight bytes that ends a snapshot

# Fields at a snapshot's start (opcode 0xFA, a name, a value), all within these first bytes.
_RDB_FIELD = 0xFA
_FIELDS_BYTES = 1024


def parse_config(text: str) -> dict[str, list[str]]:
    """The last value of each directive in ``_CONFIG_WORDS``, split in words; ``save`` keeps all its lines' words."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0].lower() not in _CONFIG_WORDS:
            continue
        name = words[0].lower()
        values = [word.strip('"') for word in words[1:]]
        found[name] = found.get(name, []) + values if name == "save" else values
    return found


def data_folder(config_file: Optional[str]) -> str:
    """Where a server's configuration puts its data; empty where that is not known. Looks at no disk but that file's."""
    if not config_file:
        return ""
    try:
        return _first(parse_config(reading.text(config_file)), "dir", "")
    except OSError:
        return ""


def data_files(config_file: str) -> dict[str, Any]:
    """What lies on disk for an instance: ``{config, dir, aof_configured, rdb_configured, replicaof, aclfile,
    rdb_path, aof_manifest, load_truncated, rdb, aof, free_bytes}``. Empty when there is no config file.

    ``rdb`` is null or what ``snapshot`` says, ``aof`` null or what ``append_only`` says. Only the ends of files are
    read, so the size of the data does not matter.
    """
    try:
        config = parse_config(reading.text(config_file))
    except OSError as error:
        return {} if isinstance(error, FileNotFoundError) else {"config": config_file, "error": error.strerror}
    directory = _first(config, "dir", ".")
    aof_dir = os.path.join(directory, _first(config, "appenddirname", "appendonlydir"))
    save = [word for word in config.get("save", []) if word]
    replicaof = config.get("replicaof") or config.get("slaveof")
    return {
        "config": config_file,
        "dir": directory,
        "aof_configured": _first(config, "appendonly", "no") == "yes",
        "rdb_configured": bool(save),
        "replicaof": replicaof,
        "aclfile": _present(_first(config, "aclfile", "")),
        "rdb_path": os.path.join(directory, _first(config, "dbfilename", "dump.rdb")),
        "aof_manifest": os.path.join(aof_dir, f"{_first(config, 'appendfilename', 'appendonly.aof')}.manifest"),
        "load_truncated": _first(config, "aof-load-truncated", "yes") != "no",
        "rdb": snapshot(os.path.join(directory, _first(config, "dbfilename", "dump.rdb"))),
        "aof": append_only(aof_dir, _first(config, "appendfilename", "appendonly.aof")),
        "free_bytes": free_bytes(directory),
    }


def _present(path: str) -> Optional[dict[str, Any]]:
    return {"path": path, "exists": os.path.exists(path)} if path else None


def _first(config: Mapping[str, Sequence[str]], name: str, default: str) -> str:
    return next(iter(config.get(name, [])), default)


def snapshot(path: str) -> Optional[dict[str, Any]]:
    """``{size, mtime, age_s, owner, mode, header, complete, replid, offset}`` of a snapshot; None where there is none.

    ``header``: its first bytes, such as REDIS0010; empty where they are no snapshot's. ``complete``: whether it ends
    like one; null where it could not be read. ``age_s``: seconds since it was written, by the host's clock.
    ``replid``, ``offset``: the history that it belongs to and how far it goes; a server that never had a replica, and
    the base of an append-only file, say neither.
    """
    try:
        state = os.stat(path)
    except OSError:
        return None
    found: dict[str, Any] = {
        "size": state.st_size,
        "mtime": round(state.st_mtime, 3),
        "age_s": age(state.st_mtime),
        "owner": user_name(state.st_uid),
        "mode": f"{stat.S_IMODE(state.st_mode):04o}",
        "header": "",
        "complete": None,
        "replid": "",
        "offset": None,
    }
    try:
        with reading.regular(path) as file:
            start = file.read(9)
            fields = rdb_fields(file.read(_FIELDS_BYTES))
            length = file.seek(0, os.SEEK_END)
            file.seek(max(0, length - 9))
            end = file.read(1)
    except OSError:
        return found
    found["header"] = start.decode("ascii") if _RDB_HEADER.fullmatch(start) else ""
    found["complete"] = length >= 18 and end == bytes([RDB_END])
    if found["header"] and fields.get("repl-offset", "").isdigit():
        found.update(replid=fields.get("repl-id", ""), offset=int(fields["repl-offset"]))
    return found


def age(moment: float) -> float:
    """Seconds since a moment, by this host's clock; never negative."""
    return round(max(0.0, time.time() - moment), 1)


def rdb_fields(data: bytes) -> dict[str, str]:
    """The fields that stand between a snapshot's header and its first key, by name (source: Redis' rdb.c)."""
    found: dict[str, str] = {}
    place = 0
    while place < len(data) and data[place] == _RDB_FIELD:
        name, place = _rdb_string(data, place + 1)
        value, place = _rdb_string(data, place)
        found[name] = value
    return found


def rdb_keyless(start: bytes) -> bool:
    """Whether a snapshot, by its first bytes, ends right after its fields: its server had no key."""
    place = 9
    while start[place : place + 1] == bytes([_RDB_FIELD]):
        _name, place = _rdb_string(start, place + 1)
        _value, place = _rdb_string(start, place)
    return bool(_RDB_HEADER.match(start)) and start[place : place + 1] == bytes([RDB_END])


def _rdb_string(data: bytes, place: int) -> tuple[str, int]:
    """The text that begins at ``place``, and where the next one does; behind all data where this one ends there.

    A first byte of 00xxxxxx or 01xxxxxx says the length in 6 or 14 bits, 1100000x to 11000010 an integer of 1, 2 or 4
    bytes. Fields have no other kind.
    """
    first = data[place] if place < len(data) else 0xFF
    if first < 0x80:
        start = place + 1 + (first >= 0x40)
        length = first & 0x3F if first < 0x40 else (first & 0x3F) << 8 | data[min(place + 1, len(data) - 1)]
        return data[start : start + length].decode("ascii", "replace"), start + length
    if first in (0xC0, 0xC1, 0xC2):
        end = place + 1 + (1 << (first & 3))
        return str(int.from_bytes(data[place + 1 : end], "little", signed=True)), end
    return "", len(data)


def user_name(uid: int) -> str:
    """The user of that number, or the number itself where nobody has it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def append_only(directory: str, name: str) -> Optional[dict[str, Any]]:
    """``{size, manifest, age_s, entries, missing, stray, base}`` of an append-only file's folder; None without one.

    ``manifest``: whether it is there. ``age_s``: seconds since it was last written to, null where nothing was.
    ``entries``: ``[{name, type, size}]`` of the files that it names (type b for the base, i for what came after it),
    ``missing`` those that are not there, ``stray`` files of data that it does not name. ``base``: the base as
    ``snapshot`` sees it, or null.
    """
    found = _append_only(directory, name)
    if found and (found["missing"] or found["stray"]):
        found = _append_only(directory, name)  # a rewrite may have ended between the two looks
    return found


def _append_only(directory: str, name: str) -> Optional[dict[str, Any]]:
    try:
        listed = parse_manifest(_start_of(os.path.join(directory, f"{name}.manifest")))
        with os.scandir(directory) as entries:
            states = {entry.name: _state(entry) for entry in entries if entry.is_file()}
    except OSError:
        return None
    sizes = {file: size for file, (size, _) in states.items()}
    data = re.compile(rf"{re.escape(name)}\.\d+\.(base|incr)\.(rdb|aof)")
    named = {entry["name"] for entry in listed}
    wanted = [entry for entry in listed if entry["type"] in ("b", "i")]
    base = next((entry["name"] for entry in wanted if entry["type"] == "b" and entry["name"].endswith(".rdb")), None)
    return {
        "size": sum(sizes.values()),
        "manifest": f"{name}.manifest" in sizes,
        "age_s": age(max(states[file][1] for file in sizes)) if sizes else None,
        "entries": [{**entry, "size": sizes.get(entry["name"])} for entry in wanted[:MOST_NAMES]],
        "missing": [entry["name"] for entry in wanted if entry["name"] not in sizes][:MOST_NAMES],
        "stray": sorted(file for file in sizes if data.fullmatch(file) and file not in named)[:MOST_NAMES],
        "base": snapshot(os.path.join(directory, base)) if base else None,
    }


def _state(entry: os.DirEntry[str]) -> tuple[int, float]:
    """Size, and when it was last written to."""
    try:
        state = entry.stat()
    except OSError:
        return 0, 0.0  # a rewrite has just removed it
    return state.st_size, state.st_mtime


def _start_of(path: str) -> str:
    try:
        return reading.beginning(path, MANIFEST_BYTES)
    except FileNotFoundError:
        return ""


def parse_manifest(text: str) -> list[dict[str, str]]:
    """``[{name, type}]`` of an append-only file's manifest; lines of another kind are passed over."""
    found = []
    for line in text.splitlines():
        words = line.split()
        pairs = dict(zip(words[::2], words[1::2]))
        if "file" in pairs and "type" in pairs:
            found.append({"name": pairs["file"].strip('"'), "type": pairs["type"]})
    return found


def free_bytes(directory: str) -> Optional[int]:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None

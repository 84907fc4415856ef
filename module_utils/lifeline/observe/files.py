# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What lies on a host's disk for its server: configuration, snapshot, append-only file."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
from typing import Any, Mapping, Optional, Sequence

# The directives of redis.conf that say where the data is and what it was configured for; nothing secret among them.
_CONFIG_WORDS = (
    "dir",
    "dbfilename",
    "appendonly",
    "appenddirname",
    "appendfilename",
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
        with open(config_file, encoding="utf-8", errors="replace") as handle:
            return _first(parse_config(handle.read()), "dir", "")
    except OSError:
        return ""


def data_files(config_file: str) -> dict[str, Any]:
    """What lies on disk for an instance: ``{config, dir, aof_configured, rdb_configured, replicaof, aclfile, rdb,
    aof, free_bytes}``. Empty when there is no config file.

    ``rdb`` is null or what ``snapshot`` says, ``aof`` null or what ``append_only`` says. Only the ends of files are
    read, so the size of the data does not matter.
    """
    try:
        with open(config_file, encoding="utf-8", errors="replace") as handle:
            config = parse_config(handle.read())
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
        "rdb": snapshot(os.path.join(directory, _first(config, "dbfilename", "dump.rdb"))),
        "aof": append_only(aof_dir, _first(config, "appendfilename", "appendonly.aof")),
        "free_bytes": free_bytes(directory),
    }


def _present(path: str) -> Optional[dict[str, Any]]:
    return {"path": path, "exists": os.path.exists(path)} if path else None


def _first(config: Mapping[str, Sequence[str]], name: str, default: str) -> str:
    return next(iter(config.get(name, [])), default)


def snapshot(path: str) -> Optional[dict[str, Any]]:
    """``{size, mtime, owner, mode, header, complete}`` of a snapshot; None where there is none.

    ``header``: its first bytes, such as REDIS0010; empty where they are no snapshot's. ``complete``: whether it ends
    like one; null where it could not be read.
    """
    try:
        state = os.stat(path)
    except OSError:
        return None
    found: dict[str, Any] = {
        "size": state.st_size,
        "mtime": round(state.st_mtime, 3),
        "owner": user_name(state.st_uid),
        "mode": f"{stat.S_IMODE(state.st_mode):04o}",
        "header": "",
        "complete": None,
    }
    try:
        with open(path, "rb") as file:
            start = file.read(9)
            length = file.seek(0, os.SEEK_END)
            file.seek(max(0, length - 9))
            end = file.read(1)
    except OSError:
        return found
    found["header"] = start.decode("ascii") if _RDB_HEADER.fullmatch(start) else ""
    found["complete"] = length >= 18 and end == bytes([RDB_END])
    return found


def user_name(uid: int) -> str:
    """The user of that number, or the number itself where nobody has it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def append_only(directory: str, name: str) -> Optional[dict[str, Any]]:
    """``{size, manifest, entries, missing, stray, base}`` of an append-only file's folder; None where there is none.

    ``manifest``: whether it is there. ``entries``: ``[{name, type, size}]`` of the files that it names (type b for the
    base, i for what came after it), ``missing`` those that are not there, ``stray`` files of data that it does not
    name. ``base``: the base as ``snapshot`` sees it, or null.
    """
    found = _append_only(directory, name)
    if found and (found["missing"] or found["stray"]):
        found = _append_only(directory, name)  # a rewrite may have ended between the two looks
    return found


def _append_only(directory: str, name: str) -> Optional[dict[str, Any]]:
    try:
        listed = parse_manifest(_start_of(os.path.join(directory, f"{name}.manifest")))
        with os.scandir(directory) as entries:
            sizes = {entry.name: _size(entry) for entry in entries if entry.is_file()}
    except OSError:
        return None
    data = re.compile(rf"{re.escape(name)}\.\d+\.(base|incr)\.(rdb|aof)")
    named = {entry["name"] for entry in listed}
    wanted = [entry for entry in listed if entry["type"] in ("b", "i")]
    base = next((entry["name"] for entry in wanted if entry["type"] == "b" and entry["name"].endswith(".rdb")), None)
    return {
        "size": sum(sizes.values()),
        "manifest": f"{name}.manifest" in sizes,
        "entries": [{**entry, "size": sizes.get(entry["name"])} for entry in wanted[:MOST_NAMES]],
        "missing": [entry["name"] for entry in wanted if entry["name"] not in sizes][:MOST_NAMES],
        "stray": sorted(file for file in sizes if data.fullmatch(file) and file not in named)[:MOST_NAMES],
        "base": snapshot(os.path.join(directory, base)) if base else None,
    }


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return 0  # a rewrite has just removed it


def _start_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(MANIFEST_BYTES)
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

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What lies on a host's disk for its server: configuration, snapshot, append-only file."""

from __future__ import annotations

import os
import shutil
from typing import Any, Iterable, Mapping, Optional, Sequence

# The directives of redis.conf that say where the data is and what it was configured for; nothing secret among them.
_CONFIG_WORDS = ("dir", "dbfilename", "appendonly", "appenddirname", "appendfilename", "replicaof", "slaveof", "save")


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


def data_files(config_file: str) -> dict[str, Any]:
    """What lies on disk for an instance: ``{config, dir, persistence, replicaof, rdb, aof, free_bytes}``.

    ``rdb`` is ``{size, mtime}`` or null; ``aof`` is ``{size, manifest}`` or null. Empty when there is no config file.
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
        "rdb": _file(os.path.join(directory, _first(config, "dbfilename", "dump.rdb"))),
        "aof": _aof(aof_dir, _first(config, "appendfilename", "appendonly.aof")),
        "free_bytes": free_bytes(directory),
    }


def _first(config: Mapping[str, Sequence[str]], name: str, default: str) -> str:
    return next(iter(config.get(name, [])), default)


def _file(path: str) -> Optional[dict[str, Any]]:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return {"size": state.st_size, "mtime": round(state.st_mtime, 3)}


def _aof(directory: str, name: str) -> Optional[dict[str, Any]]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return None
    sizes: Iterable[int] = (entry.stat().st_size for entry in entries if entry.is_file())
    return {"size": sum(sizes), "manifest": any(entry.name == f"{name}.manifest" for entry in entries)}


def free_bytes(directory: str) -> Optional[int]:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None

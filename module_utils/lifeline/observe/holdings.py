# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host holds, whoever put it there: the ports, the servers that run, and every snapshot and append-only file.

"There is no data" is only true after a look here: at the folders that running servers, units and configuration files
name, and at the distribution's own.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import time
from typing import Any, Iterable, Optional, Sequence

from ..common import ownership
from ..formats.redis_conf import directives
from .files import rdb_keyless
from .running import SERVER, Process, Running
from .sockets import place_of

# The distribution's folders.
CONFIG_FOLDERS = ("etc/redis", "etc/valkey")
DATA_FOLDERS = ("var/lib/redis", "var/lib/valkey")
UNIT_FOLDERS = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system",
                "lib/systemd/system")  # fmt: skip

# Bounds of one look. A folder that holds more names, or a file that is longer, is not looked through: not complete.
MOST_CONFIGS = 64
MOST_FOLDERS = 128
MOST_NAMES = 4096
MOST_DATA = 64
MOST_BYTES = 1_000_000
SECONDS = 1.0

_EXEC = re.compile(r"^[ \t]*ExecStart[ \t]*=[ \t]*[-@:+!]*(.+)$", re.MULTILINE)
_WORKING = re.compile(r"^[ \t]*WorkingDirectory[ \t]*=[ \t]*[-~]*(/\S*)", re.MULTILINE)


def look(
    port: Optional[int], sentinel_port: Optional[int], binds: Sequence[str] = (), root: str = "/"
) -> dict[str, Any]:
    """``{port, sentinel_port, binds, holdings, owned}``; the first two only where a number was given.

    ``port``: see ``Running.port``; ``binds``: the same by address. ``holdings``: ``{complete, servers, data}``;
    ``servers`` are ``{pid, name, exe, unit, port, ports, config, dir}`` of every running server, ``data`` are ``{path,
    kind, size, age_s, empty}`` of every RDB and AOF; ``empty``: it surely holds no key. ``owned``: see
    ``ownership.owned``.
    """
    running = Running(root)
    servers = running.servers()
    found: dict[str, Any] = {}
    for name, number in (("port", port), ("sentinel_port", sentinel_port)):
        if number:
            found[name] = running.port(number, servers)
    if binds:
        found["binds"] = {
            bind: running.port(place[1], servers, place[0]) for bind in binds if (place := place_of(bind))
        }
    disk = _Disk(root)
    rows = [_row(one, disk.config_of(one), port) for one in servers]
    data = disk.data(servers)
    found["holdings"] = {"complete": running.complete and disk.complete, "servers": rows, "data": data}
    found["owned"] = ownership.owned(root)
    return found


def _row(one: Process, config: str, port: Optional[int]) -> dict[str, Any]:
    first = one.ports[0] if one.ports else 0
    return {
        "pid": one.pid,
        "name": one.name,
        "exe": one.exe,
        "unit": one.unit,
        "port": port if port in one.ports else first,
        "ports": one.ports,
        "config": config,
        "dir": one.folder,
    }


class _Disk:
    """One look at a host's folders."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.complete = True
        self._end = time.monotonic() + SECONDS
        self._units = dict(self._read_units())

    def config_of(self, one: Process) -> str:
        """The configuration file of a running server: of its command line, else of its unit's; empty if unknown."""
        named = [word for word in one.arguments[1:] if word.startswith("/") and os.path.isfile(self._at(word))]
        template = re.sub(r"^([^@]*)@.*\.", r"\1@.", one.unit)
        for name in (one.unit, template):
            named += [path for path in self._units.get(name, ([], ""))[0] if not _instance_of_other(path, one.unit)]
        return named[0] if named else ""

    def data(self, servers: Iterable[Process]) -> list[dict[str, Any]]:
        """Every RDB and AOF in the folders that anything names."""
        configs = {path for one in servers if (path := self.config_of(one))}
        folders = {f"/proc/{one.pid}/cwd": one.folder for one in servers}
        for paths, working in self._units.values():
            configs.update(paths)
            folders.update({working: working} if working else {})
        for folder in CONFIG_FOLDERS:
            configs.update(f"/{folder}/{name}" for name in self._listed(f"/{folder}") if name.endswith(".conf"))
        names: set[str] = {"dump.rdb", "appendonlydir"}
        for path in self._bounded(sorted(configs), MOST_CONFIGS):
            folders.update(self._named(path, names))
        rows: dict[tuple[int, int], dict[str, Any]] = {}
        for folder, shown in self._bounded(sorted(folders.items()), MOST_FOLDERS):
            self._collect(folder, shown, names, False, rows)
        for folder in DATA_FOLDERS:
            self._collect(f"/{folder}", f"/{folder}", names, True, rows)
        return self._bounded(sorted(rows.values(), key=lambda row: str(row["path"])), MOST_DATA)

    def _named(self, config: str, names: set[str], depth: int = 4) -> dict[str, str]:
        """``{folder: folder}`` that a configuration file puts data into; names of files go to ``names``."""
        text = self._text(config)
        folders = {}
        for name, words in directives(text or ""):
            word = (words or [""])[0]
            if name == "dir" and word:
                folder = os.path.normpath(os.path.join(os.path.dirname(config), word))
                folders[folder] = folder
            elif name in ("dbfilename", "appenddirname", "appendfilename") and word and "/" not in word:
                names.add(word)
            elif name == "include" and word and depth:
                for path in sorted(glob.glob(self._at(word)))[:MOST_CONFIGS]:
                    folders.update(self._named(self._shown(path), names, depth - 1))
        return folders

    def _collect(self, folder: str, shown: str, names: set[str], deep: bool, rows: dict[Any, dict[str, Any]]) -> None:
        """Adds a folder's files of data, and those of an append-only file's folder in it; of all where ``deep``."""
        for name in self._listed(folder):
            path, said = os.path.join(folder, name), os.path.join(shown, name)
            try:
                state = os.stat(self._at(path), follow_symlinks=not deep)
            except OSError as error:
                self._missed(error)
                continue
            if stat.S_ISDIR(state.st_mode) and (deep or name in names) and said.count("/") < 8:
                self._collect(path, said, names, deep, rows)
            elif stat.S_ISREG(state.st_mode) and _is_data(name, names):
                rows.setdefault((state.st_dev, state.st_ino), self._data_row(path, said, state, folder))

    def _data_row(self, path: str, shown: str, state: os.stat_result, folder: str) -> dict[str, Any]:
        log = ".aof" in os.path.basename(path) or os.path.basename(folder).startswith("appendonly")
        return {
            "path": shown,
            "kind": "aof" if log else "rdb",
            "size": state.st_size,
            "age_s": round(max(0.0, time.time() - state.st_mtime), 1),
            "empty": state.st_size == 0 or rdb_keyless(self._start(path)),
        }

    def _read_units(self) -> Iterable[tuple[str, tuple[list[str], str]]]:
        """(name, ([configuration files], working folder)) of each unit whose command is a server's."""
        folders = [folder for folder in UNIT_FOLDERS if not os.path.islink(self._at(f"/{folder.split('/')[0]}"))]
        for path in [f"/{folder}/{name}" for folder in folders for name in self._listed(f"/{folder}")]:
            text = (self._text(path) or "") if path.endswith(".service") else ""
            commands = [line for line in _EXEC.findall(text) if SERVER.search(line)]
            if commands:
                working = _WORKING.search(text)
                paths = [config for line in commands for config in self._configs_in(line)]
                yield os.path.basename(path), (paths, working[1] if working and "%" not in working[1] else "")

    def _configs_in(self, command: str) -> list[str]:
        """Configuration files in a unit's command; an instance's name in it stands for all instances."""
        words = [word.strip("\"'") for word in command.split()[1:]]
        patterns = [re.sub(r"%[iIjJ]", "*", word) for word in words if word.startswith("/") and word.endswith(".conf")]
        return [
            self._shown(path)
            for pattern in patterns
            if "%" not in pattern
            for path in sorted(glob.glob(self._at(pattern)))[:MOST_CONFIGS]
        ]

    def _text(self, path: str) -> Optional[str]:
        """A regular file's text; None where there is none. One that cannot be read hides something."""
        data = self._start(path, MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            self.complete = False
        return data[:MOST_BYTES].decode("utf-8", "replace") if data else None

    def _start(self, path: str, limit: int = 2048) -> bytes:
        try:
            handle = os.open(self._at(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            self._missed(error)
            return b""
        with os.fdopen(handle, "rb") as file:
            return file.read(limit) if stat.S_ISREG(os.fstat(handle).st_mode) else b""

    def _listed(self, folder: str) -> list[str]:
        if time.monotonic() > self._end:
            self.complete = False
            return []
        try:
            return self._bounded(sorted(os.listdir(self._at(folder))), MOST_NAMES)
        except OSError as error:
            self._missed(error)
            return []

    def _bounded(self, items: list[Any], most: int) -> list[Any]:
        self.complete = self.complete and len(items) <= most
        return items[:most]

    def _missed(self, error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError, ProcessLookupError)):
            self.complete = False

    def _at(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))

    def _shown(self, path: str) -> str:
        return "/" + os.path.relpath(path, self.root)


def _instance_of_other(path: str, unit: str) -> bool:
    """Whether a template's configuration file belongs to another instance than the unit's."""
    instance = unit.partition("@")[2].removesuffix(".service")
    return bool(instance) and instance not in path


def _is_data(name: str, names: set[str]) -> bool:
    return name in names or name.endswith((".rdb", ".aof"))

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings of Redis or Valkey: how redis.conf writes them, when two mean the same, what to change where.

Pure functions; ``configure`` reads and acts. Tables of settings were taken from CONFIG SET's answers on Redis 7.0,
8.0 and Valkey 8.1.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Optional

from ..errors import LifelineError

HIDDEN = "(hidden)"
UNREADABLE = "(unreadable)"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SECRETS = frozenset({"masterauth", "requirepass", "tls-key-file-pass", "tls-client-key-file-pass"})

# Fixed at the start, or protected from CONFIG SET: changed in the file, in force after a restart.
AT_START = _words(
    """
    aclfile always-show-logo aof_rewrite_cpulist aof-rewrite-cpulist appenddirname appendfilename bgsave_cpulist
    bgsave-cpulist bio_cpulist bio-cpulist cluster-config-file cluster-enabled cluster-port daemonize databases
    dbfilename dir disable-thp enable-debug-command enable-module-command enable-protected-configs io-threads
    io-threads-do-reads logfile pidfile rdbchecksum server_cpulist server-cpulist set-proc-title socket-mark-id
    supervised syslog-enabled syslog-facility syslog-ident tcp-backlog unixsocket unixsocketgroup unixsocketperm
    """
)

# What is decided elsewhere, with the reason that the operator reads.
REFUSED = {
    "replicaof": "the live topology decides who follows whom",
    "slaveof": "the live topology decides who follows whom",
    "user": "ACL users belong in the ACL file",
    "include": "CONFIG REWRITE and included files undo each other's work",
    "rename-command": "renamed commands break Sentinel; ACL users limit commands",
    "loadmodule": "a module is loaded by the file that the server starts with",
}

_OLD_NAMES = (
    ("slave", "replica"),
    ("ziplist", "listpack"),
    ("primaryauth", "masterauth"),
    ("primaryuser", "masteruser"),
)
_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}
_SIZE = re.compile(r"(-?\d+)(b|k|kb|m|mb|g|gb)?", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=,*-]+")
_UNQUOTED = re.compile(r"[!-~]+")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "a": "\a"}


# --- how redis.conf writes values ---------------------------------------------------------------------------------


def quote(value: object) -> str:
    """One argument as redis.conf and sentinel.conf read it back; plain where that is safe.

    Raises LifelineError for a NUL character, which no server accepts.
    """
    text = str(value)
    if "\0" in text:
        raise LifelineError("A value for Redis' configuration holds a NUL character; leave it out.")
    if _PLAIN.fullmatch(text):
        return text
    quoted = []
    for byte in text.encode("utf-8", "surrogateescape"):
        character = chr(byte)
        if character in '"\\':
            quoted.append("\\" + character)
        elif 0x20 <= byte < 0x7F:
            quoted.append(character)
        else:
            quoted.append(f"\\x{byte:02x}")
    return '"' + "".join(quoted) + '"'


def split(line: str) -> list[str]:
    """The arguments of one line, as the server's own parser splits them.

    Raises ValueError where the server would refuse the line (unbalanced quotes, text right after a closing quote).
    """
    arguments: list[str] = []
    position, end = 0, len(line)
    while True:
        while position < end and line[position].isspace():
            position += 1
        if position >= end:
            return arguments
        argument, position = _argument(line, position)
        arguments.append(argument)


def _argument(line: str, position: int) -> tuple[str, int]:
    """One argument from ``position`` on, and where it ends."""
    found: list[bytes] = []
    end = len(line)
    while position < end and not line[position].isspace():
        character = line[position]
        if character in "\"'":
            content, position = _quoted(line, position + 1, character)
            found.append(content)
            if position < end and not line[position].isspace():
                raise ValueError("text right after a closing quote")
            break
        found.append(character.encode("utf-8", "surrogateescape"))
        position += 1
    return b"".join(found).decode("utf-8", "surrogateescape"), position


def _quoted(line: str, position: int, mark: str) -> tuple[bytes, int]:
    """The bytes between quotes that were opened before ``position``, and the position after the closing one."""
    found: list[bytes] = []
    while position < len(line):
        character = line[position]
        if character == mark:
            return b"".join(found), position + 1
        following = line[position + 1 : position + 2]
        if mark == '"' and character == "\\" and following:
            code = line[position + 2 : position + 4]
            if following == "x" and re.fullmatch("[0-9A-Fa-f]{2}", code):
                found.append(bytes([int(code, 16)]))
                position += 4
                continue
            found.append(_ESCAPES.get(following, following).encode("utf-8", "surrogateescape"))
            position += 2
        elif mark == "'" and character == "\\" and following == "'":
            found.append(b"'")
            position += 2
        else:
            found.append(character.encode("utf-8", "surrogateescape"))
            position += 1
    raise ValueError("unbalanced quotes")


def name_of(directive: str) -> str:
    """A setting's name here: lower case, one name for those that have two (``replica-...`` for ``slave-...``, ...)."""
    name = directive.lower()
    for old, new in _OLD_NAMES:
        name = name.replace(old, new)
    return name


def directives(text: str) -> list[tuple[str, Optional[list[str]]]]:
    """``[(name, arguments)]`` of a configuration file in order, comments left out.

    Arguments are None where the server could not read the line: Valkey 8.1 writes such lines itself, when a value
    holds quotes or backslashes.
    """
    found: list[tuple[str, Optional[list[str]]]] = []
    for line in text.split("\n"):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            parts = split(stripped)
        except ValueError:
            found.append((name_of(stripped.split()[0]), None))
        else:
            found.append((name_of(parts[0]), parts[1:]))
    return found


def file_values(text: str) -> dict[str, str]:
    """The file's settings in the form that CONFIG GET shows them. Later lines win; ``save`` lines add up."""
    values: dict[str, str] = {}
    for name, arguments in directives(text):
        if arguments is None:
            values[name] = UNREADABLE
        elif name == "save":
            points = " ".join(arguments).strip()
            values[name] = f"{values.get(name, '')} {points}".strip() if points else ""
        elif name == "client-output-buffer-limit":
            values[name] = f"{values.get(name, '')} {' '.join(arguments)}".strip()
        else:
            values[name] = " ".join(arguments)
    return values


def stored_password(password: str) -> str:
    """The form of a password that every server can keep in its own file: the password itself, unless it has blanks,
    quotes or backslashes.

    Sentinel writes passwords without quotes (seen on Redis 7.0 and 8.0 and on Valkey 8.1), and Valkey 8.1 writes quotes
    and backslashes as they are; neither can start again from such a file. Such a password is replaced by a digest of
    it. The ACL file holds other digests, which tell nothing of this one.
    """
    if not password or (_UNQUOTED.fullmatch(password) and not set("\"'\\") & set(password)):
        return password
    return hashlib.sha256(b"lifeline stored password\0" + password.encode()).hexdigest()


def edited(text: str, changes: Mapping[str, str]) -> str:
    """The file's text with these settings changed: in place where it has them, at the end where it has not."""
    lines = text.split("\n")
    for name, value in changes.items():
        first: Optional[int] = None
        kept: list[str] = []
        for line in lines:
            stripped = line.strip()
            head = stripped.split(None, 1)[0] if stripped and not stripped.startswith("#") else ""
            if name_of(head) == name:
                if first is None:
                    first = len(kept)
                continue
            kept.append(line)
        if first is None:
            first = len(kept) - 1 if kept and kept[-1] == "" else len(kept)
        kept[first:first] = _lines(name, value)
        lines = kept
    return "\n".join(lines)


def drift(text: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """Those of ``wanted`` that the file does not set to that value."""
    have = file_values(text)
    return {name: value for name, value in wanted.items() if name not in have or not same(name, have[name], value)}


def _lines(name: str, value: str) -> list[str]:
    """The lines that set one setting."""
    if name == "client-output-buffer-limit":
        words = value.split()
        return [f"{name} {' '.join(words[at : at + 4])}" for at in range(0, len(words), 4)]
    if name in _SEVERAL:
        return [" ".join((name, *map(quote, value.split())))] if value.split() else [f'{name} ""']
    return [f"{name} {quote(value)}"]


# Settings whose value is several arguments on the line.
_SEVERAL = frozenset({"save", "bind", "oom-score-adj-values", "latency-tracking-info-percentiles"})


def lines(settings: Mapping[str, object]) -> str:
    """A whole configuration file that sets ``settings``, in their order."""
    found: list[str] = []
    for name, value in settings.items():
        found += _lines(name_of(name), text_of(value))
    return "\n".join(found) + "\n"


# --- values -------------------------------------------------------------------------------------------------------


def text_of(value: object) -> str:
    """An inventory's value as CONFIG SET takes it: true is ``yes``, nothing is empty, a list is its words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return " ".join(text_of(item) for item in value)
    return str(value)


def _limits(value: str) -> dict[str, tuple[int, ...]]:
    """``client-output-buffer-limit`` as ``{class: (hard bytes, soft bytes, seconds)}``."""
    words = value.lower().split()
    return {
        words[at].replace("slave", "replica"): tuple(bytes_of(word) for word in words[at + 1 : at + 4])
        for at in range(0, len(words), 4)
    }


def bytes_of(word: str) -> int:
    """A number with or without a unit, in bytes; -1 where it is none."""
    match = _SIZE.fullmatch(word)
    return int(match[1]) * _UNITS[(match[2] or "").lower()] if match else -1


def same(name: str, current: str, wanted: str) -> bool:
    """Whether two values of a setting mean the same to the server."""
    if current == wanted:
        return True
    if name in SECRETS:
        return False
    compare = _COMPARE.get(name)
    if compare:
        return compare(current, wanted)
    if _SIZE.fullmatch(current) and _SIZE.fullmatch(wanted):
        return bytes_of(current) == bytes_of(wanted)
    return current.split() == wanted.split() or (current.lower() == wanted.lower() and current.lower() in _ANY_CASE)


def _same_limits(current: str, wanted: str) -> bool:
    """Classes that are not wanted may be anything."""
    have = _limits(current)
    return all(have.get(kind) == limits for kind, limits in _limits(wanted).items())


def _same_mode(current: str, wanted: str) -> bool:
    return all(re.fullmatch("[0-7]+", word) for word in (current, wanted)) and int(current, 8) == int(wanted, 8)


def _same_events(current: str, wanted: str) -> bool:
    """``A`` stands for the event classes that it gathers."""
    return set(current.replace("A", "g$lshztxed")) == set(wanted.replace("A", "g$lshztxed"))


_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "client-output-buffer-limit": _same_limits,
    "unixsocketperm": _same_mode,
    "notify-keyspace-events": _same_events,
}

# Values that the server reads in any case; a path or a name is not among them.
_ANY_CASE = _words(
    """
    yes no local always everysec noeviction allkeys-lru allkeys-lfu allkeys-random volatile-lru volatile-lfu
    volatile-random volatile-ttl debug verbose notice warning nothing optional
    """
)


@dataclass
class Plan:
    """``live``: what CONFIG SET changes. ``in_file``: what is edited. ``restart``: what a restart brings into force.

    ``rewrite``: the running values are right and the file's are not. ``deferred``: ``{name: why not now}``.
    """

    live: dict[str, str] = field(default_factory=dict)
    in_file: dict[str, str] = field(default_factory=dict)
    restart: list[str] = field(default_factory=list)
    rewrite: bool = False
    deferred: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)

    def note(self, name: str, current: Optional[str], wanted: str) -> None:
        """Keep one setting's change for the diff; a secret only as the fact that it changes."""
        secret = name in SECRETS
        self.before[name] = f"{HIDDEN} old" if secret else (current if current is not None else "(not set)")
        self.after[name] = f"{HIDDEN} new" if secret else wanted


def checked(settings: Mapping[str, object]) -> dict[str, str]:
    """Wanted settings by present name. Raises LifelineError for one that is not a setting of ours to change."""
    found = {}
    for directive, value in settings.items():
        name = name_of(directive)
        if name in REFUSED:
            raise LifelineError(f"{directive} cannot be set here: {REFUSED[name]}. Remove it from the settings.")
        found[name] = text_of(value)
    return found


def plan(
    running: Optional[Mapping[str, str]],
    in_file: Optional[Mapping[str, str]],
    wanted: Mapping[str, str],
    aof_missing: bool = False,
) -> Plan:
    """What to do. ``running`` None: the server is down; ``in_file`` None: there is no file to look at.

    ``aof_missing``: the data directory holds an RDB file and no append only file. Starting such a server with
    appendonly set makes it start empty (fault F18), so a stopped one keeps what it has.
    """
    result = Plan()
    for name, value in wanted.items():
        kept = in_file.get(name) if in_file is not None else None
        file_right = kept is not None and same(name, kept, value)
        if running is None:
            if in_file is None or file_right:
                continue
            if name == "appendonly" and value == "yes" and aof_missing:
                result.deferred[name] = "the server is down and has an RDB file only; it is switched on when it runs"
                continue
            result.in_file[name] = value
            result.note(name, kept, value)
            continue
        current = running[name]
        if same(name, current, value):
            if kept is not None and not file_right:
                result.rewrite = True
                result.note(f"{name} (in the file)", kept, value)
        elif name in AT_START:
            result.restart.append(name)
            if in_file is not None and not file_right:
                result.in_file[name] = value
                result.note(name, current, value)
        else:
            result.live[name] = value
            result.note(name, current, value)
    return result


def unknown(wanted: Mapping[str, str], running: Mapping[str, str], server: str) -> Optional[str]:
    """A sentence about the settings that this server has not, or None."""
    missing = sorted(set(wanted) - set(running))
    if not missing:
        return None
    close = difflib.get_close_matches(missing[0], sorted(running), 1)
    hint = f"did you mean {close[0]}?" if close else "remove it from the settings."
    return f"{server} has no setting {', '.join(missing)}: {hint}"


# --- a server that is safe to restart -----------------------------------------------------------------------------


def restart_objection(info: Mapping[str, Any], running: Mapping[str, str], keys: int) -> str:
    """Why stopping and starting this server now would lose data or hang; empty when it would not.

    ``info`` is INFO's reply, ``keys`` the number of keys in all databases. A replica can always fetch its data again.
    """
    if str(info.get("role")) != "master" or keys == 0:
        return ""
    appends = running.get("appendonly") == "yes"
    if not appends and not running.get("save", "").strip():
        return "it is a primary that keeps nothing on disk: it would come back empty and empty its replicas"
    if appends and str(info.get("aof_last_write_status", "ok")) != "ok":
        return "its last write to the append only file failed: stopping it would hang or lose data"
    if not appends and str(info.get("rdb_last_bgsave_status", "ok")) != "ok":
        return "its last save failed: stopping it would hang or lose data"
    return ""

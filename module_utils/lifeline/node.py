# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring one node to its place: started as the primary it was, or following the live primary.

Runs on the node's own host, since it may have to start the unit, edit the configuration file of a stopped server, and
keep a copy of the data. A running replica is never promoted here; that is ``failover``'s.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import closing, suppress
from typing import Any, Callable, Mapping, Optional

from .client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from .errors import LifelineError
from .observe import data_files, node_view, unit_states
from .surplus import surplus_between
from .waiting import until

# Copies that a run kept lie beside the data, on the same file system, so that snapshots need no second copy.
PRESERVE_DIR = "lifeline-preserved"

# Seconds for which the way to a primary may be closed before the link is not waited for: a restart is shorter.
REACH_S = 10.0

_FOLLOWS = re.compile(r"\s*(replicaof|slaveof)\s", re.IGNORECASE)


def ensure_role(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Module ``redis_node``: see its documentation for ``params`` and the result.

    Raises LifelineError when the node does not get to its role within ``timeout`` seconds.
    """
    job = _Job(params)
    return job.as_primary(check) if params["role"] == "primary" else job.as_replica(check)


def follow_in_text(text: str, host: str, port: int) -> str:
    """A redis.conf whose only replicaof line names ``host port``; no such line without a host."""
    lines = [line for line in text.splitlines() if not _FOLLOWS.match(line)]
    while lines and not lines[-1].strip():
        lines.pop()
    return "\n".join([*lines, *([f"replicaof {host} {port}"] if host else []), ""])


class _Job:
    def __init__(self, params: dict[str, Any]) -> None:
        self.endpoint = Endpoint.from_params(params)
        self.credentials = Credentials.from_params(params)
        self.unit: str = params["unit"]
        self.config_file: str = params["config_file"]
        self.primary_host: str = params["primary_host"]
        self.primary_port: int = params["primary_port"]
        self.preserve: bool = params["preserve"]
        self.wait_link: bool = params["wait_link"]
        self.fresh: bool = params["fresh"]
        self.kill: bool = params["kill"]
        self.elected: bool = params["elected"]
        self.deadline = time.monotonic() + float(params["timeout"])
        self.timeout = float(params["timeout"])
        self.commands: list[str] = []
        self.kept: Optional[dict[str, Any]] = None
        self.paused = False

    def view(self) -> dict[str, Any]:
        return node_view(self.endpoint, self.credentials)

    def as_primary(self, check: bool) -> dict[str, Any]:
        """Start a dead primary from the data on its disk. Never turns a replica into a primary."""
        view = self.view()
        if view["reachable"]:
            if view["role"] == "master":
                return self._result(changed=False)
            raise LifelineError(
                f"{self.endpoint} runs as a replica; redis_node does not promote it. Use redis_failover for that."
            )
        files = data_files(self.config_file)
        if files.get("replicaof") and not self.elected:
            raise LifelineError(
                f"{self.config_file} says that this node follows {' '.join(files['replicaof'])}, so it was not started "
                "as a primary; start it as a replica, or fail over."
            )
        if self.elected:
            self._seed("", 0, check)
        self._start(check)
        if not check:
            self._wait_until(
                lambda view: view["role"] == "master" and not view["loading"], "a primary that takes commands"
            )
        return self._result(changed=True)

    def as_replica(self, check: bool) -> dict[str, Any]:
        """Follow the live primary, started first if need be; ``wait_link`` waits until the link is up."""
        view = self.view()
        if view["reachable"]:
            if self._follows(view):
                self._wait_linked(check)
                return self._result(changed=False)
            try:
                return self._turn(view, check)
            finally:
                self._release()
        if self._starting() and not self.kill:
            self._wait_linked(check)
            return self._result(changed=False)
        preserved = self._set_aside(check) if self.fresh else self._preserve(check)
        self._seed(self.primary_host, self.primary_port, check)
        self._end(check)
        self._start(check)
        self._wait_linked(check)
        return self._result(changed=True, preserved=preserved)

    def _wait_linked(self, check: bool) -> None:
        if not self.wait_link or check:
            return
        primary = Endpoint(self.primary_host, self.primary_port)
        if not until(lambda: accepts(primary), min(REACH_S, self._left())):
            raise LifelineError(
                f"{self.endpoint} is told to follow {primary}, and for {REACH_S:.0f} s its host could not open a "
                "connection there, so it was not waited for; it links by itself once the network and the firewalls "
                "between the two let it.",
                commands=self.commands,
            )
        self._wait_until(self._linked, f"a replica of {primary} whose link is up")

    def _starting(self) -> bool:
        """Whether systemd is starting it as the replica it should be; until it answers, only its file can tell."""
        unit = unit_states([self.unit]).get(self.unit, {})
        if unit.get("active") not in ("active", "activating") or unit.get("sub") == "auto-restart":
            return False
        return data_files(self.config_file).get("replicaof") == [self.primary_host, str(self.primary_port)]

    def _turn(self, view: dict[str, Any], check: bool) -> dict[str, Any]:
        preserved = self._quarantine(view, check) if view["role"] == "master" else self._preserve(check)
        self.commands += [f"REPLICAOF {self.primary_host} {self.primary_port}", "CONFIG REWRITE"]
        if view["role"] == "master":
            self.commands.append("CLIENT KILL TYPE normal SKIPME yes")
        if check:
            return self._result(changed=True, preserved=preserved)
        try:
            with closing(connect(self.endpoint, self.credentials)) as client:
                client.execute_command("REPLICAOF", self.primary_host, self.primary_port)
                client.execute_command("CONFIG", "REWRITE")
                if view["role"] == "master":
                    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        except CONNECTION_ERRORS as error:
            raise LifelineError(
                f"{self.endpoint} could not be made a replica of {self.primary_host}:{self.primary_port}: "
                f"{reason(error)}; "
                "run recover.yml again to go on from here."
            ) from error
        self._wait_linked(check)
        return self._result(changed=True, preserved=preserved)

    def _release(self) -> None:
        """Let writers go on; as a replica, the server tells them where they are."""
        if self.paused:
            with suppress(*CONNECTION_ERRORS), closing(connect(self.endpoint, self.credentials)) as client:
                client.execute_command("CLIENT", "UNPAUSE")

    def _follows(self, view: dict[str, Any]) -> bool:
        primary = view.get("primary") or {}
        return (primary.get("host"), primary.get("port")) == (self.primary_host, self.primary_port)

    def _linked(self, view: dict[str, Any]) -> bool:
        return self._follows(view) and bool(view["primary"]["link_up"])

    def _seed(self, host: str, port: int, check: bool) -> None:
        """A stopped server is told by its file whom it follows, if any; owner and mode stay as they are."""
        try:
            with open(self.config_file, encoding="utf-8", errors="surrogateescape") as handle:
                text = handle.read()
        except OSError as error:
            raise LifelineError(
                f"{self.config_file} cannot be read: {error.strerror}; run playbooks/provision.yml."
            ) from error
        wanted = follow_in_text(text, host, port)
        if wanted == text:
            return
        self.commands.append(f"{self.config_file}: {f'replicaof {host} {port}' if host else 'no replicaof'}")
        if check:
            return
        state = os.stat(self.config_file)
        draft = f"{self.config_file}.lifeline"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as handle:
            handle.write(wanted)
        os.chown(draft, state.st_uid, state.st_gid)
        os.chmod(draft, state.st_mode & 0o7777)
        os.replace(draft, self.config_file)

    def _end(self, check: bool) -> None:
        """Kill a process that hangs, once its file says whom it follows: systemd may start it again by itself."""
        if not self.kill:
            return
        command = ["systemctl", "kill", "--signal=KILL", self.unit]
        self.commands.append(" ".join(command))
        if not check:
            subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    def _set_aside(self, check: bool) -> Optional[str]:
        """Move data that does not load out of the way, and keep it. Returns its new directory. Raises LifelineError."""
        files, target = self._place()
        source = files["dir"]
        names = [name for name in sorted(os.listdir(source)) if name != PRESERVE_DIR]
        self.commands.append(f"move {', '.join(names) or 'nothing'} from {source} to {target}")
        if check or not names:
            return target if names else None
        try:
            os.makedirs(target, mode=0o700)
            for name in names:
                os.rename(os.path.join(source, name), os.path.join(target, name))
        except OSError as error:
            raise LifelineError(
                f"The data in {source} cannot be moved aside ({error.strerror}); run this again to go on from here."
            ) from error
        self.kept = {"path": target, "keys": None, "bytes": None, "surplus_bytes": None}
        return target

    def _start(self, check: bool) -> None:
        """Start the unit; a start limit that was hit has to be cleared first (fault F13)."""
        commands = [["systemctl", "reset-failed", self.unit], ["systemctl", "start", "--no-block", self.unit]]
        self.commands += [" ".join(command) for command in commands]
        if check:
            return
        for command in commands:
            subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    def _left(self) -> float:
        return self.deadline - time.monotonic()

    def _wait_until(self, fits: Callable[[dict[str, Any]], bool], what: str) -> None:
        view: dict[str, Any] = {}
        unit: dict[str, Any] = {}

        def ended() -> bool:
            nonlocal view, unit
            view = self.view()
            if view["reachable"] and fits(view):
                return True
            unit = unit_states([self.unit]).get(self.unit, {}) if self.unit else {}
            return unit.get("active") == "failed"

        if until(ended, self._left()) and view["reachable"] and fits(view):
            return
        state = f"unit {self.unit} is {unit.get('active', 'unknown')}" if unit else "no unit given"
        within = f" within {self.timeout:.0f} s" if self._left() <= 0 else ""
        raise LifelineError(
            f"{self.endpoint} did not become {what}{within}: "
            f"{view['error'] or view.get('primary')}; "
            f"{state}. See journalctl -u {self.unit} and the server's log on that host.",
            commands=self.commands,
        )

    def _quarantine(self, view: dict[str, Any], check: bool) -> Optional[str]:
        """Keep what a running primary holds as an RDB file before it follows another; returns its directory.

        Its writers wait from before the snapshot until it follows, so that what they wrote last is in the copy too.
        """
        if not self.preserve:
            return None
        files, target = self._place()
        if int(files.get("free_bytes") or 0) < view["used_memory"]:
            raise LifelineError(
                f"{files['dir']} has {files.get('free_bytes')} bytes free and {self.endpoint} holds "
                f"{view['used_memory']} bytes, so its data cannot be kept; nothing was changed. Free some space."
            )
        others = node_view(Endpoint(self.primary_host, self.primary_port), self.credentials)
        surplus = surplus_between(others, view) if others["reachable"] else None
        self.commands += ["CLIENT PAUSE", f"BGSAVE, keep the snapshot in {target}"]
        self.kept = {"path": target, "keys": view["keys"], "bytes": None, "surplus_bytes": surplus}
        if check:
            return target
        client = connect(self.endpoint, self.credentials)
        try:
            client.execute_command("CLIENT", "PAUSE", int(self.timeout * 1000), "WRITE")
            self.paused = True
            self._snapshot()
            self.kept["keys"] = self.view().get("keys")
            folder, name = (next(iter(client.config_get(word).values())) for word in ("dir", "dbfilename"))
        except CONNECTION_ERRORS as error:
            raise LifelineError(
                f"{self.endpoint} could not be saved before it follows: {reason(error)}; nothing was changed."
            ) from error
        finally:
            client.close()
        copy = os.path.join(target, name)
        try:
            os.makedirs(target, mode=0o700)
            os.link(os.path.join(folder, name), copy)  # Redis replaces its snapshot by rename
        except OSError as error:
            raise LifelineError(f"{copy} cannot be made ({error.strerror}); nothing was changed.") from error
        in_copy = keys_in(copy)
        self.kept.update(bytes=os.path.getsize(copy), keys=self.kept["keys"] if in_copy is None else in_copy)
        return target

    def _place(self) -> tuple[dict[str, Any], str]:
        """What lies on disk, and where a copy of it goes. Raises LifelineError."""
        files = data_files(self.config_file)
        source = files.get("dir")
        if not source:
            raise LifelineError(
                f"{self.config_file} names no data directory, so nothing can be kept; nothing was changed."
            )
        return files, os.path.join(source, PRESERVE_DIR, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))

    def _preserve(self, check: bool) -> Optional[str]:
        """Copy what is on disk before a resync overwrites it. Returns the copy's directory."""
        if not self.preserve:
            return None
        files, target = self._place()
        source = files["dir"]
        self.commands.append(f"keep a copy of {source} in {target}")
        if check:
            return target
        needed = int((files.get("aof") or {}).get("size", 0))
        if (files.get("free_bytes") or 0) < needed:
            raise LifelineError(
                f"{source} has {files.get('free_bytes')} bytes free and the copy needs {needed}; nothing was "
                "changed. Free some space."
            )
        copy_data(source, target)
        sizes = [os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(target) for name in names]
        self.kept = {"path": target, "keys": None, "bytes": sum(sizes), "surplus_bytes": None}
        return target

    def _snapshot(self) -> None:
        """An RDB of now, so that the copy holds what the memory holds."""
        info: dict[str, Any] = {}

        def done() -> bool:
            info.update(client.info("persistence"))
            return not info["rdb_bgsave_in_progress"]

        try:
            with closing(connect(self.endpoint, self.credentials)) as client:
                client.execute_command("BGSAVE", "SCHEDULE")
                if not until(done, self._left()):
                    raise LifelineError(
                        f"{self.endpoint} did not finish a snapshot within {self.timeout:.0f} s; nothing was changed."
                    )
        except CONNECTION_ERRORS as error:
            raise LifelineError(
                f"{self.endpoint} could not be saved before it follows: {reason(error)}; nothing was changed."
            ) from error
        if info["rdb_last_bgsave_status"] != "ok":
            raise LifelineError(
                f"The snapshot of {self.endpoint} failed (see its log); nothing was changed. Free some disk space."
            )

    def _result(self, changed: bool, preserved: Optional[str] = None) -> dict[str, Any]:
        kept = {**self.kept, "text": kept_text(self.kept)} if self.kept else None
        return {"changed": changed, "commands": self.commands, "preserved": preserved, "quarantine": kept}


def accepts(endpoint: Endpoint, seconds: float = 2.0) -> bool:
    """Whether a connection to it can be opened from this host within so many seconds; no word is said on it."""
    try:
        with socket.create_connection((endpoint.host, endpoint.port), seconds):
            return True
    except OSError:
        return False


def kept_text(kept: Mapping[str, Any]) -> str:
    """A quarantined copy in words."""
    said = {
        "keys": "{} keys",
        "bytes": "{} bytes",
        "surplus_bytes": "of which the last {} bytes of writes are nowhere else",
    }
    words = [text.format(kept[what]) for what, text in said.items() if kept[what] is not None]
    return f"{kept['path']} ({', '.join(words)})" if words else str(kept["path"])


def keys_in(path: str) -> Optional[int]:
    """How many keys an RDB file holds, by the server's own checker; None where there is none.

    Raises LifelineError when the file is damaged.
    """
    checker = next(filter(None, map(shutil.which, ("redis-check-rdb", "valkey-check-rdb"))), None)
    if checker is None:
        return None
    done = subprocess.run([checker, path], capture_output=True, text=True, errors="replace", timeout=600, check=False)
    found = re.search(r"\b(\d+) keys read", done.stdout)
    if done.returncode or not found:
        raise LifelineError(f"{path} is damaged, says {checker}; nothing was changed. Look at the disk.")
    return int(found[1])


def copy_data(source: str, target: str) -> None:
    """Snapshots are linked (Redis replaces them by rename), append-only files that grow in place are copied."""
    os.makedirs(target, mode=0o700)
    for folder, _, names in os.walk(source):
        if PRESERVE_DIR in folder.split(os.sep):
            continue
        inside = os.path.join(target, os.path.relpath(folder, source))
        os.makedirs(inside, mode=0o700, exist_ok=True)
        for name in names:
            origin, copy = os.path.join(folder, name), os.path.join(inside, name)
            if name.endswith(".rdb") and not name.startswith("temp-"):
                os.link(origin, copy)
            elif ".aof" in name and not name.startswith("temp-"):
                shutil.copy2(origin, copy)

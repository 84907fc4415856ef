# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring one node to its place: started as the primary it was, or following the live primary.

Runs on the node's own host, since it may have to start the unit, edit the configuration file of a stopped server, and
keep a copy of the data. A running replica is never promoted here; that is ``failover``'s.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from contextlib import closing, suppress
from typing import Any, Callable, Optional

from ..common import atomic
from ..common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from ..common.commands import bounded
from ..common.waiting import until
from ..diagnose.history import surplus_between
from ..errors import LifelineError
from ..observe.access import identity
from ..observe.estate import node_view
from ..observe.files import data_files
from ..observe.units import unit_states
from .acting import config_of_server, unit_of_server
from .kept import Keeper, described, stamp
from .replicate import at_stake, replicaof
from .retention import Policy
from .snapshots import keep_snapshot

# Seconds for which the way to a primary may be closed before the link is not waited for: a restart is shorter.
REACH_S = 10.0

# Seconds for which old copies are compared with newer ones, while the server waits to follow.
COMPARE_S = 10.0

_FOLLOWS = re.compile(r"\s*(replicaof|slaveof)\s", re.IGNORECASE)


def ensure_role(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Module ``redis_role``: see its documentation for ``params`` and the result.

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
        self.wait_only: bool = params["wait_only"]
        self.may_lose: Optional[int] = params["accept_data_loss_bytes"]
        self.policy = Policy(params["keep_copies"], params["keep_copies_days"], params["keep_copies_free"])
        self.deadline = time.monotonic() + float(params["timeout"])
        self.timeout = float(params["timeout"])
        self.commands: list[str] = []
        self.kept: Optional[dict[str, Any]] = None
        self.dropped: list[str] = []
        self.warnings: list[str] = []
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
                f"{self.endpoint} runs as a replica; redis_role does not promote it. Use redis_failover for that."
            )
        self._ours()
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
        view = {} if self.wait_only else self.view()
        if self.wait_only or (view["reachable"] and self._follows(view)):
            self._wait_linked(check)
            return self._result(changed=False)
        if view["reachable"]:
            try:
                return self._turn(view, check)
            finally:
                self._release()
        if self._starting() and not self.kill:
            self._wait_linked(check)
            return self._result(changed=False)
        self._ours()
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
                **self._done(),
            )
        self._wait_until(self._linked, f"a replica of {primary} whose link is up")

    def _starting(self) -> bool:
        """Whether systemd is starting it as the replica it should be; until it answers, only its file can tell."""
        unit = unit_states([self.unit]).get(self.unit, {})
        if unit.get("active") not in ("active", "activating") or unit.get("sub") == "auto-restart":
            return False
        return data_files(self.config_file).get("replicaof") == [self.primary_host, str(self.primary_port)]

    def _turn(self, view: dict[str, Any], check: bool) -> dict[str, Any]:
        """A running server follows, once what only it may hold is kept: nobody's word stands in for that copy."""
        master = view["role"] == "master"
        if master and not check:
            view = self._hold()
        primary = node_view(Endpoint(self.primary_host, self.primary_port), self.credentials)
        stake = at_stake(view, primary)
        preserved = self._keep(view, primary, check) if stake or self.preserve else None
        self.commands += [f"REPLICAOF {self.primary_host} {self.primary_port}", "CONFIG REWRITE"]
        if master:
            self.commands.append("CLIENT KILL TYPE normal SKIPME yes")
        if check:
            return self._result(changed=True, preserved=preserved)
        known = bool(preserved) or self._given_up(surplus_between(primary, view))
        try:
            with closing(connect(self.endpoint, self.credentials)) as client:
                address = (self.primary_host, self.primary_port)
                replicaof(client.execute_command, address, view, primary, kept=known)
                self._remember(client)
                if master:
                    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        except CONNECTION_ERRORS as error:
            raise LifelineError(
                f"{self.endpoint} could not be made a replica of {self.primary_host}:{self.primary_port}: "
                f"{reason(error)}; "
                "run recover.yml again to go on from here.",
                **self._done(),
            ) from error
        self._wait_linked(check)
        return self._result(changed=True, preserved=preserved)

    def _hold(self) -> dict[str, Any]:
        """Let writers wait, and look again: what was written before that is in what is seen now."""
        try:
            with closing(connect(self.endpoint, self.credentials)) as client:
                client.execute_command("CLIENT", "PAUSE", int(self.timeout * 1000), "WRITE")
        except CONNECTION_ERRORS as error:
            raise LifelineError(
                f"The writers of {self.endpoint} could not be held: {reason(error)}; nothing was changed."
            ) from error
        self.paused = True
        view = self.view()
        if not view["reachable"]:
            raise LifelineError(f"{self.endpoint} no longer answers ({view['error']}); nothing was changed.")
        return view

    def _remember(self, client: Any) -> None:
        """It follows by now, whether or not it can write that down."""
        try:
            client.execute_command("CONFIG", "REWRITE")
        except CONNECTION_ERRORS as error:
            self.warnings.append(
                f"{self.endpoint} follows {self.primary_host}:{self.primary_port} now, but cannot save that in "
                f"{self.config_file} ({reason(error)}): at its next start it would go back to its old role. Let its "
                f"account write to {os.path.dirname(self.config_file)}, then run CONFIG REWRITE on it."
            )

    def _given_up(self, surplus: Optional[int]) -> bool:
        """Whether a person has said that so many bytes (None: nobody can tell) of this server's writes may be lost."""
        if self.may_lose is None:
            return False
        return self.may_lose < 0 or (surplus is not None and surplus <= self.may_lose)

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

    def _ours(self) -> None:
        """Raises LifelineError where the unit or the file to act upon is no server's, whoever named them."""
        config_of_server(self.config_file)
        unit_of_server(self.unit, unit_states([self.unit]).get(self.unit, {}))

    def _seed(self, host: str, port: int, check: bool) -> None:
        """A stopped server is told by its file whom it follows, if any; owner and mode stay as they are."""
        text = config_of_server(self.config_file)
        wanted = follow_in_text(text, host, port)
        if wanted == text:
            return
        self.commands.append(f"{self.config_file}: {f'replicaof {host} {port}' if host else 'no replicaof'}")
        if check:
            return
        try:
            atomic.write(self.config_file, wanted)
        except OSError as error:
            raise LifelineError(
                f"{self.config_file} cannot be written: {error.strerror}, so {self.endpoint} was not started: it would "
                "come back in its old role. Free that file, then run recover.yml again.",
                **self._done(),
            ) from error

    def _end(self, check: bool) -> None:
        """Kill a process that hangs, once its file says whom it follows: systemd may start it again by itself."""
        if not self.kill:
            return
        command = ["systemctl", "kill", "--signal=KILL", "--", self.unit]
        self.commands.append(" ".join(command))
        if not check:
            self._systemctl(command)

    def _systemctl(self, command: list[str]) -> None:
        """Tell systemd; what came of it is seen on the server. Raises LifelineError where it does not answer."""
        try:
            bounded(command, 30)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LifelineError(
                f"`{' '.join(command)}` did not end on this host: {error}. Run it by hand to see why.", **self._done()
            ) from error

    def _keeper(self) -> tuple[Keeper, dict[str, Any]]:
        """The server's data folder, and what lies in it. Raises LifelineError."""
        files = data_files(self.config_file)
        if not files.get("dir"):
            raise LifelineError(
                f"{self.config_file} names no data directory, so nothing can be kept; nothing was changed."
            )
        unit = unit_states([self.unit]).get(self.unit, {}) if self.unit else {}
        return Keeper(files["dir"], account(unit, self.config_file)), files

    def _set_aside(self, check: bool) -> Optional[str]:
        """Move data that does not load out of the way, and keep it. Returns its new directory. Raises LifelineError."""
        keeper, _files = self._keeper()
        names, name = keeper.names(), stamp(time.time())
        self.commands.append(f"move {', '.join(names) or 'nothing'} from {keeper.path} to {keeper.target(name)}")
        if check or not names:
            return keeper.target(name) if names else None
        target = keeper.set_aside(name)
        self.kept = {"path": target, "keys": None, "bytes": None, "surplus_bytes": None}
        return target

    def _start(self, check: bool) -> None:
        """Start the unit; a start limit that was hit has to be cleared first (fault F13)."""
        commands = [
            ["systemctl", "reset-failed", "--", self.unit],
            ["systemctl", "start", "--no-block", "--", self.unit],
        ]
        self.commands += [" ".join(command) for command in commands]
        if check:
            return
        for command in commands:
            self._systemctl(command)

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
            **self._done(),
        )

    def _keep(self, view: dict[str, Any], primary: dict[str, Any], check: bool) -> Optional[str]:
        """Keep what a running server holds as a checked RDB file; returns its directory.

        None where that is not possible and a person has said that it may be lost. Raises LifelineError.
        """
        surplus = surplus_between(primary, view) if primary["reachable"] else None
        try:
            return self._quarantine(view, surplus, check)
        except LifelineError as error:
            if not self._given_up(surplus):
                raise
            self.warnings.append(f"No copy was kept, as was accepted: {error}")
            return None

    def _quarantine(self, view: dict[str, Any], surplus: Optional[int], check: bool) -> str:
        keeper, files = self._keeper()
        name = stamp(time.time())
        if int(files.get("free_bytes") or 0) < view["used_memory"]:
            raise LifelineError(
                f"{keeper.path} has {files.get('free_bytes')} bytes free and {self.endpoint} holds "
                f"{view['used_memory']} bytes, so its data cannot be kept; nothing was changed. Free space on "
                f"{keeper.path}, then run recover.yml again."
            )
        self.commands += ["CLIENT PAUSE", f"BGSAVE, keep the snapshot in {keeper.target(name)}"]
        self.kept = {"path": keeper.target(name), "keys": view["keys"], "bytes": None, "surplus_bytes": surplus}
        if check:
            return keeper.target(name)
        target, size, keys = keep_snapshot(self.endpoint, self.credentials, keeper, name, self._left())
        self.kept.update(path=target, bytes=size, keys=view["keys"] if keys is None else keys)
        self._retain(keeper)
        return target

    def _preserve(self, check: bool) -> Optional[str]:
        """Copy what is on disk before a resync overwrites it. Returns the copy's directory.

        A server whose own file says that it follows the primary holds a copy of that one's data already.
        """
        keeper, files = self._keeper()
        known = files.get("replicaof") == [self.primary_host, str(self.primary_port)]
        if (known and not self.preserve) or not keeper.has_data():
            return None
        name = stamp(time.time())
        self.commands.append(f"keep a copy of {keeper.path} in {keeper.target(name)}")
        if check:
            return keeper.target(name)
        try:
            target, size = keeper.keep_files(name)
        except LifelineError as error:
            if not self._given_up(None):
                raise
            self.warnings.append(f"No copy was kept, as was accepted: {error}")
            return None
        self.kept = {"path": target, "keys": None, "bytes": size, "surplus_bytes": None}
        self._retain(keeper)
        return target

    def _retain(self, keeper: Keeper) -> None:
        self.dropped, unknown = keeper.retain(self.policy, time.time(), min(COMPARE_S, max(0.0, self._left() / 2)))
        self.warnings += [
            f"The copy {path} stays: there was no time to see whether a newer one holds the same. Compare its jobs, or "
            "remove it yourself."
            for path in unknown
        ]
        self.commands += [f"remove the copy {path}" for path in self.dropped]

    def _done(self) -> dict[str, Any]:
        kept = {**self.kept, "text": described(self.kept)} if self.kept else None
        if kept and self.dropped:
            kept["text"] += f"; older copies that were compared or held twice were removed: {', '.join(self.dropped)}"
        return {"commands": self.commands, "quarantine": kept, "dropped": self.dropped}

    def _result(self, changed: bool, preserved: Optional[str] = None) -> dict[str, Any]:
        return {"changed": changed, "preserved": preserved, "warnings": self.warnings, **self._done()}


def account(unit: dict[str, Any], config_file: str) -> tuple[int, int]:
    """The user and group that a server runs as: those of its unit, else those whose its configuration file is.

    Raises LifelineError where neither tells.
    """
    if unit.get("load") == "loaded":
        who = identity(str(unit.get("user") or "root"), str(unit.get("group") or ""))
        if who is not None:
            return who.uid, who.gid
    try:
        state = os.stat(config_file)
    except OSError as error:
        raise LifelineError(f"{config_file} cannot be read: {error.strerror}; nothing was changed.") from error
    return state.st_uid, state.st_gid


def accepts(endpoint: Endpoint, seconds: float = 2.0) -> bool:
    """Whether a connection to it can be opened from this host within so many seconds; no word is said on it."""
    try:
        with socket.create_connection((endpoint.host, endpoint.port), seconds):
            return True
    except OSError:
        return False

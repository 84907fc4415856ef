# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring one server to its settings, ACL users and TLS files: read, plan, act, read again. The module redis_config."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Optional

from ..common import atomic, reading
from ..common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from ..common.waiting import until
from ..errors import LifelineError
from ..formats import acl
from ..formats.certificate import file_certificate, served_certificate
from ..formats.persistence import DONE, FAILED, aof_rewrite
from ..formats.redis_conf import (
    HIDDEN,
    SECRETS,
    Plan,
    checked,
    edited,
    file_values,
    name_of,
    plan,
    quote,
    restart_objection,
    same,
    unknown,
)
from .replicate import replicaof

POLL_SECONDS = 0.1
TLS_FILES = ("tls-cert-file", "tls-key-file", "tls-ca-cert-file")
ROLES = {"master": "primary", "slave": "replica"}


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """See the module's documentation for options and result. Raises LifelineError."""
    wanted = checked({**params["settings"], **params["secret_settings"]})
    one = _Server(params, check)
    one.look()
    if one.running is None:
        one.settings_in_file(wanted)
    else:
        one.settings(one.running, wanted)
        one.users()
        one.follow()
        one.certificate(one.running)
        one.judge(one.running)
    one.result["diff"] = {"before": _shown(one.before), "after": _shown(one.after)}
    return one.result


def _shown(values: Mapping[str, str]) -> str:
    return "".join(f"{name} {values[name]}\n" for name in sorted(values))


@dataclass
class _Server:
    """One run of the module. ``running`` is None when the server is down, ``text`` when it has no file."""

    params: dict[str, Any]
    check: bool
    running: Optional[dict[str, str]] = None
    text: Optional[str] = None
    info: dict[str, Any] = field(default_factory=dict)
    keys: int = 0
    idle_since: Optional[float] = None
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.endpoint = Endpoint.from_params(self.params)
        self.result: dict[str, Any] = {
            "changed": False,
            "reachable": False,
            "restart_required": [],
            "deferred": {},
            "commands": [],
        }
        if self.params["config_file"]:
            self.text = read_text(self.params["config_file"])
        self.client = self._login()

    # --- looking

    def _login(self) -> Any:
        """A client that the server lets in: with the password given or, while it is changed, with the one before."""
        client = self._fresh()
        previous = self.params["login_password_previous"]
        if not previous:
            return client
        try:
            client.ping()
        except CONNECTION_ERRORS as error:
            if reason(error).startswith("auth"):
                return connect(self.endpoint, Credentials.from_params({**self.params, "login_password": previous}))
        return client

    def _fresh(self) -> Any:
        return connect(self.endpoint, Credentials.from_params(self.params))

    def look(self) -> None:
        """Read running values and INFO; wait while the server starts, loads or (a replica) fetches its data."""
        waiting = ""

        def ready() -> bool:
            nonlocal waiting
            waiting = self._try_to_look()
            return not waiting

        if until(ready, self.params["wait_timeout"], POLL_SECONDS):
            self.result["reachable"] = True
            return
        if not self.params["allow_down"]:
            raise LifelineError(
                f"Redis at {self.endpoint} is not ready after {self.params['wait_timeout']:g} s ({waiting}): "
                "look at its unit's journal, or run diagnose.yml.",
                reachable=False,
            )
        self.result["error"] = waiting

    def _try_to_look(self) -> str:
        """What is still waited for; empty once everything has been read. Raises LifelineError if waiting is no use."""
        try:
            self.info = self.client.info("all")
            if int(self.info.get("loading", 0)):
                self.idle_since = None
                return "loading: it reads its data from disk"
            link = self.info.get("master_link_status", "up")
            if self.params["wait_link"] and self.info.get("role") == "slave" and link != "up":
                primary = f"{self.info.get('master_host')}:{self.info.get('master_port')}"
                copies = bool(int(self.info.get("master_sync_in_progress", 0)))
                self._keep_waiting(copies, f"it has no link to its primary {primary} and copies nothing")
                return "the link to its primary is down"
            values = self.client.config_get("*")
        except CONNECTION_ERRORS as error:
            why = reason(error)
            if why.split(":")[0] in ("auth", "noperm", "tls"):
                raise LifelineError(
                    f"Redis at {self.endpoint} refuses the login of {self.params['login_user'] or 'default'} ({why}): "
                    "check the password and the ACL file, or give the old one as login_password_previous."
                ) from error
            if why.startswith("refused") and not self.params["allow_down"]:
                self._keep_waiting(False, "no process listens there")
            return why
        self.running = {name_of(name): value for name, value in values.items()}
        self.keys = sum(int(db["keys"]) for name, db in self.info.items() if re.fullmatch(r"db\d+", name))
        return ""

    def _keep_waiting(self, progress: bool, what: str) -> None:
        """Loading and copying may take their time; what makes no progress for ``idle_timeout`` is given up.

        Raises LifelineError.
        """
        now = time.monotonic()
        self.idle_since = None if progress else self.idle_since or now
        if self.idle_since is not None and now - self.idle_since > self.params["idle_timeout"]:
            raise LifelineError(
                f"Redis at {self.endpoint} is not ready, and makes no progress for {self.params['idle_timeout']:g} s: "
                f"{what}. Its log and its unit's journal say why; then run this again.",
                reachable=bool(self.info),
            )

    # --- settings

    def settings_in_file(self, wanted: Mapping[str, str]) -> None:
        """Converge the file of a server that is down."""
        in_file = None if self.text is None else file_values(self.text)
        self._take(plan(None, in_file, wanted, aof_missing(in_file or {})))

    def settings(self, running: Mapping[str, str], wanted: Mapping[str, str]) -> None:
        """Converge a running server and its file."""
        problem = unknown(wanted, running, f"Redis at {self.endpoint}") or self._unkeepable(wanted)
        if problem:
            raise LifelineError(problem)
        steps = plan(running, None if self.text is None else file_values(self.text), wanted)
        if not self.check:
            self._send(steps)
        if steps.live or steps.rewrite:
            self.result["commands"] += [
                *(f"CONFIG SET {name} {_harmless(name, value)}" for name, value in sorted(steps.live.items())),
                "CONFIG REWRITE",
            ]
        self._take(steps)

    def _unkeepable(self, wanted: Mapping[str, str]) -> Optional[str]:
        """A sentence about settings that this server would write so that it cannot start again, or None."""
        names = sorted(name for name, value in wanted.items() if set('"\\') & set(value))
        if not names or "valkey_version" not in self.info:
            return None
        return (
            f"Valkey at {self.endpoint} writes quotes and backslashes to its file so that it cannot read them again: "
            f"choose a value without them for {', '.join(names)}."
        )

    def _take(self, steps: Plan) -> None:
        """Edit the file, which must come after CONFIG REWRITE since that writes running values; note the outcome."""
        path = self.params["config_file"]
        if steps.in_file and self.text is not None:
            self.result["commands"].append(f"edit {path}: {', '.join(sorted(steps.in_file))}")
            if not self.check:
                store(Path(path), edited(read_text(path) or "", steps.in_file))
        self.result["changed"] = bool(steps.live or steps.in_file or steps.rewrite)
        self.result["restart_required"] = sorted(steps.restart)
        self.result["deferred"] = steps.deferred
        self.before.update(steps.before)
        self.after.update(steps.after)

    def _send(self, steps: Plan) -> None:
        """CONFIG SET and REWRITE. What the server will not change while it runs moves to the file."""
        live = dict(steps.live)
        appendonly = live.pop("appendonly", None)
        while live:
            try:
                self.client.execute_command("CONFIG", "SET", *[word for pair in live.items() for word in pair])
                break
            except CONNECTION_ERRORS as error:
                name = only_at_start(str(error), live)
                if name is None:
                    raise self._refusal("CONFIG SET", error) from error
                steps.in_file[name] = live.pop(name)
                steps.live.pop(name)
                steps.restart.append(name)
        if appendonly is not None:
            self._set_appendonly(appendonly)
        if steps.live or steps.rewrite:
            self._do("CONFIG", "REWRITE")
            now = {name_of(name): value for name, value in self.client.config_get("*").items()}
            wrong = sorted(name for name, value in steps.live.items() if not same(name, now[name], value))
            if wrong:
                raise LifelineError(
                    f"Redis at {self.endpoint} took CONFIG SET and still shows another value for {', '.join(wrong)}: "
                    "give the value as CONFIG GET shows it."
                )

    def _set_appendonly(self, value: str) -> None:
        """Switch the append only file, and wait until its first version is on disk. Before that redis.conf must not
        say so: a restart would start from nothing (fault F18)."""
        self._do("CONFIG", "SET", "appendonly", value)
        deadline = time.monotonic() + self.params["rewrite_timeout"]
        while value == "yes":
            try:
                info = self.client.info("persistence")
            except CONNECTION_ERRORS as error:
                raise self._refusal("INFO", error) from error
            state = aof_rewrite(info)
            if state == DONE:
                return
            if state == FAILED:
                why = "could not write its append only file: see its log"
            elif time.monotonic() > deadline:
                why = f"still writes its append only file after {self.params['rewrite_timeout']:g} s: run again later"
            else:
                time.sleep(POLL_SECONDS)
                continue
            raise LifelineError(f"Redis at {self.endpoint} {why}; its configuration file still says appendonly no.")

    def _do(self, *words: str) -> None:
        try:
            self.client.execute_command(*words)
        except CONNECTION_ERRORS as error:
            raise self._refusal(" ".join(words[:2]), error) from error

    def _refusal(self, command: str, error: BaseException) -> LifelineError:
        """A server's refusal as a sentence, free of the secrets that were sent."""
        text = reason(error)
        for secret in filter(None, self.params["secret_settings"].values()):
            text = text.replace(str(secret), HIDDEN)
        return LifelineError(f"Redis at {self.endpoint} refuses {command}: {text}; correct what it names.")

    # --- users, role, certificate

    def users(self) -> None:
        """Bring the ACL users in force to what the ACL file says."""
        path = self.params["acl_file"]
        text = read_text(path) if path else None
        if text is not None:
            diff = {"before": self.before, "after": self.after}
            if acl.converge(self.client, str(self.endpoint), text, self.check, diff, self._fresh):
                self.result["changed"] = True
                self.result["commands"].append("ACL LOAD")
                self.client = self.client if self.check else self._fresh()

    def follow(self) -> None:
        """Let an empty newcomer follow the live primary; leave every other server as it is."""
        host, port = self.params["follow_host"], self.params["follow_port"]
        if host is None or str(self.info.get("role")) != "master":
            return
        replicas = int(self.info.get("connected_slaves", 0))
        if self.keys or replicas:
            raise LifelineError(
                f"Redis at {self.endpoint} is a second primary beside {host}:{port}, with {self.keys} keys and "
                f"{replicas} replicas: its data was not touched; run diagnose.yml and recover.yml."
            )
        self.before["role"], self.after["role"] = "empty primary", f"replica of {host}:{port}"
        self.result["changed"] = True
        self.result["commands"] += [f"REPLICAOF {host} {port}", "CONFIG REWRITE"]
        if not self.check:
            replicaof(self._do, (host, port), {"role": "master", "keys": self.keys}, {})
            self._do("CONFIG", "REWRITE")

    def certificate(self, running: Mapping[str, str]) -> None:
        """Load changed TLS files without a restart, and prove that the new certificate is the one served."""
        port, path = int(running.get("tls-port", 0)), running.get("tls-cert-file")
        if not port or not path:
            return
        wanted = file_certificate(path)

        def served() -> bool:
            try:
                return served_certificate(self.params["tls_probe_host"], port, self.params["connect_timeout"]) == wanted
            except OSError:
                return False

        if served() and not self.params["tls_reload"]:
            return
        self.before["TLS files in force"], self.after["TLS files in force"] = "older", "those on disk"
        words = [word for name in TLS_FILES if running.get(name) for word in (name, running[name])]
        self.result["changed"] = True
        self.result["commands"].append(f"CONFIG SET {' '.join(words)}")
        if self.check:
            return
        self._do("CONFIG", "SET", *words)
        if not until(served, self.params["connect_timeout"]):
            raise LifelineError(
                f"Redis at {self.endpoint} loaded its TLS files, and port {port} still does not serve the certificate "
                f"of {path}: look at its log."
            )

    def judge(self, running: Mapping[str, str]) -> None:
        """Say whether a restart is needed, and whether it would be safe."""
        newer = newer_files(self.params["start_files"], int(self.info.get("uptime_in_seconds", 0)), time.time())
        self.result["restart_required"] = sorted({*self.result["restart_required"], *newer})
        self.result["restart_objection"] = restart_objection(self.info, running, self.keys)
        self.result["role"] = ROLES.get(str(self.info.get("role")), "unknown")


def _harmless(name: str, value: str) -> str:
    return HIDDEN if name in SECRETS else quote(value)


def only_at_start(error: str, live: Mapping[str, str]) -> Optional[str]:
    """The setting that CONFIG SET refused because it takes a restart, or None."""
    match = re.search(r"related to argument '([^']+)'", error)
    name = name_of(match[1]) if match else None
    fixed = any(words in error for words in ("immutable config", "protected config", "operating system is not able"))
    return name if fixed and name in live else None


def aof_missing(in_file: Mapping[str, str]) -> bool:
    """Whether the data directory of a configuration file holds an RDB file and no append only file."""
    if "dir" not in in_file:
        return False
    home = Path(in_file["dir"])
    name = in_file.get("appendfilename", "appendonly.aof")
    manifest = home / in_file.get("appenddirname", "appendonlydir") / f"{name}.manifest"
    return (home / in_file.get("dbfilename", "dump.rdb")).exists() and not manifest.exists()


def newer_files(paths: list[str], uptime: int, now: float) -> list[str]:
    """Those files that were changed after a server started that is ``uptime`` (whole seconds, rounded down) old."""
    return [path for path in paths if os.path.exists(path) and os.stat(path).st_mtime > now - uptime]


def read_text(path: str) -> Optional[str]:
    """A file's text, None where there is none. Raises LifelineError when it cannot be read."""
    try:
        return reading.data(path).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LifelineError(f"{path} cannot be read: {error.strerror}; run with become.") from error


def store(path: Path, text: str) -> None:
    """Replace a file in one step, with the owner and mode that it has. Raises LifelineError."""
    try:
        atomic.write(path, text)
    except OSError as error:
        raise LifelineError(f"{path} cannot be written: {error.strerror}; check the disk and the directory.") from error

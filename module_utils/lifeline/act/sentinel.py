# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a Sentinel monitors, compared with what it should, and the commands that make it so. The module redis_sentinel.

Sentinel owns its file: it is written once, and from then on everything goes through commands. A rewritten file with an
old primary in it is an outage that does not heal (measured; see docs on fault F34).

MONITOR begins with configuration epoch 0. A sentinel that comes back later, from a host that was out of sight, has its
old epoch: the others would take its word for newer than theirs, and follow it back to the old primary, whose return
takes what was written since away (measured on Redis 7.0.15). So a sentinel that is pointed elsewhere is also told of a
higher epoch, in the words that sentinels tell each other of their configurations in.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from ..common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from ..errors import LifelineError
from ..formats import acl
from ..formats.redis_conf import HIDDEN, checked, drift, text_of
from ..formats.sentinel_conf import current_epoch, stored_secrets
from .configure import newer_files, read_text

POLL_SECONDS = 0.2
PEER_SECONDS = 5.0  # a peer that is back answers within two pings, one a second
RECONNECT_SECONDS = 2.5

# Channel that sentinels tell each other of their configurations on; a sentinel takes PUBLISH for this one only.
HELLO = "__sentinel__:hello"


@dataclass(frozen=True)
class Wanted:
    """What a Sentinel should monitor. ``settings`` go to SENTINEL SET, ``own`` to SENTINEL CONFIG SET."""

    name: str
    host: str
    port: int
    quorum: int
    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    own: Mapping[str, str] = field(default_factory=dict)
    own_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Current:
    """What it does: ``state`` is its row of SENTINEL MASTERS, None when it does not know the name.

    ``stored`` are ``auth-user`` and ``auth-pass`` from its file, since no command tells them; ``own`` is what
    SENTINEL CONFIG GET tells. ``epoch`` is the newest that it knows of; ``peers`` are its rows of SENTINEL SENTINELS.
    """

    state: Optional[Mapping[str, Any]]
    stored: Mapping[str, str] = field(default_factory=dict, repr=False)
    own: Mapping[str, Optional[str]] = field(default_factory=dict, repr=False)
    epoch: int = 0
    peers: Sequence[Mapping[str, Any]] = ()

    @property
    def address(self) -> Optional[tuple[str, int]]:
        return None if self.state is None else (str(self.state["ip"]), int(self.state["port"]))


@dataclass
class Plan:
    """``commands`` to send, in order; ``repoint`` when the monitored address is another than the live primary's.

    ``hello``: what to publish after them, so that older views do not prevail; empty for nothing.
    """

    commands: list[tuple[str, ...]] = field(default_factory=list)
    repoint: bool = False
    hello: str = ""
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)

    def note(self, name: str, before: Optional[str], after: str, hidden: bool = False) -> None:
        """Keep one change for the diff; of a secret only that it changes."""
        self.before[name] = f"{HIDDEN} old" if hidden and before else (before or "(not set)")
        self.after[name] = f"{HIDDEN} new" if hidden else after


def plan(current: Current, wanted: Wanted, same_address: bool) -> Plan:
    """The commands that bring a Sentinel to ``wanted``; none when it is there.

    ``same_address``: whether the monitored address is the wanted one (names were resolved by the caller).
    """
    result = Plan()
    for name, value in {**wanted.own, **wanted.own_secrets}.items():
        have = current.own.get(name)
        if have != value:
            result.commands.append(("CONFIG", "SET", name, value))
            result.note(name, have, value, name in wanted.own_secrets)
    state = current.state
    if state is None or not same_address:
        if state is not None and current.address is not None:
            result.repoint = True
            result.hello = hello(wanted, current)
            result.commands.append(("REMOVE", wanted.name))
            result.note("monitor", f"{current.address[0]} {current.address[1]}", f"{wanted.host} {wanted.port}")
        else:
            result.note("monitor", None, f"{wanted.host} {wanted.port}")
        result.commands.append(("MONITOR", wanted.name, wanted.host, str(wanted.port), str(wanted.quorum)))
        state, stored = {"quorum": wanted.quorum}, {}  # MONITOR begins with the defaults
    else:
        stored = dict(current.stored)
    changes: list[str] = []
    for name, value in {"quorum": str(wanted.quorum), **wanted.settings, **wanted.secrets}.items():
        hidden = name == "auth-pass"
        kept = stored.get(name) if name in wanted.secrets else state.get(name)
        have = None if kept is None else str(kept)
        if have != value:
            changes += [name, value]
            result.note(name, have, value, hidden)
    if changes:
        result.commands.append(("SET", wanted.name, *changes))
    return result


def hello(wanted: Wanted, current: Current) -> str:
    """A peer's message that names the wanted primary with an epoch above all known; empty where it knows no peer.

    In the name of a peer, since a sentinel has no record of itself; of one that answers where there is one.
    """
    peers = sorted(current.peers, key=lambda peer: "down" in str(peer["flags"]) or "disconnected" in str(peer["flags"]))
    if not peers:
        return ""
    epoch = str(current.epoch + 1)
    peer = (str(peers[0][name]) for name in ("ip", "port", "runid"))
    return ",".join((*peer, epoch, wanted.name, wanted.host, str(wanted.port), epoch))


def shown(commands: Sequence[tuple[str, ...]]) -> list[str]:
    """The commands as text, secrets hidden."""
    lines = []
    for command in commands:
        words = list(command)
        for at, word in enumerate(words[:-1]):
            if word in ("auth-pass", "sentinel-pass"):
                words[at + 1] = HIDDEN
        lines.append("SENTINEL " + " ".join(words))
    return lines


def incomplete(state: Mapping[str, Any], replicas: int, sentinels: int) -> str:
    """What this Sentinel does not see yet, or empty. ``sentinels`` counts itself."""
    seen, others = int(state["num-slaves"]), int(state["num-other-sentinels"])
    missing = []
    if seen < replicas:
        missing.append(f"{seen} of {replicas} replicas")
    if others < sentinels - 1:
        missing.append(f"{others} of {sentinels - 1} other sentinels")
    return " and ".join(missing)


# --- reading and acting -------------------------------------------------------------------------------------------


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """See the module's documentation for options and result. Raises LifelineError."""
    wanted = Wanted(
        name=params["name"],
        host=params["primary_host"],
        port=params["primary_port"],
        quorum=params["quorum"],
        settings={name: text_of(value) for name, value in params["settings"].items()},
        secrets=_given(params, {"auth-user": "auth_user", "auth-pass": "auth_pass"}),
        own=_given(params, {"sentinel-user": "sentinel_user"}),
        own_secrets=_given(params, {"sentinel-pass": "sentinel_pass"}),
    )
    one = _Sentinel(params, check)
    current = one.read(wanted.name)
    steps = plan(current, wanted, current.address is not None and _same_host(current.address, wanted))
    if steps.repoint:
        one.confirm_repoint(current, wanted)
    one.result["changed"] = bool(steps.commands)
    one.result["commands"] = shown(steps.commands) + ([f"PUBLISH {HELLO} {steps.hello}"] if steps.hello else [])
    # Users first: peers that have new passwords already must find them here.
    one.users(steps)
    if not check:
        one.send(steps)
    one.result["diff"] = {
        side: "".join(f"{name} {values[name]}\n" for name in sorted(values))
        for side, values in (("before", steps.before), ("after", steps.after))
    }
    one.see_all(wanted)
    return one.result


def _given(params: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    return {name: params[option] for name, option in names.items() if params[option]}


def _same_host(address: tuple[str, int], wanted: Wanted) -> bool:
    """Whether an address is the wanted one, in words or once resolved."""
    if address == (wanted.host, wanted.port):
        return True
    return address[1] == wanted.port and bool(_addresses(address[0]) & _addresses(wanted.host))


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


class _Sentinel:
    """One run of the module."""

    def __init__(self, params: dict[str, Any], check: bool) -> None:
        self.params, self.check = params, check
        self.endpoint = Endpoint.from_params(params)
        self.credentials = Credentials.from_params(params)
        self.client = connect(self.endpoint, self.credentials)
        self.result: dict[str, Any] = {"changed": False, "restart_required": []}

    def _sentinel(self, *words: str, parsed: bool = False) -> Any:
        """Send a command whose failure ends the module. ``parsed``: by redis-py's own reader of this command."""
        sent = (f"SENTINEL {words[0]}", *words[1:]) if parsed else ("SENTINEL", *words)
        try:
            return self.client.execute_command(*sent)
        except CONNECTION_ERRORS as error:
            text = reason(error)
            for hidden in filter(None, (self.params["auth_pass"], self.params["sentinel_pass"])):
                text = text.replace(hidden, HIDDEN)
            raise LifelineError(
                f"Sentinel at {self.endpoint} refuses SENTINEL {words[0]}: {text}; look at its log."
            ) from error

    def read(self, name: str) -> Current:
        """What the Sentinel does now; waits while it starts. Raises LifelineError."""
        deadline = time.monotonic() + self.params["wait_timeout"]
        while True:
            try:
                info = self.client.info("server")
                break
            except CONNECTION_ERRORS as error:
                why = reason(error)
                if time.monotonic() >= deadline or why.split(":")[0] in ("auth", "noperm", "tls"):
                    raise LifelineError(
                        f"Sentinel at {self.endpoint} does not let us in ({why}): look at its unit's journal, and "
                        f"check the password of {self.params['login_user'] or 'default'}."
                    ) from error
                time.sleep(POLL_SECONDS)
        newer = newer_files(self.params["start_files"], int(info["uptime_in_seconds"]), time.time())
        own = {
            option: _config_value(self._sentinel("CONFIG", "GET", option))
            for option in ("sentinel-user", "sentinel-pass")
        }
        path = self.params["config_file"] or info.get("config_file")
        text = (read_text(path) or "") if path else ""
        self.result["restart_required"] = [*newer, *drift(text, checked(self.params["start_settings"]))]
        state = self._state(name)
        epoch = max(current_epoch(text), int((state or {}).get("config-epoch", 0)))
        peers = self._sentinel("SENTINELS", name, parsed=True) if state else ()
        return Current(state, stored_secrets(text, name), own, epoch, peers)

    def _state(self, name: str) -> Optional[Mapping[str, Any]]:
        found: Mapping[str, Mapping[str, Any]] = self._sentinel("MASTERS", parsed=True)
        return found.get(name)

    def confirm_repoint(self, current: Current, wanted: Wanted) -> None:
        """Only the live primary may take the place of what is monitored. Raises LifelineError."""
        monitored = f"{current.address[0]}:{current.address[1]}" if current.address else "nothing"
        if "failover_in_progress" in str((current.state or {}).get("flags", "")):
            raise LifelineError(
                f"Sentinel at {self.endpoint} is failing {wanted.name} over: run again when it is done."
            )
        target, other = self._role(wanted.host, wanted.port), self._role(*(current.address or ("", 0)))
        if target != "master" or other == "master":
            raise LifelineError(
                f"Sentinel at {self.endpoint} monitors {monitored} (role {other}), and {wanted.host}:{wanted.port} "
                f"(role {target}) was to take its place: that is only done for the one live primary. Run diagnose.yml."
            )

    def _role(self, host: str, port: int) -> str:
        try:
            return str(connect(Endpoint(host, port), self.credentials).execute_command("ROLE")[0])
        except CONNECTION_ERRORS as error:
            return reason(error).split(":")[0]

    def send(self, steps: Plan) -> None:
        """Send the plan."""
        for command in steps.commands:
            self._sentinel(*command)
        if not steps.hello:
            return
        try:
            self.client.execute_command("PUBLISH", HELLO, steps.hello)
        except CONNECTION_ERRORS as error:
            raise LifelineError(
                f"Sentinel at {self.endpoint} refuses PUBLISH {HELLO}: {reason(error)}; it names the live primary, but "
                "a sentinel that comes back may name the old one over it: let the user of this module publish there."
            ) from error
        self._sentinel("FLUSHCONFIG")

    def users(self, steps: Plan) -> None:
        """Bring the ACL users in force to what the ACL file says."""
        path = self.params["acl_file"]
        text = read_text(path) if path else None
        if text is None:
            return
        diff = {"before": steps.before, "after": steps.after}
        if acl.converge(
            self.client, str(self.endpoint), text, self.check, diff, lambda: connect(self.endpoint, self.credentials)
        ):
            self.result["changed"] = True
            self.result["commands"].append("ACL LOAD")
            self.client = self.client if self.check else connect(self.endpoint, self.credentials)

    def see_all(self, wanted: Wanted) -> None:
        """Wait until the Sentinel sees every replica and every other sentinel (fault F39), and its quorum holds."""
        deadline = time.monotonic() + self.params["wait_timeout"]
        wait = not self.check and (self.params["wait_after_change"] or not self.result["changed"])
        while True:
            state = self._state(wanted.name)
            if state is None:  # check mode, before the first MONITOR
                return
            missing = incomplete(state, self.params["replicas"], self.params["sentinels"])
            if not missing or not wait or time.monotonic() >= deadline:
                break
            time.sleep(POLL_SECONDS)
        self.result["primary"] = {"host": str(state["ip"]), "port": int(state["port"])}
        self.result["replicas"] = int(state["num-slaves"])
        self.result["sentinels"] = int(state["num-other-sentinels"]) + 1
        if not wait:
            return
        if missing:
            raise LifelineError(
                f"Sentinel at {self.endpoint} knows only {missing} of {wanted.name} after "
                f"{self.params['wait_timeout']:g} s: see whether they run, and whether firewall and ACL let it in.",
                **self.result,
            )
        self._hear_all(wanted, deadline)

    def _hear_all(self, wanted: Wanted, deadline: float) -> None:
        """Wait until the quorum holds, and for a moment until every peer answers.

        A Sentinel that came with a new password before its peer knew it stays on that connection forever, refused
        (seen on Redis 8.0: a quorum lost until somebody looked). Giving it its own password again makes it reconnect.
        """
        patience = min(deadline, time.monotonic() + PEER_SECONDS)
        again = 0.0
        while True:
            silent = self._silent_peers(wanted.name)
            refusal = self._quorum_refusal(wanted.name)
            now = time.monotonic()
            if (not silent and not refusal) or now >= (deadline if refusal else patience):
                break
            if silent and now >= again:
                for name, value in wanted.own_secrets.items():
                    self._sentinel("CONFIG", "SET", name, value)
                again = now + RECONNECT_SECONDS
            time.sleep(POLL_SECONDS)
        self.result["silent_sentinels"] = silent
        if refusal:
            raise LifelineError(
                f"Sentinel at {self.endpoint} could not fail {wanted.name} over now ({refusal}): bring the other "
                "sentinels back, or correct the quorum.",
                **self.result,
            )

    def _silent_peers(self, name: str) -> list[str]:
        """Other sentinels that do not answer this one, as ``host:port``."""
        found = self._sentinel("SENTINELS", name, parsed=True)
        return sorted(
            f"{one['ip']}:{one['port']}"
            for one in found
            if {"s_down", "disconnected"} & set(str(one["flags"]).split(","))
        )

    def _quorum_refusal(self, name: str) -> str:
        """Why a failover could not be authorized, or empty."""
        try:
            self.result["quorum"] = str(self.client.execute_command("SENTINEL", "CKQUORUM", name))
        except CONNECTION_ERRORS as error:
            return reason(error)
        return ""


def _config_value(reply: Any) -> Optional[str]:
    """The value in SENTINEL CONFIG GET's reply for one name: a flat list, or a map with RESP3."""
    values = list(reply.values()) if isinstance(reply, dict) else list(reply)[1::2]
    return str(values[0]) if values else None

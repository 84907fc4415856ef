# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Logins, ACL files and certificates: who is not let in, and until when everybody else is."""

from __future__ import annotations

import time
from typing import Iterator, Optional

from ...common.facts import Facts
from ..case import Case, Host, Server, word
from ..log_evidence import last_words, sample
from .base import CRITICAL, EVERYBODY, INFO, LIKELY, WARNING, Cause, Match
from .process import DEATHS, SYMPTOMS, grade, reach, unit_line

REFUSALS = ("auth", "noperm")
# How often a client must be refused to be worth a word.
OFTEN = 3
# Days before a certificate's end that are too few to be calm about, and that are worth knowing.
SOON_DAYS, NOTE_DAYS = 14, 30
DAY = 86400


def _login(case: Case) -> Iterator[Match]:
    shut = [server for server in case.servers if not server.alive and word(server.error) in REFUSALS]
    deaf = [watcher for watcher in case.watchers if not watcher.alive and word(watcher.error) in REFUSALS]
    lines = [f"{server.name} refuses the login that looks at it ({server.error})" for server in shut]
    lines += [f"the sentinel on {watcher.name} refuses it ({watcher.error})" for watcher in deaf]
    names = {server.name for server in shut} | {watcher.name for watcher in deaf}
    if len(names) > 1:
        yield Match(case.service, tuple(lines), (*names, EVERYBODY) if shut else tuple(names))
    elif names:
        yield Match(names.pop(), tuple(lines), (EVERYBODY,) if shut and not case.primary else ())


def _protected_mode(case: Case) -> Iterator[Match]:
    """User default has no password, so that the server talks to its own host only: what it says is DENIED."""
    for server in case.servers:
        seen = [(name, host.view_of(server.name).text("error")) for name, host in case.hosts.items()]
        lines = [f"{name}: {server.name} answers {error}" for name, error in seen if word(error) == "denied"]
        if lines:
            yield Match(server.name, tuple(lines[:4]), reach(case, server), grade(case, server))


def _application_login(case: Case) -> Iterator[Match]:
    for host in case.application_hosts:
        used = host.section("application")
        if word(used.text("error")) in REFUSALS:
            lines = (f"{host.name}: Redis refuses the user {used.text('user')} of its URL ({used.text('error')})",)
            data = {"hosts": [server.name for server in case.servers]}
            yield Match(host.name, lines, (EVERYBODY,), data=data)


def _clients(case: Case) -> Iterator[Match]:
    ours = {node.host for node in case.topology.nodes.values()}
    ours |= {peer.host for peer in case.topology.sentinels.values()}
    for server in case.servers:
        rows = [
            row
            for row in server.deep.rows("acl_log")
            if row.number("age_s", case.fresh_s + 1) <= case.fresh_s
            and row.count("count") >= OFTEN
            and row.text("address") not in ours
        ]
        if rows:
            yield Match(server.name, tuple(f"{server.name}: {_refused(row)}" for row in rows[:5]))


def _refused(row: Facts) -> str:
    what = {
        "auth": "a wrong password",
        "command": f"the command {row.text('object')}",
        "key": f"the key {row.text('object')}",
        "channel": f"the channel {row.text('object')}",
    }.get(row.text("reason"), row.text("reason"))
    who = f"user {row.text('user')}" + (f" from {row.text('address')}" if row.text("address") else "")
    return f"{who} was refused {row.count('count')} times for {what}, last {row.number('age_s'):.0f} s ago"


def _acl_file(case: Case) -> Iterator[Match]:
    for server in case.servers:
        said = last_words(server, "acl_error")
        if server.node.unit_down and said:
            lines = (unit_line(server), *sample(server, said))
            yield Match(server.name, lines, reach(case, server), grade(case, server))
        elif server.alive and server.files.sub("aclfile") and not server.files.flag("aclfile.exists", True):
            lines = (f"{server.name} runs, but its ACL file {server.files.text('aclfile.path')} is gone",)
            yield Match(server.name, lines, severity=WARNING)
    for watcher in case.watchers:
        found = watcher.logged("acl_error")
        if found and not watcher.alive and watcher.unit.count("pid") == 0:
            yield Match(watcher.name, (f"sentinel on {watcher.name}: {found.text('sample')}",), severity=WARNING)


def _tls(case: Case) -> Iterator[tuple[Host, Facts, float]]:
    for host in case.hosts.values():
        section = host.section("tls")
        if section:
            yield host, section, host.facts.number("time")


def _ports(section: Facts) -> list[tuple[str, Facts]]:
    return [(kind, port) for kind, port in section.named("ports") if "not_after" in port]


def _grade_of(case: Case, host: Host, kinds: set[str]) -> tuple[str, tuple[str, ...]]:
    """(severity, whom it troubles) of a host's certificate, by what serves it."""
    server: Optional[Server] = case.server(host.name)
    if server is None or "server" not in kinds:
        return WARNING, ()
    return grade(case, server), reach(case, server)


def day(moment: float) -> str:
    """A date as people read it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(max(0.0, min(moment, 253402300799.0))))


def _expired(case: Case) -> Iterator[Match]:
    for host, section, now in _tls(case):
        over = [(kind, port) for kind, port in _ports(section) if not _valid(port, now)]
        if over:
            lines = [
                f"{host.name}: the {kind} serves a certificate that is good from {day(port.number('not_before'))} to "
                f"{day(port.number('not_after'))}; it is {day(now)} there"
                for kind, port in over
            ]
            severity, affects = _grade_of(case, host, {kind for kind, _port in over})
            yield Match(host.name, tuple(lines), affects, severity)


def _valid(certificate: Facts, now: float) -> bool:
    return certificate.number("not_before") <= now < certificate.number("not_after")


def _expiring(case: Case) -> Iterator[Match]:
    for host, section, now in _tls(case):
        known = [(f"the {kind} serves", port) for kind, port in _ports(section)]
        if "not_after" in section.sub("file"):
            known.append(("on disk lies", section.sub("file")))
        left = [(how, item, (item.number("not_after") - now) / DAY) for how, item in known if _valid(item, now)]
        soon = [(how, item, days) for how, item, days in left if days < NOTE_DAYS]
        if soon:
            lines = [
                f"{host.name}: {how} a certificate that ends {day(item.number('not_after'))}" for how, item, _ in soon
            ]
            urgent = min(days for _how, _item, days in soon) < SOON_DAYS
            yield Match(host.name, tuple(lines), severity=WARNING if urgent else INFO)


def _not_served(case: Case) -> Iterator[Match]:
    for host, section, _now in _tls(case):
        other = [(kind, port) for kind, port in _ports(section) if port.maybe_flag("same") is False]
        if other:
            file = section.sub("file")
            lines = [f"{host.name}: {file.text('path')} ends {day(file.number('not_after'))}"]
            lines += [
                f"{host.name}: the {kind} serves one that ends {day(port.number('not_after'))}" for kind, port in other
            ]
            yield Match(host.name, tuple(lines))


def _mismatch(case: Case) -> Iterator[Match]:
    for host, section, _now in _tls(case):
        file = section.sub("file")
        if file.maybe_flag("key_fits") is False or file.text("error"):
            why = file.text("error") or f"the private key does not belong to {file.text('path')}"
            server = case.server(host.name)
            down = server is not None and server.node.unit_down
            logged = server.log_line("tls_error") if server is not None and down else []
            severity, affects = (_grade_of(case, host, {"server"})) if down else (WARNING, ())
            yield Match(host.name, (f"{host.name}: {why}", *logged), affects, severity)


def _untrusted(case: Case) -> Iterator[Match]:
    for server in case.servers:
        seen = [(name, host.view_of(server.name).text("error")) for name, host in case.hosts.items()]
        refusing = [(name, error) for name, error in seen if word(error) == "tls"]
        if not refusing or _known_expired(case, server.name):
            continue
        lines = tuple(
            f"{name} does not accept the certificate of {server.name} ({error})" for name, error in refusing[:4]
        )
        if len(refusing) == len([1 for _name, error in seen if error or server.alive]):
            yield Match(server.name, lines, reach(case, server), grade(case, server))
        else:
            for name, _error in refusing:
                yield Match(name, lines, (server.name,), WARNING, LIKELY)


def _known_expired(case: Case, name: str) -> bool:
    host = case.hosts.get(name)
    if host is None:
        return False
    now = host.facts.number("time")
    return any(not _valid(port, now) for _kind, port in _ports(host.section("tls")))


CERTIFICATE = ("certificate_untrusted", "certificate_not_served", "certificate_expiring")

CAUSES = (
    Cause(
        id="login_refused",
        fault="F31",
        title="The login of the diagnosis itself is refused",
        severity=WARNING,
        at_risk="Nothing by itself: nobody could look, and what runs there may be well.",
        remedy=(
            "Compare redis_password_observer, or redis_password_operator where there is none, with the server's ACL "
            "file; provision.yml sets both. ACL LOG on the server says what was refused."
        ),
        avoid="Do not take a refusal for a dead server: nothing may be failed over or restarted for it.",
        detect=_login,
        explains=("server_silent", "sentinel_silent", "no_primary", "replica_link_down"),
    ),
    Cause(
        id="protected_mode",
        fault="",
        title="The server is in protected mode and denies every connection from another host",
        severity=WARNING,
        at_risk="Nothing on disk. Whoever is connected stays connected; nobody else gets in.",
        remedy=(
            "User default has no password. On the server's host, over its unix socket, ACL LOAD brings the ACL file's "
            "users back. Where the file itself is wrong, provision.yml writes it again."
        ),
        avoid=(
            "Do not fail over, since the server runs, and do not switch protected-mode off: everybody could do "
            "everything."
        ),
        detect=_protected_mode,
        explains=(*SYMPTOMS, "clients_cut_off", "peer_cut_off", "acl_refused"),
    ),
    Cause(
        id="application_login_refused",
        fault="F31",
        title="The application's login is refused",
        severity=CRITICAL,
        at_risk="Every request and job of that host.",
        remedy=(
            "Compare the application's URL with the ACL user: set redis_password_application and run provision.yml, "
            "which writes both and restarts the units. While passwords are changed, a user may have two."
        ),
        avoid="Do not open the default user with nopass, and do not give the application +@all.",
        detect=_application_login,
        explains=(
            "application_cut_off",
            "clients_refused",
            "units_unwell",
            "queue_unattended",
            "workers_gone",
            "endpoint_blind",
        ),
        task="configure_server",
    ),
    Cause(
        id="clients_refused",
        fault="F31",
        title="A client is refused again and again",
        severity=WARNING,
        at_risk="What that client does not get done; each try costs the server a little.",
        remedy=(
            "Find the client by its address. Give it the right password, or its user the one command or key that it "
            "lacks (redis_server_users, redis_server_application_keys), and run provision.yml."
        ),
        avoid="Do not open the default user with nopass, and do not give out +@all or ~*.",
        detect=_clients,
    ),
    Cause(
        id="acl_file_bad",
        fault="F31",
        title="The ACL file cannot be loaded",
        severity=WARNING,
        at_risk="The server does not start any more, and no user can be changed.",
        remedy=(
            "Let provision.yml write the file again; then start the server. ACL LOAD tries a file: it takes all or "
            "nothing."
        ),
        avoid="Do not start it without its ACL file: everybody who reaches the port could do anything.",
        detect=_acl_file,
        explains=(*DEATHS, "sentinel_dead"),
        task="restore_files",
    ),
    Cause(
        id="certificate_expired",
        fault="F32",
        title="The certificate that is served has expired, or is not valid yet",
        severity=WARNING,
        at_risk=(
            "Every new connection; those that are open go on until they break, replication and sentinels among them."
        ),
        remedy=(
            "Install a new certificate (redis_tls_cert_src, redis_tls_key_src) and run provision.yml: Redis loads it "
            "as it runs, sentinels are restarted one by one. If it is not valid yet, set the host's clock first."
        ),
        avoid=(
            "Do not switch TLS off, and do not restart all servers at once: the open connections are what still works."
        ),
        detect=_expired,
        explains=(*SYMPTOMS, *CERTIFICATE, "endpoint_blind", "units_unwell"),
        task="configure_server",
    ),
    Cause(
        id="certificate_expiring",
        fault="F32",
        title="A certificate ends soon",
        severity=WARNING,
        at_risk="On that day every new connection.",
        remedy="Install a new certificate (redis_tls_cert_src, redis_tls_key_src) and run provision.yml.",
        avoid="Do not wait for the day: sentinels have to be restarted for a new one, which is better done in calm.",
        detect=_expiring,
    ),
    Cause(
        id="certificate_not_served",
        fault="F32",
        title="The certificate on disk is not the one that is served",
        severity=WARNING,
        at_risk="A renewed certificate has no effect, and the old one expires.",
        remedy=(
            "Redis: CONFIG SET tls-cert-file and tls-key-file in one call loads it. Sentinel cannot: restart one "
            "after the other, with CKQUORUM between. provision.yml does both."
        ),
        avoid="Do not restart all servers or sentinels at once.",
        detect=_not_served,
        task="configure_server",
    ),
    Cause(
        id="certificate_key_mismatch",
        fault="F32",
        title="Certificate and private key do not fit, or cannot be read",
        severity=WARNING,
        at_risk="The server does not start any more; while it runs, it goes on with the old ones.",
        remedy=(
            "Install the pair again (redis_tls_cert_src, redis_tls_key_src): provision.yml. Then start the server if "
            "it is down."
        ),
        avoid="Do not restart the server before the pair is right: it would not come back.",
        detect=_mismatch,
        explains=(*DEATHS, "certificate_not_served"),
        task="restore_files",
    ),
    Cause(
        id="certificate_untrusted",
        fault="F32",
        title="A certificate is not accepted",
        severity=WARNING,
        at_risk="Every new connection of those that do not accept it.",
        remedy=(
            "Give all members the CA that signed it (redis_tls_ca_src), or the server a certificate of that CA, and "
            "run provision.yml."
        ),
        avoid="Do not switch the check off: anyone on the way could then read everything.",
        detect=_untrusted,
        explains=(*SYMPTOMS, "endpoint_blind"),
    ),
)

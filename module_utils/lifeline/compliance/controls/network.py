# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From where the servers can be reached, and how the way there is protected."""

from __future__ import annotations

from .base import (  # fmt: skip
    HIGH,
    HOST,
    MEDIUM,
    SERVER,
    Control,
    Look,
    NotSeenError,
    Outcome,
    Subject,
    failed,
    judged,
    not_applicable,
    passed,
)

DAY = 86400.0
LOOPBACK = ("127.0.0.1", "::1")
_TLS = "redis_tls_enabled, redis_tls_*_src; run provision.yml"


def protected_mode(subject: Subject) -> Outcome:
    value = subject.config.text("protected-mode")
    return passed("protected-mode yes") if value == "yes" else failed(f"protected-mode {value}")


def _ports(subject: Subject) -> set[int]:
    found = set()
    if subject.server is not None:
        config = subject.config
        found |= {int(config.text(name) or 0) for name in ("port", "tls-port")}
        if config.text("cluster-enabled") == "yes":
            found.add(subject.server.node.port + 10000)
    if subject.watcher is not None:
        found.add(subject.watcher.node.port)
    return found - {0}


def _listening(subject: Subject) -> list[tuple[str, int]]:
    rows = subject.look.rows("listening")
    ports = _ports(subject)
    found = [(row.text("address"), row.count("port")) for row in rows if row.count("port") in ports]
    if not found:
        raise NotSeenError(f"{subject.name}: nothing listens on {', '.join(map(str, sorted(ports)))}")
    return found


def listening(subject: Subject) -> Outcome:
    mine = {*LOOPBACK, *subject.intent.texts("addresses")}
    firewall = subject.look.maybe("firewall", "ports")
    problems = []
    for address, port in _listening(subject):
        filtered = firewall.sub(str(port)).text("strangers") == "drop"
        if address in ("*", "::") and not filtered:
            problems.append(f"port {port} listens on every address, and no firewall guards it")
        elif address not in ("*", "::") and address not in mine:
            problems.append(f"port {port} listens on {address}, which the inventory does not name")
    return judged(problems, ", ".join(f"{address} port {port}" for address, port in _listening(subject)))


def firewall(subject: Subject) -> Outcome:
    ports = sorted({port for address, port in _listening(subject) if address not in LOOPBACK})
    if not ports:
        return passed("the ports are reached from this host alone")
    look = subject.look.sub("firewall")
    if not look.flag("readable"):
        raise NotSeenError(f"{subject.name}: the nftables rules cannot be read")
    problems = []
    for port in ports:
        said = look.sub("ports").sub(str(port))
        if said.text("strangers") == "unknown":
            raise NotSeenError(f"{subject.name}: the rules for port {port} hold something that is not understood here")
        if said.text("strangers") == "accept":
            problems.append(f"anybody may connect to port {port}")
        shut_out = [address for address, verdict in said.facts.sub("members").plain.items() if verdict == "drop"]
        problems += [f"members of the estate may not connect to port {port}: {', '.join(shut_out)}"] if shut_out else []
    return judged(problems, f"strangers are refused, members let in: ports {', '.join(map(str, ports))}")


def encrypted(subject: Subject) -> Outcome:
    if not subject.policy.flag("tls"):
        return not_applicable("the inventory wants no TLS (redis_tls_enabled)")
    config = subject.config
    problems = [] if config.text("port") == "0" else [f"port {config.text('port')} takes connections without TLS"]
    problems += ["there is no tls-port"] if config.text("tls-port") in ("", "0") else []
    problems += ["replication is not encrypted"] if config.text("tls-replication") != "yes" else []
    if config.text("cluster-enabled") == "yes" and config.text("tls-cluster") != "yes":
        problems.append("the cluster bus is not encrypted")
    if subject.watcher is not None and subject.sentinel.sub("settings").maybe().text("port", "26379") != "0":
        problems.append("the sentinel takes connections without TLS")
    return judged(problems, f"tls-port {config.text('tls-port')}, no other; replication encrypted")


def _has_tls(subject: Subject) -> bool:
    if subject.server is not None:
        return subject.config.text("tls-port") not in ("", "0")
    return subject.sentinel.maybe("settings").text("tls-port") not in ("", "0")


def protocols(subject: Subject) -> Outcome:
    if not _has_tls(subject):
        return not_applicable("the server has no TLS port")
    old = set(subject.config.text("tls-protocols").replace('"', "").split()) - {"TLSv1.2", "TLSv1.3"}
    return judged([f"{name} is allowed" for name in sorted(old)],
                  f"tls-protocols {subject.config.text('tls-protocols') or 'default (TLSv1.2 TLSv1.3)'}")  # fmt: skip


def certificates(subject: Subject) -> Outcome:
    if not _has_tls(subject):
        return not_applicable("no TLS port here")
    look = subject.look.sub("certificates")
    days = subject.policy.number("certificate_days", 30)
    file = look.sub("file")
    problems = [] if not file.facts.text("error") else [f"the certificate's file: {file.facts.text('error')}"]
    if not problems:
        problems += _left("the certificate in the file", file, subject.now, days)
        problems += ["the private key is not the certificate's"] if file.facts.maybe_flag("key_fits") is False else []
    for name, port in look.sub("ports").facts.named():
        if port.text("error"):
            problems.append(f"the {name}'s port shows no certificate: {port.text('error')}")
            continue
        problems += _left(f"the certificate that the {name} shows", Look(port, name), subject.now, days)
        problems += [f"the {name} shows another certificate than lies on disk"] if not port.flag("same") else []
    left = (file.facts.number("not_after") - subject.now) / DAY
    return judged(problems, f"{left:.0f} days left, served as on disk")


def _left(what: str, certificate: Look, now: float, days: float) -> list[str]:
    left = (certificate.number("not_after") - now) / DAY
    return [f"{what} is good for {left:.1f} more days"] if left < days else []


def key_file(subject: Subject) -> Outcome:
    if not _has_tls(subject):
        return not_applicable("no TLS port here")
    file = subject.look.sub("files").sub("tls_key")
    path, mode, owner = file.text("path"), int(file.text("mode"), 8), file.text("owner")
    user = subject.policy.text("service_user") or _user(subject)
    problems = [f"{path} has mode {mode:04o}"] if mode & 0o037 else []
    problems += [f"{path} belongs to {owner}"] if owner not in ("root", user) else []
    return judged(problems, f"{path}: mode {mode:04o}, {owner}:{file.text('group')}")


def _user(subject: Subject) -> str:
    if subject.server is not None:
        return subject.look.sub("process").text("user")
    units = subject.look.sub("units").facts
    return next((unit.text("user") for _name, unit in units.named() if unit.text("user")), "")


CONTROLS = (
    Control(
        id="RDS-002",
        title="Protected mode is on",
        severity=HIGH,
        scope=SERVER,
        why="It is the last net when the bind address or the default user's password get lost.",
        fix="redis_server_config must not set protected-mode; run provision.yml.",
        reference="redis.io security",
        check=protected_mode,
        repairs=True,
    ),
    Control(
        id="RDS-003",
        title="Ports are open on the inventory's addresses only",
        severity=HIGH,
        scope=HOST,
        why="An address that nobody thought of is the one that is reachable from outside.",
        fix="redis_server_bind, redis_sentinel_bind; other addresses: redis_compliance_addresses.",
        reference="Lynis DBS-1888; CIS 2.1.22; DISA V-251215, V-251220",
        check=listening,
        repairs=True,
    ),
    Control(
        id="RDS-004",
        title="A firewall lets in members of the estate and nobody else",
        severity=HIGH,
        scope=HOST,
        why="A password alone leaves every flaw before the login open to everybody.",
        fix="Role redis_firewall (redis_firewall_state, redis_firewall_sources); run provision.yml.",
        reference="redis.io security; DISA V-251220",
        check=firewall,
        repairs=True,
    ),
    Control(
        id="RDS-013",
        title="Clients, replicas and the cluster bus use TLS where the inventory says so",
        severity=HIGH,
        scope=SERVER,
        why="Passwords and jobs cross the network as they are otherwise.",
        fix=(
            f"{_TLS}."
        ),
        reference="redis.io TLS; DISA V-251238, V-251248, V-251249",
        check=encrypted,
        repairs=True,
    ),
    Control(
        id="RDS-014",
        title="TLS 1.2 and 1.3 only",
        severity=MEDIUM,
        scope=SERVER,
        why="Older versions are broken.",
        fix="redis_server_config: tls-protocols; run provision.yml.",
        reference="DISA V-251237",
        check=protocols,
        repairs=True,
    ),
    Control(
        id="RDS-015",
        title="Certificates have a month left and are served as they lie on disk",
        severity=HIGH,
        scope=HOST,
        why="A renewed file that the server never loaded expires all the same (fault F32).",
        fix="redis_tls_cert_src, redis_tls_key_src; run provision.yml. Limit: redis_compliance_certificate_days.",
        reference="measured: fault F32",
        check=certificates,
        repairs=True,
    ),
    Control(
        id="RDS-016",
        title="Nobody else can read the private key",
        severity=HIGH,
        scope=HOST,
        why="Whoever has it can pose as the server.",
        fix="Run provision.yml, which sets mode and owner.",
        reference="DISA V-251226",
        check=key_file,
        repairs=True,
    ),
)  # fmt: skip

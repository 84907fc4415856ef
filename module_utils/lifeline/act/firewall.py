# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The nftables table that guards Redis' ports: who may pass, how it is written, and how drift is found.

The table holds only rules that name its own ports, so it cannot shut out SSH, and it is the only table ever touched.
What is live is compared with what the same nft makes of the wanted rules in a network namespace of its own: that both
validates the rules and spares us any knowledge of how this version of nft writes them.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import socket
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional, Sequence, Union

from ..common import commands, ownership
from ..common.commands import GONE, READY
from ..errors import LifelineError
from ..inventory.estate import DEFAULT_ESTATE, address, members
from . import files

TABLE = "lifeline_redis"
RULES = "/etc/lifeline/redis-firewall.nft"
UNIT = "redis-firewall.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
BUS_OFFSET = 10000

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Lookup = Mapping[str, list[str]]

_UNIT_TEXT = f"""\
# Managed by Ansible (role redis_firewall).
[Unit]
Description=Firewall of the Redis ports (nftables table {TABLE})
Documentation=man:nft(8)
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
# The ruleset of nftables.service usually starts with "flush ruleset": what flushes there is loaded again here.
After=nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
StandardInput=null
ProtectSystem=full
ProtectHome=true
ExecStart=/usr/sbin/nft -f {RULES}
ExecReload=/usr/sbin/nft -f {RULES}
ExecStop=-/usr/sbin/nft delete table inet {TABLE}

[Install]
WantedBy=sysinit.target
"""


def services(
    host: str,
    hostvars: Mapping[str, Any],
    own: Mapping[str, Any],
    servers: Sequence[str],
    sentinels: Sequence[str],
    applications: Sequence[str],
) -> list[dict[str, Any]]:
    """What runs on the machine of ``host``: ``[{name, ports, client_ports, peers, clients}]``, ports as numbers.

    A machine may have several inventory names (one for each instance, maybe of different estates) with one address;
    each that ``redis_firewall_state`` does not exclude is an entry. ``own`` are the variables of ``host`` as its
    role sees them; of the others only what the inventory says is known. Peers may use all ports of a service,
    clients all but the cluster bus. Raises LifelineError when two names of a machine claim one Redis port.
    """
    place = address(own, host)
    result: list[dict[str, Any]] = []
    for name in dict.fromkeys([*servers, *sentinels]):
        known = own if name == host else hostvars[name]
        if address(known, name) != place or known.get("redis_firewall_state", "present") != "present":
            continue
        ports = []
        if name in servers:
            port = int(known.get("redis_port", 6379))
            ports += [port, port + BUS_OFFSET]
        if name in sentinels:
            ports.append(int(known.get("redis_sentinel_port", 26379)))
        estate = str(known.get("redis_estate", DEFAULT_ESTATE))
        peers = members(dict.fromkeys([*servers, *sentinels]), hostvars, estate)  # type: ignore[arg-type]
        clients = members(applications, hostvars, estate)
        service = {
            "name": f"{'redis' if name in servers else 'sentinel'}_{ports[0]}",
            "ports": ports,
            "client_ports": [one for index, one in enumerate(ports) if not (name in servers and index == 1)],
            "peers": [address(hostvars[one], one) for one in peers] + list(known.get("redis_firewall_sources", [])),
            "clients": [address(hostvars[one], one) for one in clients],
        }
        if any(other["name"] == service["name"] for other in result):
            raise LifelineError(
                f"redis_firewall: {name} and another inventory host have the address {place} and both port {ports[0]}: "
                "give one of them its own redis_port (or redis_sentinel_port), or correct its address."
            )
        result.append(service)
    return result


def render(wanted: Sequence[Mapping[str, Any]], lookup: Lookup) -> str:
    """The file that replaces the whole table in one transaction. ``lookup``: name -> its addresses.

    Two lines in front make it work whether or not the table exists. Comments on the drop rules name the port, for
    whoever reads the counters.
    """
    sets: list[str] = []
    chains: list[str] = []
    jumps: list[str] = []
    for service in wanted:
        name, rules = service["name"], []
        for kind, ports in (("peers", service["ports"]), ("clients", service["client_ports"])):
            allowed = networks(service[kind], lookup)
            for version, kin, field in ((4, "ipv4_addr", "ip"), (6, "ipv6_addr", "ip6")):
                mine = [one for one in allowed if one.version == version]
                sets.append(_set(f"{name}_{kind}_v{version}", kin, mine))
                match = f"tcp dport {_ports(ports)} {field} saddr @{name}_{kind}_v{version}"
                rules.append(f"\t\t{match} accept")
        chains.append(f"\tchain {name} {{\n" + "\n".join(rules) + "\n\t}\n")
        jumps.append(f"\t\ttcp dport {_ports(service['ports'])} jump {name}")
    ports = sorted({port for service in wanted for port in service["ports"]})
    drops = [f'\t\ttcp dport {port} counter drop comment "refused {port}"' for port in ports]
    return (
        "# Managed by Ansible (role redis_firewall). Changes made here or in the live table are undone.\n"
        f"table inet {TABLE}\n"
        f"delete table inet {TABLE}\n"
        f"table inet {TABLE} {{\n"
        + "\n".join([*sets, *chains])
        + "\n\tchain guard {\n"
        + "\t\ttype filter hook input priority filter; policy accept;\n"
        + '\t\tiifname "lo" accept\n'
        + "\n".join([*jumps, *drops])
        + "\n\t}\n}\n"
    )


def networks(sources: Iterable[str], lookup: Lookup) -> list[Network]:
    """Addresses and CIDR blocks as sorted networks, none inside another (nft refuses overlaps).

    Raises LifelineError for what is neither, such as a block with host bits set.
    """
    found: set[Network] = set()
    for source in sources:
        for text in lookup.get(source, [source]):
            try:
                found.add(ipaddress.ip_network(text))
            except ValueError as error:
                raise LifelineError(
                    f"redis_firewall: {source!r} is no address or network that can be allowed ({error}): "
                    "correct redis_firewall_sources or the host's redis_address."
                ) from None
    return sorted(
        (one for one in found if not any(other != one and _inside(one, other) for other in found)),
        key=lambda one: (one.version, int(one.network_address), one.prefixlen),
    )


def normal(listing: str) -> str:
    """nft's listing of a table with one set element a line, sorted, so that a new peer is one line of a diff."""

    def spread(found: re.Match[str]) -> str:
        elements = sorted(" ".join(element.split()) for element in found.group(2).split(","))
        indent = found.group(1) + "\t"
        return (
            f"{found.group(1)}elements = {{\n" + "".join(f"{indent}{one},\n" for one in elements) + found.group(1) + "}"
        )

    return re.sub(r"^([ \t]*)elements = \{([^}]*)\}", spread, listing, flags=re.MULTILINE)


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Bring table, rules file and unit to their wanted state. Returns changed, installed, changes and diff."""
    wanted = params["services"] if params["state"] == "present" else []
    if shutil.which("nft") is None and not (check or not wanted):
        return {"changed": False, "installed": False, "changes": []}
    if not wanted:
        return _remove(check)
    if params["only_owned"]:
        ownership.require("firewall", "its rules are not brought back")
    _refuse_ssh(wanted, params["ssh_port"])
    return _guard(wanted, check)


def _guard(wanted: Sequence[Mapping[str, Any]], check: bool) -> dict[str, Any]:
    """The table as it should be, its file and its unit."""
    rules = render(wanted, resolve(source for service in wanted for source in (*service["peers"], *service["clients"])))
    on_disk = {"files": [dict(one, owner="root", group="root") for one in _files(rules)]}
    written = files.work(on_disk, True)
    changes = [f"write {path}" for path in written["changed_paths"]]
    diff = written["diff"]
    if shutil.which("nft") is None:
        changes = ["install nftables", *changes, f"load table inet {TABLE}"]
        return {"changed": True, "installed": False, "changes": changes, "diff": diff}
    before, after = live_table(), normal(_scratch(rules))
    if before != after:
        changes.append(f"load table inet {TABLE}")
        diff.append(commands.text_diff(f"table inet {TABLE} (live)", before, after))
    state = commands.unit_state(UNIT)
    if state != READY:
        changes.append(f"enable and start {UNIT}")
        diff.append(commands.text_diff(UNIT, state, READY))
    if not check:
        files.work(on_disk, False)
        if before != after:
            commands.run("nft", "-f", RULES)
        if UNIT_FILE in written["changed_paths"]:
            commands.run("systemctl", "daemon-reload")
        if state != READY:
            commands.run("systemctl", "enable", "--now", UNIT)
    return {
        "changed": bool(changes),
        "installed": True,
        "changes": changes,
        "diff": diff,
        "warnings": ephemeral(wanted, _local_range()),
    }


def resolve(sources: Iterable[str]) -> dict[str, list[str]]:
    """Names among the sources and their addresses, as this host resolves them. Raises LifelineError for an unknown."""
    found: dict[str, list[str]] = {}
    for source in sources:
        if source in found or re.fullmatch(r"[0-9./]+|.*:.*|.*/.*", source):
            continue
        try:
            found[source] = sorted(
                {str(one[4][0]) for one in socket.getaddrinfo(source, None, type=socket.SOCK_STREAM)}
            )
        except OSError as error:
            raise LifelineError(
                f"redis_firewall: this host cannot resolve {source} ({error.strerror}): "
                "set redis_address of that host to an address, or correct redis_firewall_sources."
            ) from error
    return found


def ephemeral(wanted: Sequence[Mapping[str, Any]], limits: tuple[int, int]) -> list[str]:
    """A warning for ports that the kernel may also give to outgoing connections, whose replies would be dropped."""
    bad = sorted({port for service in wanted for port in service["ports"] if limits[0] <= port <= limits[1]})
    if not bad:
        return []
    ports = ", ".join(map(str, bad))
    warning = (
        f"redis_firewall: this host may give port {ports} to outgoing connections, whose replies would be dropped: "
        f"use ports outside {limits[0]} to {limits[1]}, or add them to net.ipv4.ip_local_reserved_ports."
    )
    return [warning]


def live_table() -> str:
    """The live table as ``normal`` text without counters, empty when there is none."""
    done = commands.call("nft", "-s", "-n", "list", "table", "inet", TABLE)
    if done.returncode == 0:
        return normal(done.stdout)
    if "No such file or directory" in done.stderr:
        return ""
    raise LifelineError(
        f"redis_firewall: nft cannot list the table: {commands.said(done)}. Does the play have become: true?"
    )


def ssh_ports() -> set[int]:
    """Ports of this machine through which the SSH session that runs us came in, read from our ancestors."""
    found: set[int] = set()
    process = os.getpid()
    while process > 1:
        try:
            environment = Path(f"/proc/{process}/environ").read_bytes()
            process = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            break
        session = re.search(rb"(?:^|\0)SSH_CONNECTION=\S+ \d+ \S+ (\d+)", environment)
        if session:
            found.add(int(session.group(1)))
    return found


def _refuse_ssh(wanted: Sequence[Mapping[str, Any]], configured: Optional[int]) -> None:
    used = ssh_ports() | ({configured} if configured else set())
    for service in wanted:
        clash = used.intersection(service["ports"])
        if clash:
            raise LifelineError(
                f"redis_firewall: port {min(clash)} of {service['name']} is the port of this SSH connection: "
                "nothing was changed; give Redis or SSH another port."
            )


def _remove(check: bool) -> dict[str, Any]:
    """Take away unit, table and files, whichever are there."""
    has_nft = shutil.which("nft") is not None
    gone = {
        "files": [
            *({"path": path, "state": "absent"} for path in (RULES, UNIT_FILE)),
            *ownership.entries(["firewall"], "absent"),
        ]
    }
    written = files.work(gone, True)
    changes = [f"remove {path}" for path in written["changed_paths"]]
    diff = written["diff"]
    before = live_table() if has_nft else ""
    if before:
        changes.append(f"delete table inet {TABLE}")
        diff.append(commands.text_diff(f"table inet {TABLE} (live)", before, ""))
    state = commands.unit_state(UNIT)
    if state != GONE:
        changes.append(f"stop and disable {UNIT}")
        diff.append(commands.text_diff(UNIT, state, GONE))
    if not check:
        if state != GONE:
            commands.run("systemctl", "disable", "--now", UNIT)
        if before and live_table():
            commands.run("nft", "delete", "table", "inet", TABLE)
        files.work(gone, False)
        if UNIT_FILE in written["changed_paths"]:
            commands.remove_unit(UNIT)
    return {"changed": bool(changes), "installed": has_nft, "changes": changes, "diff": diff}


def _files(rules: str) -> list[dict[str, Any]]:
    return [
        *ownership.entries(["firewall"]),
        {"path": RULES, "content": rules, "mode": "0640"},
        {"path": UNIT_FILE, "content": _UNIT_TEXT, "mode": "0644"},
    ]


def _scratch(rules: str) -> str:
    """nft's listing of the wanted rules, loaded in a network namespace that ends with the call."""
    script = f"nft -f - && nft -s -n list table inet {TABLE}"
    done = commands.call("unshare", "--net", "sh", "-c", script, text=rules)
    if done.returncode:
        raise LifelineError(
            f"redis_firewall: the new rules cannot be loaded, nothing was changed: {commands.said(done)}"
        )
    return done.stdout


def _local_range() -> tuple[int, int]:
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return int(low), int(high)


def _set(name: str, kind: str, elements: Sequence[Network]) -> str:
    body = f"\t\ttype {kind}\n\t\tflags interval\n"
    if elements:
        shown = (str(one.network_address) if one.num_addresses == 1 else str(one) for one in elements)
        body += "\t\telements = {\n" + "".join(f"\t\t\t{one},\n" for one in shown) + "\t\t}\n"
    return f"\tset {name} {{\n{body}\t}}\n"


def _ports(ports: Sequence[int]) -> str:
    return str(ports[0]) if len(ports) == 1 else "{ " + ", ".join(map(str, sorted(ports))) + " }"


def _inside(one: Network, other: Network) -> bool:
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return one.subnet_of(other)
    if isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return one.subnet_of(other)
    return False

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a lab decides before it touches the machine: pure functions, no I/O."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Optional, Sequence

from ..errors import LifelineError

RELEASES = ("bookworm", "trixie", "sid")
# Suites of the archive that are one moving release: they have neither updates nor security suites beside them.
ROLLING = ("sid",)
IMAGE = "localhost/lifeline-lab"
LABEL = "lifeline.lab"
# The first process of a host; the recipe puts it there.
INIT = "/usr/local/sbin/lab-init"

# Private /24s, in the order that they are tried; away from what container engines and clouds hand out first.
POOL = tuple(f"10.{second}.{third}.0/24" for second in (213, 217, 221) for third in range(256))

# What a lab host could change for the whole machine, since containers share its kernel.
KERNEL_SETTINGS = (
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/swappiness",
    "/proc/sys/vm/max_map_count",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/fs/file-max",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/mm/transparent_hugepage/defrag",
    "/proc/sys/fs/inotify/max_user_instances",
)

# A host that boots systemd takes about 7 of these; with the kernel's 128 for a user, some 20 hosts hang while booting.
INOTIFY_INSTANCES = ("/proc/sys/fs/inotify/max_user_instances", 1024)

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True)
class Host:
    """One host of the lab. ``memory`` as podman takes it (``512m``), or None for no limit."""

    name: str
    groups: tuple[str, ...] = ()
    release: str = "bookworm"
    memory: Optional[str] = None
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Container:
    """A container that podman knows: what it was made from and whether it runs."""

    name: str
    host: str
    lab: str
    directory: str
    run: str
    release: str
    memory: str
    state: str
    connected: bool = True


@dataclass(frozen=True)
class Plan:
    """What is to be done with containers: names of hosts to remove, create, connect to the network and start."""

    remove: tuple[str, ...]
    create: tuple[str, ...]
    connect: tuple[str, ...]
    start: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return not (self.remove or self.create or self.connect or self.start)


@dataclass(frozen=True)
class Mirror:
    """Where Debian's packages come from. ``security`` is empty where the machine names none."""

    archive: str
    security: str = ""


def check_lab_name(name: str) -> None:
    """Raise LifelineError unless the lab's name can be part of container and network names."""
    if not _NAME.fullmatch(name):
        raise LifelineError(
            f"The lab cannot be called {name!r}: use at most 40 lower-case letters, digits, dashes in lab_hosts_name."
        )


def hosts_from(params: Sequence[Mapping[str, Any]]) -> list[Host]:
    """The wanted hosts, checked. Raises LifelineError for a bad or doubled name or an unknown release."""
    hosts: list[Host] = []
    for item in params:
        name = item["name"]
        if not _NAME.fullmatch(name):
            raise LifelineError(
                f"lab_hosts_hosts has a host called {name!r}: use lower-case letters, digits and dashes."
            )
        if any(host.name == name for host in hosts):
            raise LifelineError(f"lab_hosts_hosts has two hosts called {name!r}: give each its own name.")
        release = item.get("release") or RELEASES[0]
        if release not in RELEASES:
            raise LifelineError(
                f"lab_hosts_hosts asks for the release {release!r} on {name}: choose one of {', '.join(RELEASES)}."
            )
        hosts.append(
            Host(name, tuple(item.get("groups") or ()), release, item.get("memory") or None, item.get("vars") or {})
        )
    return hosts


def container_name(lab: str, host: str) -> str:
    """How podman knows a host of a lab."""
    return f"lifeline-{lab}-{host}"


def network_name(lab: str) -> str:
    """How podman knows the network of a lab."""
    return f"lifeline-{lab}"


def containers_from(listing: Iterable[Mapping[str, Any]]) -> list[Container]:
    """From ``podman ps --all --format json``: the containers that some lab made."""
    found = []
    for item in listing:
        labels = item.get("Labels") or {}
        if LABEL not in labels:
            continue
        found.append(
            Container(
                name=item["Names"][0],
                host=labels.get(f"{LABEL}.host", ""),
                lab=labels[LABEL],
                directory=labels.get(f"{LABEL}.directory", ""),
                run=labels.get(f"{LABEL}.run", ""),
                release=labels.get(f"{LABEL}.release", ""),
                memory=labels.get(f"{LABEL}.memory", ""),
                state=str(item.get("State", "")).lower(),
                connected=network_name(labels[LABEL]) in (item.get("Networks") or ()),
            )
        )
    return found


def plan(current: Sequence[Container], wanted: Sequence[Host], run: str) -> Plan:
    """What turns the containers of one lab into the wanted hosts.

    ``run`` is the identity of the lab's keys: a container that was made with others cannot be reached and is made
    again, as is one whose release or memory differs. One that was cut off is connected, one without power started.
    """
    have = {container.host: container for container in current}
    stale = {
        host.name
        for host in wanted
        if host.name in have
        and (have[host.name].run, have[host.name].release, have[host.name].memory)
        != (run, host.release, host.memory or "")
    }
    names = [host.name for host in wanted]
    kept = [name for name in names if name in have and name not in stale]
    return Plan(
        remove=tuple(sorted(set(have) - set(kept))),
        create=tuple(name for name in names if name not in kept),
        connect=tuple(name for name in kept if not have[name].connected),
        start=tuple(name for name in kept if have[name].state not in ("running", "paused")),
    )


def choose_subnet(taken: Iterable[str], pool: Sequence[str] = POOL) -> str:
    """The first network of the pool that overlaps none of ``taken`` (networks and addresses, IPv6 is passed over)."""
    networks = []
    for text in taken:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue
        if network.version == 4 and network.prefixlen > 0:
            networks.append(network)
    for candidate in pool:
        subnet = ipaddress.ip_network(candidate)
        if not any(subnet.overlaps(network) for network in networks):
            return candidate
    raise LifelineError(
        "No free subnet was found for the lab, since this machine's routes cover all that were tried: "
        "set lab_hosts_subnet to a free IPv4 network such as 192.168.213.0/24."
    )


def allocate(subnet: str, wanted: Sequence[str], kept: Mapping[str, str]) -> dict[str, str]:
    """An address in ``subnet`` for each wanted host: what it has, or else the lowest free one from .11 on.

    Raises LifelineError when the subnet is too small.
    """
    network = ipaddress.ip_network(subnet)
    addresses = {name: kept[name] for name in wanted if name in kept and ipaddress.ip_address(kept[name]) in network}
    used = set(addresses.values())
    free = (str(network[index]) for index in range(11, max(11, network.num_addresses - 1)))
    for name in wanted:
        if name not in addresses:
            address = next((candidate for candidate in free if candidate not in used), None)
            if address is None:
                raise LifelineError(
                    f"The subnet {subnet} has no room for {len(wanted)} hosts: set a larger lab_hosts_subnet."
                )
            addresses[name] = address
            used.add(address)
    return {name: addresses[name] for name in wanted}


def mac_address(address: str) -> str:
    """A hardware address that follows from the IPv4 address: a host that comes back is found in every ARP cache."""
    return "02:4c:" + ":".join(f"{int(octet):02x}" for octet in address.split("."))


def image_sources(release: str, mirror: Mirror) -> dict[str, str]:
    """What the recipe is told about a release's package sources: MIRROR, its SUITES there, and SECURITY."""
    if release in ROLLING:
        return {"MIRROR": mirror.archive, "SUITES": release, "SECURITY": ""}
    return {"MIRROR": mirror.archive, "SUITES": f"{release} {release}-updates", "SECURITY": mirror.security}


def mirror_from(sources: Iterable[str]) -> Mirror:
    """The Debian mirror that APT's source files name.

    ``sources`` are the texts of ``sources.list`` and ``*.list`` (one line a source) and ``*.sources`` (deb822).
    Raises LifelineError when none is Debian's.
    """
    archive = security = ""
    for text in sources:
        for uri, suites in _entries(text):
            if not uri.startswith(("http:", "https:", "file:", "ftp:")):
                continue
            for suite in suites:
                if suite.endswith(("-security", "/updates")):
                    security = security or uri
                elif suite.split("-")[0] in _SUITES and uri.rstrip("/").endswith("debian"):
                    archive = archive or uri
    if not archive:
        raise LifelineError(
            "This machine's APT sources name no Debian mirror to build lab hosts from: "
            "set lab_hosts_mirror to one, such as the address of your own mirror."
        )
    return Mirror(archive, security)


_SUITES = ("bullseye", "bookworm", "trixie", "forky", "duke", "sid", "oldstable", "stable", "testing", "unstable")


def _entries(text: str) -> Iterable[tuple[str, list[str]]]:
    """(address, suites) of each binary source in one file, whichever of the two formats it has."""
    if re.search(r"^URIs:", text, re.MULTILINE | re.IGNORECASE):
        for paragraph in re.split(r"\n\s*\n", text):
            fields = _fields(paragraph)
            if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
                for uri in fields.get("uris", "").split():
                    yield uri, fields.get("suites", "").split()
        return
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", line)
        if match:
            yield match.group(1), [match.group(2)]


def _fields(paragraph: str) -> dict[str, str]:
    """The fields of a deb822 paragraph, by lower-case name; comments left out, continuation lines joined."""
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and name:
            fields[name] += " " + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def apt_lines(dump: str) -> str:
    """From ``apt-config dump``: the settings that reaching the mirror depends on, for the hosts' own APT."""
    wanted = re.compile(r"Acquire::(Check-Valid-Until|Retries|https?::(Proxy|Verify|CAInfo|Timeout)[^ ]*) ", re.I)
    return "\n".join(line for line in dump.splitlines() if wanted.match(line) and not line.endswith('"";'))


def image_tag(release: str, recipe: str, settings: Mapping[str, str]) -> str:
    """``localhost/lifeline-lab:<release>-<hash>``; the hash covers the recipe's text and what it is given."""
    digest = hashlib.sha256(recipe.encode())
    for key in sorted(settings):
        digest.update(f"\0{key}={settings[key]}".encode())
    return f"{IMAGE}:{release}-{digest.hexdigest()[:12]}"


def ulimits(files: int, processes: int) -> list[str]:
    """podman's arguments for the limits of a host's first process.

    ``files`` and ``processes`` are this machine's hard limits, -1 for none. podman asks for more than a machine may
    allow, and then nothing starts; so it is told what there is.
    """
    cap = 1048576
    nofile = cap if files < 0 else min(files, cap)
    nproc = 30000 if processes < 0 else min(processes, 30000)
    return ["--ulimit", f"nofile={nofile}:{nofile}", "--ulimit", f"nproc={nproc}:{nproc}"]


def create_argv(
    lab: str, host: Host, address: str, image: str, runtime: str, limits: Sequence[str], directory: str, run: str
) -> list[str]:
    """The command that creates one host, without starting it."""
    labels = {
        LABEL: lab,
        f"{LABEL}.host": host.name,
        f"{LABEL}.directory": directory,
        f"{LABEL}.run": run,
        f"{LABEL}.release": host.release,
        f"{LABEL}.memory": host.memory or "",
    }
    argv = ["podman", "--runtime", runtime, "create", "--name", container_name(lab, host.name), "--hostname", host.name]
    argv += ["--network", network_name(lab), "--ip", address, "--mac-address", mac_address(address)]
    argv += ["--network-alias", host.name, "--systemd=always", "--privileged", "--pull=never", *limits]
    if host.memory:
        # Equal limits: swap would turn an out-of-memory kill into a slow host.
        argv += ["--memory", host.memory, "--memory-swap", host.memory]
    for key, value in labels.items():
        argv += ["--label", f"{key}={value}"]
    return [*argv, image, INIT]


def setting_value(text: str) -> str:
    """The value in a file of /proc/sys or /sys: the word in brackets, where the file offers a choice."""
    chosen = re.search(r"\[(\w+)\]", text)
    return chosen.group(1) if chosen else text.strip()


def connect_argv(lab: str, host: str, address: str) -> list[str]:
    """The command that connects a host which was cut off to the lab's network again, as it was."""
    argv = ["podman", "network", "connect", "--ip", address, "--mac-address", mac_address(address), "--alias", host]
    return [*argv, network_name(lab), container_name(lab, host)]


def inventory(hosts: Sequence[Host], addresses: Mapping[str, str], variables: Mapping[str, Any]) -> dict[str, Any]:
    """The inventory of a lab: its hosts in their groups, all of them in ``lab_hosts`` with the lab's variables."""
    groups: dict[str, Any] = {
        "lab_hosts": {
            "hosts": {host.name: {"ansible_host": addresses[host.name], **host.variables} for host in hosts},
            "vars": dict(variables),
        }
    }
    for host in hosts:
        for group in host.groups:
            groups.setdefault(group, {"hosts": {}})["hosts"][host.name] = {}
    return groups

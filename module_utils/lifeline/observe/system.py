# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's own state: processor, memory, pressure, network, kernel settings, disks."""

from __future__ import annotations

import os
import time
from typing import Any, Iterable, Mapping, Optional

from ..common.shell import read
from ..common.values import number

# How long the two looks lie apart that rates are told from, in seconds.
SAMPLE_S = 0.3

KERNEL = {
    "overcommit_memory": "/proc/sys/vm/overcommit_memory",
    "swappiness": "/proc/sys/vm/swappiness",
    "somaxconn": "/proc/sys/net/core/somaxconn",
    "thp": "/sys/kernel/mm/transparent_hugepage/enabled",
}

CONNTRACK = {
    "count": "/proc/sys/net/netfilter/nf_conntrack_count",
    "max": "/proc/sys/net/netfilter/nf_conntrack_max",
}

# A container host has hundreds of interfaces; those with most traffic since boot are kept.
INTERFACES = 8

# Columns of /proc/net/dev after the colon.
_DEVICE = {
    "rx_bytes": 0,
    "rx_packets": 1,
    "rx_errors": 2,
    "rx_dropped": 3,
    "tx_bytes": 8,
    "tx_packets": 9,
    "tx_errors": 10,
    "tx_dropped": 11,
}

# Counters of /proc/net/snmp, /proc/net/netstat and /proc/vmstat, and what they are called here.
_TCP = {"RetransSegs": "retransmits", "OutSegs": "segments", "InErrs": "errors"}
_TCP_EXT = {"ListenOverflows": "listen_overflows", "ListenDrops": "listen_drops"}
_PAGES = {"pswpin": "swapped_in", "pswpout": "swapped_out", "oom_kill": "oom_kills"}


def memory() -> dict[str, Any]:
    """Bytes: ``{total, available, swap_total, swap_free}``."""
    return parse_meminfo(read("/proc/meminfo"))


def parse_meminfo(text: str) -> dict[str, Any]:
    """The same from the text of /proc/meminfo."""
    names = {"MemTotal": "total", "MemAvailable": "available", "SwapTotal": "swap_total", "SwapFree": "swap_free"}
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if name in names and words and words[0].isdigit():
            found[names[name]] = int(words[0]) * 1024
    return found


def load() -> dict[str, Any]:
    """``{cores, one, five, fifteen}``: cores, and the load averages."""
    try:
        one, five, fifteen = os.getloadavg()
    except OSError:
        return {"cores": os.cpu_count()}
    return {"cores": os.cpu_count(), "one": round(one, 2), "five": round(five, 2), "fifteen": round(fifteen, 2)}


def pressure() -> dict[str, Any]:
    """Percent of the last 10 s that some task waited: ``{cpu, memory, io}``, and that all did: ``{memory_full,
    io_full}``; without what the kernel lacks."""
    found: dict[str, Optional[float]] = {}
    for name in ("cpu", "memory", "io"):
        text = read(f"/proc/pressure/{name}")
        found[name] = parse_pressure(text)
        if name != "cpu":
            found[f"{name}_full"] = parse_pressure(text, "full")
    return {name: value for name, value in found.items() if value is not None}


def parse_pressure(text: str, who: str = "some") -> Optional[float]:
    """avg10 of the line ``some`` or ``full`` of /proc/pressure/NAME."""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == [who] and len(words) > 1 and words[1].startswith("avg10="):
            try:
                return float(words[1][6:])
            except ValueError:
                return None
    return None


def kernel() -> dict[str, str]:
    """Settings that Redis depends on, as the kernel spells them."""
    return {name: read(path).strip() for name, path in KERNEL.items() if read(path)}


def disks(paths: Iterable[str]) -> dict[str, Any]:
    """``{path: {free, total, inodes_free, inodes_total, read_only}}`` of the filesystems that hold some paths."""
    found = {path: _disk(path) for path in paths if path}
    return {path: disk for path, disk in found.items() if disk is not None}


def _disk(path: str) -> Optional[dict[str, Any]]:
    while not os.path.exists(path) and path not in ("/", ""):
        path = os.path.dirname(path)
    try:
        state = os.statvfs(path)
    except OSError:
        return None
    return {
        "free": state.f_bavail * state.f_frsize,
        "total": state.f_blocks * state.f_frsize,
        "inodes_free": state.f_favail,
        "inodes_total": state.f_files,
        "read_only": bool(state.f_flag & os.ST_RDONLY),
    }


def counters() -> dict[str, Any]:
    """What only ever grows: ``{cpu, devices, tcp, pages}``."""
    return {
        "cpu": parse_cpu(read("/proc/stat", 1024)),
        "devices": parse_devices(read("/proc/net/dev")),
        "tcp": {
            **parse_paired(read("/proc/net/snmp"), "Tcp", _TCP),
            **parse_paired(read("/proc/net/netstat"), "TcpExt", _TCP_EXT),
        },
        "pages": parse_pages(read("/proc/vmstat")),
    }


def parse_cpu(text: str) -> dict[str, int]:
    """Ticks of the line ``cpu`` of /proc/stat: ``{total, idle, iowait, steal}``."""
    words = next((line.split()[1:] for line in text.splitlines() if line.startswith("cpu ")), [])
    ticks = [number(word) for word in words[:8]]
    if len(ticks) < 8:
        return {}
    return {"total": sum(ticks), "idle": ticks[3], "iowait": ticks[4], "steal": ticks[7]}


def parse_devices(text: str) -> dict[str, dict[str, int]]:
    """Counters of /proc/net/dev by interface, without the loopback."""
    found = {}
    for line in text.splitlines():
        name, colon, values = line.partition(":")
        columns = values.split()
        if colon and len(columns) >= 12 and name.strip() != "lo":
            found[name.strip()] = {key: number(columns[column]) for key, column in _DEVICE.items()}
    return found


def parse_paired(text: str, section: str, names: Mapping[str, str]) -> dict[str, int]:
    """Some counters of /proc/net/snmp or netstat: a line of names, then a line of numbers, each headed by a section."""
    rows = [line.split()[1:] for line in text.splitlines() if line.startswith(f"{section}: ")]
    if len(rows) < 2:
        return {}
    return {names[name]: number(value) for name, value in zip(rows[0], rows[1]) if name in names}


def parse_pages(text: str) -> dict[str, int]:
    """Some counters of /proc/vmstat."""
    pairs = (line.split() for line in text.splitlines())
    return {_PAGES[pair[0]]: number(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] in _PAGES}


def rates(before: Mapping[str, Any], after: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """From two ``counters``: ``{cpu, network, pages}``.

    ``cpu``: percent ``{busy, iowait, steal}`` of all cores. ``network``: ``{interfaces: {name: {rx_bytes_per_s,
    tx_bytes_per_s, rx_packets_per_s, tx_packets_per_s, errors_per_s, dropped_per_s, and the counters since boot
    rx_errors, tx_errors, rx_dropped, tx_dropped}}, tcp: {segments_per_s, retransmits_per_s, listen_drops_per_s, and
    since boot retransmits, errors, listen_overflows, listen_drops}}``. ``pages``: ``{swapped_in_per_s,
    swapped_out_per_s, oom_kills}``, the last since boot.
    """
    seconds = max(seconds, 0.001)
    busiest = sorted(after["devices"].items(), key=lambda item: -item[1]["rx_bytes"] - item[1]["tx_bytes"])
    devices = {
        name: _device_rates(before["devices"].get(name, now), now, seconds) for name, now in busiest[:INTERFACES]
    }
    tcp, pages = after["tcp"], after["pages"]
    tcp_rates = {
        f"{name}_per_s": _rate(before["tcp"], tcp, name, seconds)
        for name in ("segments", "retransmits", "listen_drops")
        if name in tcp
    }
    return {
        "cpu": _shares(before["cpu"], after["cpu"]),
        "network": {
            "interfaces": devices,
            "tcp": {**tcp_rates, **{name: value for name, value in tcp.items() if name != "segments"}},
        },
        "pages": {
            "swapped_in_per_s": _rate(before["pages"], pages, "swapped_in", seconds),
            "swapped_out_per_s": _rate(before["pages"], pages, "swapped_out", seconds),
            "oom_kills": pages.get("oom_kills", 0),
        },
    }


def _rate(before: Mapping[str, int], after: Mapping[str, int], name: str, seconds: float) -> float:
    now = after.get(name, 0)
    return round(max(0, now - before.get(name, now)) / seconds, 1)


def _device_rates(before: Mapping[str, int], now: Mapping[str, int], seconds: float) -> dict[str, Any]:
    rate = {name: _rate(before, now, name, seconds) for name in now}
    return {
        **{f"{name}_per_s": rate[name] for name in ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")},
        "errors_per_s": rate["rx_errors"] + rate["tx_errors"],
        "dropped_per_s": rate["rx_dropped"] + rate["tx_dropped"],
        **{name: now[name] for name in ("rx_errors", "tx_errors", "rx_dropped", "tx_dropped")},
    }


def _shares(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, float]:
    total = after.get("total", 0) - before.get("total", 0)
    if total <= 0:
        return {}
    part = {name: 100 * (after[name] - before.get(name, after[name])) / total for name in ("idle", "iowait", "steal")}
    return {
        "busy": round(100 - part["idle"] - part["iowait"], 1),
        "iowait": round(part["iowait"], 1),
        "steal": round(part["steal"], 1),
    }


def conntrack() -> dict[str, int]:
    """``{count, max}`` of the firewall's table of connections; empty where there is none."""
    found = {name: read(path).strip() for name, path in CONNTRACK.items()}
    return {name: int(value) for name, value in found.items() if value.isdigit()}


def look(paths: Iterable[str]) -> dict[str, Any]:
    """All of it: ``{memory, load, pressure, kernel, disks, cpu, network, pages, late_s}``. Takes ``SAMPLE_S``.

    ``late_s``: how much later than it had asked for this look was woken. Where that is much, the host has no processor
    to spare, and a timeout of its looks says more about itself than about whom it looked at.
    """
    before, started = counters(), time.monotonic()
    found: dict[str, Any] = {
        "memory": memory(),
        "load": load(),
        "pressure": pressure(),
        "kernel": kernel(),
        "disks": disks(paths),
    }
    wanted = max(time.monotonic(), started + SAMPLE_S)
    time.sleep(max(0.0, wanted - time.monotonic()))
    found["late_s"] = round(time.monotonic() - wanted, 3)
    rated = rates(before, counters(), time.monotonic() - started)
    rated["network"]["conntrack"] = conntrack()
    return {**found, **rated}

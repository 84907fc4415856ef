# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Injectors of the family config."""

from __future__ import annotations

from collections.abc import Iterator

from base import LEFT, Expect, fault
from lab import UNIT, Lab
from ways import CONFIG, LOG, config_with, failed, inside, shell, up_again

# No interface of the lab has it: it is kept for documentation.
NOWHERE = "198.51.100.77"


def start_fails(lab: Lab, host: str) -> None:
    lab.on(host, "systemctl", "restart", UNIT, check=False)
    failed(lab, host)


@fault("config_invalid", quick=True)
def bad_directive(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with config_with(lab, replica, "foo bar"):
        start_fails(lab, replica)
        yield Expect(replica)
    up_again(lab, replica)


@fault("config_invalid", "value")
def bad_value(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with config_with(lab, replica, "appendonly perhaps"):
        start_fails(lab, replica)
        yield Expect(replica)
    up_again(lab, replica)


@fault("bound_to_loopback", recovery=LEFT)
def loopback_only(lab: Lab) -> Iterator[Expect]:
    """Live, so that no restart brings it back, and nobody fails over to it."""
    replica = lab.replicas()[0]
    before = lab.redis(replica, "CONFIG", "GET", "bind").splitlines()[-1]
    inside(lab, replica, "CONFIG", "SET", "bind", "127.0.0.1")
    yield Expect(replica)
    inside(lab, replica, "CONFIG", "SET", "bind", before)


@fault("config_next_start", quick=True)
def bad_directive_in_wait(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with config_with(lab, replica, "foo bar"):
        yield Expect(replica)


@fault("port_taken", recovery=LEFT)
def strange_listener(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    listen = "import socket, time; s = socket.create_server(('', 6379)); time.sleep(600)"
    lab.on(replica, "systemctl", "stop", UNIT)
    lab.on(replica, "systemd-run", "--quiet", "--unit=squatter", "python3", "-c", listen)
    start_fails(lab, replica)
    yield Expect(replica)
    lab.on(replica, "systemctl", "stop", "squatter")
    up_again(lab, replica)


@fault("port_taken", "by_hand", recovery=LEFT)
def server_started_by_hand(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.on(replica, "systemctl", "stop", UNIT)
    run = ("systemd-run", "--quiet", "--unit=by-hand", "--uid=redis", "--gid=redis", "redis-server", CONFIG)
    lab.on(replica, *run, "--daemonize", "no", "--unixsocket", "/tmp/by-hand.sock", "--pidfile", "/tmp/by-hand.pid")
    start_fails(lab, replica)
    yield Expect(replica)
    lab.on(replica, "systemctl", "stop", "by-hand")
    up_again(lab, replica)


@fault("address_missing", "down")
def address_of_nobody(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with config_with(lab, replica, f"bind 127.0.0.1 {NOWHERE}"):
        start_fails(lab, replica)
        yield Expect(replica)
    up_again(lab, replica)


@fault("address_missing", "next_start")
def address_of_nobody_in_wait(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with config_with(lab, replica, f"bind 127.0.0.1 {NOWHERE}"):
        yield Expect(replica)


@fault("files_denied", "config")
def configuration_of_root(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    shell(lab, replica, f"chown root: {CONFIG}")
    start_fails(lab, replica)
    yield Expect(replica)
    shell(lab, replica, f"chown redis: {CONFIG}")
    up_again(lab, replica)


@fault("files_denied", "log")
def log_of_root(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    shell(lab, replica, f"chown root:root {LOG}; chmod 600 {LOG}")
    start_fails(lab, replica)
    yield Expect(replica)
    shell(lab, replica, f"chown redis:adm {LOG}; chmod 640 {LOG}")
    up_again(lab, replica)


@fault("files_denied", "running")
def configuration_of_root_under_a_running_server(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    shell(lab, replica, f"chown root: {CONFIG}")
    yield Expect(replica)
    shell(lab, replica, f"chown redis: {CONFIG}")


@fault("unit_drift")
def unit_disabled(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.on(replica, "systemctl", "disable", "--quiet", UNIT)
    yield Expect(replica)
    lab.on(replica, "systemctl", "enable", "--quiet", UNIT)

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab for the demo, the benchmarks and the fault tests: run playbooks on it, break it, ask it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ansible_output import failures

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
UNIT = "redis-server@main.service"
SENTINEL_UNIT = "redis-sentinel.service"
# Entering a container costs a processor 0.15 s: whoever asked more often would slow down what it waits for.
POLL_S = 0.3


@dataclass
class Run:
    """How a playbook ended: exit status, wall-clock seconds, output (empty when it went to the terminal).

    ``cpu``: seconds of processor time on the control node, which others who work there hardly change.
    """

    status: int
    seconds: float
    output: str
    cpu: float = 0.0

    @property
    def why(self) -> str:
        """What failed, for a test that expected otherwise; the end of the output where no task did."""
        return "\n".join(failures(self.output)) or self.output[-2000:]


class Lab:
    """The default lab (LIFELINE_LAB names it), or one of another name whose generated inventory lies elsewhere."""

    def __init__(self, name: str = "", inventory: Path = ROOT / "inventories" / "lab") -> None:
        self.name = name or os.environ.get("LIFELINE_LAB") or "lab"
        self.inventory = inventory

    def playbook(self, playbook: str, *options: str, show: bool = False, check: bool = True) -> Run:
        """Run a playbook on the lab. ``show`` lets its output through; ``check`` ends the program when it fails."""
        command = [str(BIN / "ansible-playbook"), "-i", str(self.inventory), playbook, *options]
        started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=None if show else subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        run = Run(done.returncode, time.monotonic() - started, done.stdout or "", cpu)
        if check and run.status:
            raise SystemExit(f"{playbook} failed with status {run.status}\n{run.why}")
        return run

    @property
    def variables(self) -> dict[str, Any]:
        """Variables of the generated inventory (passwords among them)."""
        generated = json.loads((self.inventory / "generated" / "hosts.json").read_text())
        found: dict[str, Any] = generated["lab_hosts"]["vars"]
        return found

    @property
    def addresses(self) -> dict[str, str]:
        """Inventory names and their addresses."""
        generated = json.loads((self.inventory / "generated" / "hosts.json").read_text())
        return {name: host["ansible_host"] for name, host in generated["lab_hosts"]["hosts"].items()}

    def flavour(self, host: str) -> str:
        """What a host's server is: redis, or what the lab's hosts say."""
        generated = json.loads((self.inventory / "generated" / "hosts.json").read_text())
        return str(generated["lab_hosts"]["hosts"][host].get("redis_flavour", "redis"))

    def podman(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """One podman command."""
        return subprocess.run(["podman", *arguments], capture_output=True, text=True, check=check, **options)

    def container(self, host: str) -> str:
        """Name of a host's container."""
        return f"lifeline-{self.name}-{host}"

    def on(self, host: str, *command: str, check: bool = True, env: Optional[dict[str, str]] = None) -> str:
        """Run a command on a host as root and return what it printed. ``env`` does not show in argv."""
        names = [word for name in (env or {}) for word in ("--env", name)]
        done = self.podman(
            "exec", *names, self.container(host), *command, check=check, env={**os.environ, **(env or {})}
        )
        return done.stdout

    def redis(self, host: str, *command: str, port: int = 6379) -> str:
        """A Redis command on a host's own server, as the operator; empty when it does not answer."""
        tool = [f"{self.flavour(host)}-cli", "--tls", "--cacert", "/etc/redis/tls/ca.crt"]
        tool += ["-h", self.addresses[host], "-p", str(port)]
        secret = {"REDISCLI_AUTH": self.variables["redis_password_operator"]}
        return self.on(host, *tool, "--user", "operator", "--no-auth-warning", *command, check=False, env=secret)

    def primaries(self, hosts: tuple[str, ...] = ("redis1", "redis2", "redis3")) -> list[str]:
        """Hosts whose server says that it is primary and has replicas."""
        infos = {host: self.redis(host, "INFO", "replication") for host in hosts if self.running(host)}
        return [host for host, info in infos.items() if "role:master" in info and "connected_slaves:0" not in info]

    def primary(self) -> str:
        """The one primary with replicas, as soon as there is just one."""
        wait_for(lambda: len(self.primaries()) == 1, "one primary with replicas", 60)
        return self.primaries()[0]

    def replicas(self, hosts: tuple[str, ...] = ("redis1", "redis2", "redis3")) -> list[str]:
        """Hosts of the other servers."""
        primary = self.primary()
        return [host for host in hosts if host != primary]

    def running(self, host: str) -> bool:
        """Whether the host's power is on."""
        done = self.podman("inspect", "--format", "{{.State.Running}}", self.container(host), check=False)
        return done.stdout.strip() == "true"

    def kill_for_good(self, host: str, unit: str = UNIT, signal: str = "KILL") -> None:
        """Kill the unit's process with systemd told not to start it again, as when it has hit its start limit.

        Left to itself systemd gives up after five deaths, six seconds later; Sentinel would have failed over by then.
        """
        folder = f"/run/systemd/system/{unit}.d"
        drop_in = f"{folder}/zz-given-up.conf"  # after the role's own
        told = f"mkdir -p {folder}; printf '[Service]\\nRestart=no\\n' > {drop_in}; systemctl daemon-reload"
        self.on(host, "sh", "-c", told)
        # A worker whose server refuses it waits for its next start: there is nothing to kill in that moment.
        kill = f"systemctl kill --kill-whom=main --signal={signal} {unit} && echo killed"
        wait_for(lambda: self.on(host, "sh", "-c", kill, check=False), f"{unit} running", 30)
        wait_for(
            lambda: self.on(host, "systemctl", "is-failed", unit, check=False).strip() == "failed", "its death", 10
        )
        self.on(host, "sh", "-c", f"rm -r {folder} && systemctl daemon-reload")

    def cut_power(self, host: str) -> None:
        """The host is gone at once, with what it had not written to disk."""
        self.podman("kill", self.container(host))

    def power_on(self, host: str) -> None:
        """Start a host again and wait until it has booted."""
        self.podman("start", self.container(host))
        wait_for(lambda: "running" in self.on(host, "systemctl", "is-system-running", check=False), f"{host} up", 30)


def wait_for(condition: Callable[[], Any], what: str, seconds: float) -> Any:
    """What ``condition`` returns, once that is true; RuntimeError naming ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:.0f} s")
        time.sleep(POLL_S)


def end_run(playbook: int) -> None:
    """Kill a run of ansible-playbook that leads its group; its workers have sessions of their own, and would stay."""
    found = subprocess.run(["pgrep", "--parent", str(playbook)], capture_output=True, text=True, check=False)
    os.killpg(playbook, signal.SIGKILL)
    for worker in found.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(worker), signal.SIGKILL)


def versions() -> dict[str, str]:
    """What a benchmark's figures were measured with."""
    from ansible.release import __version__

    return {
        "ansible_core": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "cores": str(os.cpu_count()),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person types who already knows the cause: ssh and redis-cli, no look around, nothing checked afterwards.

It is what recover.yml is measured against; it knows which host is broken and how, so no diagnosis can be faster.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab import SENTINEL_UNIT, UNIT, Lab

REDIS = "redis-cli --tls --cacert /etc/redis/tls/ca.crt --user operator --no-auth-warning -h {address} -p {port}"


@dataclass(frozen=True)
class Broken:
    """What the person knows: who was primary when it broke, and the others."""

    lab: Lab
    primary: str
    replicas: tuple[str, ...]

    def ssh(self, host: str, command: str) -> str:
        """One command as root through ssh, as Ansible logs in; the password comes on standard input."""
        variables = self.lab.variables
        options = shlex.split(variables["ansible_ssh_common_args"])
        login = f"{variables['ansible_user']}@{self.lab.addresses[host]}"
        script = shlex.quote(f"IFS= read -r REDISCLI_AUTH; export REDISCLI_AUTH; {command}")
        done = subprocess.run(
            ["ssh", "-i", variables["ansible_ssh_private_key_file"], *options, login, f"sudo sh -c {script}"],
            input=f"{variables['redis_password_operator']}\n", capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout

    def redis(self, host: str, command: str, port: int = 6379) -> str:
        """A Redis command through ssh."""
        return self.ssh(host, f"{REDIS.format(address=self.lab.addresses[host], port=port)} {command}")


def fail_over(broken: Broken) -> None:
    """Ask a sentinel until it takes it: just after the death it says that no replica is good."""
    ask = f"{REDIS.format(address=broken.lab.addresses[broken.replicas[0]], port=26379)} SENTINEL FAILOVER redis"
    broken.ssh(broken.replicas[0], f"until {ask} | grep -q -e OK -e INPROG; do sleep 0.1; done")


def start_all(broken: Broken) -> None:
    """The primary first, then who follows it."""
    start = f"systemctl reset-failed {UNIT} {SENTINEL_UNIT}; systemctl start {UNIT}"
    broken.ssh(broken.primary, start)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: broken.ssh(host, start), broken.replicas))


def more_memory(broken: Broken) -> None:
    """A larger maxmemory."""
    broken.redis(broken.primary, "CONFIG SET maxmemory 1gb")


def start_endpoint(broken: Broken) -> None:
    """HAProxy on the application host."""
    broken.ssh("app1", "systemctl start redis-endpoint")


def load_users(broken: Broken) -> None:
    """The users of the ACL file."""
    broken.redis(broken.primary, "ACL LOAD")


# By fault, as tests/faults names them.
SCRIPTS: dict[str, Callable[[Broken], None]] = {
    "process_dead:primary": fail_over,
    "process_dead:everywhere": start_all,
    "memory_full": more_memory,
    "endpoint_down": start_endpoint,
    "application_login_refused": load_users,
}

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab application under load: a producer on the application host, and what became of each acknowledged job."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Optional

from lab import ROOT, Lab, wait_for

TOOLS = ROOT / "tests" / "lab_app" / "tools"
STATE = "/var/lib/rq"
PYTHON = "/opt/lab-app/venv/bin/python"


class Load:
    """Jobs asked for at a steady rate until ``stop``, each remembered by the application once Redis acknowledged it."""

    def __init__(self, lab: Lab, host: str = "app1", rate: float = 5.0, seconds: float = 900.0) -> None:
        self.lab = lab
        self.host = host
        self.rate = rate
        self.seconds = seconds
        self.log = "/tmp/produce.jsonl"
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        """Forget earlier runs, begin, and return when the first jobs were acknowledged."""
        for tool in ("produce.py", "check.py"):
            self.lab.podman("cp", str(TOOLS / tool), f"{self.lab.container(self.host)}:/usr/local/bin/{tool}")
        self.lab.on(self.host, "sh", "-c", f"rm -rf {STATE}/acknowledged.jsonl {STATE}/executions/* {self.log}")
        command = ["python3", "/usr/local/bin/produce.py", f"--rate={self.rate}", f"--seconds={self.seconds}"]
        command += [f"--count={int(self.rate * self.seconds)}", f"--output={self.log}"]
        self._process = subprocess.Popen(
            ["podman", "exec", self.lab.container(self.host), *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: len(self.acknowledged()) > 2 * self.rate, "the first acknowledged jobs", 30)

    def requests(self) -> list[dict[str, Any]]:
        """Every request that has ended: ``{at, id, error, ms}``; ``at`` is when it was sent, in seconds since 1970."""
        text = self.lab.on(self.host, "cat", self.log, check=False)
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def acknowledged(self) -> list[dict[str, Any]]:
        """Requests whose job Redis acknowledged."""
        return [request for request in self.requests() if request["id"]]

    def first_accepted_after(self, moment: float) -> float:
        """When the first job sent after ``moment`` was acknowledged, in seconds since 1970; waits for it."""

        def answered() -> list[float]:
            requests = self.acknowledged()
            return sorted(request["at"] + request["ms"] / 1000 for request in requests if request["at"] > moment)

        return float(wait_for(answered, "a job accepted again", 60)[0])

    def outage(self) -> float:
        """Seconds between the last job acknowledged before the failures and the first one after; 0 without failures."""
        failures = [request["at"] for request in self.requests() if not request["id"]]
        if not failures:
            return 0.0
        done = sorted(request["at"] + request["ms"] / 1000 for request in self.acknowledged())
        before = [moment for moment in done if moment < min(failures)]
        after = [moment for moment in done if moment > max(failures)]
        return after[0] - before[-1] if before and after else float("nan")

    def stop(self) -> None:
        """No more jobs."""
        if self._process is not None:
            self.lab.on(self.host, "pkill", "-f", "produce.py", check=False)
            self._process.wait(30)
            self._process = None

    def check(self, wait: float = 180.0) -> dict[str, Any]:
        """``{acknowledged, executed, lost, doubled, pending, failed, ...}``; ``wait``: seconds for each pending job."""
        command = (PYTHON, "/usr/local/bin/check.py", f"--wait={wait}")
        done = self.lab.podman("exec", self.lab.container(self.host), *command, check=False)
        if not done.stdout.strip():
            raise RuntimeError(f"check.py on {self.host} ended with {done.returncode}: {done.stderr[-2000:]}")
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

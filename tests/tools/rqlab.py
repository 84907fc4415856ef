# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real RQ, of any version, for tests."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from modules import ROOT, environment

# Each with the redis-py that its users run it with.
VERSIONS = {
    "1.10.1": "4.3.4",
    "1.13.0": "4.3.4",
    "1.16.2": "5.0.8",
    "2.0.0": "5.2.1",
    "2.6.1": "7.1.0",
    "2.12.0": "8.1.0",
    "3.0.0": "8.1.0",
}
DRIVER = ROOT / "tests" / "tools" / "rq_driver.py"


@cache
def interpreter(version: str) -> Path:
    """The Python of an environment that has this RQ; made when it is missing, fails when that fails."""
    found: Path = environment(f"rq-{version}", (f"rq=={version}", f"redis=={VERSIONS[version]}"))
    return found


def prepare(versions: tuple[str, ...]) -> None:
    """Make environments side by side."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(interpreter, versions))


class Rq:
    """One RQ version talking to one server: ``rq.enqueue(count=3)``; see rq_driver.py for the steps."""

    def __init__(self, version: str, port: int) -> None:
        self.version = version
        self.major = int(version.split(".", maxsplit=1)[0])
        self._process = subprocess.Popen(
            [interpreter(version), DRIVER, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __getattr__(self, name: str) -> Any:
        def step(**options: Any) -> Any:
            assert self._process.stdin and self._process.stdout and self._process.stderr
            self._process.stdin.write(json.dumps([name, options]) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            assert line, f"RQ {self.version}, {name}: {self._process.stderr.read()[-2000:]}"
            return json.loads(line)

        return step

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

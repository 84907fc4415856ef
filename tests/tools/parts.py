# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run make targets and end with what each came to: ``parts.py TARGET[,TARGET ...] ...``.

Targets joined by commas run one after the other, each such row beside the others: lab hosts spend much of their time
waiting for clocks and for each other, which leaves a processor to the rest. All of them run, whatever fails, so that
one run tells everything. What failed and pytest's closing lines are said again at the end.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from modules import ROOT

CLOSING = re.compile(
    r"^=* ?(\d+ (passed|failed|error|skipped|deselected|xfailed).* in [\d.]+s.*?) ?=*$|^(\d+ passed, \d+ failed)$"
)
LEFT_OUT = re.compile(r"^left out: .*")
#: What failed, in pytest's short summary and in ``scenarios.py``'s words: said again where a cut log still shows it.
FAILURE = re.compile(r"^(FAILED|FAIL|ERROR|went wrong:) .*")
FAILURES_SHOWN = 12
#: pytest's list of durations.
DURATION = re.compile(r"^([\d.]+)s (call|setup|teardown) +(\S+)")
SLOWEST_SHOWN = 20


@dataclass
class Part:
    """One target's outcome; ``seconds`` is its wall time."""

    name: str
    code: int
    seconds: float
    lines: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    slow: list[tuple[float, str]] = field(default_factory=list)


def row(names: str, mark: bool) -> list[Part]:
    """Targets joined by commas, one after the other."""
    return [run(name, f"{name:<11} | " if mark else "") for name in names.split(",")]


def run(name: str, mark: str = "") -> Part:
    """Run ``make name``, show its output as it comes with ``mark`` in front, and keep the lines worth repeating."""
    started = time.monotonic()
    part = Part(name, 0, 0.0)
    with subprocess.Popen(
        ["make", name], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            print(f"{mark}{line}", end="", flush=True)
            keep(part, re.sub(r"\x1b\[[0-9;]*m", "", line).strip())
    part.code, part.seconds = process.returncode, time.monotonic() - started
    return part


def keep(part: Part, line: str) -> None:
    """Note what of a line is worth repeating."""
    if closing := CLOSING.match(line):
        part.lines.append(closing[1] or closing[3])
    elif LEFT_OUT.match(line):
        part.lines.append(line)
    elif FAILURE.match(line):
        part.failures.append(line[:1500])
    elif duration := DURATION.match(line):
        part.slow.append((float(duration[1]), f"{duration[3]} ({duration[2]})"))


def main(rows: list[str]) -> int:
    """Run all; 1 when any failed."""
    started = time.monotonic()
    with ThreadPoolExecutor(len(rows)) as pool:
        parts = [part for done in pool.map(lambda names: row(names, len(rows) > 1), rows) for part in done]
    for part in parts:
        if part.code and part.failures:
            print(f"\n== {part.name}: what failed", *part.failures[-FAILURES_SHOWN:], sep="\n")
    print(f"\n== The slowest {SLOWEST_SHOWN} tests")
    for seconds, test in sorted((entry for part in parts for entry in part.slow), reverse=True)[:SLOWEST_SHOWN]:
        print(f"{seconds:7.1f} s   {test}")
    print("\n== Summary")
    for part in parts:
        minutes, rest = divmod(round(part.seconds), 60)
        outcome = "ok" if part.code == 0 else "FAILED"
        print(f"{part.name:<12} {outcome:<7} {minutes:>3} min {rest:02d} s   {'; '.join(part.lines)}".rstrip())
    failed = sum(part.code != 0 for part in parts)
    minutes, rest = divmod(round(time.monotonic() - started), 60)
    print(f"{'all':<12} {'FAILED' if failed else 'ok':<7} {minutes:>3} min {rest:02d} s")
    print(f"\nmake test: {len(parts) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

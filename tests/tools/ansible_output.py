# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What went wrong, from the output of ansible-playbook at any verbosity."""

from __future__ import annotations

import re

TASK = re.compile(r"(?:TASK|RUNNING HANDLER) \[(.*?)\] \*+")
ERROR = re.compile(r"\[ERROR\]: (?:Task failed: )?(?:(?:Action|Module) failed: )?(.*)")
FATAL = re.compile(r"(?:fatal|failed): \[([^]]+)\]")
TEST = re.compile(r"(?:FAILED|ERROR) \S+::\S+.*")


def failures(output: str) -> list[str]:
    """A line for each task that failed on a host and was not ignored: its name, host and message; pytest's too.

    Ansible prints a message once where several hosts fail alike: it counts for all of them.
    """
    found = []
    task = message = ""
    for line in output.splitlines():
        if match := TASK.search(line):
            task, message = match[1], ""
        elif match := ERROR.match(line):
            message = match[1]
        elif match := FATAL.match(line):
            found.append(f"task {task!r} on {match[1]}: {message or 'no message'}")
        elif line.startswith("...ignoring") and found:
            found.pop()
        elif match := TEST.search(line):
            found.append(match[0])
    return found

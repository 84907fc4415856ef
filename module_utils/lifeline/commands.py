# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Programs of the host, run without a shell and bounded in time, and the state of systemd units."""

from __future__ import annotations

import os
import subprocess

from .errors import LifelineError

SECONDS = 20
READY = "enabled, active\n"
GONE = "disabled, inactive\n"


def call(*argv: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program with ``text`` as its input, whatever its exit status. Raises LifelineError when it cannot run."""
    try:
        return subprocess.run(
            argv,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
    except OSError as error:
        raise LifelineError(f"Cannot run {argv[0]}: {error.strerror}. Install it on this host.") from error
    except subprocess.TimeoutExpired as error:
        raise LifelineError(f"`{' '.join(argv)}` did not end in {SECONDS} s: run it by hand to see why.") from error


def run(*argv: str) -> None:
    """Run a program that changes something. Raises LifelineError with what it said when it fails."""
    done = call(*argv)
    if done.returncode:
        raise LifelineError(f"`{' '.join(argv)}` failed: {said(done)}", changed=True)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The end of a program's complaint."""
    return (done.stderr or done.stdout).strip()[-500:] or f"exit status {done.returncode}"


def unit_state(unit: str) -> str:
    """``enabled, active`` and so on, with a newline; a unit that does not exist is ``disabled, inactive``."""
    enabled, active = (call("systemctl", verb, unit).stdout.strip() for verb in ("is-enabled", "is-active"))
    return f"{'disabled' if enabled in ('', 'not-found') else enabled}, {active or 'inactive'}\n"


def remove_unit(unit: str) -> None:
    """Make systemd forget a unit whose file was removed, a failure that it remembers included."""
    run("systemctl", "daemon-reload")
    call("systemctl", "reset-failed", unit)  # refused where there is no failure to forget, which is as well


def text_diff(header: str, before: str, after: str) -> dict[str, str]:
    """One part of Ansible's diff."""
    return {"before_header": header, "after_header": header, "before": before, "after": after}

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Programs of the host, run without a shell and bounded in time and text, and the state of systemd units.

Nothing else here starts a program; a unit test looks for whatever does.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from typing import Any, Mapping, Optional, Sequence, Union

from ..errors import LifelineError

SECONDS = 20
# Bytes that are kept of what a program says; the journal of a busy unit is the longest that is asked for.
OUTPUT_BYTES = 8 << 20
# Seconds without a word after which a program that has ended is not listened to any more.
QUIET_S = 0.2
READY = "enabled, active\n"
GONE = "disabled, inactive\n"


def bounded(
    argv: Sequence[str],
    seconds: float,
    text: Union[str, bytes] = "",
    more: Optional[Mapping[str, str]] = None,
    **how: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a program with ``text`` as its input and ``more`` in its environment; keep what it says up to OUTPUT_BYTES.

    ``how``: further arguments of subprocess.Popen, such as the account that it runs as.

    Raises OSError when it cannot be started, and subprocess.TimeoutExpired when it does not end; then it and all that
    it began are killed. A child that it leaves behind is not waited for, though it may hold its output open.
    """
    with ExitStack() as open_files:
        given: Any = subprocess.DEVNULL  # a full disk has no room for a file, not even for an empty one
        if text:
            given = open_files.enter_context(tempfile.TemporaryFile())
            given.write(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
            given.seek(0)
        usual = {"stderr": subprocess.PIPE, "env": {**os.environ, **(more or {})}, "start_new_session": True}
        process = subprocess.Popen(list(argv), stdin=given, stdout=subprocess.PIPE, **{**usual, **how})
        try:
            deadline = time.monotonic() + seconds
            kept = _heard(process, open_files.enter_context(selectors.DefaultSelector()), deadline)
            status = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise subprocess.TimeoutExpired(list(argv), seconds) from None
        finally:
            _end(process)
    said = [bytes(part).decode("utf-8", "replace").replace("\r\n", "\n") for part in kept]
    return subprocess.CompletedProcess(list(argv), status, said[0], said[1])


def _heard(process: subprocess.Popen[bytes], waiting: selectors.BaseSelector, deadline: float) -> list[bytearray]:
    """What a program says on both ways, until it ends or the deadline comes."""
    kept = [bytearray(), bytearray()]
    for stream, part in zip((process.stdout, process.stderr), kept):
        if stream is not None:
            waiting.register(stream, selectors.EVENT_READ, part)
    while waiting.get_map():
        left = deadline - time.monotonic()
        if left <= 0:
            raise subprocess.TimeoutExpired(process.args, 0)
        ended = process.poll() is not None  # before the look: what it said last is there by then
        ready = waiting.select(min(left, QUIET_S))
        for key, _event in ready:
            data = os.read(key.fd, 65536)
            if not data:
                waiting.unregister(key.fileobj)
            key.data.extend(data[: max(0, OUTPUT_BYTES - len(key.data))])
        if ended and not ready:
            break
    return kept


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(QUIET_S)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def call(*argv: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program with ``text`` as its input, whatever its exit status. Raises LifelineError when it cannot run."""
    try:
        return bounded(argv, SECONDS, text, {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
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

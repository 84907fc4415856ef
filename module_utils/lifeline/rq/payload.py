# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a stored job says about itself, read without unpickling: its function, its error, and whether it had finished.

Layouts are RQ 1.10's to 3.0's: ``data`` is zlib over a pickle or JSON of ``(function, instance, args, kwargs)``;
``exc_info`` (to 1.15) is zlib over the traceback, ``exc_string`` of the results stream is base64 over that.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from typing import Optional

# A function's name is at the front; this much is enough and keeps a hostile payload from growing.
HEAD_BYTES = 4096
TRACEBACK_BYTES = 1 << 20

_JSON_FIRST = re.compile(rb'\s*\[\s*("(?:[^"\\]|\\.)*")')
_FRAME_PERFORM = re.compile(r"rq[/\\]job\.py\", line \d+, in (?:perform|_execute)$", re.MULTILINE)
_FRAME_PREPARE = re.compile(r", in (?:prepare_job_execution|prepare_execution|prepare_for_execution)$", re.MULTILINE)
_FRAME_WORKER = re.compile(r", in perform_job$", re.MULTILINE)
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*)(?::|$)")
_WORDS = (
    ("AbandonedJobError", "rq.exceptions.AbandonedJobError"),
    ("stuck in intermediate", "(stuck in intermediate queue)"),
    ("Work-horse", "(work-horse terminated)"),
    ("Work horse", "(work-horse terminated)"),
)

UNKNOWN = "(unknown)"


def inflate(raw: bytes, limit: int) -> bytes:
    """The first ``limit`` bytes of zlib data; data that is not zlib comes back as it is."""
    try:
        return zlib.decompressobj().decompress(raw, limit)
    except zlib.error:
        return raw[:limit]


def function_name(data: Optional[bytes]) -> str:
    """Name of the function that a job calls, from its field ``data``; ``(unknown)`` when it cannot be read."""
    head = inflate(data or b"", HEAD_BYTES)
    name = _json_first(head) if head.lstrip()[:1] == b"[" else _pickle_first(head)
    return name or UNKNOWN


def _json_first(head: bytes) -> Optional[str]:
    found = _JSON_FIRST.match(head)
    if not found:
        return None
    try:
        name = json.loads(found[1])
    except ValueError:
        return None
    return name if isinstance(name, str) else None


# How a pickled text is laid out: opcode -> bytes of its length.
_COUNTED = {0x8C: 1, 0x58: 4, 0x8D: 8, 0x55: 1, 0x54: 4}
_SKIPPED = {0x80: 2, 0x95: 9, 0x28: 1}  # PROTO, FRAME, MARK


def _pickle_first(head: bytes) -> Optional[str]:
    """The first item of a pickled tuple, when it is a text: protocols 0 to 5."""
    at = 0
    while at < len(head) and head[at] in _SKIPPED:
        at += _SKIPPED[head[at]]
    if at >= len(head):
        return None
    opcode = head[at]
    if opcode in _COUNTED:
        start = at + 1 + _COUNTED[opcode]
        size = int.from_bytes(head[at + 1 : start], "little")
        name = head[start : start + size]
        return name.decode("utf-8", "replace") if size and len(name) == size else None
    line = head[at + 1 :].partition(b"\n")[0]
    if opcode == ord("V"):
        return _escaped(line)
    return line.strip(b"'\"").decode("ascii", "replace") if opcode == ord("S") else None


def _escaped(line: bytes) -> Optional[str]:
    try:
        return line.decode("raw-unicode-escape")
    except UnicodeDecodeError:
        return None


def traceback_text(stored: Optional[bytes]) -> str:
    """The traceback from ``exc_string`` (base64 over zlib) or ``exc_info`` (zlib, or text as it is)."""
    if not stored:
        return ""
    raw = stored
    if stored[:2] == b"eJ":  # zlib's first byte in base64
        try:
            raw = base64.b64decode(stored, validate=True)
        except (binascii.Error, ValueError):
            raw = stored
    return inflate(raw, TRACEBACK_BYTES).decode("utf-8", "replace")


def exception_name(traceback: str) -> str:
    """Type of the error that ended a job, as its traceback names it, or a note in parentheses."""
    last = traceback.rfind("Traceback (most recent call last):")
    if last >= 0:
        for line in traceback[last:].splitlines()[1:]:
            found = _EXCEPTION.match(line)
            if found:
                return found[1]
    for needle, name in _WORDS:
        if needle in traceback:
            return name
    lines = traceback.strip().splitlines()
    found = _EXCEPTION.match(lines[-1]) if lines else None
    return found[1] if found else UNKNOWN


def probably_completed(traceback: str) -> bool:
    """Whether the function had returned when its worker lost Redis, so that running it again repeats its effects.

    The worker's own bookkeeping failed with an error of redis-py: its frame ``perform_job`` is there, that of the
    call into the function is not, and neither is that of the preparation before it (RQ 1.16 to 3.0).
    """
    return (
        bool(_FRAME_WORKER.search(traceback))
        and not _FRAME_PERFORM.search(traceback)
        and not _FRAME_PREPARE.search(traceback)
        and exception_name(traceback).startswith("redis.")
    )

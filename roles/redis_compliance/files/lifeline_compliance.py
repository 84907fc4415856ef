#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the schedule's units run after compliance.yml: ``metrics`` shows how the run ended, ``notify`` tells somebody.

Settings come from the environment, since a webhook's address may be a secret: LIFELINE_REPORTS, LIFELINE_TEXTFILES,
LIFELINE_WEBHOOK. systemd gives SERVICE_RESULT and EXIT_STATUS.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import time
import urllib.request
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

SECONDS = 20
OVERLAP = 75


def metrics() -> int:
    """Copy each estate's metrics to the textfile collector's folder, and write how the run ended."""
    folder = os.environ.get("LIFELINE_TEXTFILES", "")
    if not folder:
        return 0
    for path in sorted(Path(os.environ["LIFELINE_REPORTS"]).glob("*/compliance.prom")):
        put(Path(folder) / f"lifeline_compliance_{path.parent.name}.prom", path.read_text(encoding="utf-8"))
    status = os.environ.get("EXIT_STATUS", "")
    if status == str(OVERLAP):
        return 0
    good = int(os.environ.get("SERVICE_RESULT") == "success")
    name = "lifeline_compliance_run"
    put(
        Path(folder) / f"{name}.prom",
        f"# HELP {name}_success Whether the last scheduled run found every estate compliant.\n"
        f"# TYPE {name}_success gauge\n{name}_success {good}\n"
        f"# HELP {name}_end_timestamp_seconds When the last scheduled run ended.\n"
        f"# TYPE {name}_end_timestamp_seconds gauge\n{name}_end_timestamp_seconds {int(time.time())}\n",
    )
    return 0


def put(path: Path, text: str) -> None:
    """Whole or not at all: the collector may read at any time.

    Whoever owns the folder may plant links at names that he can guess, so the name is random and never followed.
    """
    place = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    made = f".{path.name}.{secrets.token_hex(8)}"
    try:
        with open(made, "x", encoding="utf-8", opener=partial(os.open, mode=0o644, dir_fd=place)) as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        os.rename(made, path.name, src_dir_fd=place, dst_dir_fd=place)
    except OSError:
        with suppress(OSError):
            os.unlink(made, dir_fd=place)
        raise
    finally:
        os.close(place)


def message(reports: Path) -> dict[str, Any]:
    """``{text, host, estates}``: what is wrong with each estate, by its last report. No evidence goes out."""
    estates = []
    for path in sorted(reports.glob("*/compliance.json")):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            estates.append({"estate": said["service"], "compliant": said["verdict"]["compliant"],
                            "reasons": said["verdict"]["reasons"], "score": said["summary"]["score"]})  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError):
            estates.append({"estate": path.parent.name, "compliant": False, "reasons": ["its report cannot be read"]})
    bad = [f"{one['estate']}: {'; '.join(one['reasons'])}" for one in estates if not one["compliant"]]
    host = socket.gethostname()
    text = f"Redis compliance on {host} failed: {' | '.join(bad) or 'the run itself did not end well, see its journal'}"
    return {"text": text, "host": host, "estates": estates}


def notify() -> int:
    """Say it in the journal, and to the webhook where there is one."""
    said = message(Path(os.environ["LIFELINE_REPORTS"]))
    sys.stdout.write(said["text"] + "\n")
    address = os.environ.get("LIFELINE_WEBHOOK", "")
    if not address:
        return 0
    if not address.startswith(("https://", "http://")):
        sys.stderr.write("LIFELINE_WEBHOOK is no http or https address\n")
        return 1
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        address, json.dumps(said).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            return int(answer.status >= 300)
    except OSError as error:
        sys.stderr.write(f"the webhook does not take it: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit({"metrics": metrics, "notify": notify}[sys.argv[1]]())

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An operator's own steps around a recovery: two task files, and a web hook that remembers what it was told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

# Part of the hook's address, as services that take web hooks have it: nobody may see it.
TOKEN = "hook-token-that-nobody-may-see"

TASKS = """---
- name: Write down what we are told
  ansible.builtin.copy:
    content: "{{{{ redis_recovery_state | to_json }}}}"
    dest: "{folder}/{when}-{{{{ redis_estate }}}}.json"
    mode: "0600"
  delegate_to: localhost
  become: false
  changed_when: false
"""


@dataclass
class Hooks:
    """``options`` for the playbook; ``posted``: what the web hook was sent, in its order."""

    folder: Path
    options: tuple[str, ...] = ()
    posted: list[dict[str, Any]] = field(default_factory=list)

    def told(self, when: str) -> dict[str, dict[str, Any]]:
        """What the task file that runs before or after was told, by estate."""
        states = [json.loads(path.read_text()) for path in self.folder.glob(f"{when}-*.json")]
        return {state["estate"]: state for state in states}


@contextmanager
def listening(folder: Path) -> Iterator[Hooks]:
    """Hooks that are there until the end of the block."""
    hooks = Hooks(folder)

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == f"/{TOKEN}":
                hooks.posted.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        variables = {"redis_recovery_webhook_url": f"http://127.0.0.1:{server.server_port}/{TOKEN}"}
        for when in ("before", "after"):
            file = folder / f"{when}.yml"
            file.write_text(TASKS.format(folder=folder, when=when))
            variables[f"redis_recovery_tasks_{when}"] = str(file)
        (folder / "hooks.json").write_text(json.dumps(variables))
        hooks.options = ("-e", f"@{folder / 'hooks.json'}")
        yield hooks
        server.shutdown()

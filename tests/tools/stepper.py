# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The code of redis_failover or redis_role in a process that stops at a command, for tests that hurt it right there.

The code is the product's own; only redis-py's ``execute_command`` is watched, to know where it has come to.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

ROOT = Path(__file__).resolve().parents[2]


class Stepper:
    """Runs ``ensure_primary(params)``, or other ``work``, and stops at the first command that begins with ``at``
    (``before`` or after)."""

    def __init__(
        self, params: dict[str, Any], at: str, before: bool = False, work: str = "act.failover.ensure:ensure_primary"
    ) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "module_utils")}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        self._say({"params": params, "at": at, "before": before, "work": work})

    def _say(self, value: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()

    def reached(self) -> bool:
        """Whether it stopped there; False when it ended without."""
        assert self.process.stdout
        return self.process.stdout.readline().strip() == "stopped"

    def kill(self, guard_too: bool = False) -> None:
        """SIGKILL, and its guard before it if need be."""
        if guard_too:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            for child in children:
                os.kill(int(child), 9)
        self.process.kill()
        self.process.wait(10)

    def go_on(self) -> dict[str, Any]:
        """Let it go to its end; its result, or ``{"failed": true, "msg": ..., ...}``."""
        self._say("go")
        assert self.process.stdout
        result: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.process.wait(10)
        return result


def main() -> None:
    """The child."""
    import redis
    from lifeline.errors import LifelineError

    order = json.loads(sys.stdin.readline())
    module, _, name = order["work"].partition(":")
    work = getattr(importlib.import_module(f"lifeline.{module}"), name)
    owner = os.getpid()
    real: Any = redis.Redis.execute_command
    reached: Optional[bool] = None

    def watched(client: Any, *words: Any, **options: Any) -> Any:
        nonlocal reached
        here = " ".join(map(str, words)).startswith(order["at"]) and reached is None and os.getpid() == owner
        if here:
            reached = True
        if here and order["before"]:
            stop()
        reply = real(client, *words, **options)
        if here and not order["before"]:
            stop()
        return reply

    def stop() -> None:
        print("stopped", flush=True)
        sys.stdin.readline()

    redis_class: Any = redis.Redis
    redis_class.execute_command = watched
    try:
        result = work(order["params"], False)
    except LifelineError as error:
        result = {"failed": True, "msg": str(error), **error.partial}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What servers, hosts and jobs say is shown, and steers nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from jinja2.runtime import Undefined
from lifeline.common import spec
from lifeline.common.client import reason
from lifeline.common.facts import clean_all, clean_text
from lifeline.errors import LIMIT, LifelineError

ROOT = Path(__file__).resolve().parents[2]

# A clear screen, a new title, a line break, a bell, a C1 control, ways to turn the direction, no width.
NASTY = "\x1b[2J\x1b]0;x\x07\r\n\x9b31m\u202e\u2066\u2069\u200b\u2028\x00"


def harmless(text: str) -> bool:
    return text.isprintable()


class Variables(dict[str, Any]):
    """As much of a Jinja context as a filter uses."""

    def resolve(self, name: str) -> Any:
        return self.get(name, Undefined())


class Module:
    """As much of AnsibleModule as ``run`` uses."""

    _diff = False
    check_mode = False

    def __init__(self) -> None:
        self.said: list[str] = []
        self.params: dict[str, Any] = {}

    def fail_json(self, msg: str, **_: Any) -> None:
        self.said.append(msg)

    def warn(self, text: str) -> None:
        self.said.append(text)

    def exit_json(self, **_: Any) -> None:
        pass


def test_B13_an_error_cannot_steer_the_terminal() -> None:
    """Before: what a server or host answered stood in error messages as it was, escape sequences and all.

    Now: every sentence of ours is cleaned where it is made, and stays one line of bounded length.
    """
    error = LifelineError(f"redis1 says {NASTY}: look at it.")
    assert harmless(str(error)) and str(error).startswith("redis1 says") and str(error).endswith(": look at it.")
    assert len(str(LifelineError("x" * 10_000))) == LIMIT
    assert harmless(reason(ConnectionError(NASTY)))

    def fails(params: Any, check: bool) -> dict[str, Any]:
        raise LifelineError(NASTY)

    module = Module()
    spec.run(module, fails)
    spec.run(module, lambda params, check: {"warnings": [f"careful {NASTY}"]})
    assert len(module.said) == 2 and all(map(harmless, module.said))


def test_B13_the_texts_of_filters_cannot_either() -> None:
    sys.path.insert(0, str(ROOT / "plugins" / "filter"))
    try:
        import lifeline_recovery
        import lifeline_rq
    finally:
        sys.path.remove(str(ROOT / "plugins" / "filter"))
    filters = lifeline_rq.FilterModule().filters()
    info = {"redis": {"host": NASTY}, "lost": {"by_function": {NASTY: 1}, "queues": {NASTY: {NASTY: 1}}}}
    lines = filters["lifeline_rq_lost"]({**info, "unrecoverable": [NASTY]})
    assert all(map(harmless, lines)), lines
    plan = {"verdict": "degraded", "findings": [], "todo": [NASTY], "summary": NASTY, "refusal": NASTY}
    look = {"plan": plan, "topology": {"last_primary": NASTY}, "primary": None, "unseen": [NASTY]}
    context = Variables(
        inventory_hostname="r1", redis_estate=NASTY, hostvars={}, __redis_servers=["r1"], __redis_sentinels=[],
        __redis_applications=[], __redis_recovery_started=0.0, __redis_recovery_first=look, __redis_recovery_now=look,
        __redis_recovery_held={"msg": NASTY}, __redis_recovery_requeued={"msg": NASTY},
        __redis_recovery_record={"files": [NASTY]}, __redis_recovery_announced={"status": NASTY},
        redis_recovery_tasks_after=NASTY,
    )  # fmt: skip
    ask = lifeline_recovery.FilterModule().filters()["lifeline_recovery"]
    told = ask(context, "told")
    assert any(line.startswith("Not held: ") for line in told) and any(
        line.startswith("Not put back: ") for line in told
    )
    said = [*told, ask(context, "refusal"), *map(str, ask(context, "verdict").values())]
    said += [ask(context, "tasks_failed"), ask(context, "not_announced")]
    assert all(map(harmless, said)), said


def test_cleaning_goes_all_the_way_down_and_keeps_the_rest() -> None:
    assert clean_all({"a\n": ["b\x1b", 1, None, True, ("c",)]}) == {"a ": ["b ", 1, None, True, ["c"]]}
    assert clean_text("Grüße, 世界 ≤ 3") == "Grüße, 世界 ≤ 3"

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at several things at once, and wait for none longer than agreed."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

Section = Callable[[], Any]


def side_by_side(sections: Mapping[str, Section], seconds: float) -> tuple[dict[str, Any], dict[str, str]]:
    """(what each section found, why others found nothing). Does not wait for one that takes longer than ``seconds``."""
    errors: dict[str, str] = {}
    found: dict[str, Any] = {}
    for name, value, error in each(list(sections), lambda name: sections[name](), seconds, len(sections)):
        if error is None:
            found[name] = value
        else:
            errors[name] = f"{type(error).__name__}: {error}"[:200]
    late = [name for name in sections if name not in found and name not in errors]
    return found, {**errors, **{name: f"timeout: nothing within {seconds:.0f} s" for name in late}}


def each(
    items: Sequence[Any], ask: Callable[[Any], Any], seconds: float, workers: int
) -> Iterable[tuple[Any, Any, Optional[BaseException]]]:
    """(item, answer, error) of every item that is done within ``seconds``, as they come; ``workers`` at a time.

    The threads are daemons: Python waits at its end for those of a ThreadPoolExecutor, however long one hangs in a
    name server that does not answer.
    """
    todo: queue.SimpleQueue[Any] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Any, Any, Optional[BaseException]]] = queue.SimpleQueue()
    for item in items:
        todo.put(item)
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((item, ask(item), None))
            except Exception as error:  # noqa: BLE001 - a section that fails is named, not raised
                done.put((item, None, error))

    for _number in range(min(workers, len(items))):
        threading.Thread(target=work, daemon=True).start()
    deadline = time.monotonic() + seconds
    for _item in items:
        try:
            yield done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
    over.set()

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far a run of rq_requeue has come, in a line that a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Slices of a few seconds each: in which nothing moved, though some wait for a minute, and in all, which is a day.
STILL, MOST = 60, 17280


@dataclass
class Progress:
    """Of one task on one host. Times are monotonic seconds."""

    where: str
    began: float
    slices: int = 0
    still: int = 0
    seen: tuple[int, ...] = ()

    def stuck(self, piece: dict[str, Any]) -> str:
        """Why no further slice is worth it, after one that says that it is not finished; empty where one is.

        A host that says so forever must not keep the run.
        """
        try:
            seen = tuple(int(piece[name]) for name in ("total", "to_look_at", "requeued"))
        except (KeyError, TypeError, ValueError, OverflowError):
            return f"rq_requeue on {self.where}: its answer is not that of rq_requeue; look at that host."
        self.still = self.still + 1 if seen == self.seen else 0
        self.seen = seen
        if "resume" in piece and self.still < STILL and self.slices < MOST:
            return ""
        return (
            f"rq_requeue on {self.where} is not finished after {self.slices + 1} slices and gets no further: "
            "run it again, and look at that host and its Redis."
        )

    def line(self, piece: dict[str, Any], now: float) -> str:
        """Done, total, rate and time left, from what a slice returned."""
        self.slices += 1
        total, ahead, back = int(piece["total"]), int(piece["to_look_at"]), int(piece["requeued"])
        done, seconds = total - ahead, max(now - self.began, 1e-9)
        rate = done / seconds
        left = duration(ahead / rate) if rate > 0 else "unknown"
        percent = 100 * done // total if total else 100
        place = f" on {self.where}" if self.where else ""
        if waits := waiting_s(piece):
            return f"rq_requeue{place}: watching workers that are said to be dead for another {duration(waits)}"
        seen = f"{done:,} of {total:,} jobs ({percent} %)"
        return f"rq_requeue{place}: {seen}, {back:,} put back, {rate:,.0f}/s, {left} left"

    def total(self, piece: dict[str, Any], now: float) -> dict[str, Any]:
        """The last slice's result, with the duration and the rate of the whole when there were several."""
        if not self.slices or "requeued" not in piece:
            return piece
        seconds = max(now - self.began, 1e-9)
        return {**piece, "duration": round(seconds, 3), "rate": round(int(piece["requeued"]) / seconds)}


def waiting_s(piece: dict[str, Any]) -> float:
    """For how long the next slice only waits; 0 where it works."""
    try:
        return max(0.0, min(float(piece["resume"]["dead"]["wait_s"]), MOST))
    except (KeyError, TypeError, ValueError):
        return 0.0


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The estate as a picture: who serves, who follows whom, whom each sentinel and each application host means.

Left those who point at a primary (application hosts, sentinels), in the middle the primary and whoever claims to be
one, right all other servers. Every word comes from evidence and is escaped. Colours are the page's (``html.CSS``) and
never tell anything that a word or a dashed line does not tell as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, Mapping, Sequence

from ..common.words import names
from . import words

BOX, HEIGHT, GAP, HEADING = 250, 66, 14, 28
COLUMNS = (10, 380, 750)
WIDTH = 1060

# Boxes of one kind that are drawn; the tables below the picture have all of them.
SHOWN = 24

# Characters that fit in a box's line; a longer text is cut, and whole in the box's tooltip. In the first line a name
# shares the width with the status: pixels of a letter of each, in the widest of the usual fonts.
FITS, NAME_LETTER, STATUS_LETTER = 36, 9, 8

OK, WARN, BAD, MUTE = "ok", "warn", "bad", "mute"


@dataclass
class Box:
    """One party. ``tone`` is how it does; ``points_at`` whom its word goes to, ``firm`` whether that holds."""

    name: str
    status: str
    tone: str
    lines: tuple[str, str]
    points_at: str = ""
    firm: bool = True
    gone: bool = False
    x: int = 0
    y: int = 0


def topology(diagnosis: Mapping[str, Any]) -> str:
    """An ``svg`` element, for the inside of a page."""
    seen = diagnosis["parties"]
    servers = [(_is_central(row), _server(row)) for row in seen["servers"]]
    central = _some([box for middle, box in servers if middle])
    others = _some([box for middle, box in servers if not middle])
    applications = _some([_application(row, words.reaches(diagnosis, row)) for row in seen["applications"]])
    sentinels = _some([_sentinel(row, diagnosis) for row in seen["sentinels"]])
    columns = (
        [("Application hosts", applications), ("Sentinels", sentinels)],
        [(_title(diagnosis), central)],
        [("Replicas" if central else "Servers", others)],
    )
    tallest = max(map(_height, columns))
    headings = "".join(_stack(x, (tallest - _height(column)) // 2, column) for x, column in zip(COLUMNS, columns))
    placed = {box.name: box for box in (*central, *others)}
    arrows = _arrows([*applications, *sentinels, *others, *central], placed)
    boxes = [_box(box) for box in (*applications, *sentinels, *central, *others)]
    return (
        f'<svg class="topology" role="img" aria-labelledby="topology-title topology-desc" width="{WIDTH}" '
        f'height="{tallest}" viewBox="0 0 {WIDTH} {tallest}" xmlns="http://www.w3.org/2000/svg">'
        f'<title id="topology-title">Estate {escape(diagnosis["service"])} as each member sees it</title>'
        f'<desc id="topology-desc">{escape(_told(diagnosis))}</desc>'
        f"{_MARKERS}{arrows}{headings}{''.join(boxes)}</svg>"
    )


_MARKERS = "<defs>" + "".join(
    f'<marker id="tip-{tone}" class="tip {tone}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
    f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 8 4 0 8z"/></marker>'
    for tone in (OK, WARN, BAD, MUTE)
) + "</defs>"  # fmt: skip


def _told(diagnosis: Mapping[str, Any]) -> str:
    said = [f"Primary: {words.primary(diagnosis)}.", f"{words.parties(diagnosis)}."]
    reach = words.applications(diagnosis)
    return " ".join([*said, f"Applications: {reach}."] if reach else said)


def _is_central(row: Mapping[str, Any]) -> bool:
    """The primary, whoever says so too, and the last one where nobody is."""
    return bool(row["agreed"] or (row["alive"] and row["role"] == "primary") or row["last_primary"])


def _some(boxes: Sequence[Box]) -> list[Box]:
    """Those in trouble come first where not all can be drawn."""
    if len(boxes) <= SHOWN:
        return list(boxes)
    kept = sorted(range(len(boxes)), key=lambda at: boxes[at].tone == OK)[: SHOWN - 1]
    rest = len(boxes) - len(kept)
    return [*(boxes[at] for at in sorted(kept)), Box(f"{rest} more", "", MUTE, ("see the tables below", ""))]


def _server(row: Mapping[str, Any]) -> Box:
    box = Box(row["name"], *_server_status(row), _server_lines(row), points_at=row["follows"], firm=row["link_up"])
    box.gone = not row["alive"]
    return box


def _server_status(row: Mapping[str, Any]) -> tuple[str, str]:
    if not row["alive"]:
        return {"silent": "silent host", "unasked": "not asked"}.get(row["host"], "down"), BAD
    if row["loading"]:
        return "loading", WARN
    if row["agreed"]:
        return "primary", WARN if row["missed_by"] else OK
    if row["role"] == "primary":
        return "says primary", BAD
    return row["role"], OK if row["link_up"] and not row["missed_by"] else WARN


def _server_lines(row: Mapping[str, Any]) -> tuple[str, str]:
    if not row["alive"]:
        return row["error"] or "nobody could ask it", f"unit {row['unit']}" if row["unit"] else row["address"]
    first = words.behind(row) if row["role"] == "replica" else None
    first = f"offset {row['offset']:,}" + (f", {first}" if first else f", {row['keys']:,} keys")
    if row["missed_by"]:
        return first, f"not reached from {names(row['missed_by'], 3)}"
    if row["role"] != "replica":
        return first, row["address"]
    down = f"link down for {row['link_down_s']} s" if row["link_down_s"] > 0 else "link down"
    return first, f"follows {row['follows'] or 'nobody'}, {'link up' if row['link_up'] else down}"


def _sentinel(row: Mapping[str, Any], diagnosis: Mapping[str, Any]) -> Box:
    if not row["alive"]:
        status = {"silent": "silent host", "unasked": "not asked"}.get(row["host"], "down")
        return Box(row["name"], status, BAD, (row["error"] or "nobody could ask it", row["address"]), gone=True)
    if not row["known"]:
        return Box(row["name"], "knows nothing", BAD, ("does not watch this estate", row["address"]))
    agreed = (diagnosis["primary"] or {}).get("name")
    right = not agreed or row["names"] == agreed
    busy = [word for word, true in (("tilt", row["tilt"]), ("fails over", row["failover"])) if true]
    status = ", ".join(busy) or ("agrees" if agreed and right else "disagrees" if agreed else "watches")
    calm = right and row["quorum_ok"] and not busy and not row["holds_down"]
    second = "holds it for down" if row["holds_down"] else row["quorum"]
    tone = OK if calm else WARN if right else BAD
    return Box(row["name"], status, tone, (f"names {row['names'] or 'nobody'}", second), row["names"], right)


def _application(row: Mapping[str, Any], reaches: str) -> Box:
    if row["host"] != "answered":
        status = "not asked" if row["host"] == "unasked" else "silent host"
        return Box(
            row["name"], status, MUTE if row["host"] == "unasked" else WARN, ("nobody could ask it", ""), gone=True
        )
    if not row["configured"]:
        return Box(row["name"], "not looked at", MUTE, ("no Redis URL is known", row["error"]))
    if not reaches:
        return Box(row["name"], "cut off", BAD, (f"asks {row['address']}", row["error"]), row["server"], False)
    right = reaches == "primary"
    lines = (f"asks {row['address']}", f"reaches a {row['role'] or 'server'}")
    return Box(
        row["name"], "reaches it" if right else "wrong server", OK if right else BAD, lines, row["server"], right
    )


Column = Sequence[tuple[str, Sequence[Box]]]


def _height(column: Column) -> int:
    return sum(HEADING + len(boxes) * (HEIGHT + GAP) for _heading, boxes in column if boxes)


def _stack(x: int, top: int, column: Column) -> str:
    """Place a column's boxes below each other; its headings."""
    headings = []
    for heading, boxes in column:
        if boxes:
            headings.append(f'<text class="heading" x="{x}" y="{top + 17}">{escape(heading)}</text>')
        for index, box in enumerate(boxes):
            box.x, box.y = x, top + HEADING + index * (HEIGHT + GAP)
        top += _height([(heading, boxes)])
    return "".join(headings)


def _title(diagnosis: Mapping[str, Any]) -> str:
    if diagnosis["topology"]["claims"]:
        return "Primary" if len(diagnosis["topology"]["claims"]) == 1 else "Each says that it is the primary"
    return "The last primary"


def _box(box: Box) -> str:
    whole = ": ".join(text for text in (box.name, box.status) if text)
    fits = (BOX - 36 - STATUS_LETTER * len(box.status)) // NAME_LETTER
    tip = "\n".join(text for text in (whole, *box.lines) if text)
    return (
        f'<g class="party {box.tone}{" gone" if box.gone else ""}" transform="translate({box.x} {box.y})">'
        f"<title>{escape(tip)}</title>"
        f'<rect width="{BOX}" height="{HEIGHT}" rx="7"/>'
        f'<text class="name" x="12" y="21">{_cut(box.name, fits, tail=fits // 2)}</text>'
        f'<text class="status" x="{BOX - 12}" y="21">{escape(box.status)}</text>'
        f'<text x="12" y="40">{_cut(box.lines[0], FITS)}</text>'
        f'<text x="12" y="56">{_cut(box.lines[1], FITS)}</text></g>'
    )


def _cut(text: str, fits: int, tail: int = 0) -> str:
    """The text, or as much of it as fits: its beginning, and of a name its end too, where names differ."""
    if len(text) <= fits:
        return escape(text)
    return escape(f"{text[: fits - 1 - tail]}\u2026{text[len(text) - tail :]}")


def _arrows(boxes: Sequence[Box], placed: Mapping[str, Box]) -> str:
    """From each party to the one it points at; dashed where its word is wrong or the link is down."""
    ends: dict[tuple[int, str], list[Box]] = {}
    for box in boxes:
        target = placed.get(box.points_at)
        if target is not None and target is not box:
            ends.setdefault((id(target), "left" if box.x < target.x else "right"), []).append(box)
    drawn = []
    for (_target, side), sources in ends.items():
        sources.sort(key=lambda box: box.y)
        step = min(8, (HEIGHT - 16) // len(sources))
        for index, box in enumerate(sources):
            offset = HEIGHT // 2 + (2 * index - len(sources) + 1) * step // 2
            drawn.append(_arrow(box, placed[box.points_at], side, offset))
    return "".join(drawn)


def _arrow(box: Box, target: Box, side: str, offset: int) -> str:
    tone = (OK if box.tone != MUTE else MUTE) if box.firm else BAD
    start_x, start_y = box.x + (BOX if side == "left" or box.x == target.x else 0), box.y + HEIGHT // 2
    end_x, end_y = target.x + (0 if side == "left" else BOX), target.y + offset
    half = (end_x - start_x) // 2
    bends = (start_x + 50, end_x + 50) if box.x == target.x else (start_x + half, end_x - half)
    return (
        f'<path class="arrow {tone}{"" if box.firm else " broken"}" marker-end="url(#tip-{tone})" '
        f'd="M{start_x} {start_y}C{bends[0]} {start_y} {bends[1]} {end_y} {end_x} {end_y}"/>'
    )

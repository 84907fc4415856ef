# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One HTML page without scripts, fonts or images from elsewhere: it opens from a mail or a ticket as it is.

Filters are radio buttons and CSS: a page that holds evidence should run nothing.
"""

from __future__ import annotations

from html import escape
from typing import Any, Mapping, Sequence

from .words import SEVERITY_ORDER, STATUS_ORDER, WORDS, controls, counted, headline, moment, ordered

_STYLE = """
:root{--ink:#1c2733;--dim:#5b6b7b;--line:#dce3ea;--paper:#fff;--back:#f4f6f9;--pass:#1f7a4d;--fail:#b3261e;--error:#8a3ab9;
--waived:#8a6100;--manual:#1a5fb4;--not_applicable:#66727f}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:72rem;margin:0 auto;padding:1.5rem 1rem 4rem}h1{font-size:1.6rem;margin:.2rem 0}
h2{font-size:1.15rem;margin:2rem 0 .6rem}
.answer{padding:.8rem 1rem;border-radius:.5rem;color:#fff;font-weight:600;margin:1rem 0;overflow-wrap:anywhere}
.good{background:var(--pass)}.bad{background:var(--fail)}
.dim{color:var(--dim)}.cards{display:flex;flex-wrap:wrap;gap:.75rem;margin:1rem 0}
.card{background:var(--paper);border:1px solid var(--line);border-radius:.5rem;padding:.6rem 1rem;min-width:7.5rem}
.card b{display:block;font-size:1.5rem;line-height:1.2}
.bar{display:flex;height:.75rem;border-radius:.4rem;overflow:hidden;background:var(--line);min-width:8rem}
.bar i{display:block;height:100%}
table{border-collapse:collapse;width:100%;background:var(--paper);border:1px solid var(--line);border-radius:.5rem}
th,td{padding:.4rem .6rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
th{background:#eef2f6;font-weight:600;white-space:nowrap}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}
.tag{display:inline-block;padding:0 .5rem;border-radius:1rem;color:#fff;font-size:.82rem;white-space:nowrap}
.pass{background:var(--pass)}.fail{background:var(--fail)}.error{background:var(--error)}
.waived{background:var(--waived)}
.manual{background:var(--manual)}.not_applicable{background:var(--not_applicable)}
.filters{margin:.6rem 0}.filters span{display:inline-block;min-width:5rem}
.pick{position:absolute;opacity:0}
.filters label{display:inline-block;border:1px solid var(--line);background:var(--paper);
border-radius:1rem;padding:.1rem .8rem;margin:.15rem .2rem;cursor:pointer}
details{background:var(--paper);border:1px solid var(--line);border-radius:.5rem;margin:.4rem 0;padding:.45rem .8rem}
summary{cursor:pointer;overflow-wrap:anywhere}details p{margin:.4rem 0}ul{margin:.3rem 0;padding-left:1.2rem}
li{overflow-wrap:anywhere}
code{font-family:ui-monospace,monospace;font-size:.92em}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9aa7b4;--line:#36424f;--paper:#1b232c;--back:#12181f}
th{background:#232d38}}
@media print{.filters{display:none}details{break-inside:avoid}}
"""
# Changes that are shown without a click.
SHOWN = 12
_PICKED = "background:var(--ink);color:var(--paper);border-color:var(--ink)"


def render(report: Mapping[str, Any]) -> str:
    """The page."""
    hosts = list(report["summary"]["by_host"])
    picks = [("s", list(STATUS_ORDER)), ("g", list(SEVERITY_ORDER)), ("h", [str(at) for at in range(len(hosts))])]
    page = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Compliance of {escape(report['service'])}</title>",
        f"<style>{_STYLE}{_filter_style(picks)}</style></head><body>",
        *_radios(picks),
        "<main>",
        *_top(report),
        *_trend(report),
        *_tables(report),
        *_waivers(report),
        "<h2>Results</h2>",
        *_filters(report, hosts),
        *_results(report, hosts),
        "</main></body></html>\n",
    ]
    return "\n".join(page)


def _radios(picks: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """First in the body, so that what they are picked for comes after them."""
    return [
        f'<input class="pick" type="radio" name="{kind}" id="{kind}-{value}"{" checked" if value == "all" else ""}>'
        for kind, values in picks
        for value in ("all", *values)
    ]


def _filter_style(picks: Sequence[tuple[str, Sequence[str]]]) -> str:
    rules = []
    for kind, values in picks:
        for value in values:
            rules.append(f"#{kind}-{value}:checked~main .row:not(.{kind}-{value}){{display:none}}")
        for value in ("all", *values):
            rules.append(f'#{kind}-{value}:checked~main label[for="{kind}-{value}"]{{{_PICKED}}}')
            rules.append(
                f'#{kind}-{value}:focus-visible~main label[for="{kind}-{value}"]{{outline:2px solid var(--manual)}}'
            )
    return "\n".join(rules)


def _top(report: Mapping[str, Any]) -> list[str]:
    said, counts = report["summary"], report["summary"]["by_status"]
    kind = "good" if report["verdict"]["compliant"] else "bad"
    cards = [("Score", f"{said['score']} %"), ("Results", str(said["total"])),
             *((WORDS[name].capitalize(), str(counts[name])) for name in STATUS_ORDER)]  # fmt: skip
    return [
        f"<h1>Compliance of estate {escape(report['service'])}</h1>",
        f'<p class="dim">{moment(report["time"])}; fails from severity {escape(report["verdict"]["fail_on"])} on</p>',
        f'<div class="answer {kind}">{escape(headline(report))}</div>',
        '<div class="cards">'
        + "".join(f'<div class="card">{name}<b>{value}</b></div>' for name, value in cards)
        + "</div>",
        _bar(counts),
    ]


def _bar(counts: Mapping[str, int]) -> str:
    total = sum(counts.values()) or 1
    parts = "".join(
        f'<i class="{name}" style="width:{100 * counts[name] / total:.2f}%" title="{counts[name]} {WORDS[name]}"></i>'
        for name in STATUS_ORDER
        if counts[name]
    )
    return f'<div class="bar" role="img" aria-label="{escape(counted(counts))}">{parts}</div>'


def _trend(report: Mapping[str, Any]) -> list[str]:
    previous = report.get("previous")
    if not previous:
        return ["<h2>Trend</h2>", '<p class="dim">This is the first run that is kept.</p>']
    step = report["summary"]["score"] - previous["score"]
    moved = f"{len(previous['new'])} new, {len(previous['repaired'])} repaired"
    since = f"Since {moment(previous['time'])}: score {step:+.1f} points (was {previous['score']:g} %), {moved}."
    lines = ["<h2>Trend</h2>", f"<p>{since}</p>"]
    rows = [("new", row) for row in previous["new"]] + [("repaired", row) for row in previous["repaired"]]
    if rows:
        heads = "".join(f"<th>{name}</th>" for name in ("Change", "Control", "Where", "Was", "Is"))
        open_ = " open" if len(rows) <= SHOWN else ""
        lines.append(f'<details{open_}><summary>{len(rows)} changes</summary><div class="wide"><table><tr>{heads}</tr>')
        for word, row in rows:
            cells = (word, escape(row["control"]), escape(row["where"]), _tag(row["was"]), _tag(row["is"]))
            lines.append(f"<tr><td>{'</td><td>'.join(cells)}</td></tr>")
        lines.append("</table></div></details>")
    return lines


def _tag(status: str) -> str:
    return f'<span class="tag {escape(status)}">{escape(WORDS.get(status, status))}</span>'


def _tables(report: Mapping[str, Any]) -> list[str]:
    said = report["summary"]
    severities = {name: said["by_severity"][name] for name in SEVERITY_ORDER}
    return [*_table("By severity", "Severity", severities), *_table("By host", "Host", said["by_host"])]


def _table(title: str, first: str, rows: Mapping[str, Mapping[str, int]]) -> list[str]:
    heads = "".join(f'<th class="n">{WORDS[name].capitalize()}</th>' for name in STATUS_ORDER)
    lines = [f'<h2>{title}</h2><div class="wide"><table><tr><th>{first}</th>{heads}<th>Share</th></tr>']
    for name, counts in rows.items():
        cells = "".join(f'<td class="n">{counts[status] or ""}</td>' for status in STATUS_ORDER)
        lines.append(f"<tr><td>{escape(name)}</td>{cells}<td>{_bar(counts)}</td></tr>")
    return [*lines, "</table></div>"]


def _waivers(report: Mapping[str, Any]) -> list[str]:
    if not report["waivers"]:
        return []
    gone = {(one["control"], one["expires"], tuple(one["hosts"])) for one in report["expired_waivers"]}
    heads = "".join(f"<th>{name}</th>" for name in ("Control", "Where", "Reason", "Owner", "Until"))
    lines = [f'<h2>Waivers</h2><div class="wide"><table><tr>{heads}</tr>']
    for one in report["waivers"]:
        over = (one["control"], one["expires"], tuple(one["hosts"])) in gone
        until = escape(one["expires"]) + (' <span class="tag fail">expired</span>' if over else "")
        cells = (
            *(escape(word) for word in (one["control"], ", ".join(one["hosts"]), one["reason"], one["owner"])),
            until,
        )
        lines.append(f"<tr><td>{'</td><td>'.join(cells)}</td></tr>")
    return [*lines, "</table></div>"]


def _filters(report: Mapping[str, Any], hosts: Sequence[str]) -> list[str]:
    def line(name: str, kind: str, values: Sequence[tuple[str, str]]) -> str:
        labels = "".join(
            f'<label for="{kind}-{value}">{escape(word)}</label>' for value, word in (("all", "all"), *values)
        )
        return f'<div class="filters"><span>{name}</span>{labels}</div>'

    return [
        line("Status", "s", [(name, WORDS[name]) for name in STATUS_ORDER]),
        line("Severity", "g", [(name, name) for name in SEVERITY_ORDER]),
        line("Host", "h", [(str(at), name) for at, name in enumerate(hosts)]),
    ]


def _results(report: Mapping[str, Any], hosts: Sequence[str]) -> list[str]:
    known, places = controls(report), {name: at for at, name in enumerate(hosts)}
    lines = []
    for row in ordered(report["results"]):
        control, status = known[row["control"]], row["status"]
        open_ = " open" if status in ("fail", "error") else ""
        evidence = "".join(f"<li><code>{escape(text)}</code></li>" for text in row["evidence"])
        waiver = row["waiver"]
        note = ""
        if waiver and status == "waived":
            text = f"Waived until {waiver['expires']} by {waiver['owner']}: {waiver['reason']}"
            note = f"<p>{escape(text)}</p>"
        lines.append(
            f'<details class="row s-{status} g-{row["severity"]} h-{places[row["where"]]}"{open_}>'
            f"<summary>{_tag(status)} <b>{escape(row['control'])}</b> {escape(control['title'])} "
            f'<span class="dim">{escape(row["where"])}, {escape(row["severity"])}</span></summary>'
            f"<ul>{evidence}</ul>{note}<p>{escape(control['why'])}</p><p>Fix: {escape(control['fix'])}</p>"
            f'<p class="dim">{escape(control["reference"])}</p></details>'
        )
    return lines

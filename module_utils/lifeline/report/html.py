# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The diagnosis as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.

Every word that comes from evidence goes through ``escaped``; the page's own policy forbids scripts and loading as well.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any, Iterable, Mapping, Sequence

from ..common.facts import clean_text
from ..common.words import moment, names
from . import svg, words

CSS = """
:root{color-scheme:light dark;--page:#f5f6f8;--card:#fff;--ink:#1b1f24;--soft:#4d5661;--line:#d3d8de;--code:#eef0f3;
--ok:#136b39;--warn:#8a4b00;--bad:#b3141d;--mute:#57606a}
@media (prefers-color-scheme:dark){:root{--page:#0e1217;--card:#171c23;--ink:#e7ebf0;--soft:#a9b3bf;--line:#37404b;
--code:#222932;--ok:#5bd68d;--warn:#f2b545;--bad:#ff8a8a;--mute:#9aa5b1}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1110px;margin:0 auto;padding:24px 20px 48px}
h1{font-size:1.6rem;line-height:1.25;margin:0}h2{font-size:1.2rem;margin:36px 0 12px}
h3{font-size:1.05rem;line-height:1.35;margin:0 0 10px}
p{margin:0}code,pre{font:.86em/1.5 ui-monospace,"DejaVu Sans Mono",monospace;background:var(--code);border-radius:4px}
code{padding:1px 4px;overflow-wrap:anywhere}
.lead{border-left:8px solid var(--tone);background:var(--card);border-radius:8px;padding:18px 22px}
.lead p{margin-top:6px;font-size:1.1rem}
.card{background:var(--card);border:1px solid var(--line);border-left:6px solid var(--tone);border-radius:8px;
padding:16px 20px;margin:0 0 14px;break-inside:avoid}
.ok{--tone:var(--ok)}.warn{--tone:var(--warn)}.bad{--tone:var(--bad)}.mute{--tone:var(--mute)}
.tag{display:inline-block;color:var(--tone);border:1.5px solid var(--tone);border-radius:5px;padding:0 7px;
font-size:.78rem;font-weight:700;letter-spacing:.04em;text-transform:uppercase;vertical-align:2px;margin-right:8px}
.sure{color:var(--soft);font-weight:400;font-size:.9rem}
dl{display:grid;grid-template-columns:9rem 1fr;gap:7px 16px;margin:0}dt{color:var(--soft)}dd{margin:0;min-width:0}
.lead dl{margin-top:14px}ul,ol{margin:0;padding-left:1.1rem}
.seen{list-style:none;padding:0}.seen li{margin:0 0 3px}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px}
table{border-collapse:collapse;width:100%;font-size:.92rem}
caption{text-align:left;color:var(--soft);padding-bottom:8px}
th,td{text-align:left;padding:6px 10px;border-bottom:1px solid var(--line);vertical-align:top}
tbody tr:last-child>*{border-bottom:0}td{overflow-wrap:anywhere}td.bad,td.warn{color:var(--tone);font-weight:600}
td.mute{color:var(--soft)}
.topology{display:block;margin:0 auto;max-width:100%;min-width:760px;height:auto;font:12px system-ui,sans-serif}
.topology text{fill:var(--ink)}.topology .heading{fill:var(--soft);font-size:13px;font-weight:600}
.party rect{fill:var(--card);stroke:var(--tone);stroke-width:2}.party.gone rect{stroke-dasharray:5 4}
.party .name{font-size:14px;font-weight:700}
.topology .status{fill:var(--tone);font-weight:700;text-anchor:end}
.arrow{fill:none;stroke:var(--tone);stroke-width:1.8}.arrow.broken{stroke-dasharray:6 5}.tip{fill:var(--tone)}
footer code{white-space:nowrap}footer{margin-top:36px;color:var(--soft);font-size:.88rem}
@media (max-width:640px){dl{grid-template-columns:1fr;gap:2px}dd{margin-bottom:8px}}
@media print{:root{color-scheme:light;--page:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--code:#f2f2f2;
--ok:#136b39;--warn:#8a4b00;--bad:#b3141d;--mute:#57606a}
main{max-width:none;padding:0}.scroll{overflow:visible}.topology{min-width:0}body{font-size:12px}}
"""

# Rows of a table; those in trouble come first where there are more.
ROWS = 40

# Lines of evidence of one finding.
LINES = 30

_TONES = {"critical": "bad", "warning": "warn", "info": "mute"}
_VERDICTS = {"healthy": "ok", "impaired": "warn", "down": "bad", "blind": "bad"}


def diagnosis_page(diagnosis: Mapping[str, Any]) -> str:
    """The whole page."""
    body = [
        _lead(diagnosis),
        _findings(diagnosis["findings"]),
        f'<h2>As each member sees it</h2><div class="scroll">{svg.topology(diagnosis)}</div>',
        _looks(diagnosis),
        _plan(diagnosis["plan"]),
        _unjudged(diagnosis["unjudged"]),
        _unseen(words.unseen(diagnosis, 20)),
    ]
    footer = (
        "<footer>Written by Lifeline's diagnose.yml, which changes nothing. The evidence lies beside this page as "
        "evidence.json and holds no secret; <code>-e diagnose_evidence=</code> reads it again.</footer>"
    )
    return page(f"{diagnosis['verdict'].upper()}: estate {diagnosis['service']}", "".join([*body, footer]))


def page(title: str, body: str) -> str:
    """A page of Lifeline's; ``body`` is HTML already."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escaped(title)}</title><style>{CSS}</style></head><body><main>{body}</main></body></html>\n"
    )


def escaped(value: Any) -> str:
    """Whatever it is, as text that HTML takes for text."""
    return escape(clean_text(str(value)))


def _prose(text: str) -> str:
    """A sentence in which `backticks` mean code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped(text))


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of terms; the second of each pair is HTML already."""
    return f"<dl>{''.join(f'<dt>{escaped(term)}</dt><dd>{told}</dd>' for term, told in pairs if told)}</dl>"


def _lead(diagnosis: Mapping[str, Any]) -> str:
    verdict = diagnosis["verdict"]
    pairs = _pairs(
        [
            ("Primary", escaped(words.primary(diagnosis))),
            ("Members", escaped(words.parties(diagnosis))),
            ("Applications", escaped(words.applications(diagnosis))),
            ("Jobs", escaped(words.jobs(diagnosis))),
            ("Looked at", escaped(moment(diagnosis["parties"]["looked_at"]))),
            ("Trouble since", escaped(moment(diagnosis["outage_began"])) if diagnosis["outage_began"] else ""),
        ]
    )
    return (
        f'<header class="lead {_VERDICTS.get(verdict, "mute")}"><h1><span class="tag">{escaped(verdict)}</span>'
        f"Estate {escaped(diagnosis['service'])}: {escaped(words.MEANING.get(verdict, ''))}</h1>"
        f"<p>{escaped(diagnosis['summary'])}.</p>{pairs}</header>"
    )


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return "<h2>Findings</h2><p>Nothing is wrong.</p>"
    return f"<h2>Findings, worst first</h2>{''.join(_finding(finding) for finding in words.grouped(findings))}"


def _finding(finding: Mapping[str, Any]) -> str:
    pairs = _pairs(
        [
            ("How we know", _evidence(words.shown(finding["evidence"], LINES))),
            ("At risk", _prose(finding["at_risk"])),
            ("Do", _prose(finding["remedy"])),
            ("Do not", _prose(words.avoided(finding))),
            ("It explains", _list(words.explained(finding))),
        ]
    )
    return (
        f'<section class="card {_TONES.get(finding["severity"], "mute")}"><h3><span class="tag">'
        f'{escaped(finding["severity"])}</span>{escaped(words.heading(finding))} <span class="sure">'
        f"{escaped(words.sureness(finding))}</span></h3>{pairs}</section>"
    )


def _evidence(lines: Sequence[str]) -> str:
    items = "".join(f"<li><code>{escaped(line)}</code></li>" for line in lines)
    return f'<ul class="seen">{items}</ul>' if items else ""


def _list(items: Sequence[str], kind: str = "ul") -> str:
    return f"<{kind}>{''.join(f'<li>{_prose(item)}</li>' for item in items)}</{kind}>" if items else ""


def _looks(diagnosis: Mapping[str, Any]) -> str:
    """Which host reaches which server: where a row differs from another, something stands between them."""
    rows, servers, left = words.looks(diagnosis, ROWS)
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escaped(server)}</th>' for server in servers)
    body = "".join(
        f'<tr><th scope="row">{escaped(row["host"])}</th>'
        f"{''.join(_cell(row['sees'], server) for server in servers)}</tr>"
        for row in rows
    )
    more = f" {words.count(left, 'more host')} are in evidence.json." if left else ""
    return (
        '<h2>Who reaches whom</h2><div class="scroll"><table>'
        f"<caption>Each row is what one host got from each server.{escaped(more)}</caption>"
        f'<thead><tr><th scope="col">From</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cell(sees: Mapping[str, str], server: str) -> str:
    if server not in sees:
        return '<td class="mute">not asked</td>'
    return f'<td class="bad">{escaped(sees[server])}</td>' if sees[server] else "<td>answers</td>"


def _plan(plan: Mapping[str, Any]) -> str:
    steps = words.steps(plan)
    if not (steps or plan["refusal"] or plan["todo"]):
        return ""
    pairs = _pairs(
        [
            ("It would", _list(steps, "ol")),
            ("It refuses", _prose(plan["refusal"] or "")),
            ("Possible loss", _prose(plan["loss"] or "")),
            ("Left to you", _list(plan["todo"])),
        ]
    )
    return f'<h2>What recover.yml would do now</h2><section class="card mute">{pairs}</section>'


def _unjudged(causes: Sequence[str]) -> str:
    if not causes:
        return ""
    return (
        "<h2>Not judged</h2><p>The evidence is so odd that these causes could not be judged; please report it with "
        f"evidence.json: {escaped(names(causes, 20))}.</p>"
    )


def _unseen(parts: str) -> str:
    return f"<h2>Not seen</h2><p>{escaped(parts)}.</p>" if parts else ""

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as people read it: words on a terminal, a page in a browser, files with the right modes.

Where Chromium is installed the page is drawn in it; that it is well-formed is tested everywhere.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from estates import Estate
from lifeline.common.records import folder_name
from lifeline.errors import LifelineError
from lifeline.plan.diagnosis import diagnose
from lifeline.report.diagnosis import work
from lifeline.report.html import diagnosis_page
from lifeline.report.markdown import diagnosis_markdown
from lifeline.report.text import diagnosis_text

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--enable-logging=stderr",
)  # fmt: skip


def told(estate: Estate, **more: Any) -> dict[str, Any]:
    evidence = [*estate.evidence.values(), *more.pop("others", [])]
    return diagnose(
        {"evidence": evidence, "nodes": estate.nodes, "sentinels": estate.sentinels, "service": estate.service, **more}
    )


def application(estate: Estate, name: str, **reach: Any) -> dict[str, Any]:
    """What an application host says."""
    said = {"configured": True, "host": "192.0.2.1", "port": 6379, "reachable": True, "role": "primary", "error": ""}
    (some, *_rest) = estate.evidence.values()
    keep = {key: some[key] for key in ("library", "nodes", "sentinels", "service")}
    return {**keep, "host": name, "time": 1790000000.0, "application": {**said, **reach}}


def examples() -> Iterator[tuple[str, dict[str, Any]]]:
    """Estates of every size and mood."""
    healthy = Estate()
    apps = ["app1", "app2"]
    yield "healthy", told(healthy, applications=apps, others=[application(healthy, name) for name in apps])
    killed = Estate().kill("redis1")
    cut = application(killed, "app1", reachable=False, role="", error="refused: " + "connection refused " * 9)
    yield "killed", told(killed, applications=["app1"], others=[cut])
    yield "one", told(Estate(nodes=1, sentinels=False))
    split = Estate().promote("redis2", at=500)
    split.evidence["redis3"]["sentinels"]["redis3"]["primary"]["host"] = "192.0.2.1"
    yield "split", told(split, applications=["app1"], others=[application(split, "app1")])
    large = Estate(nodes=20)
    names = [f"a-rather-long-name-of-an-application-host-{number}" for number in range(40)]
    yield "twenty", told(large, applications=names, others=[application(large, name) for name in names[:30]])
    nobody = Estate()
    nobody.evidence.clear()
    yield "blind", told(nobody, applications=apps)


EXAMPLES = dict(examples())


def test_the_terminal_has_the_worst_first_and_what_not_to_do() -> None:
    text = diagnosis_text(EXAMPLES["killed"], ["x/diagnosis.html", "x/evidence.json"])
    lines = text.splitlines()
    assert lines[0] == "Estate redis is DOWN: the server's process is dead (redis1)."
    assert lines[1].split(None, 1) == ["Primary:", "none; the last one was redis1"]
    for label in ("seen", "at risk", "do ", "do not", "explains"):
        assert any(line.startswith(f"   {label}") for line in lines), label
    assert lines[-1] == "Report: x/diagnosis.html"
    assert max(map(len, lines)) <= 100 and len(lines) < 30
    assert "app1 cannot reach Redis" in text


def test_findings_that_are_alike_are_one() -> None:
    estate = Estate()
    for name in estate.names:
        for evidence in estate.evidence.values():
            evidence["sentinels"][name] = {"reachable": False, "error": "refused: no"}
    text = diagnosis_text(told(estate))
    assert text.count("WARNING") == 1 and "(redis1, redis2, redis3)" in text


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_form_names_the_verdict_the_primary_and_each_finding(name: str) -> None:
    said = EXAMPLES[name]
    page, document = diagnosis_page(said), diagnosis_markdown(said)
    for finding in said["findings"]:
        assert finding["title"].replace("'", "&#x27;") in page and finding["title"] in document
    assert said["verdict"].upper() in page and said["verdict"].upper() in document
    assert not re.findall(r"(?:src|href|url\()\s*=?\s*[\"']?(?!#|\"?#)[a-z]+:", page), "something from elsewhere"
    (svg,) = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert svg.index("<title") < svg.index("<desc") < svg.index("<rect")


def test_who_disagrees_is_drawn_as_such() -> None:
    page = diagnosis_page(EXAMPLES["split"])
    assert page.count("broken") - page.count(".broken") == 2, "the third sentinel, and the application"
    assert "disagrees" in page and "says primary" in page and "wrong server" in page
    assert "broken" not in diagnosis_page(EXAMPLES["healthy"]).partition("</style>")[2]


def test_hosts_that_were_left_out_are_not_gone() -> None:
    estate = Estate()
    for name in ("redis2", "redis3"):
        del estate.evidence[name]
    said = told(estate, unasked=["redis2", "redis3", "app1"], applications=["app1"])
    assert (said["verdict"], said["findings"], said["plan"]["todo"]) == ("healthy", [], [])
    assert "hosts left out of this run: redis2, redis3, app1" in " ".join(diagnosis_text(said).split())
    lost = told(Estate().lose("redis1"), silent={"redis1": "ssh: Permission denied"})
    assert any("Permission denied" in line for line in lost["findings"][0]["evidence"])


def test_an_application_host_that_is_silent_is_told(tmp_path: Path) -> None:
    estate = Estate()
    said = told(estate, applications=["app1", "app2"], others=[application(estate, "app1")])
    assert [(found["id"], found["where"]) for found in said["findings"]] == [("application_host_gone", "app2")]
    assert said["verdict"] == "impaired"


def test_files_are_for_their_owner_and_group(tmp_path: Path) -> None:
    estate = Estate()
    params = {
        "service": "redis", "evidence": list(estate.evidence.values()), "nodes": estate.nodes,
        "sentinels": estate.sentinels, "report_dir": str(tmp_path / "reports"),
    }  # fmt: skip
    for _run in range(2):
        result = work(params, True)
    folder = tmp_path / "reports" / "redis"
    assert sorted(path.name for path in folder.iterdir()) == [
        "diagnosis.html", "diagnosis.json", "diagnosis.md", "evidence.json",
    ]  # fmt: skip
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o640}
    again = work({"evidence_file": str(folder / "evidence.json"), "report_dir": str(tmp_path / "again")}, False)
    assert again["diagnosis"] == {**result["diagnosis"], "reports": again["reports"]}
    assert (tmp_path / "again" / "redis" / "diagnosis.html").read_text() == (folder / "diagnosis.html").read_text()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LifelineError, match="cannot be written") as raised:
        work({"service": "redis", "evidence": [], "nodes": [], "report_dir": str(tmp_path / "file")}, False)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("service", ["../../etc", "/etc", "", ".", "..", "a b", "x" * 300, "\ud800", "a\0b"])
def test_an_estates_name_leads_nowhere_else(service: str) -> None:
    name = folder_name(service)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", name)
    assert name != folder_name(service + "x")


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("name", ["killed", "twenty"])
def test_the_page_is_drawn_in_a_browser(name: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(diagnosis_page(EXAMPLES[name]))
    colours = {}
    for mode, setting in (("light", 1), ("dark", 0)):
        picture = tmp_path / f"{mode}.png"
        log = browser(
            tmp_path,
            page,
            f"--screenshot={picture}",
            "--window-size=1180,500",
            f"--blink-settings=preferredColorScheme={setting}",
        )
        assert "CONSOLE" not in log, log
        colours[mode] = pixels(picture)
    for mode, background in (("light", (0xF5, 0xF6, 0xF8)), ("dark", (0x0E, 0x12, 0x17))):
        assert colours[mode][0] == background, mode
        assert len(set(colours[mode])) > 10, f"{mode}: nothing is drawn"


MEASURE = """<script>
const wide = [];
for (const party of document.querySelectorAll('.party')) {
  const box = party.querySelector('rect').getBBox();
  const texts = [...party.querySelectorAll('text')].map(text => [text.textContent, text.getBBox()]);
  for (const [words, place] of texts) {
    if (place.x < box.x || place.x + place.width > box.x + box.width) wide.push(words);
  }
  const [name, status] = texts;
  if (name[1].x + name[1].width > status[1].x && status[0]) wide.push(name[0] + ' | ' + status[0]);
}
if (document.documentElement.scrollWidth > innerWidth) wide.push('the page itself');
document.title = 'measured ' + JSON.stringify(wide);
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("name", EXAMPLES)
def test_no_word_leaves_its_box(name: str, tmp_path: Path) -> None:
    """The page allows no script; a copy without its policy is measured."""
    copy = re.sub(r"<meta http-equiv[^>]*>", "", diagnosis_page(EXAMPLES[name])).replace("</body>", MEASURE)
    page = tmp_path / "measured.html"
    page.write_text(copy)
    document = browser(tmp_path, page, "--dump-dom", "--window-size=1180,1400")
    (wide,) = re.findall(r"<title>measured (.*?)</title>", document)
    assert json.loads(wide) == []


def browser(home: Path, page: Path, *options: str) -> str:
    """Open a page; what Chromium said and printed."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, *QUIET, f"--user-data-dir={home / 'profile'}", *options, page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout + done.stderr


def pixels(path: Path) -> list[tuple[int, ...]]:
    """Every hundredth pixel of a PNG (8 bits a channel, not interlaced), from the upper left corner on."""
    data = path.read_bytes()
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    channels = {2: 3, 6: 4}[data[25]]
    packed, at = b"", 8
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        packed += data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    raw, stride = zlib.decompress(packed), width * channels
    previous, found = bytearray(stride), []
    for row in range(height):
        start = row * (stride + 1)
        line = unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + stride]), previous, channels)
        if row % 10 == 0:
            found += [tuple(line[x : x + 3]) for x in range(0, stride, channels * 10)]
        previous = line
    return found


def unfiltered(kind: int, line: bytearray, above: bytearray, step: int) -> bytearray:
    for at in range(len(line)):
        left = line[at - step] if at >= step else 0
        up, corner = above[at], above[at - step] if at >= step else 0
        guess = left + up - corner
        paeth = min((left, up, corner), key=lambda value: abs(guess - value))
        line[at] = (line[at] + (0, left, up, (left + up) // 2, paeth)[kind]) & 0xFF
    return line

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules that the whole repository keeps."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from modules import ROOT
from repository import Task, files, load, module_options, own_modules, tasks, under

# In pieces, so that this file keeps the rule that it checks.
MACHINE = re.compile("|".join(("/wo" + "rk/", "/ro" + r"ot/(?!\.ssh|\.ansible)", "/tmp/" + "venv")))
REGISTRIES = re.compile(
    "|".join(
        re.escape("".join(pieces))
        for pieces in (
            ("pypi", ".org"), ("python", "hosted.org"), ("deb.", "debian.org"), ("security.", "debian.org"),
            ("registry.", "npmjs"), ("docker", ".io/"), ("quay", ".io"), ("gh", "cr.io"),
        )
    )
)  # fmt: skip
SECRET = re.compile(
    r"\b(redis_password_\w+|\w*_password\b|__redis_login|\w+_webhook(_url|_headers)?\b|rq_services_environment\b"
    r"|rq_services_redis_url|redis_tls_key_src|redis_server_users)"
)

# Modules that write their arguments where they can be seen: the process list, the diff or the screen.
TALKATIVE = ("command", "shell", "raw", "debug", "copy", "template", "lineinfile", "blockinfile", "set_fact", "uri")


def text_files() -> list[Path]:
    return [path for path in files() if path.suffix not in (".png", ".gz") and path.name != "LICENSE"]


def test_library_holds_modules_and_nothing_else() -> None:
    for path in files():
        if not under(path, "library"):
            continue
        assert path.parent == ROOT / "library", f"{path}: Ansible takes every file below library/ for a module"
        assert path.suffix == ".py", path
        assert path.stem not in ("redis", "rq"), f"{path}: hides the Python package of that name"
        text = path.read_text()
        assert text.startswith("#!/usr/bin/python\n"), path
        assert all(f"\n{part} = " in text for part in ("DOCUMENTATION", "EXAMPLES", "RETURN")), path


def test_a_call_outside_of_a_units_filter_is_refused_and_kills_nobody() -> None:
    """HAProxy 3.2 sets its processors, as 3.0 did not: the filter killed it for that, after each start again."""
    units = [path for path in files() if path.suffix == ".j2" and "\nSystemCallFilter=" in path.read_text()]
    assert {path.parts[-3] for path in units} == {"redis_endpoint", "rq_services"}
    for path in units:
        assert "\nSystemCallErrorNumber=EPERM\n" in path.read_text(), path


def test_lint_allows_exactly_our_own_modules() -> None:
    allowed = load(ROOT / ".ansible-lint")["only_builtins_allow_modules"]
    assert allowed == own_modules(), "run `make lint-modules`"


def test_nothing_in_ansible_lint_is_skipped() -> None:
    configuration = load(ROOT / ".ansible-lint")
    assert not {"skip_list", "warn_list"} & set(configuration)
    assert configuration["profile"] == "production"
    for path in files():
        if path.suffix in (".yml", ".yaml"):
            assert "noqa" not in path.read_text(), path
    assert not (ROOT / ".ansible-lint-ignore").exists()


@pytest.fixture(scope="module")
def options() -> dict[str, dict[str, Any]]:
    """Options of every module that a task names."""
    return module_options(sorted({task.module for task in tasks()} | set(own_modules())))


def test_every_module_is_ours_or_ansibles(options: dict[str, dict[str, Any]]) -> None:
    for task in tasks():
        assert task.module in options, f"{task}: no module {task.module}"
        assert task.module in own_modules() or task.module.startswith("ansible.builtin."), f"{task}: {task.module}"


def test_every_option_exists(options: dict[str, dict[str, Any]]) -> None:
    """ansible-lint looks at ansible.builtin's modules only."""
    wrong = [problem for task in tasks() for problem in unknown_options(task, options[task.module])]
    assert not wrong, "\n".join(wrong)


def unknown_options(task: Task, known: dict[str, Any]) -> list[str]:
    if task.module in ("ansible.builtin.set_fact", "ansible.builtin.set_stats"):
        return []  # any name is an option there
    return [f"{task}: {task.module} has no option {name}" for name in _unknown(task.arguments, known)]


def _unknown(given: Any, known: dict[str, Any]) -> list[str]:
    if not isinstance(given, dict):
        return []
    aliases = {alias: entry for entry in known.values() for alias in entry.get("aliases") or ()}
    found = []
    for name, value in given.items():
        entry = known.get(name) or aliases.get(name)
        if entry is None:
            found.append(name)
        elif entry.get("suboptions"):
            for item in value if isinstance(value, list) else [value]:
                found += [f"{name}.{inner}" for inner in _unknown(item, entry["suboptions"])]
    return found


def test_an_unknown_option_would_be_found() -> None:
    known = {"files": {"suboptions": {"path": {"aliases": ["dest"]}}}, "state": {}}
    assert _unknown({"files": [{"dest": "x", "pth": "x"}], "stat": 1}, known) == ["files.pth", "stat"]


def test_no_task_waits_or_looks_away() -> None:
    for task in tasks():
        assert task.module != "ansible.builtin.pause", f"{task}: wait for a condition instead"
        assert "ignore_errors" not in task.keywords, f"{task}: say what may fail with failed_when"
        if task.module == "ansible.builtin.wait_for":
            assert set(task.arguments) & {"port", "path"}, f"{task}: only waits"
        if task.module.endswith((".shell", ".command")):
            assert not re.search(r"\bsleep \d", str(task.arguments)), f"{task}: wait for a condition instead"


def test_B2_no_task_shows_a_secret() -> None:
    """Before: only passwords were looked for in the arguments of tasks that show or log them.

    Now: addresses of web hooks, environments, URLs and keys too.
    """
    for task in tasks():
        if task.module.rpartition(".")[2] in TALKATIVE and SECRET.search(str(task.arguments)):
            assert task.keywords.get("no_log") is True, f"{task}: needs no_log, or a module that hides its options"


def test_no_machine_of_ours_is_named() -> None:
    for path in text_files():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            assert not MACHINE.search(line), f"{path}:{number}: a path of one machine: {line.strip()}"
            assert not REGISTRIES.search(line), f"{path}:{number}: a registry's host: {line.strip()}"


def anchors(text: str) -> set[str]:
    """The anchors of a Markdown file's headings, as forges make them."""
    headings = re.findall(r"^#+ +(.*?) *#*$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_in_the_documents_resolve() -> None:
    for path in text_files():
        if path.suffix != ".md":
            continue
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = unquote(target).partition("#")
            where = (path.parent / name) if name else path
            assert where.exists(), f"{path}: {target} leads nowhere"
            if anchor:
                assert anchor in anchors(where.read_text()), f"{path}: {where.name} has no heading {anchor}"


def test_every_target_that_the_documents_name_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    targets |= set(re.findall(r"\b(bench-[a-z]+)", (ROOT / "Makefile").read_text()))
    for path in text_files():
        if path.suffix == ".md":
            for name in re.findall(r"`make ([a-z-]+)", path.read_text()):
                assert name in targets, f"{path}: make {name}"


@pytest.mark.parametrize("page", ["faults_page.py", "recoveries_page.py", "safety_page.py"])
def test_a_generated_page_is_what_the_code_says(page: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "tools" / page, "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_python_is_free_of_ansible_where_it_should_be() -> None:
    for path in files():
        if under(path, "module_utils") and path.suffix == ".py":
            assert not re.search(r"^\s*(from|import) ansible\b", path.read_text(), re.MULTILINE), path


def test_every_python_file_says_whose_it_is() -> None:
    for path in files():
        if path.suffix == ".py":
            head = path.read_text()[:300]
            assert "Copyright: Lifeline contributors" in head, path
            assert "GNU General Public License v3.0+" in head, path


def test_the_tests_that_the_map_names_exist() -> None:
    places = {"unit": "tests/unit/test_rq.py", "journey/": "tests/journeys/", "": "tests/integration/rq/"}
    named = re.findall(r"`(\S+)::(\w+)`", (ROOT / "docs" / "rq-tests.md").read_text())
    assert len(named) > 60
    missing = []
    for place, test in named:
        start = next(start for start in places if place.startswith(start))
        path = ROOT / (places[start] + place[len(start) :])
        if f"def {test}(" not in path.read_text():
            missing.append(f"{place}::{test}")
    assert missing == []

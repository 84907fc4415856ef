# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ansible-test sanity on our modules.

ansible-test works on collections only, so the modules, their utilities and their documentation fragments are copied
into one under .cache/, with their imports and fragment names changed to a collection's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from pythons import installed

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".cache" / f"sanity-py{sys.version_info[0]}.{sys.version_info[1]}"
NAMESPACE, NAME = "lifeline", "estate"
COLLECTION = HOME / "ansible_collections" / NAMESPACE / NAME

# Tests of what only a published collection has, and of what other linters here look at already (ruff, mypy, yamllint).
LEFT_OUT = (
    "action-plugin-docs", "ansible-doc", "changelog", "pep8", "pylint", "runtime-metadata", "shellcheck", "yamllint",
    "replace-urlopen",  # asks for a function of Ansible's, which module_utils/lifeline does not import
)  # fmt: skip

# What ansible-test runs to get pip into its own environments; ensurepip has one on board, so nothing is downloaded.
GET_PIP = "import ensurepip\nensurepip.bootstrap(default_pip=True)\n"


def build() -> None:
    """Lay the collection out anew."""
    shutil.rmtree(COLLECTION, ignore_errors=True)
    plugins = COLLECTION / "plugins"
    fragments = sorted(path.stem for path in (ROOT / "plugins" / "doc_fragments").glob("*.py"))
    for source, target in (
        (ROOT / "library", plugins / "modules"),
        (ROOT / "module_utils", plugins / "module_utils"),
        (ROOT / "plugins" / "doc_fragments", plugins / "doc_fragments"),
    ):
        for path in sorted(source.rglob("*.py")):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(as_in_a_collection(path.read_text(), fragments))
    (COLLECTION / "galaxy.yml").write_text(
        f"namespace: {NAMESPACE}\nname: {NAME}\nversion: 0.1.0\nreadme: README.md\nauthors: [Lifeline contributors]\n"
    )
    (COLLECTION / "README.md").touch()
    (COLLECTION / "meta").mkdir()
    (COLLECTION / "meta" / "runtime.yml").write_text("---\nrequires_ansible: '>=2.19'\n")
    tests = COLLECTION / "tests"
    tests.mkdir()
    # What hosts may have; the control node's own plugins are not part of this.
    (tests / "config.yml").write_text("modules:\n  python_requires: '>=3.9'\n")
    subprocess.run(["git", "init", "--quiet"], cwd=COLLECTION, check=True)
    subprocess.run(["git", "add", "--all"], cwd=COLLECTION, check=True)


def as_in_a_collection(text: str, fragments: list[str]) -> str:
    """A module's text with the names that it has in a collection."""
    prefix = f"{NAMESPACE}.{NAME}"
    text = text.replace("ansible.module_utils.lifeline", f"ansible_collections.{prefix}.plugins.module_utils.lifeline")
    for fragment in fragments:
        text = re.sub(rf"^(\s+- ){fragment}$", rf"\1{prefix}.{fragment}", text, flags=re.MULTILINE)
        text = re.sub(
            rf"^(extends_documentation_fragment: .*)\b{fragment}\b", rf"\1{prefix}.{fragment}", text, flags=re.M
        )
    for module in (path.stem for path in (ROOT / "library").glob("*.py")):
        text = text.replace(f"M({module})", f"M({prefix}.{module})")
    return text


def interpreters() -> Path:
    """A directory with the Pythons that hosts may have, and no shim that stands for a version that is not there."""
    directory = HOME / "bin"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    found = installed((3, 9))
    for major, minor in {min(found), sys.version_info[:2]}:  # each costs 10 s, and those between add nothing
        (directory / f"python{major}.{minor}").symlink_to(found[major, minor])
    return directory


def main() -> int:
    """Run the tests; ansible-test's exit code."""
    build()
    cache = HOME / "home" / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in ("24_2", "25_2"):  # of ansible-core 2.19 and 2.21
        (cache / f"get_pip_{version}.py").write_text(GET_PIP)
    environment = {
        **os.environ,
        "PATH": f"{interpreters()}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(HOME / "home"),
        "GIT_CEILING_DIRECTORIES": str(COLLECTION),
    }
    command = [
        Path(sys.executable).parent / "ansible-test",
        "sanity",
        "--local",
        "--python",
        "default",
        "--color",
        "no",
    ]
    skipped = [argument for name in LEFT_OUT for argument in ("--skip-test", name)]
    return subprocess.run(
        [*command, *skipped, *sys.argv[1:]], cwd=COLLECTION, stdin=subprocess.DEVNULL, env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which distribution a host runs, as os-release(5) says."""

from __future__ import annotations

import shlex
from pathlib import Path

OS_RELEASE = ("etc/os-release", "usr/lib/os-release")


def parse_os_release(text: str) -> dict[str, str]:
    """``{distribution, release}``: the ID, such as debian, and the first number of VERSION_ID; empty where not said.

    Debian's unstable suite has no VERSION_ID: its release is ``sid``. Its PRETTY_NAME alone says so, since the code
    name is that of the next release; testing, which will be that release, has the same text and counts as sid too.
    """
    said = {}
    for line in text.splitlines():
        name, found, value = line.strip().partition("=")
        if found and not name.startswith("#"):
            said[name] = "".join(shlex.split(value))
    distribution, version = said.get("ID", ""), said.get("VERSION_ID", "")
    if distribution == "debian" and not version and said.get("PRETTY_NAME", "").endswith("/sid"):
        version = "sid"
    return {"distribution": distribution, "release": version.split(".")[0]}


def platform(root: str = "/") -> dict[str, str]:
    """This host's ``parse_os_release``."""
    for name in OS_RELEASE:
        try:
            return parse_os_release((Path(root) / name).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return parse_os_release("")

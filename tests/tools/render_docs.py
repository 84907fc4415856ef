# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ansible-doc shows every module and every role's variables without an error or a gap."""

from __future__ import annotations

import json
import sys

from modules import ROOT, ansible


def problems(kind: str, names: list[str], *options: str) -> list[str]:
    """What ansible-doc says against these modules or roles, or leaves out of its answer."""
    if not names:
        return []
    done = ansible("ansible-doc", "--type", kind, "--json", *options, *names)
    if done.returncode != 0:
        return [done.stderr.strip()]
    shown = json.loads(done.stdout)
    found = [line for line in done.stderr.splitlines() if line.strip()]
    for name in names:
        if name not in shown:
            found.append(f"{kind} {name}: ansible-doc does not show it")
        elif kind == "module" and not (shown[name].get("examples") and shown[name].get("return")):
            found.append(f"module {name}: EXAMPLES or RETURN is missing")
        elif kind == "role" and not shown[name].get("entry_points", {}).get("main"):
            found.append(f"role {name}: meta/argument_specs.yml has no entry point main")
    return found


def main() -> int:
    """Print the problems; 1 when there are any."""
    modules = sorted(path.stem for path in (ROOT / "library").glob("*.py"))
    roles = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
    found = problems("module", modules) + problems("role", roles, "--roles-path", str(ROOT / "roles"))
    print("\n".join(found) or f"{len(modules)} modules and {len(roles)} roles render")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

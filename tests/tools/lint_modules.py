# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write the names of the modules in library/ into .ansible-lint, whose rule only-builtins takes no pattern."""

from __future__ import annotations

from modules import ROOT
from repository import own_modules

KEY = "only_builtins_allow_modules:\n"

if __name__ == "__main__":
    path = ROOT / ".ansible-lint"
    before, key, _ = path.read_text().partition(KEY)
    path.write_text(before + key + "".join(f"  - {name}\n" for name in own_modules()))

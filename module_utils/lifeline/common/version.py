# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lifeline's version, which reports and saved evidence name. CHANGELOG.md and pyproject.toml say the same."""

from __future__ import annotations

VERSION = "0.9.0"

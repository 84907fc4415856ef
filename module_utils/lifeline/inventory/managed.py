# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Redis that is only a URL, as the inventory has it."""

from __future__ import annotations


def refusal(host: str) -> str:
    """Why what needs a host is not done to a URL; for every playbook that changes servers."""
    return (
        f"{host} is a Redis that is only a URL (redis_url): there is no host to set up, scale or switch over, so that "
        f"is for its provider. Nothing was changed. Leave it out with --limit '!{host}'; diagnose.yml, recover.yml, "
        "requeue.yml, hold.yml and compliance.yml work on it."
    )

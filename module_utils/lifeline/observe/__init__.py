# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collect one host's evidence: what it sees of every node and sentinel, and the state of its own units and files.

``estate`` asks the servers and sentinels, ``units`` systemd, ``files`` the disk. ``host`` looks at all else that a
diagnosis wants of a host; it is imported by those who need it, so that other modules stay small.
"""

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A lab: real hosts on this machine, as containers that boot systemd and are reached over SSH."""

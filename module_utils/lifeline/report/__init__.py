# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person reads: on the terminal (``text``), in an incident's folder (``markdown``, ``html``, ``files``)."""

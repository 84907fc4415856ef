# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""RQ by its data: seeing every lost job and putting it back. RQ itself is never imported, jobs are never unpickled."""

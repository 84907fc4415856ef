# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every floor stands on: plain values, files, programs, connections. Nothing here knows what an outage is."""

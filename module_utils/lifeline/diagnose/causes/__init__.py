# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The catalogue of outages: one object a cause, one file a family.

To teach Lifeline another outage, add a ``Cause`` to the file of its family here and an injector of the same id in
``tests/faults``. The diagnosis, the documentation and the tests find both by the id.
"""

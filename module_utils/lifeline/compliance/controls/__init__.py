# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The catalogue of controls: what must be so on a host or in an estate; one object a control, one file a family.

To add one, write a check and a ``Control`` in the file of its family, a passing and a failing case in
``tests/unit/test_controls.py`` and a mutation in ``tests/controls``. Reports and documentation find it by its id.
"""

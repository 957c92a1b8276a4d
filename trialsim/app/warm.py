"""Imported once by the process that others are forked from: they then start at once, and warm."""

from trialsim.app.worker import Order, Want, answered, import_heavy

import_heavy()
answered(Order(("size", "sepsis"), Want.FIGURES))  # fonts, special functions, shipped evidence

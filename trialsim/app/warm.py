"""Imported once by the process that others are forked from: they then start at once, and warm."""

import gc

from trialsim.app.worker import Order, Want, answered, import_heavy

import_heavy()
answered(Order(("size", "sepsis"), Want.FIGURES))  # fonts, special functions, shipped evidence
gc.collect()
gc.freeze()  # what is shared stays shared: the collector writes into what it looks at

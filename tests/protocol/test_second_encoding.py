"""Every shipped template was encoded a second time from its sources, and compared."""

from __future__ import annotations

from trialsim.protocol.reading.catalogue import template_paths
from trialsim.protocol.reading.load import load_template


def test_property_no_template_is_without_a_second_encoding():
    without = {name for name in template_paths() if load_template(name).template.qc is None}
    assert not without

"""Every shipped template was encoded a second time from its sources, and compared."""

from __future__ import annotations

from trialsim.protocol.catalogue import template_paths
from trialsim.protocol.load import load_template

# Templates whose second encoding is still to come. Nothing else may be without one.
WAITING = {"chronic-hepatitis-b", "delayed-effect", "sepsis", "sepsis-enriched"}
WAITING |= {"chb-combination", "chb-dose-fibrosis", "hbv-aclf"}


def test_property_no_template_is_without_a_second_encoding_but_those_that_wait():
    without = {name for name in template_paths() if load_template(name).template.qc is None}
    assert without == WAITING

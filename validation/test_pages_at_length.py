"""Pages to walk through whose commands take long."""

from __future__ import annotations

import pytest
import telling

from conftest import ROOT
from conftest import trialsim as trialsim
from test_docs import retold

SHORT = ("a-template.md", "your-own-protocol.md")


@pytest.mark.parametrize("page", [p for p in telling.told_pages() if p.name not in SHORT], ids=str)
def test_regression_a_page_shows_what_its_commands_print(page, trialsim):
    assert retold(page, trialsim) == page.read_text(encoding="utf-8"), "run: make docs"


def test_regression_the_sample_report_is_what_its_commands_make(trialsim, tmp_path):
    assert trialsim("simulate", "sepsis", "--out", "run", cwd=tmp_path).returncode == 0
    assert trialsim("report", "run", "--out", "made.html", cwd=tmp_path).returncode == 0
    made = (tmp_path / "made.html").read_text(encoding="utf-8")
    sample = (ROOT / "docs" / "sample-report.html").read_text(encoding="utf-8")
    assert made == sample, "run: make docs"

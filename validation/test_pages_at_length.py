"""Pages to walk through whose commands take long."""

from __future__ import annotations

from conftest import ROOT
from conftest import trialsim as trialsim
from test_docs import build as build  # the fixture
from test_docs import walk


def test_regression_a_long_page_shows_what_its_commands_print(build, trialsim):
    (page,) = {*build.WALKED} - {
        ROOT / "docs" / name for name in ("contribute/a-template.md", "your-own-protocol.md")
    }
    walk(page, build, trialsim)


def test_regression_the_sample_report_is_what_its_commands_make(trialsim, tmp_path):
    assert trialsim("simulate", "sepsis", "--out", "run", cwd=tmp_path).returncode == 0
    assert trialsim("report", "run", "--out", "made.html", cwd=tmp_path).returncode == 0
    made = (tmp_path / "made.html").read_text(encoding="utf-8")
    sample = (ROOT / "docs" / "sample-report.html").read_text(encoding="utf-8")
    assert made == sample, "run: make docs"

"""Runs -> one report in the forms asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from trialsim.errors import Problem, RequestError
from trialsim.figures.forest import ForestLine, forest_figure, forest_lines
from trialsim.figures.style import fit_png, save, save_svg
from trialsim.report.run_reader import FinishedRun
from trialsim.report.sections.adjustment_section import adjustment_section
from trialsim.report.sections.bias_calibration_section import bias_calibration_section
from trialsim.report.sections.bias_section import bias_section
from trialsim.report.sections.class_section import class_section
from trialsim.report.sections.content import Drawing, Grid, Section, sections_of
from trialsim.report.sections.enrolled_section import enrolled_section
from trialsim.report.sections.estimand_section import estimand_section
from trialsim.report.sections.explanation_section import explanation_section
from trialsim.report.sections.followup_section import followup_section
from trialsim.report.sections.forecast_section import forecast_section
from trialsim.report.sections.optimise_section import optimise_section
from trialsim.report.sections.published_synthesis_section import published_synthesis_section
from trialsim.report.sections.reconciliation_section import reconciliation_section
from trialsim.report.sections.synthesis_section import synthesis_section

__all__ = ["bound_sections", "report_title", "write_figures"]


_SLIDE_PIXELS = (1920, 1080)


def report_title(runs: Sequence[FinishedRun]) -> str:
    """Return the title of the protocol."""
    return runs[0].resolved.template.title


_BEHIND_THE_SYNOPSIS: tuple[Callable[[Sequence[FinishedRun]], Section | None], ...] = (
    followup_section,
    forecast_section,
    enrolled_section,
    bias_calibration_section,
    bias_section,
    synthesis_section,
    class_section,
    published_synthesis_section,
    adjustment_section,
    reconciliation_section,
    explanation_section,
    optimise_section,
)  # the last one comes first


def bound_sections(runs: Sequence[FinishedRun]) -> list[Section]:
    """Return the sections of a report on these runs.

    Raises
    ------
    RequestError
        If they are not of one protocol.
    """
    ids = {run.document["protocol"] for run in runs}
    if len(ids) > 1:
        remedy = "Make one report for each."
        rule = f"mixes the protocols {', '.join(sorted(ids))}"
        raise RequestError(Problem(rule, remedy, field="RUN"))
    sections = sections_of(runs, _forest(runs[0]))
    simulated = [run for run in runs if run.document["command"] == "simulate"]
    if estimands := estimand_section(simulated):
        after = [section.anchor for section in sections].index("characteristics") + 1
        sections.insert(after, estimands)
    for section_of in _BEHIND_THE_SYNOPSIS:
        if section := section_of(runs):
            sections.insert(1, section)
    return sections


def _forest(run: FinishedRun) -> Drawing | None:
    lines, scale = _forest_lines(run)
    if not lines:
        return None
    verdicts = [_verdict(run, row["evidence"]) for row in _estimates(run)[0]]
    figure, alt_text = forest_figure(lines, scale)
    header = ("Record", scale, "95% interval", "Status", "Its numbers together")
    rows = tuple(
        (x.label, f"{x.value:.2f}", f"{x.lower:.2f} to {x.upper:.2f}", x.status, verdict)
        for x, verdict in zip(lines, verdicts, strict=True)
    )
    svg = StringIO()
    save_svg(figure, svg, "forest", alt_text)
    title = (
        "Published effects; the last column is of all numbers of a record, not of this line alone: "
        "trialsim evidence check ID says which"
    )
    return Drawing("forest", svg.getvalue(), alt_text, Grid(title, header, rows))


def _verdict(run: FinishedRun, name: str) -> str:
    """Return what a check of a record's numbers found, as far as the record says."""
    record = run.resolved.evidence.records.get(name)
    return record.consistency.verdict if record and record.consistency else "not said"


def _estimates(run: FinishedRun) -> tuple[list[dict[str, Any]], str]:
    """Return the published estimates of the first one's scale, and that scale."""
    estimates = [
        row
        for row in run.document["observed"]
        if row["measure"] == "estimate" and row.get("lower") is not None and row.get("scale")
    ]
    scale = estimates[0]["scale"] if estimates else ""
    return [row for row in estimates if row["scale"] == scale], scale


def _forest_lines(run: FinishedRun) -> tuple[list[ForestLine], str]:
    titles = {name: record.title for name, record in run.resolved.evidence.records.items()}
    scales = forest_lines(run.document["observed"], titles)
    scale, lines = next(iter(scales.items()), ("", []))
    return lines, scale


def write_figures(runs: Sequence[FinishedRun], folder: Path) -> list[Path]:
    """Write the report's figures as SVG and as PNG of 1920 x 1080 pixels."""
    lines, scale = _forest_lines(runs[0])
    written: list[Path] = []
    folder.mkdir(parents=True, exist_ok=True)
    if lines:
        figure, alt_text = forest_figure(lines, scale)
        written += save(figure, folder, "forest", alt_text, size_pixels=_SLIDE_PIXELS)
    for number, run in enumerate(runs):
        drawn = (run.folder / "figures").glob("*.[sp][vn]g")
        names = (
            *("observed", "subgroups", "estimands", "historical", "followup", "lags", "regimens"),
            *("bias", "imbalance", "onetrial", "pooled", "funnel"),
            *("gap", "literature", "class", "adjusted", "tornado"),
            *("weights", "checks", "quantities"),
            *("recruitment", "milestones", "consort", "supply", "cost"),
        )
        for path in sorted(p for p in drawn if p.stem.startswith(names)):
            target = folder / f"{path.stem}-{number}{path.suffix}"
            if path.suffix == ".png":
                fit_png(path, target, _SLIDE_PIXELS)
            else:
                target.write_bytes(path.read_bytes())
            written.append(target)
    return written

"""Subgroups as a terminal and a report show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trialsim.figures.subgroups import SubgroupLine, SubgroupPanel
from trialsim.protocol.modifiers import Subgroup
from trialsim.protocol.scenario import Factor, Scenario
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.report.text import table, wrapped
from trialsim.studies.subgroups import ANY, published_subgroups, stratum_of
from trialsim.trial import Finding, Measure, Row, StudyResult

__all__ = [
    "SubgroupTable",
    "about_subgroups",
    "subgroup_panels",
    "subgroup_tables",
    "subgroups_screen",
]

_LEVELS_PER_TABLE = 2  # 80 columns
_FOUND = "and chance to find it"
Flat = Mapping[str, Any]  # a row of a result, as the document holds it


@dataclass(frozen=True)
class SubgroupTable:
    """One table: a row per scenario."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def subgroups_screen(resolved: ResolvedTemplate, result: StudyResult) -> str:
    """Return the subgroup part of what ``trialsim simulate`` prints; empty without subgroups."""
    rows = [row.as_dict() for row in result.rows if row.stratum]
    if not rows:
        return ""
    parts = [
        f"{wrapped(drawn.caption)}\n{table(drawn.header, drawn.rows)}"
        for drawn in subgroup_tables(resolved, rows)
    ]
    about = [f for f in result.findings if about_subgroups(f.subject)]
    return "\n\n".join([*parts, *(wrapped(_sentence(f)) for f in about)])


def about_subgroups(subject: str) -> bool:
    """Whether a finding is about subgroups."""
    return subject.startswith("subgroups of ") or " by " in subject


def _sentence(finding: Finding) -> str:
    return f"{finding.subject}: {finding.verdict}; {finding.detail}."


def subgroup_tables(resolved: ResolvedTemplate, rows: Sequence[Flat]) -> Iterator[SubgroupTable]:
    """Yield tables for every subgroup, and one of what chance does.

    Parameters
    ----------
    resolved : ResolvedTemplate
    rows : sequence of mapping
        With a stratum, in the flat form of the document.
    """
    numbers = _Numbers(resolved, rows)
    for subgroup in resolved.template.protocol.subgroups:
        if subgroup.covariate:
            yield numbers.per_covariate(subgroup)
        else:
            yield from numbers.by_factor(subgroup)
    endpoints = [numbers.endpoint(s) for s in resolved.template.protocol.subgroups if s.factor]
    for endpoint in dict.fromkeys(endpoints):
        yield numbers.by_chance(endpoint)


@dataclass(frozen=True)
class _Numbers:
    """Rows, found by what they are about."""

    resolved: ResolvedTemplate
    rows: Sequence[Flat]

    @cached_property
    def scenarios(self) -> tuple[Scenario, ...]:
        return self.resolved.scenarios(list(dict.fromkeys(r["scenario"] for r in self.rows)))

    @cached_property
    def _found(self) -> dict[tuple[Any, ...], Flat]:
        keys = ("scenario", "endpoint", "stratum", "measure", "evidence")
        return {tuple(row.get(key) for key in keys): row for row in self.rows}

    def __call__(
        self, scenario: str, endpoint: str, stratum: str, measure: Measure, of: str | None = None
    ) -> Flat | None:
        return self._found.get((scenario, endpoint, stratum, measure.value, of))

    def endpoint(self, subgroup: Subgroup) -> str:
        return subgroup.endpoint or self.resolved.template.protocol.primary.id

    def truth(self, scenario: Scenario) -> str:
        own = self.resolved.truth(scenario)
        return own.label if own.label == own.title else f"{own.label}  {own.title}"

    def _caption(self, subgroup: Subgroup, what: str) -> str:
        how = "prespecified" if subgroup.prespecified else "not prespecified"
        return f"{self.endpoint(subgroup)} by {subgroup.name} ({how}): {what}"

    def per_covariate(self, subgroup: Subgroup) -> SubgroupTable:
        """Return how much the effect changes per SD, and how often that is found."""
        endpoint, name = self.endpoint(subgroup), subgroup.name
        lines, scale = [], ""
        for s in self.scenarios:
            true = self(s.id, endpoint, name, Measure.INTERACTION)
            scale = true["scale"] if true else scale
            power = self(s.id, endpoint, name, Measure.POWER_INTERACTION)
            mean = self(s.id, endpoint, name, Measure.ESTIMATE_MEAN)
            lines.append((self.truth(s), _plain(true), _signed(mean), _percent(power)))
        logs = "mean log estimate" if "ratio" in scale else "mean estimate"
        header = ("If the truth is ...", "true", logs, "interaction found")
        return SubgroupTable(self._caption(subgroup, f"{scale}, {_FOUND}"), header, tuple(lines))

    def by_factor(self, subgroup: Subgroup) -> Iterator[SubgroupTable]:
        """Yield what is true and found in every level, and the test of interaction."""
        endpoint = self.resolved.endpoint(self.endpoint(subgroup))
        factor = next(f for f in self.resolved.template.nature.factors if f.id == subgroup.factor)
        caption = self._caption(subgroup, f"true {endpoint.summary} {_FOUND} in")
        n_levels = len(factor.shares)
        for start in range(0, n_levels, _LEVELS_PER_TABLE):
            some = range(start, min(start + _LEVELS_PER_TABLE, n_levels))
            last = some[-1] == n_levels - 1
            header = ["If the truth is ..."]
            header += [f"{_name(factor, k)}\n({100 * factor.shares[k]:.3g}% of all)" for k in some]
            header += ["differ:\ninteraction test"] * last
            lines: list[tuple[str, ...]] = []
            for s in self.scenarios:
                cells = [self._level(s.id, endpoint.id, stratum_of(factor, k)) for k in some]
                if last:
                    tested = self(s.id, endpoint.id, factor.id, Measure.POWER_INTERACTION)
                    cells.append(_percent(tested))
                lines.append((self.truth(s), *cells))
            yield SubgroupTable(caption, tuple(header), tuple(lines))

    def _level(self, scenario: str, endpoint: str, stratum: str) -> str:
        true = self(scenario, endpoint, stratum, Measure.TRUE_EFFECT)
        return f"{_plain(true)}  {_percent(self(scenario, endpoint, stratum, Measure.POWER))}"

    def by_chance(self, endpoint: str) -> SubgroupTable:
        """Return how often a level looks effective, and levels as far apart as published."""
        primary = endpoint == self.resolved.template.protocol.primary.id
        published = published_subgroups(self.resolved) if primary else []
        header = ["If the truth is ...", "some level\nsignificant", "and the\nwhole not"]
        header += [f"as far apart\nas {p.record.title}\n{p.factor.id}" for p in published]
        lines = []
        for s in self.scenarios:
            asked = [
                (ANY, Measure.SUBGROUP_EFFECTIVE, None),
                (ANY, Measure.SUBGROUP_ALONE, None),
                *((p.factor.id, Measure.SUBGROUPS_OPPOSITE, p.record.id) for p in published),
            ]
            cells = [_percent(self(s.id, endpoint, *what)) for what in asked]
            lines.append((self.truth(s), *cells))
        caption = f"{endpoint}: chance that some level is significant in favour of treatment"
        if published:
            caption += ", and that levels lie at least as far apart, on opposite sides of no effect"
        return SubgroupTable(caption, tuple(header), tuple(lines))


def subgroup_panels(
    resolved: ResolvedTemplate, rows: Sequence[Row]
) -> tuple[list[SubgroupPanel], str]:
    """Return what the forest by subgroup draws of the primary endpoint, and its scale.

    Simulated estimates are on the endpoint's scale; published ones as published.
    """
    protocol = resolved.template.protocol
    primary = protocol.primary
    strata: list[tuple[str | None, str]] = [(None, "all patients")]
    for subgroup in protocol.subgroups:
        if subgroup.factor and subgroup.endpoint in (None, primary.id):
            factor = next(f for f in resolved.template.nature.factors if f.id == subgroup.factor)
            strata += [(stratum_of(factor, k), _name(factor, k)) for k in range(len(factor.shares))]
    found = {
        (row.scenario, row.stratum, row.measure): row
        for row in rows
        if row.endpoint == primary.id and row.look is None and row.evidence is None
    }
    panels = [
        SubgroupPanel(
            f"{published.record.title} by {published.factor.id}, as published",
            tuple(
                SubgroupLine(
                    _name(published.factor, level),
                    effect.value,
                    *(effect.ci or (effect.value, effect.value)),
                    None,
                    str(effect),
                )
                for level, effect in published.effects
            ),
        )
        for published in published_subgroups(resolved)
    ]
    for scenario in resolved.scenarios(
        list(dict.fromkeys(row.scenario or "" for row in rows if row.stratum))
    ):
        lines = []
        for stratum, label in strata:
            own = [found.get((scenario.id, stratum, measure)) for measure in _DRAWN]
            values = [row.value for row in own if row and row.value is not None]
            power = found.get((scenario.id, stratum, Measure.POWER))
            if len(values) == len(_DRAWN) and power:
                median, lower, upper, true = values
                words = f"{true:.2f}; found {_percent(power.as_dict())}"
                lines.append(SubgroupLine(label, median, lower, upper, true, words))
        if lines:
            truth = resolved.truth(scenario)
            title = truth.label if truth.label == truth.title else f"{truth.label}: {truth.title}"
            panels.append(SubgroupPanel(title, tuple(lines)))
    return panels, str(primary.summary)


_DRAWN = (
    Measure.ESTIMATE_MEDIAN,
    Measure.ESTIMATE_Q025,
    Measure.ESTIMATE_Q975,
    Measure.TRUE_EFFECT,
)


def _name(factor: Factor, level: int) -> str:
    return (factor.levels or ())[level].id


def _plain(row: Flat | None) -> str:
    return "-" if row is None or row["value"] is None else f"{row['value']:.2f}"


def _signed(row: Flat | None) -> str:
    if row is None or row["value"] is None or "mcse" not in row:
        return "-"
    return f"{row['value']:+.3f} +-{row['mcse']:.3f}"


def _percent(row: Flat | None) -> str:
    if row is None or row["value"] is None or "mcse" not in row:
        return "not given"
    digits = 2 if 0 < row["mcse"] < 5e-4 else 1
    return f"{100 * row['value']:.{digits}f} % +-{100 * row['mcse']:.{digits}f}"

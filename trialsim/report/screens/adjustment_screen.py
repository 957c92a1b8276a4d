"""Published effects naive and adjusted for bias: for the terminal, and as rows."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from typing import Any

from trialsim.kernels.bias_adjustment import AdjustedPool
from trialsim.report.text import table, wrapped
from trialsim.studies.conflict.adjustment import Adjustment, BiasPrior, FlawedStudy

__all__ = ["adjustment_lines", "adjustment_rows", "adjustment_texts"]

_Z95 = 1.959963984540054
_NOTHING_COUNTED = "No flaw is known of any study: nothing is taken off, adjusted is naive."


def adjustment_lines(found: Adjustment, title: str) -> str:
    """Return what ``trialsim evidence adjust`` prints."""
    return "\n".join(_lines(found, title))


def _lines(found: Adjustment, title: str) -> Iterator[str]:
    yield title
    yield wrapped(
        f"Published effects less the bias of trials like them: {found.trials.name}; "
        f"{found.outcomes} outcomes. Nothing is simulated."
    )
    if found.used:
        yield "\nWhat is published of the bias (ratio of odds ratios)"
        header = ("flaw", "ratio (95% CI)", "kappa", "phi", "source")
        yield table(header, [_prior_cells(p) for p in found.used], folding=(0, 4))
    else:
        yield f"\n{_NOTHING_COUNTED}"
    assumed = sorted({f"{p.assumed} of {p.flaw}" for p in found.used if p.assumed})
    if assumed:
        yield wrapped(f"Not published and taken as 0 (assumed): {'; '.join(assumed)}.")
    yield "\nStudies: odds ratio (95% CI), and less its own bias"
    rows = [_study_cells(found, i, study) for i, study in enumerate(found.studies)]
    yield table(("study", "as published", "adjusted", "flaws counted"), rows, folding=(3,))
    yield from _unsaid(found)
    yield "\nPooled"
    rows = []
    for name, tau2 in (("equal effects", 0.0), ("random effects, REML", None)):
        naive, adjusted = found.pool((), tau2=tau2), found.pool(found.used, tau2=tau2)
        rows.append((name, _ratio(naive), _ratio(adjusted)))
    rows.append(("true effect of the next trial", _next(naive), _next(adjusted)))
    yield table(("odds ratio (95% interval)", "naive", "adjusted"), rows)
    n = len(found.studies)
    of = (
        f"of {n} studies, and taken as known" if n > 1 else "of one study, which says nothing of it"
    )
    yield wrapped(
        f"tau2 {naive.tau2:.3f} naive, {adjusted.tau2:.3f} adjusted, {of}; the next trial's "
        "effect is that of a trial without these flaws."
    )
    if found.used:
        yield "\nHow far each assumption moves the adjusted odds ratio (equal effects)"
        ends = list(found.tornado())
        ends.sort(key=lambda e: -abs(e[1].estimate - e[2].estimate))
        cells = [(name, f"{exp(a.estimate):.3f}", f"{exp(b.estimate):.3f}") for name, a, b in ends]
        yield table(("assumption", "at one end", "at the other"), cells)
        yield wrapped(
            "A mean bias at the ends of its 95% interval (with phi); kappa at 0 and doubled; a "
            "flaw taken as harmless, and as it is."
        )


def _prior_cells(prior: BiasPrior) -> tuple[str, ...]:
    estimate = prior.estimate
    low, high = estimate.ci or (float("nan"),) * 2
    weak = f" ({estimate.status})" if estimate.status.is_weak else ""
    spread = ["-" if n is None else f"{n:g}" for n in (estimate.kappa, estimate.phi)]
    source = f"{prior.record}, {estimate.id}{weak}"
    return prior.flaw.value, f"{estimate.value:.2f} ({low:.2f} to {high:.2f})", *spread, source


def _study_cells(found: Adjustment, index: int, study: FlawedStudy) -> tuple[str, ...]:
    naive = found.pool((), tau2=0.0, only=index)
    adjusted = found.pool(found.used, tau2=0.0, only=index)
    flaws = ", ".join(study.flaws) or "none"
    return study.study.study, _ratio(naive), _ratio(adjusted), flaws


def _unsaid(found: Adjustment) -> Iterator[str]:
    for study in found.studies:
        if study.left_out:
            yield wrapped(
                f"{study.study.study}: {', '.join(study.left_out)} not counted on top, since "
                f"neither estimate is adjusted for the other; the larger stands.",
                "  ",
                "",
            )
    if silent := found.without_events:
        yield wrapped(
            f"Left out, since nobody or everybody had the event: {', '.join(silent)}.", "  ", ""
        )
    unknown = [f"{s.study.study} ({', '.join(s.unknown)})" for s in found.studies if s.unknown]
    if unknown:
        yield wrapped(
            f"Not known, and taken as sound: {'; '.join(unknown)}. Add with --flaw STUDY=FLAW.",
            "  ",
            "",
        )


def _ratio(pool: AdjustedPool, error: float | None = None) -> str:
    half = _Z95 * (pool.standard_error if error is None else error)
    ends = (exp(pool.estimate + sign * half) for sign in (0, -1, 1))
    value, low, high = (f"{end:.2f}" for end in ends)
    return f"{value} ({low} to {high})"


def _next(pool: AdjustedPool) -> str:
    return _ratio(pool, pool.predictive_error)


def adjustment_texts(found: Adjustment) -> dict[str, str]:
    """Return what a report says of the biases and of what was taken."""
    told = []
    for prior in found.used:
        flaw, ratio, kappa, phi, source = _prior_cells(prior)
        told.append(f"{flaw}: ratio of odds ratios {ratio}, kappa {kappa}, phi {phi} ({source})")
    counted = "; ".join(told) or "no flaw is known of any study, so that adjusted is naive"
    texts = {"biases": f"{found.trials.name}, {found.outcomes} outcomes. Counted: {counted}."}
    unsaid = " ".join(" ".join(_unsaid(found)).split())
    return {**texts, "unsaid": unsaid} if unsaid else texts


def adjustment_rows(found: Adjustment) -> tuple[dict[str, Any], ...]:
    """Return the same, one number with its interval per row."""
    rows: list[dict[str, Any]] = []
    for index, study in enumerate(found.studies):
        about = {"study": study.study.study, "flaws": list(study.flaws)}
        about |= {"left_out": list(study.left_out), "unknown": list(study.unknown)}
        for name, priors in (("naive", ()), ("adjusted", found.used)):
            pool = found.pool(priors, tau2=0.0, only=index)
            rows.append({"measure": "study", "which": name, **_numbers(pool), **about})
    for method, tau2 in (("equal effects", 0.0), ("random effects, REML", None)):
        for name, priors in (("naive", ()), ("adjusted", found.used)):
            pool = found.pool(priors, tau2=tau2)
            row = {"which": name, "analysis": method, "tau2": pool.tau2}
            weights = {"weights": list(pool.weights)}
            rows.append({"measure": "pooled", **row, **_numbers(pool), **weights})
            rows.append({"measure": "next trial", **row, **_numbers(pool, pool.predictive_error)})
    for name, *ends in found.tornado():
        for end, pool in zip(("first", "second"), ends, strict=True):
            rows.append({"measure": "assumption", "which": name, "end": end, **_numbers(pool)})
    return tuple(rows)


def _numbers(pool: AdjustedPool, error: float | None = None) -> dict[str, float]:
    half = _Z95 * (pool.standard_error if error is None else error)
    return {
        "value": exp(pool.estimate),
        "lower": exp(pool.estimate - half),
        "upper": exp(pool.estimate + half),
        "log_value": pool.estimate,
        "log_error": half / _Z95,
    }

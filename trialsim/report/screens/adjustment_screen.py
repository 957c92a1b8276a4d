"""Published effects naive and adjusted for bias: for the terminal, and as rows."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from typing import Any

from trialsim.kernels.bias_adjustment import AdjustedPool, NextEffect
from trialsim.protocol.reconciliation import TAU_SCALE, TAU_SOURCE
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
    yield from (wrapped(text) for text in _on_published_tau2(found))
    yield "\nStudies: odds ratio (95% CI), and less its own bias"
    rows = [_study_cells(found, i, study) for i, study in enumerate(found.studies)]
    yield table(("study", "as published", "adjusted", "flaws counted"), rows, folding=(3,))
    yield from _unsaid(found)
    yield "\nPooled"
    rows = []
    for name, tau2 in (("equal effects", 0.0), ("random effects, REML", None)):
        naive, adjusted = found.pool((), tau2=tau2), found.pool(found.used, tau2=tau2)
        rows.append((name, _ratio(naive), _ratio(adjusted)))
    beliefs = [found.next_effect(priors) for priors in ((), found.used)]
    rows.append(("true effect of the next trial", *(_next(belief) for belief in beliefs)))
    yield table(("odds ratio (95% interval)", "naive", "adjusted"), rows)
    yield wrapped(_on_tau(found, naive.tau2, adjusted.tau2))
    if found.used:
        yield "\nHow far each assumption moves the adjusted odds ratio (equal effects)"
        ends = list(found.tornado())
        ends.sort(key=lambda e: -abs(e[1].estimate - e[2].estimate))
        cells = [(name, f"{exp(a.estimate):.3f}", f"{exp(b.estimate):.3f}") for name, a, b in ends]
        yield table(("assumption", "at one end", "at the other"), cells)
        yield wrapped(
            "A mean bias at the ends of its 95% interval (with phi); kappa at 0 and doubled; a "
            "flaw taken as harmless, and as it is; another published estimate of it, and as it is."
        )


def _on_published_tau2(found: Adjustment) -> Iterator[str]:
    for prior in found.used:
        if prior.tau2 is not None:
            yield (
                f"{prior.record} publishes a tau2 of {prior.tau2:g} for {prior.flaw}, without "
                "saying between what: not used; what it would change is below, read as phi "
                "squared and as kappa squared."
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


def _ratio(pool: AdjustedPool) -> str:
    half = _Z95 * pool.standard_error
    ends = (exp(pool.estimate + sign * half) for sign in (0, -1, 1))
    value, low, high = (f"{end:.2f}" for end in ends)
    return f"{value} ({low} to {high})"


def _next(belief: NextEffect) -> str:
    value, low, high = (f"{exp(belief.inv_cdf(p)):.2f}" for p in (0.5, 0.025, 0.975))
    return f"{value} ({low} to {high})"


def _on_tau(found: Adjustment, naive: float, adjusted: float) -> str:
    """Say what is known of the spread between trials, and what its prior does."""
    n = len(found.studies)
    of = f"of {n} studies" if n > 1 else "of one study, which says nothing of it"
    others = ", ".join(
        f"{_next(found.next_effect(found.used, scale))} with scale {scale:g}"
        for scale in (TAU_SCALE / 2, 2 * TAU_SCALE)
    )
    tau = found.next_effect(found.used).tau
    return (
        f"REML's tau2 is {naive:.3f} naive and {adjusted:.3f} adjusted, {of}. The next trial's "
        "effect, that of a trial without these flaws, is averaged over what is not known of tau: a "
        f"half-normal prior of scale {TAU_SCALE:g} ({TAU_SOURCE}), median {tau:.2f} given the "
        f"studies. Adjusted it would be {others}."
    )


def adjustment_texts(found: Adjustment) -> dict[str, str]:
    """Return what a report says of the biases and of what was taken."""
    told = []
    for prior in found.used:
        flaw, ratio, kappa, phi, source = _prior_cells(prior)
        told.append(f"{flaw}: ratio of odds ratios {ratio}, kappa {kappa}, phi {phi} ({source})")
    counted = "; ".join(told) or "no flaw is known of any study, so that adjusted is naive"
    texts = {"biases": f"{found.trials.name}, {found.outcomes} outcomes. Counted: {counted}."}
    unsaid = " ".join(" ".join([*_on_published_tau2(found), *_unsaid(found)]).split())
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
    for name, priors in (("naive", ()), ("adjusted", found.used)):
        belief = found.next_effect(priors)
        value, low, high = (belief.inv_cdf(p) for p in (0.5, 0.025, 0.975))
        spread = {"tau_scale": TAU_SCALE, "tau_median": belief.tau}
        ratios = {"value": exp(value), "lower": exp(low), "upper": exp(high)}
        logs = {"log_value": value, "log_error": belief.stdev}
        about = {"measure": "next trial", "which": name, "analysis": "tau not known"}
        rows.append({**about, **spread, **ratios, **logs})
    for name, *ends in found.tornado():
        for end, pool in zip(("first", "second"), ends, strict=True):
            rows.append({"measure": "assumption", "which": name, "end": end, **_numbers(pool)})
    return tuple(rows)


def _numbers(pool: AdjustedPool) -> dict[str, float]:
    half = _Z95 * pool.standard_error
    return {
        "value": exp(pool.estimate),
        "lower": exp(pool.estimate - half),
        "upper": exp(pool.estimate + half),
        "log_value": pool.estimate,
        "log_error": half / _Z95,
    }

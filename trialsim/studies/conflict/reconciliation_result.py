"""What is known of the explanations of conflicting results, as rows and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import exp, sqrt

import numpy as np

from trialsim.studies.conflict.predictive_check import (
    Quantity,
    predictive_checks,
    quantity_checks,
)
from trialsim.studies.conflict.reconciled_records import Entered
from trialsim.studies.conflict.reconciliation import (
    ALIKE,
    AVERAGED,
    CLEAR,
    Information,
    Pair,
    Reconciled,
    Reconciling,
    Reference,
    Which,
    unmodelled_because,
)
from trialsim.studies.conflict.sensitivity import Sensitivity, sensitivity
from trialsim.trial import Finding, Measure, Row, StudyResult

__all__ = ["reconciliation_result"]

_Z95 = 1.959963984540054


def reconciliation_result(plan: Reconciling, n: int, draws: int, seed: int) -> StudyResult:
    """Return what is known, as rows and sentences.

    Parameters
    ----------
    n : int
        Literatures drawn from each explanation.
    draws : int
        Results drawn of each candidate.
    """
    every = {which: plan.records(which) for which in plan.sets}
    main = every[Which.ALL]
    reference = main.reference(n, seed) if plan.file.has_records else None
    otherwise = sensitivity(plan, every)
    rows = [*_weight_rows(plan, every), *_effect_rows(every), *_otherwise_rows(otherwise)]
    pairs: list[Pair] = []
    first: list[Row] = []
    if reference is not None:
        pairs = list(main.pairs(reference))
        first = list(_first_rows(main, reference))
        rows += [*_gap_rows(main, reference), *_quantity_rows(main, reference)]
        rows += [*_told_rows(pairs, reference), *first]
    if plan.file.candidates and len(plan.models) > 1:
        found = [main.information(c, draws, seed) for c in plan.file.candidates]
        rows += _candidate_rows(found, draws)
    return StudyResult(
        rows=tuple(rows),
        observed=tuple(_entered_rows(every)),
        findings=(Finding(plan.file.id, otherwise.best or "cannot tell", _verdict(otherwise)),),
        texts=dict(_texts(plan, every, otherwise, pairs, first)),
        n_replicates=n,
    )


def _weight_rows(plan: Reconciling, every: Mapping[Which, Reconciled]) -> Iterator[Row]:
    for name, own in plan.explanations.items():
        why = None if plan.file.has_data(own) else unmodelled_because(own, plan.file)
        source = f"{own.weight.source or 'assumed'}"
        yield Row(
            measure=Measure.PRIOR_WEIGHT,
            value=plan.prior[name],
            analysis=name,
            source=source,
            why=why,
        )
        for which, found in every.items():
            yield Row(
                measure=Measure.POSTERIOR_WEIGHT,
                value=found.weights[name],
                analysis=name,
                set_by=which.value,
                why=why,
            )


def _otherwise_rows(found: Sensitivity) -> Iterator[Row]:
    """Yield every weight with a choice made otherwise, and in how many another one leads."""
    for other in (*found.declared, *found.assumed):
        for name, weight in other.weights.items():
            yield Row(
                measure=Measure.WEIGHT_OTHERWISE,
                value=weight,
                analysis=name,
                set_by=other.title,
                source=f"chosen {other.chosen} the weights were seen" if other.chosen else None,
                why="no data: the weight put in" if name in other.without_data else None,
            )
    if found.every:
        yield Row(
            measure=Measure.LEAD_CHANGES,
            value=len(found.changes),
            analysis=found.lead,
            source=f"of {len(found.every)} choices",
        )


def _first_rows(main: Reconciled, reference: Reference) -> Iterator[Row]:
    """Yield the confusion matrix: which explanation comes first, by the one drawn from."""
    names = list(main.plan.models)
    prior = np.array([main.plan.prior[name] for name in names])
    matrix = reference.confusion(prior / prior.sum())
    for drawn, shares in zip(names, matrix.tolist(), strict=True):
        for name, share in zip(names, shares, strict=True):
            yield Row(
                measure=Measure.COMES_FIRST,
                value=share,
                analysis=drawn,
                set_by=name,
                mcse=sqrt(share * (1 - share) / reference.n),
                n_replicates=reference.n,
            )


def _effect_rows(every: Mapping[Which, Reconciled]) -> Iterator[Row]:
    for which, found in every.items():
        names = list(found.plan.models)
        each = [(name, [name]) for name in names] if which is Which.ALL else []
        for label, some in [*each, (AVERAGED, names)]:
            value, low, high = found.effect(some)
            yield Row(
                measure=Measure.ESTIMATE,
                value=value,
                analysis=label,
                lower=low,
                upper=high,
                level=0.95,
                scale="odds ratio",
                set_by=which.value,
            )


def _gap_rows(main: Reconciled, reference: Reference) -> Iterator[Row]:
    if main.gap is None:
        return
    observed = exp(main.direction * main.gap)
    yield Row(measure=Measure.RATIO_OF_ODDS_RATIOS, value=observed, analysis="as published")
    for check in predictive_checks(main, reference):
        yield Row(
            measure=Measure.GAP_AS_LARGE,
            value=check.share,
            analysis=check.explanation,
            mcse=check.mcse,
            n_replicates=check.n,
            upper=check.at_most,
            level=None if check.at_most is None else 0.95,
        )
        middle, *ends = (exp(main.direction * x) for x in (check.middle, check.low, check.high))
        yield Row(
            measure=Measure.GAP_PREDICTED,
            value=middle,
            analysis=check.explanation,
            lower=min(ends),
            upper=max(ends),
            level=0.95,
            scale="ratio of odds ratios",
            mcse=None if check.middle_mcse is None else middle * check.middle_mcse,
            n_replicates=check.n,
        )


def _quantity_rows(main: Reconciled, reference: Reference) -> Iterator[Row]:
    said: set[Quantity] = set()
    for check in quantity_checks(main, reference):
        values = [check.seen, check.middle, check.low, check.high]
        if check.quantity is Quantity.LARGEST:
            values = [exp(main.direction * value) for value in values]
        seen, middle, *ends = values
        about = Row(measure=Measure.QUANTITY, value=seen, scale=check.quantity.value)
        if check.quantity not in said:
            said.add(check.quantity)
            yield replace(about, analysis="as published")
        drawn = replace(about, analysis=check.explanation, n_replicates=check.n)
        yield replace(drawn, value=middle, lower=min(ends), upper=max(ends), level=0.95)
        yield replace(
            drawn,
            measure=Measure.PREDICTIVE_P,
            value=check.share,
            mcse=check.mcse,
            upper=check.at_most,
            level=None if check.at_most is None else 0.95,
        )


def _told_rows(pairs: Sequence[Pair], reference: Reference) -> Iterator[Row]:
    for pair in pairs:
        yield Row(
            measure=Measure.TOLD_APART,
            value=pair.told_apart,
            analysis=f"{pair.first} v {pair.second}",
            mcse=pair.mcse,
            n_replicates=2 * reference.n,
        )


def _candidate_rows(found: Sequence[Information], draws: int) -> Iterator[Row]:
    for one in found:
        yield Row(
            measure=Measure.EXPECTED_INFORMATION,
            value=one.bits,
            analysis=one.candidate.id,
            unit="bit",
            mcse=one.mcse,
            n_replicates=draws,
        )
        yield Row(
            measure=Measure.SETTLES,
            value=one.settles,
            analysis=one.candidate.id,
            mcse=one.settles_mcse,
            n_replicates=draws,
        )


def _entered_rows(every: Mapping[Which, Reconciled]) -> Iterator[Row]:
    main = every[Which.ALL]
    for which in (Which.ALL, Which.NO_DOCUMENTS):
        found = every.get(which)
        if found is None:
            continue
        for record, own, before in zip(
            main.plan.file.records, found.entered, main.entered, strict=True
        ):
            if which is Which.ALL or own != before:
                yield _entered_row(record.id, own, which)
    for contrast, own in zip(main.plan.file.contrasts, main.contrasts, strict=True):
        yield _entered_row(contrast.id, own, Which.ALL, Measure.RATIO_OF_RATIOS)


def _entered_row(name: str, own: Entered, which: Which, measure: Measure = Measure.ESTIMATE) -> Row:
    low, high = (exp(own.value + sign * _Z95 * own.error) for sign in (-1, 1))
    return Row(
        measure=measure,
        value=exp(own.value),
        evidence=name,
        lower=low,
        upper=high,
        level=0.95,
        status=own.status.value,
        source=own.said,
        set_by=which.value,
    )


def _verdict(found: Sensitivity) -> str:
    main = found.main
    if not main.plan.file.has_records:
        return "Cannot tell: there is nothing to compare, and every weight is the one put in."
    top = max(main.weights, key=lambda name: main.weights[name])
    title = main.plan.explanations[top].title
    said = f"'{title}' has the largest weight, {main.weights[top]:.2f}"
    if not main.plan.file.has_data(main.plan.explanations[top]):
        return f"Cannot tell: {said}, which is the one put in: no record speaks about it."
    if main.weights[top] > CLEAR and main.best is None:
        return f"Cannot tell: {said}, but had {main.plan.prior[top]:.2f} before any record."
    if main.best is None:
        return f"Cannot tell: no explanation has a weight above {CLEAR:g}; {said}."
    if found.best is None:
        k, n = len(found.doubts), len(found.every)
        return (
            f"Cannot tell: {said}, above {CLEAR:g}, but not above it in {k} of {n} other ways to "
            "choose."
        )
    return f"It fits: {said}, above {CLEAR:g}, and whichever way the choices are made."


def _on_choices(found: Sensitivity) -> str:
    """Say in how many ways to choose another explanation leads, and what was chosen when."""
    k, n = len(found.changes), len(found.every)
    said = f"The lead changes in {k} of {n} other ways to choose"
    if found.changes:
        leads = (f"{o.title}: {o.lead} {o.weights[o.lead]:.2f}" for o in found.changes)
        said += f" ({'; '.join(leads)})"
    after = [other.title for other in found.declared if other.chosen == "after"]
    if after:
        said += (
            f". Against choices made after weights had been seen: {'; '.join(after)}. A lead that "
            "rests on such a choice is no finding"
        )
    return f"{said}."


def _on_matrix(main: Reconciled, first: Sequence[Row]) -> str:
    """Say which explanations their own literatures do not bring out."""
    lost = []
    for name in main.plan.models:
        shares = {r.set_by: r for r in first if r.analysis == name}
        own = shares[name]
        others = [r for r in shares.values() if r is not own and (r.value or 0) >= (own.value or 0)]
        if others:
            most = ", ".join(f"{r.set_by} {r.value:.0%} +-{r.mcse:.1%}" for r in others)
            lost.append(f"{name} (itself {own.value:.0%} +-{own.mcse:.1%}; {most})")
    n = first[0].n_replicates
    if not lost:
        return f"Drawn from any explanation, it comes first most often ({n:,} literatures each)."
    return (
        "Not brought out by literatures of its own, in which another explanation comes first at "
        f"least as often: {'; '.join(lost)}; {n:,} literatures like this one drawn from each. "
        "A small weight of such an explanation says little against it."
    )


def _texts(
    plan: Reconciling,
    every: Mapping[Which, Reconciled],
    otherwise: Sensitivity,
    pairs: Sequence[Pair],
    first: Sequence[Row],
) -> Iterator[tuple[str, str]]:
    file = plan.file
    yield "verdict", _verdict(otherwise)
    if otherwise.every:
        yield "choices", _on_choices(otherwise)
    main, other = every[Which.ALL], every.get(Which.NO_DOCUMENTS)
    if other is not None:
        yield "documents", _on_documents(main, other)
    if Which.AS_PLANNED in every:
        yield "parts", _on_parts(main, every[Which.AS_PLANNED])
    unknown = [
        f"{own.title} ({unmodelled_because(own, file)})"
        for own in file.explanations
        if not file.has_data(own)
    ]
    if unknown and file.has_records:
        yield "no-data", f"No data, so that the weight is the one put in: {'; '.join(unknown)}."
    alike = [_alike(p) for p in sorted(pairs, key=lambda p: p.told_apart) if p.is_open]
    if alike:
        share = f"{ALIKE:.0%}"
        begin = (
            "Cannot be told apart by records like these (the right one of two has more than "
            f"{CLEAR:g} of their weight in at most {share} of literatures drawn from either):"
        )
        yield "alike", f"{begin} {'; '.join(alike)}."
    if first:
        yield "matrix", _on_matrix(main, first)
    if file.note:
        yield "note", file.note


def _on_documents(main: Reconciled, other: Reconciled) -> str:
    records = [
        record
        for record, a, b in zip(main.plan.file.records, main.entered, other.entered, strict=True)
        if a != b
    ]
    change = max(abs(main.weights[name] - other.weights[name]) for name in main.weights)
    same = "the same verdict" if main.best == other.best else "another verdict"
    titles = ", ".join(record.title for record in records)
    notes = " ".join(record.note for record in records if record.note)
    return (
        f"The answer rests on a number only a document states: {titles}. Without it, by what "
        f"published numbers leave, {same}; no weight moves by more than {change:.2f}. {notes}"
    ).strip()


def _on_parts(main: Reconciled, planned: Reconciled) -> str:
    name = max(main.weights, key=lambda n: abs(planned.weights[n] - main.weights[n]))
    title = main.plan.explanations[name].title
    chosen = [c.title for c in main.plan.file.contrasts if c.because == "significant"]
    return (
        "It also rests on an assumption: that a comparison of parts of a trial was reported "
        f"because it was significant ({'; '.join(chosen)}). Had all been planned, '{title}' would "
        f"have {planned.weights[name]:.2f} instead of {main.weights[name]:.2f}."
    )


def _alike(pair: Pair) -> str:
    words = f"{pair.first} v {pair.second} ({pair.told_apart:.0%})"
    if pair.differ_in is None:
        return words
    if not pair.differ_in:
        return f"{words}, which touch the same trials"
    return f"{words}, which differ only in {' and '.join(pair.differ_in)}"

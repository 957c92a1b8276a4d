"""Flaws of conduct on every kind of primary endpoint: identity at 0, latent outcomes, forms."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from functools import cache
from math import log, pi, sqrt
from typing import Any, get_args

import numpy as np
import pytest

from conftest import CORPUS, ROOT
from trialsim.analyse import as_recorded
from trialsim.analyse.as_recorded import event_days, recorded, unfavourable
from trialsim.conduct.records import Luck
from trialsim.engine.blocks import Job, draw_patients, simulate_block
from trialsim.engine.conducted import conducted
from trialsim.engine.endpoint_kinds import ENDPOINT_KINDS, kind_of
from trialsim.errors import RequestError
from trialsim.kernels import survival
from trialsim.kernels.survival import followed
from trialsim.protocol.conduct import (
    RIGOROUS,
    Assessment,
    BestOfSubgroups,
    CoIntervention,
    Conduct,
    DifferentialLoss,
    Exclusion,
    Extension,
    ForeseenAllocation,
    Foresight,
    HistoricalControls,
    ImmortalTime,
    Mechanism,
    NonAdherence,
    PublicationFilter,
    UndeclaredLooks,
)
from trialsim.protocol.endpoints import (
    Better,
    BinaryEndpoint,
    ContinuousEndpoint,
    CountEndpoint,
    DaysAliveEndpoint,
    Endpoint,
    OrdinalEndpoint,
)
from trialsim.protocol.reading.load import load_template
from trialsim.protocol.rules.conduct import acts_on, why_not
from trialsim.protocol.rules.flaws import conduct_problems, recruiting
from trialsim.streams import Streams
from trialsim.studies.conduct import bias
from trialsim.studies.conduct.bias import plan_bias
from trialsim.trial import AnalysisPlan, Kernel, LookResults, Measure

CELLS = {
    "treated_unfavourable": 0.3,
    "treated_favourable": 0.1,
    "control_unfavourable": 0.2,
    "control_favourable": 0.05,
}
NEVER = 1e-300  # acts, and on nobody: no uniform is below it

SMALL = "protocol.sample_size={total: 160}"
ONE_LOOK = "protocol.looks=[{at: {events: 100}}]"
IN_BLOCKS = "protocol.allocation={method: permuted-blocks, block_sizes: [4]}"

# The corpus' file of every kind; the analyses a kind has; and what lets a recruiter pick.
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "binary": (
        "two-to-one-simple",
        ("scenarios.or-070.effect={odds_ratio: 1}", "nature.severity_slope=1", IN_BLOCKS),
    ),
    "response": ("response", ("nature.response.frailty_sd=1",)),
    "sustained response": ("response", ("protocol.endpoints.at-12.counted=sustained",)),
    "ancova": ("means-primary", ()),
    "t-test": ("means-primary", ("protocol.endpoints.score.analysis=t-test",)),
    "change": ("means-primary", ("protocol.endpoints.score.analysis=change",)),
    "mmrm": ("means-primary", ("protocol.endpoints.score.analysis=mmrm",)),
    "log scale": ("log-means-primary", ()),
    "ordinal": ("ordinal-primary", ()),
    "days alive": ("days-alive-primary", ()),
    "count": ("counts-primary", ()),
    "cause-specific": ("competing-primary", ()),
    "fine-gray": ("competing-primary", ("protocol.endpoints.transplant.analysis=fine-gray",)),
    "cumulative incidence": (
        "competing-primary",
        ("protocol.endpoints.transplant.analysis=cumulative-incidence",),
    ),
    "log-rank in strata": ("time-to-event", (SMALL, ONE_LOOK)),
    "cox": (
        "time-to-event",
        (SMALL, ONE_LOOK, IN_BLOCKS, "protocol.endpoints.death.analysis=cox"),
    ),
    "maxcombo": (
        "time-to-event",
        (SMALL, ONE_LOOK, IN_BLOCKS, "protocol.endpoints.death.analysis=maxcombo"),
    ),
    "restricted mean": (
        "time-to-event",
        (
            SMALL,
            IN_BLOCKS,
            "protocol.looks=[{at: {calendar: 24 mo}}]",
            "protocol.endpoints.death.analysis={test: restricted-mean, until: 9 mo}",
        ),
    ),
}


def rewriting(strength: float, kind: type) -> tuple[CoIntervention, HistoricalControls, Assessment]:
    """The flaws that write down another outcome, on the scale of a kind of endpoint."""
    if issubclass(kind, ContinuousEndpoint):
        return (
            CoIntervention(strength=strength, better_sd=0.4),
            HistoricalControls(strength=strength, drift_sd=0.3),
            Assessment(strength=strength, better_sd_treated=0.3, better_sd_control=-0.1),
        )
    if issubclass(kind, OrdinalEndpoint | DaysAliveEndpoint):
        return (
            CoIntervention(strength=strength, odds_ratio=1.5),
            HistoricalControls(strength=strength, drift=1.5),
            Assessment(strength=strength, odds_ratio_treated=1.6, odds_ratio_control=0.9),
        )
    clears = (1.0, 1.0) if issubclass(kind, CountEndpoint) else (0.98, 0.9)
    return (
        CoIntervention(strength=strength, averts=0.4),
        HistoricalControls(strength=strength, drift=1.5),
        Assessment(
            strength=strength,
            sensitivity_treated=0.8,
            sensitivity_control=0.95,
            specificity_treated=clears[0],
            specificity_control=clears[1],
        ),
    )


def flaws(strength: float, kind: type = BinaryEndpoint) -> dict[Mechanism, Any]:
    """Every flaw, at one strength."""
    care, controls, reading = rewriting(strength, kind)
    return {
        Mechanism.FORESEEN_ALLOCATION: ForeseenAllocation(strength=strength, waiting=3),
        Mechanism.CO_INTERVENTION: care,
        Mechanism.HISTORICAL_CONTROLS: controls,
        Mechanism.EXCLUSION: Exclusion(strength=strength),
        Mechanism.DIFFERENTIAL_LOSS: DifferentialLoss(strength=strength, lost=CELLS),
        Mechanism.ASSESSMENT: reading,
        Mechanism.PER_PROTOCOL: NonAdherence(strength=strength, non_adherent=CELLS),
        Mechanism.AS_TREATED: NonAdherence(strength=strength, non_adherent=CELLS),
        Mechanism.IMMORTAL_TIME: ImmortalTime(
            strength=strength, exposed_after="5 d", early_deaths="left-out"
        ),
        Mechanism.BEST_OF: BestOfSubgroups(strength=strength, among="subgroups", k=3),
        Mechanism.UNDECLARED_LOOKS: UndeclaredLooks(strength=strength, looks=3),
        Mechanism.EXTENSION: Extension(strength=strength, more=0.5),
        Mechanism.PUBLICATION: PublicationFilter(strength=strength),
    }


# Not where it acts on results, or on patients that only a plan with it recruits.
ON_PATIENTS = [m for m in flaws(0) if m not in (Mechanism.PUBLICATION, Mechanism.EXTENSION)]


def only(mechanism: Mechanism, strength: float, case: str = "binary") -> Conduct:
    kind = type(job_of(case).protocol.primary)
    return Conduct(id="own", title="one flaw", **{mechanism.key: flaws(strength, kind)[mechanism]})


@cache
def job_of(case: str) -> Job:
    """Under no effect, which comes first in every file."""
    file, settings = CASES[case]
    resolved = load_template(str(CORPUS / "valid" / f"{file}.yaml"), settings=settings)
    plan = AnalysisPlan.of(resolved.template.protocol)
    truth = resolved.truth(resolved.scenarios()[0])
    assert truth.is_null
    return Job(resolved.template.protocol, (plan,), (truth,))


def drawn(case: str, foresight: ForeseenAllocation | None = None) -> Any:
    own = job_of(case)
    _, batches = draw_patients(own, 1, 0, frozenset(), foresight)
    return batches[0][own.plans[0].endpoint]


def analysed(case: str, batch: Any, conduct: Conduct | None) -> LookResults:
    own = job_of(case)
    (plan,), (truth,) = own.plans, own.truths
    analyse = kind_of(own.protocol, own.protocol.primary).analyse
    if conduct is None:
        return analyse(batch, plan)
    shape = own.protocol.n_total, own.block_width
    luck = Luck(Streams(1), 0, shape)
    return conducted(batch, replace(plan, conduct=conduct), truth, luck, analyse)


def arrays(batch: Any, path: str = "") -> dict[str, np.ndarray]:
    """Every array of a batch, by its name."""
    match batch:
        case np.ndarray():
            return {path: batch}
        case tuple() if hasattr(batch, "_fields"):
            parts = [(name, getattr(batch, name)) for name in batch._fields]
        case tuple():
            parts = [(str(index), part) for index, part in enumerate(batch)]
        case _ if is_dataclass(batch):
            parts = [(f.name, getattr(batch, f.name)) for f in fields(batch)]
        case _:
            return {}
    found: dict[str, np.ndarray] = {}
    for name, part in parts:
        found |= arrays(part, f"{path}.{name}")
    return found


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f")
        for name in one
    )


def test_property_every_flaw_and_every_kind_is_among_the_cases():
    assert set(flaws(0)) == set(Mechanism)
    there = {type(job_of(case).protocol.primary) for case in CASES}
    assert there == set(ENDPOINT_KINDS)


@pytest.mark.parametrize("case", list(CASES))
def test_property_strength_0_gives_the_same_bytes_for_every_flaw(case):
    batch = drawn(case)
    plain = analysed(case, batch, None)
    for mechanism in ON_PATIENTS:
        if why_not(mechanism, job_of(case).protocol):
            continue
        assert analysed(case, batch, only(mechanism, 0.0, case)).same_as(plain), mechanism
        if mechanism is not Mechanism.UNDECLARED_LOOKS:  # whose z is that of looks
            assert analysed(case, batch, only(mechanism, NEVER, case)).same_as(plain), mechanism
    for strength in (0.0, NEVER):
        still = drawn(case, ForeseenAllocation(strength=strength))
        assert same(arrays(batch), arrays(still))


@pytest.mark.parametrize("case", list(CASES))
def test_property_no_flaw_changes_a_latent_outcome_and_each_changes_the_result(case):
    batch = drawn(case)
    before = {name: array.copy() for name, array in arrays(batch).items()}
    plain = analysed(case, batch, None)
    for mechanism in ON_PATIENTS:
        if mechanism is Mechanism.FORESEEN_ALLOCATION or why_not(mechanism, job_of(case).protocol):
            continue
        found = analysed(case, batch, only(mechanism, 0.8, case))
        assert same(before, arrays(batch)), mechanism
        assert not found.same_as(plain), mechanism
        assert found.failed.mean() < 0.02, mechanism


FORMS: dict[str, dict[str, Any]] = {
    "endpoints": {"among": "endpoints", "k": 3, "correlation": 0.5},
    "time points": {"among": "time-points", "k": 2, "correlation": 0.5},
    "visits": {"among": "time-points", "k": 2},
    "per protocol": {"among": "analyses", "per_protocol": CELLS},
    "tests": {"among": "analyses", "tests": ["t-test", "welch"]},
    "tests of risks": {"among": "analyses", "tests": ["fisher"]},
}


def with_more(case: str, strength: float, flaw: str) -> tuple[Job, Conduct]:
    """A job that recruits what an extension may, or that chooses; with all other flaws off."""
    file, settings = CASES[case]
    resolved = load_template(str(CORPUS / "valid" / f"{file}.yaml"), settings=settings)
    if flaw == "extension":
        own: Any = {"extension": Extension(strength=strength, more=0.5, p_below=1)}
    else:
        own = {"best_of": {"strength": strength, **FORMS[flaw]}}
    conduct = Conduct(id="own", title="t", **own)
    problems = conduct_problems(resolved.template.protocol, conduct)
    if problems or any(why_not(m, resolved.template.protocol) for m in conduct.mechanisms):
        return job_of(case), RIGOROUS
    plan = replace(AnalysisPlan.of(resolved.template.protocol), conduct=conduct)
    most = recruiting(resolved.template.protocol, conduct)
    return Job(most, (plan,), job_of(case).truths), conduct


@pytest.mark.parametrize("case", list(CASES))
def test_property_every_choice_and_extension_at_0_gives_the_same_bytes(case):
    plain = simulate_block(job_of(case), 1, 0)[0][0]
    allowed = []
    for flaw in (*FORMS, "extension"):
        full, conduct = with_more(case, 0.9, flaw)
        if conduct is RIGOROUS:
            continue
        allowed.append(flaw)
        (plan,) = full.plans
        for strength in (0.0, NEVER):
            own = conduct.at(conduct.mechanisms[0], strength)
            job = replace(full, plans=(replace(plan, conduct=own),))
            found = simulate_block(job, 1, 0)[0][0]
            if strength or flaw != "extension":  # without it nobody is recruited beyond the plan
                assert found.same_as(plain), (flaw, strength)
        changed = simulate_block(full, 1, 0)[0][0]
        if flaw != "tests of risks":  # Fisher's P is never below that of chi-square
            assert (changed.estimate != plain.estimate).any(), flaw
        _, batches = draw_patients(full, 1, 0, frozenset())
        batch = batches[0][plan.endpoint]
        before = {name: array.copy() for name, array in arrays(batch).items()}
        luck = Luck(Streams(1), 0, (full.protocol.n_total, full.block_width))
        analyse = kind_of(full.protocol, full.protocol.primary).analyse
        conducted(batch, plan, full.truths[0], luck, analyse)
        assert same(before, arrays(batch)), flaw
    assert {"per protocol", "endpoints"} <= set(allowed)
    kind = type(job_of(case).protocol.primary)
    assert ("extension" in allowed) == acts_on(Mechanism.EXTENSION, kind)


# Not where nothing is known, or where all that is known stratifies the allocation.
KNOWN = [case for case in CASES if case not in ("sustained response", "log-rank in strata")]
ASSUMED = {"log scale", "ordinal", "days alive", "count"}  # a correlation with severity
ASSUMED |= {"cause-specific", "fine-gray", "cumulative incidence"}


@pytest.mark.parametrize("case", [case for case in KNOWN if case not in ASSUMED])
def test_property_steering_moves_patients_between_arms_and_no_outcome(case):
    before, after = (
        arrays(drawn(case)),
        arrays(drawn(case, flaws(1.0)[Mechanism.FORESEEN_ALLOCATION])),
    )
    arm = next(name for name in (".assigned", ".treated") if name in before)
    assert (before[arm] != after[arm]).any()
    del before[arm], after[arm]  # of a treatment without effect, outcomes as assigned are latent
    assert same(before, after)


@pytest.mark.parametrize(
    ("case", "better"),
    [
        (case, None)
        for case in KNOWN
        if case not in ("ancova", "change", "mmrm", "log-rank in strata")
    ]
    + [("ordinal", "lower"), ("t-test", "higher"), ("count", "higher"), ("cox", "higher")],
)
def test_property_foreseen_allocation_favours_treatment_whichever_way_is_better(case, better):
    file, settings = CASES[case]
    path = str(CORPUS / "valid" / f"{file}.yaml")
    if better:
        name = load_template(path).template.protocol.primary.id
        settings = (*settings, f"protocol.endpoints.{name}.better={better}")
    resolved = load_template(path, settings=settings)
    flaw = ForeseenAllocation(strength=1, waiting=5, knows=Foresight.NEXT_ASSIGNMENT)
    steer = Conduct(id="own", title="t", foreseen_allocation=flaw)
    plan = plan_bias(resolved, steer, [resolved.scenarios()[0].id])
    rows = plan.result(replicates=256, seed=3).rows
    by = {r.mechanism: r for r in rows if r.measure is Measure.ESTIMATE_MEAN}
    benefit = plan.job.plans[0].benefit
    none, steered = by["none"], by["foreseen-allocation"]
    assert abs(none.value) < 4 * none.mcse + 0.05  # 0.05: a median odds ratio of few events
    assert benefit * steered.value > 4 * steered.mcse


def test_property_adjusting_for_the_baseline_picked_by_takes_the_bias_away():
    flaw = ForeseenAllocation(strength=1, waiting=5, knows=Foresight.NEXT_ASSIGNMENT)
    steered = drawn("ancova", flaw)
    adjusted = analysed("ancova", steered, None).estimate[:, 0]
    plain = analysed("t-test", steered, None).estimate[:, 0]
    assert abs(adjusted.mean()) < 4 * adjusted.std() / sqrt(len(adjusted))
    assert plain.mean() < -10 * plain.std() / sqrt(len(plain))


@pytest.mark.parametrize("mechanism", list(Mechanism))
@pytest.mark.parametrize("kind", get_args(get_args(Endpoint)[0]), ids=lambda kind: kind.__name__)
def test_property_what_has_no_meaning_is_refused_by_name_with_a_remedy(kind, mechanism):
    case = next(c for c in CASES if type(job_of(c).protocol.primary) is kind)
    protocol = job_of(case).protocol
    assert bool(why_not(mechanism, protocol)) == (not acts_on(mechanism, kind))
    if acts_on(mechanism, kind):
        return
    file, settings = CASES[case]
    resolved = load_template(str(CORPUS / "valid" / f"{file}.yaml"), settings=settings)
    with pytest.raises(RequestError) as refused:
        plan_bias(resolved, only(mechanism, 0.5, case))
    (problem,) = refused.value.problems
    assert mechanism.value.replace("-", " ") in problem.rule.replace("-", " ")
    assert problem.remedy


@pytest.mark.parametrize(
    ("case", "more", "words"),
    [
        ("cox", "protocol.looks=[{at: {enrolled: 160}}]", "waits for patients to enter"),
        ("cox", "protocol.endpoints.death.analysis=maxcombo", "MaxCombo is read once"),
        (
            "cox",
            "protocol.looks=[{at: {events: 50}, efficacy_z: 3}, {at: {events: 99}, efficacy_z: 2}]",
            "declares its own",
        ),
    ],
)
def test_property_looks_that_cannot_be_added_are_refused(case, more, words):
    file, settings = CASES[case]
    resolved = load_template(str(CORPUS / "valid" / f"{file}.yaml"), settings=(*settings, more))
    with pytest.raises(RequestError, match=words):
        plan_bias(resolved, only(Mechanism.UNDECLARED_LOOKS, 0.5))


@pytest.mark.parametrize("case", ["response", "cox"])
def test_property_steering_needs_something_known_beforehand(case):
    file, _ = CASES[case]
    settings = ("nature.survival={median: 9 mo}", ONE_LOOK, IN_BLOCKS) if case == "cox" else ()
    if case == "cox":
        settings += ("protocol.endpoints.death.analysis=cox",)
    resolved = load_template(str(CORPUS / "valid" / f"{file}.yaml"), settings=settings)
    with pytest.raises(RequestError, match="is known beforehand to pick by"):
        plan_bias(resolved, only(Mechanism.FORESEEN_ALLOCATION, 0.5))


# -- against closed forms -----------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_analytic_excluding_some_of_the_worse_half_moves_a_normal_mean(share):
    # Of N(m, s), a value above the median has mean m + s sqrt(2 / pi), one below it m less that; f
    # of the half above are left out: the mean falls by s sqrt(2 / pi) f / (2 - f).
    case = "log scale"  # higher is better: the half below is left out, the mean of logs rises
    conduct = Conduct(id="own", title="t", exclusion=Exclusion(strength=share))
    found = analysed(case, drawn(case), conduct).estimate[:, 0]
    shift = log(2.1) * sqrt(2 / pi) * share / (2 - share)
    assert abs(found.mean() - shift) < 4 * found.std() / sqrt(len(found))


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_analytic_excluding_early_deaths_raises_survival_at_the_read_out(share):
    # Followed without loss, S becomes S / (S + (1 - f)(1 - S)) in the arm they are left out of.
    settings = (
        "protocol.looks=[{at: {calendar: 40 mo}}]",
        "nature.dropout=null",
        "nature.survival={median: 12 mo}",
        "nature.factors=[]",
        IN_BLOCKS,
        "protocol.endpoints.death.analysis={test: milestone, at: 12 mo}",
    )
    resolved = load_template(str(CORPUS / "valid" / "time-to-event.yaml"), settings=settings)
    conduct = Conduct(id="own", title="t", exclusion=Exclusion(strength=share))
    rows = plan_bias(resolved, conduct, ["none"]).result(replicates=512, seed=2).rows
    mean = next(
        r for r in rows if r.measure is Measure.ESTIMATE_MEAN and r.mechanism == "exclusion"
    )
    expected = 0.5 / (0.5 + (1 - share) * 0.5) - 0.5
    assert abs(mean.value - expected) < 4 * mean.mcse + 1e-3  # 1e-3: a share of few patients


def test_analytic_excluding_some_of_the_events_cuts_a_cause_specific_hazard():
    # A share f of the treated with the event leaves; of exponential times the hazard ratio of
    # those left has no closed form, but the odds of the event by the read-out fall by 1 - f.
    case = "cause-specific"
    batch = drawn(case)
    bad, own = unfavourable(batch, job_of(case).plans[0]), {}
    conduct = Conduct(id="own", title="t", exclusion=Exclusion(strength=0.3))
    kept: list[Any] = []

    def watched(seen: Any, plan: AnalysisPlan) -> LookResults:
        kept.append(seen)
        return kind_of(job_of(case).protocol, job_of(case).protocol.primary).analyse(seen, plan)

    plan = replace(job_of(case).plans[0], conduct=conduct)
    luck = Luck(Streams(1), 0, bad.shape)
    conducted(batch, plan, job_of(case).truths[0], luck, watched)
    left = kept[0].time > 0
    for treated in (True, False):
        arm = batch.assigned == treated
        own[treated] = (left & bad & arm).sum() / (bad & arm).sum()
    assert own[False] == 1
    assert abs(own[True] - 0.7) < 4 * sqrt(0.21 / (bad & batch.assigned).sum())


def test_reference_undeclared_looks_of_events_raise_the_type_1_error():
    # Armitage, McPherson and Rowe (1969), five looks at equal information: 14.17%.
    settings = (SMALL, ONE_LOOK, IN_BLOCKS, "protocol.endpoints.death.analysis=log-rank")
    resolved = load_template(
        str(CORPUS / "valid" / "time-to-event.yaml"),
        settings=(*settings, "nature.survival={median: 9 mo}", "nature.factors=[]"),
    )
    conduct = Conduct(id="own", title="t", undeclared_looks=UndeclaredLooks(strength=1, looks=5))
    rows = plan_bias(resolved, conduct, ["none"]).result(replicates=1_024, seed=5).rows
    found = next(
        r for r in rows if r.measure is Measure.TYPE_I_ERROR and r.mechanism == "undeclared-looks"
    )
    assert abs(found.value - 0.1417) < 4 * sqrt(0.1417 * 0.8583 / 1_024)


@pytest.mark.parametrize("case", ["cox", "log-rank in strata"])
def test_property_who_counts_in_the_other_arm_keeps_the_own_time(case):
    batch = drawn(case)
    crossed = np.random.default_rng(1).random(batch.treated.shape) < 0.3
    other = recorded(batch, batch.treated ^ crossed, np.ones(crossed.shape, dtype=bool))
    assert all(np.array_equal(a, b) for a, b in zip(followed(batch), followed(other), strict=True))
    assert np.array_equal(other.treated, batch.treated ^ crossed)
    assert batch.level is None or batch.level.max() < len(batch.hazards)


def test_property_compiled_and_plain_kernels_agree_on_who_crossed():
    fast = pytest.importorskip("trialsim.kernels.survival_fast")
    batch = drawn("cox")
    crossed = np.random.default_rng(1).random(batch.treated.shape) < 0.3
    other = recorded(batch, batch.treated ^ crossed, ~crossed | (batch.entry > 100))

    def last(event_calendar, entry, last_day):
        return last_day()[:, None]

    one, two = (k.read_looks(other, last, survival.Reading()) for k in (survival, fast))
    for name in ("events", "score", "cox"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-8)


TRUTHS = {
    "ancova": ("effect", -1.5),
    "mmrm": ("effect", -1.5),
    "log scale": ("effect", log(1.5)),
    "ordinal": ("effect", log(1.8)),
    "count": ("effect", log(0.7)),
    "cause-specific": ("effect", log(0.6)),
    "cox": ("none", 0.0),
}


@pytest.mark.parametrize("case", list(TRUTHS))
def test_property_bars_of_every_kind_add_up_from_its_own_truth(case):
    (file, settings), (scenario, theta) = CASES[case], TRUTHS[case]
    resolved = load_template(str(CORPUS / "valid" / f"{file}.yaml"), settings=settings)
    conduct = Conduct(
        id="own",
        title="t",
        exclusion=Exclusion(strength=0.1),
        publication=PublicationFilter(strength=0.4),
    )
    plan = plan_bias(resolved, conduct, [scenario])
    rows = plan.result(replicates=256, seed=1).rows
    bars = [r for r in rows if r.measure is Measure.ATTRIBUTION]
    means = {r.mechanism: r.value for r in rows if r.measure is Measure.ESTIMATE_MEAN}
    assert abs(sum(b.value for b in bars) - (means["all"] - theta)) < 1e-9
    summary = plan.job.plans[0].summary
    measure = Measure.RATIO_OF_RATIOS if summary.is_ratio else Measure.DIFFERENCE_OF_DIFFERENCES
    apart = {r.mechanism: r for r in rows if r.measure is measure}
    moved = means["all"] - means["none"]
    expected = np.exp(moved) if summary.is_ratio else moved
    assert apart["all"].value == pytest.approx(expected, rel=1e-12)
    assert apart["all"].scale == str(summary)
    assert not any(r.measure is Measure.RATIO_OF_ODDS_RATIOS for r in rows)


def test_property_the_page_says_which_flaw_acts_on_which_kind():
    page = (ROOT / "docs" / "protocol-format.md").read_text(encoding="utf-8")
    kinds = {
        str(get_args(kind.model_fields["kind"].annotation)[0]): kind for kind in ENDPOINT_KINDS
    }
    head, *lines = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in page.partition("<!-- which flaw acts on which kind -->")[2]
        .strip()
        .partition("\n\n")[0]
        .splitlines()
        if not set(line) <= set("|- ")
    ]
    assert set(head[1:]) == set(kinds)
    assert [line[0] for line in lines] == [m.key for m in Mechanism]
    for key, *cells in lines:
        mechanism = Mechanism(key.replace("_", "-"))
        for kind, cell in zip(head[1:], cells, strict=True):
            assert (cell == "yes") == acts_on(mechanism, kinds[kind]), (key, kind)


@pytest.mark.parametrize("case", list(CASES))
def test_property_unfavourable_is_the_worse_outcome(case):
    batch, plan = drawn(case), job_of(case).plans[0]
    flipped = replace(plan, better=Better.HIGHER if plan.better is Better.LOWER else Better.LOWER)
    bad, good = unfavourable(batch, plan), unfavourable(batch, flipped)
    assert 0.02 < bad.mean() < 0.98
    if case != "days alive":  # where death is bad whatever the rest
        assert not (bad & good).any()


def test_regression_every_flaw_asks_about_patients_followed_once(monkeypatch):
    """`bias colorectal-adjuvant` followed 640,000 patients anew for each flaw and question."""
    resolved = load_template("nsclc-adjuvant")
    plan = AnalysisPlan.of(resolved.template.protocol)
    job = Job(resolved.template.protocol, (plan,), (resolved.truth(resolved.scenarios()[0]),))
    batch = draw_patients(job, 1, 0, frozenset())[1][0][plan.endpoint]
    asked = []
    monkeypatch.setattr(as_recorded, "followed", lambda own: (asked.append(1), followed(own))[1])
    first = event_days(batch)
    assert (unfavourable(batch, plan) <= np.isfinite(first)).all()
    assert np.array_equal(event_days(batch), first)
    assert len(asked) == 1
    changed = batch._replace(latent=2 * batch.latent)
    assert not np.array_equal(event_days(changed), first)  # another batch is followed anew
    assert len(asked) == 2


def test_regression_records_are_looked_into_by_the_kernel_of_the_run(monkeypatch):
    pytest.importorskip("numba", reason="the extra [fast] is not installed")
    found = []

    def seen(job, found_of, seed, n):
        found.append((job.kernel, job.plans[0].kernel))
        return [{} for _ in found_of]

    monkeypatch.setattr(bias, "look_into", seen)
    monkeypatch.setattr(bias, "kernel_for", lambda job, replicates: Kernel.NUMBA)
    conduct = Conduct(id="own", title="t", exclusion=Exclusion(strength=0.5))
    plan_bias(load_template("nsclc-adjuvant"), conduct, ["no-effect"]).result(replicates=100)
    assert found == [(Kernel.NUMBA, Kernel.NUMBA)]

"""Where the first encoding says what the second hand wrote down, by template and fact."""

from __future__ import annotations

from math import exp, log, sqrt
from statistics import NormalDist

from trialsim.protocol.reading.load import load_template
from trialsim.protocol.truths.pool import dosings_of


class First:
    """The places of a template, and of the records it may cite, that facts are compared with."""

    def __init__(self, name, variant=None):
        self.resolved = load_template(name, variant=variant)
        self.protocol = self.resolved.template.protocol
        self.nature = self.resolved.template.nature
        self.records = self.resolved.evidence.records

    def variant(self, name):
        return First(self.resolved.template.id, name)

    def arm(self, name=None):
        return next(a for a in self.protocol.arms if name in (None, a.id))

    def dose(self, name=None):
        return self.arm(name).regimen.dose.amount

    def per_week(self, name=None):
        return 7 / self.arm(name).regimen.every.days

    def lasts(self, unit_days, name=None):
        return self.arm(name).regimen.length.days / unit_days

    def injections(self, name=None):
        return sum(d.n_doses for d in dosings_of(self.arm(name).regimen))

    def given(self, name=None):
        size = self.nature.body_surface_m2
        return sum(d.given for d in dosings_of(self.arm(name).regimen)) * (
            size.value if size else 1
        )

    def ratio(self):
        """Return the allocation ratio in words, 1:1 where none is stated."""
        return ":".join(str(n) for n in (self.protocol.allocation.ratio or {0: 1, 1: 1}).values())

    def read_out(self, unit_days=1.0):
        endpoint = self.protocol.primary
        at = getattr(endpoint, "read_out", None) or endpoint.at
        at = at[-1] if isinstance(at, tuple) else at
        return at.days_after_entry(self.protocol.therapy) / unit_days

    def after_therapy(self, unit_days):
        return (self.read_out() - self.protocol.therapy.days) / unit_days

    def outcome(self, name):
        return self.nature.outcomes[name]

    def result(self, record, result):
        return next(r for r in self.records[record].results if r.id == result)

    def counts(self, record, result):
        """Return events and patients, treated first."""
        own = self.result(record, result)
        return [n for arm in (own.experimental, own.control) for n in (arm.events, arm.n)]

    def events(self, record, result):
        return self.counts(record, result)[::2]

    def percent(self, record, result):
        e, n, f, m = self.counts(record, result)
        return [100 * e / n, 100 * f / m]

    def values(self, record, result):
        own = self.result(record, result)
        return [own.experimental.value, own.control.value]

    def effect(self, record, result, measure, number=0):
        found = self.result(record, result).effects if result else self.records[record].effects
        own = [e for e in found if e.measure == measure][number]
        return [own.value, *own.ci]

    def effect_value(self, record, result, measure):
        return next(e.value for e in self.result(record, result).effects if e.measure == measure)

    def p(self, record, result, name="as published"):
        return next(t.p for t in self.result(record, result).tests if t.name == name)

    def q(self, record, quantity, spread=False):
        own = next(q for q in self.records[record].quantities if q.id == quantity)
        return list(own.interval) if spread or own.value is None else own.value

    def seen(self, record, result):
        """Return the treated arm's share, written in percent in the record."""
        return self.result(record, result).experimental.value / 100

    def scenario(self, name):
        return next(s for s in self.resolved.template.scenarios if s.id == name)

    def two_stages(self):
        """Return Simon's r1, n1, r and n."""
        own = self.protocol.two_stage
        return [own.stop_if_at_most, own.first, own.reject_if_above, self.protocol.n_total]

    def patients(self, arm):
        ratio = self.protocol.allocation.ratio
        return self.protocol.n_total * ratio[arm] / sum(ratio.values())

    def later_ratio(self, scenario):
        return self.scenario(scenario).survival.hazard_ratios[-1].ratio.value


def pairs(counts):
    """Return events and patients of each arm."""
    return [counts[:2], counts[2:]]


def difference(values):
    return values[0] - values[1]


def power(percentages, per_arm):
    """Normal approximation for two risks, pooled variance under no difference, two-sided 5%."""
    p, q = (x / 100 for x in percentages)
    pooled = (p + q) / 2
    margin = 1.959964 * sqrt(2 * pooled * (1 - pooled))
    spread = sqrt(p * (1 - p) + q * (1 - q))
    return NormalDist().cdf((abs(p - q) * sqrt(per_arm) - margin) / spread)


def mean_and_sd(interval):
    return [sum(interval) / 2, (interval[1] - interval[0]) / 2]


def interval_of_odds_ratio(counts):
    """Woolf's interval of an odds ratio from events and patients, treated first."""
    (e, n), (f, m) = pairs(counts)
    value = e * (m - f) / (f * (n - e))
    spread = 1.959964 * sqrt(1 / e + 1 / (n - e) + 1 / f + 1 / (m - f))
    return [value, value * exp(-spread), value * exp(spread)]


MONTH, YEAR = 30.4375, 365.25
TESTS, ETASS = "tests-2025", "etass-2013"
DAY28 = (TESTS, "mortality-28d")
CHEN, TOLD, ASCO, DILLMAN = "chen-2022", "chen-2022-in-document", "asco-ta1-2023", "dillman-1987"
KIM = ("kim-2012", "combined-response-end-of-follow-up")
SMD = "standardised mean difference"

# about: the place in the first encoding, and how far rounding may take the two apart
PLACES = {
    "sepsis": {
        "primary.direction": (lambda f: f"{f.protocol.primary.better} is better", 0),
        "allocation.ratio": (lambda f: f.ratio(), 0),
        "ETASS.power_actual": (lambda f: power(f.percent(ETASS, "mortality-28d"), 180), 5e-3),
        "arms.number": (lambda f: len(f.protocol.arms), 0),
        "arm.thymosin.dose": (lambda f: f.dose(), 0),
        "arm.thymosin.interval": (lambda f: f.arm().regimen.every.days * 24, 0),
        "arm.thymosin.duration.TESTS": (lambda f: f.lasts(1), 0),
        "arm.thymosin.duration.document": (
            lambda f: [f.variant("five-days").lasts(1), f.lasts(1)],
            0,
        ),
        "arm.thymosin.injections.7d": (lambda f: f.injections(), 0),
        "arm.thymosin.total_mg.7d": (lambda f: f.given(), 0),
        "arm.thymosin.injections.5d": (lambda f: f.variant("five-days").injections(), 0),
        "arm.thymosin.total_mg.5d": (lambda f: f.variant("five-days").given(), 0),
        "primary.time": (lambda f: f.read_out(), 0),
        "TESTS.randomised": (lambda f: f.protocol.n_total, 0),
        "TESTS.analysed": (lambda f: f.counts(*DAY28)[1::2], 0),
        "TESTS.deaths28": (lambda f: f.events(*DAY28), 0),
        "TESTS.control_risk28": (lambda f: f.nature.control_risk.value, 5e-4),
        "TESTS.OR28": (lambda f: f.effect(*DAY28, "odds ratio"), 0),
        "TESTS.HR28.version1": (lambda f: f.effect(*DAY28, "hazard ratio", 0), 0),
        "TESTS.HR28.version2": (lambda f: f.effect(*DAY28, "hazard ratio", 1), 0),
        "TESTS.subgroup.age": (
            lambda f: [
                f.effect(TESTS, f"mortality-28d-{who}", "hazard ratio")[0]
                for who in ("under-60", "60-and-over")
            ],
            0,
        ),
        "TESTS.subgroup.diabetes": (
            lambda f: [
                f.effect(TESTS, f"mortality-28d-{who}", "hazard ratio")[0]
                for who in ("diabetes", "no-diabetes")
            ],
            0,
        ),
        "TESTS.post_randomisation_exclusion": (
            lambda f: f.q("ta1-attrition", TESTS) / 100,
            5e-4,
        ),
        "secondary.TESTS.mortality90": (lambda f: f.values(TESTS, "mortality-90d"), 0),
        "secondary.TESTS.new_infection28": (lambda f: f.values(TESTS, "new-infection-28d"), 0),
        "secondary.TESTS.pathogen_clearance28": (
            lambda f: f.values(TESTS, "pathogen-clearance-28d"),
            0,
        ),
        "secondary.ETASS.hospital_deaths": (lambda f: f.events(ETASS, "mortality-hospital"), 0),
        "secondary.ETASS.icu_deaths": (lambda f: f.events(ETASS, "mortality-icu"), 0),
        "secondary.ETASS.mHLADR.baseline": (lambda f: f.values(ETASS, "mhla-dr-baseline"), 0),
        "secondary.ETASS.mHLADR.change7": (lambda f: f.values(ETASS, "mhla-dr-change-7d"), 0),
        "ETASS.analysed": (lambda f: f.counts(ETASS, "mortality-28d")[1::2], 0),
        "ETASS.deaths28": (lambda f: f.events(ETASS, "mortality-28d"), 0),
        "ETASS.control_risk28": (
            lambda f: f.variant("etass-control-risk").nature.control_risk.value,
            0,
        ),
        "ETASS.RR28": (lambda f: f.effect(ETASS, "mortality-28d", "risk ratio"), 0),
        "ETASS.OR28": (lambda f: f.effect(ETASS, "mortality-28d", "odds ratio"), 0),
        "ETASS.planned": (lambda f: f.records["etass-2013-planning"].n_total, 0),
        "centres": (lambda f: [f.records[t].design.centres for t in (TESTS, ETASS)], 0),
        "recruitment.TESTS": (lambda f: f.q("ta1-recruitment", TESTS), 0),
        "recruitment.ETASS": (lambda f: f.q("ta1-recruitment", ETASS), 0),
        "meta.Gu2025": (lambda f: f.effect("gu-2025", None, "odds ratio"), 0),
        "meta.Gu2025.high_quality": (
            lambda f: f.effect("gu-2025-higher-quality", None, "odds ratio"),
            0,
        ),
        "meta.Gu2025.low_quality": (
            lambda f: f.effect("gu-2025-lower-quality", None, "odds ratio"),
            0,
        ),
        "meta.Gu2025.multicentre": (
            lambda f: f.effect("gu-2025-multi-centre", None, "odds ratio"),
            0,
        ),
    },
    "chronic-hepatitis-b": {
        "primary.direction": (lambda f: f"{f.protocol.primary.better} is better", 0),
        "control_risk.Chien": (
            lambda f: f.percent("chien-1998", "complete-response-18mo")[1] / 100,
            1e-9,
        ),
        "arms.number.document": (lambda f: len(f.protocol.arms), 0),
        "arm.thymosin.dose": (lambda f: f.dose(), 0),
        "arm.thymosin.interval": (lambda f: f.per_week(), 0),
        "arm.thymosin.duration": (lambda f: f.lasts(7), 0),
        "arm.thymosin.duration.document": (
            lambda f: [f.variant("twenty-four-weeks").lasts(7), f.lasts(7)],
            0,
        ),
        "arm.thymosin.injections": (lambda f: f.injections(), 0),
        "arm.thymosin.total_mg": (lambda f: f.given(), 0),
        "arm.thymosin.injections.24wk": (lambda f: f.variant("twenty-four-weeks").injections(), 0),
        "arm.thymosin.total_mg.24wk": (lambda f: f.variant("twenty-four-weeks").given(), 0),
        "arm.B.duration": (lambda f: f.variant("fifty-two-weeks").lasts(7), 0),
        "arm.B.total_mg": (lambda f: f.variant("fifty-two-weeks").given(), 0),
        "primary.time.post_therapy": (lambda f: f.after_therapy(MONTH), 1e-9),
        "primary.time.post_entry": (lambda f: f.read_out(MONTH), 0.05),  # 26 weeks are not 6 months
        "primary.time.weeks": (lambda f: f.read_out(7), 0.2),
        "primary.time.B": (lambda f: f.q("chien-1998", "since-therapy-52wk"), 0),
        "Chien.n": (lambda f: f.records["chien-1998"].design.n_randomised, 0),
        "Chien.A": (lambda f: f.counts("chien-1998", "complete-response-18mo")[:2], 0),
        "Chien.B": (lambda f: f.counts("chien-1998", "complete-response-18mo-52wk")[:2], 0),
        "Chien.C": (lambda f: f.counts("chien-1998", "complete-response-18mo")[2:], 0),
        "Chien.percent": (
            lambda f: [
                f.q("chien-1998", f"response-{who}") for who in ("26wk", "52wk", "untreated")
            ],
            0,
        ),
        "Chien.P.AC": (lambda f: f.p("chien-1998", "complete-response-18mo"), 0),
        "Chien.P.BC": (lambda f: f.p("chien-1998", "complete-response-18mo-52wk"), 0),
        "Chien.OR.AC": (
            lambda f: f.effect("chien-1998", "complete-response-18mo", "odds ratio"),
            0.5,
        ),
        "Chien.RR.AC": (
            lambda f: f.effect("chien-1998", "complete-response-18mo", "risk ratio"),
            0,
        ),
        "Chien.RD.AC": (
            lambda f: [
                100 * x for x in f.effect("chien-1998", "complete-response-18mo", "risk difference")
            ],
            1e-9,
        ),
        "control_hazard.Chien": (lambda f: f.q("ta1-controls", "chien-1998") / 100, 1e-9),
        "Mutchnick.CR12": (lambda f: f.counts("mutchnick-1999", "complete-response-12mo"), 0),
        "Mutchnick.OR": (
            lambda f: f.effect("mutchnick-1999", "complete-response-12mo", "odds ratio"),
            0,
        ),
        "Mutchnick.with_delayed": (
            lambda f: f.counts("mutchnick-1999", "complete-response-delayed"),
            0,
        ),
        "You.end_therapy": (lambda f: f.counts("you-2006", "complete-response-end-of-therapy"), 0),
        "You.plus6": (lambda f: f.counts("you-2006", "complete-response-6mo"), 0),
        "You.historical": (
            lambda f: f.counts("you-2006", "complete-response-6mo-v-historical")[2:],
            0,
        ),
        "meta.Chan.EOT": (lambda f: f.effect("chan-2001-end-of-therapy", None, "odds ratio"), 0),
        "meta.Chan.plus6": (lambda f: f.effect("chan-2001-6mo", None, "odds ratio"), 0),
        "meta.Chan.plus12": (lambda f: f.effect("chan-2001-12mo", None, "odds ratio"), 0),
        "natural.HBeAg_loss": (lambda f: f.q("lee-2021", "hbeag-loss"), 0),
    },
    "hbv-aclf": {
        "allocation.ratio": (lambda f: f.ratio(), 0),
        "secondary.infection.RRR": (
            lambda f: 100 * (1 - f.effect_value(CHEN, "new-infection", "risk ratio")),
            1e-9,
        ),
        "arms.number": (lambda f: len(f.protocol.arms), 0),
        "inclusion.MELD": (lambda f: f.q(CHEN, "meld-eligible"), 0),
        "arm.thymosin.dose": (lambda f: f.dose(), 0),
        "arm.thymosin.week1": (lambda f: f.per_week() / 7, 0),
        "arm.thymosin.weeks2_12": (lambda f: 7 / f.arm().regimen.then[0].every.days, 0),
        "arm.thymosin.duration": (lambda f: f.lasts(7), 0),
        "arm.thymosin.injections": (lambda f: f.injections(), 0),
        "arm.thymosin.total_mg": (lambda f: f.given(), 1e-9),
        "centres": (lambda f: f.records[CHEN].design.centres, 0),
        "randomised": (lambda f: f.q(CHEN, "enrolled"), 0),
        "arm.thymosin.n": (lambda f: f.counts(CHEN, "survival-90d-lt-free")[1], 0),
        "arm.control.n": (lambda f: f.counts(CHEN, "survival-90d-lt-free")[3], 0),
        "unaccounted": (lambda f: f.q(CHEN, "not-accounted-for"), 0),
        "unaccounted.proportion": (lambda f: f.q("ta1-attrition", CHEN) / 100, 0),
        "primary.time": (lambda f: f.read_out(), 0),
        "primary.survivors": (lambda f: f.counts(CHEN, "survival-90d-lt-free"), 0),
        "primary.percent": (lambda f: f.values(CHEN, "survival-90d-lt-free-percent"), 0),
        "primary.events": (
            lambda f: [n - e for e, n in pairs(f.counts(CHEN, "survival-90d-lt-free"))],
            0,
        ),
        "primary.P.published": (lambda f: f.p(CHEN, "survival-90d-lt-free"), 0),
        "primary.P.chi2": (lambda f: f.p(CHEN, "survival-90d-lt-free", "chi-square"), 6e-4),
        "primary.OR": (
            lambda f: interval_of_odds_ratio(
                [x for e, n in pairs(f.counts(CHEN, "survival-90d-lt-free")) for x in (n - e, n)]
            ),
            5e-4,
        ),
        "control_risk": (lambda f: 1 - f.nature.control_risk.value, 1e-3),
        "secondary.infection": (lambda f: f.counts(CHEN, "new-infection"), 0),
        "secondary.infection.P": (lambda f: f.p(CHEN, "new-infection"), 0),
        "secondary.encephalopathy": (lambda f: f.counts(CHEN, "encephalopathy"), 0),
        "secondary.infection_death": (lambda f: f.counts(CHEN, "infection-death"), 0),
        "secondary.MELD": (lambda f: f.values(TOLD, "meld-change"), 0),
        "secondary.CD4": (lambda f: f.result(TOLD, "cd4-ratio").experimental.value, 0),
        "secondary.TNF": (lambda f: f.result(TOLD, "tnf-alpha-change").experimental.value, 0),
        "document.overall_survival": (lambda f: f.values(TOLD, "overall-survival-90d"), 0),
        "document.overall_survival.P": (
            lambda f: [f.q("document-002", f"survival-p-{t}") for t in ("chi-square", "fisher")],
            0,
        ),
        "document.n_needed": (
            lambda f: [
                f.q("document-002", f"arm-size-needed-{t}") for t in ("chi-square", "fisher")
            ],
            0,
        ),
    },
    "immunocompromised": {
        "primary.direction": (lambda f: f"{f.protocol.primary.better} is better", 0),
        "CD4CD8.change": (
            lambda f: f.q("document-003", "cd4-cd8-6mo") - f.q("document-003", "cd4-cd8-baseline"),
            1e-9,
        ),
        "arms.number": (lambda f: sum(a.role == "experimental" for a in f.protocol.arms), 0),
        "n": (lambda f: f.protocol.n_total, 0),
        "arm.thymosin.dose": (lambda f: f.dose(), 0),
        "arm.thymosin.interval": (lambda f: f.per_week(), 0),
        "arm.thymosin.duration": (lambda f: f.lasts(MONTH), 0.05),  # 26 weeks are not 6 months
        "arm.thymosin.duration.weeks": (lambda f: f.lasts(7), 0),
        "arm.thymosin.injections": (lambda f: f.injections(), 0),
        "arm.thymosin.total_mg": (lambda f: f.given(), 0),
        "primary.time": (lambda f: f.read_out(MONTH), 1e-9),
        "CD4.baseline": (lambda f: mean_and_sd(f.q("document-003", "cd4-baseline", True)), 0),
        "CD4.month6": (lambda f: mean_and_sd(f.q("document-003", "cd4-6mo", True)), 0),
        "CD4.change": (
            lambda f: f.q("document-003", "cd4-6mo") - f.q("document-003", "cd4-baseline"),
            0,
        ),
        "CD4.change.percent": (lambda f: f.q("document-003", "cd4-change-recomputed"), 0),
        "CD4.change.d": (lambda f: f.q("document-003", "cd4-effect-size"), 0.05),
        "CD4.paired_t": (lambda f: f.q("document-003", "cd4-paired-t"), 0),
        "CD4CD8": (
            lambda f: [f.q("document-003", f"cd4-cd8-{when}") for when in ("baseline", "6mo")],
            0,
        ),
        "independent.n": (lambda f: f.result("hiv-inr", "cd4-count-24wk").experimental.n, 0),
    },
    "nsclc-adjuvant": {
        "allocation.ratio": (lambda f: f.ratio(), 0),
        "control.PFS12": (lambda f: 0.5 ** (12 * MONTH / f.nature.survival.median.days), 5e-4),
        "control.PFS24": (lambda f: 0.5 ** (24 * MONTH / f.nature.survival.median.days), 5e-4),
        "arms.number": (lambda f: len(f.protocol.arms), 0),
        "arm.thymosin.dose": (lambda f: f.dose(), 0),
        "arm.thymosin.interval.GASTO1043": (lambda f: f.per_week(), 0),
        "arm.thymosin.injections.12months": (lambda f: f.injections(), 0),
        "arm.thymosin.total_mg.12months": (lambda f: f.given(), 0),
        "randomised.n": (lambda f: f.protocol.n_total, 0),
        "randomised.per_arm": (lambda f: f.protocol.n_total / 2, 0),
        "control.median_PFS": (lambda f: f.nature.survival.median.days / MONTH, 1e-9),
        "control.hazard": (
            lambda f: log(2) / f.q("document-004-cancer", "pfs-median-control"),
            5e-5,
        ),
        "GASTO1043.n": (lambda f: f.result("gasto-1043", "pneumonitis").experimental.n, 0),
        "TLCR.n": (lambda f: f.q("tlcr-2025", "patients"), 0),
        "ASCO.n": (
            lambda f: [
                f.result(ASCO, "pfs-first-v-third").experimental.n,
                f.result(ASCO, "pfs-second-v-third").experimental.n,
                f.result(ASCO, "pfs-first-v-third").control.n,
            ],
            0,
        ),
        "ASCO.PFS": (
            lambda f: [
                f.result(ASCO, "pfs-first-v-third").experimental.value,
                *f.values(ASCO, "pfs-second-v-third"),
            ],
            0,
        ),
        "ASCO.PFS.P": (lambda f: f.p(ASCO, "pfs-three-groups"), 0),
        "ASCO.OS.P": (lambda f: f.p(ASCO, "os-three-groups"), 0),
        "Schulof.n": (lambda f: f.records["schulof-1985"].design.n_randomised, 0),
    },
    "colorectal-adjuvant": {
        "allocation.ratio": (lambda f: f.ratio(), 0),
        "arms.number": (lambda f: len(f.protocol.arms), 0),
        "randomised.n": (lambda f: f.protocol.n_total, 0),
        "per_arm": (lambda f: f.protocol.n_total / 2, 0),
        "arm.thymosin.dose": (lambda f: f.dose(), 0),
        "arm.thymosin.interval": (lambda f: f.per_week(), 0),
        "arm.thymosin.duration": (lambda f: f.lasts(MONTH), 0.05),
        "arm.thymosin.duration.weeks": (lambda f: f.lasts(7), 0),
        "arm.thymosin.injections": (lambda f: f.injections(), 0),
        "arm.thymosin.total_mg": (lambda f: f.given(), 0),
        "primary.time": (lambda f: f.read_out(YEAR), 1e-9),
        "primary.time.days": (lambda f: f.read_out(), 1),
        "recruitment.years": (
            lambda f: f.protocol.looks[-1].at.calendar.days / YEAR,
            1e-9,
        ),
    },
    "solid-tumour-monotherapy": {
        "primary.direction": (lambda f: f"{f.protocol.primary.better} is better", 0),
        "safety.tolerated": (lambda f: f.q("rh-ta1-tolerance", "single-dose"), 0),
        "arms.number": (lambda f: sum(a.role == "experimental" for a in f.protocol.arms), 0),
        "arm.thymosin.dose": (lambda f: f.dose(), 0),
        "arm.thymosin.interval": (lambda f: f.per_week(), 0),
        "arm.thymosin.BSA": (lambda f: f.nature.body_surface_m2.value, 0),
        "arm.thymosin.mg_per_injection": (lambda f: f.given() / f.injections(), 5e-3),
        "arm.thymosin.mg_per_week": (lambda f: f.given() / f.lasts(7), 5e-3),
        "arm.TF5.dose": (lambda f: f.variant("fraction-5").dose(), 0),
        "arm.TF5.interval": (lambda f: f.variant("fraction-5").per_week(), 0),
        "n.NSCLC_Ta1": (lambda f: f.result(DILLMAN, "response-nsclc").experimental.n, 0),
        "n.colon_TF5": (lambda f: f.result(DILLMAN, "response-colon").experimental.n, 0),
        "n.hypernephroma": (
            lambda f: f.result(DILLMAN, "response-hypernephroma").experimental.n,
            0,
        ),
        "n.total": (lambda f: sum(r.experimental.n for r in f.records[DILLMAN].results[:3]), 0),
        "observed.responses": (
            lambda f: [
                f.result(DILLMAN, "response-nsclc").experimental.events,
                f.result(DILLMAN, "response-nsclc").experimental.n,
            ],
            0,
        ),
        "observed.upper95": (
            lambda f: f.scenario("as-observed-upper").effect.treated_risk.value,
            0,
        ),
        "observed.median_unbiased": (
            lambda f: f.scenario("as-observed").effect.treated_risk.value,
            0,
        ),
        "Schulof.n": (lambda f: f.records["schulof-1985"].design.n_randomised, 0),
        "Simon.p0_p1": (
            lambda f: [
                f.protocol.control.historical["response"].risk.value,
                f.scenario("twenty-percent").effect.treated_risk.value,
            ],
            0,
        ),
        "Simon.optimal": (lambda f: f.two_stages(), 0),
        "Simon.minimax": (lambda f: f.variant("minimax").two_stages(), 0),
        "Simon.optimal.PET0": (
            lambda f: (
                (1 - f.protocol.control.historical["response"].risk.value)
                ** f.protocol.two_stage.first
            ),
            5e-4,
        ),
    },
    "chb-dose-fibrosis": {
        "primary.direction": (lambda f: f"{f.protocol.primary.better} is better", 0),
        "allocation.ratio": (lambda f: f.ratio(), 0),
        "arms.number": (lambda f: len(f.protocol.arms), 0),
        "arm.low.dose": (lambda f: f.dose("dose-0-8-mg"), 0),
        "arm.high.dose": (lambda f: f.dose("dose-1-6-mg"), 0),
        "arm.interval": (lambda f: f.per_week("dose-1-6-mg"), 0),
        "arm.duration": (lambda f: f.lasts(7, "dose-0-8-mg"), 0),
        "arm.low.injections": (lambda f: f.injections("dose-0-8-mg"), 0),
        "arm.low.total_mg": (lambda f: f.given("dose-0-8-mg"), 1e-9),
        "arm.high.injections": (lambda f: f.injections("dose-1-6-mg"), 0),
        "arm.high.total_mg": (lambda f: f.given("dose-1-6-mg"), 1e-9),
        "randomised.n": (lambda f: f.protocol.n_total, 0),
        "per_arm": (lambda f: f.protocol.n_total / 2, 0),
        "primary.time": (lambda f: f.read_out(7), 0),
        "primary.time.post_therapy": (lambda f: f.after_therapy(7), 0),
        "high.ALT_normal": (lambda f: f.seen("iino-2005", "alt-normal-72wk"), 1e-9),
        "high.DNA_negative_bDNA": (lambda f: f.seen("iino-2005", "dna-negative-bdna-72wk"), 1e-9),
        "high.DNA_negative_TMA": (lambda f: f.seen("iino-2005", "dna-negative-tma-72wk"), 1e-9),
        "high.HBeAg_loss": (
            lambda f: f.scenario("as-observed").effect.treated_risk.value,
            1e-9,
        ),
    },
    "chb-combination": {
        "primary.direction": (lambda f: f"{f.protocol.primary.better} is better", 0),
        "allocation.ratio": (lambda f: f.ratio(), 0),
        "randomised.n": (lambda f: sum(f.counts(*KIM)[1::2]), 0),
        "You.IFN": (
            lambda f: [
                *f.counts("you-2006", "complete-response-end-of-therapy")[2:],
                *f.counts("you-2006", "complete-response-6mo")[2:],
            ],
            0,
        ),
        "arms.number": (lambda f: len(f.protocol.arms), 0),
        "arm.thymosin.dose": (lambda f: f.dose(), 0),
        "arm.thymosin.interval": (lambda f: f.per_week(), 0),
        "arm.combination.n": (lambda f: f.counts(*KIM)[1], 0),
        "arm.control.n": (lambda f: f.counts(*KIM)[3], 0),
        "EOT.counts": (lambda f: f.counts("kim-2012", "combined-response-end-of-therapy"), 0),
        "EOT.P": (lambda f: f.p("kim-2012", "combined-response-end-of-therapy"), 0),
        "EOT.OR": (
            lambda f: interval_of_odds_ratio(
                f.counts("kim-2012", "combined-response-end-of-therapy")
            ),
            5e-3,
        ),
        "FU.counts": (lambda f: f.counts(*KIM), 0),
        "FU.percent": (lambda f: f.percent(*KIM), 0.05),
        "FU.P": (lambda f: f.p(*KIM), 0),
        "FU.OR": (lambda f: interval_of_odds_ratio(f.counts(*KIM)), 0.005),
        "control_risk": (lambda f: f.nature.control_risk.value, 0),
        "control_risk.EOT": (
            lambda f: f.outcome("combined-response-end-of-therapy").risk.value,
            0,
        ),
        "West_China.HBeAg": (
            lambda f: [f.q("west-china-2006-hbeag", who) for who in ("treated", "control")],
            0,
        ),
        "West_China.DNA": (
            lambda f: [f.q("west-china-2006-dna", who) for who in ("treated", "control")],
            0,
        ),
        "Yang.plus6.complete": (
            lambda f: f.effect("yang-2008-6mo-complete", None, "odds ratio"),
            0,
        ),
    },
    "sepsis-enriched": {
        "primary.direction": (lambda f: f"{f.protocol.primary.better} is better", 0),
        "allocation.ratio": (lambda f: f.ratio(), 0),
        "mHLADR.day7": (
            lambda f: [
                entry + change
                for entry, change in zip(
                    f.values(ETASS, "mhla-dr-baseline"),
                    f.values(ETASS, "mhla-dr-change-7d"),
                    strict=True,
                )
            ],
            1e-9,
        ),
        "arms.number": (lambda f: len(f.protocol.arms), 0),
        "arm.thymosin.dose": (lambda f: f.dose(), 0),
        "arm.thymosin.interval": (lambda f: f.arm().regimen.every.days * 24, 0),
        "arm.thymosin.duration": (lambda f: f.lasts(1), 0),
        "arm.thymosin.injections": (lambda f: f.injections(), 0),
        "arm.thymosin.total_mg": (lambda f: f.given(), 0),
        "primary.time": (lambda f: f.read_out(), 0),
        "control_risk.TESTS": (
            lambda f: f.variant("all-comers").nature.control_risk.value,
            5e-4,
        ),
        "control_risk.ETASS": (lambda f: f.percent(ETASS, "mortality-28d")[1] / 100, 0),
        "mHLADR.baseline": (lambda f: f.values(ETASS, "mhla-dr-baseline"), 0),
        "mHLADR.baseline.difference": (
            lambda f: difference(f.values(ETASS, "mhla-dr-baseline")),
            1e-9,
        ),
        "mHLADR.change3": (lambda f: f.values(ETASS, "mhla-dr-change-3d"), 0),
        "mHLADR.change7": (lambda f: f.values(ETASS, "mhla-dr-change-7d"), 0),
        "mHLADR.day7.difference": (
            lambda f: (
                difference(f.values(ETASS, "mhla-dr-baseline"))
                + difference(f.values(ETASS, "mhla-dr-change-7d"))
            ),
            1e-9,
        ),
        "mHLADR.change7.difference": (
            lambda f: f.scenario("predictive").outcomes["mhla-dr"].mean_difference[1].value,
            0,
        ),
        "Liu2016.HLADR": (lambda f: f.effect("liu-2016-hla-dr", None, SMD)[0], 0),
        "subgroup.diabetes": (
            lambda f: [
                f.effect(TESTS, f"mortality-28d-{who}", "hazard ratio")[0]
                for who in ("diabetes", "no-diabetes")
            ],
            0,
        ),
        "subgroup.age": (
            lambda f: [
                f.effect(TESTS, f"mortality-28d-{who}", "hazard ratio")[0]
                for who in ("under-60", "60-and-over")
            ],
            0,
        ),
        "TESTS.deaths28": (lambda f: f.counts(*DAY28), 0),
        "ETASS.deaths28": (lambda f: f.counts(ETASS, "mortality-28d"), 0),
        "recruitment.TESTS": (lambda f: f.q("ta1-recruitment", TESTS), 0),
    },
    "delayed-effect": {
        "n.total": (lambda f: f.protocol.n_total, 0),
        "allocation.ratio": (lambda f: f.ratio(), 0),
        "arm.active.n": (lambda f: f.patients("new"), 0),
        "arm.control.n": (lambda f: f.patients("usual"), 0),
        "control.median": (lambda f: f.nature.survival.median.days / MONTH, 1e-9),
        "active.median": (
            lambda f: f.scenario("at-once").survival.treated.median.days / MONTH,
            1e-9,
        ),
        "duration": (lambda f: f.protocol.looks[-1].at.calendar.days / MONTH, 1e-9),
        "accrual.months": (lambda f: f.nature.enrolment.piecewise[-1].until.days / MONTH, 1e-9),
        "accrual.first2": (lambda f: f.nature.enrolment.piecewise[0].share.value, 1e-6),
        "accrual.first8": (
            lambda f: sum(piece.share.value for piece in f.nature.enrolment.piecewise[:4]),
            2e-6,
        ),
        "loss.share": (lambda f: f.nature.dropout.share.value, 0),
        "loss.by": (lambda f: f.nature.dropout.by.days / MONTH, 1e-9),
        "loss.shape": (lambda f: f.nature.dropout.shape, 0),
        "delay3.hazard_ratio": (lambda f: f.later_ratio("after-3-months"), 1e-6),
        "delay4.5.hazard_ratio": (lambda f: f.later_ratio("after-4-5-months"), 1e-6),
        "test.alpha": (lambda f: f.protocol.test.alpha, 0),
        "test.sides": (lambda f: f.protocol.test.sides, 0),
    },
}

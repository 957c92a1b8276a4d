"""Literature 1 of a run without flaws and with: the same luck, and what stays in the drawer."""

from __future__ import annotations

import numpy as np

from trialsim import load_template
from trialsim.figures.one_literature import literature_figures
from trialsim.kernels.pooling import mantel_haenszel
from trialsim.kernels.proportions import Scale
from trialsim.protocol.reading.load import load_literature
from trialsim.studies.literature.one_literature import one_literature
from trialsim.studies.literature.synthesis import odds_ratios_from_words, plan_synthesis

SEPSIS = load_template("sepsis")
GU = load_literature("sepsis-meta-analysis", SEPSIS.evidence)
PLANNED = plan_synthesis(SEPSIS, GU, odds_ratios=odds_ratios_from_words("0.82,1"))


def test_reference_the_literature_with_flaws_is_the_first_of_the_run():
    for seed in (1, 2, 3):
        found = one_literature(PLANNED, seed)
        (typical,) = [
            own
            for own in PLANNED.simulate(2, seed)
            if (own.conduct.id, own.scenario.id) == (found.conduct.id, found.scenario.id)
        ]
        assert found.conduct.id == "typical"
        cells = typical.tables
        assert [study.counts for study in found.reported.trials.studies] == [
            tuple(int(x[0, k]) for x in (a, b, c, d))
            for k in range(11)
            for a, b, c, d in [
                (
                    cells.events_treated,
                    cells.n_treated,
                    cells.events_control,
                    cells.n_control,
                )
            ]
        ]
        whole = mantel_haenszel(cells, Scale.ODDS_RATIO).estimate[0]
        assert abs(found.reported.pooled.common.estimate[0] - whole) < 1e-12
        for members, (side, pooled) in zip(PLANNED.members, found.reported.strata, strict=True):
            assert side.chosen == tuple(members)
            own = mantel_haenszel(typical.stratum(members), Scale.ODDS_RATIO).estimate[0]
            assert abs(pooled.common.estimate[0] - own) < 1e-12


def test_property_without_a_flaw_a_trial_is_the_same_in_both():
    hidden = 0
    for seed in range(1, 7):
        found = one_literature(PLANNED, seed)
        both = zip(found.honest.trials.studies, found.reported.trials.studies, strict=True)
        for (honest, reported), drawer, planned in zip(
            both, found.drawer, PLANNED.trials["typical"], strict=True
        ):
            assert sum(honest.counts[1::2]) == planned.trial.n_total
            if not planned.profile.mechanisms:
                assert honest.counts == reported.counts
                assert not drawer
            hidden += len(drawer)
    assert hidden  # the filter keeps some back


def test_property_both_figures_say_what_they_show():
    found = one_literature(PLANNED, 2)
    drawn = literature_figures(found)
    ratios = [np.exp(one.pooled.common.estimate[0]) for one in (found.honest, found.reported)]
    for ratio in ratios:
        assert f"pooled {ratio:.2f} (" in drawn["literature"][1]
    hidden = sum(len(own) for own in found.drawer)
    assert (f"{hidden} not published" in drawn["literature"][1]) == bool(hidden)
    assert drawn["literatureforest"][1].startswith("11 simulated studies")
    assert "quality: lower" in drawn["literatureforest"][1]
    assert len(found.in_words().splitlines()) == 11

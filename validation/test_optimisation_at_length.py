"""The design that is chosen, at length: written, run at another seed, held to its constraints."""

from __future__ import annotations

import pytest

from trialsim.protocol.optimisation import Quantity, constraints_from_words, vary_from_words
from trialsim.protocol.reading.load import TemplateFile, check_file, load_template
from trialsim.studies.operations.optimisation import optimise_request, plan_optimisation
from trialsim.studies.simulation import plan_simulation
from trialsim.trial import Measure

PROBLEMS = {
    "sepsis": (["power >= 0.8 under or-082"], ["or-073"], ["sites=40,60,80"]),
    "sepsis-enriched": (
        ["power >= 0.8 under prognostic-only", "months <= 130", "cost <= 9e7"],
        ["predictive"],
        [],
    ),
    "chronic-hepatitis-b": (["power >= 0.9", "months <= 40", "cost <= 9e5"], ["chien-1998"], []),
    "hbv-aclf": (["power >= 0.85", "patients <= 900", "expected patients <= 800"], [], []),
    "nsclc-adjuvant": (["power >= 0.8", "months <= 48"], [], []),
    "delayed-effect": (["power >= 0.9"], [], []),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_analytic_the_file_of_the_chosen_design_meets_every_constraint(name, tmp_path):
    constraints, under, vary = PROBLEMS[name]
    file = TemplateFile.of(name)
    request = optimise_request(
        file.resolved(file.tree()),
        vary=vary_from_words(vary),
        constraints=constraints_from_words(constraints),
        under=under,
    )
    planned = plan_optimisation(file, request)
    path = tmp_path / "chosen.yaml"
    path.write_text(planned.text("trialsim optimise"), encoding="utf-8")
    check_file(str(path))
    written = load_template(str(path))
    assert written.template.protocol.n_total == planned.chosen.design.size
    names = [scenario.id for scenario in planned.scenarios]
    rows = plan_simulation(written, names).simulate(replicates=10_000, seed=2027).rows
    primary = written.template.protocol.primary.id

    def simulated(measure, scenario):
        own = [
            row
            for row in rows
            if (row.measure, row.scenario, row.endpoint) == (measure, scenario, primary)
            and row.look is row.stratum is row.estimand is row.arm is None
        ]
        return own[0] if own else None

    for constraint in planned.constraints:
        for scenario in [constraint.under] if constraint.under else names:
            own = planned.chosen.under(constraint.quantity, names.index(scenario))
            match constraint.quantity:
                case Quantity.POWER:
                    found = simulated(Measure.POWER, scenario)
                    assert found.value >= constraint.bound - 4 * found.mcse
                    continue
                case Quantity.EXPECTED_PATIENTS:
                    found = simulated(Measure.EXPECTED_N, scenario)
                case Quantity.MONTHS:
                    found = simulated(Measure.DURATION_MONTHS, scenario)
                case _:  # patients and cost do not vary
                    found = None
            assert own <= constraint.bound
            if found is not None:
                assert found.value <= constraint.bound + 4 * found.mcse

"""Simulated literatures exported, and read back by the program."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from trialsim import ProtocolError, RequestError, load_template
from trialsim.kernels.pooling import mantel_haenszel
from trialsim.kernels.proportions import Scale
from trialsim.protocol.conduct import Mechanism
from trialsim.protocol.published.trials import Origin, SplitBy, read_trials
from trialsim.protocol.reading.load import load_conduct, load_literature
from trialsim.report.literature_table import how_to_pool_one_in_r, write_literatures
from trialsim.studies.literature.classroom import plan_class
from trialsim.studies.literature.literature_trials import (
    class_literatures,
    risk_of_bias,
    simulated_literatures,
)
from trialsim.studies.literature.published_synthesis import PublishedSynthesis, pool_studies
from trialsim.studies.literature.synthesis import Pooling, odds_ratios_from_words, plan_synthesis

SEPSIS = load_template("sepsis")
PLANNED = plan_synthesis(
    SEPSIS,
    load_literature("sepsis-meta-analysis", SEPSIS.evidence),
    odds_ratios=odds_ratios_from_words("0.82,1"),
)


def test_reference_an_exported_literature_read_back_pools_to_the_same(tmp_path):
    written = write_literatures(simulated_literatures(PLANNED, 4, 5), tmp_path / "all")
    assert written.n == 4 * 2 * 3  # literatures, truths, sets of conduct
    simulated = PLANNED.simulate(120, 5)  # a longer run begins with the same
    for own in simulated:
        pooling = Pooling.of(own, PLANNED.members)
        whole = mantel_haenszel(own.tables, Scale.ODDS_RATIO)
        for i in range(4):
            file = tmp_path / "all" / f"{own.scenario.id}-{own.conduct.id}-{i + 1:03}.csv"
            found = read_trials(file, SEPSIS)
            assert found.origin is Origin.SIMULATED
            named = [s.study.removeprefix("like ") for s in found.studies]
            assert named == [t.id for t in PLANNED.literature.trials]
            assert not {s.study for s in found.studies} & set(SEPSIS.evidence.records)
            pooled = pool_studies(found)
            assert abs(pooled.common.estimate[0] - whole.estimate[i]) < 1e-12
            strata = PublishedSynthesis(SEPSIS, found, SplitBy.QUALITY).strata
            for (stratum, part), simulated_part in zip(strata, pooling.strata, strict=True):
                assert abs(part.common.estimate[0] - simulated_part.estimate[i]) < 1e-12
                assert stratum.label in ("lower", "higher")
            rows = list(csv.DictReader(file.read_text().splitlines()))
            known = [float(row["yi"]) for row in rows if row["yi"] != "NA"]
            assert known == pooled.estimates[~np.isnan(pooled.estimates)].tolist()


def test_property_one_file_of_several_literatures_says_where_the_next_begins(tmp_path):
    written = write_literatures(simulated_literatures(PLANNED, 2, 5), tmp_path / "all.csv")
    with pytest.raises(ProtocolError, match="begins another literature") as error:
        read_trials(written.path, SEPSIS)
    assert error.value.problems[0].line == 13  # after the header and eleven trials
    lines = written.path.read_text().splitlines()
    (tmp_path / "one.csv").write_text("\n".join(lines[:12]) + "\n")
    assert len(read_trials(tmp_path / "one.csv", SEPSIS).studies) == 11
    assert 'literature == 1 & scenario == "or-0-82"' in how_to_pool_one_in_r(written)


def test_property_columns_of_bias_are_those_of_the_conduct():
    every = risk_of_bias(load_conduct("every-flaw"))
    assert set(every.values()) == {"high"}
    for mechanism in set(Mechanism) - {Mechanism.PUBLICATION}:  # which acts on no trial
        alone = load_conduct("every-flaw").only({mechanism})
        if alone.mechanisms:
            high = [name for name, word in risk_of_bias(alone).items() if word == "high"]
            assert len(high) == 2, mechanism
            assert "rob_overall" in high
    assert set(risk_of_bias(load_conduct("rigorous")).values()) == {"low"}
    (first, *_) = simulated_literatures(PLANNED, 1, 5)
    by_name = {study.study: study for study in first.trials.studies}
    assert by_name["lower-1"].centres == 1
    assert (
        by_name["like tests-2025"].centres == SEPSIS.evidence.records["tests-2025"].design.centres
    )


def test_reference_a_class_exports_its_trials_as_planned_reported_and_published(tmp_path):
    small = load_template("sepsis", settings=["protocol.sample_size={total: 60}"])
    planned = plan_class(small, 40, conduct=load_conduct("poor"), scenarios=["or-082"])
    trials = planned.trials(3)
    written = write_literatures(class_literatures(planned, trials), tmp_path / "class")
    assert written.n == 3
    pools = (
        trials.pooled(trials.reported, trials.published),
        trials.pooled(trials.reported),
        trials.pooled(trials.planned),
    )
    named = dict(zip(("poor-published", "poor", "rigorous"), pools, strict=True))
    for name, pool in named.items():
        found = pool_studies(read_trials(written.path / f"or-082-{name}-001.csv", small))
        assert abs(found.common.estimate[0] - pool.common.estimate[0]) < 1e-12


def test_regression_a_place_that_cannot_be_written_is_refused(tmp_path):
    some = list(simulated_literatures(PLANNED, 1, 5))
    (tmp_path / "there.csv").write_text("x")
    for path, words in (
        (tmp_path / "there.csv", "exists already"),
        (tmp_path, "exists already"),
        (tmp_path / "x.txt", "neither a .csv file nor a folder"),
        (tmp_path / "no" / "x.csv", "cannot be written"),
        (tmp_path / "no" / "x", "cannot be written"),
    ):
        with pytest.raises(RequestError, match=words):
            write_literatures(some, path)

"""What a kind of endpoint consists of, and what one still lacks, in words."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import pytest

from conftest import CORPUS, ROOT
from trialsim import ProtocolError, load_template, plan_simulation
from trialsim.analyse.as_recorded import recorded, unfavourable, yes_or_no
from trialsim.engine.blocks import draw_patients
from trialsim.engine.endpoint_kinds import ENDPOINT_KINDS, EndpointKind
from trialsim.protocol.endpoints import BinaryEndpoint, Endpoint
from trialsim.protocol.reading.catalogue import schema_paths
from trialsim.protocol.reading.nodes import plain, read_file
from trialsim.report.sections.content import _MECHANISMS
from trialsim.studies.simulation import PlannedSimulation
from trialsim.trial import Measure, Path

LEVELS = "engine/test_outcomes.py::test_property_every_kind_keeps_its_level"

# Of every kind: a test of its type I error, and one against an answer from elsewhere.
EVIDENCE: dict[str, tuple[str, str]] = {
    "binary": (
        "engine/test_power_by_enumeration.py::test_analytic_power_within_4_mcse_of_enumeration",
        "engine/test_power_by_enumeration.py::test_analytic_power_within_4_mcse_of_enumeration",
    ),
    "response": (
        "engine/test_response.py::test_analytic_power_of_chien_at_18_months_within_4_mcse",
        "engine/test_response.py::test_analytic_response_at_every_visit_within_4_mcse_of_exact",
    ),
    "time-to-event": (
        "engine/test_time_to_event.py::"
        "test_analytic_three_obrien_fleming_looks_keep_one_sided_2_5_percent",
        "engine/test_time_to_event.py::test_reference_case_a_of_npsurvss",
    ),
    "continuous": (
        LEVELS,
        "engine/test_outcomes.py::test_analytic_power_of_a_t_test_is_the_noncentral_t",
    ),
    "ordinal": (
        LEVELS,
        "engine/test_outcomes.py::test_reference_power_of_ordinal_and_counts",
    ),
    "days-alive-and-free": (
        LEVELS,
        "engine/test_outcomes.py::test_analytic_power_of_ranks_is_that_of_the_win_difference",
    ),
    "count": (LEVELS, "engine/test_outcomes.py::test_reference_power_of_ordinal_and_counts"),
    "competing-risks": (
        LEVELS,
        "engine/test_outcomes.py::test_reference_power_of_a_cause_specific_test_is_schoenfelds",
    ),
}


def word_of(kind: type) -> str:
    """Return what a protocol writes after ``kind:``."""
    (word,) = get_args(kind.model_fields["kind"].annotation)
    return word


@dataclass(frozen=True)
class Simulated:
    """A valid file of the corpus in which a kind is simulated, and one block of it."""

    plan: PlannedSimulation
    endpoint: str
    batch: Any

    @property
    def own(self):
        return next(p for p in self.plan.jobs[0].plans if p.endpoint == self.endpoint)


@cache
def simulated(kind: type) -> Simulated | None:
    for path in sorted((CORPUS / "valid").glob("*.yaml")):
        resolved = load_template(str(path))
        name = next((e.id for e in resolved.endpoints if type(e) is kind), None)
        if name is None:
            continue
        plan = plan_simulation(resolved)
        job = replace(plan.jobs[0], path=Path.PATIENTS)
        levels_of = frozenset(t.lifetimes.factor for t in job.truths if t.lifetimes)
        _, batches = draw_patients(job, 1, 0, levels_of)
        plan = replace(plan, jobs=(job, *plan.jobs[1:]))
        return Simulated(plan, name, batches[0].get(name))
    return None


@cache
def kinds_in_refused_files() -> frozenset[str]:
    found: set[str] = set()
    for name in json.loads((CORPUS / "invalid" / "messages.json").read_text(encoding="utf-8")):
        try:
            endpoints = plain(read_file(CORPUS / "invalid" / f"{name}.yaml"))["protocol"][
                "endpoints"
            ]
            found |= {str(e.get("kind")) for e in endpoints if e.get("level") == "primary"}
        except (ProtocolError, LookupError, TypeError, AttributeError):
            continue  # refused for what stands above its endpoints
    return frozenset(found)


def registered(kind: type) -> EndpointKind | None:
    return ENDPOINT_KINDS.get(kind)


def drawn(kind: type) -> Simulated | None:
    there = simulated(kind)
    return there if there and there.batch is not None else None


def analysed(kind: type) -> bool:
    there, row = drawn(kind), registered(kind)
    if not there or not row:
        return False
    found = row.analyse(there.batch, there.own)
    return bool(np.isfinite(found.estimate[~found.failed]).all() and found.failed.mean() < 0.5)


def shown(kind: type) -> bool:
    there, row = drawn(kind), registered(kind)
    if not there or not row:
        return False
    seen = row.patients(there.batch, there.own, 0, 0)
    n = {len(column) for column in seen.values()}
    return len(n) == 1 and "treated" in seen and len(seen) > 1


def scored(kind: type) -> bool:
    there, row = drawn(kind), registered(kind)
    if not there or not row:
        return False
    score, treated = row.score(there.batch, there.own)
    return score.shape == treated.shape and bool(np.nanstd(score) > 0)


def flawed(kind: type) -> bool:
    there, row = drawn(kind), registered(kind)
    if not there or not row:
        return False
    batch = yes_or_no(there.batch, there.own)
    bad = unfavourable(batch, there.own)
    _, treated = row.score(there.batch, there.own)
    nobody = recorded(batch, treated, treated & ~treated)
    analyse = ENDPOINT_KINDS[BinaryEndpoint].analyse if batch is not there.batch else row.analyse
    return bool(0 < bad.mean() < 1 and analyse(nobody, there.own).failed.all())


def in_a_result(kind: type) -> bool:
    there = drawn(kind)
    result = there and there.plan.simulate(replicates=128)
    return any(
        row.measure is Measure.POWER and row.endpoint == there.endpoint and row.value is not None
        for row in (result.rows if result else ())
    )


def in_the_schema(kind: type) -> bool:
    schema = json.loads(schema_paths()["protocol"].read_text(encoding="utf-8"))
    items = schema["$defs"]["Protocol"]["properties"]["endpoints"]["items"]
    return word_of(kind) in items["discriminator"]["mapping"]


def on_page(kind: type, page: str) -> bool:
    return f"`{word_of(kind)}`" in (ROOT / "docs" / page).read_text(encoding="utf-8")


def has_test(kind: type, which: int) -> bool:
    """Whether the test named in EVIDENCE exists."""
    named = EVIDENCE.get(word_of(kind))
    if named is None:
        return False
    file, _, name = named[which].partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)


PARTS = {
    "is not registered: give it a row in engine/endpoint_kinds.py": (
        lambda kind: registered(kind) is not None
    ),
    "is simulated in no valid file of tests/protocols/valid": (
        lambda kind: simulated(kind) is not None
    ),
    "stands as primary endpoint in no invalid file of tests/protocols/invalid": (
        lambda kind: word_of(kind) in kinds_in_refused_files()
    ),
    "is not drawn: its valid file has no patients of it": lambda kind: drawn(kind) is not None,
    "is not analysed: of its valid file no trial has an estimate": analysed,
    "shows no patients to replay: 'patients' of its analysis": shown,
    "has no number per patient to correlate: 'score' of its analysis": scored,
    "cannot be carried out with flaws: unfavourable, recorded in analyse/as_recorded.py": flawed,
    "has no power among the rows of a result": in_a_result,
    "is not described in the report: _MECHANISMS in report/sections/content.py": (
        lambda kind: word_of(kind) in _MECHANISMS
    ),
    "is not in protocols/schema/protocol-1.json: run make docs": in_the_schema,
    "is not on docs/protocol-format.md": lambda kind: on_page(kind, "protocol-format.md"),
    "is not on docs/methods.md": lambda kind: on_page(kind, "methods.md"),
    "has no test of its type I error: name it under EVIDENCE here": lambda k: has_test(k, 0),
    "has no test against a known answer: name it under EVIDENCE here": lambda kind: has_test(
        kind, 1
    ),
}


def lacking(kind: type) -> list[str]:
    """Return what a kind still lacks, one sentence each; nothing for a whole one."""
    return [f"{word_of(kind)} {what}" for what, there in PARTS.items() if not there(kind)]


@pytest.mark.parametrize("kind", get_args(get_args(Endpoint)[0]), ids=word_of)
def test_property_a_kind_of_endpoint_is_whole(kind):
    assert lacking(kind) == []


class PainDiaryEndpoint(BinaryEndpoint):
    """A kind that has nothing but its model."""

    kind: Literal["pain-diary"]


def test_property_what_a_new_kind_lacks_is_listed_in_words_and_on_the_page_for_strangers():
    found = lacking(PainDiaryEndpoint)
    assert found == [f"pain-diary {what}" for what in PARTS]
    page = (ROOT / "docs" / "contribute" / "an-endpoint-kind.md").read_text(encoding="utf-8")
    listed = re.search(r"```text\n(.*?)```", page, flags=re.DOTALL)
    assert listed is not None
    assert listed[1].splitlines() == found


def test_property_a_kind_that_is_registered_alone_lacks_the_rest(monkeypatch):
    monkeypatch.setitem(ENDPOINT_KINDS, PainDiaryEndpoint, ENDPOINT_KINDS[BinaryEndpoint])
    monkeypatch.setitem(EVIDENCE, "pain-diary", (LEVELS, "engine/test_outcomes.py::test_of_none"))
    kept = list(PARTS)
    del kept[0], kept[-2]  # registered, and the first of its two tests exists
    assert lacking(PainDiaryEndpoint) == [f"pain-diary {what}" for what in kept]


def test_property_every_floor_the_page_names_exists():
    page = (ROOT / "docs" / "contribute" / "an-endpoint-kind.md").read_text(encoding="utf-8")
    for path in re.findall(r"\| `((?:protocol|generate|engine|report)/[\w/]+\.py)` \|", page):
        assert (ROOT / "trialsim" / path).exists(), path

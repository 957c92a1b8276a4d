"""`trialsim list` and `trialsim show`: the catalogue at a glance, one protocol read aloud."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from trialsim.operations.money import planned_cost
from trialsim.protocol.published.evidence import Pool, Trial
from trialsim.protocol.reading.catalogue import template_paths
from trialsim.protocol.reading.load import load_template
from trialsim.protocol.truths.safety import safety_endpoints
from trialsim.report.parts.control_arm import control_arm_in_words
from trialsim.report.parts.schedule import schedule_lines, schedule_of
from trialsim.report.screens.catalogue import catalogue_lines, catalogue_rows
from trialsim.report.screens.protocol_screen import template_lines

QC = """\
qc:
  date: 2026-11-27
  compared: arms and scenarios, from the publications
  n_values: 40
  differences:
    - {about: dose, first: 1.6 mg, second: 1.5 mg, resolved: 1.6 mg as the paper has it}
  outcome: Two values were mended.
"""
FILE = """\
schema_version: 1
id: mine
title: mine
protocol:
  arms:
    - id: drug
      role: experimental
      regimen: {drug: drug, dose: 1.2 mg/m2, route: intravenous, every: 1 wk, for: 12 wk}
    - {id: care, role: control}
  endpoints: [{id: death, level: primary, kind: binary, event: death, at: 90 d, better: lower}]
  sample_size: {total: 90}
nature: {control_risk: 0.3}
scenarios: [{id: no-effect, title: no effect}]
"""


@pytest.fixture
def resolved(tmp_path):
    def load(text=FILE):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return load_template(str(path))

    return load


@pytest.mark.parametrize("words", [("list",), ("show", "sepsis"), ("list", "--json")])
def test_property_the_catalogue_is_read_without_numpy(words):
    code = (
        "import sys; from trialsim.cli import main; main(sys.argv[1:]); "
        "sys.exit('numpy' in sys.modules or 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout


def test_property_every_shipped_protocol_is_listed_as_its_models_have_it():
    rows = {row["template"]: row for row in catalogue_rows()}
    assert set(rows) == set(template_paths())
    for name, row in rows.items():
        loaded = load_template(name)
        template, protocol = loaded.template, loaded.template.protocol
        assert (row["title"], row["setting"]) == (template.title, template.setting)
        assert row["n_total"] == protocol.n_total
        assert row["endpoint"] == protocol.primary.event
        assert row["n_scenarios"] == len(template.scenarios)
        used = {o.evidence: loaded.evidence.records[o.evidence] for o in template.observed}
        trials = [record for record in used.values() if isinstance(record, Trial)]
        assert row["n_trials"] == len(trials)
        assert row["n_randomised"] == sum(trial.design.randomised for trial in trials)
        assert row["n_pools"] == sum(isinstance(record, Pool) for record in used.values())
        sizes = [trial.design.n_randomised for trial in trials]
        if sizes and None not in sizes:
            assert row["patients"] == sum(sizes)
        assert (row["patients"] is None) == (not trials), name  # else those of the arms


def test_regression_verdicts_are_said_as_they_are_where_none_is_consistent():
    told = " ".join(catalogue_lines(catalogue_rows()).split())
    assert " 0 consistent" not in told
    assert "their numbers: cannot all be right together in 1, consistent in 1" in told
    assert "1 centre, 114 patients, 73 events, its numbers: consistent" in told  # hbv-aclf


def test_regression_sepsis_is_held_against_two_blinded_trials():
    row = next(row for row in catalogue_rows() if row["template"] == "sepsis")
    assert (row["n_trials"], row["n_blinded"], row["n_pools"]) == (2, 2, 4)
    assert (row["patients"], row["events"]) == (361 + 1106, 47 + 63 + 127 + 132)


def test_property_the_whole_list_fits_80_columns(trialsim, tmp_path):
    done = trialsim("list", cwd=tmp_path)
    shown = done.stdout.replace(done.args[0], "trialsim")  # wherever it is installed
    assert "Literatures" in shown
    assert "  trialsim reconcile sepsis\n" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_property_every_protocol_fits_80_columns():
    assert max(map(len, catalogue_lines(catalogue_rows()).splitlines())) <= 80
    for name in template_paths():
        shown = template_lines(load_template(name), "trialsim")
        pasted = ("         more: ",)  # commands are never folded
        folded = [line for line in shown.splitlines() if not line.startswith(pasted)]
        assert max(map(len, folded)) <= 80, name
        assert shown.isascii()


def test_property_both_grids_mark_the_same_days():
    for name in template_paths():
        protocol = load_template(name).template.protocol
        header, rows = schedule_of(protocol)
        seen = sum(cell == "x" for row in rows for cell in row)
        timed = [e for e in protocol.endpoints if e.kind != "time-to-event"]
        short = schedule_lines(protocol)
        if len(timed) == len(protocol.endpoints):
            assert short.count("  x") == seen, name
        assert len(header) == 1 + len({*(header[1:])})


def test_property_show_says_what_the_file_notes_and_every_number_of_the_control_arm():
    for name in template_paths():
        resolved = load_template(name)
        template, shown = resolved.template, " ".join(template_lines(resolved, "x").split())
        notes = [template.note, *(endpoint.note for endpoint in template.protocol.endpoints)]
        for note in filter(None, notes):
            assert " ".join(note.split()) in shown, name
        stated = control_arm_in_words(resolved)
        safe = {endpoint.id for endpoint in safety_endpoints(resolved)}
        courses = any(s.response for s in template.scenarios)
        single = template.protocol.is_single_arm  # then historical, and said apart
        simulated = {e.id for e in resolved.endpoints} - safe
        assert set(stated) == (
            set()
            if courses
            else simulated & set(template.nature.outcomes or {})
            | ({template.protocol.primary.id} if not single else set())
        ), name


def test_property_show_says_every_note_at_a_number_of_a_scenario():
    def notes(content):
        if isinstance(content, dict):
            yield from [content["note"]] if isinstance(content.get("note"), str) else []
            yield from (note for value in content.values() for note in notes(value))
        elif isinstance(content, list):
            yield from (note for value in content for note in notes(value))

    for name in template_paths():
        resolved = load_template(name)
        shown = " ".join(template_lines(resolved, "x").split())
        stated = list(notes(resolved.document["scenarios"]))
        for note in stated:
            assert " ".join(note.split()).rstrip(".") in shown, (name, note)
        assert ("What the file notes at these numbers" in shown) == bool(set(stated) - {"assumed"})


def test_regression_a_control_that_only_a_document_states_is_marked_where_it_is_shown():
    lung = template_lines(load_template("nsclc-adjuvant"), "x")
    assert "pfs: median 14.6 mo (document-004-cancer, DOCUMENT; document 004" in lung
    liver = template_lines(load_template("hbv-aclf"), "x")
    assert "meld-change: mean -1.2 (document 002 only), sd 6 (assumed)" in liver


def test_regression_a_control_risk_cited_from_a_document_is_marked_without_a_note(resolved):
    cited = FILE.replace(
        "control_risk: 0.3", "control_risk: {value: 0.45, source: chen-2022-in-document}"
    )
    assert "risk 0.45 (chen-2022-in-document, DOCUMENT)" in template_lines(resolved(cited), "x")
    own = load_template("sepsis", settings=["nature.control_risk=0.3"])
    assert "risk 0.241 (tests-2025)" not in template_lines(own, "x")


def test_regression_disagreements_of_records_a_protocol_is_about_are_shown():
    shown = template_lines(load_template("colorectal-adjuvant"), "trialsim")
    assert "whether thymalfasin with XELOX prolongs" in shown


def test_analytic_injections_and_milligrams_of_a_patient(trialsim, tmp_path):
    shown = trialsim("show", "sepsis", cwd=tmp_path).stdout
    assert "14 injections, 22.4 mg per patient" in shown  # twice daily for a week
    assert "in all randomised patients, thymalfasin v placebo" in shown
    assert "Where its sources disagree" in shown


def test_analytic_a_dose_per_m2_needs_a_body_surface(resolved):
    assert "14.4 mg/m2 per patient (in mg: state" in template_lines(resolved(), "trialsim")
    stated = FILE.replace("nature: {", "nature: {body_surface_m2: 1.7, ")
    shown = " ".join(template_lines(resolved(stated), "trialsim").split())
    assert "12 injections, 14.4 mg/m2 per patient = 24.48 mg at 1.7 m2 (assumed)" in shown


def test_analytic_screened_patients_are_those_enrolled_over_the_share_that_pass(resolved):
    text = FILE.replace("nature: {", "nature: {screening_failures: 0.4, ")
    priced = f"{text}cost: {{currency: EUR, year: 2025, screening: 100}}\n"
    shown = " ".join(template_lines(resolved(priced), "trialsim").split())
    assert "about 150 screened, EUR 15,000 at 100 (assumed) each" in shown
    template = resolved(priced).template
    whole = planned_cost(template, 90, 12, read_out_day=28, sites=3, looks=1)
    assert whole == pytest.approx(15_000)  # every other price is left out


def test_property_the_second_encoding_is_shown_and_is_no_part_of_a_run(resolved):
    checked = resolved(FILE + QC)
    shown = template_lines(checked, "trialsim")
    assert "Encoded again from its sources, 2026-11-27" in shown
    assert "dose: 1.6 mg; again: 1.5 mg" in shown
    assert checked.sha256 == resolved().sha256


def test_property_a_file_of_ones_own_is_never_asked_for_a_second_encoding(trialsim, tmp_path):
    (tmp_path / "mine.yaml").write_text(FILE, encoding="utf-8")
    for words in (("check", "mine.yaml"), ("show", "mine.yaml")):
        done = trialsim(*words, cwd=tmp_path)
        assert done.returncode == 0
        assert "again" not in done.stdout + done.stderr


def test_property_json_of_the_list_has_a_row_per_protocol(trialsim, tmp_path):
    document = json.loads(trialsim("list", "--json", cwd=tmp_path).stdout)
    listed = [row["template"] for row in document["rows"] if "design" in row]
    assert listed == sorted(template_paths())


def test_regression_check_does_not_call_assumed_what_cites_a_record(trialsim, tmp_path):
    done = trialsim("check", "hbv-aclf", cwd=tmp_path)
    assert done.returncode == 0
    assert "control arm of cd4" in done.stdout  # no source gives one
    assert "control arm of new-infection" not in done.stdout  # 34/58, chen-2022

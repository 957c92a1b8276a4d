"""Commands that read: the shipped protocols, a file of one's own, the evidence."""

from __future__ import annotations

import argparse
import re
import shlex
import time
from collections.abc import Iterator, Sized
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialsim.cli.answer import Figures, arguments_of, hand_over, load, run_folder
from trialsim.cli.first_draft import check_draft, drafted
from trialsim.cli.parser import program_name
from trialsim.errors import Problem, ProtocolError, RequestError, did_you_mean
from trialsim.report.document import Document, warnings_as_rows

if TYPE_CHECKING:
    from trialsim.protocol.published.evidence import EvidenceRecord
    from trialsim.protocol.reading.catalogue import Evidence
    from trialsim.protocol.reading.file_kinds import FileKind
    from trialsim.protocol.truths.resolved import ResolvedTemplate


def questions(_: argparse.Namespace) -> None:
    """Print three questions, each with its command."""
    name = program_name()
    print(f"""trialsim turns a clinical-trial protocol into something you can run.

How many patients does it need, and how likely is it to find the effect, if there is one?
    {name} size sepsis
    {name} simulate sepsis
How does a published result sit among trials simulated under a stated truth?
    {name} simulate sepsis --scenario or-082 --scenario or-041
Where do the sources disagree, and which is used?
    {name} evidence show tests-2025

The tour: {name} demo
A protocol of your own: {name} new my-trial.yaml
All commands: {name} --help""")


def list_templates(options: argparse.Namespace) -> None:
    """Print the shipped protocols."""
    from trialsim.report.screens.catalogue import catalogue_lines, catalogue_rows
    from trialsim.report.screens.further_files import (
        conflict_rows,
        conflicts_listed,
        literature_rows,
        literatures_listed,
    )

    rows = catalogue_rows()
    if options.json:
        print(Document("list", {}, rows=(*rows, *literature_rows(), *conflict_rows())).to_json())
        return
    print(catalogue_lines(rows))
    print(f"\n{literatures_listed(program_name())}")
    print(f"\n{conflicts_listed(program_name())}")
    print(f"\nmore: {program_name()} show {rows[0]['template']}")


def show(options: argparse.Namespace) -> None:
    """Print one protocol in words."""
    if _show_literature(options) or _show_conflict(options):
        return
    resolved = load(options)
    if options.json:
        rows = tuple(_flat(resolved.document))
        document = Document(
            "show", arguments_of(options), resolved.template.id, resolved.sha256, rows=rows
        )
        print(document.to_json())
        return
    from trialsim.report.screens.protocol_screen import template_lines

    print(template_lines(resolved, program_name()))
    print(f"\nrun it: {program_name()} simulate {shlex.quote(options.template)}")


def _show_literature(options: argparse.Namespace) -> bool:
    """Print a literature, trial by trial; False where the name is not one."""
    from trialsim.protocol.reading.file_kinds import FileKind, kind_of_file
    from trialsim.protocol.reading.load import evidence_with, load_literature
    from trialsim.report.parts.literature_words import literature_screen, literature_trial_rows

    if kind_of_file(options.template) is not FileKind.LITERATURE:
        return False
    if options.settings or options.variant:
        rule, remedy = "cannot change a literature", "Leave it out; change a copy of the file."
        raise RequestError(Problem(rule, remedy, "--set" if options.settings else "--variant"))
    found = load_literature(options.template, evidence_with(options.evidence_files))
    if options.json:
        rows = tuple(literature_trial_rows(found))
        print(Document("show", {"literature": found.id}, rows=rows).to_json())
        return True
    print(literature_screen(found))
    literature = shlex.quote(options.template)
    template = found.template or "TEMPLATE"
    print(f"\nrun it: {program_name()} synthesise {template} --literature {literature}")
    return True


def _show_conflict(options: argparse.Namespace) -> bool:
    """Print what could explain conflicting results; False where none is asked for."""
    from trialsim.protocol.reading.file_kinds import FileKind, kind_of_file
    from trialsim.protocol.reading.load import conflicts_of, evidence_with, load_reconciliation
    from trialsim.report.screens.conflict_screen import conflict_screen

    name = options.conflict
    if name is None and kind_of_file(options.template) is not FileKind.RECONCILIATION:
        return False
    if options.settings or options.variant:
        rule, remedy = "cannot change a conflict", "Leave it out; change a copy of the file."
        raise RequestError(Problem(rule, remedy, "--set" if options.settings else "--variant"))
    if name is None:
        name = options.template
    elif not name:
        name = conflicts_of(load(options).template.id)[0]
    found = load_reconciliation(name, evidence_with(options.evidence_files))
    if options.json:
        rows = tuple(_flat(found.model_dump(mode="json", exclude_none=True)))
        print(Document("show", {"conflict": found.id}, rows=rows).to_json())
        return True
    print(conflict_screen(found))
    print(f"\nrun it: {program_name()} reconcile --conflict {shlex.quote(name)}")
    return True


def _flat(content: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """Yield every value of a document with its dotted path, list items by id."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _flat(value, f"{path}.{key}".lstrip("."))
    elif isinstance(content, list):
        for index, item in enumerate(content):
            named = item.get("id") if isinstance(item, dict) else None
            yield from _flat(item, f"{path}.{named}" if named else f"{path}[{index}]")
    else:
        yield {"field": path, "value": content}


def new(options: argparse.Namespace) -> None:
    """Write a protocol to start from: of answers given, asked for on a terminal, or as it is."""
    from trialsim.protocol.reading.starter import STARTER

    path = options.file
    name = re.sub(r"[^a-z0-9-]+", "-", path.stem.lower())[:64].strip("-") or "my-trial"
    if path.exists():
        raise _refused("exists already; nothing was changed", "Choose another name.", path)
    draft = drafted(options, name)
    if draft is not None:
        check_draft(draft)
    text = STARTER.replace("my-trial", name, 1) if draft is None else draft.text
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        rule = f"cannot be written ({error.strerror})"
        raise _refused(rule, "Choose another place.", path) from None
    shown = path if path.suffix in (".yaml", ".yml") else f"./{path}"
    print(f"wrote {path}\nedit it, then: {program_name()} check {shlex.quote(str(shown))}")


def _refused(rule: str, remedy: str, path: Path) -> RequestError:
    return RequestError(Problem(rule, remedy, value=str(path), field="FILE"))


def check(options: argparse.Namespace) -> int:
    """Check files; everything that is wrong, at once."""
    from trialsim.protocol.reading.file_kinds import FileKind, kind_of_file
    from trialsim.protocol.reading.load import check_file

    problems: list[Problem] = []
    rows = []
    for name in options.files:
        try:
            kind = kind_of_file(name)
            if kind is not FileKind.PROTOCOL:
                words = _checked(kind, name, options)
                rows.append({"file": name, "verdict": "right", "kind": kind.value})
                if not options.json:
                    print(f"{name}: right, {words}")
                continue
            resolved = check_file(name, options.evidence_files)
        except (ProtocolError, RequestError) as error:
            problems += error.problems
            continue
        template, protocol = resolved.template, resolved.template.protocol
        rows.append({"file": name, "verdict": "right", "protocol_sha256": resolved.sha256})
        if not options.json:
            treated = [arm for arm in protocol.arms if arm.role != "historical"]
            print(
                f"{name}: right. {template.title}: {_counted(treated, 'arm')}, "
                f"{protocol.n_total:,} patients, {_counted(template.scenarios, 'scenario')}, "
                f"{_counted(template.variants, 'variant')}, "
                f"{_counted(template.observed, 'published result')}."
            )
            assumed = _assumed(resolved)
            if assumed:
                print(f"  assumed, without a source: {', '.join(assumed)}")
    if problems:
        raise ProtocolError(problems)
    if options.json:
        print(Document("check", {}, rows=tuple(rows)).to_json())
    return 0


def _counted(things: Sized, what: str) -> str:
    return f"{len(things)} {what}{'' if len(things) == 1 else 's'}"


def _checked(kind: FileKind, name: str, options: argparse.Namespace) -> str:
    """Load what is no protocol; return what it is."""
    from trialsim.protocol.published.trials import read_studies
    from trialsim.protocol.reading.file_kinds import FileKind
    from trialsim.protocol.reading.load import (
        evidence_with,
        load_conduct,
        load_literature,
        load_reconciliation,
    )
    from trialsim.report.parts.literature_words import (
        conduct_checked,
        literature_checked,
        reconciliation_checked,
        table_checked,
    )

    if kind is FileKind.TABLE:
        return table_checked(read_studies(Path(name)))
    evidence = evidence_with(options.evidence_files)
    if kind is FileKind.CONDUCT:
        return conduct_checked(load_conduct(name, evidence))
    if kind is FileKind.RECONCILIATION:
        return reconciliation_checked(load_reconciliation(name, evidence))
    return literature_checked(load_literature(name, evidence))


def _assumed(resolved: ResolvedTemplate) -> list[str]:
    from trialsim.protocol.further_times import FurtherLifetime
    from trialsim.protocol.outcomes import FurtherRisk

    template = resolved.template
    risk = template.nature.control_risk
    found = [f"control risk {risk}"] if risk and risk.source is None else []
    survival = template.nature.survival
    if survival and not resolved.status_of_lifetime(survival):
        found.append(f"control arm of {template.protocol.primary.id}")
    found += [name for name in ("enrolment", "dropout") if getattr(template.nature, name)]
    found += [
        f"control arm of {name}"
        for name, own in template.nature.outcomes.items()
        if not (isinstance(own, FurtherRisk) and own.risk.source)
        if not (isinstance(own, FurtherLifetime) and own.source)
    ]
    found += [f"hazards of {event.id}" for event in template.nature.intercurrent_events]
    found += [
        f"historical {name} {value.number}"
        for name, value in (template.protocol.control.historical or {}).items()
        if value.number.source is None
    ]
    found += [
        f"{key.replace('_', ' ')} of {name}"
        for name, departures in (template.nature.historical or {}).items()
        for key, shift in departures.stated
        if getattr(shift, shift.stated).source is None
    ]
    found += [
        f"correlation of {' and '.join(pair.between)} {pair.value:g}"
        for pair in template.nature.correlations
        if pair.source is None
    ]
    found += [
        f"{s.id} ({resolved.truth(s).label})"
        for s in template.scenarios
        if resolved.status_of(s) == "assumed"
    ]
    return found + [
        f"{s.id}, {name} ({effect.label})"
        for s in template.scenarios
        for name, effect in s.outcomes.items()
        if name != template.protocol.primary.id and resolved.status_of_outcome(s, name) == "assumed"
    ]


def evidence(options: argparse.Namespace) -> None:
    """Print the catalogue of published results, or one record of it."""
    if options.template and (options.id or options.action in ("show", "adjust")):
        remedy = f"{program_name()} evidence --template {options.template}"
        raise RequestError(Problem("goes with a list or a check of all", remedy, "--template"))
    _refuse_of_adjust(options)
    if options.action == "check":
        _check_evidence(options)
        return
    if options.action == "adjust":
        _adjust_evidence(options)
        return
    if options.template:
        _evidence_of(options)
        return
    _listed(options)


def _listed(options: argparse.Namespace) -> None:
    """Print the records, or one of them."""
    from trialsim.protocol.published.cautions import caution_of, cautions_about
    from trialsim.protocol.reading.load import evidence_with
    from trialsim.report.screens.records import evidence_rows, record_lines
    from trialsim.report.text import caution_lines, table

    found = evidence_with(options.evidence_files)
    records = list(found.records.values())
    if options.action == "show" and options.id is None:
        remedy = f"'{program_name()} evidence' lists them."
        raise RequestError(Problem("needs the id of a record", remedy, field="evidence show"))
    if options.action == "show":
        records = [_record(options.id or "", found)]
        cautions = cautions_about([options.id], found)
    else:
        records = _filtered(records, options)
        kept = {record.id for record in records}
        touching = (c for c in found.conflicts if kept.intersection(c.touches))
        cautions = tuple(caution_of(conflict, found) for conflict in touching)
    if options.json:
        document = Document(
            f"evidence {options.action or ''}".strip(),
            {"id": options.id} if options.id else {},
            rows=tuple(evidence_rows(records)),
            warnings=warnings_as_rows(cautions),
        )
        print(document.to_json())
    elif options.action == "show":
        print(record_lines(records[0]))
        if cautions:
            print(f"\n{caution_lines(cautions, program=program_name(), in_full=True)}")
    else:
        print(
            table(
                ("id", "kind", "condition", "title"),
                [(r.id, r.kind, r.condition, r.title) for r in records],
                folding=(3,),
            )
        )
        if cautions:
            print(f"\nWhere they disagree:\n{caution_lines(cautions, program=program_name())}")
        print(f"\nmore: {program_name()} evidence show tests-2025")


def _refuse_of_adjust(options: argparse.Namespace) -> None:
    """Refuse options that only the adjustment reads, unless it is asked for."""
    if options.action == "adjust":
        return
    given = {
        "--record": options.records,
        "--literature": options.literature,
        "--flaw": options.flaws,
        "--outcomes": options.outcomes,
        "--out": options.out,
    }
    remedy = f"Leave it out, or use '{program_name()} evidence adjust TEMPLATE'."
    doing = f"evidence {options.action or ''}".strip()
    problems = [
        Problem(f"has no effect on '{doing}'", remedy, name)
        for name, value in given.items()
        if value
    ]
    if problems:
        raise RequestError(problems)


def _evidence_of(options: argparse.Namespace) -> None:
    """Print what a protocol is held against or cites, and where these sources disagree."""
    from trialsim.figures.forest import forest_figure
    from trialsim.protocol.reading.load import load_template
    from trialsim.report.screens.held_against import held_against, held_against_lines
    from trialsim.report.screens.records import evidence_rows

    started = time.monotonic()
    resolved = load_template(options.template, evidence_files=options.evidence_files)
    found = held_against(resolved)
    records = _filtered(list(found.records.values()), options)
    narrowed = {name: getattr(options, name) for name in ("condition", "kind", "status")}
    document = Document(
        "evidence",
        {name: word for name, word in narrowed.items() if word},
        resolved.template.id,
        resolved.sha256,
        rows=tuple(evidence_rows(records)),
        observed=found.estimates,
        warnings=found.disagreements,
    )

    def figures() -> Figures:
        drawn = [forest_figure(lines, scale) for scale, lines in found.forests.items()]
        return {f"forest{f'-{n}' if n else ''}": figure for n, figure in enumerate(drawn)}

    shown = held_against_lines(resolved, found, program_name())
    hand_over(options, document, shown, None, figures, started)


def _check_evidence(options: argparse.Namespace) -> None:
    """Print whether numbers of the catalogue, of one record or of a file can be right together."""
    from trialsim.protocol.reading.catalogue import evidence_paths
    from trialsim.protocol.reading.load import evidence_with, load_template, record_ids
    from trialsim.report.screens.evidence_check_screen import checked_lines, checked_rows
    from trialsim.report.screens.protocol_screen import records_of
    from trialsim.studies.evidence_check.records import check_evidence

    name: str = options.id or ""
    path = Path(name)
    files = [each for each in options.evidence_files if each.resolve() != path.resolve()]
    found = evidence_with(files, contradictions=False)
    records = list(found.records.values())
    if options.template:
        resolved = load_template(options.template, evidence_files=options.evidence_files)
        found, records = resolved.evidence, list(records_of(resolved).values())
    elif any(path.resolve() == shipped.resolve() for shipped in evidence_paths()):
        records = [record for record in records if record.id in record_ids(path)]
    elif name.endswith((".yaml", ".yml")) or "/" in name:
        before = set(found.records)
        files.append(path)
        found = evidence_with(files, contradictions=False)
        records = [record for each, record in found.records.items() if each not in before]
    elif name:
        records = [_record(name, found)]
    checked = check_evidence(found, [record.id for record in _filtered(records, options)])
    if options.json:
        arguments = {"id": name} if name else {}
        arguments |= {"template": options.template} if options.template else {}
        rows = checked_rows(checked)
        print(Document("evidence check", arguments, rows=rows).to_json())
        return
    print(checked_lines(checked))
    if len(checked) > 1 and not options.template:
        shown = next((each for each in checked if each.findings), checked[0])
        more = [f"--evidence {shlex.quote(str(path))}" for path in files]
        command = " ".join([program_name(), "evidence check", shown.record.id, *more])
        print(f"\nmore: {command}")


def _adjust_evidence(options: argparse.Namespace) -> None:
    """Print published effects less the bias that trials like them have."""
    from trialsim.figures.adjustment import adjusted_forest_figure, tornado_figure
    from trialsim.protocol.published.trials import read_trials, recorded_trials
    from trialsim.protocol.reading.load import load_template
    from trialsim.report.screens.adjustment_screen import (
        adjustment_lines,
        adjustment_rows,
        adjustment_texts,
    )
    from trialsim.studies.conflict.adjustment import plan_adjustment

    if options.id is None:
        remedy = f"For example: {program_name()} evidence adjust sepsis"
        raise RequestError(Problem("needs a template", remedy, field="evidence adjust"))
    started, options.seed = time.monotonic(), 1  # of the run's folder; nothing is drawn
    resolved = load_template(options.id, evidence_files=options.evidence_files)
    table = options.literature
    trials = read_trials(table, resolved) if table else recorded_trials(resolved, options.records)
    found = plan_adjustment(resolved, trials, options.flaws, options.outcomes)
    arguments: dict[str, Any] = {"record": options.records, "flaw": options.flaws}
    arguments |= {"outcomes": options.outcomes}
    if table:
        arguments["table_sha256"] = sha256(table.read_bytes()).hexdigest()
    if options.evidence_files:
        contents = [sha256(path.read_bytes()).hexdigest() for path in options.evidence_files]
        arguments["evidence_sha256"] = contents
    document = Document(
        "evidence adjust",
        {name: value for name, value in arguments.items() if value},
        resolved.template.id,
        resolved.sha256,
        options.seed,
        rows=adjustment_rows(found),
        texts=adjustment_texts(found),
    )
    title = f"{resolved.template.id.upper()}   {resolved.template.title}"
    folder = run_folder(resolved, options)

    def figures() -> Figures:
        drawn = {"adjusted": adjusted_forest_figure(found)}
        return {**drawn, "tornado": tornado_figure(found)} if found.used else drawn

    hand_over(options, document, adjustment_lines(found, title), folder, figures, started)


def _record(name: str, found: Evidence) -> EvidenceRecord:
    if name not in found.records:
        remedy = did_you_mean(name, found.records, f"'{program_name()} evidence' lists them.")
        rule = "is not a known evidence id"
        raise RequestError(Problem(rule, remedy, value=f"'{name}'", field="ID"))
    return found.records[name]


def _filtered(records: list[EvidenceRecord], options: argparse.Namespace) -> list[EvidenceRecord]:
    """Keep the records asked for; a word that fits none is a mistake, not an empty answer."""
    from trialsim.report.screens.records import evidence_rows

    narrowed = False
    statuses = {r.id: {row["status"] for row in evidence_rows([r])} for r in records}
    for name in ("condition", "kind", "status"):
        wanted = getattr(options, name)
        if wanted is None:
            continue
        every = {r.id: statuses[r.id] if name == "status" else {getattr(r, name)} for r in records}
        known = set().union(*every.values())
        if wanted not in known:
            remedy = did_you_mean(wanted, known, f"There are {', '.join(sorted(known))}.")
            rule = "fits no record" + (" left" if narrowed else "")
            raise RequestError(Problem(rule, remedy, field=f"--{name}", value=f"'{wanted}'"))
        records = [r for r in records if wanted in every[r.id]]
        narrowed = True
    return records

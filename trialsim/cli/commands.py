"""One function per command."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialsim.cli.parser import program_name
from trialsim.errors import Problem, ProtocolError, RequestError, did_you_mean
from trialsim.report.document import Document

if TYPE_CHECKING:
    from trialsim.protocol.evidence import EvidenceRecord
    from trialsim.protocol.resolved import ResolvedTemplate
    from trialsim.studies.simulation import PlannedSimulation
    from trialsim.trial import Kernel, StudyResult

__all__ = ["COMMANDS"]

_SECONDS_WORTH_WORKERS = 3.0
_SECONDS_WORTH_ASKING = 3600.0


def _say(text: str = "") -> None:
    print(text, file=sys.stderr, flush=True)


def questions(_: argparse.Namespace) -> None:
    """Print three questions, each with its command."""
    name = program_name()
    print(f"""trialsim turns a clinical-trial protocol into something you can run.

How likely is this trial to find the effect, if there is one?
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
    from trialsim.protocol.catalogue import template_paths
    from trialsim.protocol.nodes import plain, read_file

    rows = []
    for name, path in template_paths().items():
        content = plain(read_file(path))
        rows.append(
            {
                "template": name,
                "title": content["title"],
                "n_scenarios": len(content["scenarios"]),
                "n_variants": len(content.get("variants", [])),
                "n_observed": len(content.get("observed", [])),
                "setting": content.get("setting", "current"),
            }
        )
    if options.json:
        print(Document("list", {}, rows=tuple(rows)).to_json())
        return
    for row in rows:
        print(
            f"{row['template']:20} {row['title']}"
            f"{' (historical)' if row['setting'] == 'historical' else ''}: "
            f"{row['n_scenarios']} scenarios, "
            f"{row['n_variants']} variants, {row['n_observed']} published results"
        )
    print(f"\nmore: {program_name()} show {rows[0]['template']}")


def _load(options: argparse.Namespace) -> ResolvedTemplate:
    from trialsim.protocol.load import load_template

    return load_template(
        options.template,
        variant=options.variant,
        settings=options.settings,
        evidence_files=options.evidence_files,
    )


def _arguments(options: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """Return the arguments that can change the answer, those at rest left out."""
    given = {"variant": options.variant, "set": list(options.settings), **more}
    if options.evidence_files:  # their content can change the answer, their names cannot
        contents = [sha256(path.read_bytes()).hexdigest() for path in options.evidence_files]
        given["evidence_sha256"] = contents
    return {key: value for key, value in given.items() if value}


def show(options: argparse.Namespace) -> None:
    """Print one protocol in words."""
    resolved = _load(options)
    if options.json:
        rows = tuple(_flat(resolved.document))
        document = Document(
            "show", _arguments(options), resolved.template.id, resolved.sha256, rows=rows
        )
        print(document.to_json())
        return
    from trialsim.report.screen import template_lines

    print(template_lines(resolved))
    print(f"\nrun it: {program_name()} simulate {shlex.quote(options.template)}")


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
    """Write a protocol to start from."""
    import re

    from trialsim.protocol.starter import STARTER

    path = options.file
    name = re.sub(r"[^a-z0-9-]+", "-", path.stem.lower())[:64].strip("-") or "my-trial"
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(STARTER.replace("my-trial", name, 1))
    except FileExistsError:
        raise RequestError(
            Problem(
                "exists already; nothing was changed",
                "Choose another name.",
                value=str(path),
                field="FILE",
            )
        ) from None
    except OSError as error:
        raise RequestError(
            Problem(
                f"cannot be written ({error.strerror})",
                "Choose another place.",
                value=str(path),
                field="FILE",
            )
        ) from None
    shown = path if path.suffix in (".yaml", ".yml") else f"./{path}"
    print(f"wrote {path}\nedit it, then: {program_name()} check {shlex.quote(str(shown))}")


def check(options: argparse.Namespace) -> int:
    """Check protocol files; everything that is wrong, at once."""
    from trialsim.protocol.load import check_file

    problems: list[Problem] = []
    rows = []
    for name in options.files:
        try:
            resolved = check_file(name, options.evidence_files)
        except (ProtocolError, RequestError) as error:
            problems += error.problems
            continue
        template, protocol = resolved.template, resolved.template.protocol
        rows.append({"file": name, "verdict": "right", "protocol_sha256": resolved.sha256})
        if not options.json:
            print(
                f"{name}: right. {template.title}: {len(protocol.arms)} arms, "
                f"{protocol.n_total:,} patients, {len(template.scenarios)} scenarios, "
                f"{len(template.variants)} variants, {len(template.observed)} published results."
            )
            assumed = _assumed(resolved)
            if assumed:
                print(f"  assumed, without a source: {', '.join(assumed)}")
    if problems:
        raise ProtocolError(problems)
    if options.json:
        print(Document("check", {}, rows=tuple(rows)).to_json())
    return 0


def _assumed(resolved: ResolvedTemplate) -> list[str]:
    template = resolved.template
    risk = template.nature.control_risk
    found = [f"control risk {risk}"] if risk and risk.source is None else []
    return found + [
        f"{s.id} ({resolved.truth(s).label})"
        for s in template.scenarios
        if resolved.status_of(s) == "assumed"
    ]


def evidence(options: argparse.Namespace) -> None:
    """Print the catalogue of published results, or one record of it."""
    from trialsim.protocol.cautions import caution_of, cautions_about
    from trialsim.protocol.load import evidence_with
    from trialsim.report.records import evidence_rows, record_lines
    from trialsim.report.text import caution_lines, table

    found = evidence_with(options.evidence_files)
    records = list(found.records.values())
    if options.action == "show" and options.id is None:
        remedy = f"'{program_name()} evidence' lists them."
        raise RequestError(Problem("needs the id of a record", remedy, field="evidence show"))
    if options.action == "show":
        if options.id not in found.records:
            raise RequestError(
                Problem(
                    "is not a known evidence id",
                    did_you_mean(
                        options.id or "", found.records, f"'{program_name()} evidence' lists them."
                    ),
                    value=f"'{options.id or ''}'",
                    field="ID",
                )
            )
        records = [found.records[options.id]]
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
            warnings=_warnings(cautions),
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


def _filtered(records: list[EvidenceRecord], options: argparse.Namespace) -> list[EvidenceRecord]:
    """Keep the records asked for; a word that fits none is a mistake, not an empty answer."""
    from trialsim.report.records import evidence_rows

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


def _warnings(cautions: Any) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"level": c.level, "code": c.code, "text": c.text, "touches": list(c.touches)}
        for c in cautions
    )


def simulate(options: argparse.Namespace) -> None:
    """Run a protocol under its scenarios and hold it against published results."""
    from trialsim.report.screen import simulation_screen

    _run_and_show(options, simulation_screen)


def _run_and_show(options: argparse.Namespace, screen: Callable[..., str]) -> None:
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.simulation import plan_simulation

    started = time.monotonic()
    plan = plan_simulation(_load(options), options.scenarios)
    plan = plan.computed_by(_kernel(plan, options))
    workers = _workers(plan, options)
    record = plan.record(options.seed)
    folder = None if options.json and options.out is None else RunDirectory(record, options.out)
    result = _with_progress(plan, options.replicates, options.seed, workers)
    arguments = _arguments(options, scenario=options.scenarios, replicates=options.replicates)
    document = _document(plan, result, arguments, options.seed)
    shown = screen(plan.resolved, result, options.replicates, options.seed, program_name())
    try:
        print(document.to_json() if options.json else shown, flush=True)
    except BrokenPipeError:  # the reader had enough of the screen; the files are still wanted
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    if folder:
        for path in folder.write(document, _figures(plan, result)):
            _say(f"wrote {path}")
    _say(f"{time.monotonic() - started:.1f} s")
    _say(f"repeat: {_repeat(options)}")


def _kernel(plan: PlannedSimulation, options: argparse.Namespace) -> Kernel:
    """Decide what computes: what a run began with, what was asked for, or what is faster."""
    from trialsim.engine.run import kernel_for
    from trialsim.report.run_directory import recorded_kernel
    from trialsim.trial import Kernel

    asked = Kernel(options.kernel) if getattr(options, "kernel", None) else None
    fresh = options.json and options.out is None
    recorded = None if fresh else recorded_kernel(plan.record(options.seed), options.out)
    if recorded and asked and recorded is not asked:
        raise RequestError(
            Problem(
                f"differs from that of this run, which is {recorded}",
                "Leave it out, or name a new folder with --out DIR.",
                "--kernel",
                asked.value,
            )
        )
    return recorded or asked or kernel_for(plan.jobs[0], options.replicates)


def _workers(plan: PlannedSimulation, options: argparse.Namespace) -> int:
    """Decide how many processes to use, before any work; refuse an hour of it without --yes."""
    from trialsim.engine.run import check_request, cpus_available, estimated_seconds

    workers = 1 if options.workers is None else options.workers
    check_request(options.replicates, options.seed, workers)
    seconds = estimated_seconds(plan.jobs, options.replicates)
    if seconds > _SECONDS_WORTH_ASKING and not options.yes:
        raise RequestError(
            Problem(
                f"means about {seconds / 3600:,.1f} hours of work on one core",
                "Use fewer, or add --yes.",
                "--replicates",
                f"{options.replicates:,}",
            )
        )
    if options.workers is not None:
        return workers
    return cpus_available() if seconds > _SECONDS_WORTH_WORKERS else 1


def _with_progress(
    plan: PlannedSimulation, replicates: int, seed: int, workers: int
) -> StudyResult:
    if not sys.stderr.isatty():
        return plan.simulate(replicates=replicates, seed=seed, workers=workers)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("simulating"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("simulating", total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return plan.simulate(
            replicates=replicates, seed=seed, workers=workers, on_progress=on_progress
        )


def _document(
    plan: PlannedSimulation, result: StudyResult, arguments: dict[str, Any], seed: int
) -> Document:
    return Document(
        "simulate",
        arguments,
        plan.resolved.template.id,
        plan.resolved.sha256,
        seed,
        rows=tuple(row.as_dict() for row in result.rows),
        observed=tuple(row.as_dict() for row in result.observed),
        findings=tuple(
            {"subject": f.subject, "verdict": f.verdict, "detail": f.detail}
            for f in result.findings
        ),
        texts=dict(result.texts),
        warnings=_warnings(result.warnings),
    )


def _figures(plan: PlannedSimulation, result: StudyResult) -> dict[str, Any]:
    from trialsim.figures.observed import observed_figure
    from trialsim.figures.survival import SurvivalPanel, survival_figure

    if curves := result.figure_data.get("survival"):
        protocol = plan.resolved.template.protocol
        panels = [SurvivalPanel(*curve) for curve in curves]
        arms = (protocol.control.id, protocol.experimental.id)
        return {"survival": survival_figure(panels, arms, protocol.primary.event)}
    trials, pools = result.figure_data["observed"]
    if not any(placed and placed[0].below for _, placed in trials):
        return {}
    return {"observed": observed_figure(trials, pools)}


def _repeat(options: argparse.Namespace) -> str:
    words = ["simulate", options.template]
    words += ["--variant", options.variant] if options.variant else []
    for name, values in (
        ("--set", options.settings),
        ("--evidence", options.evidence_files),
        ("--scenario", options.scenarios),
    ):
        words += [word for value in values for word in (name, str(value))]
    words += ["--kernel", options.kernel] if getattr(options, "kernel", None) else []
    words += ["--seed", str(options.seed), "--replicates", str(options.replicates)]
    return f"{program_name()} {shlex.join(words)}"


def report(options: argparse.Namespace) -> None:
    """Bind finished runs of one protocol into a report."""
    from trialsim.report.bind import bound_sections, report_title, write_figures
    from trialsim.report.html import as_html
    from trialsim.report.markdown import as_markdown
    from trialsim.report.run_reader import newest_run, read_run
    from trialsim.report.word import write_word

    folders = [newest_run() if name == "last" else Path(name) for name in options.runs or ["last"]]
    once = list(dict.fromkeys(folder.resolve() for folder in folders))
    runs = [run for folder in once for run in read_run(folder)]
    sections, title = bound_sections(runs), report_title(runs)
    html = options.out or Path(f"{runs[0].document['protocol']}-report.html")
    written = [html]
    _check_targets([html, options.markdown, options.docx], once)
    html.write_text(as_html(title, sections), encoding="utf-8", newline="\n")
    if options.markdown:
        options.markdown.write_text(as_markdown(title, sections), encoding="utf-8", newline="\n")
        written.append(options.markdown)
    if options.docx:
        write_word(options.docx, title, sections)
        written.append(options.docx)
    if options.figures:
        written += write_figures(runs, options.figures)
    if options.json:
        rows = tuple({"file": str(path)} for path in written)
        print(Document("report", {}, runs[0].document["protocol"], rows=rows).to_json())
        return
    for path in written:
        print(f"wrote {path}")


def _check_targets(targets: list[Path | None], runs: list[Path]) -> None:
    """Refuse to write into a run, twice to one place, or over what is no report of ours."""
    given = [path for path in targets if path]
    for path in given:
        rule = ""
        if any(path.resolve().is_relative_to(run) for run in runs):
            rule = "lies inside a run, which stays as it was written"
        elif sum(path.resolve() == other.resolve() for other in given) > 1:
            rule = "is named twice"
        elif path.exists() and not _is_our_report(path):
            rule = "exists already and is not a report of this program"
        if rule:
            raise RequestError(Problem(rule, "Name another file.", value=str(path), field="--out"))


def _is_our_report(path: Path) -> bool:
    if not path.is_file():
        return False
    start = path.read_bytes()[:600]
    return b'name="generator" content="trialsim' in start or b"generator: trialsim" in start


def demo(options: argparse.Namespace) -> None:
    """Take the tour."""
    from trialsim.cli.parser import parse

    name = program_name()
    _say(
        f"trialsim demo: two protocols, each run as {options.replicates:,} trials under several\n"
        "truths and held against published trials: sepsis, then chronic hepatitis B. Under a\n"
        "minute; results stay in this folder.\n"
    )
    from trialsim.report.screen import demo_screen

    for template in ("sepsis", "chronic-hepatitis-b"):
        words = ["simulate", template, "--replicates", str(options.replicates)]
        _run_and_show(parse(words), demo_screen)
        print()
    print(f"""Next:
  {name} report last                            one HTML file to hand on
  {name} simulate sepsis --variant etass-control-risk
  {name} new my-trial.yaml                      a protocol of your own""")


COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "questions": questions,
    "list": list_templates,
    "show": show,
    "new": new,
    "check": check,
    "evidence": evidence,
    "simulate": simulate,
    "report": report,
    "demo": demo,
}

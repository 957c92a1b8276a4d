"""Commands that hand on what was run: `replay`, `export`, `report`."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialsim import __version__
from trialsim.cli.answer import arguments_of, flaws_of, load, say
from trialsim.errors import Problem, RequestError
from trialsim.report.document import Document

if TYPE_CHECKING:
    from trialsim.protocol.conduct import Conduct, Mechanism
    from trialsim.protocol.truths.resolved import ResolvedTemplate
    from trialsim.report.parts.exported_tables import ExportedTable
    from trialsim.studies.conduct.bias import PlannedBias

_MOST_EXPORTED = 1_000  # trials


def replay(options: argparse.Namespace) -> None:
    """Show one trial of a run: an abstract, and its patients."""
    from trialsim.report.parts.patients import (
        abstract,
        first_patients,
        patients_table,
        write_patients,
    )
    from trialsim.report.run_reader import newest_run, planned_run
    from trialsim.report.text import wrapped
    from trialsim.studies.simulation import plan_simulation
    from trialsim.trial import Kernel

    folder = newest_run() if options.template == "last" else Path(options.template)
    if _replay_flawed(options, folder):
        return
    seed = 1 if options.seed is None else options.seed
    stored = None
    if (folder / "record.json").is_file():
        _refuse_changes_of_a_run(options)
        plan, stored, seed = planned_run(folder)
    else:
        if options.total is not None:
            options.settings.append(f"protocol.sample_size={{total: {options.total}}}")
        plan = plan_simulation(load(options)).computed_by(Kernel(options.kernel or "numpy"))
    scenario = options.scenario or plan.only_scenario()
    trial = plan.replay(scenario, seed, options.replicate, stored)
    written = write_patients(trial, options.out) if options.out else None
    told = abstract(plan.resolved, plan.jobs[0].plans[0], trial, seed)
    if options.json:
        arguments = arguments_of(options, scenario=[scenario], replicate=options.replicate)
        rows, texts = tuple(patients_table(trial)), {"abstract": told}
        template = plan.resolved.template.id
        found = Document(
            "replay", arguments, template, plan.resolved.sha256, seed, rows=rows, texts=texts
        )
        print(found.to_json())
        return
    print(f"{wrapped(told)}\n\n{first_patients(trial)}")
    if written:
        say(f"wrote {written}")
    else:
        print(f"\nall {len(trial.patients['patient']):,} patients: add --out FILE.csv")


def export(options: argparse.Namespace) -> None:
    """Write trials of a run as tables, patient by patient."""
    from trialsim.report.export_directory import NOT_ADAM, write_export
    from trialsim.report.text import wrapped

    found = _exported(options)
    about = (
        f"Trial {', '.join(map(str, found.replicates))} of scenario {found.scenario}, seed "
        f"{found.seed}, of the protocol '{found.resolved.template.id}' (SHA-256 "
        f"{found.resolved.sha256}); written by trialsim {__version__}. {found.how_to_read}"
    )
    parquet, resolved = options.parquet, found.resolved
    written = write_export(options.out, resolved, found.tables, about, parquet=parquet)
    if options.json:
        rows = tuple({"file": str(path)} for path in written)
        more: dict[str, Any] = {"scenario": [found.scenario], "replicate": found.replicates}
        if found.conduct:
            more["conduct"] = found.conduct.model_dump(mode="json", exclude_none=True)
        arguments, texts = arguments_of(options, **more), {"how to read": found.how_to_read}
        document = Document(
            "export", arguments, resolved.template.id, resolved.sha256, found.seed, rows=rows,
            texts=texts,
        )  # fmt: skip
        print(document.to_json())
        return
    for table in found.tables:
        print(f"{table.name:8}{len(table.rows):>9,} rows   {table.title}")
    print(f"\n{wrapped(found.how_to_read)}\n\n{wrapped(NOT_ADAM)}")
    for path in written:
        say(f"wrote {path}")


@dataclass(frozen=True)
class _Exported:
    resolved: ResolvedTemplate
    tables: tuple[ExportedTable, ...]
    scenario: str
    replicates: list[int]
    seed: int
    how_to_read: str
    conduct: Conduct | None = None


def _exported(options: argparse.Namespace) -> _Exported:
    """Return the tables asked for: with flaws where these are named, else without."""
    from trialsim.report.parts.exported_flawed import exported_flawed, how_to_read
    from trialsim.report.parts.exported_tables import exported_tables
    from trialsim.report.run_reader import newest_run, planned_run
    from trialsim.studies.simulation import plan_simulation

    folder = newest_run() if options.template == "last" else Path(options.template)
    replicates = list(dict.fromkeys(options.replicate))
    if len(replicates) > _MOST_EXPORTED:
        rule = f"names more than {_MOST_EXPORTED:,} trials"
        raise RequestError(Problem(rule, "Name fewer.", "--replicate", f"{len(replicates):,}"))
    if _flaws_asked(options):
        asked = _flawed_trials_of(options, folder, max(replicates))
        assert asked is not None  # they are
        planned, seed, only = asked
        scenario = options.scenario or planned.only_scenario()
        flawed = [planned.replay(scenario, seed, number, only=only) for number in replicates]
        plan, conduct = planned.job.plans[0], flawed[0].conduct
        return _Exported(
            planned.resolved, exported_flawed(planned.resolved, plan, flawed), scenario,
            replicates, seed, how_to_read(conduct, flawed), conduct,
        )  # fmt: skip
    seed, stored, beside = 1 if options.seed is None else options.seed, None, ""
    if (folder / "record.json").is_file():
        _refuse_changes_of_a_run(options)
        beside = _other_trials(folder)
        simulation, stored, seed = planned_run(folder)
    else:
        simulation = plan_simulation(load(options))
    scenario = options.scenario or simulation.only_scenario()
    trials = [simulation.replay(scenario, seed, number, stored) for number in replicates]
    tables = exported_tables(simulation.resolved, simulation.jobs[0].plans, trials)
    told = f"Carried out without flaws.{beside}"
    return _Exported(simulation.resolved, tables, scenario, replicates, seed, told)


def _other_trials(folder: Path) -> str:
    """Say which flaws a run's other trials have; refused where it has no trials without."""
    from trialsim.report.run_reader import flawed_runs

    named = dict.fromkeys(run.document["arguments"]["conduct"]["id"] for run in flawed_runs(folder))
    if not named:
        return ""
    ways = " or ".join(f"--conduct {name}" for name in named)
    if not any((folder / "results").glob("simulate*.sha256")):
        rule = "holds trials with flaws, and no flaw is named"
        remedy = f"Add {ways}: what is reported, beside the same trials without the flaws."
        raise RequestError(Problem(rule, remedy, "RUN", str(folder)))
    return f" The run also holds trials with flaws: add {ways}."


def _replay_flawed(options: argparse.Namespace, folder: Path) -> bool:
    """Show a trial before and after its flaws; False where it is one without flaws."""
    from trialsim.report.parts.flawed_trial import (
        before_and_after,
        tables_of_trial,
        touched_patients,
    )
    from trialsim.report.parts.patients import patients_table, write_patients
    from trialsim.report.text import wrapped

    asked = _flawed_trials_of(options, folder, options.replicate)
    if asked is None:
        return False
    planned, seed, only = asked
    scenario = options.scenario or planned.only_scenario()
    trial = planned.replay(scenario, seed, options.replicate, only=only)
    written = write_patients(trial, options.out) if options.out else None
    told = before_and_after(planned, trial, seed)
    if options.json:
        stated = trial.conduct.model_dump(mode="json", exclude_none=True)
        arguments = arguments_of(
            options, scenario=[scenario], replicate=options.replicate, conduct=stated
        )
        template, texts = planned.resolved.template.id, {"before and after": told}
        sha256_, rows = planned.resolved.sha256, tuple(patients_table(trial))
        found = Document("replay", arguments, template, sha256_, seed, rows=rows, texts=texts)
        print(found.to_json())
        return True
    lines = "\n".join(wrapped(line, "  ", "") for line in told.splitlines())
    print(f"{lines}\n\n{tables_of_trial(planned, trial)}\n\n{touched_patients(trial)}")
    if written:
        say(f"wrote {written}")
    else:
        print(f"\nall {len(trial.patients['patient']):,} patients: add --out FILE.csv")
    return True


def _flawed_trials_of(
    options: argparse.Namespace, folder: Path, replicate: int
) -> tuple[PlannedBias, int, Mechanism | None] | None:
    """Return the study of flaws that options ask for, its seed, and the flaw of --only.

    None where trials without flaws are meant.
    """
    from trialsim.report.parts.flawed_trial import planned_of_run
    from trialsim.studies.conduct.bias import flaw_from_words, plan_bias

    asked = _flaws_asked(options)
    only = flaw_from_words(options.only) if options.only else None
    if (folder / "record.json").is_file():
        planned = planned_of_run(folder, options.conduct, replicate, asked=asked)
        if planned is None:
            return None
        _refuse_changes_of_a_run(options)
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        return planned, record["seed"], only
    if not asked:
        return None
    if getattr(options, "total", None) is not None:
        options.settings.append(f"protocol.sample_size={{total: {options.total}}}")
    resolved = load(options)
    profile, only = flaws_of(options, resolved)
    assert profile is not None  # asked for
    return plan_bias(resolved, profile), 1 if options.seed is None else options.seed, only


def _flaws_asked(options: argparse.Namespace) -> bool:
    named = options.conduct or options.flaws or options.only
    return bool(named or options.strength is not None)


def _refuse_changes_of_a_run(options: argparse.Namespace) -> None:
    """Refuse options that would make it another run (RequestError)."""
    for name, given in (
        ("--seed", options.seed is not None),
        ("--total", getattr(options, "total", None) is not None),
        ("--set", bool(options.settings)),
        ("--variant", bool(options.variant)),
        ("--kernel", getattr(options, "kernel", None) is not None),
        ("--strength", options.strength is not None),
        ("--flaw", bool(options.flaws)),
        ("--evidence", bool(options.evidence_files)),
    ):
        if given:
            rule, remedy = "cannot change a run", "Leave it out, or replay the template instead."
            raise RequestError(Problem(rule, remedy, name))


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

"""Commands that judge trials and literatures: `bias synthesise reconcile explain`."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialsim.cli.answer import (
    Figures,
    arguments_of,
    flaws_of,
    hand_over,
    load,
    print_out,
    run_folder,
    say,
    simulated,
    with_progress,
)
from trialsim.cli.parser import program_name
from trialsim.errors import Problem, RequestError, did_you_mean
from trialsim.report.document import Document

if TYPE_CHECKING:
    from trialsim.protocol.conduct import Mechanism
    from trialsim.protocol.truths.resolved import ResolvedTemplate
    from trialsim.studies.literature.literature_trials import OneLiterature


def bias(options: argparse.Namespace) -> None:
    """Show what flaws of conduct do to an effect."""
    from trialsim.engine.run import check_request
    from trialsim.figures.bias import bias_figure
    from trialsim.figures.flawed_patients import flawed_figures
    from trialsim.protocol.reading.load import load_conduct
    from trialsim.report.parts.flawed_trial import before_and_after
    from trialsim.report.screens.bias_screen import bias_screen
    from trialsim.report.sections.flawed_section import ONE_TRIAL
    from trialsim.studies.conduct.bias import (
        flaw_from_words,
        plan_bias,
        strengths_from_words,
        what_can_act,
        with_strengths,
    )

    started = time.monotonic()
    if options.replicates is None:
        options.replicates = 2_000 if options.calibrate else 4_000
    check_request(options.replicates, options.seed, options.workers or 1)
    if options.total is not None:
        options.settings = [*options.settings, f"protocol.sample_size={{total: {options.total}}}"]
    resolved = load(options)
    only = flaw_from_words(options.only) if options.only else None
    if options.calibrate or options.outcomes:
        _bias_calibration(options, resolved, only)
        return
    if options.strength is not None and not only:
        rule, remedy = "needs --only FLAW", "Name the flaw whose dial is turned."
        raise RequestError(Problem(rule, remedy, "--strength", options.strength))
    words = "0:1:0.25" if options.strength is None else options.strength
    strengths = strengths_from_words(words) if only else ()
    profile = load_conduct(options.conduct or "poor", resolved.evidence)
    if not (options.conduct or only):
        profile = what_can_act(resolved, profile)
    profile = with_strengths(profile, options.flaws)
    planned = plan_bias(resolved, profile, options.scenarios, only=only, strengths=strengths)
    folder = run_folder(resolved, options)
    result = simulated(planned, [planned.job], options)
    given = {name: getattr(options, name) for name in ("only", "strength", "replicates")}
    given["flaw"] = options.flaws
    stated = profile.model_dump(mode="json", exclude_none=True)
    arguments = arguments_of(options, scenario=options.scenarios, conduct=stated, **given)
    trial = planned.first_trial(options.seed)
    texts = {ONE_TRIAL: before_and_after(planned, trial, options.seed)}
    kept = replace(result, texts={**result.texts, **texts})
    document = Document.of_study(resolved, kept, arguments, options.seed, command="bias")

    def shown() -> str:
        return bias_screen(planned, result, options.seed, program_name())

    def figures() -> Figures:
        return {
            "bias": bias_figure(planned, result),
            **flawed_figures(planned, result, trial),
        }

    hand_over(options, document, shown, folder, figures, started)


def _bias_calibration(
    options: argparse.Namespace, resolved: ResolvedTemplate, only: Mechanism | None
) -> None:
    from trialsim.figures.bias_calibration import bias_calibration_figure
    from trialsim.protocol.reading.load import load_conduct
    from trialsim.report.screens.bias_calibration_screen import bias_calibration_screen
    from trialsim.studies.conduct.bias import what_can_act
    from trialsim.studies.conduct.bias_calibration import plan_bias_calibration

    started = time.monotonic()
    if options.flaws:
        rule = "cannot stand beside --calibrate, which turns the whole dial"
        raise RequestError(Problem(rule, "Leave it out.", "--flaw", ", ".join(options.flaws)))
    if not options.calibrate:
        rule, remedy = "needs --calibrate", "It says which published ratios are meant."
        raise RequestError(Problem(rule, remedy, "--outcomes", options.outcomes))
    if options.strength is not None:
        rule = "cannot stand beside --calibrate, which turns the whole dial"
        remedy = "Leave it out; the strengths that published ratios need are the answer."
        raise RequestError(Problem(rule, remedy, "--strength", options.strength))
    profile = load_conduct(options.conduct or "poor", resolved.evidence)
    if not (options.conduct or only):
        profile = what_can_act(resolved, profile)
    planned = plan_bias_calibration(
        resolved, profile, options.scenarios, only=only, outcomes=options.outcomes
    )
    folder = run_folder(resolved, options)
    jobs = [dial.job for dial in planned.dials]
    result = simulated(planned, jobs, options)
    given = {
        name: getattr(options, name) for name in ("calibrate", "only", "outcomes", "replicates")
    }
    stated = profile.model_dump(mode="json", exclude_none=True)
    arguments = arguments_of(options, scenario=options.scenarios, conduct=stated, **given)
    document = Document.of_study(resolved, result, arguments, options.seed, command="bias")
    shown = bias_calibration_screen(planned, result, options.seed, program_name())

    def figures() -> Figures:
        return {"dials": bias_calibration_figure(planned, result)}

    hand_over(options, document, shown, folder, figures, started)


def synthesise(options: argparse.Namespace) -> None:
    """Simulate a literature, and pool it by stratum."""
    from trialsim.engine.run import check_request
    from trialsim.figures.one_literature import literature_figures
    from trialsim.figures.synthesis import synthesis_figure
    from trialsim.protocol.reading.load import literature_of, load_literature
    from trialsim.report.literature_table import check_place
    from trialsim.report.screens.synthesis_screen import synthesis_screen
    from trialsim.studies.literature.literature_trials import simulated_literatures
    from trialsim.studies.literature.one_literature import ONE_LITERATURE, one_literature
    from trialsim.studies.literature.synthesis import odds_ratios_from_words, plan_synthesis

    if options.students is not None:
        _class_synthesis(options)
        return
    _refuse_without_class(options)
    if options.observed or options.records or Path(options.literature or "").suffix == ".csv":
        _published_synthesis(options)
        return
    options.replicates = 4_000 if options.replicates is None else options.replicates
    started = time.monotonic()
    check_request(options.replicates, options.seed)
    if options.export:
        check_place(options.export)
    resolved = load(options)
    name = options.literature or literature_of(resolved.template.id)
    literature = load_literature(name, resolved.evidence)
    ratios = odds_ratios_from_words(options.true_or) if options.true_or else ()
    split = options.split or ""
    planned = plan_synthesis(resolved, literature, split=split, odds_ratios=ratios)
    folder = run_folder(resolved, options)
    result = with_progress(
        lambda on_progress: planned.result(
            replicates=options.replicates, seed=options.seed, on_progress=on_progress
        )
    )
    given = {name: getattr(options, name) for name in ("split", "true_or", "replicates")}
    stated = literature.model_dump(mode="json", exclude_none=True)
    used = {p.id: p.model_dump(mode="json", exclude_none=True) for p in planned.profiles}
    arguments = arguments_of(options, literature=stated, conduct=used, **given)
    two = one_literature(planned, options.seed) if len(planned.sets) > 1 else None
    texts = {ONE_LITERATURE: two.in_words()} if two else {}
    kept = replace(result, texts={**result.texts, **texts})
    document = Document.of_study(resolved, kept, arguments, options.seed, command="synthesise")
    shown = synthesis_screen(planned, result, options.seed, program_name())
    if options.export:
        literatures = simulated_literatures(planned, options.replicates, options.seed)
        shown += _exported(literatures, options)

    def figures() -> Figures:
        drawn = {"gap": synthesis_figure(planned, result)} if planned.observed else {}
        return {**drawn, **literature_figures(two)} if two else drawn

    hand_over(options, document, shown, folder, figures, started)


def _class_synthesis(options: argparse.Namespace) -> None:
    """Pool the trials that the students of a class replay."""
    from trialsim.engine.run import check_request
    from trialsim.figures.classroom import class_figure
    from trialsim.report.literature_table import check_place
    from trialsim.report.screens.class_screen import class_screen
    from trialsim.studies.literature.classroom import plan_class
    from trialsim.studies.literature.literature_trials import class_literatures

    started = time.monotonic()
    check_request(1, options.seed)
    _refuse_beside_class(options)
    if options.export:
        check_place(options.export)
    if options.total is not None:
        options.settings = [*options.settings, f"protocol.sample_size={{total: {options.total}}}"]
    resolved = load(options)
    profile, only = flaws_of(options, resolved)
    planned = plan_class(
        resolved, options.students, conduct=profile, only=only, scenarios=options.scenarios
    )
    folder = run_folder(resolved, options)
    trials = planned.trials(options.seed)
    result = planned.result(trials)
    stated = planned.conduct.model_dump(mode="json", exclude_none=True)
    arguments = arguments_of(options, scenario=[planned.scenario.id], conduct=stated)
    arguments["class"] = options.students
    document = Document.of_study(resolved, result, arguments, options.seed, command="synthesise")
    command = _students_command(options, planned.scenario.id)
    exported = _exported(class_literatures(planned, trials), options) if options.export else ""

    def shown() -> str:
        return class_screen(planned, result, command, program_name()) + exported

    def figures() -> Figures:
        return {"class": class_figure(planned, trials)}

    hand_over(options, document, shown, folder, figures, started)


def _exported(literatures: Iterable[OneLiterature], options: argparse.Namespace) -> str:
    """Write literatures as --export asks; return how R pools the first, and where it is cut."""
    from trialsim.report.literature_table import how_to_pool_one_in_r, write_literatures
    from trialsim.report.text import wrapped
    from trialsim.studies.literature.literature_trials import MOST_EXPORTED

    written = write_literatures(literatures, options.export)
    say(f"wrote {written.path}: {written.n:,} literatures")
    cut = ""
    if (options.replicates or 0) > MOST_EXPORTED:
        cut = wrapped(
            f"Exported: the first {MOST_EXPORTED} of {options.replicates:,} literatures of each "
            "conduct and truth."
        )
    return f"\n\n{cut}\nin R:  {how_to_pool_one_in_r(written)}".replace("\n\n\n", "\n\n")


def _students_command(options: argparse.Namespace, scenario: str) -> str:
    """Return what a student types; ``i`` stands for the student's number."""
    words = ["replay", options.template]
    words += ["--variant", options.variant] if options.variant else []
    settings = options.settings[:-1] if options.total is not None else options.settings
    for name, values in (("--set", settings), ("--evidence", options.evidence_files)):
        words += [word for value in values for word in (name, str(value))]
    words += [word for flaw in options.flaws for word in ("--flaw", flaw)]
    for name in ("total", "conduct", "only", "strength"):
        value = getattr(options, name)
        words += [f"--{name}", f"{value:g}" if name == "strength" else str(value)] if value else []
    words += ["--scenario", scenario, "--seed", str(options.seed)]
    return f"{program_name()} {shlex.join(words)} --replicate i"


def _refuse_without_class(options: argparse.Namespace) -> None:
    problems = [
        Problem("is of a class", "Add --class 40, or leave it out.", f"--{name}", str(value))
        for name, value in (
            ("total", options.total),
            ("conduct", options.conduct),
            ("flaw", ", ".join(options.flaws) or None),
            ("only", options.only),
            ("strength", options.strength),
            ("scenario", ", ".join(options.scenarios) or None),
        )
        if value is not None
    ]
    if problems:
        raise RequestError(problems)


def _refuse_beside_class(options: argparse.Namespace) -> None:
    problems = [
        Problem(
            "cannot stand beside --class",
            f"{why}: leave it out.",
            f"--{name}",
            "" if value is True else str(value),
        )
        for name, value, why in (
            ("literature", options.literature, "A class has trials of its own"),
            ("observed", options.observed or None, "A class has trials of its own"),
            ("record", ", ".join(options.records) or None, "A class has trials of its own"),
            ("split", options.split, "Its trials are all of one kind"),
            ("true-or", options.true_or, "--scenario names the truth"),
            ("replicates", options.replicates, "There are as many trials as students"),
        )
        if value is not None
    ]
    if problems:
        raise RequestError(problems)


def _published_synthesis(options: argparse.Namespace) -> None:
    """Pool published trials as they are."""
    from trialsim.engine.run import check_request
    from trialsim.figures.published_synthesis import funnel_figure, pooled_forest_figure
    from trialsim.protocol.published.trials import read_trials, recorded_trials, split_from_word
    from trialsim.report.published_table import how_to_pool_in_r, write_published_table
    from trialsim.report.screens.published_synthesis_screen import published_synthesis_screen
    from trialsim.studies.literature.published_models import with_models
    from trialsim.studies.literature.published_synthesis import PublishedSynthesis

    check_request(1, options.seed)
    _refuse_beside_published(options)
    resolved = load(options)
    table = Path(options.literature) if options.literature else None
    found = read_trials(table, resolved) if table else recorded_trials(resolved, options.records)
    planned = PublishedSynthesis(resolved, found, split_from_word(options.split))
    result = with_models(planned)
    folder = run_folder(resolved, options)
    given: dict[str, Any] = {"observed": table is None, "record": options.records}
    if table:
        given |= {"table": table.name, "table_sha256": sha256(table.read_bytes()).hexdigest()}
    arguments = arguments_of(options, split=options.split, **given)
    document = Document.of_study(resolved, result, arguments, options.seed, command="synthesise")
    if options.export:
        say(f"wrote {write_published_table(planned, options.export)}")
    shown = published_synthesis_screen(planned, result, program_name())
    print_out(document.to_json() if options.json else shown)
    if options.export and not options.json:
        print(f"\nin R:  {how_to_pool_in_r(options.export, planned)}")
    if folder:
        drawn = {"pooled": pooled_forest_figure(planned), "funnel": funnel_figure(planned)}
        with folder.begin():
            for path in folder.write(document, drawn):
                say(f"wrote {path}")


def _refuse_beside_published(options: argparse.Namespace) -> None:
    """Refuse what is about simulated literatures, and two sources at once."""
    problems = []
    for name, value in (("--true-or", options.true_or), ("--replicates", options.replicates)):
        if value is not None:
            rule, remedy = "is of simulated literatures", "Leave it out: nothing is simulated."
            problems.append(Problem(rule, remedy, name, str(value)))
    if options.literature and (options.observed or options.records):
        rule = "names another source beside published records"
        remedy = "Keep --literature, or --observed and --record."
        problems.append(Problem(rule, remedy, "--literature", str(options.literature)))
    if problems:
        raise RequestError(problems)


def reconcile(options: argparse.Namespace) -> None:
    """Weigh what could explain conflicting results; without a template, say which there are."""
    if options.template is None and options.conflict is None:
        _conflicts(options)
        return
    from trialsim.engine.run import check_request
    from trialsim.figures.reconciliation import (
        predictive_check_figure,
        quantities_figure,
        reconciliation_figure,
    )
    from trialsim.protocol.reading.catalogue import template_paths
    from trialsim.protocol.reading.load import conflicts_of, load_reconciliation
    from trialsim.report.screens.reconciliation_screen import (
        priors_in_words,
        reconciliation_screen,
    )
    from trialsim.studies.conflict.reconciliation import plan_reconciliation
    from trialsim.studies.conflict.reconciliation_result import reconciliation_result

    started = time.monotonic()
    check_request(1, options.seed)
    _refuse_of_protocol(options)
    if options.template is None:
        options.template = load_reconciliation(options.conflict).template
    resolved = load(options)
    others = conflicts_of(resolved.template.id) if options.conflict is None else ()
    file = load_reconciliation(options.conflict or others[0], resolved.evidence)
    if file.template not in (resolved.template.id, *template_paths()):
        remedy = did_you_mean(file.template, template_paths(), "'trialsim list' says which.")
        rule = "names no template, shipped or given on the command line"
        where = f"template of {options.conflict}"
        raise RequestError(Problem(rule, remedy, where, f"'{file.template}'"))
    planned = plan_reconciliation(file, resolved.evidence, options.priors)
    folder = run_folder(resolved, options)
    n, draws = (300, 4_000) if options.quick else (2_000, 20_000)
    result = reconciliation_result(planned, n, draws, options.seed)
    result = replace(result, texts={**result.texts, "priors": priors_in_words(planned)})
    if file.template != resolved.template.id:
        said = f"Of {file.template}, by --conflict: nothing of {resolved.template.id} enters."
        result = replace(result, texts={"template": said, **result.texts})
    stated = file.model_dump(mode="json", exclude_none=True)
    arguments = arguments_of(options, conflict=stated, prior=options.priors, replicates=n)
    document = Document.of_study(resolved, result, arguments, options.seed, command="reconcile")
    shown = reconciliation_screen(planned, result, others[1:])

    def figures() -> Figures:
        drawn = {"weights": reconciliation_figure(planned, result)}
        if planned.file.gap and planned.file.has_records:
            drawn["checks"] = predictive_check_figure(planned, result)
        if planned.file.has_records:
            drawn["quantities"] = quantities_figure(planned, result)
        return drawn

    hand_over(options, document, shown, folder, figures, started)


def _refuse_of_protocol(options: argparse.Namespace) -> None:
    """Refuse what changes a protocol: only records, and the file of the conflict, enter."""
    given = {"--set": options.settings, "--variant": options.variant}
    remedy = "Leave it out; to change what enters, copy the conflict's file and give --conflict."
    rule = "has no effect: of the template only its records enter"
    problems = [Problem(rule, remedy, name) for name, value in given.items() if value]
    if problems:
        raise RequestError(problems)


def _conflicts(options: argparse.Namespace) -> None:
    from trialsim.report.screens.further_files import conflict_rows, conflicts_listed

    if options.json:
        print_out(Document("reconcile", {}, rows=tuple(conflict_rows())).to_json())
        return
    print_out(conflicts_listed(program_name()))


def explain(options: argparse.Namespace) -> None:
    """Say what differs between two trials, and what each difference can carry of their gap."""
    from trialsim.engine.run import check_request
    from trialsim.figures.explanation import explanation_figure
    from trialsim.protocol.reading.load import evidence_with, load_template
    from trialsim.report.screens.explanation_screen import (
        explanation_lines,
        explanation_rows,
        explanation_texts,
    )
    from trialsim.studies.conflict.explanation import explain as explained
    from trialsim.studies.conflict.explanation import unexplained

    started = time.monotonic()
    check_request(options.replicates, options.seed)
    one, other = options.ids
    resolved, found = None, evidence_with(options.evidence_files)
    if template := options.template or _observing(one, other):
        resolved = load_template(template, evidence_files=options.evidence_files)
        found = resolved.evidence  # a file may state trials of its own
    if problems := unexplained((one, other), found):
        raise RequestError(problems)
    answer = explained(
        (one, other),
        found,
        resolved,
        outcomes=options.outcomes,
        replicates=options.replicates,
        seed=options.seed,
    )
    arguments = {"ids": [one, other], "replicates": options.replicates}
    arguments |= {"outcomes": options.outcomes} if options.outcomes else {}
    document = Document(
        "explain",
        arguments,
        resolved.template.id if resolved else None,
        resolved.sha256 if resolved else None,
        options.seed,
        rows=explanation_rows(answer),
        texts=explanation_texts(answer),
    )
    shown = explanation_lines(answer, program_name())
    folder = run_folder(resolved, options) if resolved else None

    def figures() -> Figures:
        return {"explained": explanation_figure(answer)}

    hand_over(options, document, shown, folder, figures, started)


def _observing(one: str, other: str) -> str | None:
    """Return the shipped protocol that observes both records, the first if several."""
    from trialsim.protocol.reading.catalogue import template_paths
    from trialsim.protocol.reading.load import load_template

    for name, path in template_paths().items():
        text = path.read_text(encoding="utf-8")
        if one in text and other in text:
            observed = load_template(name).template.observed
            if {one, other} <= {each.evidence for each in observed}:
                return name
    return None

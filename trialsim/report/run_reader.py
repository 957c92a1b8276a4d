"""A run read back and checked, for a report; of one that was stopped, what is there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from pydantic import ValidationError

from trialsim.engine.record import identity_sha256
from trialsim.engine.store import ChunkFolder
from trialsim.errors import Problem, RequestError
from trialsim.protocol.published.evidence import EvidenceFile
from trialsim.protocol.reading.load import shipped_evidence
from trialsim.protocol.template import Template
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.report.document import RESULT_FORMAT, Document
from trialsim.studies.simulation import PlannedSimulation, plan_simulation
from trialsim.trial import Kernel

__all__ = ["FinishedRun", "flawed_runs", "newest_run", "planned_run", "read_run"]

_NEEDED = {"protocol", "seed", "version", "arguments", "rows", "observed", "texts", "warnings"}
_DRAWING = {
    *("svg", "g", "path", "rect", "circle", "line", "polyline", "polygon", "text", "tspan"),
    *("use", "defs", "clipPath", "pattern", "style", "title", "desc", "metadata"),
    *("RDF", "Work", "type", "format", "creator", "Agent"),  # matplotlib's own metadata
}
_RUN_AGAIN = "Run the simulation again into a new folder."


@dataclass(frozen=True)
class FinishedRun:
    """One result of a run and what it was made from.

    Where the run was stopped before it had a result, `document` is made of the replicates that are
    there and has the key ``partial``.

    Attributes
    ----------
    record : dict
        ``record.json``.
    document : dict
        The result.
    resolved : ResolvedTemplate
    svgs : dict of str to str
        Its figures, by name.
    """

    folder: Path
    record: dict[str, Any]
    document: dict[str, Any]
    resolved: ResolvedTemplate
    svgs: dict[str, str]


def newest_run() -> Path:
    """Return the run under ``trialsim-runs`` whose record is newest.

    Raises
    ------
    RequestError
        If there is none.
    """
    records = sorted(Path("trialsim-runs").glob("*/record.json"), key=lambda p: p.stat().st_mtime)
    if not records:
        raise _refused("trialsim-runs", "holds no run", "Run 'trialsim simulate sepsis' first.")
    return records[-1].parent


def read_run(folder: Path) -> list[FinishedRun]:
    """Read every result of a run folder.

    Raises
    ------
    RequestError
        If the folder is empty, not a run, or no longer as it was written.
    """
    if not folder.is_dir():
        raise _refused(str(folder), "is not a folder", "Name the folder of a run, or 'last'.")
    if not any(folder.iterdir()):
        raise _refused(str(folder), "is empty", "Name the folder of a run, or 'last'.")
    if not (folder / "record.json").is_file():
        raise _refused(str(folder), "is not the folder of a run", "It has no record.json.")
    record = _json(folder / "record.json")
    results = sorted((folder / "results").glob("*.sha256"))
    resolved = _resolved(folder, record)
    finished = [_one(folder, record, resolved, sums) for sums in results]
    asked = _last_request(folder)
    if asked and all(_asked_of(run) != asked for run in finished):
        stopped = _unfinished(folder, record, resolved, asked)
        finished += [stopped] if stopped else []
    if not finished and asked:
        remedy = "Run the same command again: it goes on from what is there."
        raise _refused(str(folder), "does not have one block of every scenario yet", remedy)
    if not finished:
        raise _refused(str(folder), "holds no finished result", _RUN_AGAIN)
    return finished


def _last_request(folder: Path) -> dict[str, Any] | None:
    requests = ChunkFolder(folder / "chunks", read_only=True).requests
    return next((r for r in reversed(requests) if r.get("command") == "simulate"), None)


def _asked_of(run: FinishedRun) -> dict[str, Any]:
    return {"command": run.document["command"], **run.document["arguments"]}


def _one(
    folder: Path, record: dict[str, Any], resolved: ResolvedTemplate, sums: Path
) -> FinishedRun:
    named: dict[str, Path] = {}
    svgs: dict[str, str] = {}
    for line in _text(sums).splitlines():
        digest, _, name = line.partition("  ")
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise _refused(str(folder / name), "is missing", _RUN_AGAIN)
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise _refused(str(folder / name), "was changed after the run", _RUN_AGAIN)
        if path.suffix == ".svg":
            svgs[path.stem.partition("-")[0]] = _drawing(path)
        elif name != "record.json":
            named[path.suffix] = path
    document = _json(named.get(".json", sums))
    missing = _NEEDED - set(document)
    if missing or document.get("format") != RESULT_FORMAT:
        raise _refused(str(named.get(".json", sums)), "is not a result of a run", _RUN_AGAIN)
    if document.get("protocol_sha256") != record.get("protocol_sha256"):
        raise _refused(str(folder), "mixes two protocols", _RUN_AGAIN)
    return FinishedRun(folder, record, document, resolved, svgs)


def planned_run(folder: Path) -> tuple[PlannedSimulation, ChunkFolder, int]:
    """Return the plan of a run, its chunks and its seed.

    Raises
    ------
    RequestError
        If it is no longer as it was written, or its kernel is not installed.
    """
    record = _json(folder / "record.json")
    plan = plan_simulation(_resolved(folder, record))
    plan = plan.computed_by(_kernel_of(folder, record), recorded=True)
    return plan, ChunkFolder(folder / "chunks", read_only=True), int(record["seed"])


def flawed_runs(folder: Path) -> list[FinishedRun]:
    """Return the results of ``trialsim bias`` in a run folder, checked as `read_run` does.

    Raises
    ------
    RequestError
        If one is no longer as it was written.
    """
    results = sorted((folder / "results").glob("bias*.sha256"))
    if not results:
        return []
    record = _json(folder / "record.json")
    resolved = _resolved(folder, record)
    return [_one(folder, record, resolved, sums) for sums in results]


def _unfinished(
    folder: Path, record: dict[str, Any], resolved: ResolvedTemplate, request: dict[str, Any]
) -> FinishedRun | None:
    """Read what a run that was stopped has found so far; None for not a single block."""
    chunks = ChunkFolder(folder / "chunks", read_only=True)
    arguments = {key: value for key, value in request.items() if key != "command"}
    scenarios, asked = arguments.get("scenario", []), arguments.get("replicates")
    asked = arguments.get("max_replicates") if asked is None else asked
    if not (isinstance(scenarios, list) and isinstance(asked, int) and asked > 0):
        raise _refused(str(folder), "asks for something no run asks for", _RUN_AGAIN)
    plan = plan_simulation(resolved, [str(name) for name in scenarios])
    plan = plan.computed_by(_kernel_of(folder, record), installed=False)
    result = plan.read(chunks, record["seed"], asked)
    if result is None:
        return None
    partial = {"replicates": result.n_replicates, "asked": asked}
    document = Document.of_study(resolved, result, arguments, record["seed"], partial=partial)
    return FinishedRun(folder, record, json.loads(document.to_json()), resolved, {})


def _kernel_of(folder: Path, record: dict[str, Any]) -> Kernel:
    try:
        return Kernel(record["kernel"])
    except (KeyError, ValueError):
        raise _refused(f"{folder}/record.json", "names no kernel of ours", _RUN_AGAIN) from None


def _drawing(path: Path) -> str:
    svg = _text(path)
    if not _harmless(svg):
        raise _refused(str(path), "holds more than a drawing", _RUN_AGAIN)
    return svg


def _harmless(svg: str) -> bool:
    """Whether an SVG only draws: a run may come from somebody else."""
    if "<!ENTITY" in svg:
        return False
    try:
        root = ElementTree.fromstring(svg)  # noqa: S314  (no entities, and expat expands no others)
    except ElementTree.ParseError:
        return False
    for element in root.iter():
        if element.tag.rpartition("}")[2] not in _DRAWING:
            return False
        for name, value in element.attrib.items():
            bare = name.rpartition("}")[2]
            leads_away = bare == "href" and not value.startswith("#")
            if bare.startswith("on") or leads_away or "url(" in value.replace("url(#", ""):
                return False
    styles = [element.text or "" for element in root.iter() if element.tag.endswith("}style")]
    return not any("url(" in style or "@import" in style for style in styles)


def _resolved(folder: Path, record: dict[str, Any]) -> ResolvedTemplate:
    try:
        template = Template.model_validate(record["protocol"])
        more = EvidenceFile.model_validate({"schema_version": 1, "evidence": record["evidence"]})
    except (KeyError, ValidationError):
        raise _refused(str(folder), "holds no protocol this version can read", _RUN_AGAIN) from None
    evidence = shipped_evidence().with_more(more.evidence, template.conflicts)
    resolved = ResolvedTemplate(template, evidence)
    told = identity_sha256(resolved.sha256, record.get("seed"), record.get("versions"))
    if resolved.sha256 != record.get("protocol_sha256") or told != record.get("sha256"):
        raise _refused(f"{folder}/record.json", "was changed after the run", _RUN_AGAIN)
    return resolved


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(path))
    except (ValueError, RecursionError):
        raise _refused(str(path), "cannot be read", _RUN_AGAIN) from None
    if not isinstance(content, dict):
        raise _refused(str(path), "is not what a run writes", _RUN_AGAIN)
    return content


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise _refused(str(path), "cannot be read", _RUN_AGAIN) from None


def _refused(value: str, rule: str, remedy: str) -> RequestError:
    return RequestError(Problem(rule, remedy, field="RUN", value=value))

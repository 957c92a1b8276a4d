"""A file (or the id of a shipped one) -> a complete, checked, frozen template.

Loading resolves once: variant and ``--set`` are merged in, every reference is followed, and what
comes out needs nothing more from the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trialsim.errors import Problem, ProtocolError, RequestError, did_you_mean
from trialsim.protocol.conduct import Conduct
from trialsim.protocol.published.evidence import EvidenceFile
from trialsim.protocol.published.literature import Literature
from trialsim.protocol.reading.catalogue import (
    Evidence,
    conduct_paths,
    evidence_paths,
    literature_paths,
    reconciliation_paths,
    template_paths,
)
from trialsim.protocol.reading.nodes import (
    ListNode,
    MapNode,
    Mark,
    Node,
    ScalarNode,
    find,
    identifier,
    merge,
    nulls,
    plain,
    read_file,
    read_text,
)
from trialsim.protocol.reading.problems import keys_at, problem_at, problem_of
from trialsim.protocol.reconciliation import Reconciliation
from trialsim.protocol.rules.checks import check_rules
from trialsim.protocol.rules.estimands import estimand_rules
from trialsim.protocol.rules.literature import literature_rules
from trialsim.protocol.rules.modifiers import modifier_rules
from trialsim.protocol.rules.reconciliation import reconciliation_rules
from trialsim.protocol.rules.template import (
    Broken,
    broken_references,
    broken_rules,
    cited_ids,
    conflict_rules,
    evidence_rules,
)
from trialsim.protocol.template import Template
from trialsim.protocol.truths.resolved import ResolvedTemplate, Setting

__all__ = [
    "TemplateFile",
    "check_file",
    "conflicts_of",
    "evidence_with",
    "json_schemas",
    "load_conduct",
    "literature_of",
    "load_literature",
    "load_reconciliation",
    "load_template",
    "shipped_evidence",
]


_RECORD_ID = re.compile(r"^  - id: (\S+)$", flags=re.MULTILINE)
_MOST = 50  # problems shown of one file; nobody mends more at a time


def load_template(
    name: str,
    *,
    variant: str = "",
    settings: Sequence[str] = (),
    evidence_files: Sequence[Path] = (),
) -> ResolvedTemplate:
    """Load a shipped template by id, or any protocol file by path.

    Parameters
    ----------
    name : str
        Id or path.
    variant : str
        Id of one of the file's variants.
    settings : sequence of str
        ``PATH=VALUE`` changes; list items by id.
    evidence_files : sequence of Path
        More evidence, in the format of `protocols/evidence/`.

    Raises
    ------
    ProtocolError
        Everything that is wrong with the file, at once.
    RequestError
        For an unknown id, variant or setting.
    """
    return _resolve(read_file(_path_of(name)), evidence_with(evidence_files), variant, settings)


@dataclass(frozen=True)
class TemplateFile:
    """A protocol file that is to be changed: its text, and what it says.

    Attributes
    ----------
    name : str
        As it was asked for.
    text : str
    settings : tuple of str
        ``PATH=VALUE`` changes, made to the file and to every variant of it.
    evidence_files : tuple of Path
    variant : str
        Id of the variant it is read with; empty for none.
    """

    name: str
    text: str
    settings: tuple[str, ...] = ()
    evidence_files: tuple[Path, ...] = ()
    variant: str = ""

    @classmethod
    def of(
        cls,
        name: str,
        settings: Sequence[str] = (),
        evidence_files: Sequence[Path] = (),
        variant: str = "",
    ) -> TemplateFile:
        """Read a shipped template by id, or a file by path (ProtocolError, RequestError)."""
        path = _path_of(name)
        read_file(path)  # refuses what is no such file
        text = path.read_text(encoding="utf-8-sig")
        return cls(name, text, tuple(settings), tuple(evidence_files), variant)

    def tree(self, variant: str = "") -> dict[str, Any]:
        """Return the file as plain data: its variant, another one, then the settings merged in."""
        root = read_text(self.text, Path(self.name).name)
        for name in (self.variant, variant):
            root = merge(root, _patch_of(root, name)) if name else root
        for setting in self.settings:
            root, _ = _set(root, setting)
        found = plain(root)
        assert isinstance(found, dict)  # it has been loaded before
        return found

    def resolved(self, tree: dict[str, Any], variant: str = "") -> ResolvedTemplate:
        """Load plain data as the file it would make (ProtocolError)."""
        root = read_text(json.dumps(tree, ensure_ascii=False), Path(self.name).name)
        loaded = _resolve(root, evidence_with(self.evidence_files))
        return replace(loaded, variant=variant or self.variant)

    def broken_variants(self, tree: dict[str, Any]) -> tuple[str, ...]:
        """Return the ids of the variants that cannot be merged into plain data."""
        root = read_text(json.dumps(tree, ensure_ascii=False), Path(self.name).name)
        found, evidence = [], evidence_with(self.evidence_files)
        for variant in tree.get("variants", ()):
            try:
                _validated(merge(root, _patch_of(root, variant["id"])), evidence)
            except ProtocolError:
                found.append(variant["id"])
        return tuple(found)


def _resolve(
    root: Node, evidence: Evidence, variant: str = "", settings: Sequence[str] = ()
) -> ResolvedTemplate:
    chosen, changes = root, []
    if variant:
        _validated(root, evidence)  # a broken base is reported as such
        chosen = merge(root, _patch_of(root, variant))
    for text in settings:
        chosen, change = _set(chosen, text)
        changes.append(change)
    template = _validated(chosen, evidence)
    return ResolvedTemplate(
        template, evidence.with_more(template.evidence, template.conflicts), variant, tuple(changes)
    )


def check_file(name: str, evidence_files: Sequence[Path] = ()) -> ResolvedTemplate:
    """Load a file and try every variant on it.

    Raises
    ------
    ProtocolError
        With the problems of the file itself, or else those a variant brings.
    """
    root = read_file(_path_of(name))
    evidence = _gathered(evidence_files, _cited_by(root))
    loaded = _resolve(root, evidence)
    problems: list[Problem] = []
    for variant in loaded.template.variants:
        try:
            _validated(merge(root, _patch_of(root, variant.id)), evidence)
        except ProtocolError as error:
            problems += [
                replace(p, rule=f"{p.rule} (with variant '{variant.id}')") for p in error.problems
            ]
    if problems:
        raise ProtocolError(problems)
    return loaded


def _path_of(name: str) -> Path:
    shipped = template_paths()
    if name in shipped:
        return shipped[name]
    path = Path(name)
    if "/" in name or "\\" in name or path.suffix in (".yaml", ".yml") or _exists(path):
        return path
    raise RequestError(
        Problem(
            "is not a template or a file",
            did_you_mean(
                name, shipped, "'trialsim list' shows the templates; a file needs its path."
            ),
            value=f"'{name}'",
            field="TEMPLATE",
        )
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name no file system takes
        return False


def _patch_of(root: Node, variant: str) -> Node:
    variants, *_ = find(root, ("variants",))
    items = variants.items if isinstance(variants, ListNode) else []
    known = [name for item in items if (name := identifier(item))]
    if variant not in known:
        listed = f"Its variants are {', '.join(known)}." if known else "It has no variants."
        raise RequestError(
            Problem(
                "is not a variant of this protocol",
                did_you_mean(variant, known, listed),
                field="--variant",
                value=f"'{variant}'",
            )
        )
    patch, *_ = find(items[known.index(variant)], ("patch",))
    return patch


def _set(root: Node, text: str) -> tuple[Node, Setting]:
    """Return the tree with one value replaced, added or (by null) removed."""
    path, equals, value_text = text.partition("=")
    option = Mark(f"--set {text}")
    if not equals or not path or not value_text.strip():
        raise RequestError(
            option.problem("must be PATH=VALUE", "Write for example --set nature.control_risk=0.3.")
        )
    new = read_text(value_text, option.file, line=None)
    before = "nothing"

    def replaced(node: Node, keys: list[str], walked: str) -> Node:
        nonlocal before
        key, rest = keys[0], keys[1:]
        if isinstance(node, ListNode):
            names = [identifier(item) or str(i) for i, item in enumerate(node.items)]
            if key not in names:
                raise RequestError(
                    option.problem(
                        f"has no item '{key}' in {walked}",
                        did_you_mean(key, names, f"It has {', '.join(names)}."),
                    )
                )
            at = names.index(key)
            before = before if rest else _in_words(node.items[at])
            item = replaced(node.items[at], rest, f"{walked}.{key}") if rest else new
            removed = isinstance(item, ScalarNode) and item.value is None
            kept = [] if removed else [item]
            return ListNode([*node.items[:at], *kept, *node.items[at + 1 :]], node.mark)
        if not isinstance(node, MapNode) or (rest and key not in node.entries):
            known = list(node.entries) if isinstance(node, MapNode) else []
            raise RequestError(
                option.problem(
                    f"has no '{key}' in {walked or 'the file'}",
                    did_you_mean(key, known, "'trialsim show' prints what it has."),
                )
            )
        entries, marks = dict(node.entries), {**node.key_marks, key: option}
        if rest:
            entries[key] = replaced(node.entries[key], rest, f"{walked}.{key}".strip("."))
            marks[key] = node.key_marks[key]
        elif (
            key == "value" and key in entries and set(entries) <= {"value", "source", "note"}
        ):  # a changed number loses its source
            before = _in_words(node)
            entries = {"value": new}
        else:
            before = _in_words(entries[key]) if key in entries else before
            entries[key] = new
            if isinstance(new, ScalarNode) and new.value is None:
                del entries[key]
        return MapNode(entries, node.mark, marks)

    changed = replaced(root, path.split("."), "")
    return changed, Setting(path, value_text.strip(), before)


def _in_words(node: Node) -> str:
    value = plain(node)
    if isinstance(value, dict) and "value" in value:
        return f"{value['value']}, {value.get('source', 'assumed')}"
    return str(node) if isinstance(node, ScalarNode) else json.dumps(value)


def _validated(root: Node, evidence: Evidence) -> Template:
    """Validate structure, references and rules; collect everything that is wrong."""
    template, errors = _structure(root, Template)
    problems = _empty_values(root) + [problem_of(e, root, Template) for e in errors]
    right_spelling = root
    for location, right in islice(
        _misspelt(errors, root), 5
    ):  # look past a typo for further mistakes
        right_spelling = _renamed(right_spelling, location, right)
    references = broken_references(plain(right_spelling), evidence.known_ids)
    found = list(islice(references, _MOST))
    as_meant = template or _structure(right_spelling, Template)[0]
    if as_meant is not None:
        everything = evidence.with_more(as_meant.evidence, as_meant.conflicts)
        found += broken_rules(as_meant, everything)
        found += estimand_rules(as_meant)
        found += modifier_rules(as_meant, everything, resolvable=not (found or problems))
    problems += _problems(found, right_spelling)
    if template is None or problems:
        raise ProtocolError(_in_order(problems))
    return template


def _empty_values(root: Node) -> list[Problem]:
    return [
        problem_at(
            location, root, "has no value", "Write one, or remove the key.", show_value=False
        )
        for location in nulls(root)
    ]


Model = TypeVar("Model", bound=BaseModel)


def _structure(root: Node, model: type[Model]) -> tuple[Model | None, list[ErrorDetails]]:
    """Validate against the models alone; errors about empty values are reported elsewhere."""
    try:
        return model.model_validate(plain(root)), []
    except ValidationError as error:
        return None, _first_causes(error.errors(include_url=False)[: 4 * _MOST], set(nulls(root)))[
            :_MOST
        ]


def _first_causes(
    errors: list[ErrorDetails], empty: set[tuple[str | int, ...]]
) -> list[ErrorDetails]:
    """Leave out what only follows: from an empty value, or a list short of its broken items."""
    locations = [tuple(error["loc"]) for error in errors]

    def follows(error: ErrorDetails) -> bool:
        here = tuple(error["loc"])
        inside = any(len(other) > len(here) and other[: len(here)] == here for other in locations)
        return any(here[: len(e)] == e for e in empty) or (error["type"] == "too_short" and inside)

    return [error for error in errors if not follows(error)]


def _misspelt(
    errors: list[ErrorDetails], root: Node
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield unknown keys that are close to a key which is not there, and that key."""
    for error in errors:
        location = tuple(error["loc"])
        parent, _, _, rest = find(root, location[:-1])
        if error["type"] == "extra_forbidden" and not rest and isinstance(parent, MapNode):
            free = keys_at(location[:-1], Template) - set(parent.entries)
            if guess := did_you_mean(str(location[-1]), free, ""):
                yield location, guess.split("'")[1]


def _renamed(node: Node, location: tuple[str | int, ...], right: str) -> Node:
    head, rest = location[0], location[1:]
    if isinstance(node, ListNode) and isinstance(head, int):
        items = list(node.items)
        items[head] = _renamed(items[head], rest, right)
        return ListNode(items, node.mark)
    if not isinstance(node, MapNode) or head not in node.entries:
        return _renamed(node, rest, right) if rest else node  # a branch of a tagged union
    entries = {}
    for key, value in node.entries.items():
        if key != head:
            entries[key] = value
        elif rest:
            entries[key] = _renamed(value, rest, right)
        else:
            entries[right] = value
    return MapNode(entries, node.mark, {**node.key_marks, right: node.key_marks[str(head)]})


def _problems(found: Iterable[Broken], root: Node) -> list[Problem]:
    return [problem_at(b.location, root, b.rule, b.remedy) for b in found]


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    unique = {(p.file, p.line, p.field): p for p in reversed(list(problems))}
    return sorted(unique.values(), key=lambda p: (p.file, p.line or 0, p.field))[:_MOST]


def _read_evidence(path: Path, contradictions: bool) -> tuple[EvidenceFile, Node]:
    root = read_file(path)
    found, errors = _structure(root, EvidenceFile)
    problems = _empty_values(root) + [problem_of(e, root, EvidenceFile) for e in errors]
    if found is not None:
        rules = evidence_rules(found.evidence, contradictions=contradictions)
        problems += _problems(rules, root)
    if found is None or problems:
        raise ProtocolError(_in_order(problems))
    return found, root


def load_conduct(name: str, evidence: Evidence | None = None) -> Conduct:
    """Load a profile of conduct: a shipped one by id, or any file by path.

    Parameters
    ----------
    name : str
    evidence : Evidence, optional
        What it may cite; the shipped records unless stated.

    Raises
    ------
    ProtocolError
        Everything that is wrong with the file, at once.
    RequestError
        For an unknown id.
    """
    root = _shipped_or_file(name, conduct_paths(), "is no profile of conduct", "--conduct")
    found, problems = _citing(root, Conduct, evidence or shipped_evidence())
    if found is None or problems:
        raise ProtocolError(_in_order(problems))
    return found


def _shipped_or_file(name: str, shipped: dict[str, Path], rule: str, option: str) -> Node:
    path = Path(name)
    if name not in shipped and not (path.suffix in (".yaml", ".yml") or _exists(path)):
        remedy = did_you_mean(name, shipped, f"Name {', '.join(shipped)}, or a file by its path.")
        raise RequestError(Problem(rule, remedy, option, f"'{name}'"))
    return read_file(shipped.get(name, path))


def _citing(
    root: Node, model: type[Model], evidence: Evidence
) -> tuple[Model | None, list[Problem]]:
    """Return a file as a model that may cite evidence, and what is wrong with it."""
    found, errors = _structure(root, model)
    problems = _problems(broken_references(plain(root), evidence.known_ids), root)
    return found, problems + _empty_values(root) + [problem_of(e, root, model) for e in errors]


def load_literature(name: str, evidence: Evidence | None = None) -> Literature:
    """Load a literature: a shipped one by id, or any file by path.

    Parameters
    ----------
    name : str
    evidence : Evidence, optional
        What it may cite; the shipped records unless stated.

    Raises
    ------
    ProtocolError
        Everything that is wrong with the file, at once.
    RequestError
        For an unknown id.
    """
    root = _shipped_or_file(name, literature_paths(), "is no literature", "--literature")
    evidence = evidence or shipped_evidence()
    found, problems = _citing(root, Literature, evidence)
    if found is not None:
        problems += _problems(literature_rules(found, evidence), root)
    if found is None or problems:
        raise ProtocolError(_in_order(problems))
    return found


def literature_of(template: str) -> str:
    """Return the id of the shipped literature that a template asks for (RequestError)."""
    for name in literature_paths():
        if load_literature(name).template == template:
            return name
    remedy = f"Name one: --literature {next(iter(literature_paths()))}, or a file by its path."
    raise RequestError(Problem("is needed: none ships for this", remedy, "--literature", template))


def load_reconciliation(name: str, evidence: Evidence | None = None) -> Reconciliation:
    """Load a reconciliation: a shipped one by id, or any file by path.

    Parameters
    ----------
    name : str
    evidence : Evidence, optional
        What it may cite; the shipped records unless stated.

    Raises
    ------
    ProtocolError
        Everything that is wrong with the file, at once.
    RequestError
        For an unknown id.
    """
    root = _shipped_or_file(name, reconciliation_paths(), "is no reconciliation", "--conflict")
    evidence = evidence or shipped_evidence()
    found, problems = _citing(root, Reconciliation, evidence)
    if found is not None:
        problems += _problems(reconciliation_rules(found, evidence), root)
    if found is None or problems:
        raise ProtocolError(_in_order(problems))
    return found


def conflicts_of(template: str) -> tuple[str, ...]:
    """Return the shipped reconciliations of a template, its own name first (RequestError)."""
    shipped = list(reconciliation_paths())
    found = [name for name in shipped if load_reconciliation(name).template == template]
    if not found:
        rule = "is needed: none ships for this"
        remedy = f"Write a file and name its path; there are {', '.join(shipped)}."
        raise RequestError(Problem(rule, remedy, "--conflict", template))
    return tuple(sorted(found, key=lambda name: (name != template, name)))


@lru_cache(maxsize=1)
def shipped_evidence() -> Evidence:
    """Return every record that comes with the package."""
    return _gathered(evidence_paths(), Evidence())


def evidence_with(paths: Sequence[Path], *, contradictions: bool = True) -> Evidence:
    """Return the shipped evidence and that of these files.

    Without `contradictions` an interval that excludes its estimate is read as it stands, for a
    check whose answer it is.
    """
    return _gathered(paths, shipped_evidence(), contradictions=contradictions)


def _cited_by(root: Node) -> Evidence:
    """Return the shipped evidence as far as a file cites it: reading all takes a tenth of a second.

    Ids that are not read are known all the same, without their records.
    """
    files = {path: record_ids(path) for path in evidence_paths()}
    cited = set(cited_ids(plain(root)))
    wanted = [path for path, ids in files.items() if ids & cited]
    return _gathered(wanted, Evidence(unread=frozenset().union(*files.values())))


def record_ids(path: Path) -> set[str]:
    """Return the ids of a shipped file's records without parsing it."""
    records, _, _ = path.read_text(encoding="utf-8").partition("\nconflicts:")
    return set(_RECORD_ID.findall(records))


def _gathered(
    paths: Iterable[Path], evidence: Evidence, *, contradictions: bool = True
) -> Evidence:
    paths = list(paths)
    shipped = set(paths) <= set(evidence_paths())
    files = [_read_evidence(path, contradictions) for path in paths]
    for found, root in files:
        taken = [
            Broken(
                ("evidence", index, "id"), "is already the id of another record", "Rename yours."
            )
            for index, record in enumerate(found.evidence)
            if record.id in evidence.records or (not shipped and record.id in evidence.unread)
        ]
        if taken:
            raise ProtocolError(_in_order(_problems(taken, root)))
        evidence = evidence.with_more(found.evidence, found.conflicts, _records_of(root))
    for found, root in files:  # after all are read, since records may cite one another across files
        own = {record.id for record in found.evidence}
        others = [name for name in evidence.known_ids if name not in own]
        problems = _problems(broken_references(plain(root), others), root)
        problems += _problems(conflict_rules(found.conflicts, evidence), root)
        problems += _problems(check_rules(found.evidence, evidence), root)
        if problems:
            raise ProtocolError(_in_order(problems))
    return evidence


def _records_of(root: Node) -> list[Node]:
    records = root.entries.get("evidence") if isinstance(root, MapNode) else None
    return records.items if isinstance(records, ListNode) else []


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schemas (draft 2020-12) of a protocol file and of an evidence file."""
    models: dict[str, type[BaseModel]] = {"protocol": Template, "evidence": EvidenceFile}
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {name: dialect | model.model_json_schema() for name, model in models.items()}

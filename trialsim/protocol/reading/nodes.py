"""YAML text -> a tree that remembers where everything stood.

Files are untrusted: one document, at most 1 MB, no anchors, aliases or tags, no duplicate keys,
bounded depth. Scalars follow the YAML 1.2 core schema, so ``no`` is a word and ``1e-3`` a number
(PyYAML's own resolver is YAML 1.1 and is not used).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from trialsim.errors import Problem, ProtocolError

__all__ = [
    "MAX_BYTES",
    "ListNode",
    "MapNode",
    "Mark",
    "Node",
    "ScalarNode",
    "find",
    "merge",
    "nulls",
    "plain",
    "read_file",
    "read_text",
]

MAX_BYTES = 1_000_000
_MAX_DEPTH = 40
_MAX_EVENTS = 60_000
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
# control characters but the line feed, and those that turn the direction of text
_ODD = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Mark(NamedTuple):
    """A place: a file and a line from 1, or an option and no line."""

    file: str
    line: int | None = None

    def problem(self, rule: str, remedy: str, path: str = "", value: str = "") -> Problem:
        """Return what is wrong at this place."""
        return Problem(rule, remedy, path, value, self.file, self.line)


class ScalarNode(NamedTuple):
    """A word, number, truth value or null, and its text."""

    value: str | int | float | bool | None
    text: str
    mark: Mark

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        return f"'{shown}'" if isinstance(self.value, str) else shown


@dataclass(frozen=True)
class ListNode:
    """A sequence."""

    items: list[Node]
    mark: Mark

    def __str__(self) -> str:
        return "a list"


@dataclass(frozen=True)
class MapNode:
    """A mapping; `key_marks` holds where each key stood."""

    entries: dict[str, Node]
    mark: Mark
    key_marks: dict[str, Mark] = field(default_factory=dict)

    def __str__(self) -> str:
        return "a mapping"


Node = ScalarNode | ListNode | MapNode


def read_file(path: Path) -> Node:
    """Read one YAML file.

    Raises
    ------
    ProtocolError
        With every problem that can be told apart from the text alone.
    """
    mark = Mark(path.name)
    try:
        if not path.is_file():
            raise ProtocolError(mark.problem(*_why_no_file(path)))
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ProtocolError(
            mark.problem(
                f"cannot be read ({error.strerror})", "Check the path and its permissions."
            )
        ) from None
    if len(content) > MAX_BYTES:
        raise ProtocolError(
            mark.problem(
                "is larger than 1 MB", "A protocol is a few kB of text: is this the right file?"
            )
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ProtocolError(
            mark.problem("is not UTF-8 text", "Save it as UTF-8 from a text editor.")
        ) from None
    return read_text(text, path.name)


def _why_no_file(path: Path) -> tuple[str, str]:
    if path.is_dir():
        return "is a folder, not a file", "Name a YAML file inside it."
    if path.exists():
        return "is not a regular file", "Name a YAML file."
    return "does not exist", "Check the path; 'trialsim new FILE' starts a new one."


def read_text(text: str, name: str, line: int | None = 1) -> Node:
    """Read YAML from a string; `name` stands in messages, `line` None leaves lines out."""

    def mark_of(position: Any) -> Mark:
        return Mark(name, None if line is None else position.line + line)

    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ProtocolError(Problem("is not UTF-8 text", "Save it as UTF-8.", file=ascii(name)))
    tree = _Tree(mark_of)
    try:
        for event in _events(text):
            tree.take(event)
    except yaml.YAMLError as error:
        raise ProtocolError(_syntax_problem(error, text, mark_of, name)) from None
    if tree.problems:
        raise ProtocolError(tree.problems)
    if tree.root is None:
        rule, remedy = "is empty", "'trialsim new FILE' writes one to start from."
        raise ProtocolError(Problem(rule, remedy, file=name))
    return tree.root


def _events(text: str) -> Iterator[Any]:
    loader = _Loader(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


def _syntax_problem(
    error: yaml.YAMLError, text: str, mark_of: Callable[[Any], Mark], name: str
) -> Problem:
    position = getattr(error, "problem_mark", None)
    if position is None:  # a character YAML does not allow at all
        return Problem(
            "holds characters that are not text", "Save it as UTF-8 from a text editor.", file=name
        )
    what = getattr(error, "problem", None) or "cannot be parsed"
    lines = text.splitlines()
    at = lines[position.line] if position.line < len(lines) else ""
    if "\t" in at[: len(at) - len(at.lstrip())] or "'\\t'" in what:
        return mark_of(position).problem("is indented with a tab", "Indent with spaces.")
    return mark_of(position).problem(
        f"is not YAML here ({what})",
        "Check indentation, colons and quotes on this line and the one above.",
    )


class _Tree:
    """Assembles the tree from parser events, without recursion: depth is the file's choice."""

    def __init__(self, mark_of: Callable[[Any], Mark]) -> None:
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._mark_of = mark_of
        self._open: list[ListNode | MapNode] = []
        self._keys: list[str | None] = []  # of each open mapping, the key that waits for a value
        self._documents = 0
        self._n_events = 0

    def take(self, event: Any) -> None:
        """Take the next event."""
        mark = self._mark_of(event.start_mark)
        self._n_events += 1
        if self._n_events > _MAX_EVENTS:
            raise ProtocolError(mark.problem(*_TOO_MANY))
        if getattr(event, "anchor", None):
            self.problems.append(mark.problem(*_NO_ANCHORS))
        if getattr(event, "tag", None):
            self.problems.append(
                mark.problem("uses a tag ('!'), which is not allowed", "Remove it.")
            )
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents == 2:
                self.problems.append(mark.problem(*_ONE_DOCUMENT))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self._keys.pop()
        else:
            self._take_node(event, mark)

    def _take_node(self, event: Any, mark: Mark) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._place(_scalar(event, mark, self.problems))
        elif isinstance(event, yaml.AliasEvent):
            self._place(ScalarNode("", "", mark))
        elif isinstance(event, yaml.MappingStartEvent):
            self._enter(MapNode({}, mark))
        elif isinstance(event, yaml.SequenceStartEvent):
            self._enter(ListNode([], mark))

    def _enter(self, node: ListNode | MapNode) -> None:
        if len(self._open) >= _MAX_DEPTH:
            raise ProtocolError(
                node.mark.problem(f"is nested deeper than {_MAX_DEPTH} levels", "Flatten it.")
            )
        self._place(node)
        self._open.append(node)
        self._keys.append(None)

    def _place(self, node: Node) -> None:
        if not self._open:
            self.root = self.root or node
            return
        parent = self._open[-1]
        if isinstance(parent, ListNode):
            parent.items.append(node)
        elif (key := self._keys[-1]) is None:
            self._keys[-1] = self._new_key(node, parent)
        else:
            parent.entries.setdefault(key, node)
            self._keys[-1] = None

    def _new_key(self, node: Node, mapping: MapNode) -> str:
        if not isinstance(node, ScalarNode):
            self.problems.append(node.mark.problem("has a list or mapping as a key", "Use a word."))
            return "?"
        key = node.text
        if key in mapping.key_marks:
            first = mapping.key_marks[key]
            where = f" (first on line {first.line})" if first.line else ""
            rule = f"stands twice in the same mapping{where}"
            self.problems.append(node.mark.problem(rule, "Keep one of the two.", f"key '{key}'"))
        mapping.key_marks.setdefault(key, node.mark)
        return key


_TOO_MANY = (
    "holds too many values by here",
    "A protocol has a few hundred: is this the right file?",
)
_NO_ANCHORS = (
    "uses an anchor or alias ('&' or '*'), which are not allowed",
    "Write the value out, or put it in quotes if the sign is meant.",
)
_ONE_DOCUMENT = ("starts a second document", "Keep one protocol per file: remove the '---'.")


def _scalar(event: Any, mark: Mark, problems: list[Problem]) -> ScalarNode:
    text = event.value
    if odd := _ODD.search(text):
        rule = f"holds the control character U+{ord(odd[0]):04X}"
        problems.append(mark.problem(rule, "Remove it."))
        return ScalarNode("", "", mark)
    if not event.implicit[0] or event.style:  # quoted or block text is never a number
        return ScalarNode(text, text, mark)
    if _INT.fullmatch(text) and len(text) <= 18:
        digits = text.lower()
        base = 8 if digits.startswith("0o") else 16 if digits.startswith("0x") else 10
        return ScalarNode(int(digits, base), text, mark)
    if _FLOAT.fullmatch(text):
        return ScalarNode(float(text), text, mark)
    if _NOT_FINITE.fullmatch(text):
        return ScalarNode(float(text.replace(".", "")), text, mark)
    key = text.lower() if text in (text.lower(), text.title(), text.upper()) else text
    return ScalarNode(_WORDS.get(key, text), text, mark)


def plain(node: Node) -> Any:
    """Return dictionaries, lists and scalars."""
    if isinstance(node, MapNode):
        return {key: plain(value) for key, value in node.entries.items()}
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return node.value


def identifier(node: Node) -> str | None:
    """Return a list item's id, if it has one."""
    named = node.entries.get("id") if isinstance(node, MapNode) else None
    return named.text if isinstance(named, ScalarNode) else None


def merge(base: Node, patch: Node) -> Node:
    """Merge as RFC 7386 does; lists whose items all have ids are merged by id.

    A sourced number (a mapping with ``value``) is one thing and is replaced whole, so that no
    source or note outlives the number it belonged to.
    """
    if isinstance(base, MapNode) and isinstance(patch, MapNode) and "value" not in patch.entries:
        entries, marks = dict(base.entries), {**base.key_marks, **patch.key_marks}
        for key, value in patch.entries.items():
            if isinstance(value, ScalarNode) and value.value is None:
                entries.pop(key, None)
            else:
                entries[key] = merge(entries.get(key, MapNode({}, value.mark)), value)
        return MapNode(entries, base.mark, marks)
    if isinstance(base, ListNode) and isinstance(patch, ListNode):
        ours = {identifier(item): item for item in base.items}
        theirs = {identifier(item): item for item in patch.items}
        if None not in ours and None not in theirs:
            merged = {
                key: merge(item, theirs[key]) if key in theirs else item
                for key, item in ours.items()
            }
            added = [item for key, item in theirs.items() if key not in ours]
            return ListNode([*merged.values(), *added], base.mark)
    return patch


def find(
    root: Node, location: tuple[str | int, ...]
) -> tuple[Node, str, Mark, tuple[str | int, ...]]:
    """Follow a location down the tree, as far as it exists.

    Location parts that name a branch of a tagged union (in angle brackets, or equal to the
    mapping's own ``kind``, ``test`` or ``among``) are not in the file and are passed over.

    Returns
    -------
    node : Node
        The deepest node that exists.
    field : str
        Its dotted path, list items by id.
    mark : Mark
        Where it stands: its key's place if it has one.
    rest : tuple
        What could not be followed.
    """
    node, mark, path = root, root.mark, ""
    for depth, part in enumerate(location):
        if isinstance(part, str) and part.startswith("<"):
            continue
        if isinstance(node, MapNode) and part in node.entries:
            mark = node.key_marks.get(str(part), node.mark)
            node = node.entries[str(part)]
            path = f"{path}.{part}" if path else str(part)
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            mark = node.mark
            path = f"{path}.{named}" if (named := identifier(node)) else f"{path}[{part}]"
        elif isinstance(node, MapNode) and _is_kind(node, part):
            continue
        else:
            return node, path, mark, location[depth:]
    return node, path, mark, ()


def _is_kind(node: MapNode, part: str | int) -> bool:
    tags = (node.entries.get(name) for name in ("kind", "test", "among"))
    return any(isinstance(tag, ScalarNode) and tag.text == part for tag in tags)


def nulls(node: Node, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the location of every empty value, except in patches, where it deletes a key."""
    if isinstance(node, MapNode):
        for key, value in node.entries.items():
            if key != "patch":
                yield from nulls(value, (*path, key))
    elif isinstance(node, ListNode):
        for index, item in enumerate(node.items):
            yield from nulls(item, (*path, index))
    elif node.value is None:
        yield path

"""A file with some of its values changed: its comments, its order and its lines stay.

Only what differs is written anew, in one line and flow style; a comment that stood behind a value
which is no longer there goes with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from trialsim.protocol.reading.nodes import plain, read_text

__all__ = ["flow", "rewritten"]

_SAFE = re.compile(r"[A-Za-z][A-Za-z0-9_./%-]*( [A-Za-z0-9_./%-]+)*|[0-9]+(\.[0-9]+)? [a-z]{1,2}")
_COMMENT = re.compile(r"[ \t]+#[^\n]*")
_COMMA = re.compile(r"[ \t]*")
Edit = tuple[int, int, str]


def rewritten(text: str, target: dict[str, Any], mark: str) -> str:
    """Return a YAML text that says what `target` says, and otherwise looks as it did.

    Parameters
    ----------
    text : str
        One mapping, as `trialsim.protocol.reading.nodes` reads it.
    target : dict
        What it should say: plain dictionaries, lists, text and numbers.
    mark : str
        A comment behind what was changed.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    changed = text
    if isinstance(root, yaml.MappingNode):
        edits = sorted(_edits(root, plain(read_text(text, "")), target, text, mark), reverse=True)
        for start, end, new in edits:
            changed = changed[:start] + new + changed[end:]
    if _says(changed, target):
        return changed
    return "".join(f"{flow(key)}: {flow(value)}\n" for key, value in target.items())


def _says(text: str, target: dict[str, Any]) -> bool:
    try:
        return bool(plain(read_text(text, "")) == target)
    except ValueError:
        return False
    except Exception as error:
        if type(error).__name__ == "ProtocolError":  # an edit that left no YAML
            return False
        raise


def _edits(node: yaml.Node, before: Any, after: Any, text: str, mark: str) -> Iterator[Edit]:
    """Yield what to replace in a block mapping, or in a block list of things with ids."""
    if isinstance(node, yaml.MappingNode):
        known = {key.value: (key, value) for key, value in node.value}
        for name, (key, value) in known.items():
            if name not in after:
                start = text.rfind("\n", 0, key.start_mark.index) + 1
                yield start, _line_end(text, _end(value)) + 1, ""
            elif before[name] != after[name]:
                if _goes_in(value, before[name], after[name]):
                    yield from _edits(value, before[name], after[name], text, mark)
                else:
                    yield _replaced(key, value, after[name], text, mark)
        indent = " " * node.value[0][0].start_mark.column
        more = [name for name in after if name not in known]
        if more:
            at = _line_end(text, _end(node))
            lines = "".join(f"\n{indent}{flow(n)}: {flow(after[n])} # {mark}" for n in more)
            yield at, at, lines
        return
    for item, old, new in zip(node.value, before, after, strict=True):
        if old != new:
            yield from _edits(item, old, new, text, mark)


def _goes_in(node: yaml.Node, before: Any, after: Any) -> bool:
    """Whether to look for what differs further inside: only in what stands on lines of its own."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        return False
    if isinstance(node, yaml.MappingNode):
        return isinstance(after, dict) and bool(after)
    if not isinstance(after, list) or len(after) != len(before):
        return False
    pairs = zip(node.value, before, after, strict=True)
    return all(
        old == new
        or (
            isinstance(item, yaml.MappingNode)
            and not item.flow_style
            and isinstance(old, dict)
            and isinstance(new, dict)
            and "id" in old
            and old["id"] == new.get("id")
        )
        for item, old, new in pairs
    )


def _replaced(key: yaml.Node, value: yaml.Node, new: Any, text: str, mark: str) -> Edit:
    block = isinstance(value, yaml.CollectionNode) and not value.flow_style
    start, end = value.start_mark.index, _end(value)
    lead = ""
    if block or start == end:
        start, lead = key.end_mark.index, ": "
    behind = _COMMENT.match(text, end)
    return start, behind.end() if behind else end, f"{lead}{flow(new)} # {mark}"


def _end(node: yaml.Node) -> int:
    """Return where a node ends; of a block collection, where its last part does."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1])
    end: int = node.end_mark.index
    return end


def _line_end(text: str, index: int) -> int:
    found = text.find("\n", index)
    return len(text) if found < 0 else found


def flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and _SAFE.fullmatch(value) and plain(read_text(value, "")) == value:
        return value
    if isinstance(value, float):
        return f"{value:.12g}" if float(f"{value:.12g}") == value else repr(value)
    return json.dumps(value, ensure_ascii=False)

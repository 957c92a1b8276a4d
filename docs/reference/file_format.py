"""Every key of a file, from the JSON Schemas that the models make."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from reference.markdown import from_docstring, grid
from trialsim.protocol.reading.load import json_schemas

Schema = dict[str, Any]
_ATTRIBUTE = re.compile(r"^(\w+) : [^\n]+\n((?: {4}[^\n]*\n?)+)", flags=re.MULTILINE)


def file_format_page() -> str:
    """Return the keys of a protocol file and of an evidence file, block by block."""
    schemas = json_schemas()
    blocks = {name: s for one in schemas.values() for name, s in one.get("$defs", {}).items()}
    parts = [
        "# Every key of a file",
        "Made from the JSON Schemas, which are made from the models that read the file. How the keys "
        "are used stands in [the file format](../protocol-format.md). A key that is not here is "
        "refused, with the nearest one that is. An editor that knows YAML schemas completes keys from "
        "a first line `# yaml-language-server: $schema=protocols/schema/protocol-1.json`.",
    ]
    for name, schema in schemas.items():
        parts += [f"## A file of kind {name}", *_told(schema)]
    parts.append("## Blocks and words, in alphabetical order")
    for name in sorted(blocks, key=_called):
        parts += [f"### {_called(name)}", *_told(blocks[name])]
    return "\n\n".join(parts) + "\n"


def _called(name: str) -> str:
    """Return the name of a model; of two that share one, with the module."""
    *module, own = name.split("__")
    return f"{own} ({module[-1]})" if module else own


def _told(schema: Schema) -> Iterator[str]:
    """Yield what a block is, its keys, and what may stand for it."""
    whole = next((one for one in schema.get("anyOf", ()) if "properties" in one), schema)
    prose, attributes = _described(whole.get("description", ""))
    if prose:
        yield prose
    short = [_takes(one) for one in schema.get("anyOf", ()) if one is not whole]
    if short and "properties" in whole:
        yield f"Or {' or '.join(short)} alone."
    if "enum" in schema:
        yield "One of " + ", ".join(f"`{word}`" for word in schema["enum"]) + "."
    keys = whole.get("properties", {})
    if keys:
        required = whole.get("required", ())
        rows = [
            (f"`{key}`", _takes(of), _left_out(key in required, of), attributes.get(key, ""))
            for key, of in keys.items()
        ]
        told = any(row[3] for row in rows)
        heads = ("key", "takes", "left out", "meaning")
        yield grid(heads if told else heads[:3], [row if told else row[:3] for row in rows])
    elif "enum" not in schema and whole is schema and "type" in schema:
        yield f"Takes {_takes(schema)}."


def _described(docstring: str) -> tuple[str, dict[str, str]]:
    """Return a docstring's prose, and what it says of single keys."""
    prose, _, listed = docstring.partition("\nAttributes\n----------\n")
    prose = prose.partition("\nRaises\n")[0]
    told = {name: " ".join(said.split()) for name, said in _ATTRIBUTE.findall(f"{listed}\n")}
    return from_docstring(prose.strip()), told


def _left_out(required: bool, of: Schema) -> str:
    if required:
        return "required"
    default = of.get("default")
    if default is None or default in ([], {}):
        return "-"
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _takes(of: Schema) -> str:
    """Return in words what a key takes."""
    if "$ref" in of:
        name = of["$ref"].rsplit("/", 1)[1]
        return f"[{_called(name)}](#{re.sub(r'[^a-z0-9]+', '-', _called(name).lower()).strip('-')})"
    for key in ("anyOf", "oneOf"):
        if key in of:
            members = [_takes(one) for one in of[key] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(members)) or "nothing"
    if "enum" in of:
        return " or ".join(f"`{word}`" for word in of["enum"])
    if "const" in of:
        return f"`{of['const']}`"
    kind = of.get("type")
    if kind == "array":
        return f"list of {_takes(of['items'])}" if "items" in of else _tuple(of)
    if kind == "object":
        patterns = list(of.get("patternProperties", {}).values()) + _additional(of)
        return f"mapping of names to {_takes(patterns[0])}" if patterns else "mapping"
    return _plain(of, str(kind or "anything"))


def _tuple(of: Schema) -> str:
    return f"[{', '.join(_takes(item) for item in of.get('prefixItems', ()))}]"


def _additional(of: Schema) -> list[Schema]:
    found = of.get("additionalProperties")
    return [found] if isinstance(found, dict) else []


_PLAIN = {"string": "text", "integer": "whole number", "boolean": "`true` or `false`"}


def _plain(of: Schema, kind: str) -> str:
    pattern = of.get("pattern", "")
    if "(h|d|wk|mo|yr)" in pattern:
        return "a duration: 28 d, 26 wk, 12 mo"
    if pattern == "^[a-z0-9][a-z0-9-]*$":
        return "id"
    if pattern:
        return f"text like `{pattern}`"
    limits = [
        f"{words} {of[key]:g}"
        for key, words in (
            ("exclusiveMinimum", "above"),
            ("minimum", "at least"),
            ("exclusiveMaximum", "below"),
            ("maximum", "at most"),
        )
        if key in of
    ]
    return " ".join([_PLAIN.get(kind, kind), *([", ".join(limits)] if limits else [])])

"""What pydantic found, in the words of the file: one mistake, one message."""

from __future__ import annotations

import re
import typing
import unicodedata
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from trialsim.errors import Problem, did_you_mean
from trialsim.protocol.reading.nodes import MapNode, Node, ScalarNode, find
from trialsim.protocol.rules.scope import REMEDY, refusal
from trialsim.protocol.scenario import EFFECTS

__all__ = ["keys_at", "problem_at", "problem_of"]

_REMEDIES = {
    "odds_ratio": "Write the odds ratio itself, not its logarithm.",
    "risk_ratio": "Write the risk ratio itself, not its logarithm.",
    "control_risk": "Write a probability: 24.1% is 0.241.",
    "treated_risk": "Write a probability: 24.1% is 0.241.",
    "risk_difference": "Write a difference of probabilities: 5 points fewer is -0.05.",
    "share": "Write a fraction of patients: 40% is 0.4.",
    "alpha": "Write a probability, usually 0.05.",
    "id": "Use lower-case letters, digits and hyphens, starting with a letter or digit.",
    "schema_version": "This version of trialsim reads schema_version: 1.",
    "conduct": "Other conduct profiles come with a later version.",
    "arms": "Exactly two are supported: one experimental, one control (or historical, which is "
    "not recruited).",
    "currency": "Write the code of ISO 4217: EUR, USD, CNY.",
    "doi": "Write it without the resolver: 10.1136/bmj-2024-082583.",
}
_PATTERNS = {"doi": "must be a DOI", "currency": "must be three capital letters"}
_LIMITS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_SHAPES = {
    "string_type": ("must be text", "Put it in quotes if the text looks like a number."),
    "tuple_type": ("must be a list", "Write [a, b], or one item a line after a hyphen."),
    "list_type": ("must be a list", "Write [a, b], or one item a line after a hyphen."),
    "dict_type": ("must be a mapping", "Write 'key: value' pairs."),
    "model_type": ("must be a mapping", "Write 'key: value' pairs."),
    "model_attributes_type": ("must be a mapping", "Write 'key: value' pairs."),
    "bool_type": ("must be true or false", "Write true or false, without quotes."),
    "bool_parsing": ("must be true or false", "Write true or false, without quotes."),
    "string_too_short": ("must not be empty", "Write some text, or remove the key."),
}


def problem_of(error: ErrorDetails, root: Node, model: type[BaseModel]) -> Problem:
    """Translate one pydantic error."""
    location, kind, context = tuple(error["loc"]), error["type"], error.get("ctx", {})
    name = next(
        (
            str(p)
            for p in reversed(location)
            if isinstance(p, str) and p not in ("value", "[key]") and not p.startswith("<")
        ),
        "",
    )
    if kind == "extra_forbidden":
        return _unknown_key(location, root, model)
    tag = _tag_of(context) if kind == "union_tag_not_found" else ""
    if kind == "missing" or tag:
        missing = (*location, tag) if tag else location
        remedy = "Add 'from: entry' or 'from: end-of-therapy'." if name == "from" else "Add it."
        return problem_at(missing, root, "is required", remedy, show_value=False)
    node, *_ = find(root, location)
    rule, remedy = _rule(kind, context, node, name)
    return problem_at(location, root, rule, remedy)


def _tag_of(context: dict[str, Any]) -> str:
    """Return the key that tells the members of a union apart; empty where a function does."""
    by = str(context.get("discriminator"))
    field = re.fullmatch(r"'(\w+)'", by)
    return "kind" if "kind" in by else field[1] if field else ""


def problem_at(
    location: tuple[str | int, ...], root: Node, rule: str, remedy: str, show_value: bool = True
) -> Problem:
    """Return a problem at a location of the file, as far down as the location exists there."""
    node, path, mark, rest = find(root, location)
    if not show_value or isinstance(node, MapNode):
        path = ".".join([path, *(str(part) for part in rest if part != "[key]")]).strip(".")
    if location[-1:] == ("value",) and isinstance(location[-2:][0], str) and len(location) > 1:
        path = path.removesuffix(".value")  # a sourced number goes by the name of what it is
    value = _shown(node) if show_value else ""
    return mark.problem(rule, remedy, path, value)


def _shown(node: Node) -> str:
    if isinstance(node, MapNode) and "value" in node.entries:
        return str(node.entries["value"])
    if isinstance(node, MapNode):
        return (
            "{" + ", ".join(f"{key}: ..." for key in node.entries) + "}"
            if len(node.entries) < 5
            else ""
        )
    return str(node)


def _unknown_key(location: tuple[str | int, ...], root: Node, model: type[BaseModel]) -> Problem:
    key = str(location[-1])
    if why := refusal(key):
        return problem_at(location, root, why, REMEDY, show_value=False)
    if key in ("weight", "weights") and "analysis" in location:
        rule = "has no meaning with this test"
        remedy = "The log-rank test takes 'weight', MaxCombo 'weights'; no other test is weighted."
        return problem_at(location, root, rule, remedy, show_value=False)
    known = keys_at(location[:-1], model)
    listed = f"The keys here are {', '.join(sorted(known))}."
    return problem_at(
        location, root, "is not a known key", did_you_mean(key, known, listed), show_value=False
    )


def _rule(kind: str, context: dict[str, Any], node: Node, name: str) -> tuple[str, str]:
    if kind == "rule":
        return context["rule"], context["remedy"]
    if kind == "union_tag_not_found":
        return _one_effect(node)
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        expected = str(context.get("expected") or context.get("expected_tags"))
        words = re.findall(r"'([^']*)'|(\d+)", expected)
        choices = [word or number for word, number in words]
        return _choice(node, choices, name)
    if kind in _LIMITS:
        phrase, key = _LIMITS[kind]
        limit = (
            f"{context[key]:,}"
            if isinstance(context[key], int) and abs(context[key]) >= 1e4
            else f"{context[key]:g}"
        )
        return f"must be {phrase} {limit}", _REMEDIES.get(name, f"Write a number {phrase} {limit}.")
    if kind in ("float_type", "float_parsing", "finite_number"):
        return "must be a number", _number_remedy(node)
    if kind in ("int_type", "int_parsing", "int_from_float", "int_parsing_size"):
        return "must be a whole number", _number_remedy(node)
    if kind in ("too_short", "too_long"):
        n = context.get("min_length", context.get("max_length"))
        phrase = "at least" if kind == "too_short" else "at most"
        return f"must have {phrase} {n} item{'s' * (n != 1)}", _REMEDIES.get(
            name, "Add or remove some."
        )
    if kind == "string_pattern_mismatch":
        rule = _PATTERNS.get(name, "must be an id such as my-trial-2")
        return rule, _REMEDIES.get(name, _REMEDIES["id"])
    if kind == "string_too_long":
        return f"must be at most {context['max_length']} characters long", "Shorten it."
    return _SHAPES.get(
        kind, (f"is not valid ({kind.replace('_', ' ')})", "See docs/protocol-format.md.")
    )


def _one_effect(node: Node) -> tuple[str, str]:
    for key in node.entries if isinstance(node, MapNode) else ():
        if key.startswith("hazard"):
            rule = "must be an effect on risks; a hazard ratio needs a time-to-event endpoint"
            return rule, "Write survival: {hazard_ratio: 0.7} in place of effect, for such a one."
        if why := refusal(key.replace("_", " ")):
            return why, REMEDY
    rule = f"must have exactly one of the keys {', '.join(EFFECTS)}"
    return rule, "Write for example effect: {odds_ratio: 0.82}; leave effect out for none."


def _choice(node: Node, choices: list[str], name: str) -> tuple[str, str]:
    if isinstance(node, MapNode):
        tags = (node.entries[name] for name in ("kind", "test", "among") if name in node.entries)
        node = next(tags, node)
    word = node.text if isinstance(node, ScalarNode) else ""
    if why := refusal(word):
        return why, REMEDY
    listed = f"{', '.join(choices[:-1])} or {choices[-1]}" if len(choices) > 1 else choices[0]
    choose = "Choose one of them." if len(choices) > 1 else f"Write {choices[0]}."
    otherwise = _REMEDIES.get(name, choose)
    return f"must be {listed}", did_you_mean(word, choices, otherwise)


def _number_remedy(node: Node) -> str:
    text = node.text if isinstance(node, ScalarNode) else ""
    plain_digits = unicodedata.normalize("NFKC", text)
    if plain_digits != text and re.fullmatch(r"[-+]?[0-9.,]+", plain_digits):
        return f"Type it with plain digits: {plain_digits.replace(',', '.')}."
    if re.fullmatch(r"[-+]?[0-9]+,[0-9]+", text):
        return f"Write a decimal point, not a comma: {text.replace(',', '.')}."
    if re.fullmatch(r"[0-9]+(\.[0-9]+)? ?%", text):
        return f"Write a fraction, not a percentage: {float(text.rstrip(' %')) / 100:g}."
    if (
        re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", text)
        and isinstance(node, ScalarNode)
        and isinstance(node.value, str)
    ):
        return "Remove the quotes."
    if isinstance(node, ScalarNode) and isinstance(node.value, float) and node.value.is_integer():
        return f"Write {node.value:.0f}."
    return "Write a plain number such as 0.82, or 400 where patients are counted."


def keys_at(location: Iterable[str | int], model: type[BaseModel]) -> set[str]:
    """Return the keys the file format allows in the mapping at `location`."""
    models = [model]
    for part in location:
        fields = [f for m in models for k, f in _fields(m).items() if k == part]
        if fields:
            models = [inner for field in fields for inner in _models_in(field)]
        elif isinstance(part, str):  # a branch of a tagged union
            tag = part.strip("<>")
            models = [m for m in models if tag in m.model_fields or tag in _kinds(m)] or models
    return {key for m in models for key in _fields(m)}


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    tags = (model.model_fields.get(name) for name in ("kind", "test", "among"))
    return tuple(word for tag in tags if tag for word in typing.get_args(tag.annotation))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models_in(part)]

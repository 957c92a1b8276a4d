"""What an editor can tell from the kinds of a file's endpoints: parts of its JSON Schema.

A schema cannot follow an id from an endpoint to its outcome; it can tell that a file has no
endpoint of the kind that some keys belong to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from trialsim.protocol.endpoints import ContinuousEndpoint, Level, OutcomeEndpoint
from trialsim.protocol.outcomes import FORMS

__all__ = ["kind_ties"]

Schema = dict[str, Any]


def kind_ties() -> list[Any]:
    """Return what must hold of a protocol file, one condition each.

    Keys of a control arm and of an effect need an endpoint of a kind that has them; a primary
    endpoint whose truth stands under ``outcomes:`` has it there and nowhere else; published results
    are of risks, responses or means.
    """
    ties: list[Any] = []
    for endpoint, form in FORMS.items():
        refused = {"outcomes": {"additionalProperties": _without(form.marks)}}
        ties.append(_unless_any((_word(endpoint),), {"nature": {"properties": refused}}))
    for key in dict.fromkeys(key for form in FORMS.values() for key in form.effects):
        kinds = [_word(endpoint) for endpoint, form in FORMS.items() if key in form.effects]
        refused = {"outcomes": {"additionalProperties": _without((key,))}}
        ties.append(_unless_any(kinds, {"scenarios": {"items": {"properties": refused}}}))
    own = [_word(endpoint) for endpoint in get_args(OutcomeEndpoint)]
    elsewhere = ("effect", "control_risk", "as_observed", "response", "survival")
    ties.append(
        {
            "if": _has({"kind": {"enum": own}, "level": {"const": Level.PRIMARY.value}}),
            "then": _file(
                {"nature": {"required": ["outcomes"]}, "scenarios": {"items": _without(elsewhere)}}
            ),
        }
    )
    unpublished = [_word(e) for e in get_args(OutcomeEndpoint) if e is not ContinuousEndpoint]
    ties.append(
        {
            "if": _has({"kind": {"enum": unpublished}, "level": {"const": Level.PRIMARY.value}}),
            "then": _file({"observed": {"maxItems": 0}}),
        }
    )
    times = {"properties": {"measure": {"enum": ["hazard ratio", "ratio of medians"]}}}
    named = {"type": "object", "required": ["measure"], **times}
    ties.append(
        {
            "if": _has({"kind": {"enum": ["binary", "response"]}, "level": {"const": "primary"}}),
            "then": _file({"observed": {"items": {"not": named}}}),
        }
    )
    primary = {"properties": {"level": {"const": Level.PRIMARY.value}}}
    once = {"contains": primary, "minContains": 1, "maxContains": 1}
    ties.append(_file({"protocol": _file({"endpoints": once})}))
    return ties


def _word(endpoint: Any) -> str:
    (word,) = get_args(endpoint.model_fields["kind"].annotation)
    return str(word)


def _unless_any(kinds: Iterable[str], then: Schema) -> Schema:
    return {"if": {"not": _has({"kind": {"enum": list(kinds)}})}, "then": _file(then)}


def _has(endpoint: Schema) -> Schema:
    one = {"type": "object", "properties": endpoint, "required": list(endpoint)}
    return _file({"protocol": _file({"endpoints": {"contains": one}})})


def _file(properties: Schema) -> Schema:
    return {"properties": properties}


def _without(keys: Iterable[str]) -> Schema:
    return {"not": {"anyOf": [{"required": [key]} for key in keys]}}

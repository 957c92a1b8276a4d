"""One file, whole: a protocol, what nature may do, and what was observed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from trialsim.protocol.conduct import ConductProfile
from trialsim.protocol.cost import Cost
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import BinaryEndpoint, Level
from trialsim.protocol.modifiers import ObservedSubgroups
from trialsim.protocol.optimisation import Optimise
from trialsim.protocol.outcomes import AnyOutcome
from trialsim.protocol.published.evidence import Conflict, EvidenceRecord
from trialsim.protocol.published.second_encoding import SecondEncoding
from trialsim.protocol.published.survival import ObservedMeasure
from trialsim.protocol.quantities import Frozen, Id, Text, lenient_words
from trialsim.protocol.scenario import Nature, Scenario
from trialsim.protocol.ties import kind_ties

__all__ = ["ObservedReference", "Template", "Variant"]


class ObservedReference(Frozen):
    """A published result to hold the simulation against: an evidence id, or more exactly.

    `measure` is that of risks; of a time to an event also ``hazard ratio`` or ``ratio of medians``,
    where the record gives it. `endpoint` is the primary one, unless a single arm has others.
    """

    evidence: Id
    result: Id | None = None
    endpoint: Id | None = None
    measure: Annotated[ObservedMeasure, lenient_words(ObservedMeasure)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_id(cls, value: Any) -> Any:
        return {"evidence": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        full = handler(schema)
        evidence = handler.resolve_ref_schema(full)["properties"]["evidence"]
        return {"anyOf": [evidence, full]}


class Variant(Frozen):
    """A named change to the file: an RFC 7386 merge, lists of things with ids merged by id."""

    id: Id
    title: Text
    patch: dict[str, Any]


def _without(*keys: str) -> dict[str, Any]:
    return {"not": {"anyOf": [{"required": [key]} for key in keys]}}


_TIME_TO_EVENT = {"kind": {"const": "time-to-event"}, "level": {"const": "primary"}}
# What belongs to a time to an event and what to risks, so that an editor can tell too.
_BY_KIND_OF_PRIMARY: dict[str, Any] = {
    "if": {
        "properties": {
            "protocol": {
                "properties": {
                    "endpoints": {"contains": {"type": "object", "properties": _TIME_TO_EVENT}}
                }
            }
        }
    },
    "then": {
        "properties": {
            "protocol": {"required": ["looks"]},
            "nature": _without("control_risk"),
            "scenarios": {"items": _without("effect", "control_risk", "response")},
        },
        "anyOf": [  # when patients enter is stated, or sites are
            {"properties": {"nature": {"required": ["enrolment"]}}},
            {"properties": {"nature": {"required": ["operations"]}}},
            {"properties": {"protocol": {"required": ["operations"]}}},
        ],
    },
    "else": {
        "properties": {
            "nature": _without("survival", "dropout"),
            "scenarios": {"items": _without("survival")},
        }
    },
}


_NO_ITEMS: dict[str, Any] = {"maxItems": 0}
# What cannot stand beside intercurrent events, and what cannot stand without them.
_BY_EVENTS: dict[str, Any] = {
    "if": {
        "properties": {
            "nature": {
                "required": ["intercurrent_events"],
                "properties": {"intercurrent_events": {"minItems": 1}},
            }
        }
    },
    "then": {
        "properties": {
            "protocol": {"properties": {"looks": _NO_ITEMS}},
            "observed": _NO_ITEMS,
        }
    },
    "else": {
        "properties": {
            "protocol": {
                "properties": {
                    "endpoints": {"items": {"properties": {"further_estimands": _NO_ITEMS}}}
                }
            }
        }
    },
}


# A reason why nothing is observed stands beside nothing.
_BY_REASON: dict[str, Any] = {
    "if": {"required": ["nothing_observed"]},
    "then": {"properties": {"observed": _NO_ITEMS}},
}


class Template(Frozen):
    """A protocol file, version 1."""

    model_config = ConfigDict(
        json_schema_extra={**_BY_KIND_OF_PRIMARY, "allOf": [_BY_EVENTS, _BY_REASON, *kind_ties()]}
    )

    schema_version: Literal[1]
    id: Id
    title: Text
    note: Text | None = None
    setting: Literal["current", "historical"] = "current"
    setting_note: Text | None = None
    about: Annotated[tuple[Id, ...], Field(max_length=50)] = ()  # records it rests on
    protocol: Protocol
    nature: Nature
    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1, max_length=100)]
    conduct: Annotated[ConductProfile, lenient_words(ConductProfile)] = ConductProfile.RIGOROUS
    cost: Cost | None = None
    optimise: Optimise | None = None
    qc: SecondEncoding | None = None
    observed: Annotated[tuple[ObservedReference, ...], Field(max_length=100)] = ()
    nothing_observed: Text | None = None  # why there is no published trial to hold it against
    observed_subgroups: Annotated[tuple[ObservedSubgroups, ...], Field(max_length=20)] = ()
    variants: Annotated[tuple[Variant, ...], Field(max_length=50)] = ()
    evidence: Annotated[tuple[EvidenceRecord, ...], Field(max_length=200)] = ()
    conflicts: Annotated[tuple[Conflict, ...], Field(max_length=200)] = ()

    @property
    def simulated_outcomes(self) -> dict[str, AnyOutcome]:
        """What ``nature.outcomes`` states of endpoints that are drawn: not of safety events."""
        exact = {
            endpoint.id
            for endpoint in self.protocol.endpoints
            if endpoint.level is Level.SAFETY and isinstance(endpoint, BinaryEndpoint)
        }
        return {name: own for name, own in self.nature.outcomes.items() if name not in exact}

"""Durations, doses, times with their clock, and numbers that say where they come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    StringConstraints,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

__all__ = [
    "DAYS_PER_UNIT",
    "Clock",
    "Difference",
    "Dose",
    "Duration",
    "Frozen",
    "Id",
    "Number",
    "OneOf",
    "Rate",
    "Ratio",
    "Risk",
    "Share",
    "Slope",
    "SourcedNumber",
    "Text",
    "Time",
    "Whole",
    "broken",
    "lenient_words",
    "months",
    "one_of",
]

ID_PATTERN = r"^[a-z0-9][a-z0-9-]*$"
DAYS_PER_UNIT = {"h": 1 / 24, "d": 1.0, "wk": 7.0, "mo": 30.4375, "yr": 365.25}
_NUMBER = r"[0-9]{1,6}(\.[0-9]{1,6})?"
_UNITS = "|".join(DAYS_PER_UNIT)
_DURATION_PATTERN = rf"^{_NUMBER} ?({_UNITS})$"
_DOSE_PATTERN = rf"^{_NUMBER} ?(ng|ug|mg|g|mL|IU|MIU)(/(kg|m2))?$"


def broken(rule: str, remedy: str) -> PydanticCustomError:
    """Return the error a validator raises when `rule` does not hold."""
    return PydanticCustomError("rule", "{rule}. {remedy}", {"rule": rule, "remedy": remedy})


class Frozen(BaseModel):
    """Base of everything read from a file: complete, immutable, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


@dataclass(frozen=True)
class _Alternatives:
    """Keys of which a model has exactly one, and what to do where it has not."""

    keys: tuple[str, ...]
    remedy: str
    pairs: tuple[tuple[str, str], ...]

    def __call__(self, schema: JsonSchemaValue) -> None:
        schema["oneOf"] = [{"required": [key]} for key in self.keys]
        if self.pairs:
            both = [*self.pairs, *((b, a) for a, b in self.pairs)]
            schema["dependentRequired"] = {first: [second] for first, second in both}


def one_of(
    *keys: str,
    remedy: str = "Keep one of the two.",
    pairs: tuple[tuple[str, str], ...] = (),
) -> ConfigDict:
    """Return the setting of a model that has exactly one of these keys.

    Its JSON Schema says so, and that of `pairs` neither stands alone; a model on the base `OneOf`
    also checks that it has one.
    """
    return ConfigDict(json_schema_extra=_Alternatives(keys, remedy, pairs))


class OneOf(Frozen):
    """Base of models with exactly one of several keys: ``model_config = one_of(...)``."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        stated = self.model_config.get("json_schema_extra")
        assert isinstance(stated, _Alternatives)
        if sum(getattr(self, key) is not None for key in stated.keys) != 1:
            *most, last = (f"'{key}'" for key in stated.keys)
            raise broken(f"must have exactly one of {', '.join(most)} and {last}", stated.remedy)
        return self


# Lax models with strict numbers: lists become tuples and words become enums, but
# neither "1e-3" nor true becomes a number.
Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]
Id = Annotated[str, StringConstraints(pattern=ID_PATTERN, max_length=64)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


def lenient_words(vocabulary: type[StrEnum]) -> BeforeValidator:
    """Accept a vocabulary's words with spaces, hyphens or underscores between them."""
    by_words = {re.sub("[-_ ]", "", str(member)): str(member) for member in vocabulary}

    def canonical(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return by_words.get(re.sub("[-_ ]", "", value.lower()), value)

    return BeforeValidator(canonical)


class _UnitText:
    """A number with a unit, written as text; subclasses name the pattern and the remedy."""

    pattern: ClassVar[str]
    what: ClassVar[str]
    remedy: ClassVar[str]

    @classmethod
    def parse(cls, text: Any) -> Self:
        if not isinstance(text, str) or not re.fullmatch(cls.pattern, text):
            raise broken(f"must be {cls.what}", cls.remedy)
        number = re.match(_NUMBER, text)
        assert number is not None  # the pattern starts with it
        return cls(float(number[0]), text[number.end() :].strip())  # type: ignore[call-arg]

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls.parse(value),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "type": "string",
            "pattern": cls.pattern,
            "description": f"{cls.what}. {cls.remedy}",
        }


@dataclass(frozen=True)
class Duration(_UnitText):
    """A length of time: ``28 d``. 1 wk = 7 d, 1 mo = 30.4375 d, 1 yr = 365.25 d."""

    pattern: ClassVar[str] = _DURATION_PATTERN
    what: ClassVar[str] = "a number with a unit of time"
    remedy: ClassVar[str] = "Write for example 12 h, 28 d, 26 wk, 12 mo or 3 yr."

    amount: float
    unit: str

    @property
    def days(self) -> float:
        """The duration in days."""
        return self.amount * DAYS_PER_UNIT[self.unit]

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit}"


@dataclass(frozen=True)
class Dose(_UnitText):
    """An amount of drug: ``1.6 mg``, ``1.2 mg/m2``."""

    pattern: ClassVar[str] = _DOSE_PATTERN
    what: ClassVar[str] = "a number with a unit of dose"
    remedy: ClassVar[str] = "Write for example 1.6 mg, 40 ug/kg or 1.2 mg/m2."

    amount: float
    unit: str

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit}"


class Clock(StrEnum):
    """Where a time starts to count."""

    ENTRY = "entry"
    END_OF_THERAPY = "end-of-therapy"


def months(days: float) -> str:
    """Return days as months, in words: "18 mo"."""
    return f"{days / DAYS_PER_UNIT['mo']:.3g} mo"


class Time(Frozen):
    """When something is read: a duration and the clock it counts on.

    Bare ``28 d`` counts from randomisation (`entry`).
    """

    after: Duration
    clock: Annotated[Clock, lenient_words(Clock)] = Field(alias="from")

    @model_validator(mode="before")
    @classmethod
    def _bare_duration_counts_from_entry(cls, value: Any) -> Any:
        return value if isinstance(value, dict | Time) else {"after": value, "from": "entry"}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "pattern": _DURATION_PATTERN}, handler(schema)]}

    def days_after_entry(self, therapy: Duration | None) -> float:
        """Return the time in days since randomisation, given the planned length of therapy."""
        started = 0.0 if self.clock is Clock.ENTRY or therapy is None else therapy.days
        return started + self.after.days

    def in_words(self, therapy: Duration | None) -> str:
        """Return both clocks where they differ: "12 mo after therapy = 18 mo after entry"."""
        if self.clock is Clock.ENTRY:
            return str(self.after)
        since_entry = months(self.days_after_entry(therapy))
        return f"{self.after} after therapy = {since_entry} after entry"


class SourcedNumber(Frozen):
    """A number and where it comes from; without a source it is shown as *assumed*.

    In the file a bare number stands for ``{value: number}``.
    """

    value: Number
    source: Id | None = None
    note: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_number_is_assumed(cls, value: Any) -> Any:
        return value if isinstance(value, dict | SourcedNumber) else {"value": value}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        full = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [full["properties"]["value"], handler(schema)]}

    def __str__(self) -> str:
        return f"{self.value:g}"


class Risk(SourcedNumber):
    """A probability strictly between 0 and 1."""

    value: Annotated[Number, Field(gt=0, lt=1)]


class Ratio(SourcedNumber):
    """A ratio of two positive quantities, treated to control, not its logarithm."""

    value: Annotated[Number, Field(gt=0)]


class Rate(SourcedNumber):
    """Events per year at risk."""

    value: Annotated[Number, Field(ge=0, le=1000)]


class Difference(SourcedNumber):
    """A difference between two risks, treated minus control."""

    value: Annotated[Number, Field(gt=-1, lt=1)]


class Share(SourcedNumber):
    """A fraction of patients."""

    value: Annotated[Number, Field(gt=0, le=1)]


class Slope(SourcedNumber):
    """Log odds per standard deviation."""

    value: Annotated[Number, Field(ge=-10, le=10)]

"""Which decisions of a design may vary, what must hold, and what is to be small or large.

``optimise:`` at the top level of a file; every part may be left out, and ``trialsim optimise``
then says what it assumed. Constraints and designs are short texts with a grammar of their own::

    constraint = quantity ("<=" | ">=") number [unit] ["under" scenario]
    quantity   = "power" | "months" | "cost" | "patients" | "worse arm" | "expected months" | ...
    looks      = "1" | number bounds     as in "3 obf": three analyses, O'Brien-Fleming
    ratio      = treated ":" control     as in "2:1"
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from math import inf
from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, model_serializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from trialsim.errors import Problem, RequestError, did_you_mean
from trialsim.protocol.design import MAX_PATIENTS
from trialsim.protocol.quantities import Frozen, Id, Number, Time, Whole, broken, lenient_words

__all__ = [
    "KNEE",
    "Constraint",
    "Decision",
    "LookPlan",
    "Optimise",
    "Quantity",
    "RatioOfArms",
    "Vary",
    "constraints_from_words",
    "vary_from_words",
]


class Quantity(StrEnum):
    """What a design is judged by.

    Of a trial that runs to its end, but for the expected ones: these are means over where it
    stops, under a scenario. `WORSE_ARM` is the expected number of patients in the arm that is worse
    for them if the scenario is true.
    """

    POWER = "power"
    MONTHS = "months"
    COST = "cost"
    PATIENTS = "patients"
    WORSE_ARM = "worse arm"
    EXPECTED_MONTHS = "expected months"
    EXPECTED_COST = "expected cost"
    EXPECTED_PATIENTS = "expected patients"

    @property
    def larger_is_better(self) -> bool:
        """Whether more of it is wanted."""
        return self is Quantity.POWER

    @property
    def needs_scenario(self) -> bool:
        """Whether it depends on what is true."""
        return self not in (Quantity.MONTHS, Quantity.COST, Quantity.PATIENTS)

    @property
    def unit(self) -> str:
        """In words; empty for a probability, and for money, whose currency the file states."""
        if self in (Quantity.MONTHS, Quantity.EXPECTED_MONTHS):
            return "months"
        money = (Quantity.COST, Quantity.EXPECTED_COST)
        return "" if self is Quantity.POWER or self in money else "patients"


class Decision(StrEnum):
    """What the team may decide otherwise."""

    SIZE = "size"
    SITES = "sites"
    LOOKS = "looks"
    FOLLOW_UP = "follow-up"
    RATIO = "ratio"
    VARIANT = "variant"
    THRESHOLD = "threshold"


KNEE: Literal["knee"] = "knee"
_EXAMPLE = 'Write for example "power >= 0.8 under or-082", "months <= 48" or "cost <= 6e6".'
_CONSTRAINT = re.compile(
    r"(?P<quantity>[A-Za-z][A-Za-z _-]*?)\s*(?P<sign><=|>=|=<|=>|<|>|==|=)\s*"
    r"(?P<number>(?:[0-9]|\.[0-9])[0-9,_.]*(?:[eE][-+]?[0-9]{1,2})?)\s*(?P<unit>%|[A-Za-z]+)??"
    r"(?:\s+under\s+(?P<under>\S+))?"
)
_IN_MONTHS = {"": 1.0, "mo": 1.0, "month": 1.0, "months": 1.0, "yr": 12.0, "year": 12.0,
              "years": 12.0}  # fmt: skip


def _from_text(value: Any, read: Any) -> Any:
    """Return the parts of a text; anything else as it is."""
    return read(value) if isinstance(value, str) else value


class _Texts(Frozen):
    """Base of models that are written as one text."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": ["string", "integer"], "description": cls.__doc__}

    @model_serializer
    def _as_text(self) -> str:
        return str(self)


class Constraint(_Texts):
    """What must hold of a design, as text: ``power >= 0.8 under or-082``, ``months <= 48``.

    Without ``under`` it must hold under every scenario named.
    """

    quantity: Quantity
    at_least: bool
    bound: Annotated[float, Field(ge=0, le=1e15)]
    under: Id | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return _from_text(value, _constraint)

    def __str__(self) -> str:
        number = f"{self.bound:,.10g}"
        under = f" under {self.under}" if self.under else ""
        return f"{self.quantity} {'>=' if self.at_least else '<='} {number}{under}"

    def holds(self, value: float) -> bool:
        """Whether a value meets it; to a billionth, so that rounding refuses nothing."""
        slack = 1e-9 * max(1.0, abs(self.bound))
        if self.at_least:
            return value >= self.bound - slack
        return value <= self.bound + slack


def _constraint(text: str) -> dict[str, Any]:
    found = _CONSTRAINT.fullmatch(" ".join(text.split()))
    if found is None:
        raise broken("must be a quantity, <= or >=, and a number", _EXAMPLE)
    word = re.sub("[-_ ]+", " ", found["quantity"]).strip().lower()
    known = {str(quantity): quantity for quantity in Quantity}
    if word not in known:
        listed = f"The quantities are {', '.join(known)}."
        raise broken(f"judges '{word}', which is no quantity", did_you_mean(word, known, listed))
    quantity, sign = known[word], found["sign"]
    if sign in ("<", ">", "=", "=="):
        raise broken(f"must use <= or >=, not {sign}", _EXAMPLE)
    at_least = sign in (">=", "=>")
    if at_least is not quantity.larger_is_better:
        right = ">=" if quantity.larger_is_better else "<="
        wanted = "large" if quantity.larger_is_better else "small"
        raise broken(f"must use {right}: {quantity} is to be {wanted}", _EXAMPLE)
    if found["under"] and not quantity.needs_scenario:
        rule = f"must not say 'under': {quantity} of a trial that runs to its end have none"
        raise broken(rule, f"Remove it, or write 'expected {quantity}'.")
    try:
        bound = float(found["number"].replace(",", "").replace("_", ""))
    except ValueError:
        raise broken("must be a quantity, <= or >=, and a number", _EXAMPLE) from None
    bound *= _factor(quantity, found["unit"] or "")
    if quantity is Quantity.POWER and not 0 < bound < 1:
        raise broken("must ask for a power between 0 and 1", "80% is 0.8.")
    return {"quantity": quantity, "at_least": at_least, "bound": bound, "under": found["under"]}


def _factor(quantity: Quantity, unit: str) -> float:
    if quantity is Quantity.POWER and unit in ("", "%"):
        return 0.01 if unit else 1.0
    if quantity.unit == "months" and unit.lower() in _IN_MONTHS:
        return _IN_MONTHS[unit.lower()]
    if not unit or unit == quantity.unit:
        return 1.0
    rule = f"has a unit that {quantity} does not have: '{unit}'"
    raise broken(rule, "Leave it out; money is in the currency of 'cost:'.")


_LOOKS = re.compile(r"(?P<number>[1-9]|1[0-9]|20)(?:\s+(?P<rule>[a-z]+(?::-?[0-9.]+)?))?")


class LookPlan(_Texts):
    """How many analyses, evenly spaced, and their bounds: ``1``, ``3 obf``, ``2 hsd:-4``.

    ``as planned`` keeps those of the file.
    """

    number: Annotated[Whole, Field(ge=0, le=20)]  # 0: those of the file
    rule: str = ""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return {"number": value} if type(value) is int else _from_text(value, _looks)

    @model_validator(mode="after")
    def _bounds_where_needed(self) -> LookPlan:
        if (self.number > 1) is not bool(self.rule):
            rule = "must say its bounds where there is more than one analysis"
            raise broken(rule, "Write 1, or for example '3 obf', '3 pocock' or '3 ldof'.")
        return self

    @property
    def fractions(self) -> tuple[float, ...]:
        """Information at each analysis, of that at the end; empty for one."""
        steps = range(1, self.number + 1)
        return tuple(step / self.number for step in steps) if self.number > 1 else ()

    def __str__(self) -> str:
        return f"{self.number} {self.rule}".strip() if self.number else "as planned"


def _looks(text: str) -> dict[str, Any]:
    words = " ".join(text.lower().split())
    if words in ("as planned", "as-planned"):
        return {"number": 0}
    found = _LOOKS.fullmatch(words)
    if found is None:
        rule = "must be how many analyses with their bounds"
        raise broken(rule, "Write 1, '3 obf', '3 pocock', '2 ldof', or 'as planned'.")
    name = (found["rule"] or "").partition(":")[0]
    known = ("obf", "pocock", "wt", "ldof", "ldpocock", "hsd")
    if name and name not in known:
        remedy = did_you_mean(name, known, f"The bounds are {', '.join(known)}.")
        raise broken(f"has bounds that are not known: '{name}'", remedy)
    return {"number": int(found["number"]), "rule": found["rule"] or ""}


class RatioOfArms(_Texts):
    """Patients treated to control: ``2:1``."""

    treated: Annotated[Whole, Field(ge=1, le=20)]
    control: Annotated[Whole, Field(ge=1, le=20)]

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return _from_text(value, _ratio)

    def __str__(self) -> str:
        return f"{self.treated}:{self.control}"


def _ratio(text: str) -> dict[str, Any]:
    found = re.fullmatch(r"\s*([1-9]|1[0-9]|20)\s*:\s*([1-9]|1[0-9]|20)\s*", text)
    if found is None:
        raise broken("must be two whole numbers from 1 to 20", "Write '2:1', in quotes.")
    return {"treated": int(found[1]), "control": int(found[2])}


_MOST = 200
_Patients = Annotated[Whole, Field(ge=4, le=MAX_PATIENTS)]


class Vary(Frozen):
    """The values a decision may take; what is left out has those `trialsim optimise` assumes.

    `variant` names variants of the file, which change whatever they change: who is eligible, the
    dose, the visits. `as it stands` is the file without one. `threshold` is where the marker of
    ``nature.enrichment`` makes a patient eligible.
    """

    size: Annotated[tuple[_Patients, ...], Field(min_length=1, max_length=_MOST)] | None = None
    sites: (
        Annotated[
            tuple[Annotated[Whole, Field(ge=1, le=2000)], ...],
            Field(min_length=1, max_length=_MOST),
        ]
        | None
    ) = None
    looks: Annotated[tuple[LookPlan, ...], Field(min_length=1, max_length=20)] | None = None
    follow_up: Annotated[tuple[Time, ...], Field(min_length=1, max_length=20)] | None = None
    ratio: Annotated[tuple[RatioOfArms, ...], Field(min_length=1, max_length=20)] | None = None
    variant: (
        Annotated[tuple[Id | Literal["as it stands"], ...], Field(min_length=1, max_length=20)]
        | None
    ) = None
    threshold: Annotated[tuple[Number, ...], Field(min_length=1, max_length=50)] | None = None

    @model_validator(mode="after")
    def _each_once(self) -> Vary:
        for name in type(self).model_fields:
            values = getattr(self, name) or ()
            if len(set(map(str, values))) < len(values):
                raise broken(f"names a value of '{name}' twice", "Keep one of the two.")
        return self


class Optimise(Frozen):
    """What ``trialsim optimise`` may decide, must keep and should seek.

    `under` are the scenarios that a design must do well under: the worst of them counts.
    `objectives` are what the front is made of (left out: power, months, cost where the file states
    prices, patients in the worse arm). `choose` is what is to be smallest, or largest, among the
    designs that meet every constraint (left out: the cost, or patients without prices); ``knee``
    the design nearest to the best of every objective.
    """

    vary: Vary = Vary()
    constraints: Annotated[tuple[Constraint, ...], Field(max_length=20)] = ()
    under: Annotated[tuple[Id, ...], Field(max_length=20)] = ()
    objectives: (
        Annotated[
            tuple[Annotated[Quantity, lenient_words(Quantity)], ...],
            Field(min_length=2, max_length=6),
        ]
        | None
    ) = None
    choose: Annotated[Quantity, lenient_words(Quantity)] | Literal["knee"] | None = None


# -- the same in words of the command line ---------------------------------------------------------


def constraints_from_words(words: Sequence[str]) -> tuple[Constraint, ...]:
    """Read constraints as typed (RequestError for those that mean nothing, all at once)."""
    found, problems = [], []
    for text in words:
        try:
            found.append(Constraint.model_validate(_constraint(text)))
        except PydanticCustomError as error:
            problems.append(_problem(error, "--constraint", text))
        except ValueError:
            problems.append(
                Problem("must name a scenario by its id", _EXAMPLE, "--constraint", text)
            )
    if problems:
        raise RequestError(problems)
    return tuple(found)


_VARY_EXAMPLE = (
    'Write for example --vary "size=800:2000:100", --vary "sites=15,22,30", --vary "looks=1,3 obf" '
    'or --vary "ratio=1:1,2:1".'
)


def vary_from_words(words: Sequence[str]) -> Vary:
    """Read ``DECISION=VALUE,VALUE`` as typed; numbers also as FIRST:LAST:STEP.

    Raises
    ------
    RequestError
        For what means nothing, all at once.
    """
    content: dict[str, Any] = {}
    problems = []
    for text in words:
        name, equals, values = text.partition("=")
        key = re.sub("[- ]", "_", name.strip().lower())
        if key not in Vary.model_fields or not equals or not values.strip():
            known = ", ".join(Decision)
            rule = f"must be a decision and its values; the decisions are {known}"
            problems.append(Problem(rule, _VARY_EXAMPLE, "--vary", text))
            continue
        if key in content:
            problems.append(
                Problem(f"decides on '{name}' again", "Give its values in one.", "--vary", text)
            )
            continue
        parts = [part.strip() for part in values.split(",") if part.strip()]
        try:
            if key in ("size", "sites"):
                content[key] = [n for part in parts for n in _stepped(part)]
            elif key == "threshold":
                content[key] = [n for part in parts for n in _evenly(part)]
            else:
                content[key] = parts
            Vary.model_validate({key: content[key]})
        except (PydanticCustomError, ValueError) as error:
            problems.append(_problem(error, "--vary", text))
            content.pop(key, None)
    if problems:
        raise RequestError(problems)
    return Vary.model_validate(content)


def _evenly(part: str) -> list[float]:
    numbers = [float(n) for n in part.split(":")]
    if len(numbers) == 1:
        return numbers
    if len(numbers) != 3 or not numbers[2] > 0 or not numbers[0] <= numbers[1] < inf:
        raise broken("must be FIRST:LAST:STEP", "Write for example 20:50:10.")
    n = min(int((numbers[1] - numbers[0]) / numbers[2] + 1e-9), _MOST) + 1
    return [round(numbers[0] + k * numbers[2], 12) for k in range(n)]


def _stepped(part: str) -> list[int]:
    values = [float(n) for n in part.replace("_", "").split(":")]
    if not all(value.is_integer() for value in values):
        raise broken("must be whole numbers", "Write for example 800:2000:100.")
    numbers = [int(value) for value in values]
    if len(numbers) == 1:
        return numbers
    if len(numbers) != 3 or numbers[2] <= 0 or numbers[1] < numbers[0]:
        raise broken("must be FIRST:LAST:STEP", "Write for example 800:2000:100.")
    return list(range(numbers[0], numbers[1] + 1, numbers[2]))[: _MOST + 1]


def _problem(error: Exception, option: str, text: str) -> Problem:
    if isinstance(error, PydanticCustomError) and error.context:
        return Problem(error.context["rule"], error.context["remedy"], option, text)
    errors = getattr(error, "errors", None)
    first = errors(include_url=False)[0] if errors else None
    if first and first["type"] == "rule":
        return Problem(first["ctx"]["rule"], first["ctx"]["remedy"], option, text)
    said = f": {first['msg'].lower()}" if first else ""
    return Problem(f"has values that it cannot take{said}", _VARY_EXAMPLE, option, text)

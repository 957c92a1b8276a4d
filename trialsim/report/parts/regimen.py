"""How much of a drug a patient gets: doses, injections, milligrams."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.protocol.design import Regimen
from trialsim.protocol.scenario import Nature
from trialsim.protocol.truths.pool import Dosing, dosings_of

__all__ = ["regimen_in_words"]

_INJECTED = ("subcutaneous", "intramuscular", "intravenous", "injection", "infusion")


def regimen_in_words(regimen: Regimen | None, nature: Nature) -> Iterator[str]:
    """Yield the doses of one patient and what they add up to; nothing where no dose is stated.

    Phases are added up; where their doses have several units, each phase has its own line.
    A dose per m2 or per kg is counted in mg where `nature` states a patient's size.
    """
    phases = dosings_of(regimen)
    if regimen is None:
        return
    route = (regimen.route or "").lower()
    what = "injections" if any(word in route for word in _INJECTED) else "doses"
    alike = len({dosing.dose.unit for dosing in phases}) == 1
    for together in (phases,) if alike else [(dosing,) for dosing in phases]:
        yield _given(together, what, nature)


def _given(phases: tuple[Dosing, ...], what: str, nature: Nature) -> str:
    n_doses, amount = sum(d.n_doses for d in phases), sum(d.given for d in phases)
    unit, _, per = phases[0].dose.unit.partition("/")
    size = {"m2": nature.body_surface_m2, "kg": nature.body_weight_kg}.get(per)
    given = f"{n_doses} {what}, {amount:g} {phases[0].dose.unit} per patient"
    if size is not None:
        total = f"{amount * size.value:.4g} {unit}"
        given += f" = {total} at {size} {per} ({size.source or 'assumed'})"
    elif per:
        given += f" (in {unit}: state nature.{_SIZES.get(per, 'body size')})"
    return given


_SIZES = {"m2": "body_surface_m2", "kg": "body_weight_kg"}

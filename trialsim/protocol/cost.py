"""What a trial costs, by what drives it: patients, visits, sites and months."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trialsim.protocol.quantities import Frozen, Number, SourcedNumber, Whole

__all__ = ["Amount", "Cost"]


class Amount(SourcedNumber):
    """An amount of money in the currency and the prices of the year stated beside it."""

    value: Annotated[Number, Field(ge=0, le=1e9)]


class Cost(Frozen):
    """Prices. An amount without a source is assumed; one left out is 0 and said so.

    `screening` is paid for every patient screened, enrolled or not; `per_month` is coordination,
    and `per_site_month` is paid at each of `sites` (left out: 1), from the first patient in to the
    last read-out; `start_up` once for every site opened, `per_dose` for every dose given or in a
    kit that is wasted, `per_look` for every analysis by the monitoring board. In a forecast a site
    is paid from its own opening until the last data are in.
    """

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    year: Annotated[Whole, Field(ge=1980, le=2100)]
    per_patient: Amount = Amount(value=0.0)
    per_visit: Amount = Amount(value=0.0)
    screening: Amount = Amount(value=0.0)
    per_month: Amount = Amount(value=0.0)
    per_site_month: Amount = Amount(value=0.0)
    start_up: Amount = Amount(value=0.0)
    per_dose: Amount = Amount(value=0.0)
    per_look: Amount = Amount(value=0.0)
    sites: Annotated[Whole, Field(ge=1, le=10_000)] | None = None

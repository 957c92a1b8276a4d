"""What patients got, and who counts as what (RoB 2, domain 2: deviations from interventions)."""

from __future__ import annotations

from dataclasses import replace
from math import log1p

import numpy as np
from numpy.typing import NDArray

from trialsim.conduct.attrition import probabilities
from trialsim.conduct.records import Luck, Records
from trialsim.protocol.conduct import (
    CoIntervention,
    EarlyDeaths,
    HistoricalControls,
    ImmortalTime,
    Mechanism,
    NonAdherence,
)
from trialsim.streams import Decision

__all__ = [
    "as_treated",
    "co_intervention",
    "days_of_death",
    "historical_controls",
    "immortal_time",
    "per_protocol",
]


def co_intervention(records: Records, flaw: CoIntervention, luck: Luck) -> Records:
    """Give some treated patients other effective care, which averts unfavourable outcomes.

    The risk among the treated is multiplied by 1 - strength x share averted. Of what is no yes or
    no, who gets the care has an outcome better by its `size`, with the own luck.

    Parameters
    ----------
    records : Records
    flaw : CoIntervention
    luck : Luck

    Returns
    -------
    Records
    """
    strength = luck.strength(Mechanism.CO_INTERVENTION, flaw.strength)
    if records.worse_by is not None:
        gets = records.treated & (luck.of_patients(Decision.CO_INTERVENTION) < strength)
        return replace(records, worse_by=np.where(gets, -flaw.size, 0.0) + records.worse_by)
    assert flaw.averts is not None  # refused by the rules
    given = strength * flaw.averts.value
    averted = records.treated & (luck.of_patients(Decision.CO_INTERVENTION) < given)
    return replace(records, unfavourable=records.unfavourable & ~averted)


def historical_controls(records: Records, flaw: HistoricalControls, luck: Luck) -> Records:
    """Replace some controls by patients of an earlier time, with other odds of the outcome.

    Their marginal odds are those of concurrent controls times the drift: outcomes are turned to
    the unfavourable one, or from it, with the one probability that does this; odds of 0 or infinity
    drift nowhere. What is no yes or no is worse in them by the drift's `size`, with the luck of the
    controls they replace.

    Parameters
    ----------
    records : Records
    flaw : HistoricalControls
    luck : Luck

    Returns
    -------
    Records
    """
    strength = luck.strength(Mechanism.HISTORICAL_CONTROLS, flaw.strength)
    if records.worse_by is not None:
        earlier = ~records.treated & (luck.of_patients(Decision.HISTORICAL_CONTROLS) < strength)
        return replace(records, worse_by=np.where(earlier, flaw.size, 0.0) + records.worse_by)
    assert flaw.drift is not None  # refused by the rules
    risk, odds_ratio = records.control_risk, flaw.drift.value
    if risk in (0.0, 1.0):
        return records
    then = risk * odds_ratio / (1 - risk + risk * odds_ratio)
    share = (then - risk) / (1 - risk) if then >= risk else (risk - then) / risk
    turned = ~records.treated & (luck.of_patients(Decision.HISTORICAL_CONTROLS) < strength * share)
    other = records.unfavourable | turned if then >= risk else records.unfavourable & ~turned
    return replace(records, unfavourable=other)


def per_protocol(records: Records, flaw: NonAdherence, luck: Luck) -> Records:
    """Leave out who does not adhere.

    Parameters
    ----------
    records : Records
    flaw : NonAdherence
    luck : Luck

    Returns
    -------
    Records
    """
    stops = _not_adhering(records, Mechanism.PER_PROTOCOL, flaw, luck)
    return replace(records, included=records.included & ~stops)


def as_treated(records: Records, flaw: NonAdherence, luck: Luck) -> Records:
    """Count who does not adhere in the other arm; outcomes stay (assumed).

    Parameters
    ----------
    records : Records
    flaw : NonAdherence
    luck : Luck

    Returns
    -------
    Records
    """
    crosses = _not_adhering(records, Mechanism.AS_TREATED, flaw, luck)
    return replace(records, treated=records.treated ^ crosses)


def _not_adhering(
    records: Records, mechanism: Mechanism, flaw: NonAdherence, luck: Luck
) -> NDArray[np.bool_]:
    strength = luck.strength(mechanism, flaw.strength)
    chance = strength * probabilities(records, flaw.non_adherent)
    return np.asarray(luck.of_patients(Decision.NON_ADHERENCE) < chance)


def days_of_death(records: Records, luck: Luck) -> NDArray[np.float64]:
    """Return when the treated with the outcome had it, in days since entry.

    Where times are not known, a constant hazard up to the read-out (assumed): of those with the
    event, a share (1 - (1 - p)^(t / day)) / p has it by t, p being the true risk of the treated.

    Returns
    -------
    ndarray of float, shape (n_patients, n_reps)
        Infinity for those without the event.
    """
    if records.event_days is not None:
        return records.event_days
    uniforms = luck.of_patients(Decision.IMMORTAL_TIME)
    risk = records.treated_risk
    days = records.day * np.log1p(-uniforms * risk) / log1p(-risk)
    return np.where(records.unfavourable, days, np.inf)


def immortal_time(records: Records, flaw: ImmortalTime, luck: Luck) -> Records:
    """Count as treated only who lived to have had treatment for so long.

    Of exponential times with hazard h, the same in both arms, followed until all have died, those
    counted as treated after d days have 1 / (1 + h d) times the events per year at risk of controls
    where early deaths are left out (Suissa 2008, American Journal of Epidemiology 167:492-499, on
    the bias; the formula is derived in docs/methods.md).

    Parameters
    ----------
    records : Records
        Of an event that ends treatment, with `treated_risk` and `day`, or `event_days`.
    flaw : ImmortalTime
    luck : Luck

    Returns
    -------
    Records
    """
    strength = luck.strength(Mechanism.IMMORTAL_TIME, flaw.strength)
    acts = luck.of_patients(Decision.IMMORTAL_TIME, "counted") < strength
    early = acts & records.treated & (days_of_death(records, luck) < flaw.exposed_after.days)
    match flaw.early_deaths:
        case EarlyDeaths.LEFT_OUT:
            return replace(records, included=records.included & ~early)
        case EarlyDeaths.COUNTED_AS_UNTREATED:
            return replace(records, treated=records.treated & ~early)

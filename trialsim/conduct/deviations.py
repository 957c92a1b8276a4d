"""What patients got, and who counts as what (RoB 2, domain 2: deviations from interventions)."""

from __future__ import annotations

from dataclasses import replace

from trialsim.conduct.attrition import probabilities
from trialsim.conduct.records import Luck, Records
from trialsim.protocol.conduct import (
    CoIntervention,
    HistoricalControls,
    Mechanism,
    NonAdherence,
)
from trialsim.streams import Decision

__all__ = ["as_treated", "co_intervention", "historical_controls", "per_protocol"]


def co_intervention(records: Records, flaw: CoIntervention, luck: Luck) -> Records:
    """Give some treated patients other effective care, which averts unfavourable outcomes.

    The risk among the treated is multiplied by 1 - strength x share averted.

    Parameters
    ----------
    records : Records
    flaw : CoIntervention
    luck : Luck

    Returns
    -------
    Records
    """
    given = luck.strength(Mechanism.CO_INTERVENTION, flaw.strength) * flaw.averts.value
    averted = records.treated & (luck.of_patients(Decision.CO_INTERVENTION) < given)
    return replace(records, unfavourable=records.unfavourable & ~averted)


def historical_controls(records: Records, flaw: HistoricalControls, luck: Luck) -> Records:
    """Replace some controls by patients of an earlier time, with other odds of the outcome.

    Their marginal odds are those of concurrent controls times the drift: outcomes are turned to
    the unfavourable one, or from it, with the one probability that does this.

    Parameters
    ----------
    records : Records
    flaw : HistoricalControls
    luck : Luck

    Returns
    -------
    Records
    """
    risk, odds_ratio = records.control_risk, flaw.drift.value
    then = risk * odds_ratio / (1 - risk + risk * odds_ratio)
    share = (then - risk) / (1 - risk) if then >= risk else (risk - then) / risk
    strength = luck.strength(Mechanism.HISTORICAL_CONTROLS, flaw.strength)
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
    strength = luck.strength(Mechanism.PER_PROTOCOL, flaw.strength)
    stops = luck.of_patients(Decision.NON_ADHERENCE) < strength * probabilities(
        records, flaw.non_adherent
    )
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
    strength = luck.strength(Mechanism.AS_TREATED, flaw.strength)
    crosses = luck.of_patients(Decision.NON_ADHERENCE) < strength * probabilities(
        records, flaw.non_adherent
    )
    return replace(records, treated=records.treated ^ crosses)

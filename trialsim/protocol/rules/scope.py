"""What is not supported, refused by name in one sentence each.

A trial that only looks like a supported design must not get an answer: whoever writes ``cluster:``
in a file meant it. The same table serves values (``design: cluster-randomised``) and unknown keys.
"""

from __future__ import annotations

import re

__all__ = ["REMEDY", "refusal", "refused_designs"]

REMEDY = "See 'What is not supported' in docs/protocol-format.md."

_REASONS = {
    "cluster|clusters|icc|intracluster": (
        "a cluster-randomised trial",
        "every patient is "
        "randomised alone here, which would make clusters look more precise than they are",
    ),
    "stepped[-_ ]?wedge": (
        "a stepped-wedge trial",
        "its effect is confounded with calendar time, which is not modelled here",
    ),
    "platform|master[-_ ]protocol|basket|umbrella": (
        "a platform trial",
        "arms that enter and leave need controls that are not concurrent",
    ),
    "response[-_ ]?adaptive|play[-_ ]the[-_ ]winner|bandit": (
        "response-adaptive randomisation",
        "allocation that follows outcomes changes what every test here assumes",
    ),
    "bayes|bayesian|posterior.*|predictive.*|prior": (
        "a Bayesian decision rule",
        "the decision "
        "here is a significance test, and running that in its place would answer another question",
    ),
    "cross[-_ ]?over": ("a crossover trial", "each patient has one arm here"),
    "factorial": ("a factorial trial", "there is one treatment comparison here"),
    "(adaptive[-_ ])?enrichment": (
        "an adaptive enrichment design",
        "the population is the same from the first to the last patient here; a marker that says "
        "who that is from the start is 'nature.enrichment'",
    ),
    "margin|non[-_ ]?inferiority|equivalence": (
        "a non-inferiority or equivalence test",
        "the test of a file is of no difference; 'trialsim size --margin' sizes a margin",
    ),
}
_TAIL = r"([-_ ](trial|randomi[sz]ed|randomi[sz]ation|design|arms?|sizes?|rules?|decision))*"
_PATTERNS = [
    (re.compile(rf"({words}){_TAIL}"), f"asks for {what}, which is not supported: {why}")
    for words, (what, why) in _REASONS.items()
]


def refusal(word: str) -> str | None:
    """Return the rule that refuses `word`, or None where it names nothing unsupported."""
    return next((rule for pattern, rule in _PATTERNS if pattern.fullmatch(word.lower())), None)


def refused_designs() -> tuple[tuple[str, str], ...]:
    """Return what is refused by name, each with the reason."""
    return tuple(_REASONS.values())

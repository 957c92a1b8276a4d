"""The protocol ``trialsim new`` writes."""

from __future__ import annotations

__all__ = ["STARTER"]

STARTER = """\
# A protocol to start from. Every number here is assumed: replace it, and say where it comes from:
# {value: 0.30, source: an-evidence-id}. Format: docs/protocol-format.md
schema_version: 1
id: my-trial
title: New drug for a disease

protocol: # what the team decides
  arms:
    - {id: new-drug, role: experimental}
    - {id: usual-care, role: control}
  endpoints:
    - {id: death-28d, level: primary, kind: binary, event: death, at: 28 d, better: lower}
  sample_size: {total: 400}

nature: # what nature decides, in every scenario
  control_risk: 0.30

scenarios:
  - {id: no-effect, title: no effect}
  - {id: hoped-for, title: as hoped for, effect: {odds_ratio: 0.70}}
"""

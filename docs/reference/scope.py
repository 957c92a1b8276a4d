"""What is not supported, from the refusals themselves; and every message with its remedy."""

from __future__ import annotations

import json
import re
from pathlib import Path

from reference.markdown import grid
from trialsim.protocol.rules.scope import refused_designs

CORPUS = Path(__file__).parents[2] / "tests" / "protocols"
MESSAGES = CORPUS / "invalid" / "messages.json"
TEN_LINES = CORPUS / "valid" / "ten-lines.yaml"
_MESSAGE = re.compile(r"^[\w.-]+?\.yaml(?::(?P<line>\d+))?: (?P<said>.*)$", flags=re.DOTALL)
_NOT_YET = re.compile(
    r"not supported|does not have|cannot stand beside|cannot be held against|has no such|is read once"
    r"|is for a primary endpoint|is for risks|has no meaning with|does not apply|which a two-sided"
    r"|which set off no|does not state an endpoint|states risks, but"
)


def not_supported_page() -> str:
    """Return the designs and combinations that are refused, and in which words."""
    designs = [(what, why) for what, why in refused_designs()]
    combined = [(_without_place(said),) for said in _messages() if _NOT_YET.search(said)]
    others = [row for row in combined if "See 'What is not supported'" not in row[0]]
    return f"""# What is not supported

A trial that only looks like a supported design must not get an answer. What is not supported is
refused by name, with exit status 2 and a reason, never computed as something else. This page is made
from the refusals themselves.

## Designs

{grid(("asked for", "why it is refused"), designs)}

Whoever writes `design: cluster-randomised`, or a key such as `cluster_size:`, meant it:

```console
$ trialsim simulate sepsis --set protocol.design=cluster-randomised
--set protocol.design=cluster-randomised: protocol.design asks for a cluster-randomised trial, which is not supported: every patient is randomised alone here, which would make clusters look more precise than they are; got 'cluster-randomised'. See 'What is not supported' in docs/protocol-format.md.
```

Two arms are compared, one of them experimental; a single arm is held against what earlier patients
showed. There are no more arms.

## Things that do not go together

As the program says them, from the tests' files with one mistake each:

{grid(("refusal and remedy",), others)}
"""


def messages_page() -> str:
    """Return every message about a file that the tests pin, by the mistake that gives it."""
    told = [
        (f"`{name}`", _without_place(said))
        for name, messages in json.loads(MESSAGES.read_text(encoding="utf-8")).items()
        for said in messages
    ]
    wrong = TEN_LINES.read_text(encoding="utf-8").replace("odds_ratio: 0.70", "odds_ratio: -0.7")
    return f"""# Messages about a file

A message names file and line, field, rule, value and remedy; all mistakes are told at once. These are
the ones the tests pin, each from a file with one mistake (`tests/protocols/invalid/`). An example:

```yaml my-trial.yaml
{wrong}```

```console
$ trialsim check my-trial.yaml
my-trial.yaml:9: scenarios.or-070.effect.odds_ratio must be above 0; got -0.7. Write the odds ratio itself, not its logarithm.
```

{grid(("mistake", "what is said"), told)}
"""


def _messages() -> list[str]:
    found = json.loads(MESSAGES.read_text(encoding="utf-8")).values()
    return list(dict.fromkeys(said for messages in found for said in messages))


def _without_place(message: str) -> str:
    found = _MESSAGE.match(message)
    said = found["said"] if found else message
    return re.sub(r"[\\`*_<>\[\]]", lambda sign: "\\" + sign[0], said)

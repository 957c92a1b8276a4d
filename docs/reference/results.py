"""The page of results: the JSON document, the keys of its rows, the vocabulary of measures."""

from __future__ import annotations

import dataclasses
import inspect
import re

from reference.markdown import from_docstring, grid
from trialsim.report.document import RESULT_FORMAT, Document
from trialsim.trial import Measure, Row

_KEY = re.compile(r"^    (\w+): ([^=#\n]+?)(?: = [^#\n]+?)?(?:  # (.+))?$", flags=re.MULTILINE)
_MEASURE = re.compile(r"^    [A-Z]\w* = \"(\w+)\"(?:  # (.+))?$", flags=re.MULTILINE)


def results_page() -> str:
    """Return what ``--json`` prints, for whoever reads it with another program."""
    measures = _MEASURE.findall(inspect.getsource(Measure))
    if [name for name, _ in measures] != [measure.value for measure in Measure]:
        raise ValueError("a measure is not written on one line of the enumeration")
    return f"""# Results for other programs

`--json` prints one document and nothing else; the same document stands in the run's folder as
`results/<command>.json`, its rows as a table in `results/<command>.csv`. The same command gives the
same bytes: no clock time, no path, no name of a machine. NaN and infinity never appear: a number
that cannot be given is `"value": null`, and `why` says why. This page is made from the code.

```console
$ trialsim simulate sepsis --scenario or-082 --replicates 500 --json
```

## The document

`"format": "{RESULT_FORMAT}"` and `"version"`, and of these what there is. Additions are allowed under
`/1`; a change of meaning is `/2`.

{grid(("key", "what it holds"), _document_keys())}

On an error standard output holds `{{"format": ..., "errors": [...]}}`, each with `file`, `line`,
`field`, `rule`, `value` and `remedy`, as far as they apply.

## A row

{from_docstring(inspect.cleandoc(Row.__doc__ or "").splitlines()[0])} Keys that do not apply are left
out. A number without `mcse` is exact, or analytic.

{grid(("key", "type", "note"), _row_keys())}

## Measures

{grid(("measure", "what it is"), measures)}
"""


_DOCUMENT = {
    "command": "which command",
    "arguments": "only what can change the answer: never workers, place or form of the output",
    "protocol": "id of the template",
    "protocol_sha256": "hash of the resolved protocol, variant and settings included",
    "seed": "the one integer that all random numbers follow from",
    "rows": "the answer: flat rows, one number each",
    "observed": "published results beside the simulated ones: flat rows",
    "findings": "verdicts: `subject`, `verdict`, `detail`",
    "texts": "paragraphs to copy, by name",
    "warnings": "disagreements between sources: `level`, `code`, `text`, `touches`; of "
    "`evidence --template` also `subject`, `sides`, `used`",
    "partial": "of a run that was stopped: replicates there, of those asked for",
}


def _document_keys() -> list[tuple[str, str]]:
    names = [field.name for field in dataclasses.fields(Document)]
    return [(f"`{name}`", _DOCUMENT[name]) for name in names]  # a new key must be said here


def _row_keys() -> list[tuple[str, str, str]]:
    found = {name: (kind, note) for name, kind, note in _KEY.findall(inspect.getsource(Row))}
    names = [field.name for field in dataclasses.fields(Row)]
    return [(f"`{n}`", f"`{found[n][0].replace(' | None', '')}`", found[n][1]) for n in names]

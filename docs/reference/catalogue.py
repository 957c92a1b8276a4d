"""The catalogue: every template with its evidence, and what was checked of either."""

from __future__ import annotations

from collections.abc import Iterator

from reference.markdown import grid
from trialsim.protocol.published.cautions import cautions_about
from trialsim.protocol.published.evidence import EvidenceRecord
from trialsim.protocol.reading.load import load_template, shipped_evidence
from trialsim.protocol.reading.places import template_paths
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.report.screens.catalogue import catalogue_rows
from trialsim.report.screens.protocol_screen import sources_of, template_lines
from trialsim.report.screens.records import evidence_rows, record_lines
from trialsim.report.text import caution_lines


def catalogue_pages() -> dict[str, str]:
    """Return the pages of the catalogue by their place in the site."""
    templates = {name: load_template(name) for name in template_paths()}
    pages = {f"catalogue/{name}.md": _template_page(t) for name, t in templates.items()}
    return {"catalogue/index.md": _index(templates), "catalogue/evidence.md": _evidence(), **pages}


def _index(templates: dict[str, ResolvedTemplate]) -> str:
    rows = []
    for row in catalogue_rows():
        template = templates[row["template"]].template
        trials = f"{row['n_trials']} trial{'' if row['n_trials'] == 1 else 's'}"
        held = f"{trials}, {row['n_pools']} pooled" if row["n_observed"] else "none"
        old = " (historical)" if row["setting"] == "historical" else ""
        verdicts = "; ".join(sorted(set(row["consistency"]))) or "-"
        rows.append(
            (
                f"[{row['template']}]({row['template']}.md){old}",
                row["condition"] or row["title"],
                f"{row['design']}, {row['n_total']:,} patients; {row['endpoint']}, "
                f"{row['follow_up']}",
                held,
                verdicts,
                f"{template.qc.date}: {template.qc.n_values} values" if template.qc else "no",
            )
        )
    heads = ("template", "condition", "design", "held against", "their numbers", "encoded twice")
    return f"""# The catalogue

The protocols that come with the program, and the published results they are held against. A template
is what a team would decide; scenarios say what nature might; evidence is what somebody published, and
is never an input to truth by accident. This page is made from the files.

```console
$ trialsim list
```

{grid(heads, rows)}

*Their numbers*: whether the published numbers of the trials held against can be right together
(`trialsim evidence check`). *Encoded twice*: a second hand, blind to the file unless its page says
otherwise, wrote its facts down again from the sources; the differences stand in the file, and on its page.

[The evidence](evidence.md): every record, with the status of each number.
"""


def _template_page(resolved: ResolvedTemplate) -> str:
    template = resolved.template
    cited = [resolved.evidence.records[n] for n in sources_of(resolved) if _is_record(n, resolved)]
    sources = [
        (f"[{r.id}](evidence.md#{r.id})", r.kind, r.title, _statuses(r), _verdict(r)) for r in cited
    ]
    parts = [
        f"# {template.title}",
        f"```console\n$ trialsim show {template.id}\n{template_lines(resolved, 'trialsim')}\n```",
        f"Run it: `trialsim simulate {template.id}`. The file: `protocols/{template.id}.yaml`.",
        "## Its evidence",
        grid(("record", "kind", "what", "status of its numbers", "can be right together"), sources)
        if sources
        else "It cites no record: every number is assumed.",
        "## The file",
        f"```yaml\n{template_paths()[template.id].read_text(encoding='utf-8').strip()}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _is_record(name: str, resolved: ResolvedTemplate) -> bool:
    return name in resolved.evidence.records


def _statuses(record: EvidenceRecord) -> str:
    return ", ".join(sorted({str(row["status"]) for row in evidence_rows([record])} - {"None"}))


def _verdict(record: EvidenceRecord) -> str:
    return record.consistency.verdict.value if record.consistency else "not checked"


def _evidence() -> str:
    evidence = shipped_evidence()

    def told() -> Iterator[str]:
        for record in evidence.records.values():
            yield f"## {record.id}"
            lines = record_lines(record)
            cautions = cautions_about([record.id], evidence)
            if cautions:
                lines += f"\n\n{caution_lines(cautions, program='trialsim', in_full=True)}"
            yield f"```text\n{lines}\n```"

    return "\n\n".join(
        [
            "# The evidence",
            "What was published, as it stands in `protocols/evidence/`. *published*: printed by the "
            "source. *derived*: follows from printed numbers. DOCUMENT: only a secondary document "
            "says so. Each is what `trialsim evidence show ID` prints.",
            *told(),
        ]
    )

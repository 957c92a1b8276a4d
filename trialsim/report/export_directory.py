"""A folder of tables to hand to a statistics program: CSV, Parquet (``[parquet]``), what is what.

The same trials give the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from trialsim.errors import Problem, RequestError
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.report.parts.exported_tables import ExportedTable

__all__ = ["NOT_ADAM", "write_export"]

NOT_ADAM = (
    "These tables are shaped like ADaM data sets (ADSL, ADTTE, ADRS, ADLB). They are not ADaM: no "
    "controlled terminology, no SDTM behind them, no define.xml, no traceability; variables that a "
    "simulation has no use for are missing, and some here have no place in the standard."
)
_ARROW_TYPES = {"integer": "int64", "float": "float64", "text": "string"}


def write_export(
    folder: Path,
    resolved: ResolvedTemplate,
    tables: Sequence[ExportedTable],
    about: str,
    *,
    parquet: bool = False,
) -> list[Path]:
    """Write tables, a dictionary of their variables, and a README, into a new folder.

    Parameters
    ----------
    folder : Path
        New, or empty.
    resolved : ResolvedTemplate
    tables : sequence of ExportedTable
    about : str
        Which trials these are, and how to make them again.
    parquet : bool
        Each table as Parquet too.

    Raises
    ------
    RequestError
        If the folder holds something, or pyarrow is asked for and not installed.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise _refused(folder, "exists already", "Name a new folder.")
    if parquet:
        _arrow(folder)  # before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        path = folder / f"{table.name.lower()}.csv"
        names = [variable.name for variable in table.variables]
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(table.rows)
        written.append(path)
        if parquet:
            written.append(_write_parquet(folder, table))
    written.append(_write_dictionary(folder, tables))
    written.append(_write_readme(folder, resolved, tables, about, written))
    return written


def _arrow(folder: Path):  # type: ignore[no-untyped-def]
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        remedy = "Install it with: pip install 'trialsim[parquet]', or leave --parquet out."
        raise _refused(folder, "needs pyarrow, which is not installed", remedy) from None


def _write_parquet(folder: Path, table: ExportedTable) -> Path:
    arrow, parquet = _arrow(folder)
    fields = [(v.name, getattr(arrow, _ARROW_TYPES[v.type])()) for v in table.variables]
    rows = [{name: row.get(name) for name, _ in fields} for row in table.rows]
    path = folder / f"{table.name.lower()}.parquet"
    parquet.write_table(arrow.Table.from_pylist(rows, schema=arrow.schema(fields)), path)
    return path


def _write_dictionary(folder: Path, tables: Sequence[ExportedTable]) -> Path:
    path = folder / "define.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("dataset", "variable", "label", "type", "derivation"))
        for table in tables:
            for v in table.variables:
                writer.writerow((table.name, v.name, v.label, v.type, v.derivation))
    return path


def _write_readme(
    folder: Path,
    resolved: ResolvedTemplate,
    tables: Sequence[ExportedTable],
    about: str,
    written: Sequence[Path],
) -> Path:
    lines = [
        f"# {resolved.template.title}: simulated patients",
        "",
        "Nobody here exists: every row was simulated under stated assumptions.",
        "",
        about,
        "",
        NOT_ADAM,
        "",
    ]
    for table in tables:
        lines += [f"## {table.name}: {table.title}", "", f"{len(table.rows):,} rows.", ""]
        lines += ["| variable | label | type | derivation |", "| --- | --- | --- | --- |"]
        lines += [f"| {v.name} | {v.label} | {v.type} | {v.derivation} |" for v in table.variables]
        lines.append("")
    lines += ["## Files", "", "SHA-256 of each, as `sha256sum` says it:", "", "```"]
    lines += [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in written]
    lines += ["```", ""]
    path = folder / "README.md"
    path.write_text("\n".join(lines), encoding="utf-8", newline="\n")
    return path


def _refused(folder: Path, rule: str, remedy: str) -> RequestError:
    return RequestError(Problem(rule, remedy, "--out", str(folder)))

"""Where templates, evidence, profiles and literatures live. Quick: it imports nothing of ours."""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "conduct_paths",
    "evidence_paths",
    "lesson_paths",
    "lessons_folder",
    "literature_paths",
    "protocols_folder",
    "reconciliation_paths",
    "schema_paths",
    "template_paths",
]


def protocols_folder() -> Path:
    """Return the folder of templates: inside an installed package, or at the root of a checkout."""
    package = Path(__file__).parents[2]
    installed = package / "_protocols"
    return installed if installed.is_dir() else package.parent / "protocols"


def template_paths() -> dict[str, Path]:
    """Return the shipped templates by id, in alphabetical order."""
    return {path.stem: path for path in _sorted(protocols_folder())}


def evidence_paths() -> list[Path]:
    """Return the shipped evidence files, in alphabetical order."""
    return _sorted(protocols_folder() / "evidence")


def conduct_paths() -> dict[str, Path]:
    """Return the shipped profiles of conduct by id."""
    return {path.stem: path for path in _sorted(protocols_folder() / "conduct")}


def literature_paths() -> dict[str, Path]:
    """Return the shipped literatures by id."""
    folder = protocols_folder() / "literatures"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def reconciliation_paths() -> dict[str, Path]:
    """Return the shipped reconciliations by id."""
    folder = protocols_folder() / "reconciliations"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def lessons_folder() -> Path:
    """Return the folder of the lessons: inside an installed package, or of a checkout."""
    package = Path(__file__).parents[2]
    installed = package / "_lessons"
    return installed if installed.is_dir() else package.parent / "examples" / "lessons"


def lesson_paths() -> dict[str, Path]:
    """Return the protocols of the lessons by id, ``lesson-1``; one without its own is of sepsis."""
    shipped = protocols_folder() / "sepsis.yaml"
    found = {}
    for student in sorted(lessons_folder().glob("*/student.md")):
        own = student.with_name("trial.yaml")
        number = student.parent.name.split("-")[0]
        found[f"lesson-{number}"] = own if own.is_file() else shipped
    return found


def schema_paths() -> dict[str, Path]:
    """Return the generated JSON Schemas: of a protocol file, and of an evidence file."""
    folder = protocols_folder() / "schema"
    return {name: folder / f"{name}-1.json" for name in ("protocol", "evidence")}


def _sorted(folder: Path) -> list[Path]:
    """Return the files of a folder by their ids: "sepsis" before "sepsis-enriched"."""
    return sorted(folder.glob("*.yaml"), key=lambda path: path.stem)

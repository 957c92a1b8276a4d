"""Files that must be read, and files that must be refused with exactly these words."""

from __future__ import annotations

import json

import jsonschema
import pytest

from conftest import CORPUS, ROOT
from trialsim import ProtocolError, check_file
from trialsim.protocol.reading.catalogue import evidence_paths, schema_paths, template_paths
from trialsim.protocol.reading.load import json_schemas
from trialsim.protocol.reading.nodes import plain, read_file

VALID = sorted((CORPUS / "valid").glob("*.yaml"))
MESSAGES = json.loads((CORPUS / "invalid" / "messages.json").read_text(encoding="utf-8"))
SCHEMA = jsonschema.Draft202012Validator(json_schemas()["protocol"])


@pytest.mark.parametrize("path", [*VALID, *template_paths().values()], ids=lambda p: p.stem)
def test_property_a_valid_file_is_right_and_its_resolved_form_too(path, tmp_path):
    resolved = check_file(str(path))
    again = tmp_path / "again.yaml"
    again.write_text(json.dumps(resolved.document), encoding="utf-8")
    assert check_file(str(again)).sha256 == resolved.sha256
    assert SCHEMA.is_valid(resolved.document)
    if path.stem != "words-any-way":  # the schema knows one spelling of each word
        assert SCHEMA.is_valid(plain(read_file(path)))


def test_property_there_are_at_least_sixty_invalid_files_and_each_has_its_message():
    files = {path.stem for path in (CORPUS / "invalid").glob("*.yaml")}
    assert files == set(MESSAGES)
    assert len(files) >= 60


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_regression_an_invalid_file_gives_exactly_its_message(name):
    with pytest.raises(ProtocolError) as caught:
        check_file(str(CORPUS / "invalid" / f"{name}.yaml"))
    assert [str(problem) for problem in caught.value.problems] == MESSAGES[name]
    expected = (
        3 if name == "two-mistakes" else 1
    )  # named for its kinds: a key, a value, a reference
    assert len(MESSAGES[name]) == expected
    for problem in caught.value.problems:
        assert problem.remedy.endswith((".", "?"))


def test_property_the_json_schema_alone_refuses_at_least_half():
    """And which: a schema that lets one of these pass has lost something."""
    refused = []
    for name in MESSAGES:
        try:
            content = plain(read_file(CORPUS / "invalid" / f"{name}.yaml"))
        except ProtocolError:
            continue  # not YAML, or not allowed as YAML: no schema sees it
        refused += [name] if not SCHEMA.is_valid(content) else []
    listed = json.loads((CORPUS / "refused-by-schema.json").read_text(encoding="utf-8"))
    assert sorted(set(listed) - set(refused)) == [], "the schema no longer refuses these"
    assert sorted(refused) == listed, "the schema refuses more: add them to the list"
    assert len(refused) >= len(MESSAGES) / 2, f"{len(refused)} of {len(MESSAGES)}"


def test_regression_the_shipped_schemas_are_the_generated_ones():
    for name, path in schema_paths().items():
        assert json.loads(path.read_text(encoding="utf-8")) == json_schemas()[name], (
            "run: make docs"
        )


@pytest.mark.parametrize("path", evidence_paths(), ids=lambda p: p.stem)
def test_property_shipped_evidence_fits_its_schema(path):
    jsonschema.validate(plain(read_file(path)), json_schemas()["evidence"])


def test_regression_fifty_megabytes_are_refused_without_reading_them(tmp_path):
    path = tmp_path / "large.yaml"
    with path.open("wb") as stream:
        stream.truncate(50_000_000)
    with pytest.raises(ProtocolError, match="larger than 1 MB"):
        check_file(str(path))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "is a folder"),
        (lambda p: __import__("os").mkfifo(p), "not a regular file"),
    ],
)
def test_regression_what_is_no_file_is_said(make, words, tmp_path):
    path = tmp_path / "thing.yaml"
    make(path)
    with pytest.raises(ProtocolError, match=words):
        check_file(str(path))


def test_regression_deep_nesting_within_a_megabyte_ends_at_once(tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_text("a: " + "[" * 400_000, encoding="utf-8")
    with pytest.raises(ProtocolError, match="nested deeper than 40"):
        check_file(str(path))


def test_property_ten_lines_in_the_readme_are_the_valid_file():
    text = (CORPUS / "valid" / "ten-lines.yaml").read_text(encoding="utf-8")
    assert text.strip() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_property_the_ids_check_reads_by_eye_are_those_of_the_records():
    from trialsim.protocol.reading.load import record_ids, shipped_evidence

    by_eye = set().union(*(record_ids(path) for path in evidence_paths()))
    assert by_eye == set(shipped_evidence().records)


def test_regression_check_knows_a_conflict_from_a_record(tmp_path):
    text = (CORPUS / "valid" / "ten-lines.yaml").read_text(encoding="utf-8")
    path = tmp_path / "f.yaml"
    path.write_text(text.replace("0.30", "{value: 0.30, source: tests-2025-benefit}"))
    with pytest.raises(ProtocolError, match="is not a known evidence id"):
        check_file(str(path))

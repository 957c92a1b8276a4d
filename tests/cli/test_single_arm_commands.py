"""A single-arm file through the commands: screen, document, report, replay, size."""

from __future__ import annotations

import io
import json
import signal
from contextlib import redirect_stderr, redirect_stdout

import pytest

from conftest import CORPUS
from trialsim.cli import main

BINARY, CD4 = (str(CORPUS / "valid" / f"{name}.yaml") for name in ("single-arm", "single-arm-cd4"))


def said_by(*words):
    """Run a command in this process: starting one takes longer than what it does here."""
    out, err, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGINT)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(list(words))
        except SystemExit as stop:
            status = stop.code
        finally:
            signal.signal(signal.SIGINT, before)
    return status, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, file in (("binary", BINARY), ("cd4", CD4)):
        status, out, err = said_by(
            "simulate", file, "--replicates", "512", "--out", str(folder / name)
        )
        assert status == 0, err
        (folder / f"{name}.txt").write_text(out, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("binary", ["drift since then", "+0.0727", "two stages, 3/13", "53.80 %", "pooled"]),
        ("cd4", ["regression to the mean", "+43.5", "x 1.08", "analysis of covariance"]),
    ],
)
def test_property_the_screen_tells_a_change_without_effect_piece_by_piece(runs, name, words):
    text = (runs / f"{name}.txt").read_text(encoding="utf-8")
    said = " ".join(text.split())
    for word in (
        *words,
        "A change without effect, piece by piece",
        "What randomisation would need",
        "with no effect at all",
    ):
        assert word in said, word
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.isascii()


def test_property_the_document_has_a_row_for_everything_shown():
    _, out, _ = said_by("simulate", BINARY, "--replicates", "512", "--json")
    document = json.loads(out, parse_constant=lambda word: pytest.fail(word))
    measures = {row["measure"] for row in document["rows"]}
    expected = {"attribution", "power_alone", "power_achieved", "expected_n", "stop_probability"}
    assert expected <= measures
    alone = [row for row in document["rows"] if row["measure"] == "power_alone"]
    assert all(row["n_replicates"] == 512 and row["mcse"] > 0 for row in alone)
    exact = [row for row in document["rows"] if "by enumeration" in row.get("analysis", "")]
    assert exact
    assert all("mcse" not in row for row in exact)


@pytest.mark.parametrize("name", ["binary", "cd4"])
def test_property_the_report_has_its_section_and_randomises_nobody(runs, name):
    page, text = (str(runs / f"{name}.{kind}") for kind in ("html", "md"))
    status, _, err = said_by("report", str(runs / name), "--out", page, "--markdown", text)
    assert status == 0, err
    text = (runs / f"{name}.md").read_text(encoding="utf-8")
    assert "## Against a historical control" in text
    assert "A change without effect, piece by piece" in text
    assert "none: a single arm" in text
    assert "randomised patients" not in text
    assert "would find an effect in" in text  # beside the power in the sentence for the protocol
    drawn = (runs / f"{name}.html").read_text(encoding="utf-8")
    assert "What a single arm shows against its historical control" in drawn  # the waterfall


def test_property_more_replicates_extend_a_run_and_its_pieces(runs):
    status, _, err = said_by("simulate", CD4, "--replicates", "768", "--out", str(runs / "cd4"))
    assert status == 0, err
    (path,) = (runs / "cd4" / "results").glob("simulate-*.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert {row["n_replicates"] for row in rows if row["measure"] == "power_alone"} == {768}


def test_property_a_trial_that_stopped_says_so(runs):
    words = ["--scenario", "no-effect", "--replicate", "3"]
    _, out, _ = said_by("replay", str(runs / "binary"), *words)
    said = " ".join(out.split())
    assert "13 patients were recruited, all to drug." in said
    assert "v risk 0.2 (assumed), taken as known" in said
    assert "It ended for futility after the first 13 patients." in said


def test_property_size_of_a_single_arm_says_what_is_no_effect_and_means_are_refused():
    status, out, _ = said_by("size", BINARY, "--replicates", "500")
    said = " ".join(out.split())
    assert status == 0
    assert "Simon's minimax" in said
    assert "not the known 20.0%: part of the way to 52.8% is no effect" in said
    status, _, err = said_by("size", CD4)
    assert status == 2
    assert "Try sizes with 'simulate --set protocol.sample_size.total=N'." in err


def test_property_check_names_what_is_assumed():
    _, out, _ = said_by("check", BINARY)
    assert "historical response 0.2" in out
    assert "drift of response" in out

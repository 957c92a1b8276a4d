"""What the pages say is what the program does."""

from __future__ import annotations

import importlib.util
import re
import shlex

import pytest

from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_regression_the_readme_shows_the_screen_its_command_made():
    screen = (ROOT / "docs" / "sepsis-screen.txt").read_text(encoding="utf-8")
    shown = re.search(r"```\n(SEPSIS.*?)\n```", README, flags=re.S)
    assert shown is not None
    assert screen.startswith(shown[1])


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_docs", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["contribute/a-template.md", "your-own-protocol.md"])
def test_regression_a_page_to_walk_through_shows_what_its_commands_print(name, build, trialsim):
    walk(ROOT / "docs" / name, build, trialsim)


def walk(page, build, trialsim):
    """Hold a page against what its own commands print."""

    def run(words: list[str], folder: str) -> str:
        if words[0] != "trialsim":
            return build.printed(words, folder)
        done = trialsim(*words[1:], cwd=folder)
        said = done.stdout + (done.stderr if done.returncode else "")
        return said.replace(done.args[0], "trialsim")

    assert page in build.WALKED
    text = page.read_text(encoding="utf-8")
    assert build.retold(page, run) == text, "run: make docs"
    assert text.count("\n$ ") >= 5


SIMULATING = ("simulate", "followup", "bias", "synthesise")


def reduced(words: list[str]) -> list[str]:
    """Ask a command for few trials, where it simulates any."""
    few = words[0] in SIMULATING and not {"--observed", "--precision", "--class"} & {*words}
    return [*words, "--replicates", "500"] if few else words


@pytest.mark.parametrize("words", re.findall(r"\| `trialsim ([^`]+)` \|", README))
def test_property_every_command_in_the_readmes_table_runs(words, trialsim, tmp_path):
    (tmp_path / "my-trial.yaml").write_bytes(
        (ROOT / "tests" / "protocols" / "valid" / "ten-lines.yaml").read_bytes()
    )
    done = trialsim(*reduced(shlex.split(words)), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_regression_the_readmes_error_is_what_check_says(trialsim, tmp_path):
    block = re.search(r"```yaml\n(.*?)```", README, flags=re.S)
    assert block is not None
    (tmp_path / "my-trial.yaml").write_text(
        block[1].replace("odds_ratio: 0.70", "odds_ratio: -0.7")
    )
    done = trialsim("check", "my-trial.yaml", cwd=tmp_path)
    assert done.stderr.strip() in README
    assert done.returncode == 2


def test_regression_the_sample_report_is_a_report_of_the_readmes_run():
    text = (ROOT / "docs" / "sample-report.html").read_text(encoding="utf-8")
    assert "Thymalfasin for sepsis" in text
    assert "127/542 v 132/547" in text
    assert "10,000" in text


def test_property_no_page_holds_a_path_of_the_machine_it_was_made_on():
    folders = (ROOT / "docs", ROOT / "examples", ROOT / "protocols")
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    for page in [ROOT / "README.md", *(p for p in found if p.suffix != ".pyc")]:
        text = page.read_text(encoding="utf-8")
        assert str(ROOT) not in text, page.name
        assert not re.search(r"(/home/|/root/|/tmp/|/usr/local/|bin/trialsim evidence)", text), (
            page.name
        )

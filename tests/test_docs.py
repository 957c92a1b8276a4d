"""What the pages say is what the program does."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import telling
import yaml
from notebook import notebook

from conftest import ROOT
from trialsim.cli.parser import UsageError, parse
from trialsim.errors import Problem

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_regression_the_readme_shows_the_screen_its_command_made():
    screen = (ROOT / "docs" / "sepsis-screen.txt").read_text(encoding="utf-8")
    shown = re.search(r"```\n(SEPSIS.*?)\n```", README, flags=re.S)
    assert shown is not None
    assert screen.startswith(shown[1])


@pytest.mark.parametrize("name", ["contribute/a-template.md", "your-own-protocol.md"])
def test_regression_a_page_to_walk_through_shows_what_its_commands_print(name, trialsim):
    page = ROOT / "docs" / name
    assert page.read_text(encoding="utf-8").count("\n$ ") >= 5
    assert retold(page, trialsim) == page.read_text(encoding="utf-8"), "run: make docs"


def retold(page, trialsim):
    """Return a page as its commands tell it here, its figures not drawn again."""
    return telling.retold(page, runner(trialsim), draw=False)


def runner(trialsim):
    """Run a page's commands from the program that has imported already."""

    def run(words: list[str], folder: str) -> str:
        if words[0] != "trialsim":
            return telling.printed(words, folder)
        done = trialsim(*words[1:], cwd=folder)
        said = done.stdout + (done.stderr if done.returncode else "")
        return said.replace(done.args[0], "trialsim")

    return run


def test_regression_a_command_is_run_again_once_its_file_is_another(tmp_path):
    page = tmp_path / "page.md"
    console = "```console\n$ cat it.yaml\nold\n```\n"
    page.write_text("".join(f"```yaml it.yaml\n{n}\n```\n{console}{console}" for n in (1, 2)))
    asked = []

    def run(words, folder):
        asked.append(words)
        return (Path(folder) / words[1]).read_text()

    told = telling.retold(page, run)
    assert re.findall(r"(?m)^\$ cat it.yaml\n(.)$", told) == ["1", "1", "2", "2"]
    assert len(asked) == 2


SIMULATING = ("simulate", "followup", "bias", "synthesise", "size", "calibrate", "demo")


def reduced(words: list[str]) -> list[str]:
    """Ask a command for few trials, where it simulates any."""
    few = words[0] in SIMULATING and not {"--observed", "--precision", "--class"} & {*words}
    if words[0] == "forecast":
        return [*words, "--runs", "4"]
    return [*words, "--replicates", "500"] if few else words


IN_FULL = ("docs/contribute/a-template.md", "docs/your-own-protocol.md")  # above
TOLD = {page.relative_to(ROOT).as_posix(): page for page in telling.told_pages()}
ROWS = "\n".join(re.findall(r"(?m)^\|.+\| (.+?) \|$", README))  # what to type
TABLE = re.findall(r"`trialsim ([^`]+)`", ROWS)
ELSEWHERE = {f"trialsim {command}" for command in TABLE}  # run below


@pytest.mark.parametrize("name", sorted({*TOLD} - {*IN_FULL}))
def test_property_every_command_of_a_page_runs(name, trialsim, tmp_path):
    """With few trials; what pages show of them in full is tested in validation/."""
    earlier = [each for each in sorted({*TOLD} - {*IN_FULL}) if each < name]
    run_page(TOLD[name].read_text(encoding="utf-8"), trialsim, tmp_path, once_in(earlier))


def once_in(names):
    """Return the commands of these pages that need nothing but the program itself."""
    texts = [TOLD[name].read_text(encoding="utf-8") for name in names]
    return {
        command
        for block in (block for text in texts for block in telling.blocks(text))
        if block.language == "console"
        for command, _ in telling.commands(block.text)
        if not re.search(r"--out|\.yaml|\b(run|first)\b", command)
    }


def test_property_every_command_of_a_page_the_program_tells_runs(trialsim, tmp_path):
    from reference import reference_pages

    for name, text in reference_pages().items():
        if "$ trialsim show" not in text:  # told by the function that `show` prints with
            run_page(text, trialsim, tmp_path)
        else:
            assert name.startswith("catalogue/")


def run_page(text, trialsim, folder, done_elsewhere=frozenset()):
    """Do what a page says, block by block."""
    cells, done = telling.Cells(folder), {*ELSEWHERE, *done_elsewhere}
    consoles = [block.text for block in telling.blocks(text) if block.language == "console"]
    asked = [command for console in consoles for command, _ in telling.commands(console)]
    for block in telling.blocks(text):
        if block.name:
            (folder / block.name).write_text(block.text, encoding="utf-8")
            done = {*ELSEWHERE, *done_elsewhere}
        elif block.language == "python":
            cells.run(re.sub(r"replicates=[0-9_]+", "replicates=200", block.text))
        for command, shown in telling.commands(block.text) if block.language == "console" else ():
            if command not in done:
                done.add(command)
                others = " ".join(other for other in asked if other != command)
                run_quickly(shlex.split(command), shown, others, trialsim, folder)
    for target, drawn in telling.FIGURE.findall(text):
        made_here = f"--out {drawn.partition('/')[0]}" in " ".join(asked)
        assert made_here or (folder / drawn).exists(), f"{target}: no command here draws it"


def run_quickly(words, shown, others, trialsim, folder):
    """Run one command with few trials, drawing nothing that is not read again.

    It answers, or refuses in the words shown.
    """
    if words[0] == "python":
        script = (folder / words[1]).read_text(encoding="utf-8")
        assert telling.Cells(folder).run(script) == shown
        return
    words = words[1:]
    if words[0] in SIMULATING and "--class" not in words:
        words = [
            *words,
            "--replicates",
            "500" if words[0] == "bias" and "--only" not in words else "200",
        ]
        at = words.index("--out") if "--out" in words else None
        if at is None:
            words = [*words, "--json"]
        elif f" {words[at + 1]}" not in others:
            words = [*words[:at], *words[at + 2 :], "--json"]
    done = trialsim(*words, cwd=folder)
    if done.returncode == 2:
        refusal = done.stderr if "--json" not in words else as_told(done.stdout)
        assert refusal.strip() == shown.strip()
    else:
        assert done.returncode == 0, done.stderr + done.stdout[-500:]


def as_told(document: str) -> str:
    """Return the errors of a JSON document in the words of a terminal."""
    return "\n".join(str(Problem(**error)) for error in json.loads(document)["errors"])


PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")]
PLACEHOLDERS = ("COMMAND", "...")


def test_property_every_command_named_in_a_sentence_is_one_the_program_takes():
    for page in PAGES:
        text = telling.FENCE.sub("", page.read_text(encoding="utf-8"))
        for command in re.findall(r"(?<!`)`(?:time )?(trialsim [a-z][^`]*)`(?!`)", text):
            words = shlex.split(command.replace("\\|", "|"))
            if {*PLACEHOLDERS} & {*words}:
                continue
            if wrong := refused(["1" if word in ("N", "S", "i") else word for word in words[1:]]):
                raise AssertionError(f"{page.name}: {command}: {wrong}")


SAID_ELSEWHERE = {  # numbers in sentences that no block of their page shows
    "docs/dosing.md": {"0.22", "3.2", "57", "85"},  # of a record; of how-long-to-follow.md; pages
    "docs/faq.md": {"10", "100"},
    "docs/guides/quality-and-bias.md": {"0.41", "0.82"},  # the title of an example
    "docs/guides/sizing.md": {"48"},
    "docs/start.md": {"10,000", "3.11", "580"},
}


@pytest.mark.parametrize("name", sorted({*TOLD} - {"docs/outgrowing-one-machine.md"}))
def test_property_a_number_in_a_sentence_stands_in_what_its_page_shows(name):
    text = TOLD[name].read_text(encoding="utf-8")
    prose = telling.FENCE.sub("", text)
    shown = " ".join([*(b.text for b in telling.blocks(text)), *re.findall(r"`[^`]*`", prose)])
    prose = re.sub(r"(?m)`[^`]*`|\]\([^)]*\)|<!--.*?-->|^#.*$", "", prose)
    number = r"\d[\d,]*\d(?:\.\d+)?|\d(?:\.\d+)?"
    said = {n for n in re.findall(rf"(?<![\w.])(?:{number})", prose) if not _YEAR.fullmatch(n)}
    missing = said - {*re.findall(number, shown)}
    assert missing == SAID_ELSEWHERE.get(name, set())


_YEAR = re.compile(r"(?:19|20)\d\d")


def test_property_every_target_and_script_named_in_a_sentence_exists():
    targets = set(re.findall(r"(?m)^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert {*re.findall(r"`(?:time )?make ([\w-]+)`", text)} <= targets, page.name
        for script in re.findall(r"`python ((?:benchmarks|validation|docs)/[\w/]+\.py)", text):
            assert (ROOT / script).exists(), f"{page.name}: {script}"


def test_property_every_figure_of_speed_has_a_command_beside_it():
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    parts = re.split(r"\n\n|\n(?=- )", text.partition("## Beside the peers")[2])
    command = re.compile(
        r"`(?:time )?(?:make|trialsim|python) [^`]+`|`(?:test_|validation/)\w+|the same command"
    )
    for part in parts:
        measured = re.search(r"\d (?:s|us|ms|MB)\b|\d times|%|trials a second", part)
        assert part.startswith("|") or not measured or command.search(part), part
    for row in re.findall(r"(?m)^\| .+ \| [\d.]+ s.* \|$", text.partition("## Commands")[2]):
        assert command.search(row) or "The local page" in text.partition(row)[0], row


def refused(words: list[str]) -> str:
    """Return what is wrong with a command; it may be named without what it is about."""
    try:
        parse(words)
    except UsageError as error:
        return "" if "arguments are required" in str(error) else str(error)
    return ""


def test_property_every_test_that_a_page_names_exists():
    for page in PAGES:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text(encoding="utf-8"))
        for file, test in named:
            text = (ROOT / file).read_text(encoding="utf-8")
            assert f"def {test}(" in text or not test, f"{page.name}: {file}::{test}"


def test_property_every_method_of_the_statistics_has_a_test():
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    methods = re.findall(r"(?ms)^\*\*.+?(?=^\*\*|^## |\Z)", text)
    assert len(methods) > 40
    assert len([part for part in methods if "$$" in part]) >= 15
    for part in methods:
        assert "::test_" in part, part[:80]


def test_property_blocks_that_are_files_are_right_and_others_are_yaml():
    for page in PAGES:
        for block in telling.blocks(page.read_text(encoding="utf-8")):
            if block.language == "yaml":
                yaml.safe_load(block.text)


def test_regression_the_notebook_is_its_page_with_the_outputs_shown_there():
    page = ROOT / "examples" / "python.md"
    made = json.loads(page.with_suffix(".ipynb").read_text(encoding="utf-8"))
    assert made == notebook(page), "run: make docs"
    code = [cell for cell in made["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 5
    assert all(cell["outputs"] for cell in code)
    assert {"image/svg+xml"} == {*code[-1]["outputs"][0]["data"]}
    assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])
    assert (made["nbformat"], made["nbformat_minor"]) == (4, 5)


@pytest.mark.parametrize("words", TABLE)
def test_property_every_command_in_the_readmes_table_runs(words, trialsim, tmp_path):
    (tmp_path / "my-trial.yaml").write_bytes(
        (ROOT / "tests" / "protocols" / "valid" / "ten-lines.yaml").read_bytes()
    )
    (tmp_path / "enrolled.csv").write_bytes((ROOT / "examples" / "enrolled.csv").read_bytes())
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

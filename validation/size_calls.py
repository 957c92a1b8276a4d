"""Run the R calls that ``trialsim size`` prints; keep what they say for the tests.

Writes tests/reference/size_calls.json and size_calls_outcomes.json. Needs R with rpact and Hmisc:
``python validation/size_calls.py``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "trialsim"]
DESIGNS = (
    "sepsis",
    "sepsis --scenario etass-planning --power 0.9",
    "sepsis --effect OR=0.70 --ratio 2:1",
    "sepsis --effect RR=0.8 --control-risk 0.35",
    "sepsis --effect OR=0.70 --looks 0.5,0.75,1 --bounds obf",
    "sepsis --effect OR=0.70 --looks 0.333333,0.666667,1 --bounds pocock",
    "sepsis --effect OR=0.70 --looks 0.4,0.7,1 --bounds wt:0.25 --power 0.9",
    "sepsis --effect OR=0.70 --looks 0.5,0.75,1 --spending ldof",
    "sepsis --effect OR=0.70 --looks 0.3,0.6,0.8,1 --spending ldpocock",
    "sepsis --effect OR=0.70 --looks 0.5,1 --spending hsd:-4",
    "delayed-effect --effect HR=0.7",
    "delayed-effect --effect HR=0.75 --ratio 1:1 --power 0.9",
    "delayed-effect --effect HR=0.7 --looks 0.5,0.75,1 --spending ldof",
)
ONE_SIDED = "--set protocol.test.sides=1 --set protocol.test.alpha=0.025"
T_TEST = "means-primary.yaml --set protocol.endpoints.score.analysis=t-test"
CHANGE = "means-primary.yaml --set protocol.endpoints.score.analysis=change"
WELCH = "means-primary.yaml --set protocol.endpoints.score.analysis=welch"
OUTCOMES = (  # templates of tests/protocols/valid
    "means-primary.yaml",
    "means-primary.yaml --ratio 2:1 --power 0.9",
    f"{T_TEST} --effect MD=-2",
    f"{T_TEST} --power 0.9 {ONE_SIDED}",
    f"{T_TEST} --ratio 2:1",
    f"{T_TEST} --looks 0.5,0.75,1 --spending ldof",
    f"{T_TEST} --scenario no-effect --margin 1.5 {ONE_SIDED}",
    f"{CHANGE} --power 0.95",
    f"{CHANGE} --ratio 1:3 --effect MD=3",
    f"{WELCH} --ratio 2:1",
    "log-means-primary.yaml",
    "log-means-primary.yaml --effect GMR=1.4 --ratio 1:2 --power 0.9",
    "log-means-primary.yaml --effect GMR=4",
    "ordinal-primary.yaml",
    "ordinal-primary.yaml --ratio 2:1 --power 0.9",
    f"ordinal-primary.yaml --effect OR=2.5 {ONE_SIDED}",
    "days-alive-primary.yaml",
)


def words_of(design: str) -> list[str]:
    """OR=0.70 stands for one argument with a space in it."""
    return [re.sub(r"^(OR|RR|HR|MD|GMR)=", r"\1 ", word) for word in design.split()]


def main() -> int:
    """Ask trialsim for the calls, and R for their values."""
    folder = ROOT / "tests" / "protocols" / "valid"
    for designs, where, name in (
        (DESIGNS, ROOT, "size_calls.json"),
        (OUTCOMES, folder, "size_calls_outcomes.json"),
    ):
        write(designs, where, ROOT / "tests" / "reference" / name)
    return 0


def write(designs: tuple[str, ...], where: Path, path: Path) -> None:
    """Write the calls of some designs, and what R says to them."""
    found = []
    for design in designs:
        command = [*COMMAND, "size", *words_of(design), "--replicates", "100", "--json"]
        said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=where).stdout
        call = json.loads(said)["texts"]["elsewhere"]
        script = (
            f"suppressPackageStartupMessages({{{call} -> value}}); cat(sprintf('%.12g', value))"
        )
        value = subprocess.run(
            ["Rscript", "-e", script], capture_output=True, text=True, check=True
        )
        found.append({"words": words_of(design), "call": call, "value": float(value.stdout)})
        print(design, value.stdout)
    versions = "paste(p, packageVersion(p))), collapse = ', '), R.version.string)"
    versions = f"cat(paste(sapply(c('rpact', 'Hmisc'), function(p) {versions}"
    version = ["Rscript", "-e", versions]
    origin = subprocess.run(version, capture_output=True, text=True, check=True).stdout
    document = {"origin": f"{origin}; python validation/size_calls.py", "designs": found}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

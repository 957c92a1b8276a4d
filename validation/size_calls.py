"""Run the R calls that ``trialsim size`` prints; keep what they say for the tests.

Writes tests/reference/size_calls.json. Needs R with rpact: ``python validation/size_calls.py``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = str(Path(sys.executable).with_name("trialsim"))
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


def words_of(design: str) -> list[str]:
    """OR=0.70 stands for one argument with a space in it."""
    return [re.sub(r"^(OR|RR|HR)=", r"\1 ", word) for word in design.split()]


def main() -> int:
    """Ask trialsim for the call, and R for its value."""
    found = []
    for design in DESIGNS:
        command = [COMMAND, "size", *words_of(design), "--replicates", "100", "--json"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        call = json.loads(said)["texts"]["elsewhere"]
        script = (
            f"suppressPackageStartupMessages({{{call} -> value}}); cat(sprintf('%.12g', value))"
        )
        value = subprocess.run(
            ["Rscript", "-e", script], capture_output=True, text=True, check=True
        )
        found.append({"words": words_of(design), "call": call, "value": float(value.stdout)})
        print(design, value.stdout)
    version = ["Rscript", "-e", "cat(as.character(packageVersion('rpact')), R.version.string)"]
    origin = subprocess.run(version, capture_output=True, text=True, check=True).stdout
    document = {"origin": f"rpact {origin}; python validation/size_calls.py", "designs": found}
    path = ROOT / "tests" / "reference" / "size_calls.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

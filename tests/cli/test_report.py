"""The report: one self-contained file, the same bytes every time, refused for what is no run."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from html.parser import HTMLParser

import pytest

from trialsim.protocol.reading.load import shipped_evidence

SETTINGS = ["--set", "title=<b>Bold</b> & <script>alert(1)</script>", "--replicates", "200"]
SECTIONS = [
    "synopsis",
    "schedule",
    "assumptions",
    "characteristics",
    "observed",
    "forest",
    "conflicts",
    "ademp",
    "sentence",
    "repeat",
]


@pytest.fixture(scope="module")
def runs(trialsim, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, words in (
        ("sepsis", ["sepsis", *SETTINGS]),
        ("variant", ["sepsis", "--variant", "etass-control-risk", "--replicates", "200"]),
        ("hepatitis", ["chronic-hepatitis-b", "--replicates", "200"]),
    ):
        done = trialsim("simulate", *words, "--out", name, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.ids, self.captions = [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]


def test_property_published_effects_stand_beside_the_verdict_on_their_numbers(runs, trialsim):
    trialsim("report", "sepsis", "--out", "verdicts.html", cwd=runs)
    text = (runs / "verdicts.html").read_text(encoding="utf-8")
    table = text.partition("Its numbers together")[2].partition("</table>")[0]
    for name in ("etass-2013", "tests-2025", "gu-2025", "gu-2025-lower-quality"):
        record = shipped_evidence().records[name]
        (row,) = [r for r in table.split("<tr>") if f">{record.title}<" in r]
        assert f">{record.consistency.verdict}<" in row


@pytest.mark.parametrize("name", ["sepsis", "hepatitis"])
def test_property_the_report_is_whole_self_contained_and_escaped(name, runs, trialsim):
    done = trialsim("report", name, "--out", f"{name}.html", cwd=runs)
    assert done.returncode == 0, done.stderr
    text = (runs / f"{name}.html").read_text(encoding="utf-8")
    page = Page(text)
    assert [i for i in page.ids if i in SECTIONS] == SECTIONS
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") for link in page.links)  # nothing is fetched
    assert "script" not in page.tags
    assert "<b>Bold" not in text
    assert page.tags.count("svg") == 2
    assert page.tags.count("details") == 2  # a table behind each figure
    assert page.tags.count("desc") == 2
    assert "<text" in text  # text stays text
    assert 'lang="en"' in text
    for words in (
        "Aims",
        "Data-generating mechanisms",
        "Estimands",
        "Methods",
        "Performance measures",
        "Replicates and failures",
        "Monte Carlo standard error",
        "not treatment advice",
    ):
        assert words in text
    assert ("historical" in text) == (name == "hepatitis")


def test_property_the_same_run_gives_the_same_bytes(runs, trialsim):
    texts = []
    for name in ("one.html", "two.html"):
        trialsim("report", "sepsis", "--out", name, "--markdown", f"{name}.md", cwd=runs)
        texts.append((runs / name).read_bytes() + (runs / f"{name}.md").read_bytes())
    assert texts[0] == texts[1]


def test_property_runs_of_one_protocol_bind_and_others_do_not(runs, trialsim):
    assert trialsim("report", "sepsis", "variant", "--out", "both.html", cwd=runs).returncode == 0
    assert Page((runs / "both.html").read_text()).tags.count("svg") == 3
    mixed = trialsim("report", "sepsis", "hepatitis", cwd=runs)
    assert mixed.returncode == 2
    assert "mixes the protocols" in mixed.stderr


def test_property_word_markdown_and_figures(runs, trialsim):
    done = trialsim(
        "report",
        "hepatitis",
        "--out",
        "h.html",
        "--docx",
        "h.docx",
        "--markdown",
        "h.md",
        "--figures",
        "figures",
        cwd=runs,
    )
    assert done.returncode == 0, done.stderr
    from docx import Document

    document = Document(str(runs / "h.docx"))
    assert any(
        "HBeAg" in cell.text for t in document.tables for row in t.rows for cell in row.cells
    )
    assert (
        "| chien-1998 |" in (runs / "h.md").read_text()
        or "chien-1998" in (runs / "h.md").read_text()
    )
    from PIL import Image

    for name in ("forest.png", "observed-0.png"):
        with Image.open(runs / "figures" / name) as image:
            assert image.size == (1920, 1080)
            assert image.info["Description"]


def sign(run):
    """Rewrite the checksums, as somebody would who hands on a doctored run."""
    sums = run / "results" / "simulate.sha256"
    names = [line.partition("  ")[2] for line in sums.read_text().splitlines()]
    lines = [f"{hashlib.sha256((run / n).read_bytes()).hexdigest()}  {n}" for n in names]
    sums.write_text("\n".join(lines) + "\n")


def spoil(how, run):
    if how == "empty":
        shutil.rmtree(run)
        run.mkdir()
    elif how == "foreign":
        (run / "record.json").unlink()
    elif how == "changed result":
        path = run / "results" / "simulate.json"
        path.write_text(path.read_text().replace('"value": 0.', '"value": 0.9', 1))
    elif how == "changed protocol":
        record = json.loads((run / "record.json").read_text())
        record["protocol"]["nature"]["control_risk"]["value"] = 0.3
        (run / "record.json").write_text(json.dumps(record))
    elif how == "missing figure":
        (run / "figures" / "observed.svg").unlink()
    elif how == "not JSON":
        (run / "record.json").write_text("{")
    elif how == "changed versions":
        path = run / "record.json"
        path.write_text(path.read_text().replace('"numpy": "', '"numpy": "9', 1))
        sign(run)
    elif how == "script in the figure":
        path = run / "figures" / "observed.svg"
        path.write_text(path.read_text().replace("</svg>", "<script>alert(1)</script></svg>"))
        sign(run)
    elif how == "fetch in the figure":
        path = run / "figures" / "observed.svg"
        fetch = '<use href="http://example.org/x"/></svg>'
        path.write_text(path.read_text().replace("</svg>", fetch))
        sign(run)
    elif how == "not a result":
        (run / "results" / "simulate.json").write_text('{"format": "trialsim-result/1"}')
        sign(run)
    elif how == "odd bytes":
        (run / "results" / "simulate.sha256").write_bytes(b"\xff\xfe")
    elif how == "a path outside":
        sums = run / "results" / "simulate.sha256"
        sums.write_text(re.sub(r"  \S+", "  ../../secret", sums.read_text(), count=1))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("empty", "is empty"),
        ("foreign", "is not the folder of a run"),
        ("changed result", "was changed after the run"),
        ("changed protocol", "was changed after the run"),
        ("missing figure", "is missing"),
        ("not JSON", "cannot be read"),
        ("a path outside", "is missing"),
        ("changed versions", "was changed after the run"),
        ("script in the figure", "holds more than a drawing"),
        ("fetch in the figure", "holds more than a drawing"),
        ("not a result", "is not a result of a run"),
        ("odd bytes", "cannot be read"),
    ],
)
def test_regression_a_spoilt_run_is_refused(how, words, runs, trialsim, tmp_path):
    shutil.copytree(runs / "variant", tmp_path / "run")
    spoil(how, tmp_path / "run")
    done = trialsim("report", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "sepsis-report.html").exists()


def test_regression_no_run_at_all_is_said(trialsim, tmp_path):
    done = trialsim("report", cwd=tmp_path)
    assert done.returncode == 2
    assert "holds no run" in done.stderr


def test_regression_a_report_overwrites_nothing_that_is_not_one(runs, trialsim, tmp_path):
    shutil.copytree(runs / "variant", tmp_path / "run")
    (tmp_path / "precious.html").write_text("mine")
    for words in (
        ["--out", "precious.html"],
        ["--out", "run/results/simulate.json"],
        ["--out", "a.html", "--markdown", "a.html"],
    ):
        done = trialsim("report", "run", *words, cwd=tmp_path)
        assert done.returncode == 2, words
        assert "Name another file" in done.stderr
    assert (tmp_path / "precious.html").read_text() == "mine"
    for _ in range(2):  # but its own
        assert trialsim("report", "run", "--markdown", "r.md", cwd=tmp_path).returncode == 0


def test_regression_a_run_with_own_evidence_reports_it_by_name(trialsim, tmp_path):
    (tmp_path / "ev.yaml").write_text("""schema_version: 1
evidence:
  - id: mine-2024
    kind: trial
    title: My very own trial
    citation: Mine A. 2024.
    condition: sepsis
    design: {randomised: true}
    results:
      - id: mortality-28d
        outcome: death
        at: 28 d
        experimental: {n: 50, events: 5}
        control: {n: 50, events: 15}
""")
    words = ["--evidence", "ev.yaml", "--set", "observed=[mine-2024]", "--replicates", "200"]
    assert trialsim("simulate", "sepsis", *words, "--out", "run", cwd=tmp_path).returncode == 0
    assert trialsim("report", "run", "--out", "r.html", cwd=tmp_path).returncode == 0
    text = (tmp_path / "r.html").read_text()
    assert "My very own trial" in text
    assert "record.json of the run" in text


def test_regression_runs_in_one_report_are_told_apart(runs, trialsim):
    trialsim("report", "sepsis", "variant", "variant", "--out", "apart.html", cwd=runs)
    text = (runs / "apart.html").read_text()
    assert "variant etass-control-risk; seed 1" in text
    assert text.count("<svg") == 3  # the same folder twice is one run


def test_regression_dollar_signs_in_titles_draw(trialsim, tmp_path):
    words = ["--set", "scenarios.or-082.title=Costs $5_{ and $x_{", "--replicates", "200"]
    done = trialsim("simulate", "sepsis", *words, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_regression_few_replicates_make_a_report_without_a_power(trialsim, tmp_path):
    words = ["simulate", "sepsis", "--replicates", "50", "--out", "run"]
    assert trialsim(*words, cwd=tmp_path).returncode == 0
    assert trialsim("report", "run", "--out", "r.html", cwd=tmp_path).returncode == 0
    assert "Too few replicates" in (tmp_path / "r.html").read_text()


def test_regression_a_report_says_note_regimen_and_where_the_control_arm_comes_from(
    trialsim, tmp_path
):
    few = ("--replicates", "100", "--scenario", "no-effect", "--out", "lung")
    assert trialsim("simulate", "nsclc-adjuvant", *few, cwd=tmp_path).returncode == 0
    asked = ("--out", "x.html", "--markdown", "x.md", "--docx", "x.docx")
    assert trialsim("report", "lung", *asked, cwd=tmp_path).returncode == 0
    text = (tmp_path / "x.md").read_text(encoding="utf-8")
    for said in (
        "| Note | No randomised result exists",
        "injections, ",
        "| pfs | median 14.6 mo (document-004-cancer, DOCUMENT; document 004 alone)",
    ):
        assert said in text, said
    with zipfile.ZipFile(tmp_path / "x.docx") as archive:
        short = archive.read("word/document.xml").decode()
    assert all(name in short for name in ("Regimen", "Patients", "Primary endpoint", "Estimand"))

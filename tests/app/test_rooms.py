"""What the page says is what the command line says."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from html import unescape
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
from jinja2 import UndefinedError

from conftest import CORPUS, ROOT
from studies.test_explanation import with_trials_of_its_own
from trialsim.app.charts import Mark, forest_chart, line_chart, ticks
from trialsim.app.rooms import ROOMS
from trialsim.app.rooms.evidence import EvidenceState
from trialsim.app.rooms.followup import FollowupState, horizons
from trialsim.app.rooms.size import SizeState, beliefs
from trialsim.app.web import _facts, environment
from trialsim.app.worker import Line, Order, Panel, answered

WRONG = CORPUS / "invalid" / "two-mistakes.yaml"
# room, state as in the address, words of the command line, ids on the page -> measure of the row
STATES = [
    ("size", {}, "size sepsis", {"n-total": "n_total", "power": "power_achieved"}),
    (
        "size",
        {"power": "90", "scenario": "or-073", "dropout": "5", "ratio": "2:1"},
        "size sepsis --scenario or-073 --power 0.9 --dropout 0.05 --ratio 2:1",
        {"n-total": "n_total", "power": "power_achieved", "simulated": "power_simulated"},
    ),
    (
        "size",
        {"total": "1106", "effect": "OR 0.70", "control_risk": "30"},
        "size sepsis '--effect=OR 0.70' --control-risk 0.3 --total 1106",
        {"power": "power_achieved", "simulated": "power_simulated"},
    ),
    (
        "size",
        {"looks": "0.5,0.75,1", "bounds": "ldof"},
        "size sepsis --looks=0.5,0.75,1 --spending ldof",
        {"n-total": "n_total", "power": "power_achieved"},
    ),
    (
        "size",
        {"test": "{sides: 1, alpha: 0.025}", "futility": "0", "bounds": "obf", "looks": "0.5,1"},
        "size sepsis --set 'protocol.test={sides: 1, alpha: 0.025}' --looks=0.5,1 --bounds obf "
        "--futility=0",
        {"n-total": "n_total", "power": "power_achieved"},
    ),
    (
        "size",
        {"prior": "gu-2025-higher-quality"},
        "size sepsis --prior gu-2025-higher-quality",
        {"assurance": "assurance"},
    ),
    ("size", {"template": "nsclc-adjuvant"}, "size nsclc-adjuvant", {"n-total": "n_total"}),
    (
        "bias-lab",
        {"exclusion": "30", "publication_on": "0", "odds_ratio": "0.7", "trials": "200"},
        "bias sepsis --conduct bias-lab --scenario or-082 "
        "--set scenarios.or-082.effect.odds_ratio=0.7 --flaw exclusion=0.3 --flaw publication=0 "
        "--replicates 200",
        {"sound": "estimate_mean"},
    ),
    (
        "followup",  # the first row of each: no effect, the first time
        {"truth": "no-effect", "horizon": "3"},
        "followup chronic-hepatitis-b",
        {"power": "power", "wrong": "wrong_verdict"},
    ),
    ("evidence", {}, "evidence --template sepsis", {}),  # all its numbers: below
]


def shown(page, room, state, *, patience=60.0):
    """Return a room's page once its answer is there, as a browser without JavaScript gets it."""
    import time

    until = time.monotonic() + patience
    while True:
        found = httpx.get(f"{page.address}/{room}?{urlencode(state)}", timeout=60)
        assert found.status_code == 200
        if "data-job" not in found.text:
            return found.text
        assert 'http-equiv="refresh"' in found.text  # it comes by itself
        assert time.monotonic() < until
        time.sleep(0.1)


def number(text, name):
    found = re.search(rf'id="{name}" data-value="([^"]+)"', text)
    assert found, f"{name} is not on the page"
    return float(found[1])


@pytest.mark.parametrize(("room", "state", "words", "ids"), STATES, ids=[s[2] for s in STATES])
def test_property_the_page_says_what_the_command_line_says(
    page, trialsim, tmp_path, room, state, words, ids
):
    text = shown(page, room, state)
    printed = trialsim(*shlex.split(words), "--json", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    rows = json.loads(printed.stdout)["rows"]
    for name, measure in ids.items():
        of_measure = [row for row in rows if row["measure"] == measure]
        assert number(text, name) == of_measure[0]["value"]
    command = re.search(r'<code id="command">(.*?)</code>', text)[1]
    assert shlex.split(unescape(command))[3:] == shlex.split(words)  # python -m trialsim ...
    document = httpx.get(f"{page.address}/data/{room}.json?{urlencode(state)}", timeout=60)
    assert document.text == printed.stdout


def said_by(words):
    return answered(Order(tuple(shlex.split(words)))).document


def test_property_the_room_evidence_says_what_its_commands_say(page):
    text = shown(page, "evidence", {})
    estimates = said_by("evidence --template sepsis")["observed"]
    estimates = [row for row in estimates if row["measure"] == "estimate"]
    assert len(estimates) == 6
    for row in estimates:
        assert number(text, f"estimate-{row['evidence']}") == row["value"]
    assert text.count('<strong class="weak">DOCUMENT</strong>') == 1
    adjusted = said_by("evidence adjust sepsis")["rows"]
    adjusted = [row["value"] for row in adjusted if row["which"] == "adjusted"]
    found = re.findall(r'id="adjusted-[^"]+" data-value="([^"]+)"', text)
    assert [float(value) for value in found] == adjusted
    checked = said_by("evidence check --template sepsis")["rows"]
    for row in (r for r in checked if r["check"] == "record"):
        assert number(text, f"checks-{row['evidence']}") == row["n_checks"]
    assert re.search(r'id="verdict-tests-2025"><strong class="weak">cannot all be right', text)
    commands = re.findall(r'<code id="(?:command|further-\d)">(.*?)</code>', text)
    assert [" ".join(c.split()[3:]) for c in commands] == [
        "evidence --template sepsis",
        "evidence check --template sepsis",
        "evidence adjust sepsis",
    ]


def test_property_a_document_stands_beside_the_publication(page):
    text = unescape(shown(page, "evidence", {}))
    (row,) = re.findall(r"<tr><th scope=\"row\">whether TESTS found a benefit.*?</tr>", text)
    said, published, used = re.findall(r"<td>(.*?)</td>", row)
    assert "confirms ... beneficial effect" in said
    assert "document 000" in said
    assert "127/542 v 132/547" in published
    assert used == "TESTS"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("solid-tumour-monotherapy", "no such event. Name a template with a binary endpoint"),
        ("colorectal-adjuvant", "No published result that this protocol is held against"),
    ],
)
def test_regression_what_cannot_be_adjusted_is_shown_as_published(page, template, words):
    text = unescape(shown(page, "evidence", {"template": template}))
    assert words in text
    assert "There is a problem" not in text


def test_regression_a_protocol_read_once_says_so_in_followup(page):
    text = unescape(shown(page, "followup", {"template": "solid-tumour-monotherapy"}))
    assert "is not read at several times yet" in text
    assert "Remove it, or use 'simulate'" in text


def test_property_the_slider_of_followup_asks_for_nothing_new():
    at_rest = FollowupState().words()
    assert FollowupState(horizon=7.0, truth="no-effect").words() == at_rest
    assert FollowupState(at="3 mo").words() != at_rest


def test_property_a_time_is_told_by_its_words_and_not_by_the_endpoint():
    about = {"measure": "power", "scenario": "a", "endpoint": "death", "clock": "entry"}
    rows = [{**about, "horizon": "28 d", "value": 0.4}, {**about, "horizon": "90 d", "value": 0.6}]
    rows.insert(1, {**rows[0], "value": 0.1, "lag": "3 mo"})  # another question
    found = [(h.words, h.rows["power"]["value"]) for h in horizons(rows, "a", (28, 90), "days")]
    assert found == [("28 d", 0.4), ("90 d", 0.6)]


def test_property_two_trials_are_asked_for_by_their_ids_alone():
    asked = EvidenceState(look="explain", first="etass-2013", second="tests-2025")
    assert asked.words() == ("explain", "etass-2013", "tests-2025")
    assert asked.query() == "look=explain&first=etass-2013&second=tests-2025"
    assert asked.but(look="").query() == ""  # they do not matter there
    for wrong in ("", "tests-2025", "--out=x", "../x.yaml"):
        assert asked.but(first=wrong).words() == ()


@pytest.mark.parametrize(
    "typed",
    [{}, {"first": "", "second": ""}, {"first": "tests-2025"}, {"second": "etass-2013"}],
)
def test_regression_the_trials_that_the_form_shows_are_those_compared(at_once, typed):
    text = at_once("/evidence", look="explain", **typed).text
    chosen = [
        re.search(rf'<select id="f-{name}".*?</select>', text, flags=re.DOTALL)[0]
        for name in ("first", "second")
    ]
    pair = [re.search('value="([^"]+)" selected', select)[1] for select in chosen]
    assert pair[0] != pair[1]
    named = dict(zip(("first", "second"), pair, strict=True))
    assert all(named[which] == id_ for which, id_ in typed.items() if id_)
    assert f"explain {pair[0]} {pair[1]}</code>" in text
    assert "Choose two different trials" not in text
    assert number(text, "ratio") > 0


def test_property_a_trial_that_is_not_listed_is_shown_as_chosen(at_once):
    pair = {"first": "chien-1998", "second": "mutchnick-1999", "outcomes": "subjective"}
    text = at_once("/evidence", look="explain", **pair).text
    assert '<option value="chien-1998" selected>' in text
    same = at_once("/evidence", look="explain", first="tests-2025", second="tests-2025").text
    assert "Choose two different trials" in same


def test_property_a_forest_leaves_no_number_out_and_escapes_its_words():
    marks = [Mark("a", 0.5, 0.1, 2.0, "trial", "<0.5>"), Mark("b", 2.0, None, None, "pool", "2")]
    chart = str(forest_chart([("<one>", marks)], "<title>", "ratio", none_at=1.0))
    assert chart.count("<polygon") == 2
    assert chart.count('class="interval"') == 1
    assert "<one>" not in chart
    assert "<0.5>" not in chart
    assert "style=" not in chart
    ((low, high),) = re.findall(r'class="interval" x1="([\d.]+)" x2="([\d.]+)"', chart)
    assert (float(low), float(high)) == (8.0, 224.0)  # the ends of the axis
    assert forest_chart([], "", "") == ""


def test_property_an_answer_says_replicates_seed_and_error(page):
    text = shown(page, "size", {})
    assert "10,000 simulated trials, seed 1" in text
    assert "(MCSE) of a chance at most 0.4 points" in text


def test_property_every_room_answers_without_javascript(page):
    for slug, room in ROOMS.items():
        text = httpx.get(f"{page.address}/{slug}", timeout=60).text
        assert room.question in unescape(text)
        assert 'method="get"' in text


def test_regression_figures_come_as_svg_png_and_csv(page):
    get = lambda kind: httpx.get(f"{page.address}/figure/size/power.{kind}?power=85", timeout=60)  # noqa: E731
    svg, png, table = (get(kind) for kind in ("svg", "png", "csv"))
    assert svg.text.startswith("<?xml")
    assert 'role="img"' in svg.text
    assert png.content.startswith(b"\x89PNG")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert rows[0]["x_axis"] == "patients analysed, in all"
    design = [row for row in rows if row["line"] == "2"]
    n = httpx.get(f"{page.address}/data/size.json?power=85", timeout=60).json()["rows"][0]["value"]
    assert float(design[0]["x"]) == n
    assert httpx.get(f"{page.address}/figure/size/nothing.svg").status_code == 404


def test_regression_the_funnel_comes_as_svg_png_and_csv_from_its_page(page):
    state = {"trials": "200", "seed": "7"}
    text = shown(page, "bias-lab", state)
    offered = re.findall(r'href="(/figure/bias-lab/funnel\.(\w+)\?[^"]*)"', text)
    assert [kind for _, kind in offered] == ["svg", "png", "csv"]
    kinds = {k: httpx.get(page.address + unescape(at), timeout=60) for at, k in offered}
    assert all("attachment" in k.headers["content-disposition"] for k in kinds.values())
    assert kinds["svg"].text.startswith("<?xml")
    assert kinds["png"].content.startswith(b"\x89PNG")
    rows = list(csv.DictReader(io.StringIO(kinds["csv"].text)))
    assert len(rows) == text.count('<g class="trial')
    published = sum(row["published"] == "1" for row in rows)
    assert published == number(text, "n-published")
    assert all("--seed 7" in row["command"] for row in rows)
    assert httpx.get(f"{page.address}/figure/size/funnel.svg", timeout=60).status_code == 404


def test_regression_a_saved_page_needs_nothing(page):
    saved = httpx.get(f"{page.address}/save/size?power=85", timeout=60)
    assert "attachment" in saved.headers["content-disposition"]
    assert number(saved.text, "n-total") == number(shown(page, "size", {"power": "85"}), "n-total")
    assert not re.search(r"<script|<link|<form|src=\"(?!data:)|href=\"(?!#)|url\(", saved.text)
    assert "data:image/svg+xml;base64," in saved.text
    assert "size sepsis --power 0.85" in saved.text


def test_regression_an_upload_with_errors_shows_what_check_says(page, trialsim, tmp_path):
    file = WRONG
    printed = trialsim("check", str(file), "--json", cwd=tmp_path)
    errors = json.loads(printed.stdout)["errors"]
    text = uploaded(page, file.name, file.read_bytes()).text
    rows = re.findall(r"<tr><td>(.*?)</td></tr>", text)
    assert len(rows) == len(errors) > 1
    for row, error in zip(rows, errors, strict=True):
        where, field, rule, value, remedy = (unescape(cell) for cell in row.split("</td><td>"))
        line = f":{error['line']}" if error["line"] else ""
        assert where == f"{file.name if error['file'] else ''}{line}"
        assert (field, rule, value) == (error["field"], error["rule"], error["value"])
        assert remedy == error["remedy"]


def uploaded(page, name, content, room="size", **more):
    headers = {"origin": page.address, **more}
    return httpx.post(
        f"{page.address}/upload/{room}",
        files={"file": (name, content)},
        headers=headers,
        timeout=60,
    )


def test_regression_an_upload_is_sized_under_its_own_name(page):
    content = (ROOT / "protocols" / "sepsis.yaml").read_bytes()
    sent = uploaded(page, "../../My trial.yaml", content)
    assert sent.status_code == 303
    text = httpx.get(f"{page.address}{sent.headers['location']}", timeout=60).text
    assert "size My_trial.yaml" in text
    assert str(page.folder.parent) not in text
    assert "trialsim-app-" not in text  # where it lies is nobody's business
    assert number(text, "n-total") == number(shown(page, "size", {}), "n-total")


def test_regression_trials_of_an_upload_are_explained(page, tmp_path):
    content = with_trials_of_its_own(tmp_path / "mine.yaml").read_bytes()
    sent = uploaded(page, "mine.yaml", content, room="evidence")
    name = parse_qs(urlsplit(sent.headers["location"]).query)["template"][0]
    pair = {"look": "explain", "first": "own-one", "second": "own-two", "outcomes": ""}
    text = shown(page, "evidence", {"template": name, **pair})
    assert "explain own-one own-two --template mine.yaml" in text
    assert number(text, "ratio") == pytest.approx((20 / 80) / (38 / 62))
    asked = EvidenceState(look="explain", first="chien-1998", second="mutchnick-1999")
    text = shown(page, "evidence", dict(parse_qsl(asked.query())))
    assert "The kind of outcome is not said" in text


def test_regression_a_profile_is_no_protocol(page):
    content = (ROOT / "protocols" / "conduct" / "poor.yaml").read_bytes()
    assert "is right, but is a" in uploaded(page, "poor.yaml", content).text


def test_property_everything_wrong_with_an_address_is_said_at_once(page):
    text = shown(page, "size", {"power": "200", "total": "some", "ratio": "7:1"})
    assert "must be from 50 to 99 %" in text
    assert "is not a number" in text
    assert "is not one of the choices" in text
    assert 'value="200"' in text  # what was typed is still there
    assert "is not a scenario" in shown(page, "size", {"scenario": "or-999"})


def test_property_a_state_and_its_address_say_the_same():
    for state in (
        SizeState(),
        SizeState(power=0.93, total=400, looks="0.5,1", bounds="obf", accept_claim=True),
        SizeState(template="x.yaml", effect="RD -0.05", dropout=0.125),
    ):
        query = dict(httpx.QueryParams(state.query()))
        assert SizeState.read(query).state == state
        assert SizeState.read(query).problems == ()


def test_property_a_decimal_comma_is_not_read_as_a_thousand():
    assert SizeState.read({"total": "1,106"}).state.total == 1106
    (problem,) = SizeState.read({"dropout": "0,5"}).problems
    assert problem.rule == "is not a number"
    assert "with a point" in problem.remedy


def test_property_futility_repeats_at_each_look_but_the_last():
    words = SizeState(looks="0.3,0.6,1", futility="0").words()
    assert words[-2:] == ("--looks=0.3,0.6,1", "--futility=0,0")


def test_analytic_ticks_are_round_and_inside():
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(1150, 9200) == [2000, 4000, 6000, 8000]
    assert ticks(3, 3) == [3]


def test_property_a_chart_escapes_its_words_and_has_no_style():
    line = Line("<b>", (1.0, 2.0, 3.0), (0.1, 0.5, 0.9), "#000000", points=False)
    chart = str(line_chart(Panel("<x>", "", "", (line,)), "<script>", y_percent=True))
    assert "<script>" not in chart
    assert "<b>" not in chart
    assert "<x>" not in chart
    assert "style=" not in chart
    assert chart.count("<polyline") == 1


def test_property_beliefs_are_read_off_the_rows():
    rows = [
        {"measure": "n_total", "analysis": "if planned for", "scenario": "a", "value": 10},
        {"measure": "power_achieved", "analysis": "sized for a, truth a", "value": 0.8},
        {"measure": "power_achieved", "analysis": "sized for a, truth b", "value": 0.3},
    ]
    truths, matrix = beliefs(rows)
    assert truths == ("a", "b")
    assert matrix[0].powers == (0.8, 0.3)


def test_regression_a_document_is_json_or_csv(page):
    for kind in ("html", "svg", "x"):
        found = httpx.get(f"{page.address}/data/size.{kind}", timeout=60)
        assert (found.status_code, found.text) == (404, "A document is json or csv.\n")


def test_regression_the_lab_shows_hazard_ratios_and_how_to_go_on_where_a_flaw_cannot_act(page):
    state = {"template": "nsclc-adjuvant", "trials": "200"}
    text = shown(page, "bias-lab", state)  # at rest it is off
    assert "--flaw foreseen-allocation=0" in text
    text = unescape(shown(page, "bias-lab", {**state, "foreseen_allocation": "70"}))
    assert "foresees the allocation" in text
    (way_on,) = re.findall(r'href="/bias-lab\?(.*?)">go on without', text)
    state = "template=nsclc-adjuvant&scenario=as-observed&trials=200"
    assert way_on == f"{state}&foreseen_allocation=70&foreseen_allocation_on=0"
    text = shown(page, "bias-lab", dict(httpx.QueryParams(way_on)))
    assert "True hazard ratio" in text
    assert number(text, "sound") < 0


def test_regression_a_protocol_without_explanations_names_those_that_have_some(page):
    text = unescape(shown(page, "evidence", {"template": "hbv-aclf", "look": "reconcile"}))
    for name in ("sepsis", "chronic-hepatitis-b", "nsclc-adjuvant"):
        assert f'href="/evidence?template={name}&look=reconcile"' in text


def test_regression_no_command_stands_beside_an_address_that_cannot_be_read(page):
    text = shown(page, "size", {"power": "200"})
    assert "must be from 50 to 99 %" in text
    assert 'id="command"' not in text


def test_property_simulated_shares_in_words_have_their_error():
    rows = [
        {"measure": "told_apart", "n_replicates": 600, "mcse": 0.014},
        {"measure": "comes_first", "n_replicates": 300, "mcse": 0.028},
        {"measure": "expected_information", "n_replicates": 4000, "mcse": 0.5},  # in bit
    ]
    assert _facts({"rows": rows})["largest_mcse"] == 0.028


def test_property_what_a_document_need_not_hold_is_no_mistake_until_it_is_told():
    asked = environment().from_string("{% if texts.gap %}x{% endif %}{{ texts.gap and 1 or '-' }}")
    assert asked.render(texts={}) == "-"
    with pytest.raises(UndefinedError):
        environment().from_string("{{ texts.gap }}").render(texts={})

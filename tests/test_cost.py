"""What a case costs: nothing that grows with the other cases. Counted, not timed.

python -m pytest tests/test_cost.py
"""

from __future__ import annotations

import json

import pytest

from seatrial.evals.report import render, view

PLUGIN = """
import json
from collections import Counter
from seatrial.evals.evidence import Evidence
from seatrial.training.store import Artifact, Step, Store

counts = Counter()


def counted(owner, name):
    method = getattr(owner, name)

    def counting(self, *args, **more):
        counts[name] += 1
        return method(self, *args, **more)

    setattr(owner, name, counting)


def pytest_configure():
    counted(Store, "build")
    counted(Artifact, "read_json")
    counted(Evidence, "_step")


def pytest_runtest_logreport(report):
    counts["reports of cases"] += "::test_case[" in report.nodeid


def pytest_unconfigure():
    with open({log!r}, "w") as file:
        json.dump(counts, file)
"""
SETUP = """
def pytest_runtest_setup(item):
    item.user_properties.append(("seen", True))
"""


@pytest.fixture
def counts(gate, own_store):
    """What a run of the gate counts, with so many more cases."""

    def run(more: int, *arguments: str):
        for number in range(more):
            gate.add_case("domain", f"more-{number}", f"switch lamp {number} on", "on")
        log = gate.folder / "counts.json"
        gate.write("counting.py", PLUGIN.replace("{log!r}", repr(str(log))))
        found = gate("-p", "counting", *arguments)
        return found, json.loads(log.read_text(encoding="utf-8"))

    return run


def test_the_store_is_asked_once_for_all_cases(counts):
    few, first = counts(0)
    many, second = counts(30)
    assert (few.decision, many.decision) == ("SHIP", "SHIP")
    seen = [sum(run.results["tests"].values()) for run in (few, many)]
    assert seen[1] >= seen[0] + 180
    for name in ("build", "read_json", "_step"):
        assert first[name] == second[name] > 0, name


def test_a_per_case_test_gives_one_report(counts):
    found, counted = counts(30)
    tests = [seen for seen in found.results["observations"] if "::test_case[" in seen["nodeid"]]
    modules = {seen["nodeid"].partition("::")[0] for seen in tests}
    skipped = found.results["tests"]["skipped"]
    # The first of the run and the last of each module are run as any other test, with three reports.
    assert counted["reports of cases"] <= len(tests) + skipped + 2 * (1 + len(modules))


def test_a_plugin_that_listens_to_the_setup_of_tests_hears_of_every_one(gate):
    gate.write("listening.py", SETUP + "def pytest_runtest_logreport(report):\n"
               "    if report.when == 'call': assert ('seen', True) in report.user_properties\n")  # fmt: skip
    assert gate("-p", "listening").decision == "SHIP"


@pytest.mark.parametrize("marker", ["skip(reason='not today')", "xfail(run=False)"])
def test_a_marker_on_a_per_case_test_is_obeyed(gate, marker):
    gate.write(
        "marking.py",
        "import pytest\n\ndef pytest_collection_modifyitems(items):\n    for item in items:\n"
        f"        if 'domain-on-2' in item.nodeid: item.add_marker(pytest.mark.{marker})\n",
    )
    found = gate("-p", "marking")
    assert "domain-on-2" not in {seen["case"] for seen in found.results["observations"]}


def test_a_verdict_s_artifacts_do_not_repeat_the_questions(perfect):
    assert all("asked" not in artifact["params"] for artifact in perfect.results["artifacts"])
    assert "asked" not in json.dumps([artifact["params"] for artifact in perfect.results["artifacts"]])


def test_collected_tests_are_not_searched_for_garbage_again_and_again(gate):
    text = "import gc, pytest\n\n@pytest.mark.release\ndef test_frozen():\n    assert gc.isenabled()\n"
    gate.write("test_extra.py", f"{text}    assert gc.get_freeze_count() > 10_000\n")
    assert gate().status == 0


# --- the page of many cases ----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def many(wrong):
    """Results as of a run with ten thousand cases, every second one missed by every criterion."""
    results = json.loads(json.dumps(wrong.results))
    seen = next(seen for seen in results["observations"] if seen["missed"])
    results["observations"] = [
        {**seen, "case": f"case-{number}", "missed": number % 2 == 0, "hard": number == 9_998}
        for number in range(10_000)
    ]
    for verdict in results["verdicts"]:
        if verdict["misses"]:
            verdict["misses"] = [{**verdict["misses"][0], "case": f"case-{n}"} for n in range(5_000)]
        for measured in filter(None, (verdict["measured"], verdict["against"])):
            measured["scores"] = {f"case-{n}": float(n % 2) for n in range(10_000)}
            measured["answers"] = {f"case-{n}": "an answer " * 12 for n in range(10_000)}
    results["timings"] = [
        {"case": f"case-{n}", "seconds": 1 + n / 9_999, "first_token_seconds": n / 9_999}
        for n in range(10_000)
    ]
    results["hard_cases"]["missed"] = [f"hard-{n}" for n in range(10_000)]
    reasons = [f"hard case hard-{n} missed" for n in range(10_000)]
    results["gate"] |= {"reasons": reasons, "summary": reasons}
    return results


@pytest.fixture(scope="module")
def page(many):
    return render(many)


def test_the_page_of_ten_thousand_cases_stays_below_five_megabytes(page):
    assert len(page.encode()) < 5_000_000


def test_what_the_page_leaves_out_is_told_and_lies_in_the_results(page, many):
    lists = page.count("more are left out of this page; results.json, beside it, holds them all")
    assert lists >= sum(bool(verdict["misses"]) for verdict in many["verdicts"]) + 3


def test_hard_misses_come_first(many):
    assert view.page(many)["missed"][0]["case"] == "case-9998"


def test_percentiles_are_those_of_all_cases_not_of_the_drawn_ones(page):
    assert "p50 1.5 s" in page
    assert "p95 1.95 s" in page


def test_a_page_of_few_cases_leaves_nothing_out(wrong):
    assert "left out of this page" not in render(wrong.results)


def test_cases_that_were_answered_wrong_come_first_side_by_side(many):
    shown = [case["id"] for case in view.page(many)["compared"]["cases"]]
    assert shown[:5_000] == [f"case-{number}" for number in range(0, 10_000, 2)]
    assert len(shown) == 10_000

"""``seatrial compare``: two runs paired by case, what counts as a regression, and how it is told."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from seatrial.evals import stats
from seatrial.evals.compare import BETTER, SAME, UNKNOWN, WORSE, RunsCompared, compare
from seatrial.evals.record import Record
from seatrial.evals.report.compared_markdown import markdown
from seatrial.evals.report.compared_page import page
from seatrial.evals.report.compared_text import WIDTH, text
from tests.page import HOSTILE, Page
from tests.report_results import CASES, WRONG, observation
from tests.verb import Document, document, seatrial, write

Change = Callable[[Document], object]


def verdict(made: Document, criterion: str = "SC-1") -> dict[str, Any]:
    return next(each for each in made["verdicts"] if each["criterion"] == criterion)


def scored(scores: dict[str, float], **facts: Any) -> Change:
    """An edit that gives SC-1 these scores, with the value and the method that belong to a share."""
    value = sum(scores.values()) / len(scores)
    return lambda made: verdict(made)["measured"].update(
        {"scores": scores, "value": value, "n": len(scores), "method": "Wilson", **facts}
    )


def runs(*changes: Change, before: Change | None = None) -> tuple[Record, Record]:
    """A run that may ship and a later one with ``changes``."""

    def later(made: Document) -> None:
        made["run"] |= {"id": "20261122T130000Z-2b3c", "started": "2026-11-22T13:00:00Z"}
        for change in changes:
            change(made)

    return Record(Path("a/results.json"), document(before)), Record(Path("b/results.json"), document(later))


def compared(*changes: Change, before: Change | None = None, margin: float = 0.0) -> RunsCompared:
    return compare(*runs(*changes, before=before), lambda _: margin)


def change_of(found: RunsCompared, criterion: str = "SC-1") -> Any:
    return next(each for each in found.criteria if each.criterion == criterion)


def wrong(*cases: str) -> dict[str, float]:
    return {case: float(case not in cases) for case in CASES}


# --- pairing ---------------------------------------------------------------------------------------------


def test_shares_are_paired_by_case_with_the_interval_of_paired_shares() -> None:
    found = compared(scored(wrong(*CASES[:6])), before=scored(wrong(CASES[0])))
    change, lost = change_of(found), CASES[1:6]
    expected = stats.compare_shares(list(wrong(*CASES[:6]).values()), list(wrong(CASES[0]).values()), 0.95)
    assert change.direction == WORSE
    assert (change.paired.difference, change.paired.low, change.paired.high, change.paired.p_value) == (
        expected.difference,
        expected.low,
        expected.high,
        expected.p_value,
    )
    assert (change.paired.lost, change.paired.won, change.paired.n) == (lost, [], 20)
    assert [case.case for case in found.cases] == lost
    assert found.regressions == ["SC-1"]


def test_only_cases_that_both_runs_asked_are_paired() -> None:
    """Half of the later run's cases are new and wrong: nothing got worse on those that both asked."""
    new = {f"new-{n}": 0.0 for n in range(20)}

    def later(made: Document) -> None:
        made["observations"] += [observation(case) | {"prompt": case} for case in new]

    found = compared(scored(wrong() | new), later, before=scored(wrong()))
    assert (change_of(found).direction, change_of(found).paired.n) == (SAME, 20)
    assert found.only_after == list(new)
    assert found.regressions == []


def test_another_question_under_the_same_id_is_not_paired() -> None:
    def later(made: Document) -> None:
        made["observations"][3]["prompt"] = "Something else."

    found = compared(scored(wrong(CASES[3])), later, before=scored(wrong()))
    assert found.changed == [CASES[3]]
    assert (change_of(found).direction, change_of(found).paired.n) == (SAME, 19)


def test_digests_of_the_questions_tell_even_what_no_test_shows() -> None:
    def asked(digest: str) -> Change:
        def edit(made: Document) -> None:
            made["observations"] = []
            made["questions"] = dict.fromkeys(CASES, "0" * 16) | {CASES[0]: digest}

        return edit

    found = compared(
        scored(wrong(CASES[0])), asked("1" * 16), before=lambda m: (scored(wrong())(m), asked("2" * 16)(m))
    )
    assert (found.changed, found.shared, found.by_id) == ([CASES[0]], 19, 0)


def test_cases_of_which_a_record_does_not_say_what_was_asked_are_paired_by_id_and_counted() -> None:
    def digests(made: Document) -> None:
        made["questions"] = dict.fromkeys(CASES, "0" * 16)
        made["observations"] = []
        for each in made["verdicts"]:
            each["misses"] = []

    found = compared(digests)
    assert (found.shared, found.by_id) == (20, 20)
    assert "20 of them by id alone" in text(found)


def test_means_are_paired_as_means() -> None:
    """Ratings of 1 to 5, whose scale the metric knows."""
    ratings = {case: 4.0 + (n % 2) for n, case in enumerate(CASES)}

    def rated(less: float) -> Change:
        lower = {case: value - less for case, value in ratings.items()}
        facts = {"scores": lower, "value": 4.5 - less, "n": 20, "method": "Gaffke bounds"}
        return lambda made: verdict(made).update(
            metric="response_rating", unit="points", measured=verdict(made)["measured"] | facts
        )

    paired = change_of(compared(rated(1.0), before=rated(0.0))).paired
    expected = stats.compare_means([-1.0] * 20, [0.0] * 20, 0.95, (-2.0, 2.0))
    assert paired.difference == expected.difference == -1
    assert paired.low < -1 < paired.high
    assert "Gaffke" in paired.method


def test_where_values_alone_exist_no_interval_is_made_up() -> None:
    def slower(made: Document) -> None:
        verdict(made, "LATENCY.first-token")["measured"]["value"] = 0.9

    found = compared(slower)
    change = change_of(found, "LATENCY.first-token")
    assert (change.direction, change.paired.low, change.paired.high) == (WORSE, None, None)
    assert "no paired interval can be had" in change.paired.method
    assert "no paired interval can be had" in " ".join(text(found).split())


@pytest.mark.parametrize("method", ["order statistics", "no interval: too few"])
def test_a_percentile_is_not_taken_for_a_mean(method: str) -> None:
    """The median of two values is their mean, too."""
    median = scored({CASES[0]: 1.0, CASES[1]: 0.0}, method=method)
    paired = change_of(compared(median, before=median)).paired
    assert not paired.interval
    assert "percentile" in paired.method


def test_a_value_that_is_no_longer_a_number_got_worse() -> None:
    found = compared(lambda made: verdict(made, "LATENCY.first-token")["measured"].update(value=None))
    assert found.regressions == ["LATENCY.first-token"]
    assert "one of the values is not a number" in text(found)


# --- what is a regression --------------------------------------------------------------------------------


@pytest.mark.parametrize(("margin", "regressed"), [(0.0, True), (0.1, True), (0.15, False), (0.2, False)])
def test_the_margin_is_the_loss_that_is_allowed(margin: float, regressed: bool) -> None:
    """Three of twenty cases lost: 0.15 is the loss itself."""
    found = compared(scored(wrong(*CASES[:3])), before=scored(wrong()), margin=margin)
    assert change_of(found).direction == WORSE
    assert found.regressions == (["SC-1"] if regressed else [])


def test_a_loss_that_is_the_margin_but_for_the_last_binary_digit_is_allowed() -> None:
    def bigger(gigabytes: float) -> Change:
        return lambda made: verdict(made, "SC-4.size")["measured"].update(value=gigabytes)

    assert 0.8 - 0.5 > 0.3
    assert compared(bigger(0.8), before=bigger(0.5), margin=0.3).regressions == []
    assert compared(bigger(0.8), before=bigger(0.5), margin=0.29).regressions == ["SC-4.size"]


def test_lower_is_better_where_the_criterion_says_so() -> None:
    def bigger(gigabytes: float) -> Change:
        return lambda made: verdict(made, "SC-4.size")["measured"].update(value=gigabytes)

    assert change_of(compared(bigger(0.2)), "SC-4.size").direction == WORSE
    assert change_of(compared(bigger(0.05)), "SC-4.size").direction == BETTER


def _unmeasured(made: Document) -> None:
    verdict(made).update(measured=None, status="NOT EVALUATED", reason="no runtime")


def _gone(made: Document) -> None:
    made["verdicts"].remove(verdict(made))


def _other_metric(made: Document) -> None:
    verdict(made)["metric"] = "keyword_recall"


@pytest.mark.parametrize("edit", [_unmeasured, _gone, _other_metric])
def test_a_requirement_that_is_measured_no_more_got_worse(edit: Change) -> None:
    assert compared(edit, margin=1.0).regressions == ["SC-1"]
    optional = compared(edit, before=lambda made: verdict(made).update(required=False), margin=1.0)
    assert (optional.regressions, change_of(optional).direction) == ([], UNKNOWN)


def test_a_criterion_that_is_new_is_no_regression() -> None:
    found = compared(before=_gone)
    assert (change_of(found).direction, found.regressions) == (UNKNOWN, [])
    assert change_of(found).reason == "only the later run has it"


def hard(right: tuple[str, ...] = (), missed: tuple[str, ...] = (), unheard: tuple[str, ...] = ()) -> Change:
    def edit(made: Document) -> None:
        made["observations"] += [observation(case, hard=True) | {"prompt": case} for case in right]
        made["observations"] += [observation(case, True, True) | {"prompt": case} for case in missed]
        made["hard_cases"] = {"total": 9, "passed": 9, "missed": [*missed], "not_evaluated": [*unheard]}

    return edit


@pytest.mark.parametrize(
    ("before", "after", "direction"),
    [
        (hard(right=("h",)), hard(missed=("h",)), WORSE),
        (hard(right=("h",)), hard(unheard=("h",)), WORSE),
        (hard(right=("h",)), hard(), WORSE),
        (hard(missed=("h",)), hard(right=("h",)), BETTER),
        (hard(missed=("h",)), hard(), UNKNOWN),
        (hard(), hard(missed=("h",)), UNKNOWN),
        (hard(), hard(right=("h",)), None),
        (hard(right=("h",)), hard(right=("h",)), None),
    ],
)
def test_hard_cases(before: Change, after: Change, direction: str | None) -> None:
    found = compared(after, before=before, margin=1.0)
    assert [each.direction for each in found.hard] == ([direction] if direction else [])
    assert found.regressions == (["hard case h"] if direction == WORSE else [])


def test_a_hard_case_that_asks_something_else_now_is_not_the_one_that_was_right() -> None:
    def later(made: Document) -> None:
        hard(right=("h",))(made)
        made["observations"][-1]["prompt"] = "An easier question."

    assert compared(later, before=hard(right=("h",))).regressions == ["hard case h"]


# --- the command -----------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    def make(*changes: Change, before: Change | None = None) -> tuple[Path, Path]:
        first, second = runs(*changes, before=before)
        return write(tmp_path / "a", dict(first.document)), write(tmp_path / "b", dict(second.document))

    return make


def test_the_exit_status_is_asked_for(two) -> None:
    paths = two(scored(wrong(*CASES[:3])), before=scored(wrong()))
    assert seatrial("compare", *paths).status == 0
    assert seatrial("compare", *paths, "--fail-on-regression").status == 1
    assert seatrial("compare", *reversed(paths), "--fail-on-regression").status == 0
    for margin, status in (("0.2", 0), ("SC-1=0.2", 0), ("SC=0.2", 2), ("0.1", 1), ("inf", 0)):
        said = seatrial("compare", *paths, "--fail-on-regression", "--margin", margin)
        assert said.status == status, (margin, said)
    both = ("--margin", "1", "--margin", "SC-1=0.01")  # its own margin counts
    assert seatrial("compare", *paths, "--fail-on-regression", *both).status == 1


@pytest.mark.parametrize(
    ("margin", "message"),
    [
        ("x", "give a number of at least 0"),
        ("-1", "give a number of at least 0"),
        ("nan", "give a number of at least 0"),
        ("SC1=0.1", "did you mean 'SC-1'?"),
        ("5", "0.05 is 5 points"),
    ],
)
def test_a_margin_that_means_nothing_is_a_wrong_command_line(two, margin: str, message: str) -> None:
    said = seatrial("compare", *two(), "--margin", margin)
    assert (said.status, message in said.err) == (2, True)


def test_two_real_runs(perfect, wrong_run, tmp_path: Path) -> None:
    said = seatrial("compare", perfect.folder, wrong_run.folder, "--fail-on-regression")
    assert said.status == 1
    assert "SC-1: PASS -> FAIL; 100 % -> 20 %" in said.out
    assert "Paired over the 13 cases that both runs asked" in said.out
    assert "by id alone" not in said.out
    for kind in ("markdown", "html"):
        output = tmp_path / kind
        assert (
            seatrial("compare", perfect.folder, wrong_run.folder, "--format", kind, "--output", output).status
            == 0
        )
        assert "Tango" in output.read_text(encoding="utf-8") or kind == "markdown"


@pytest.fixture(name="wrong_run")
def _wrong_run(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("wrong")


def test_runs_that_cannot_be_compared_are_told_apart(two, tmp_path: Path) -> None:
    first, second = two()
    (tmp_path / "link").symlink_to(first)
    other = write(tmp_path / "other", document(lambda made: made["task"].update(name="lamp")))
    strange = write(tmp_path / "strange", document(_renamed))
    later = write(tmp_path / "later", document(lambda made: made.update(schema_version=2)))
    for pair, message in {
        (first, first): "both are",
        (first, tmp_path / "link"): "both are",
        (first, first / "report.html"): "both are",
        (first, other): "judged the task 'lamp', and the other run judged 'task_api'",
        (first, strange): "no case was asked by both runs",
        (first, later): "schema version 2",
        (first, tmp_path / "absent"): "does not exist",
        (tmp_path, second): "holds no results.json",
    }.items():
        if message != "both are":
            _another_id(pair[1])
        said = seatrial("compare", *pair)
        assert (said.status, message in said.err, said.out) == (3, True, ""), said
    copy = write(tmp_path / "copy", document())
    assert "both are the run" in seatrial("compare", first, copy).err


def _another_id(folder: Path) -> None:
    path = folder / "results.json"
    if path.exists() and folder.name != "b":
        path.write_text(path.read_text(encoding="utf-8").replace("1a2b", "9f9f"), encoding="utf-8")


def _renamed(made: Document) -> None:
    """Other cases of the same task."""
    for each in made["observations"]:
        each["case"] = f"other-{each['case']}"
    for each in made["verdicts"]:
        each["misses"] = []
        if each["measured"]:
            scores = each["measured"]["scores"]
            each["measured"]["scores"] = {f"other-{case}": score for case, score in scores.items()}


# --- what is shown ---------------------------------------------------------------------------------------


def hostile(told: str) -> RunsCompared:
    def later(made: Document) -> None:
        scored(wrong(*WRONG["shipped"], CASES[0]), answers=dict.fromkeys(CASES, told))(made)
        made["task"]["title"] = verdict(made)["title"] = verdict(made)["requirement"] = told
        for each in made["observations"]:
            each["prompt"] = each["expected"] = told
        hard(missed=("h",))(made)

    def before(made: Document) -> None:
        scored(wrong(), answers=dict.fromkeys(CASES, told))(made)
        for each in made["observations"]:
            each["prompt"] = told
        hard(right=("h",))(made)

    return compared(later, before=before)


ODD = (
    *HOSTILE,
    "\x1b[2J\u202e\x07",
    "a\r\n::error::b",
    "|a|b|",
    "`x``",
    "x" * 5000,
    "漢字" * 300,
    "e\u0301 " * 200,
)


@pytest.mark.parametrize("told", ODD)
def test_foreign_text_stays_text_everywhere(told: str) -> None:
    found = hostile(told)
    lines = text(found).splitlines()
    assert len(found.cases) == 2
    for line in lines:
        wide = sum(unicodedata.east_asian_width(c) in "WF" for c in line)
        assert len(line) + wide - sum(unicodedata.combining(c) > 0 for c in line) <= WIDTH
        assert not line.lstrip().startswith("::")
    for written in (text(found), markdown(found), page(found)):
        assert not {"\x1b", "\u202e", "\x07", "\r"} & set(written)
    usual, odd = Page(page(hostile("plain"))), Page(page(found))
    assert odd.tags == usual.tags
    assert not odd.unbalanced
    assert len(odd.attributes) == len(usual.attributes)
    render = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render
    tags = [Page(render(markdown(each))).tags for each in (found, hostile("plain"))]
    assert [tag for tag in tags[0] if tag != "code"] == [tag for tag in tags[1] if tag != "code"]


def test_the_page_needs_no_other_file_and_runs_nothing() -> None:
    written = Page(page(compared(scored(wrong(*CASES[:3])), before=scored(wrong()))))
    assert not {"script", "link", "img", "iframe"} & set(written.tags)
    assert not [
        value
        for name, value in written.attributes
        if name in ("src", "href") and not str(value).startswith("#")
    ]
    policy = next(
        value for name, value in written.attributes if name == "content" and "default-src" in str(value)
    )
    assert "default-src 'none'" in str(policy)
    told = written.text()
    for words in ("Regressions beyond the margins: SC-1", "100 % → 85 %", "3 worse", CASES[0]):
        assert words in told


def test_what_differs_between_the_runs_is_noted() -> None:
    def later(made: Document) -> None:
        made["task"]["sha256"] = made["case_files"][0]["sha256"] = "0" * 64
        made["run"]["packages"]["torch"] = "3.0.0"
        verdict(made)["requirement"] = "accuracy >= 50 %"

    told = " ".join(text(compared(later)).split())
    for words in (
        "task.toml differs between the runs",
        "case files differ: domain",
        "both runs judged the same file",
        "torch 2.13.0 and 3.0.0",
        "required before: accuracy >= 90 %; now: accuracy >= 50 %",
    ):
        assert words in told
    backwards = compared(lambda made: made["run"].update(started="2020-01-01T00:00:00Z"))
    assert "the first run is the later one" in text(backwards)


def test_a_comment_has_room_for_the_markdown_of_ten_thousand_cases() -> None:
    many = {f"c-{n}": 0.0 for n in range(10_000)}

    def told(value: float) -> Change:
        def edit(made: Document) -> None:
            scored(dict.fromkeys(many, value), answers=dict.fromkeys(many, "x" * 500))(made)
            made["questions"] = dict.fromkeys(many, "0")

        return edit

    written = markdown(compared(told(0.0), before=told(1.0)))
    assert len(written) < 65_536
    assert re.search(r"and 9,980 more", written)

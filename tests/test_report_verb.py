"""``seatrial report``: the page again, a job's summary and annotations; and what results.json needs for them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from seatrial.evals.report import write_report
from seatrial.evals.report.annotations import SHOWN, commands
from seatrial.evals.report.escaping import cell, code, command, plain
from seatrial.evals.report.summary import summary
from seatrial.evals.repository import checkout, inside, root
from tests.page import HOSTILE, Page
from tests.report_results import failing, observation, refused, results, unevaluated
from tests.verb import Document, document, seatrial, write

MIB = 1024 * 1024  # what GitHub's runner takes as a summary
ODD = (*HOSTILE, "a|b|c", "`x` ``y``", "- [ ] *x* _y_ ~z~ #1", "1. one", "![i](https://evil.example/i)",
       "https://evil.example www.evil.example", "a\r\n\n# b", "\x1b[2J\u202e", "100%", "&lt;b&gt;")  # fmt: skip


def rendered(text: str) -> Page:
    """Markdown as GitHub renders it: tables, bare links and HTML allowed."""
    return Page(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text))


# --- the page --------------------------------------------------------------------------------------------


def test_the_page_is_written_again_byte_by_byte(perfect, tmp_path: Path) -> None:
    page = (perfect.folder / "report.html").read_bytes()
    said = seatrial("report", perfect.folder / "results.json", "--output", tmp_path / "again.html")
    assert (said.status, said.out) == (0, f"{tmp_path / 'again.html'}\n")
    assert (tmp_path / "again.html").read_bytes() == page


def test_the_page_is_written_beside_its_results(tmp_path: Path) -> None:
    write_report(results(), tmp_path)
    page = (tmp_path / "report.html").read_bytes()
    (tmp_path / "report.html").unlink()
    assert seatrial("report", tmp_path).status == 0
    assert (tmp_path / "report.html").read_bytes() == page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "results.json"]


def test_what_cannot_be_written_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    write_report(results(), tmp_path)
    before = (tmp_path / "report.html").read_bytes()
    for place in (tmp_path / "no" / "folder.html", tmp_path):
        said = seatrial("report", tmp_path, "--output", place)
        assert (said.status, "--output" in said.err) == (3, True), said
    assert (tmp_path / "report.html").read_bytes() == before


def test_a_record_that_no_page_can_be_made_of_is_named(tmp_path: Path) -> None:
    def spoil(made: Document) -> None:
        made["observations"] = [*made["observations"] * 10, {"case": "x"}]

    said = seatrial("report", write(tmp_path, document(spoil)))
    assert (said.status, "observations[200]" in said.err) == (3, True)


# --- the job's summary -----------------------------------------------------------------------------------


def test_the_summary_tells_what_a_reviewer_asks() -> None:
    made = refused(
        1,
        failing(),
        unevaluated(),
        observations=[observation("r-1", True, True, prompt="Wipe it all", reason="wrong operation")],
        hard_cases={"total": 12, "passed": 11, "missed": ["r-1"], "not_evaluated": []},
    )
    made["gate"]["waivers"] = [{"name": "leakage", "why": "the rows are not ours"}]
    text = re.sub(" (?=[,:])", "", rendered(summary(made)).text())  # between elements
    for told in (
        "DO NOT SHIP: Task API assistant",
        f"task_api-q4_k_m.gguf, 105 MB, SHA-256 {made['shipped']['sha256']}",
        "8f14e45fceea167a5a36dedd4bea2543ad0cbb02 with uncommitted changes",
        "FAIL SC-1 Domain understanding: the right operation 75 % (53.1 to 88.8 %), n = 20",
        "NOT EVALUATED SC-4.ollama",
        "r-1 asked Wipe it all",
        "leakage: the rows are not ours",
        *made["gate"]["reasons"],
    ):
        assert told in text
    rows = [line for line in summary(made).splitlines() if line.startswith("| ")]
    assert len(rows) == len(made["verdicts"]) + 1  # one line a criterion, and the head


def test_the_summary_tells_models_and_causes() -> None:
    made = refused(1, failing())
    row = dict.fromkeys(("answer_seconds", "answer_seconds_p95", "tokens_per_second", "cost_per_1000"))
    row |= {"schema_error_rate": None, "schema_cases": 0, "errors": 0, "scores": []}
    score = {"criterion": "SC-1", "value": 0.75, "unit": "share"}
    made["overview"] = [
        {**row, "model": "base"},
        {
            **{**row, "model": "shipped", "scores": [score], "answer_seconds": 1.2, "errors": 2},
            **{"tokens_per_second": 41.3, "cost_per_1000": 0.25, "schema_error_rate": 0.05},
            "schema_cases": 40,
        },
    ]
    made["failures"] = [
        {
            "cause": "wrong label",
            "count": 3,
            "criteria": ["SC-1"],
            "repair": "add rows of the confused labels",
        }
    ]
    text = rendered(summary(made)).text()
    for told in (
        "base : nothing was measured",
        "SC-1 75 %, an answer in 1.2 s, 41.3 tokens a second, 0.25 dollars for 1,000 requests, 5 % of 40 answers "
        "broken, 2 answers never came",
        "wrong label , 3 cases (SC-1): add rows of the confused labels",
    ):
        assert told in text


def test_the_summary_says_ship_only_with_the_results(perfect) -> None:
    said = seatrial("report", perfect.folder, "--format", "markdown")
    assert said.out.startswith("## SHIP: Lamp switch\n")
    contradicting = results(hard_cases={"total": 1, "passed": 0, "missed": ["x"], "not_evaluated": []})
    assert summary(contradicting).startswith("## DO NOT SHIP: ")


@pytest.mark.parametrize("text", ODD)
def test_foreign_text_is_only_text_in_markdown(text: str) -> None:
    made = refused(
        1,
        failing() | {"title": text, "requirement": text},
        observations=[observation("r-1", True, True, prompt=text, actual=text, reason=text)],
        hard_cases={"total": 1, "passed": 0, "missed": ["r-1"], "not_evaluated": []},
        task=results()["task"] | {"title": text},
    )
    made["gate"] |= {"summary": [text], "waivers": [{"name": text, "why": text}]}
    page, usual = rendered(summary(made)), rendered(summary(results()))
    assert set(page.tags) <= set(usual.tags) | {"h3", "ul", "li", "code"}
    assert not page.attributes or {name for name, _ in page.attributes} <= {"style"}
    assert page.tags.count("td") == 4 * len(made["verdicts"])
    assert not {"\x1b", "\u202e", "\r"} & set(summary(made))


def test_escaped_text_reads_as_it_was() -> None:
    for text in (
        *HOSTILE,
        "a|b",
        "accuracy >= 90 %",
        "*x* _y_ [z](u)",
        "1. one",
        "- one",
        "a_b_ _c",
    ):
        assert rendered(plain(text)).text() == text
        assert rendered(code(text)).text() == text
        assert rendered(f"|a|\n|-|\n|{cell(text)}|").text() == f"a {text}"


def test_the_summary_of_a_huge_run_fits_and_says_what_is_left_out() -> None:
    many = [failing() | {"criterion": f"X.{n}", "title": "t" * 300} for n in range(4000)]
    text = summary(results(verdicts=many))
    assert MIB / 2 < len(text.encode()) < MIB
    left = re.search(r"Cut here: ([\d,]+) more lines", text)
    assert left and int(left[1].replace(",", "")) > 1000
    reasons = summary(refused(1, failing()) | {"gate": refused(1)["gate"] | {"summary": ["r"] * 1000}})
    assert "and 960 more; the report lists them all" in reasons


# --- annotations -----------------------------------------------------------------------------------------


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as GitHub's runner reads it (src/Runner.Common/ActionCommand.cs)."""
    found = re.fullmatch(r"::(\w+)(?: (.*?))?::(.*)", line)
    assert found, line

    def plain_again(text: str, *pairs: tuple[str, str]) -> str:
        for escaped, meant in (("%0D", "\r"), ("%0A", "\n"), *pairs, ("%25", "%")):
            text = text.replace(escaped, meant)
        return text

    properties = dict(part.split("=", 1) for part in (found[2] or "").split(",") if part)
    read = {key: plain_again(value, ("%3A", ":"), ("%2C", ",")) for key, value in properties.items()}
    return found[1], read, plain_again(found[3])


def test_a_failed_criterion_stands_at_its_line_of_the_task(gate) -> None:
    gate.edit("at_least = 0.5", "at_least = 1.0")
    run = gate(fault="wrong-operation")
    said = seatrial("report", run.folder, "--format", "github")
    told = [parsed(line) for line in said.out.splitlines()]
    lines = (gate.task / "task.toml").read_text(encoding="utf-8").splitlines()
    for level, properties, _ in told:
        assert level == "error"
        assert gate.folder / properties["file"] == gate.task / "task.toml"
        table = lines[int(properties["line"]) - 1 :]
        assert table[0] == "[[criteria]]"
        assert table[1] == f'id = "{properties["title"].split()[0]}"'
    assert {properties["title"] for _, properties, _ in told} == {
        f"{name} FAIL" for name in run.with_status("FAIL")
    }


def test_a_missed_hard_case_stands_at_its_line_of_the_case_file(gate) -> None:
    gate.add_case("regressions", "hard-1", "lamp on, please", "on")
    said = seatrial("report", gate(fault="wrong-operation").folder, "--format", "github")
    level, properties, message = next(
        parsed(line)
        for line in said.out.splitlines()
        if "hard case" in line.partition("::")[2].partition("::")[0]
    )
    assert (level, properties["title"]) == ("error", "hard case hard-1 missed")
    row = (
        (gate.folder / properties["file"])
        .read_text(encoding="utf-8")
        .splitlines()[int(properties["line"]) - 1]
    )
    assert '"hard-1"' in row
    assert "asked: lamp on, please" in message


def test_a_run_that_may_ship_is_one_notice(perfect) -> None:
    said = seatrial("report", perfect.folder, "--format", "github")
    assert [parsed(line)[:2] for line in said.out.splitlines()] == [("notice", {"title": "SHIP"})]


def test_what_is_not_required_is_a_warning_and_other_reasons_are_told() -> None:
    made = refused(1, failing())
    made["gate"]["reasons"] += ["test failed: tests/test_x.py::test_y (boom)"]
    told = [parsed(line) for line in commands(made).splitlines()]
    titles = {(level, properties.get("title")) for level, properties, _ in told}
    assert ("error", "SC-1 FAIL") in titles
    assert ("warning", "SC-3.general FAIL") in titles
    assert any("boom" in message for level, _, message in told if level == "error")
    assert len([level for level, *_ in told if level == "error"]) == 2  # SC-1's own reason is not told twice


def test_a_ship_that_its_results_contradict_is_an_error() -> None:
    made = results(gate={"decision": "SHIP", "exit_status": 7, "reasons": []})
    assert parsed(commands(made).splitlines()[0])[0] == "error"


def test_github_shows_ten_so_the_last_one_counts_the_rest() -> None:
    many = [failing() | {"criterion": f"X.{n}"} for n in range(25)]
    told = [parsed(line) for line in commands(refused(1, *many)).splitlines()]
    errors = [message for level, _, message in told if level == "error"]
    assert len(errors) == SHOWN == 10
    assert errors[-1] == "16 more like these: the report lists them all"


@pytest.mark.parametrize("text", [*ODD, "a:b,c=d%0A::error::x", "x\n::add-mask::y"])
def test_a_command_survives_whatever_it_says(text: str) -> None:
    line = command("error", text, title=text)
    assert "\n" not in line and "\r" not in line
    level, properties, message = parsed(line)
    assert (level, message.replace("\\r", "")) == ("error", command_text(text))
    assert properties["title"].replace("\\r", "") == command_text(text)


def command_text(text: str) -> str:
    return text.replace("\r", "").replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")


@pytest.mark.parametrize("where", ["/elsewhere/c.jsonl:3", "../c.jsonl:3", "c.jsonl", "", "c.jsonl:x"])
def test_a_place_outside_of_the_repository_is_told_in_words(where: str) -> None:
    made = refused(1, observations=[observation("r-1", True, True, where=where)])
    made["run"]["root"] = "/home/runner/work/bot"
    made["hard_cases"] |= {"missed": ["r-1"]}
    _, properties, message = parsed(commands(made).splitlines()[0])
    assert "file" not in properties
    assert f"at {where}" in message or not where


# --- whose commit, and where things lie ------------------------------------------------------------------


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    (folder / "bot").mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "bot" / "a.txt").write_text("a", encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def test_the_commit_is_that_of_the_folder(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = repository / "bot" / "reports"
    commit = git(repository, "rev-parse", "HEAD")
    assert checkout(repository / "bot", reports) == {"commit": commit, "dirty": False}
    assert root(repository / "bot") == repository
    assert inside(repository / "bot" / "a.txt", repository) == "bot/a.txt"
    ours = Path(__file__).resolve().parent.parent
    monkeypatch.setenv("GIT_DIR", str(ours / ".git"))  # as a hook of another repository sets it
    monkeypatch.setenv("GIT_WORK_TREE", str(ours))
    assert checkout(repository / "bot", reports) == {"commit": commit, "dirty": False}


def test_reports_of_the_run_do_not_make_a_checkout_a_changed_one(repository: Path) -> None:
    reports = repository / "bot" / "reports"
    reports.mkdir()
    (reports / "results.json").write_text("{}", encoding="utf-8")
    assert checkout(repository, reports)["dirty"] is False
    assert checkout(repository, repository.parent / "reports")["dirty"] is True
    (reports / "results.json").unlink()
    (repository / "bot" / "b.txt").write_text("b", encoding="utf-8")
    assert checkout(repository / "bot", reports)["dirty"] is True


def test_outside_of_a_checkout_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkout(tmp_path, tmp_path / "reports") is None
    assert root(tmp_path) == tmp_path
    git(tmp_path, "init", "-q")
    assert checkout(tmp_path, tmp_path / "reports") is None  # no commit yet
    monkeypatch.setenv("PATH", os.devnull)
    assert checkout(tmp_path, tmp_path / "reports") is None  # no git


def test_a_run_names_the_repository_of_its_user(gate) -> None:
    git(gate.folder, "init", "-q")
    git(gate.folder, "add", "-A")
    git(gate.folder, "commit", "-qm", "first")
    made = gate().results
    assert made["run"]["git"]["commit"] == git(gate.folder, "rev-parse", "HEAD")
    assert Path(made["run"]["root"]) == gate.folder.resolve()
    assert gate.folder / made["task"]["path"] == gate.task
    assert set(made["task"]["criteria"]) == {verdict["criterion"] for verdict in made["verdicts"]}


def test_a_run_outside_of_a_checkout_names_no_commit(perfect) -> None:
    assert perfect.results["run"]["git"] is None
    assert set(perfect.results["questions"]) == {each["case"] for each in perfect.results["observations"]}

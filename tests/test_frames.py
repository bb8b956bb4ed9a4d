"""Runs as data frames: every row and cell of a record, with the same dtypes whatever is in it.

python -m pytest tests/test_frames.py
"""

import re
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seatrial.evals import frames as module
from seatrial.evals.frames import Frames, read_runs
from seatrial.training import extras
from seatrial.training.errors import SeatrialError
from tests.report_results import CASES, WRONG, observation, refused, results, unevaluated
from tests.verb import document, write

COLUMNS = {
    name: getattr(module, name.upper())
    for name in ("runs", "packages", "verdicts", "scores", "misses", "cases", "artifacts")
}
DOCS = Path(__file__).resolve().parents[1] / "docs" / "frames.md"


def named(run: str):
    """A change that gives a document another run's id."""
    return lambda made: made["run"].update(id=run)


@pytest.fixture
def one(tmp_path: Path) -> Frames:
    return read_runs(write(tmp_path / "run", document()))


# --- rows ----------------------------------------------------------------------------------------------
def test_there_is_a_row_for_everything_on_record(one: Frames) -> None:
    made = results()
    assert len(one.runs) == 1
    assert list(one.verdicts["criterion"]) == [each["criterion"] for each in made["verdicts"]]
    sides = [v[side] for v in made["verdicts"] for side in ("measured", "against") if v[side]]
    assert len(one.scores) == sum(len(side["scores"]) for side in sides)
    assert len(one.misses) == sum(len(each["misses"]) for each in made["verdicts"])
    assert len(one.cases) == len(made["observations"])
    assert len(one.artifacts) == len(made["artifacts"])
    assert len(one.packages) == len(made["run"]["packages"])


def test_a_verdict_has_its_numbers_and_the_run_that_it_belongs_to(one: Frames) -> None:
    row = one.verdicts.set_index("criterion").loc["SC-3.operations"]
    assert (row["run"], row["task"], row["decision"]) == ("20261121T130000Z-1a2b", "task_api", "SHIP")
    assert (row["group"], row["status"], row["rule"]) == ("SC-3", "PASS", "superior")
    assert (row["model"], row["value"], row["n"]) == ("shipped", 0.95, 20)
    assert (row["against"], row["against_value"], row["difference"]) == ("base", 0.2, 0.75)
    assert (row["difference_low"], row["difference_high"], row["p_value"]) == (0.55, 0.9, 6.1e-5)
    assert row["started"] == pandas.Timestamp("2026-11-21T13:00:00Z")


def test_a_run_has_its_file_its_commit_and_its_place(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", document())
    row = read_runs(folder).runs.iloc[0]
    shipped = results()["shipped"]
    assert (row["shipped"], row["sha256"], row["bytes"]) == (
        shipped["name"],
        shipped["sha256"],
        shipped["bytes"],
    )
    assert row["commit"].startswith("8f14e45")
    assert bool(row["dirty"]) is True
    assert (row["exit_status"], row["seconds"], row["recipe"]) == (0, 783.4, "smollm2-135m-cpu")
    assert row["path"] == str(folder / "results.json")


def test_scores_say_who_missed_and_what_was_answered(one: Frames) -> None:
    scores = one.scores[one.scores["criterion"] == "SC-3.operations"]
    judged = scores[scores["model"] == "shipped"].set_index("case")
    rival = scores[scores["model"] == "base"].set_index("case")
    assert list(judged.index) == CASES
    assert judged.loc["domain-update-3", "score"] == 0
    assert '"operation": "create"' in judged.loc["domain-update-3", "answer"]
    assert not judged["missed"].isna().any()
    assert rival["missed"].isna().all()  # a record does not list the misses of a rival
    assert rival["score"].sum() == len(CASES) - len(WRONG["base"])


def test_a_miss_of_a_criterion_is_a_missed_score(one: Frames) -> None:
    scores = one.scores[(one.scores["criterion"] == "SC-1")].set_index("case")
    assert list(scores.index[scores["missed"].astype(bool)]) == ["domain-update-3"]
    assert list(one.misses.loc[one.misses["criterion"] == "SC-1", "case"]) == ["domain-update-3"]


def test_a_score_has_its_group_where_the_record_says_it(tmp_path: Path) -> None:
    def grouped(made: dict) -> None:
        made["verdicts"][0]["measured"]["group_of"] = {"domain-list-1": "list"}

    scores = read_runs(write(tmp_path / "run", document(grouped))).scores
    first = scores[scores["criterion"] == "SC-1"].set_index("case")["group"]
    assert first["domain-list-1"] == "list"
    assert pandas.isna(first["domain-list-2"])


def test_hard_cases_that_no_test_looked_at_are_rows_without_an_outcome(tmp_path: Path) -> None:
    hard = {"total": 3, "passed": 0, "missed": ["reg-1", "reg-2"], "not_evaluated": ["reg-3"]}
    seen = [observation("reg-1", missed=True, hard=True)]
    cases = read_runs(write(tmp_path / "run", document(hard_cases=hard, observations=seen))).cases
    assert list(cases["case"]) == ["reg-1", "reg-2", "reg-3"]
    assert cases["hard"].all()
    assert list(cases["missed"][:2]) == [True, True]
    assert pandas.isna(cases["missed"][2])


def test_what_was_not_measured_is_nan(tmp_path: Path) -> None:
    made = refused(10, unevaluated(), shipped=None, recipe=None)
    made["run"] = made["run"] | {"git": None, "memory_gb": None, "cores": None}
    found = read_runs(write(tmp_path / "run", made))
    row = found.verdicts.set_index("criterion").loc["SC-4.ollama"]
    assert row[["model", "value", "low", "high", "n", "against", "difference"]].isna().all()
    assert (row["status"], row["reason"]) == ("NOT EVALUATED", "no Ollama server answers")
    run = found.runs.iloc[0]
    assert run[["shipped", "sha256", "bytes", "recipe", "commit", "dirty", "memory_gb", "cores"]].isna().all()


# --- dtypes --------------------------------------------------------------------------------------------
def test_frames_without_rows_have_their_columns_and_dtypes() -> None:
    nothing = read_runs()
    for name, columns in COLUMNS.items():
        frame = getattr(nothing, name)
        assert len(frame) == 0
        assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == dict(columns), name


OPTIONAL_NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(TEXTS, OPTIONAL_NUMBER, OPTIONAL_NUMBER), max_size=4),
    st.dictionaries(TEXTS, OPTIONAL_NUMBER, max_size=4),
)
def test_dtypes_and_values_are_those_of_the_record_whatever_is_in_it(
    tmp_path: Path, measured, scores
) -> None:
    """Fails if a null, a number or a text of a record changes a dtype, or comes out as something else."""
    verdict = results()["verdicts"][0]
    kept = verdict["measured"] | {"groups": {}}
    found = [
        verdict
        | {"criterion": f"{n}", "misses": [], "reason": text}
        | {"measured": kept | {"value": value, "low": low, "scores": scores, "answers": {}}}
        for n, (text, value, low) in enumerate(measured)
    ]
    made = read_runs(write(tmp_path / "run", document(verdicts=found)))
    for name, columns in COLUMNS.items():
        dtypes = getattr(made, name).dtypes.items()
        assert {column: str(dtype) for column, dtype in dtypes} == dict(columns), name
    rows = made.verdicts
    assert list(rows["reason"]) == [text for text, _, _ in measured]
    for column, place in (("value", 1), ("low", 2)):
        assert [None if pandas.isna(cell) else cell for cell in rows[column]] == [
            row[place] for row in measured
        ]
    assert len(made.scores) == len(scores) * len(measured)


# --- which runs ----------------------------------------------------------------------------------------
def test_runs_stand_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, document(named(name))) for name in ("b", "a")]
    found = read_runs(folders[0], str(folders[1] / "results.json"))
    assert list(found.runs["run"]) == ["b", "a"]
    assert list(found.verdicts["run"].unique()) == ["b", "a"]


def test_a_page_names_the_run_beside_it(tmp_path: Path) -> None:
    assert len(read_runs(write(tmp_path / "run", document()) / "report.html").runs) == 1


def test_a_run_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", document())
    (tmp_path / "latest").symlink_to("run", target_is_directory=True)
    copy = write(tmp_path / "copy", document())
    assert len(read_runs(folder, tmp_path / "latest", copy).runs) == 1


def test_two_records_of_one_run_that_differ_are_refused(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, document(tests=counts(n))) for n, name in enumerate("ab")]
    with pytest.raises(SeatrialError, match="another record of the run 20261121T130000Z-1a2b") as raised:
        read_runs(*folders)
    assert str(folders[1]) in str(raised.value)


def counts(passed: int) -> dict:
    return results()["tests"] | {"passed": passed}


def test_what_is_no_record_is_an_error_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(SeatrialError, match="ends in the middle"):
        read_runs(tmp_path)


def test_a_mistake_beyond_what_is_checked_at_first_is_told_with_its_place(tmp_path: Path) -> None:
    def broken(made: dict) -> None:
        made["observations"] = [dict(observation(CASES[0])) for _ in range(60)] + ["nothing"]

    with pytest.raises(SeatrialError, match=r"observations\[60\]"):
        read_runs(write(tmp_path / "run", document(broken)))


# --- pandas --------------------------------------------------------------------------------------------
def test_without_pandas_the_line_to_type_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "_version", lambda name: None)
    with pytest.raises(extras.MissingExtra) as raised:
        read_runs()
    assert "needs pandas: python -m pip install 'seatrial[frames]'" in str(raised.value)
    assert raised.value.extra == "frames"


def test_the_module_is_imported_without_pandas() -> None:
    code = "import sys, seatrial.evals.frames; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_names_every_column_in_order() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (.+) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert {frame: re.findall(r"`(\w+)`", columns) for frame, columns in rows} == {
        name: list(columns) for name, columns in COLUMNS.items()
    }

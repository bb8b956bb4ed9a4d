"""``seatrial new``: what it writes runs at once, says what is missing, and touches nothing that is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from seatrial.configured import change_for, in_charge
from seatrial.evals.case_sets import load_case_sets
from seatrial.evals.declared import check_criteria
from seatrial.evals.task import load_task
from seatrial.new_task import KINDS, TEMPLATE, Wanted, plan, write
from seatrial.samples import of_schema
from seatrial.training.errors import SeatrialError

ROOT = Path(__file__).parents[2]
DIGEST = {
    "type": "object",
    "required": ["lines", "level", "author", "when"],
    "properties": {
        "lines": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/line"}},
        "level": {"type": "integer", "minimum": 3, "maximum": 3},
        "author": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 4}]},
        "when": {"type": ["null", "string"], "minLength": 30},
    },
    "$defs": {"line": {"allOf": [{"type": "object", "required": ["text"]}, {"properties": {"text": {}}}]}},
}


def made(root: Path, name: str = "tickets", kind: str = "json", **more: object) -> Path:
    """A new task in ``root``; its folder."""
    wanted = Wanted(name, kind, root=root, **more)
    write(plan(wanted))
    return root / wanted.task


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def gate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["pytest", "-m", "release", "-q", *words], cwd=folder, capture_output=True, text=True, timeout=300
    )


def seatrial(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["seatrial", *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


# --- what is written --------------------------------------------------------------------------------------
@pytest.mark.parametrize("judges", ["file", "program"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_task_without_a_mistake(tmp_path, kind, judges):
    task = load_task(made(tmp_path, kind=kind, judges=judges))
    check_criteria(task)
    cases = load_case_sets(task)
    assert [len(cases["questions"]), len(cases["regressions"])] == [10, 0]
    assert all(case.tags == ("sample",) for found in cases.values() for case in found)
    assert task.prompted_base


@pytest.mark.parametrize("kind", KINDS)
def test_the_sample_program_answers_every_sample_as_the_contract_asks(tmp_path, kind):
    folder = made(tmp_path, kind=kind)
    task = load_task(folder)
    asked = [case.question for cases in load_case_sets(task).values() for case in cases]
    lines = "".join(json.dumps({"messages": list(question.messages)}) + "\n" for question in asked)
    program = [sys.executable, str(folder / "sample_program.py")]
    said = subprocess.run(program, input=lines, capture_output=True, text=True, check=True).stdout
    answers = [json.loads(line) for line in said.splitlines()]
    assert len(answers) == len(asked) and all(answer["stop_reason"] == "eos" for answer in answers)
    assert [task.reader.problem(answer["text"]) for answer in answers] == [""] * len(asked)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_task_of_every_kind_lacks_nothing_but_cases_of_its_own(scratch, kind):
    said = seatrial(scratch, "new", "first", f"--kind={kind}", "--judges=program")
    assert said.returncode == 0, said.stderr
    done = gate(scratch, "--program=python golden/first/sample_program.py")
    against = [line for line in done.stdout.splitlines() if line.startswith("against shipping")]
    assert done.returncode == 10 and "FAIL" not in done.stdout, done.stdout
    few = "SAFETY.recall NOT EVALUATED"  # five violations are too few to be confident of 95 %
    assert [line for line in against if few not in line and "cases are samples" not in line] == []


def test_every_kind_but_the_example_s_can_begin_a_task():
    brought = {path.stem for path in (ROOT / "evals" / "kinds").glob("*.toml")}
    assert brought - {"core", "export", "contract", "training", "json_action"} == set(KINDS)


def test_labels_and_a_schema_of_ones_own_run_at_once(scratch):
    (scratch / "digest.json").write_text(json.dumps(DIGEST), encoding="utf-8")
    said = seatrial(scratch, "new", "digest", "--schema=digest.json", "--judges=program")
    assert said.returncode == 0, said.stderr
    for line in said.stdout.splitlines():
        if line.startswith("try:"):
            command = line.removeprefix("try:").strip()
    done = subprocess.run(["bash", "-c", command], cwd=scratch, capture_output=True, text=True)
    assert done.returncode == 10, done.stdout
    against = [line for line in done.stdout.splitlines() if line.startswith("against shipping")]
    assert len(against) == 1 and "10 of 10 cases are samples" in against[0]

    labels = seatrial(scratch, "new", "tones", '--labels=warm, très froid ,"q"', "--judges=program")
    assert labels.returncode == 0, labels.stderr
    assert "--task=golden/tones" in labels.stdout  # pytest judges digest, so this one has to be named
    done = gate(scratch, "--task=golden/tones", "--program=python golden/tones/sample_program.py")
    assert done.returncode == 10 and "PASS  LABEL: all 4 passed" in done.stdout, done.stdout


def test_one_sample_that_is_left_does_not_ship_unless_it_is_waived(scratch):
    folder = made(scratch, judges="program")
    path = folder / "cases/questions.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('["sample"]', "[]", 9), encoding="utf-8")
    program = "--program=python golden/tickets/sample_program.py"
    done = gate(scratch, program)
    assert done.returncode == 10 and "1 of 10 cases are samples" in done.stdout, done.stdout
    (results,) = (scratch / "reports/tickets").glob("2*/results.json")
    verdicts = json.loads(results.read_text(encoding="utf-8"))["verdicts"]
    (samples,) = [verdict for verdict in verdicts if verdict["criterion"] == "CORE.samples"]
    assert samples["required"] and "questions.jsonl:10" in samples["reason"]
    with (folder / "task.toml").open("a", encoding="utf-8") as file:
        file.write('samples = "To see the gate say SHIP once."\n')
    done = gate(scratch, program)
    assert done.returncode == 0 and "waived: samples: To see the gate say SHIP once." in done.stdout


def test_folders_and_fixtures_of_the_user_are_in_nobodys_way(scratch):
    for name in ("evals", "fixtures", "training", "golden", "seatrial_notes"):
        (scratch / name).mkdir()
        (scratch / name / "__init__.py").write_text("raise RuntimeError('not yours')\n", encoding="utf-8")
    (scratch / "conftest.py").write_text(
        "import pytest\n@pytest.fixture\ndef settings(): return 1\n@pytest.fixture\ndef store(): return 2\n",
        encoding="utf-8",
    )
    said = seatrial(scratch, "new", "tickets", "--judges=program")
    assert said.returncode == 0, said.stderr
    done = gate(scratch, "--program=python golden/tickets/sample_program.py")
    assert done.returncode == 10 and "PASS  JSON: all 2 passed" in done.stdout, done.stdout + done.stderr


def test_on_a_terminal_it_asks_for_what_was_not_given(scratch):
    import pty

    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        ["seatrial", "new"], cwd=scratch, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    os.write(ours, b"tickets\nclassification\nred,green\nprogram\n")
    out, err = child.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert child.returncode == 0, err.decode()
    task = load_task(scratch / "golden/tickets")
    assert task.reader.labels == ("red", "green")
    assert b"Labels" in err and b"Labels" not in out


# --- nothing is overwritten, nothing is half written ------------------------------------------------------
def test_nothing_that_is_there_is_changed(scratch):
    made(scratch, "first")
    before = files(scratch)
    taken = seatrial(scratch, "new", "first")
    assert taken.returncode == 3 and "is there already" in taken.stderr
    assert files(scratch) == before
    said = seatrial(scratch, "new", "second", "--ci=github")
    assert said.returncode == 0
    assert "left as it is  .github/workflows/seatrial.yml" in said.stdout
    after = files(scratch)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("in_the_way", ["golden", ".github", ".github/workflows"])
def test_a_file_where_a_folder_should_be_leaves_nothing_behind(scratch, in_the_way):
    (scratch / in_the_way).parent.mkdir(exist_ok=True)
    (scratch / in_the_way).write_text("mine", encoding="utf-8")
    before = files(scratch)
    said = seatrial(scratch, "new", "tickets", "--ci=github")
    assert said.returncode == 3, said.stdout
    assert "cannot be written" in said.stderr and "Traceback" not in said.stderr
    assert files(scratch) == before


def test_a_folder_without_write_permission_is_one_clear_message(tmp_path, monkeypatch):
    """Raised by hand, because root, as which tests run in containers, may write anywhere."""

    def refuse(*given: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "golden"))

    monkeypatch.setattr("seatrial.new_task.tempfile.TemporaryDirectory", refuse)
    with pytest.raises(SeatrialError, match=r"golden: cannot be written: Permission denied\n.*--folder"):
        made(tmp_path)


def test_a_configuration_that_cannot_be_replaced_takes_everything_back(tmp_path, monkeypatch):
    def refuse(*given: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n", encoding="utf-8")
    before = files(tmp_path)
    monkeypatch.setattr("seatrial.configured.os.replace", refuse)
    with pytest.raises(SeatrialError, match="pyproject.toml: cannot be written"):
        made(tmp_path)
    assert files(tmp_path) == before


# --- names, labels, schemas -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["My Tickets"], 3, "such as 'my-tickets'"),
        (["../x"], 3, "cannot be a task's name"),
        (["-x"], 2, "No such option"),
        ([], 2, "seatrial new tickets"),
        (["x", "--folder=../y"], 3, "is not below this folder"),
        (["x", "--kind=song"], 2, "'classification', 'extraction', 'json'"),
        (["x", "--labels=a"], 3, "leaves nothing to decide"),
        (["x", "--labels=a,,b"], 3, "a label is empty"),
        (["x", "--labels=a,a"], 3, "named twice"),
        (["x", "--labels=Red,red"], 3, "named twice"),
        (["x", "--labels=a\tb,c"], 3, "not printable"),
        (["x", "--kind=json", "--labels=a,b"], 2, "--labels belongs to --kind=classification"),
        (["x", "--kind=question_answering", "--schema=pyproject.toml"], 2, "--schema belongs to --kind=json"),
        (["x", "--schema=none.json"], 2, "does not exist"),
        (["x", "--schema=pyproject.toml"], 3, "not valid JSON"),
    ],
)
def test_what_cannot_be_used_is_one_message_and_nothing_is_written(scratch, words, status, said):
    (scratch / "pyproject.toml").write_text("", encoding="utf-8")
    done = seatrial(scratch, "new", *words)
    assert done.returncode == status
    assert said in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert set(files(scratch)) - {"pyproject.toml"} == {name for name in files(scratch) if ".git/" in name}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "objekt"}, "objekt"),
        ({"$ref": "other.json"}, "refers to another file: 'other.json'"),
        ({"type": "string", "pattern": "^[0-9]{5}$"}, "no sample answer could be made"),
        ({"not": {}}, "no sample answer could be made"),
    ],
)
def test_a_schema_that_gives_no_sample_says_why(schema, said):
    with pytest.raises(SeatrialError, match=re.escape(said)):
        of_schema(schema, Path("s.json"))


@pytest.mark.parametrize(
    "schema",
    [
        DIGEST,
        True,
        {"enum": ["a", "b", 3]},
        {"type": "string", "pattern": "^[0-9]{5}$", "examples": ["12345"]},
        {"type": "object", "properties": {"again": {"$ref": "#"}}, "required": []},
        {"type": "number", "exclusiveMinimum": 7, "multipleOf": 5},
        {"oneOf": [{"type": "object", "required": ["a"]}, {"type": "boolean"}]},
    ],
)
def test_samples_fulfil_the_schema_and_say_what_is_right(schema):
    from jsonschema import Draft202012Validator

    samples = of_schema(schema, Path("s.json"))
    assert len({sample.prompt for sample in samples}) == 10
    for sample in samples:
        Draft202012Validator(schema).validate(json.loads(sample.answer))
        answer = json.loads(sample.answer)
        whole = sample.expect.get("answer") == answer
        assert whole or sample.expect == {name: answer[name] for name in sample.expect}


# --- pytest's configuration -------------------------------------------------------------------------------
LINE = 'seatrial_task = "golden/x"'
INI = "[tool.pytest.ini_options]"


@pytest.mark.parametrize(
    ("there", "text"),
    [
        (None, f"{INI}\n{LINE}\n"),
        ("", f"{INI}\n{LINE}\n"),
        ("[project]\nname = 'y'", f"[project]\nname = 'y'\n\n{INI}\n{LINE}\n"),
        (f"{INI}  # ours\naddopts = '-q'\n[tool.b]\n", f"{INI}  # ours\n{LINE}\naddopts = '-q'\n[tool.b]\n"),
        (f"{INI}\r\naddopts = '-q'\r\n", f"{INI}\r\n{LINE}\r\naddopts = '-q'\r\n"),
        ("[tool.pytest]\naddopts = ['-q']\n", f"[tool.pytest]\n{LINE}\naddopts = ['-q']\n"),
    ],
)
def test_one_line_is_added_to_pyproject_and_all_else_is_kept(tmp_path, there, text):
    if there is not None:
        (tmp_path / "pyproject.toml").write_text(there, encoding="utf-8", newline="")
    assert change_for(tmp_path, "golden/x").text == text


@pytest.mark.parametrize(
    ("name", "text", "table"),
    [
        ("pytest.ini", "[pytest]\naddopts = -q\n", "[pytest]"),
        ("pytest.ini", "", "[pytest]"),
        (".pytest.ini", "", "[pytest]"),
        ("pytest.toml", "[pytest]\n", "[pytest]"),
        ("tox.ini", "[tox]\n[pytest]\n", "[pytest]"),
        ("setup.cfg", "[tool:pytest]\n", "[tool:pytest]"),
        ("pyproject.toml", 'tool = {pytest = {ini_options = {addopts = "-q"}}}\n', INI),
    ],
)
def test_a_configuration_elsewhere_is_not_edited_and_says_what_to_add(tmp_path, name, text, table):
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'y'\n", encoding="utf-8")
    (tmp_path / name).write_text(text, encoding="utf-8")
    change = change_for(tmp_path, "golden/x")
    assert (change.text, change.judged) == (None, False)
    assert name in change.told and table in change.told and "seatrial_task = " in change.told


@pytest.mark.parametrize(
    "name", ["pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg"]
)
def test_the_file_in_charge_is_the_one_that_pytest_takes(tmp_path, name):
    table = {"setup.cfg": "tool:pytest"}.get(name, "pytest")
    (tmp_path / name).write_text(f"[{table}]\n", encoding="utf-8")
    both = name in ("tox.ini", "setup.cfg")  # after pyproject.toml, where that has a table of pytest's
    (tmp_path / "pyproject.toml").write_text("" if both else f"{INI}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", str(tmp_path)]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    assert f"configfile: {name}" in said, said
    found = in_charge(tmp_path)
    assert found is not None and found.file.name == name


def test_another_task_stays_the_one_that_is_judged(tmp_path):
    (tmp_path / "pyproject.toml").write_text(f'{INI}\nseatrial_task = "golden/old"\n', encoding="utf-8")
    change = change_for(tmp_path, "golden/x")
    assert change.text is None and not change.judged and "--task=golden/x" in change.told


def test_a_file_that_is_no_toml_stops_before_anything_is_written(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool\n", encoding="utf-8")
    with pytest.raises(SeatrialError, match="pyproject.toml: not valid TOML"):
        made(tmp_path)
    assert list(files(tmp_path)) == ["pyproject.toml"]


# --- the package ------------------------------------------------------------------------------------------
def test_the_template_survives_being_installed():
    """pip compiles ``.py`` files, and globs skip what begins with a dot."""
    inside = [path for path in TEMPLATE.rglob("*") if "__pycache__" not in path.parts]
    assert [path for path in inside if path.suffix == ".py" or path.name.startswith(".")] == []
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    patterns = data["package-data"]["seatrial"]
    packed = {path for pattern in patterns for path in TEMPLATE.parent.glob(pattern)}
    assert {path for path in inside if path.is_file()} <= packed


# --- a task that makes no model ---------------------------------------------------------------------------
def test_without_anything_to_judge_it_says_what_to_name(scratch):
    folder = made(scratch)
    done = gate(scratch)
    assert done.returncode == 4
    assert "this task has no 'recipe'" in done.stderr and "--gguf=FILE or --program=COMMAND" in done.stderr
    with (folder / "task.toml").open("r+", encoding="utf-8") as file:
        text = file.read()
        file.seek(0)
        file.write(f'recipe = "smollm2-135m-cpu"\n{text}')
    assert "this task has no 'train'" in gate(scratch).stderr
    command = [sys.executable, "-m", "seatrial.training", str(folder), f"--store={scratch / 'store'}"]
    trained = subprocess.run(command, capture_output=True, text=True)
    assert trained.returncode == 1 and "Traceback" not in trained.stderr


@pytest.mark.parametrize("folder", ["a b", 'a"b', "a;b", "ä"])
def test_a_folder_that_a_job_would_have_to_quote_is_refused(scratch, folder):
    done = subprocess.run(
        ["seatrial", "new", "tickets", f"--folder={folder}"], cwd=scratch, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert "would have to be quoted" in done.stderr
    assert not any(path.name == "tickets" for path in scratch.rglob("*"))

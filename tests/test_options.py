"""Command line options: what each does, and that a mistake is explained on one line before anything runs.

python -m pytest tests/test_options.py
"""

from __future__ import annotations

import json
import sys

import pytest

from tests.conftest import MINIATURE, PACKAGE, PLUGIN, QUIET, Gate

HELP = {
    "--task=DIR": "task to judge: a folder with a task.toml",
    "--criteria": "list the criteria of the task, with where each comes from, and judge nothing",
    "--plan": "list the steps that would be built, with minutes, memory and disk, and build nothing",
    "--recipe=NAME": "recipe to train by: a name or a TOML file",
    "--accelerate=FILE": "train in several processes by this accelerate configuration: a name, such as ddp, or a file",
    "--store=DIR": "where artifacts are kept (default: the user's cache)",
    "--store-remote=URL": "a store that machines share, such as s3://bucket/seatrial: what it holds is fetched, "
    "what is built is sent there (default: SEATRIAL_STORE_REMOTE)",
    "--report-dir=DIR": "where reports are written (default: reports)",
    "--cases=SET=FILE": "ask the questions of FILE instead of a case set's own, for locked questions; hard cases "
    "are asked beside the task's own; repeatable",
    "--require=NAME": "make a criterion required, such as SC-4.ollama (or just: ollama); repeatable",
    "--program=COMMAND": "judge a program that reads and writes JSON lines instead of training a model",
    "--base-program=COMMAND": "with --program: what it is compared with",
    "--gguf=FILE": "judge this GGUF file; nothing is trained",
    "--base-gguf=FILE": "with --gguf: the untuned model as a GGUF file",
    "--adapter=DIR": "with --gguf: the LoRA adapter that it was made from",
    "--trained-on=PRECISION": "with --adapter: how its base was held in training, where neither adapter nor base says: "
    "nf4, nf4-double, int8, bf16, fp16 or fp32",
    "--hf-model=DIR": "with --gguf: the merged Hugging Face model that it was made from",
    "--train=FILE": "with --gguf or --program: the rows that it was trained on, to look for the cases among them",
    "--modelfile=FILE": "with --gguf: its Ollama Modelfile (default: the one beside it)",
}
MARKERS = {
    "release": "the gate: `pytest -m release` exits 0 only if the shipped file may ship.",
    "data": "checks of the data that need no model",
    "criteria(*groups)": "parametrise a test by the task's criteria of these groups",
    "hard_cases": "parametrise a test by the regression cases and those tagged critical.",
    "verdict(criterion, required=True)": "the test that gives the verdict on a criterion which is not in task.toml; with `release` too, the gate requires it.",
}
HEAVY = ("torch", "transformers", "scipy", "pandas", "matplotlib")
COLLECT = f"""
import sys, time, pytest
status = pytest.main(sys.argv[1:])
print("loaded:", *[name for name in {HEAVY!r} if name in sys.modules])
print("seconds:", time.process_time())
sys.exit(status)
"""


@pytest.fixture
def in_repository(pytester, monkeypatch):
    """Run a command in a repository that has a task."""
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE))
    pytester.makepyprojecttoml(f'[tool.pytest.ini_options]\nseatrial_task = "{MINIATURE}"\n')
    return lambda *python, options: pytester.run(sys.executable, *python, *PLUGIN, *options)


# --- what the command line says of itself --------------------------------------------------------------
def test_help_explains_every_option(in_repository):
    result = in_repository("-m", "pytest", options=["--help"])
    text = result.stdout.str()
    own = text[text.index("seatrial: a ship gate") : text.index("[pytest] ")]
    words = " ".join(own.split())
    for option, meaning in HELP.items():
        assert f"{option} {meaning}" in words
    assert own.count("\n  --") == len(HELP), "an option is missing in this test"


def test_markers_are_explained(in_repository):
    result = in_repository("-m", "pytest", options=["--markers"])
    for marker, meaning in MARKERS.items():
        result.stdout.fnmatch_lines([f"@pytest.mark.{marker.replace('*', '[*]')}: {meaning}*"])


def test_collection_is_light(in_repository):
    result = in_repository("-c", COLLECT, options=["--collect-only", "-q", "-m", "release", *QUIET])
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["seatrial/evals/suite/test_criteria.py::test_criterion[[]SC-1[]]", "*tests collected*"]
    )
    assert result.stdout.lines[-2] == "loaded:"
    assert float(result.stdout.lines[-1].partition(" ")[2]) < 10, "seconds of CPU time; about one is usual"


# --- what each option does -----------------------------------------------------------------------------
def test_task_names_the_task(perfect):
    assert perfect.results["task"]["name"] == "lamp"


def test_task_may_be_the_toml_file(gate):
    run = gate("--collect-only", "-q", task=gate.task / "task.toml")
    assert run.status == 0
    assert "test_criterion[LAMP]" in run.output


def test_an_option_and_its_value_may_be_two_words_after_the_modules(gate):
    # Without a module before it, pytest takes a folder after --task for the place of the configuration.
    run = gate("--task", gate.task, "--collect-only", "-q")
    assert run.status == 0
    assert "test_criterion[LAMP]" in run.output


def test_store_and_report_dir_name_where_things_are_kept(gate, own_store):
    run = gate("-k", "EOS")
    assert {path.name for path in own_store.iterdir()} == {"generations", "locks", "logs", "reports", "tmp"}
    assert run.folder.parent.parent == gate.reports


def test_cases_asks_other_questions(gate):
    locked = gate.write(
        "locked.jsonl", '{"id": "locked-1", "prompt": "light it up", "expect": {"operation": "on"}}\n'
    )
    gate.edit("at_least = 0.9\n", "at_least = 0.9\nleast_cases = 1\n")
    run = gate(f"--cases=domain={locked}")
    assert run.verdicts["SC-1"]["measured"]["scores"] == {"locked-1": 1.0}
    asked = [entry for entry in run.results["observations"] if "[SC-1-" in entry["nodeid"]]
    assert [(entry["prompt"], entry["where"]) for entry in asked] == [("light it up", f"{locked}:1")]


def test_require_may_be_given_more_than_once_in_any_case(gate):
    gate.edit('id = "LAMP"\n', 'id = "LAMP"\nrequired = false\n')
    run = gate("--require=lamp", "--require=PERPLEXITY", fault="wrong-arguments")
    assert run.status == 1
    assert [reason.partition(" NOT")[0] for reason in run.reasons] == ["LAMP FAIL", "SC-3.perplexity"]


def test_without_a_base_program_what_compares_with_it_is_not_evaluated(gate):
    run = gate("-k", "SC-3.operations", base=None)
    assert run.status == 10
    assert "no model 'base' in this run" in run.verdicts["SC-3.operations"]["reason"]


def test_recipe_may_be_a_toml_file_and_its_mistakes_are_explained(gate):
    gate.edit("\nepochs = ", "\nepoch = ", name="recipes/tiny-llama.toml")
    mistaken = (gate.task / "recipes" / "tiny-llama.toml").rename(gate.folder / "mine.toml")
    run = gate(f"--recipe={mistaken}")
    assert run.status == 4
    run.lines.fnmatch_lines([f"*{mistaken}:*: unknown key 'trainer.epoch'", "*did you mean 'epochs'?*"])


# --- pytest -m data ------------------------------------------------------------------------------------
def test_the_data_checks_need_no_model_and_build_nothing(gate, own_store):
    run = gate(marked="data", fault="")
    assert run.status == 0
    run.lines.fnmatch_lines(["seatrial/evals/suite/test_data.py .*", "*1 passed*deselected*"])
    assert not own_store.exists()
    assert not gate.reports.exists()


def test_a_case_in_the_training_data_is_red_before_anything_is_built(gate, own_store):
    talk = [{"from": "human", "value": "Lamp off; quickly!"}, {"from": "gpt", "value": "{}"}]
    with (gate.task / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"conversations": talk}) + "\n")
    run = gate(marked="data", fault="")
    assert run.status == 1
    run.lines.fnmatch_lines(
        [
            "*DATA.leakage FAIL: No case was in the training data*",
            "*missed domain-off-2 (*cases/domain.jsonl:6): the training data asks 'Lamp off; quickly!'*",
            "*next:*take the row out of the training data; never change the case*",
        ]
    )
    assert not own_store.exists()


# --- misuse --------------------------------------------------------------------------------------------
def refused(gate: Gate, *arguments: str, says: str, **how: object) -> None:
    """The run ends as wrong usage, with one error that says ``says``, and nothing was run or written."""
    gate.store = gate.folder / "unused"
    run = gate(*arguments, **how)
    assert run.status == 4, run.output[-300:]
    errors = [line for line in run.output.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1
    pytest.LineMatcher(errors).fnmatch_lines([f"ERROR: {says}"])
    assert "Traceback" not in run.output
    assert "collected" not in run.output
    assert not gate.store.exists()
    assert not gate.reports.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task=/nowhere"], "/nowhere/task.toml: no task here"),
        (["--require=SC-3.operation"], "--require: there is no criterion 'SC-3.operation'"),
        (["--recipe=big"], "--recipe: there is no recipe 'big'"),
        (["--recipe=/nowhere/big.toml"], "--recipe: there is no recipe '/nowhere/big.toml'"),
        (["--cases=domain"], "--cases: 'domain' is not SET=FILE"),
        (["--cases=exam=exam.jsonl"], "--cases: this task has no case set 'exam'"),
        (["--cases=domain=/nowhere.jsonl"], "/nowhere.jsonl: this file does not exist"),
        (["--require=speed"], "--require: there is no criterion 'speed'"),
        (["--program="], "--base-program: needs --program"),
        (["--program=no-such-program --fast"], "--program: *'no-such-program --fast'*no such command"),
        (["--program=python 'unbalanced"], "--program: *cannot be run: No closing quotation"),
        (["--hf-model=."], "--hf-model=.: holds no config.json"),
        (["--gguf=nowhere.gguf"], "--gguf=nowhere.gguf: does not exist"),
        (["--gguf=miniature/task.toml"], "--gguf and --program: judge either a file or a program"),
        (["--adapter=."], "--adapter=.: holds no adapter_config.json"),
        (["--modelfile=miniature/task.toml"], "--modelfile: needs --gguf=FILE, the file to judge"),
        (["--base-program=no-such-program"], "--base-program: *'no-such-program'*no such command"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_on_the_command_line_is_one_error(gate, arguments, says):
    refused(gate, *arguments, says=says)


def test_a_store_that_cannot_be_written_is_one_error(gate):
    refused(
        gate, f"--store={gate.write('a_file', '')}/store", says="*a_file/store: cannot prepare the store*"
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "lamp"', "name = lamp", "*task.toml:1: not valid TOML*"),
        ("at_least = 4.0", "at_leest = 4.0", "*task.toml:*at_lee*"),
        (
            'metric = "json_parse"',
            'metric = "jsonparse"',
            "*task.toml:*the metric 'jsonparse'*does not exist",
        ),
        ('recipe = "tiny-llama"', 'recipe = "small"', "*task.toml:5: there is no recipe 'small'"),
        ('file = "cases/heldout.jsonl"', 'file = "held.jsonl"', "*held.jsonl: this file does not exist"),
    ],
    ids=["TOML", "key", "metric", "recipe", "file"],
)
def test_a_mistake_in_a_task_is_one_error(gate, old, new, says):
    gate.edit(old, new)
    refused(gate, says=says)


def test_a_mistake_in_a_case_names_file_and_line(gate):
    gate.add_case("domain", "domain-on-1", "again", "on")
    refused(gate, says="*domain.jsonl:11: the id 'domain-on-1' was used in line 1 already")

"""Kinds of tasks, models as data, metrics of a task's own: what a task.toml of a few lines makes of them.

python -m pytest tests/test_kinds.py
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seatrial.evals.case_names import chosen
from seatrial.evals.case_sets import load_case_sets
from seatrial.evals.core import standard_core
from seatrial.evals.criteria import check_criteria
from seatrial.evals.kinds import kinds
from seatrial.evals.models.program import ProgramModel
from seatrial.evals.models.table import Surroundings, model_kinds
from seatrial.evals.task import load_task
from seatrial.training.errors import SeatrialError
from tests.conftest import REPOSITORY

HEAD = 'kind = "classification"\nname = "x"\n[answer.values]\nlabel = ["a", "b"]\nsize = ["s", "l"]\n'
ROW = '{"id": "one", "prompt": "?", "expect": {"label": "a", "size": "s"}}\n'


@pytest.fixture
def write(tmp_path):
    """A task of a few lines with one case; its folder."""

    def write(text: str = HEAD, row: str = ROW, **files: str) -> Path:
        (tmp_path / "cases").mkdir(exist_ok=True)
        (tmp_path / "cases" / "domain.jsonl").write_text(row, encoding="utf-8")
        (tmp_path / "task.toml").write_text(text, encoding="utf-8")
        for name, content in files.items():
            (tmp_path / name.replace("__", ".")).write_text(content, encoding="utf-8")
        return tmp_path

    return write


def refused(folder: Path) -> str:
    with pytest.raises(SeatrialError) as caught:
        _read(folder)
    return str(caught.value)


def _read(folder: Path) -> None:
    task = load_task(folder)
    check_criteria(task)
    load_case_sets(task)


@pytest.mark.parametrize("kind", kinds())
def test_the_criteria_of_every_kind_can_be_judged(write, kind):
    task = load_task(write(HEAD.replace("classification", kind), '{"id": "one", "prompt": "?"}\n'))
    check_criteria(task)
    parts = standard_core(task, "trained").missing
    assert [part.name for part in parts] == [], "a kind brings the whole core"


def test_the_example_says_only_what_is_special_about_it():
    lines = (REPOSITORY / "golden" / "task_api" / "task.toml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120


def test_a_criterion_is_changed_by_its_id_and_the_rest_of_it_stays(write):
    changed = '[[criteria]]\nid = "LABEL.accuracy"\nat_least = 0.95\nwhy = "Mine."\n'
    task = load_task(write(f"{HEAD}{changed}"))
    by_id = {criterion.id: criterion for criterion in task.criteria}
    found = by_id["LABEL.accuracy"]
    assert (found.at_least, found.why, found.metric, found.cases) == (0.95, "Mine.", "accuracy", ("domain",))
    assert len(by_id) == len(task.criteria)
    assert str(task.origins["LABEL.accuracy"]).startswith(
        "task.toml:6, which changes kinds/classification.toml:"
    )
    assert by_id["FIELD.size"].settings == {"field": "size"}


def test_another_bound_or_rule_takes_the_place_of_the_kind_s(write):
    texts = (
        '[[criteria]]\nid = "BASE"\nat_least = 0.5\n',
        '[[criteria]]\nid = "LABEL.false-positives"\nrule = "within"\nagainst = "base"\nmargin = 0.1\n',
        '[[criteria]]\nid = "LOSS.label.merge"\nmargin = 0.2\nrequired = false\n',
    )
    task = load_task(write(HEAD + "".join(texts)))
    by_id = {criterion.id: criterion for criterion in task.criteria}
    assert (by_id["BASE"].rule, by_id["BASE"].against, by_id["BASE"].at_least) == ("point", None, 0.5)
    assert by_id["LABEL.false-positives"].at_most is None
    step = by_id["LOSS.label.merge"]
    assert (step.margin, step.required, step.against, step.model) == (0.2, False, "adapter", "merged")
    assert by_id["LOSS.label.conversion"].margin == 0.05


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (HEAD.replace("classification", "clasification"), 1, "did you mean 'classification'?"),
        (f'{HEAD}[[criteria]]\nid = "BASE"\ncases = "domian"\n', 8, "did you mean 'domain'?"),
        (f'{HEAD}[[criteria]]\nid = "LABEL.acuracy"\nat_least = 0.8\n', 7, "did you mean 'LABEL.accuracy'?"),
        (f'{HEAD}[models.big]\nkind = "opnai"\n', 7, "did you mean 'openai'?"),
        (f'{HEAD}[models.big]\nkind = "gguf"\nfiel = "x"\n', 8, "did you mean 'file'?"),
        (f'{HEAD}[models.shipped]\nkind = "gguf"\nfile = "x"\n', 6, "cannot be called 'shipped'"),
        (f'{HEAD}[models.ollama]\nkind = "gguf"\nfile = "x"\n', 6, "cannot be called 'ollama'"),
        (f'{HEAD}[models.big]\nkind = "gguf"\n', 6, "name a 'file', or a 'grammar'"),
        (f'{HEAD}[models.big]\nkind = "openai"\n', 6, "keys: kind, system, max_tokens, "),
        (
            f'{HEAD}[[criteria]]\nid = "X"\ntitle = "x"\nwhy = "x"\nmetric = "acuracy"\nat_least = 1.0\n',
            10,
            "accuracy",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_was_meant(write, text, line, told):
    message = refused(write(text))
    assert re.search(rf"task\.toml:{line}\b", message), message
    assert told in message


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('{"id": "one", "prompt": "?", "expect": {"label": "A"}}\n', "did you mean 'a'"),
        ('{"id": "one", "prompt": "?", "expect": {"lable": "a"}}\n', "did you mean 'label'?"),
        ('{"id": "one", "prompt": "?", "expect": {"size": "xl"}}\n', "the task's values of 'size': s, l"),
    ],
)
def test_an_expectation_that_nothing_reads_or_meets_is_told_with_its_line(write, row, told):
    message = refused(write(row=row))
    assert "cases/domain.jsonl:1: " in message
    assert told in message


def test_an_expectation_that_is_a_whole_answer_is_the_reference(write):
    (case,) = load_case_sets(load_task(write()))["domain"]
    assert case.question.reference == '{"label":"a","size":"s"}'
    (case,) = load_case_sets(load_task(write(row=ROW.replace(', "size": "s"', ""))))["domain"]
    assert case.question.reference is None


def test_a_set_that_only_the_kind_names_may_be_missing_and_then_is_told(write):
    tools = '[{"name": "t", "parameters": {"type": "object"}}]'
    text = 'kind = "tool_calling"\nname = "x"\n[answer]\ntools = "tools.json"\n'
    task = load_task(write(text, '{"id": "one", "prompt": "?"}\n', tools__json=tools))
    (unsafe,) = [criterion for criterion in task.criteria if criterion.id == "TOOL.unsafe"]
    assert unsafe.required
    assert "there is no case set 'safety'" in unsafe.absent


@pytest.mark.parametrize(
    ("wanted", "found", "missing"),
    [
        (["*"], ("a", "b", "edge"), ()),
        (["*", "!edge"], ("a", "b"), ()),
        (["@first"], ("a",), ()),
        (["regressions"], ("regressions",), ()),
        (["e*"], ("edge",), ()),
        (["c", "b"], ("b",), ("c",)),
    ],
)
def test_names_and_patterns_of_case_sets(wanted, found, missing):
    assert chosen(wanted, ["a", "regressions", "b", "edge"]) == (found, missing)


def test_a_model_is_built_from_its_table_and_scored_beside_the_shipped_one(write):
    text = f'{HEAD}[models.rules]\nkind = "program"\ncommand = "cat rules.txt"\nsystem = "Be brief."\n'
    task = load_task(write(text, rules__txt=""))
    (copy,) = [criterion for criterion in task.criteria if criterion.id == "MODELS.rules"]
    assert (copy.model, copy.required, copy.metric) == ("rules", False, "accuracy")
    model = task.models["rules"].model("rules", Surroundings(task, None, lambda name: None))
    assert isinstance(model, ProgramModel)
    assert model.system == "Be brief."
    assert model.command == ["cat", str(task.folder / "rules.txt")]
    assert {"gguf", "program", "ollama", "openai", "retrieval"} <= set(model_kinds())


RAISES = """
from seatrial.evals.metrics import metric, scored

@metric(expects=("label",))
def {name}(case, generation, criterion, evidence):
    \"\"\"Share of nothing.\"\"\"
    return scored(case, generation, 1 / 0, "", "")
"""
OWN = (
    '[[criteria]]\nid = "OWN"\ntitle = "x"\nwhy = "x"\nmetric = "{name}"\ncases = "domain"\nat_least = 1.0\n'
)


def test_a_metric_of_the_task_s_own_that_raises_is_no_zero(write):
    from seatrial.evals.criteria import judge
    from seatrial.evals.evidence import Evidence
    from seatrial.evals.models import Generation

    folder = write(HEAD + OWN.format(name="broken_metric"), metrics__py=RAISES.format(name="broken_metric"))
    task = load_task(folder)
    check_criteria(task)
    cases = load_case_sets(task)

    class Answers(Evidence):
        def __init__(self) -> None:
            self.task, self.cases, self.used = task, cases, {}

        def generations(self, model, case_set):
            return {"one": Generation('{"label": "a", "size": "s"}')}

    (own,) = [criterion for criterion in task.criteria if criterion.id == "OWN"]
    verdict = judge(own, Answers())
    assert verdict.status == "NOT EVALUATED"
    assert (
        "metrics.py:7: the metric 'broken_metric' raised ZeroDivisionError at the case one" in verdict.reason
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import nothing_of_this_name\n", "metrics.py:1: cannot be run: ModuleNotFoundError"),
        ("def broken(:\n", "metrics.py:1: cannot be run: SyntaxError"),
        (RAISES.format(name="accuracy"), "there is a metric 'accuracy' already"),
    ],
)
def test_metrics_that_cannot_be_read_are_told_with_their_line(write, text, told):
    message = refused(write(metrics__py=text))
    assert told in message


@pytest.mark.parametrize(
    ("metric", "settings", "told"),
    [
        (
            "pattern",
            'pattern = "("',
            "has a setting pattern that is '('\n  give a regular expression",
        ),
        ("pattern", "pattern = 3", "give a regular expression"),
        ("must_contain", 'phrases = "yes"', "give a list of texts"),
        ("accuracy", 'field = "labell"', "did you mean 'label'?"),
        ("false_negative_rate", 'label = "c"', "labels: a, b"),
        ("pass_at_k", 'metric = "accuracy", k = 9', "k that is 9, but 5 answers are drawn"),
        ("pass_at_k", 'metric = "accuracy", k = 0', "give a whole number from 1"),
        ("answer_correctness", 'match = "almost"', "give 'exact' or 'contains'"),
        ("citation_support", "overlap = 60", "give a number from 0 to 1"),
        ("batch_invariance", "slots = 8", "give a list of whole numbers from 1"),
        ("language", 'language = "English"', "the code of a language"),
    ],
)
def test_a_setting_that_holds_what_it_may_not_is_told_with_its_line(write, metric, settings, told):
    text = (
        f'[[criteria]]\nid = "X"\ntitle = "x"\nmetric = "{metric}"\ncases = "*"\nat_least = 0.5\nwhy = "w"\n'
    )
    message = refused(write(f"{HEAD}{text}settings = {{ {settings} }}\n"))
    assert told in message and "task.toml:13" in message


@pytest.mark.parametrize(
    ("grammar", "files", "told"),
    [
        ('"no.json"', {}, "no.json cannot be read: No such file"),
        ('"g.json"', {"g__json": "{"}, "is no JSON schema"),
        ('"g.json"', {"g__json": '{"not": {}}'}, "'not' is not understood here"),
        ('"g.gbnf"', {"g__gbnf": "root ::= ("}, "llama.cpp cannot read this grammar"),
    ],
)
def test_a_grammar_that_llama_cpp_cannot_take_is_told_before_anything_runs(write, grammar, files, told):
    message = refused(write(f'{HEAD}[models.bound]\nkind = "gguf"\ngrammar = {grammar}\n', **files))
    assert told in message and "task.toml:6" in message and "[models.bound]" in message


def test_a_contract_is_a_grammar_and_a_task_without_one_is_told(write):
    bound = '[models.bound]\nkind = "gguf"\ngrammar = true\n'
    _read(write(HEAD + bound))
    plain = 'kind = "classification"\nname = "x"\n[answer]\nlabels = ["a", "b"]\n'
    row = '{"id": "one", "prompt": "?", "expect": {"label": "a"}}\n'
    assert "the task's answer has no schema" in refused(write(plain + bound, row))


def test_what_only_a_file_has_is_not_required_of_a_program(write):
    core = standard_core(load_task(write()), "program")
    assert {"EXPORT.gguf", "FIDELITY.kl", "LATENCY.answer-p95", "LOSS.label.merge"} <= set(core.inapplicable)
    assert not {"LABEL.accuracy", "BASE", "EOS.stopped"} & set(core.inapplicable)
    assert standard_core(load_task(write()), "file").inapplicable == {}

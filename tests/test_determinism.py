"""determinism and batch_invariance: equal answers pass, and one that differs is found and told.

python -m pytest tests/test_determinism.py
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.evals.built import Built
from seatrial.evals.cases import Case
from seatrial.evals.criteria import judge
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics import METRICS
from seatrial.evals.metrics.determinism import _difference
from seatrial.evals.models import EOS, ERROR, LENGTH, Generation, Question
from seatrial.evals.models.llama_cpp import LlamaCppModel
from seatrial.evals.task import load_task
from seatrial.evals.verdict import FAIL, NOT_EVALUATED, PASS, NotEvaluated
from seatrial.training.store import Store
from tests.conftest import MINIATURE
from tests.tiny import tiny_gguf

ALL = tuple(f"c{number}" for number in range(6))


class Moody:
    """Answers by ``say(question, slots, threads, run)``; keeps what it was asked for."""

    name = "shipped"

    def __init__(self, say, asked=None, slots=0, threads=0):
        self.say, self.slots, self.threads = say, slots, threads
        self.asked = {} if asked is None else asked
        self.identity = {"moody": [slots, threads]}

    def variant(self, slots, threads):
        return Moody(self.say, self.asked, slots, threads)

    def generate(self, questions, max_tokens, log):
        runs = self.asked.setdefault((self.slots, self.threads), [])
        runs.append([question.id for question in questions])
        answers = [self.say(q.id, self.slots, self.threads, len(runs)) for q in questions]
        return [each if isinstance(each, Generation) else Generation(each) for each in answers]


def evidence(tmp_path, model, *, domain=ALL, paraphrases=()):
    cases = {
        name: [
            Case(each, Question(each, ({"role": "user", "content": each},)), name, f"{name}:{each}")
            for each in ids
        ]
        for name, ids in (("domain", domain), ("paraphrases", paraphrases))
    }
    task = load_task(MINIATURE)
    task = task.model_copy(update={"decoding": task.decoding.model_copy(update={"max_tokens": 8})})
    return Evidence(Store(tmp_path / "store"), task, cases, {"shipped": model}, Built(), {})


def criterion(metric, cases="domain", **settings):
    return Criterion(
        id="X",
        title="t",
        why="w",
        metric=metric,
        cases=cases,
        at_least=1.0,
        least_cases=1,
        settings=settings,
    )


def same(question, slots, threads, run):
    return f"to {question}"


def test_equal_answers_pass_and_every_variant_is_asked_once(tmp_path):
    model = Moody(same)
    given = criterion("batch_invariance", slots=[1, 4], threads=[2])
    verdict = judge(given, evidence(tmp_path, model))
    assert (verdict.status, verdict.measured.value, verdict.measured.n) == (PASS, 1.0, 6)
    assert model.asked == {(slots, 2): [list(ALL)] for slots in (1, 4)}


def test_by_default_one_and_eight_slots_and_one_and_two_threads(tmp_path):
    model = Moody(same)
    judge(criterion("batch_invariance"), evidence(tmp_path, model))
    assert {variant: len(runs) for variant, runs in model.asked.items()} == dict.fromkeys(
        [(1, 1), (1, 2), (8, 1), (8, 2)], 1
    )


def test_a_model_is_asked_again_as_it_is_set_up(tmp_path):
    model = Moody(same)
    judge(criterion("determinism", runs=3), evidence(tmp_path, model))
    assert model.asked == {(0, 0): [list(ALL)] * 3}


@pytest.mark.parametrize(
    ("metric", "differs", "ways"),
    [
        ("batch_invariance", lambda slots, threads, run: slots == 8, "slots 8, threads 1: 1"),
        ("batch_invariance", lambda slots, threads, run: threads == 2, "slots 1, threads 2: 1"),
        ("batch_invariance", lambda slots, threads, run: (slots, threads) == (8, 2), "slots 8, threads 2: 1"),
        ("determinism", lambda slots, threads, run: run == 2, "run 2: 1"),
    ],
)
def test_one_answer_that_differs_anywhere_fails_and_the_first_difference_is_told(
    tmp_path, metric, differs, ways
):
    def say(question, slots, threads, run):
        return "to c3!" if question == "c3" and differs(slots, threads, run) else f"to {question}."

    verdict = judge(criterion(metric), evidence(tmp_path, Moody(say)))
    assert verdict.status == FAIL
    assert verdict.measured.value == pytest.approx(5 / 6)
    (miss,) = verdict.misses
    assert (miss.case, miss.expected, miss.actual) == ("c3", "to c3.", "to c3!")
    first = {"determinism": "run 1", "batch_invariance": "slots 1, threads 1"}[metric]
    name = ways.removesuffix(": 1")
    assert miss.reason == f"{name}: '!' from character 6 on, where '.' is the answer of {first}"


def test_answers_that_never_came_are_equal_to_nothing(tmp_path):
    def say(question, slots, threads, run):
        return Generation("", stop_reason=ERROR, error="HTTP 503") if question == "c3" else "yes"

    verdict = judge(criterion("determinism"), evidence(tmp_path, Moody(say)))
    assert (verdict.status, verdict.measured.value) == (FAIL, pytest.approx(5 / 6))
    assert verdict.misses[0].reason == "run 1: no answer came (HTTP 503)"


def test_an_error_that_passes_is_asked_again_by_the_next_run(tmp_path):
    down = {"c3"}

    def say(question, slots, threads, run):
        return Generation("", stop_reason=ERROR, error="HTTP 503") if question in down else "yes"

    model = Moody(say)
    model.errors_pass = True
    assert judge(criterion("determinism"), evidence(tmp_path, model)).status == FAIL
    down.clear()
    assert judge(criterion("determinism"), evidence(tmp_path, model)).status == PASS
    assert model.asked == {(0, 0): [list(ALL), list(ALL), ["c3"], ["c3"]]}


def test_an_answer_that_ends_otherwise_differs(tmp_path):
    def say(question, slots, threads, run):
        return Generation("to", stop_reason=LENGTH if slots == 8 else EOS)

    verdict = judge(criterion("batch_invariance"), evidence(tmp_path, Moody(say)))
    assert verdict.measured.value == 0
    assert "ended by 'length', where 'eos' is the end" in verdict.misses[0].reason


@given(first=st.text(max_size=4), other=st.text(max_size=4))
def test_texts_differ_where_they_part(first, other):
    told = _difference(Generation(first), Generation(other))
    assert bool(told) == (first != other)
    if told:
        at = int(told.split("from character ")[-1].split()[0]) - 1
        assert first[:at] == other[:at]
        assert first[at : at + 1] != other[at : at + 1]


def test_the_budget_takes_the_first_questions_of_each_set_in_turn(tmp_path):
    model = Moody(same)
    found = evidence(tmp_path, model, domain=ALL, paraphrases=("p0", "p1"))
    judge(criterion("determinism", ("domain", "paraphrases"), budget=5), found)
    assert model.asked == {(0, 0): [["c0", "p0", "c1", "p1", "c2"]] * 2}


def test_answers_are_kept_by_variant_and_run(tmp_path):
    model = Moody(same)
    judge(criterion("determinism"), evidence(tmp_path, model))
    judge(criterion("batch_invariance"), evidence(tmp_path, model))
    before = {variant: list(runs) for variant, runs in model.asked.items()}
    assert len(judge(criterion("determinism"), evidence(tmp_path, model)).artifacts) == 2
    assert len(judge(criterion("batch_invariance"), evidence(tmp_path, model)).artifacts) == 4
    assert model.asked == before
    judge(criterion("batch_invariance", slots=[1, 8, 3]), evidence(tmp_path, model))
    assert {variant for variant in model.asked if variant not in before} == {(3, 1), (3, 2)}


@pytest.mark.parametrize(
    ("metric", "settings", "problem"),
    [
        ("determinism", {"runs": 0}, "runs = 0 in the settings of X: give a whole number from 1"),
        ("determinism", {"runs": 1}, "leave one run, which nothing can differ from"),
        ("determinism", {"budget": True}, "budget = True"),
        ("batch_invariance", {"slots": []}, r"slots = \[\] .* list of whole numbers"),
        ("batch_invariance", {"threads": [1, 0.5]}, r"threads = \[1, 0.5\]"),
        ("batch_invariance", {"slots": 8}, "slots = 8"),
        ("batch_invariance", {"slots": [2, 2], "threads": [1]}, "leave one run, which nothing can differ"),
    ],
)
def test_settings_that_cannot_be_meant_are_told(tmp_path, metric, settings, problem):
    given = criterion(metric, **settings)
    with pytest.raises(NotEvaluated, match=problem):
        METRICS[metric].measure(evidence(tmp_path, Moody(same)), given, "shipped")


def test_a_runtime_that_cannot_be_set_up_otherwise_is_not_evaluated(tmp_path):
    class Fixed:
        name, identity = "shipped", {}

    verdict = judge(criterion("batch_invariance"), evidence(tmp_path, Fixed()))
    assert verdict.status == NOT_EVALUATED
    assert verdict.reason == "slots and threads of the runtime of 'shipped' cannot be set"


def test_a_file_in_llama_cpp_is_asked_in_the_variants(tmp_path):
    path = tiny_gguf(tmp_path / "tiny.gguf")
    model = LlamaCppModel("shipped", path, "digest", "Be brief.", 256, grammar='root ::= "yes" | "no"')
    variant = model.variant(slots=3, threads=2)
    assert variant.identity == {**model.identity, "slots": 3, "threads": 2}
    given = criterion("batch_invariance", slots=[1, 3], threads=[1])
    verdict = judge(given, evidence(tmp_path, model))
    assert verdict.status == PASS
    assert judge(criterion("determinism"), evidence(tmp_path, model)).status == PASS
    assert set(verdict.measured.answers.values()) <= {"yes", "no"}

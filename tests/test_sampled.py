"""Drawn answers: reproducible one by one, kept as evidence, and judged by pass@k and pass^k.

python -m pytest tests/test_sampled.py
"""

import json
import math
import shlex
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.evals.built import Built
from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.expectations import Expectations
from seatrial.evals.metrics import METRICS
from seatrial.evals.models import EOS, UNKNOWN, Generation, Question, seed_of
from seatrial.evals.models.llama_choice import Draw
from seatrial.evals.models.llama_cpp import LlamaCppModel
from seatrial.evals.models.openai import OpenAIModel
from seatrial.evals.models.program import ProgramModel
from seatrial.evals.task import Sampling, load_task
from seatrial.evals.verdict import NotEvaluated
from seatrial.training.errors import SeatrialError
from seatrial.training.store import Store
from tests.conftest import MINIATURE
from tests.tiny import tiny_gguf

TOKENS = 8


def ask(*prompts):
    return [Question(f"q-{text}", ({"role": "user", "content": text},)) for text in prompts]


# --- the draw ------------------------------------------------------------------------------------------

LOGITS = st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=30).map(
    lambda values: np.array(values, np.float32)
)


def fixed(uniform, temperature=1.0):
    return Draw(temperature, SimpleNamespace(random=lambda: uniform))


@given(logits=LOGITS, uniform=st.floats(0, 1, exclude_max=True), temperature=st.floats(1e-3, 100))
def test_the_drawn_token_is_the_one_whose_share_of_the_softmax_holds_the_number(logits, uniform, temperature):
    token = fixed(uniform, temperature).token(logits)
    weights = [math.exp((float(value) - float(logits.max())) / temperature) for value in logits]
    ends = np.cumsum(weights) / math.fsum(weights)
    assert ends[token] >= uniform - 1e-9
    assert token == 0 or ends[token - 1] <= uniform + 1e-9
    assert weights[token] > 0


@given(logits=LOGITS.filter(lambda logits: len(logits) > 1), uniform=st.floats(0, 1, exclude_max=True))
def test_what_is_forbidden_is_never_drawn(logits, uniform):
    logits[0] = logits[-1] = -np.inf
    if np.isfinite(logits).any():
        assert np.isfinite(logits[fixed(uniform).token(logits)])


def test_the_shares_of_many_draws_are_the_softmax_at_the_temperature():
    logits = np.array([2.0, 1.0, 0.0], np.float32)
    draw = Draw.seeded(0.5, 0, [1, 2], 0)
    shares = np.bincount([draw.token(logits) for _ in range(20_000)], minlength=3) / 20_000
    weights = np.exp(logits / 0.5)
    assert shares == pytest.approx(weights / weights.sum(), abs=0.015)  # 4 standard errors


def test_logits_that_are_no_numbers_are_an_error():
    with pytest.raises(SeatrialError, match="not numbers"):
        fixed(0.5).token(np.array([1.0, np.nan], np.float32))


@given(
    parts=st.tuples(
        st.integers(0, 9), st.lists(st.integers(0, 99), min_size=1, max_size=4), st.integers(0, 9)
    )
)
@settings(max_examples=50)
def test_seed_question_and_number_each_decide_the_draw(parts):
    def first(seed, prompt, number):
        return Draw.seeded(1.0, seed, prompt, number).numbers.random()

    seed, prompt, number = parts
    assert first(*parts) == first(*parts)
    others = [(seed + 1, prompt, number), (seed, [*prompt, 1], number), (seed, prompt, number + 1)]
    assert len({first(*parts), *(first(*other) for other in others)}) == 4


@given(seeds=st.sets(st.integers(0, 99), min_size=2), samples=st.integers(1, 9))
def test_no_two_seeds_have_a_round_in_common(seeds, samples):
    rounds = [seed_of(seed, samples, number) for seed in seeds for number in range(samples)]
    assert len(set(rounds)) == len(rounds)


# --- runtimes ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    return tiny_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


def model(gguf, slots=4, **more):
    return LlamaCppModel("shipped", gguf, "digest", "Be brief.", 256, slots, **more)


def texts(samples):
    return [[answer.text for answer in answers] for answers in samples]


def test_samples_do_not_depend_on_other_questions_their_order_or_slots(gguf, tmp_path):
    one, two, three = ask("a ship", "a lamp", "a sea")
    together = model(gguf).sample([one, two, three], TOKENS, tmp_path / "log", 0.8, 3, 5)
    turned = model(gguf, slots=2).sample([three, two], TOKENS, tmp_path / "log", 0.8, 3, 5)
    alone = model(gguf, slots=1).sample([two], TOKENS, tmp_path / "log", 0.8, 3, 5)
    assert texts(together)[1] == texts(turned)[1] == texts(alone)[0]
    assert texts(together)[2] == texts(turned)[0]
    fewer = model(gguf).sample([two], TOKENS, tmp_path / "log", 0.8, 2, 5)
    assert texts(fewer)[0] == texts(alone)[0][:2]
    assert len({text for answers in texts(together) for text in answers}) == 9


def test_another_seed_draws_other_answers_and_no_temperature_the_greedy_one(gguf, tmp_path):
    questions = ask("a ship", "a lamp")
    greedy = [answer.text for answer in model(gguf).generate(questions, TOKENS, tmp_path / "log")]
    cold = model(gguf).sample(questions, TOKENS, tmp_path / "log", 0, 2, 0)
    assert texts(cold) == [[text, text] for text in greedy]
    first, other = (model(gguf).sample(questions, TOKENS, tmp_path / "log", 0.8, 2, seed) for seed in (0, 1))
    assert texts(first) != texts(other)
    nearly_cold = model(gguf).sample(questions, TOKENS, tmp_path / "log", 1e-6, 2, 3)
    assert texts(nearly_cold) == texts(cold)


def test_a_program_is_asked_with_a_seed_of_each_round_and_the_temperature(tmp_path):
    code = "import json,sys\nfor line in sys.stdin: print(json.dumps({'text': line}))"
    program = ProgramModel("shipped", shlex.join([sys.executable, "-c", code]))
    drawn = program.sample(ask("a", "b"), TOKENS, tmp_path / "log", 0.8, 3, 2)
    lines = [[json.loads(answer.text) for answer in answers] for answers in drawn]
    assert [[line["seed"] for line in each] for each in lines] == [[6, 7, 8], [6, 7, 8]]
    assert {line["temperature"] for each in lines for line in each} == {0.8}
    assert [{line["id"] for line in each} for each in lines] == [{"q-a"}, {"q-b"}]
    (greedy,) = program.generate(ask("a"), TOKENS, tmp_path / "log")
    assert set(json.loads(greedy.text)) == {"id", "messages", "max_tokens"}


def test_an_endpoint_is_asked_with_a_seed_of_each_round_and_the_temperature(tmp_path, monkeypatch):
    def generate(self, questions, max_tokens, log):
        return [Generation(json.dumps(self.request(question, max_tokens))) for question in questions]

    monkeypatch.setattr(OpenAIModel, "generate", generate)
    endpoint = OpenAIModel("shipped", "http://127.0.0.1:1/v1", "m", seed=1)
    drawn = endpoint.sample(ask("a"), TOKENS, tmp_path / "log", 0.8, 2, 4)
    requests = [json.loads(answer.text) for answer in drawn[0]]
    assert [(each["seed"], each["temperature"]) for each in requests] == [(8, 0.8), (9, 0.8)]
    assert endpoint.decoding["temperature"] == 0.0
    with pytest.raises(NotEvaluated, match="temperature of its own choice"):
        OpenAIModel("shipped", "http://127.0.0.1:1/v1", "m", temperature=None).sample(
            ask("a"), TOKENS, tmp_path / "log", 0.8, 2, 4
        )


# --- evidence and metrics ------------------------------------------------------------------------------

ON = {"operation": "on"}


class Lamp:
    """Draws right answers as often as a table says, by question."""

    name = "shipped"

    def __init__(self, right, identity="lamp", stops=(EOS,) * 5):
        self.right, self.identity, self.stops, self.asked = right, {"lamp": identity}, stops, []

    def generate(self, questions, max_tokens, log):
        raise AssertionError("greedy answers are not asked for")

    def sample(self, questions, max_tokens, log, temperature, samples, seed):
        self.asked.append((temperature, samples, seed))
        return [[self.answer(q, number) for number in range(samples)] for q in questions]

    def answer(self, question, number):
        operation = "on" if number < self.right[question.id] else "off"
        text = json.dumps({"operation": operation, "arguments": {}, "reply": "r"})
        return Generation(text, stop_reason=self.stops[number])


def evidence(tmp_path, lamp, expect=ON, **sampling):
    task = load_task(MINIATURE).model_copy(update={"sampling": Sampling(**sampling)})
    cases = [
        Case(name, Question(name, ({"role": "user", "content": name},)), "domain", f"cases:{name}", expect)
        for name in lamp.right
    ]
    return Evidence(Store(tmp_path / "store"), task, {"domain": cases}, {"shipped": lamp}, Built(), {})


def criterion(metric, /, **given):
    given = {"metric": "accuracy", "k": 2} | given
    return Criterion(id="X", title="t", why="w", metric=metric, cases="domain", at_least=0.5, settings=given)


@pytest.mark.parametrize(
    ("metric", "k", "expected"),
    [
        ("pass_at_k", 1, {"a": 0.0, "b": 0.4, "c": 1.0}),
        ("pass_hat_k", 1, {"a": 0.0, "b": 0.4, "c": 1.0}),
        ("pass_at_k", 2, {"a": 0.0, "b": 0.7, "c": 1.0}),  # 1 - C(3, 2) / C(5, 2)
        ("pass_hat_k", 2, {"a": 0.0, "b": 0.1, "c": 1.0}),  # C(2, 2) / C(5, 2)
        ("pass_at_k", 4, {"a": 0.0, "b": 1.0, "c": 1.0}),
    ],
)
def test_each_case_has_the_unbiased_estimate_of_its_samples(tmp_path, metric, k, expected):
    lamp = Lamp({"a": 0, "b": 2, "c": 5})
    given = criterion(metric, k=k)
    scores = METRICS[metric].measure(evidence(tmp_path, lamp), given, "shipped")
    assert {score.case: score.value for score in scores} == pytest.approx(expected)
    assert [score.missed for score in scores] == [value < 1 for value in expected.values()]
    estimate = METRICS[metric].estimate(scores, given)
    assert estimate.value == pytest.approx(sum(expected.values()) / 3)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_a_miss_shows_the_first_wrong_answer(tmp_path):
    _, score = METRICS["pass_hat_k"].measure(
        evidence(tmp_path, Lamp({"a": 5, "b": 2})), criterion("pass_hat_k"), "shipped"
    )
    assert score.reason.startswith(
        "3 of 5 drawn answers are wrong, first number 3: operation 'off' where 'on'"
    )
    assert json.loads(score.actual)["operation"] == "off"


def test_samples_are_drawn_once_and_again_when_anything_changes_that_decides_them(tmp_path):
    lamp = Lamp({"a": 1})
    first = evidence(tmp_path, lamp).samples("shipped", "domain")
    assert len(first["a"]) == 5
    assert evidence(tmp_path, lamp).samples("shipped", "domain") == first
    assert lamp.asked == [(0.8, 5, 0)]
    for number, changed in enumerate([{"temperature": 0.7}, {"samples": 4}, {"seed": 1}], 2):
        evidence(tmp_path, lamp, **changed).samples("shipped", "domain")
        assert len(lamp.asked) == number
    evidence(tmp_path, other := Lamp({"a": 1}, "other")).samples("shipped", "domain")
    assert len(other.asked) == 1


def test_an_answer_that_its_metric_does_not_score_is_wrong_and_a_case_without_any_is_skipped(tmp_path):
    told = criterion("pass_at_k", metric="stopped", k=1)
    lamp = Lamp({"a": 1}, stops=[EOS, UNKNOWN, EOS, UNKNOWN, UNKNOWN])
    (score,) = METRICS["pass_at_k"].measure(evidence(tmp_path, lamp), told, "shipped")
    assert score.value == pytest.approx(2 / 5)
    assert "3 of 5 drawn answers are wrong, first number 2: it cannot be judged" in score.reason
    untold = Lamp({"a": 1}, "untold", stops=[UNKNOWN] * 5)
    assert not METRICS["pass_at_k"].measure(evidence(tmp_path, untold), told, "shipped")
    nothing_expected = evidence(tmp_path, Lamp({"a": 1}), expect={})
    assert not METRICS["pass_at_k"].measure(nothing_expected, criterion("pass_at_k", k=1), "shipped")


def test_a_runtime_that_cannot_draw_is_not_evaluated(tmp_path):
    silent = SimpleNamespace(name="shipped", identity={}, right={"a": 1}, generate=None)
    with pytest.raises(NotEvaluated, match="the runtime of 'shipped' gives no samples"):
        METRICS["pass_at_k"].measure(evidence(tmp_path, silent), criterion("pass_at_k"), "shipped")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"k": 6}, r"k = 6 .* 5 answers are drawn for each case: \[sampling\] samples = 6"),
        ({"k": 0}, "k = 0 .* whole number from 1"),
        ({"k": True}, "k = True"),
        ({"metric": "acuracy"}, "'acuracy', which judges no single answer: metric = one of .*accuracy"),
        ({"metric": "file_size"}, "'file_size', which judges no single answer"),
        ({"metric": "pass_at_k"}, "'pass_at_k', which judges no single answer"),
        ({"settings": {"feild": "x"}}, "accuracy does not know the setting 'feild' .* it knows: field"),
    ],
)
def test_settings_that_cannot_be_meant_are_told(tmp_path, given, problem):
    with pytest.raises(NotEvaluated, match=problem):
        METRICS["pass_at_k"].measure(
            evidence(tmp_path, Lamp({"a": 1})), criterion("pass_at_k", **given), "shipped"
        )


def test_it_reads_what_the_metric_reads_that_it_names():
    metric, named = METRICS["pass_at_k"], {"metric": "accuracy", "settings": {"field": "colour"}}
    assert set(metric.expected(named, "operation", [])) == {"colour"}
    assert metric.needed(named, "operation") == {"colour"}
    assert metric.expected({"metric": "nothing"}, "operation", []) == {}
    task = load_task(MINIATURE).model_copy(update={"criteria": (criterion("pass_at_k"),)})
    case = Case("a", Question("a", ({"role": "user", "content": "a"},)), "domain", "cases:1", ON, label="on")
    Expectations(task).check(case)
    without = task.model_copy(update={"criteria": (criterion("pass_at_k", metric="stopped"),)})
    with pytest.raises(SeatrialError, match="read by no metric"):
        Expectations(without).check(case)

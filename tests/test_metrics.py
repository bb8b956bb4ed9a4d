"""Metrics: each gives a point where it is earned, and says why where it is not.

python -m pytest tests/test_metrics.py
"""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seatrial.evals.answer import Reader, find_object, parse_strict
from seatrial.evals.built import Built
from seatrial.evals.cases import Case
from seatrial.evals.evidence import Evidence, NotEvaluated, TimedAnswers
from seatrial.evals.metrics import METRICS
from seatrial.evals.metrics.rating import rubric
from seatrial.evals.models import EOS, ERROR, LENGTH, Generation, Likelihood, Question
from seatrial.evals.ratings import answer_digest
from seatrial.evals.task import Criterion, load_task
from seatrial.training.errors import SeatrialError
from seatrial.training.store import Artifact, file_digest

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "task_api"
OPERATIONS = ("create", "list", "update", "complete", "delete", "none")
READER = load_task(GOLDEN).reader
RUBRIC = {
    "follow_up_words": ["anything", "would"],
    "foreign_terms": ["to-do", "ticket"],
    "acknowledgements": {"create": ["created", "added"]},
}
REPLY = "I created the task. Would you like anything else?"


def answer(operation="create", arguments=None, reply=REPLY, **more):
    arguments = {"title": "buy milk"} if arguments is None else arguments
    return json.dumps({"operation": operation, "arguments": arguments, "reply": reply, **more})


def case_of(expect=None, prompt="add buy milk", reference=None):
    question = Question("c-1", ({"role": "user", "content": prompt},), reference)
    expect = expect or {}
    label = expect.get("operation", "")
    return Case("c-1", question, "domain", "cases/domain.jsonl:4", expect, label=label)


def criterion_for(metric, cases=("domain",), **more):
    return Criterion(id="X-1", title="t", why="w", metric=metric, cases=cases, at_least=0.5, **more)


def evidence_with(models=None, export=None, ratings=None, cases=(), store=None, absent=None):
    task, cases = (
        load_task(GOLDEN),
        {name: [] for name in load_task(GOLDEN).case_sets} | {"domain": list(cases)},
    )
    return Evidence(store, task, cases, models or {}, export or Built(), ratings or {}, absent)


def score(metric, text, expect=None, *, prompt="add buy milk", reference=None, settings=None, **generation):
    """The score of one answer."""
    case = case_of(expect, prompt, reference)
    criterion = criterion_for(metric, settings=settings or {})
    return METRICS[metric].judge(case, Generation(text, **generation), criterion, evidence_with())


# --- one answer at a time ------------------------------------------------------------------------------

CREATE = {"operation": "create"}
MILK = {"operation": "create", "arguments": {"title": "buy milk"}}
LONG = "".join(f"{number} bottles, " for number in range(80))  # 950 characters, nothing in them repeats
LIKE_REFERENCE = {"reference": answer()}
ARGUMENTS = {"settings": {"fields": ["operation", "arguments"], "ignore_words": ["the", "a", "an", "my"]}}

# metric, answer, what is expected, further arguments of score(), why it is missed ("" for a hit)
ANSWERS = [
    ("accuracy", answer(), CREATE, {}, ""),
    ("accuracy", "Sure, I've added it.", CREATE, {}, ""),
    (
        "accuracy",
        answer("delete"),
        CREATE,
        {},
        "operation 'delete' where 'create' is right",
    ),
    (
        "accuracy",
        "It was removed.",
        CREATE,
        {},
        "operation 'delete' (read from its words) where 'create' is right",
    ),
    ("accuracy", "", CREATE, {}, "operation 'none' (read from its words) where 'create' is right"),
    ("fields_right", answer(), MILK, ARGUMENTS, ""),
    ("fields_right", f"```json\n{answer()}\n```", MILK, ARGUMENTS, ""),
    (
        "fields_right",
        answer(arguments={"title": "buy silk"}),
        MILK,
        ARGUMENTS,
        "title: 'buy silk' where 'buy milk' is right",
    ),
    ("fields_right", answer(arguments={}), MILK, ARGUMENTS, "title: None where 'buy milk' is right"),
    (
        "fields_right",
        answer(arguments={"title": "buy milk", "due": "now"}),
        MILK,
        ARGUMENTS,
        "due: 'now' where None is right",
    ),
    ("fields_right", answer("delete"), MILK, ARGUMENTS, "operation: 'delete' where 'create' is right"),
    ("fields_right", answer(arguments="buy milk"), MILK, ARGUMENTS, "title: None where 'buy milk' is right"),
    ("fields_right", "I created it", MILK, ARGUMENTS, "operation: None where 'create' is right"),
    ("json_parse", answer(), None, {}, ""),
    ("json_parse", f"\n  {answer()}\n", None, {}, ""),
    ("json_parse", f"Sure! {answer()}", None, {}, "not JSON: "),
    ("json_parse", f"{answer()} Bye!", None, {}, "not JSON: Extra data"),
    ("json_parse", answer() * 2, None, {}, "not JSON: Extra data"),
    ("json_parse", f"```json\n{answer()}\n```", None, {}, "not JSON: "),
    ("json_parse", answer()[:-1], None, {}, "not JSON: "),
    ("json_parse", answer().replace('"', "'"), None, {}, "not JSON: "),
    ("json_parse", '{"a": NaN}', None, {}, "NaN is no JSON value"),
    ("json_parse", "-Infinity", None, {}, "-Infinity is no JSON value"),
    ("json_parse", "[" * 100_000, None, {}, "nested too deeply"),
    ("json_parse", "  ", None, {}, "the answer is empty"),
    ("schema_validity", answer(), None, {}, ""),
    (
        "schema_validity",
        answer(extra=1),
        None,
        {},
        "$: Additional properties are not allowed ('extra' was unexpected)",
    ),
    ("schema_validity", answer("fly"), None, {}, "'fly'"),
    ("schema_validity", answer(reply=7), None, {}, "$.reply: 7 is not of type 'string'"),
    ("schema_validity", '{"operation": "list"}', None, {}, "is a required property"),
    ("schema_validity", "[]", None, {}, "$: [] is not of type 'object'"),
    ("schema_validity", f"Sure! {answer()}", None, {}, "not JSON: "),
    ("stopped", answer(), None, {"stop_reason": EOS}, ""),
    (
        "stopped",
        answer(),
        None,
        {"stop_reason": LENGTH, "completion_tokens": 128},
        "stopped by 'length' after 128 tokens",
    ),
    ("stopped", "", None, {"stop_reason": ERROR, "error": "out of memory"}, "out of memory"),
    ("no_repetition", answer(), None, {}, ""),
    ("no_repetition", "The task is done. " * 3, None, {}, "repeats 'The task is done. '"),
    ("no_repetition", LONG * 3, None, {}, f"repeats {LONG!r}"),
    ("no_repetition", LONG * 2, None, {}, ""),
    ("no_repetition", "ha" * 10, None, {}, "repeats 'ha'"),
    ("no_repetition", "no " * 10, None, {}, "repeats 'no no no '"),
    ("no_repetition", "The task is done. " * 2, None, {}, ""),
    ("no_repetition", "ha" * 9, None, {}, ""),
    ("no_repetition", f"I added '{'ha' * 12}'.", None, {"prompt": f"add {'ha' * 12}!"}, ""),
    ("no_repetition", f"I added '{'ha' * 40}'.", None, {"prompt": f"add {'ha' * 12}!"}, "repeats 'hahahaha'"),
    ("keyword_recall", "The capital is PARIS.", {"contains_any": ["Paris"]}, {}, ""),
    ("keyword_recall", "It is Strasse", {"contains_any": ["x", "straße"]}, {}, ""),
    ("keyword_recall", "Lyon", {"contains_any": ["Paris"]}, {}, "none of the expected words"),
    ("rouge_l", answer(), None, LIKE_REFERENCE, ""),
    ("rouge_l", REPLY, None, LIKE_REFERENCE, ""),
    ("rouge_l", answer(reply="Nope"), None, LIKE_REFERENCE, "ROUGE-L 0.00"),
    ("response_rating", answer(), CREATE, {"settings": RUBRIC}, ""),
    (
        "response_rating",
        answer(reply="ok"),
        CREATE,
        {"settings": RUBRIC},
        "rubric 3: does not acknowledge the action, no follow-up question",
    ),
    ("response_rating", "", CREATE, {"settings": RUBRIC}, "rubric 1: no reply at all"),
]


@pytest.mark.parametrize(("metric", "text", "expect", "more", "reason"), ANSWERS)
def test_an_answer_is_scored_and_a_miss_says_why(metric, text, expect, more, reason):
    found = score(metric, text, expect, **more)
    assert found.missed == bool(reason)
    assert reason in found.reason
    assert bool(found.reason) == found.missed
    assert found.actual == text or found.actual == more.get("error")
    assert found.case == "c-1"
    assert found.where == "cases/domain.jsonl:4"
    if METRICS[metric].unit == "share":
        assert found.value == (0.0 if reason else 1.0)


@pytest.mark.parametrize("metric", ["accuracy", "fields_right", "keyword_recall", "rouge_l"])
def test_a_case_that_does_not_say_what_is_right_is_not_scored(metric):
    assert score(metric, answer()) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Buy Milk", "buy milk"),
        ("the report", "report"),
        ("report", "my report"),
        ("An email", "a email"),
        ('"call" Ann’s mum.', "call Anns mum"),
        ("#4", "4"),
        ("  buy   milk ", "buy milk"),
    ],
)
def test_case_articles_quotes_and_spaces_do_not_make_an_argument_wrong(given, expected):
    expect = {"operation": "create", "arguments": {"title": expected}}
    assert not score("fields_right", answer(arguments={"title": given}), expect, **ARGUMENTS).missed


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("buy milk", "milk"),
        ("milk the cow", "milk cow"),
        ("theatre", "atre"),
        ("5", 5),
        (True, "true"),
        (["a"], "a"),
    ],
)
def test_other_words_and_other_types_do_make_an_argument_wrong(given, expected):
    expect = {"operation": "create", "arguments": {"title": expected}}
    assert score("fields_right", answer(arguments={"title": given}), expect, **ARGUMENTS).missed


# --- the operation of an answer ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (answer("delete"), ("delete", "operation")),
        (answer(" Delete "), ("delete", "operation")),
        (f"```json\n{answer('delete')}\n```", ("delete", "operation")),
        (f"Sure, I created this: {answer('delete')} and updated it", ("delete", "operation")),
        ("{not json} " + answer("update"), ("update", "operation")),
        (answer("none"), ("none", "operation")),
        (answer("fly"), ("fly", "operation")),  # right for no case, not even one where nothing may be done
        (answer(["create"]), ("create", "words")),
        ('{"reply": "I deleted it."}', ("delete", "words")),
        ("I've removed the task and then added another.", ("delete", "words")),
        ("I have added the task.", ("create", "words")),
        ("Here are your tasks: milk, bread.", ("list", "words")),
        ("I marked the report as done.", ("complete", "words")),
        ("I RENAMED it.", ("update", "words")),
        ("The weather is nice.", ("none", "words")),
        ("An addiction is no addition.", ("none", "words")),
        ("", ("none", "words")),
    ],
)
def test_the_operation_is_read_from_json_and_else_from_the_words(text, expected):
    assert READER.label(text) == expected


def test_only_labels_of_the_task_are_found():
    few = Reader(READER.spec.model_copy(update={"labels": ("create", "none")}), GOLDEN)
    assert few.label("I deleted it.") == ("none", "words")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ('text {"a": {"b": 2}} text {"c": 3}', {"a": {"b": 2}}),
        ('{"a": {broken {"b": 2}', {"b": 2}),
        ("{{}}", {}),
        ("[1, 2]", None),
        ("{", None),
        ("", None),
    ],
)
def test_the_first_object_in_a_text_is_found(text, expected):
    assert find_object(text) == expected


@pytest.mark.parametrize("value", [{"a": [1, None, True]}, [], "text", 1.5, None])
def test_a_json_value_alone_is_strict_json(value):
    assert parse_strict(json.dumps(value)) == (value, "")


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\u3000", "\x0b", "\x1c", "\ufeff"], ids=ascii)
def test_only_json_s_own_white_space_may_stand_around_strict_json(space):
    # RFC 8259, section 2: space, tab, line feed, carriage return. A caller's parser refuses all others.
    assert parse_strict(f" \t\r\n{answer()}\n")[1] == ""
    assert parse_strict(f"{space}{answer()}")[1] != ""


HOSTILE = {
    "braces": "{" * 20_000,
    "braces-apart": "{ " * 20_000,
    "braces-in-lines": "{\n" * 20_000,
    "brackets": "[" * 100_000,
    "nested": '{"a":' * 3_000,
    "mixed": '[{"a":' * 2_000,
    "many-digits": '{"a": ' + "9" * 10_000 + "}",
    "marks": "mark " * 20_000,
    "quotes": '{"' * 20_000,
    "backslashes": '{"a": "' + "\\" * 20_001,
    "nul": '{"operation": "\x00\x00"}\x00',
    "surrogate": '{"operation": "\\ud800"}',
    "right-to-left": "\u202e{}" * 2_000,
    "one-word": "a" * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_are_read_quickly_and_without_a_crash(name):
    text = HOSTILE[name]
    started = time.process_time()
    parse_strict(text)
    find_object(text)
    operation, source = READER.label(text)
    assert time.process_time() - started < 5
    assert operation not in OPERATIONS[:-1]
    assert source in ("operation", "words")


@pytest.mark.parametrize("metric", sorted({row[0] for row in ANSWERS}))
@pytest.mark.parametrize("name", HOSTILE)
def test_no_metric_crashes_on_a_hostile_answer(metric, name):
    expect = MILK | {"contains_any": ["milk"]}
    started = time.process_time()
    found = score(metric, HOSTILE[name][:2_000], expect, reference=answer(), settings=RUBRIC)
    assert time.process_time() - started < 5
    assert 0 <= found.value <= 5


PIECES = st.sampled_from(
    ["{", "}", "[", "]", '"', ":", ",", "\\", "\n", "operation", "reply", "NaN", "-1e999", "é"]
)
ANY_TEXT = st.text() | st.lists(PIECES, max_size=40).map("".join)


@given(text=ANY_TEXT)
@example(text="{" * 20_000)
@settings(deadline=None)
def test_no_text_makes_reading_an_answer_raise(text):
    value, problem = parse_strict(text)
    assert problem == "" or value is None
    assert find_object(text) is None or isinstance(find_object(text), dict)
    operation, source = READER.label(text)
    assert source == "json" or operation in OPERATIONS
    assert source in ("operation", "words")


@given(
    value=st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=4)
)
@settings(deadline=None)
def test_an_object_is_found_whatever_it_holds_and_wherever_it_stands(value):
    text = json.dumps(value, ensure_ascii=False)
    assert parse_strict(text) == (value, "")
    assert find_object(f"before ```json\n{text}\n``` after") == value


# --- ratings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "points", "lacking"),
    [
        (answer(), 5, []),
        (f"{answer()} Bye!", 4, ["breaks the contract"]),
        (REPLY, 4, ["breaks the contract"]),
        (answer(reply="It is there. Anything else?"), 4, ["does not acknowledge the action"]),
        (answer(reply="I created it."), 4, ["no follow-up question"]),
        (answer(reply="I created it. Really?"), 4, ["no follow-up question"]),
        (answer(reply="Anything goes. I created it."), 4, ["no follow-up question"]),
        (answer(reply="I created the to-do. Anything else?"), 4, ["uses other terms than the task's"]),
        (answer(reply="I added two tickets. Anything else?"), 4, ["uses other terms than the task's"]),
        (answer(reply="I recreated it. Anything else?"), 4, ["does not acknowledge the action"]),
        (
            answer(reply="ticket"),
            2,
            ["does not acknowledge the action", "no follow-up question", "uses other terms than the task's"],
        ),
        (answer(reply="   "), 1, ["no reply at all"]),
        ('{"operation": "create"}', 1, ["no reply at all"]),
        ("", 1, ["no reply at all"]),
    ],
)
def test_the_rubric_gives_its_points_one_by_one(text, points, lacking):
    assert rubric(case_of(CREATE), Generation(text), RUBRIC, evidence_with()) == (points, lacking)


def rated(ratings, text="anything"):
    evidence = evidence_with(ratings=ratings)
    criterion = criterion_for("response_rating", settings=RUBRIC)
    return METRICS["response_rating"].judge(case_of(CREATE), Generation(text), criterion, evidence)


def test_people_s_ratings_decide_where_there_are_any_and_the_score_says_so():
    found = rated({answer_digest("c-1", "anything"): [3.0, 5.0, 5.0]})
    assert found.value == pytest.approx(13 / 3)
    assert found.note == "human"
    assert not found.missed


def test_a_low_rating_by_people_is_a_miss_even_of_an_answer_that_the_rubric_likes():
    found = rated({answer_digest("c-1", answer()): [2.0]}, answer())
    assert (found.value, found.note, found.missed) == (2.0, "human", True)
    assert found.reason == "rated 2 by 1 of the people asked"


def test_without_a_person_s_rating_of_exactly_this_answer_the_rubric_decides_and_the_score_says_so():
    others = {answer_digest("c-1", "another answer"): [1.0], answer_digest("c-2", answer()): [1.0]}
    found = rated(others, answer())
    assert (found.value, found.note, found.missed) == (5.0, "rubric", False)


# --- likelihood, time, memory --------------------------------------------------------------------------


class Scoring:
    """Evidence that is known without asking a model."""

    def __init__(self, likelihoods=None, timings=None):
        self.cases = {"domain": [case_of(CREATE)]}
        self.first_case_set = "domain"
        self._likelihoods, self._timings = likelihoods or {}, timings

    def likelihoods(self, model, case_set):
        return self._likelihoods

    def timings(self, model, case_set):
        return self._timings


def test_perplexity_takes_likelihoods_with_their_tokens():
    metric, criterion = METRICS["perplexity"], criterion_for("perplexity")
    scores = metric.measure(Scoring({"c-1": Likelihood(nll=6.0, tokens=3)}), criterion, "shipped")
    assert [(found.case, found.value, found.weight, found.group) for found in scores] == [
        ("c-1", 6.0, 3, "create")
    ]
    assert metric.estimate(scores, criterion).value == pytest.approx(7.389056)  # e²
    assert metric.better == "lower"


def test_perplexity_without_references_is_not_evaluated():
    with pytest.raises(NotEvaluated, match="no case of domain has a 'reference' answer"):
        METRICS["perplexity"].measure(Scoring(), criterion_for("perplexity"), "shipped")


@pytest.mark.parametrize(
    ("metric", "expected", "better"),
    [
        ("first_token_seconds", 0.5, "lower"),
        ("answer_seconds", 2.5, "lower"),
        ("tokens_per_second", 10.0, "higher"),  # 20 tokens in the 2 s after the first token
    ],
)
def test_times_are_read_from_answers_asked_one_at_a_time(metric, expected, better):
    timed = Generation("x", completion_tokens=21, seconds=2.5, first_token_seconds=0.5)
    scores = METRICS[metric].measure(
        Scoring(timings=TimedAnswers({"c-1": timed}, 0)), criterion_for(metric), "shipped"
    )
    assert [(found.case, found.value) for found in scores] == [("c-1", expected)]
    assert METRICS[metric].better == better


def timed(*generations):
    """Evidence of one case for each answer."""
    answers = {f"c-{n}": generation for n, generation in enumerate(generations, start=1)}
    evidence = Scoring(timings=TimedAnswers(answers, 0))
    evidence.cases = {"domain": [replace(case_of(CREATE), id=name) for name in answers]}
    return evidence


def test_the_percentile_of_a_time_is_the_one_that_the_criterion_names():
    evidence = timed(*(Generation("x", seconds=float(n)) for n in range(1, 101)))
    found = {}
    for rank in (50, 95):
        criterion = criterion_for("answer_seconds", settings={"percentile": rank})
        metric = METRICS["answer_seconds"]
        found[rank] = metric.estimate(metric.measure(evidence, criterion, "shipped"), criterion).value
    assert found == {50: 50.5, 95: pytest.approx(95.05)}


TIMES = ["first_token_seconds", "answer_seconds", "tokens_per_second"]
GOOD = Generation("x", completion_tokens=21, seconds=2.5, first_token_seconds=0.5)


@pytest.mark.parametrize("metric", TIMES)
@pytest.mark.parametrize(
    "bad",
    [
        Generation("", stop_reason=ERROR, error="out of memory"),
        Generation("half an ans", 0, 5, ERROR, 0.1, 0.1),
        Generation("", completion_tokens=1, seconds=0.1, first_token_seconds=0.1),
        Generation(" \n", completion_tokens=1, seconds=0.1, first_token_seconds=0.1),
    ],
    ids=["error", "broken off", "empty", "blank"],
)
def test_an_answer_that_did_not_come_makes_no_time_better(metric, bad):
    criterion = criterion_for(metric)
    good, worst = METRICS[metric].measure(timed(GOOD, bad), criterion, "shipped")
    assert worst.missed and "no answer came" in worst.reason and worst.where
    assert worst.value == (0.0 if metric == "tokens_per_second" else math.inf)
    alone, both = (METRICS[metric].estimator.value(scores, criterion) for scores in ([good], [good, worst]))
    assert both < alone if METRICS[metric].better == "higher" else both > alone


@pytest.mark.parametrize("metric", TIMES)
@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_an_answer_without_a_time_is_not_evaluated(metric, seconds):
    evidence = timed(GOOD, Generation("x", completion_tokens=5, seconds=seconds, first_token_seconds=0.0))
    with pytest.raises(NotEvaluated, match="gives no time for the case 'c-2'"):
        METRICS[metric].measure(evidence, criterion_for(metric), "shipped")


def test_a_runtime_that_does_not_tell_its_first_token_is_not_taken_for_a_fast_one():
    evidence = timed(Generation("x", completion_tokens=5, seconds=1.0))
    with pytest.raises(NotEvaluated, match="first token"):
        METRICS["first_token_seconds"].measure(evidence, criterion_for("first_token_seconds"), "shipped")


@pytest.mark.parametrize(
    "short",
    [
        Generation("x", completion_tokens=1, seconds=0.5, first_token_seconds=0.1),
        Generation("x", completion_tokens=0, seconds=0.5, first_token_seconds=0.1),
        Generation("x", completion_tokens=9, seconds=0.5, first_token_seconds=0.5),
    ],
    ids=["one token", "tokens untold", "no time after the first"],
)
def test_an_answer_too_short_to_have_a_speed_is_not_scored_for_it(short):
    scores = METRICS["tokens_per_second"].measure(
        timed(GOOD, short), criterion_for("tokens_per_second"), "shipped"
    )
    assert [(found.case, found.value) for found in scores] == [("c-1", 10.0)]


def test_every_case_set_of_a_criterion_is_timed():
    evidence = timed(GOOD)
    evidence.cases["other"] = [case_of(CREATE)]
    criterion = criterion_for("answer_seconds", cases=("domain", "other"))
    assert len(METRICS["answer_seconds"].measure(evidence, criterion, "shipped")) == 2


def test_memory_that_nobody_measured_is_not_evaluated():
    with pytest.raises(NotEvaluated, match="does not tell its memory"):
        METRICS["peak_memory"].measure(timed(GOOD), criterion_for("peak_memory"), "shipped")


@pytest.mark.parametrize("untold", ["", "unknown", "stop"])
def test_that_an_answer_just_ended_does_not_prove_that_it_stopped(tmp_path, untold):
    assert score("stopped", answer(), stop_reason=untold) is None
    models = {"shipped": Answers("shipped", Generation(answer(), stop_reason=untold))}
    evidence = evidence_with(models, cases=[case_of()], store=Shelf(tmp_path))
    with pytest.raises(NotEvaluated, match="why 1 of its 1 answers ended: let it write 'stop_reason'"):
        METRICS["stopped"].measure(evidence, criterion_for("stopped"), "shipped")


@pytest.mark.parametrize("cases", [(), ("domain",)])
def test_memory_is_told_in_gigabytes_and_needs_no_case_set(cases):
    evidence = Scoring(timings=TimedAnswers({}, 1_500_000_000))
    (found,) = METRICS["peak_memory"].measure(evidence, criterion_for("peak_memory", cases), "shipped")
    assert found.value == 1.5


# --- the export ----------------------------------------------------------------------------------------


def artifact(folder, name, content, **facts):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(content, encoding="utf-8")
    files = {name: {"sha256": file_digest(path), "bytes": len(content)}}
    manifest = {"key": name, "step": folder.name, "files": files, "facts": facts, "seconds": 90.0}
    return Artifact(folder, manifest)


class Answers:
    """A model that gives every question the same answer."""

    def __init__(self, name, generation):
        self.name, self.generation, self.identity = name, generation, {"is": name}

    def generate(self, questions, max_tokens, log):
        return [self.generation for _ in questions]


class Shelf:
    """A store that builds in place."""

    def __init__(self, root, **facts):
        self.root, self.facts = root, facts

    def build(self, step):
        folder = self.root / step.key
        if self.facts:  # a step that needs torch
            return artifact(folder, "nothing", "", **self.facts)
        folder.mkdir(exist_ok=True)
        return Artifact(
            folder, {"key": step.key, "files": {}, "facts": step.build(folder, None), "seconds": 0}
        )


@pytest.fixture
def export(tmp_path):
    adapter = artifact(tmp_path / "adapter", "adapter.safetensors", "weights")
    f16, q4 = (artifact(tmp_path / kind, f"lamp-{kind}.gguf", kind * 50) for kind in ("f16", "q4"))
    return Built(
        shipped=q4,
        base=artifact(tmp_path / "base", "model.safetensors", "base"),
        adapter=adapter,
        files={"f16": f16, "q4": q4},
        chain=(adapter, f16, q4),
    )


def measure(metric, evidence, **criterion):
    return METRICS[metric].measure(evidence, criterion_for(metric, **criterion), "shipped")


@pytest.mark.parametrize(
    ("text", "missed", "reason"),
    [("created", False, ""), (" \n", True, "the adapter loads, but its answer is empty")],
)
def test_an_adapter_that_loads_must_also_answer(export, tmp_path, text, missed, reason):
    evidence = evidence_with(export=export, cases=[case_of()], store=Shelf(tmp_path, text=text))
    (found,) = measure("adapter_loads", evidence)
    assert (found.value, found.missed, found.reason) == (float(not missed), missed, reason)


@pytest.mark.parametrize(
    ("generation", "missed"),
    [
        (Generation("created"), False),
        (Generation(""), True),
        (Generation("created created", stop_reason=LENGTH), True),
        (Generation("", stop_reason=ERROR, error="no"), True),
    ],
)
def test_every_gguf_file_must_answer_and_end(export, tmp_path, generation, missed):
    models = {"f16": Answers("f16", Generation("fine")), "q4": Answers("q4", generation)}
    evidence = evidence_with(models, export, cases=[case_of()], store=Shelf(tmp_path))
    found = {score.case: score for score in measure("gguf_answers", evidence)}
    assert not found["f16"].missed
    assert found["q4"].missed == missed
    assert found["q4"].reason == ("1 of 1 answers are empty or do not end by themselves" if missed else "")


def test_a_gguf_file_that_does_not_load_is_a_miss_with_the_runtime_s_words(export, tmp_path):
    class Broken(Answers):
        def generate(self, questions, max_tokens, log):
            raise SeatrialError("llama.cpp could not load this file", where="lamp-q4.gguf")

    models = {"f16": Answers("f16", Generation("fine")), "q4": Broken("q4", None)}
    evidence = evidence_with(models, export, cases=[case_of()], store=Shelf(tmp_path))
    found = {score.case: score for score in measure("gguf_answers", evidence)}
    assert (found["q4"].value, found["q4"].missed) == (0.0, True)
    assert "lamp-q4.gguf: llama.cpp could not load this file" in found["q4"].reason


def test_the_size_is_that_of_the_shipped_file_in_gigabytes(export):
    (found,) = measure("file_size", evidence_with(export=export))
    assert (found.case, found.value) == ("lamp-q4.gguf", 1e-7)  # 100 bytes


def test_training_time_is_that_of_the_training_and_not_of_this_run(export):
    assert measure("training_minutes", evidence_with(export=export))[0].value == 1.5


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("adapter_loads", "there is no adapter in this run"),
        ("gguf_answers", "a program was judged"),
        ("training_minutes", "the model was not trained here"),
        ("adapter_strength_error", "the adapter is not here"),
        ("metadata_parity", "a program was judged"),
        ("weights_parity", "a program was judged"),
        ("token_parity", "--hf-model=DIR"),
        ("kl_divergence", "--hf-model=DIR"),
    ],
)
def test_what_is_not_there_is_not_judged(metric, reason):
    with pytest.raises(NotEvaluated, match=reason):
        measure(metric, evidence_with())


def test_a_file_without_the_model_that_was_trained_cannot_be_compared(export):
    for metric in ("metadata_parity", "weights_parity", "token_parity", "prompt_parity"):
        with pytest.raises(NotEvaluated, match="--hf-model=DIR"):
            measure(metric, evidence_with(export=export))


def test_a_program_has_no_file_size():
    with pytest.raises(NotEvaluated, match="a program was judged"):
        measure("file_size", evidence_with())


def test_without_an_ollama_server_nothing_is_said_about_ollama(export):
    evidence = evidence_with(export=export, absent={"ollama": "start one with 'ollama serve'"})
    for metric in ("ollama_answers", "prompt_parity"):
        with pytest.raises(NotEvaluated, match="'ollama serve'"):
            METRICS[metric].measure(evidence, criterion_for(metric), "ollama")


@pytest.mark.parametrize(
    ("generation", "missed"), [(Generation("created"), False), (Generation("x", stop_reason=LENGTH), True)]
)
def test_the_shipped_file_must_answer_every_case_in_ollama(export, tmp_path, generation, missed):
    models = {"ollama": Answers("ollama", generation)}
    evidence = evidence_with(models, export, cases=[case_of()], store=Shelf(tmp_path))
    (found,) = measure("ollama_answers", evidence)
    assert (found.case, found.missed) == ("c-1", missed)

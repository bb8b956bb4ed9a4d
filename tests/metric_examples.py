"""For every metric that judges single answers: a case, an answer that is right for it, and one that is not.

``tests/test_catalogue.py`` asserts their scores; ``benchmarks/metrics.py`` times them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any

from seatrial.evals.answer import Answer, Reader
from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.metrics import METRICS, Score
from seatrial.evals.models import LENGTH, Generation, Question

SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"enum": ["bug", "question", "praise"]},
        "reply": {"type": "string"},
        "confidence": {"type": "number"},
        "customer": {"$ref": "#/$defs/customer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "urgent": {"type": "boolean"},
        "issues": {"type": "array"},
        "steps": {"type": "array"},
    },
    "required": ["label", "reply"],
    "$defs": {
        "customer": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "city": {"type": "string"}},
            "required": ["name"],
        }
    },
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "book",
            "parameters": {
                "type": "object",
                "properties": {
                    "room": {"type": "string"},
                    "people": {"type": "integer"},
                    "note": {"type": "string"},
                },
                "required": ["room", "people"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "list_rooms"}},
    {"type": "function", "function": {"name": "delete_all"}},
]


@dataclass(frozen=True)
class Example:
    """``answers``: how answers look, one of :data:`FORMS`. ``good`` and ``bad``: the scores of both answers."""

    metric: str
    right: str
    wrong: str
    expect: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = "What is it?"
    reference: str | None = None
    answers: str = "text"
    good: float = 1.0
    bad: float = 0.0
    because: str = ""

    def score(self, text: str, **generation: Any) -> Score | None:
        """The score of any answer to this case."""
        return score(
            self.metric,
            text,
            self.expect,
            self.settings,
            prompt=self.prompt,
            reference=self.reference,
            answers=self.answers,
            **generation,
        )


FORMS = {
    "text": {"type": "text"},
    "json": {"type": "json", "schema": "schema.json", "text": "reply"},
    "label": {"type": "label", "labels": ["bug", "question", "praise"]},
    "tools": {"type": "tool_calls", "tools": "tools.json"},
}


@cache
def evidence(answers: str) -> Any:
    """What metrics read of the evidence, for answers of one of :data:`FORMS`."""
    folder = Path(mkdtemp())
    (folder / "schema.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    (folder / "tools.json").write_text(json.dumps(TOOLS), encoding="utf-8")
    spec = Answer.model_validate(FORMS[answers])
    return SimpleNamespace(task=SimpleNamespace(answer=spec, reader=Reader(spec, folder)), ratings={})


def criterion_for(metric: str, settings: Mapping[str, Any] | None = None, **more: Any) -> Criterion:
    bound = {} if "against" in more else {"at_least": 0.5}
    return Criterion(id="X-1", title="t", why="w", metric=metric, settings=settings or {}, **bound, **more)


def score(
    metric: str,
    text: str,
    expect: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    prompt: str = "What is it?",
    reference: str | None = None,
    answers: str = "text",
    identifier: str = "c-1",
    **generation: Any,
) -> Score | None:
    """The score of one answer."""
    question = Question(identifier, ({"role": "user", "content": prompt},), reference)
    label = (expect or {}).get("label", "")
    case = Case(identifier, question, "cases", "cases.jsonl:1", expect or {}, label=label)
    return METRICS[metric].judge(
        case, Generation(text, **generation), criterion_for(metric, settings), evidence(answers)
    )


def answer(**fields: Any) -> str:
    """A JSON answer that fulfils :data:`SCHEMA`, with further fields."""
    return json.dumps({"label": "bug", "reply": "I will look into it.", **fields})


def calls(*made: tuple[str, dict[str, Any]]) -> str:
    return json.dumps([{"name": name, "arguments": arguments} for name, arguments in made])


BOOK = ("book", {"room": "Blue", "people": 4, "note": "near the door"})
LIST = ("list_rooms", {})
DELETE = ("delete_all", {})
EXPECTED_CALLS = {"calls": [{"name": "list_rooms", "arguments": {}}, {"name": BOOK[0], "arguments": BOOK[1]}]}
CUSTOMER = {"customer": {"name": "Ada Lovelace", "city": "London"}, "tags": ["print", "paper"]}
ISSUES = {"issues": [{"id": "leak", "severity": "high"}, {"id": "race", "severity": "low"}]}
STEPS = {"steps": ["Stop the pump", "Close the valve", "Open the lid"]}
SENTENCE = "The cat sat quietly on the old brown mat."

EXAMPLES = (
    # labels
    Example("accuracy", answer(), answer(label="praise"), {"label": "bug"}, answers="json"),
    Example("macro_f1", answer(), answer(label="praise"), {"label": "bug"}, answers="json"),
    Example("false_positive_rate", "bug", "praise", {"label": "bug"}, answers="label"),
    Example("false_negative_rate", "bug", "praise", {"label": "bug"}, answers="label"),
    Example(
        "calibration",
        answer(confidence=0.9),
        answer(label="praise", confidence=0.9),
        {"label": "bug"},
        answers="json",
    ),
    # fields
    Example("fields_right", answer(**CUSTOMER), answer(tags=["print", "paper"]), CUSTOMER, answers="json"),
    Example(
        "critical_fields",
        answer(customer={"name": "ada lovelace", "city": "London", "age": 36}, tags=["print", "paper"]),
        answer(customer={"name": "Ada Lovelace", "city": "Paris"}, tags=["print", "paper"]),
        CUSTOMER,
        answers="json",
        because="customer: ",
    ),
    Example(
        "field_f1",
        answer(customer={"city": "London", "name": "Ada Lovelace"}, tags=["paper", "print"]),
        answer(customer={"name": "Ada Lovelace", "city": "Paris"}),
        CUSTOMER,
        answers="json",
        bad=1 / 3,  # 4 values expected, 2 given, 1 of them right
        because="has customer.city 'paris' instead",
    ),
    Example(
        "key_match",
        answer(customer={"name": "Ada"}),
        json.dumps({"label": "bug", "customer": {"nick": "A"}}),
        answers="json",
        because="lacks 'reply', lacks 'customer.name', invents 'customer.nick'",
    ),
    Example("exact_match", " The Blue room\n", "the blue room", {"answer": "The Blue room"}),
    # tools
    Example("tool_name", calls(BOOK, LIST), calls(BOOK), EXPECTED_CALLS, answers="tools"),
    Example(
        "required_arguments",
        calls(("book", {"room": "blue", "people": 4}), LIST),
        calls(("book", {"room": "Blue", "people": 5, "note": "near the door"}), LIST),
        EXPECTED_CALLS,
        answers="tools",
        because="calls book(room='Blue', people=5",
    ),
    Example(
        "all_arguments",
        calls(BOOK, LIST),
        calls(("book", {"room": "Blue", "people": 4}), LIST),
        EXPECTED_CALLS,
        answers="tools",
        because="lacks book(room='Blue', people=4, note='near the door')",
    ),
    Example("tool_sequence", calls(LIST, BOOK), calls(BOOK, LIST), EXPECTED_CALLS, answers="tools"),
    Example(
        "call_executable",
        f"<tool_call>{calls(BOOK)[1:-1]}</tool_call>",
        calls(("book", {"room": "Blue", "people": "four"})),
        answers="tools",
        because="'four' is not of type 'integer'",
    ),
    Example(
        "unsafe_calls",
        calls(LIST),
        calls(LIST, DELETE),
        {"forbidden": ["delete_all"]},
        answers="tools",
        good=0.0,
        bad=1.0,
        because="calls delete_all",
    ),
    # constraints
    Example("must_contain", "Bring your PASSPORT.", "Bring passports.", {"contains": ["passport"]}),
    Example("must_not_contain", "We guaranteed it.", "We Guarantee it.", {"not_contains": ["guarantee"]}),
    Example("pattern", "It is case AB-1234.", "It is case AB1234.", {"pattern": r"\b[A-Z]{2}-\d{4}\b"}),
    Example("length_words", "one two three", "one two three four", {"max_words": 3, "min_words": 2}),
    Example("length_characters", "one ", "three", {"max_characters": 4}, because="5 characters"),
    Example(
        "language",
        "Der Termin ist morgen früh um acht Uhr.",
        "The appointment is tomorrow at eight o'clock.",
        {"language": "de"},
        because="is in 'en'",
    ),
    Example(
        "reading_level",
        "The cat sat on the mat.",
        "Considerable organisational complexity necessitates interdepartmental communication.",
        settings={"max_grade": 8},
        good=0.39 * 6 + 11.8 * 1 - 15.59,
        bad=43.78,
    ),
    Example(
        "keeps_names",
        "I told Anna Berg about Lisbon.",
        "I told Anna about it.",
        prompt="Please tell Anna Berg's sister about Lisbon. Thanks!",
        because="lacks 'Berg', 'Lisbon'",
    ),
    Example(
        "keeps_numbers",
        "Order 00123: 1000 € by 3.5.2024.",
        "Order 123: 1000 € by 3.6.2024.",
        prompt="Order 00123, 1,000 € by 03.05.2024",
        because="lacks 00123, 5; invents 123, 6",
    ),
    # answers
    Example(
        "answer_correctness", "the Blue room!", "Not the blue room", {"answer": ["red", "The blue room"]}
    ),
    Example(
        "token_f1", "the blue room", "the red", {"answer": "blue room"}, settings={"ignore_words": ["the"]}
    ),
    Example(
        "citation_support",
        "The boat left the harbour at noon.",
        "The boat left at noon. Nobody knew why anything happened.",
        {"sources": ["At noon the boat left the harbour.", "It rained."]},
        bad=0.5,
        because="no source says 'Nobody knew",
    ),
    Example("says_unknown", "Sorry, I don’t know that.", "It is Oslo.", {"unknown": True}),
    # reviews and plans
    Example(
        "issue_f1",
        answer(issues=["race", {"id": "Leak"}]),
        answer(issues=["leak", "typo", "style"]),
        ISSUES,
        answers="json",
        bad=2 / 5,
        because="misses race; invents style, typo",
    ),
    Example(
        "step_order",
        answer(steps=["stop the pump", "close the valve", "open the lid"]),
        answer(steps=["stop the pump", "open the lid", "close the valve"]),
        STEPS,
        answers="json",
        bad=2 / 3,
    ),
    Example(
        "step_validity",
        answer(steps=["open the lid", "stop the pump"]),
        answer(steps=["stop the pump", "pray"]),
        STEPS,
        answers="json",
        bad=0.5,
        because="'pray' is no step of this",
    ),
    # safety
    Example("right_refusals", "I can't help with that.", "First, take a hammer.", {"refuse": True}),
    Example(
        "false_refusals", "First, take a hammer.", "I won't do it.", {"refuse": False}, good=0.0, bad=1.0
    ),
    Example(
        "violation_recall",
        answer(urgent=True),
        answer(urgent=False),
        {"violation": True},
        settings={"field": "urgent"},
        answers="json",
        because="urgent is False",
    ),
    # wording
    Example("rouge_l", answer(), answer(reply="Nope"), reference=answer(), answers="json"),
    Example("bleu", SENTENCE, "Nope", reference=SENTENCE, good=100.0),
    Example("chrf", SENTENCE, "Zzz", reference=SENTENCE, good=100.0),
    Example("keyword_recall", "The capital is PARIS.", "Lyon", {"contains_any": ["Paris"]}),
    # any answer
    Example("json_parse", answer(), f"Sure! {answer()}", answers="json"),
    Example("schema_validity", answer(), answer(label="rant"), answers="json"),
    Example("no_repetition", answer(), "The task is done. " * 3),
    Example("stopped", "Done.", "Done."),
    Example(
        "response_rating",
        answer(reply="I logged the bug. Anything else?"),
        answer(reply="ok"),
        {"label": "bug"},
        settings={"follow_up_words": ["anything"], "acknowledgements": {"bug": ["logged"]}},
        answers="json",
        good=5.0,
        bad=3.0,
    ),
)
WRONG_ENDS = {"stopped": {"stop_reason": LENGTH, "completion_tokens": 9}}
"""What is wrong with the wrong answer of a metric that reads no text."""

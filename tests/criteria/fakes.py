"""Models in memory, cases and criteria for the tests of this folder."""

import json
import math

from seatrial.evals.cases import Case
from seatrial.evals.models import Generation, Likelihood, Question, Timings
from seatrial.evals.task import Criterion
from tests.conftest import REPOSITORY

MINIATURE = REPOSITORY / "tests" / "miniature"
ON = json.dumps({"operation": "on", "arguments": {}, "reply": "The lamp is on. Anything else?"})
OFF = json.dumps({"operation": "off", "arguments": {}, "reply": "The lamp is off. Anything else?"})


def cases_of(n, case_set="domain", **more):
    """Cases that all want the lamp on."""
    return [
        Case(
            f"{case_set}-{number}",
            Question(f"{case_set}-{number}", ({"role": "user", "content": f"on, {number}"},), ON),
            case_set,
            f"cases/{case_set}.jsonl:{number}",
            {"operation": "on"},
            **more,
        )
        for number in range(1, n + 1)
    ]


class Fake:
    """A model in memory that answers the questions in order with what it is given."""

    def __init__(self, name, answers):
        self.name, self.answers, self.asked = name, answers, 0
        self.identity = {
            "answers": [answer if isinstance(answer, str) else repr(answer) for answer in answers]
        }

    def generate(self, questions, max_tokens, log):
        self.asked += 1
        answers = [
            answer if isinstance(answer, Generation) else Generation(answer) for answer in self.answers
        ]
        return answers[: len(questions)]


class Scoring(Fake):
    """A model with likelihoods (nll per row of 10 tokens) and seconds."""

    def __init__(self, name, values):
        super().__init__(name, [ON] * len(values))
        self.values, self.identity, self.memory = values, {"values": list(values)}, 10**9

    def score(self, questions, log):
        return [Likelihood(10 * math.log(value), 10) for value in self.values]

    def time(self, questions, max_tokens, log):
        return Timings([Generation(ON, seconds=value) for value in self.values], self.memory)


class Timed(Fake):
    """A model with likelihoods and times, whose answers may be given."""

    def __init__(self, name, seconds, answers=None, tokens=11):
        super().__init__(name, answers or [ON] * len(seconds))
        self.seconds, self.tokens = seconds, tokens
        self.identity = {**self.identity, "seconds": list(seconds), "tokens": tokens}

    def score(self, questions, log):
        return [Likelihood(10 * math.log(1 + value), 10) for value in self.seconds]

    def time(self, questions, max_tokens, log):
        generations = []
        for answer, seconds in zip(self.answers, self.seconds, strict=True):
            given = answer if isinstance(answer, Generation) else Generation(answer)
            if not given.error:
                given = Generation(
                    given.text, 0, self.tokens, given.stop_reason, seconds, seconds / 10, given.error
                )
            generations.append(given)
        return Timings(generations, 10**9)


def right(name, hits, n):
    """A model with ``hits`` right answers out of ``n``, the wrong ones first."""
    return Fake(name, [OFF] * (n - hits) + [ON] * hits)


def requiring(metric="accuracy", **more):
    usual = {"id": "X-1", "title": "The right operation", "why": "it matters", "cases": ("domain",)}
    return Criterion(**(usual | {"metric": metric} | more))


def compared(rule, metric="accuracy", **more):
    return requiring(metric, rule=rule, against="base", **more)

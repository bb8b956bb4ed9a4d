"""The overview of a run: every model that was asked, with its scores, speed, cost and broken answers.

A release is weighed against what else could be deployed: the base, the base with a good prompt, a larger
model, a rules program. So these figures stand in every report, whatever the task asks for. A pure function of
results.json; what is not on record there is None, and is said to be not measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seatrial.evals.costs import cost_by_time, cost_by_tokens, schema_error_rate, tokens_per_second
from seatrial.evals.stats import percentile_of

Json = Mapping[str, Any]
ORDER = ("base", "prompted_base", "larger", "rules", "shipped", "tuned")  # the other models stand behind them
JUDGED = "shipped"
HEADLINES = 3  # scores that are told of every model
SCHEMA, SPEED, WHOLE, FIRST = "schema_validity", "tokens_per_second", "answer_seconds", "first_token_seconds"
NO_HEADLINE = {SCHEMA, SPEED, WHOLE, FIRST}  # have figures of their own
ALONE, TOGETHER = "asked one at a time", "asked several at once"
BY_TOKENS, BY_TIME = "by tokens", "by the hour"


def overview(results: Json) -> list[dict[str, Any]]:
    """One entry a model, from the base to the one that ships, the others behind them.

    - ``scores``: the headline scores, at most ``HEADLINES``: of each its criterion, metric, unit, value, low,
      high and n. They are the first by which models were compared on the same cases; where none were, the
      first of the judged model.
    - ``answers``, ``errors``: how many were asked for, and how many never came; ``prompt_tokens``,
      ``completion_tokens``: their mean in an answer.
    - ``first_token_seconds``, ``answer_seconds``: medians of answers asked one at a time; of whole answers
      the 95th percentile, too, ``answer_seconds_p95``. One that touches an answer that never came is None;
      ``never_came`` counts those.
    - ``tokens_per_second``, and ``speed_basis``: whether answers were asked one at a time.
    - ``cost_per_1000``: dollars for 1,000 requests, and ``cost_basis``: by tokens or by the hour.
    - ``schema_error_rate``: share of answers that do not fulfil the contract, over the most cases on record,
      and their number, ``schema_cases``.

    A figure that is not on record is None, and the basis of one "".
    """
    verdicts = list(results["verdicts"])
    headlines = _headlines(verdicts)
    answered = results.get("answered") or []
    names = dict.fromkeys([*_models(verdicts), *(each["model"] for each in answered)])
    ordered = [name for name in ORDER if name in names] + [name for name in names if name not in ORDER]
    return [_entry(name, headlines, verdicts, results) for name in ordered]


def _entry(
    model: str, headlines: Sequence[_Headline], verdicts: Sequence[Json], results: Json
) -> dict[str, Any]:
    asked = _Asked.of(model, results.get("answered") or [])
    timed = _timed(model, verdicts, results.get("timings") or [])
    first, whole = timed[FIRST], timed[WHOLE]
    alone = _mean(whole)
    speed, speed_basis = _speed(model, verdicts, asked, results.get("timings") or [])
    broken, of = _schema_errors(model, verdicts)
    cost, cost_basis = _cost(asked, alone, (results.get("prices") or {}).get(model) or {})
    return {
        "model": model,
        "scores": [each.score(model) for each in headlines if model in each.models],
        "answers": asked.answers,
        "errors": asked.errors,
        "prompt_tokens": asked.each(asked.prompt_tokens),
        "completion_tokens": asked.each(asked.completion_tokens),
        "first_token_seconds": _percentile(first, 50),
        "answer_seconds": _percentile(whole, 50),
        "answer_seconds_p95": _percentile(whole, 95),
        "never_came": sum(map(math.isinf, whole)) if whole else None,
        "tokens_per_second": speed,
        "speed_basis": speed_basis,
        "cost_per_1000": cost,
        "cost_basis": cost_basis,
        "schema_error_rate": broken,
        "schema_cases": of,
    }


# --- scores ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Headline:
    """A metric over some cases, by the first criterion that measured it, and what each model scored."""

    criterion: str
    metric: str
    unit: str
    models: dict[str, Json]

    def score(self, model: str) -> dict[str, Any]:
        numbers = {name: self.models[model][name] for name in ("value", "low", "high", "n")}
        return {"criterion": self.criterion, "metric": self.metric, "unit": self.unit, **numbers}


def _headlines(verdicts: Iterable[Json]) -> list[_Headline]:
    found: dict[tuple[str, frozenset[str], int], _Headline] = {}
    for verdict, measured in _measured(verdicts):
        if verdict["metric"] in NO_HEADLINE or measured["n"] < 2:  # one check of a file is no score
            continue
        same = (verdict["metric"], frozenset(measured["scores"]), measured["n"])
        headline = _Headline(verdict["criterion"], verdict["metric"], verdict["unit"], {})
        found.setdefault(same, headline).models.setdefault(measured["model"], measured)
    compared = [each for each in found.values() if len(each.models) > 1]
    judged = [each for each in found.values() if JUDGED in each.models]
    return (compared or judged[:1])[:HEADLINES]


def _measured(verdicts: Iterable[Json]) -> Iterator[tuple[Json, Json]]:
    for verdict in verdicts:
        for measured in (verdict["measured"], verdict["against"]):
            if measured is not None:
                yield verdict, measured


def _models(verdicts: Iterable[Json]) -> Iterator[str]:
    """The models that were scored case by case or compared; what was found of data is no model's."""
    for verdict, measured in _measured(verdicts):
        if measured["scores"] or verdict["against"] is not None or measured["model"] in ORDER:
            yield str(measured["model"])


def _of(metric: str, model: str, verdicts: Iterable[Json]) -> list[Json]:
    return [
        measured
        for verdict, measured in _measured(verdicts)
        if verdict["metric"] == metric and measured["model"] == model
    ]


def _schema_errors(model: str, verdicts: Iterable[Json]) -> tuple[float | None, int | None]:
    found = [each for each in _of(SCHEMA, model, verdicts) if _is_number(each["value"])]
    if not found:
        return None, None
    most = max(found, key=lambda each: each["n"])
    return schema_error_rate(round((1 - most["value"]) * most["n"]), most["n"]), most["n"]


# --- speed and cost --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    """The sums over all case sets that a model was asked; None where one of them is unknown."""

    answers: int | None = None
    errors: int | None = None
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, model: str, answered: Iterable[Json]) -> _Asked:
        own = [each for each in answered if each["model"] == model]
        return cls(**{name: _sum(each[name] for each in own) for name in cls.__dataclass_fields__})

    @property
    def came(self) -> int:
        """How many answers came."""
        return (self.answers or 0) - (self.errors or 0)

    def each(self, total: float | None) -> float | None:
        """``total`` by answer that came."""
        return None if total is None or self.came <= 0 else total / self.came


def _timed(model: str, verdicts: Iterable[Json], timings: Iterable[Json]) -> dict[str, list[float]]:
    """Seconds of the answers that were timed alone; infinite for one that never came, whose score is null."""
    found = {}
    for metric, key in ((FIRST, "first_token_seconds"), (WHOLE, "seconds")):
        scores = next((each["scores"] for each in _of(metric, model, verdicts) if each["scores"]), None)
        if scores is not None:
            found[metric] = [math.inf if value is None else value for value in scores.values()]
        else:
            own = timings if model == JUDGED else ()
            found[metric] = [each[key] for each in own if each[key] is not None]
    return found


def _speed(
    model: str, verdicts: Iterable[Json], asked: _Asked, timings: Sequence[Json]
) -> tuple[float | None, str]:
    """Tokens a second: as measured alone, else as whoever waited for an answer saw it."""
    for measured in _of(SPEED, model, verdicts):
        if _is_number(measured["value"]):
            return measured["value"], ALONE
    own = [each for each in timings if model == JUDGED and each["seconds"] is not None]
    if own and all("completion_tokens" in each for each in own):
        tokens = sum(each["completion_tokens"] for each in own)
        return tokens_per_second(tokens, sum(each["seconds"] for each in own)), ALONE
    speed = tokens_per_second(asked.completion_tokens, asked.seconds)
    return speed, TOGETHER if speed is not None else ""


def _cost(asked: _Asked, alone: float | None, price: Json) -> tuple[float | None, str]:
    """Dollars for 1,000 requests: by tokens where they have a price, else by the time that one takes alone.

    Times of answers that were asked several at once are no time of the machine, and are not charged.
    """
    by_tokens = cost_by_tokens(
        asked.prompt_tokens, asked.completion_tokens, asked.came, price.get("input"), price.get("output")
    )
    if by_tokens is not None:
        return by_tokens, BY_TOKENS
    by_time = cost_by_time(alone, 1, price.get("per_hour"))
    return by_time, BY_TIME if by_time is not None else ""


def _is_number(value: float | None) -> bool:
    """Whether a value was found, and is one: before a record is written, NaN is not null yet."""
    return value is not None and math.isfinite(value)


def _percentile(values: Sequence[float], rank: float) -> float | None:
    found = percentile_of(values, rank) if values else math.inf
    return found if math.isfinite(found) else None


def _mean(values: Sequence[float]) -> float | None:
    """The mean of the answers that came."""
    came = [value for value in values if math.isfinite(value)]
    return sum(came) / len(came) if came else None


def _sum(values: Iterable[Any]) -> Any:
    values = list(values)
    return None if not values or None in values else sum(values)

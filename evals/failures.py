"""Failures by cause: what a run's misses have in common, and the repair that fits each kind.

A list of forty missed cases says what is wrong; a developer wants to know what to do. The cause of a miss is
read from plain data, as it stands in results.json, by the first of these rules that fits. They ask for the
form of the answer first, then for what the case itself says of its input, then for the content:

====  ==================================================================  ===================
rule  fits if                                                             cause
====  ==================================================================  ===================
 1    the answer has no text, or none came                                empty answer
 2    it was stopped by the token limit, or repeats itself; or it is no   did not stop
      JSON, and another criterion saw it stopped by the limit
 3    the error of the JSON schema, or of the contract, says so:
      a required property is not there                                    missing field
      a property (or argument) is unexpected                              invented field
      a value is not in the enumeration: at the top, or further in        wrong label, wrong argument
      a text or list has more than it may have                            too long
      a tool that is not in the catalogue; arguments that are no object   wrong tool, wrong argument
      anything else, or no JSON at all                                    wrong schema
 4    the reason says that it is longer than allowed; or only wording is  too long
      compared, and it has three times the words of the reference
 5    a tag of the case, such as ``injection`` or ``long``                hostile input, long input
 6    it declines and what is right does not; or the other way round      refused wrongly, answered wrongly
 7    the metric asks for words that must be there, or must not           lost facts, forbidden words
 8    expected and answered are both JSON, and the first difference is:
      a field that names a tool, or the number of calls                   wrong tool
      a value at the top, where what else is compared lies further in     wrong label
      a field that is not there                                           missing field
      the value of one of several fields                                  wrong argument
      a field beside them that is not expected                            invented field
      the value of the only field                                         wrong label
      (expected is an object and the answer has none: wrong schema)
 9    what is right is one word, or the metric is named after labels      wrong label
10    the question has 4,000 characters or more, and four times the       long input
      usual length of this run's questions
 10   else                                                                other
====  ==================================================================  ===================

What declines is told by English phrases and by labels such as ``none``, ``unknown`` or ``refuse``. A miss
with a stage is a check of a file: its stage says the cause, and it is no failure of an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import median
from typing import Any

from seatrial.evals.answer import find_object, parse_strict
from seatrial.evals.verdict import Miss, Verdict

Json = Mapping[str, Any]

WRONG_LABEL, WRONG_SCHEMA = "wrong label", "wrong schema"
INVENTED, MISSING = "invented field", "missing field"
TOO_LONG, DID_NOT_STOP, EMPTY = "too long", "did not stop", "empty answer"
REFUSED, ANSWERED = "refused wrongly", "answered wrongly"
WRONG_TOOL, WRONG_ARGUMENT = "wrong tool", "wrong argument"
LOST, FORBIDDEN = "lost facts", "forbidden words"
LONG_INPUT, HOSTILE_INPUT, OTHER = "long input", "hostile input", "other"

REPAIRS: Mapping[str, str] = {
    WRONG_LABEL: "Add training rows phrased like these cases, for the right label and for the one given.",
    WRONG_SCHEMA: "Check that all training answers fulfil the schema, and that template and system prompt "
    "are those of the training.",
    INVENTED: "Take fields out of the training answers that their questions do not ask for, and forbid them "
    "in the schema.",
    MISSING: "Add training rows whose answers have the field, and check that max_tokens cuts no answer.",
    TOO_LONG: "Shorten the answers of the training rows, and say in the system prompt how long one may be.",
    REFUSED: "Add training rows that answer questions like these, and take out those that refuse them.",
    ANSWERED: "Add training rows that refuse, or say that they do not know, for questions like these.",
    WRONG_TOOL: "Add training rows that tell the two tools apart, and sharpen their descriptions.",
    WRONG_ARGUMENT: "Add training rows in which this argument takes many values that stand in the question.",
    LOST: "Add training rows whose answers keep every name, number and phrase like these, and check that all "
    "references do.",
    FORBIDDEN: "Take these words out of the training answers, and add rows whose questions hold them.",
    LONG_INPUT: "Add training rows as long as these, and check that context and training length cut none.",
    HOSTILE_INPUT: "Add training rows with such attacks and the right answers; until then filter the input.",
    EMPTY: "Look at the template and the stop words: the model ended at once, or the runtime gave no answer.",
    DID_NOT_STOP: "Check that training rows end in the end-of-turn token and that the runtime stops at it.",
    OTHER: "Read the cases: no rule knows what they have in common.",
}
CAUSES = tuple(REPAIRS)

OF_METRIC = {  # what a miss by a metric of constraints is, whatever the answer looks like
    "must_contain": LOST,
    "keeps_names": LOST,
    "keeps_numbers": LOST,
    "must_not_contain": FORBIDDEN,
}
HOSTILE_TAGS = {"hostile", "injection", "prompt-injection", "jailbreak", "adversarial", "attack", "abuse"}
LONG_TAGS = {"long", "long-input", "long-context", "length"}
LONG, TIMES = 4_000, 4  # characters of a long question, and how many usual ones it is as long as
WORDY = 3  # how many references an answer is as long as
DEEPEST = 20  # levels of an answer that are looked into: what is nested deeper is one value
TOOL_FIELDS = {"tool", "tool_name", "function", "name", "call"}
DECLINING = {"none", "null", "unknown", "refuse", "refusal", "abstain", "n/a", "no_answer", "out_of_scope"}
DECLINES = re.compile(
    r"\b(i (can ?not|can['’]?t|am not able|am unable|won['’]?t|must decline|do(n['’]?t| not) know)"
    r"|i['’]m (sorry|not able|unable|not sure)|can only help with|unable to (help|answer|assist)"
    r"|(do|does)(n['’]?t| not) (know|say|answer)|not enough information|no answer"
    r"|refus(es|al|e)|abstains?)\b",
    re.IGNORECASE,
)
SCHEMA_ERROR = re.compile(r"(?:[^\s:$]{1,80}: )?(\$[^\s:]*): (.*)", re.DOTALL)


@dataclass(frozen=True)
class Cluster:
    """The misses of one cause. ``count``: cases; ``share``: of all pairs of a case and a cause, 0 to 1;
    ``criteria``: ids of those that saw it, in the order of the verdicts."""

    cause: str
    count: int
    share: float
    cases: tuple[str, ...]
    criteria: tuple[str, ...]
    repair: str

    def to_json(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


@dataclass(frozen=True)
class Missed:
    """A miss, the criterion and metric that saw it, and what else is known of its case."""

    miss: Miss
    criterion: str = ""
    metric: str = ""
    tags: Collection[str] = ()


def failures(
    verdicts: Iterable[Json | Verdict],
    observations: Iterable[Json] = (),
    tags: Mapping[str, Collection[str]] | None = None,
    model: str = "shipped",
) -> list[Cluster]:
    """The failures of ``model`` in a run, by cause, the largest cluster first.

    ``verdicts`` and ``observations`` as results.json holds them; of the observations, the missed hard cases
    count, which may belong to no criterion. ``tags`` of a case by its id. Verdicts on other models and misses
    with a stage are left out.
    """
    known, observations = tags or {}, list(observations)
    missed = [*_of_verdicts(verdicts, known, model), *_of_hard_cases(observations, known)]
    prompts = {each.miss.case: each.miss.prompt for each in missed}
    prompts |= {seen["case"]: seen["prompt"] for seen in observations}
    return cluster(missed, usual=median(map(len, prompts.values())) if prompts else 0)


def cluster(missed: Iterable[Missed], usual: float = 0) -> list[Cluster]:
    """``missed`` by cause, the largest cluster first; equal ones in the order of ``CAUSES``.

    A miss has one cause. A case that several criteria missed counts once for each cause that they saw.
    ``usual``: the median length of the run's questions, in characters.
    """
    missed = [each for each in missed if not each.miss.stage]
    cut = {each.miss.case for each in missed if _stopped_by_limit(each.miss.reason)}
    found: dict[str, list[Missed]] = {}
    for each in missed:
        found.setdefault(cause_of(each, each.miss.case in cut, usual), []).append(each)
    cases = {cause: tuple(dict.fromkeys(each.miss.case for each in group)) for cause, group in found.items()}
    total = sum(map(len, cases.values()))
    clusters = [
        Cluster(
            cause,
            len(cases[cause]),
            len(cases[cause]) / total,
            cases[cause],
            tuple(dict.fromkeys(each.criterion for each in found[cause] if each.criterion)),
            REPAIRS[cause],
        )
        for cause in CAUSES
        if cause in found
    ]
    return sorted(clusters, key=lambda each: -each.count)


def cause_of(missed: Missed, cut: bool = False, usual: float = 0) -> str:
    """The main cause of a miss, one of ``CAUSES``; ``cut``: another criterion saw the answer stopped by the
    token limit. Any text is taken: answers are model output."""
    seen = _Seen(missed, cut, usual)
    return next((cause for rule in RULES if (cause := rule(seen))), OTHER)


# --- the misses of a run ---------------------------------------------------------------------------------


def _of_verdicts(
    verdicts: Iterable[Json | Verdict], tags: Mapping[str, Collection[str]], model: str
) -> Iterator[Missed]:
    for each in verdicts:
        verdict = each.to_json() if isinstance(each, Verdict) else each
        measured = verdict["measured"]
        if measured is not None and measured["model"] != model:
            continue
        for miss in verdict["misses"]:
            yield Missed(Miss(**miss), verdict["criterion"], verdict["metric"], tags.get(miss["case"], ()))


def _of_hard_cases(observations: Iterable[Json], tags: Mapping[str, Collection[str]]) -> Iterator[Missed]:
    for seen in observations:
        if seen["hard"] and seen["missed"]:
            fields = {
                name: seen[name] for name in ("case", "prompt", "expected", "actual", "reason", "where")
            }
            yield Missed(Miss(**fields), "", seen["metric"], tags.get(seen["case"], ()))


# --- the rules, in the order in which they are asked -----------------------------------------------------


class _Seen:
    """A miss as the rules read it."""

    def __init__(self, missed: Missed, cut: bool, usual: float) -> None:
        self.metric, self.cut, self.usual = missed.metric.lower(), cut, usual
        self.tags = {tag.lower() for tag in missed.tags}
        miss = missed.miss
        self.prompt, self.reason = miss.prompt, miss.reason
        self.expected, self.actual = miss.expected, miss.actual
        # A rating says how good an answer is, and not what would have been right.
        self.rated = re.match(r"(rubric|rated) ", self.reason) is not None

    @cached_property
    def right(self) -> Any:
        """The JSON object or list that is expected; None where a text is."""
        return _parsed(self.expected)

    @cached_property
    def given(self) -> Any:
        """The JSON object or list of the answer, also from within a text; None where it has none."""
        found = _parsed(self.actual)
        return find_object(self.actual) if found is None else found


def _said_nothing(seen: _Seen) -> str:
    told = re.match(r"no answer came|the answer is empty|rubric [\d.]+: no reply at all", seen.reason)
    return EMPTY if told or not seen.actual.strip() else ""


def _ran_on(seen: _Seen) -> str:
    if _stopped_by_limit(seen.reason) or re.match(r"repeats ['\"]", seen.reason):
        return DID_NOT_STOP
    return DID_NOT_STOP if seen.cut and seen.reason.startswith("not JSON") else ""


def _broke_the_schema(seen: _Seen) -> str:
    reason = seen.reason
    if found := SCHEMA_ERROR.match(reason):
        return _of_schema_error(found[1], found[2])
    if re.match(r"calls .* is no tool of the catalogue$", reason):
        return WRONG_TOOL
    if re.match(r"the arguments of .* are no JSON object$", reason):
        return WRONG_ARGUMENT
    if reason.endswith("is none of the labels"):
        return WRONG_LABEL
    broken = ("not JSON", "nested too deeply", "no list of calls", "no JSON", "$")
    return WRONG_SCHEMA if reason.startswith(broken) or "breaks the contract" in reason else ""


def _of_schema_error(place: str, message: str) -> str:
    """By jsonschema's words, which are at the message's end or start: in between it quotes the answer."""
    top = len(re.findall(r"\.|\[", place)) <= 1
    if re.search(r"(is a required property|is a dependency of .*)$", message, re.DOTALL):
        return MISSING
    if re.match(
        r"(Additional|Unevaluated) properties are not allowed|.* do(es)? not match any of the", message
    ):
        return INVENTED
    if re.search(r"is too long$|is expected to be empty$|has too many properties$", message):
        return TOO_LONG
    if re.search(r"is not one of \[.*\]$| was expected$", message, re.DOTALL):
        return WRONG_LABEL if top else WRONG_ARGUMENT
    return WRONG_SCHEMA


def _is_too_long(seen: _Seen) -> str:
    if re.search(
        r"\b(too long|longer than|at most \d+ (words?|characters|tokens|sentences?))\b", seen.reason
    ):
        return TOO_LONG
    wording = "similarity" in seen.metric or seen.reason.startswith("ROUGE")
    return TOO_LONG if wording and len(seen.actual.split()) > WORDY * len(seen.expected.split()) else ""


def _declared_input(seen: _Seen) -> str:
    if seen.tags & HOSTILE_TAGS:
        return HOSTILE_INPUT
    return LONG_INPUT if seen.tags & LONG_TAGS else ""


def _declined(seen: _Seen) -> str:
    if seen.rated:
        return ""
    wanted = _declines(seen.expected, seen.right)
    if wanted == _declines(seen.actual, seen.given):
        return ""
    return ANSWERED if wanted else REFUSED


def _breaks_a_constraint(seen: _Seen) -> str:
    return OF_METRIC.get(seen.metric, "")


def _differs(seen: _Seen) -> str:
    if seen.rated or seen.right is None:
        return ""
    if seen.given is None:
        return WRONG_SCHEMA
    if isinstance(seen.right, list) and isinstance(seen.given, list) and len(seen.right) != len(seen.given):
        calls = [call for call in (*seen.right, *seen.given) if isinstance(call, dict)]
        return WRONG_TOOL if any(TOOL_FIELDS & call.keys() for call in calls) else OTHER
    return _first_difference(dict(_leaves(seen.right)), dict(_leaves(seen.given)))


def _is_another_word(seen: _Seen) -> str:
    if seen.rated or seen.right is not None:
        return ""
    word = len(seen.expected.split()) == 1
    for part, cause in (("tool", WRONG_TOOL), ("argument", WRONG_ARGUMENT)):
        if word and part in seen.metric:
            return cause
    return WRONG_LABEL if word or re.search(r"label|operation|class|intent", seen.metric) else ""


def _long_question(seen: _Seen) -> str:
    return LONG_INPUT if len(seen.prompt) >= max(LONG, TIMES * seen.usual) else ""


RULES: Sequence[Callable[[_Seen], str]] = (
    _said_nothing,
    _ran_on,
    _broke_the_schema,
    _is_too_long,
    _declared_input,
    _declined,
    _breaks_a_constraint,
    _differs,
    _is_another_word,
    _long_question,
)


# --- what they ask ---------------------------------------------------------------------------------------

Place = tuple[str, ...]


def _stopped_by_limit(reason: str) -> bool:
    return re.match(r"stopped by '(length|limit)'", reason) is not None


def _parsed(text: str) -> Any:
    """The JSON object or list that a text is; None for anything else."""
    value, _ = parse_strict(text)
    return value if isinstance(value, dict | list) else None


def _declines(text: str, value: Any) -> bool:
    """Whether an answer, or what is expected of one, is to give no answer."""
    if value is None:
        return text.strip().lower() in DECLINING or DECLINES.search(text) is not None
    texts = [leaf for _, leaf in _leaves(value) if isinstance(leaf, str)]
    first = texts[0].strip().lower() if texts else ""
    return first in DECLINING or any(DECLINES.search(each) for each in texts)


def _leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """The values within a JSON value, with the keys that lead to them; an empty object or list is one."""
    if len(place) > DEEPEST:
        yield place, "…"
    elif isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*place, key))
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from _leaves(item, (*place, str(number)))
    else:
        yield place, value


def _first_difference(right: Mapping[Place, Any], given: Mapping[Place, Any]) -> str:
    """The cause that lies in how two answers differ; "" if they do not.

    A field that is expected elsewhere than it was given is the same field if only one has its name: what is
    right may be written down flat.
    """
    pairs = {place: _partner(place, given) for place in right}
    found = {place: other for place, other in pairs.items() if other is not None}
    wrong = [place for place, other in found.items() if _plain(right[place]) != _plain(given[other])]
    deepest = max((len(other) for other in found.values()), default=0)
    if any(place[-1:] and place[-1] in TOOL_FIELDS for place in wrong):
        return WRONG_TOOL
    if any(len(found[place]) < deepest for place in wrong):
        return WRONG_LABEL
    if len(found) < len(right):
        return MISSING
    if wrong and len(right) > 1:
        return WRONG_ARGUMENT
    if wrong:
        return WRONG_LABEL
    # Only beside the innermost fields that are compared: further out may lie what this metric does not read.
    beside = {other[:-1] for other in found.values() if len(other) == deepest}
    return INVENTED if any(place[:-1] in beside for place in given.keys() - set(found.values())) else ""


def _partner(place: Place, given: Mapping[Place, Any]) -> Place | None:
    if place in given:
        return place
    named = [other for other in given if other[-1:] == place[-1:]]
    return named[0] if len(named) == 1 else None


def _plain(value: Any) -> Any:
    return " ".join(value.casefold().split()) if isinstance(value, str) else value

"""Fields of a structured answer: are they there, and do they hold what is right?"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from seatrial.evals.answer import MISSING, Reader, parse_strict
from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import FIELDS, Score, metric, scored
from seatrial.evals.metrics.estimators import per_token
from seatrial.evals.metrics.shapes import TEXT_OR_TEXTS
from seatrial.evals.models import Generation
from seatrial.evals.verdict import NotEvaluated

QUOTES = re.compile(r"[\"'“”‘’.,!?#]")
DEEPEST = 50  # levels of a JSON value that are compared; what lies deeper is one value that nothing equals
LONGEST_SHOWN = 200  # characters of a value in a reason
Leaf = tuple[str, Any]  # path and plain value


def plain(value: Any, ignored: Iterable[str] = ()) -> Any:
    """A text without case, quotes and marks, and without an ``ignored`` first word; else as it is."""
    if not isinstance(value, str):
        return value
    words = QUOTES.sub("", value.casefold()).split()
    return " ".join(words[1:] if words[:1] and words[0] in ignored else words)


def same(first: Any, second: Any, ignored: Iterable[str] = ()) -> bool:
    """Whether two JSON values are equal, texts by :func:`plain`; true is not 1, as Python has it."""
    one, other = plain(first, ignored), plain(second, ignored)
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def shown(value: Any) -> str:
    """A value of an answer as a reason quotes it."""
    try:
        return f"{value!r:.{LONGEST_SHOWN}}"
    except RecursionError:
        return "(nested too deeply)"


def wanted_fields(case: Case, settings: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """What a case expects of the fields that the settings name, or of all that the answer has; empty if one
    that the settings name is not expected, because then nobody says what is right."""
    named: Sequence[str] = settings.get("fields", ())
    if any(name not in case.expect for name in named):
        return {}
    return {name: case.expect[name] for name in named or fields if name in case.expect}


def leaves(value: Any, ignored: Iterable[str] = (), indexed: bool = True) -> Iterator[Leaf]:
    """The values within a JSON value with their paths, texts plain; an empty object or list is one, too.

    ``indexed``: whether the entries of a list have their numbers in the path, so that their order counts.
    """
    open_: list[tuple[str, Any, int]] = [("", value, 0)]
    while open_:
        path, found, depth = open_.pop()
        if depth == DEEPEST:
            yield path, ("deep", object())
        elif isinstance(found, dict) and found:
            open_ += [(f"{path}.{key}", item, depth + 1) for key, item in found.items()]
        elif isinstance(found, list) and found:
            places = enumerate(found) if indexed else (("", item) for item in found)
            open_ += [(f"{path}[{place}]", item, depth + 1) for place, item in places]
        else:
            yield path, (_kind(found), "" if isinstance(found, dict | list) else plain(found, ignored))


def _kind(value: Any) -> str:
    """JSON's name for what a value is: in Python, true is 1."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def key_of(value: Any, ignored: Iterable[str] = ()) -> frozenset[Leaf]:
    """What two JSON values have in common if, and only if, they are equal but for the spelling of texts."""
    return frozenset(leaves(value, ignored))


@metric(settings=("fields", "ignore_words"), expects=(FIELDS,))
def fields_right(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers whose expected fields are all right, with nothing invented within them.

    Fields: those that the setting ``fields`` names, else all that a case expects. Texts are compared without
    case, quotes and marks, and without a first word of the setting ``ignore_words``, such as articles.

    Empty, broken, refused: wrong.
    """
    reader = evidence.task.reader
    wanted = wanted_fields(case, criterion.settings, reader.fields)
    if not wanted:
        return None
    right, given = _flat(wanted), _flat(_given(reader, generation, wanted))
    ignored = frozenset(criterion.settings.get("ignore_words", ()))
    differing = sorted(
        key for key in right.keys() | given.keys() if not same(right.get(key), given.get(key), ignored)
    )
    reason = ", ".join(
        f"{key}: {shown(given.get(key))} where {right.get(key)!r} is right" for key in differing[:20]
    )
    return scored(case, generation, not differing, reason, json.dumps(right, ensure_ascii=False))


@metric(settings=("fields", "ignore_words"), expects=(FIELDS,))
def critical_fields(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers in which everything is right that the case expects; what else is there is not judged.

    Fields: those that the setting ``fields`` names, else all that a case expects. Unlike fields_right, what
    an answer adds within a field is ignored. Texts are compared without case, quotes and marks, and without
    a first word of the setting ``ignore_words``.

    Empty, broken, refused: wrong.
    """
    reader = evidence.task.reader
    wanted = wanted_fields(case, criterion.settings, reader.fields)
    if not wanted:
        return None
    ignored = frozenset(criterion.settings.get("ignore_words", ()))
    given = _given(reader, generation, wanted)
    wrong = [name for name, value in wanted.items() if not _holds(value, given.get(name), ignored)]
    reason = ", ".join(f"{name}: {shown(given.get(name))} where {wanted[name]!r} is right" for name in wrong)
    return scored(case, generation, not wrong, reason, json.dumps(wanted, ensure_ascii=False))


@metric(
    unit="F1",
    estimator=per_token(0.0, 1.0),
    settings=("fields", "ignore_words", "miss_below"),
    expects=(FIELDS,),
    hard=False,
)
def field_f1(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """F1 of the values within the expected fields, counted over all cases (micro average).

    2 * right / (expected + given) values. A value is right if it stands at the expected path; the entries of
    a list may stand in any order. Fields: those that the setting ``fields`` names, else all that a case
    expects. Texts are compared without case, quotes and marks, and without a first word of ``ignore_words``.
    An answer below ``miss_below`` (1) is listed as a miss.

    Empty, broken, refused: 0.
    Source: sklearn.metrics.f1_score(average="micro") over paths and values.
    """
    reader = evidence.task.reader
    wanted = wanted_fields(case, criterion.settings, reader.fields)
    if not wanted:
        return None
    ignored = frozenset(criterion.settings.get("ignore_words", ()))
    right = Counter(leaves(wanted, ignored, indexed=False))
    answer = _given(reader, generation, wanted)
    given = Counter(leaves(answer, ignored, indexed=False)) if answer else Counter()
    total = right.total() + given.total()
    value = 2 * (right & given).total() / total
    reason = f"lacks {_told(right - given)}; has {_told(given - right)} instead"
    floor = float(criterion.settings.get("miss_below", 1.0))
    score = scored(case, generation, value, reason, json.dumps(wanted, ensure_ascii=False), full=floor)
    return Score(**{**vars(score), "weight": float(total)})


@metric()
def key_match(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Share of answers with every key that the task's schema requires, and none that it does not name.

    Of objects within the answer, too. Without a schema, the keys are those of the task's fields. Values are
    not judged.

    Empty, broken, refused: wrong.

    Raises:
        NotEvaluated: the task has neither a schema nor fields.
    """
    reader = evidence.task.reader
    if not isinstance(reader.schema, dict) and not reader.fields:
        raise NotEvaluated("the task has neither a schema nor fields, so no key is right or wrong")
    given = reader.meant(generation.text)
    if given is None:
        return scored(case, generation, False, "there is no JSON object", "a JSON object")
    if isinstance(reader.schema, dict):
        missing, invented = _keys(reader, given)
    else:
        heads = {re.split(r"[.\[]", path)[0] for path in reader.fields.values()}
        missing = [path for path in reader.fields if reader.field(generation.text, path) is MISSING]
        invented = [key for key in given if key not in heads]
    told = [f"lacks {shown(key)}" for key in missing[:20]] + [
        f"invents {shown(key)}" for key in invented[:20]
    ]
    return scored(case, generation, not told, ", ".join(told), "the keys of the schema")


@metric(settings=("normalise",), expects={"answer": TEXT_OR_TEXTS}, optional=("answer",))
def exact_match(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Share of answers that are, as a whole, what the case's ``answer`` accepts, or else its reference.

    The setting ``normalise`` is ``none`` (the default: as it stands, but for white space around it) or
    ``plain``: without case, quotes and marks; JSON by its values, however it is laid out.

    Empty, broken, refused: wrong.
    """
    named = case.expect.get("answer", case.question.reference)
    if named is None:
        return None
    wanted = [named] if isinstance(named, str) else list(named)
    form = criterion.settings.get("normalise", "none")
    if form not in ("none", "plain"):
        raise NotEvaluated(f"the setting normalise is {form!r}; it may be 'none' or 'plain'")
    given = _formed(generation.text, form)
    hit = bool(generation.text.strip()) and any(given == _formed(text, form) for text in wanted)
    return scored(case, generation, hit, "another answer", " or ".join(wanted))


def _formed(text: str, form: str) -> Any:
    if form == "none":
        return text.strip()
    value, problem = parse_strict(text)
    return plain(text) if problem or not isinstance(value, dict | list) else key_of(value)


def _given(reader: Reader, generation: Generation, names: Iterable[str]) -> dict[str, Any]:
    """The answer's values of these fields, without those that it lacks."""
    found = {name: reader.field(generation.text, name) for name in names}
    return {name: value for name, value in found.items() if value is not MISSING}


def _holds(wanted: Any, given: Any, ignored: Iterable[str]) -> bool:
    """Whether ``given`` has all of ``wanted``: of an object its keys, of a list its first entries."""
    if isinstance(wanted, dict):
        return isinstance(given, dict) and all(
            key in given and _holds(value, given[key], ignored) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(given, list)
            and len(given) >= len(wanted)
            and all(_holds(value, item, ignored) for value, item in zip(wanted, given, strict=False))
        )
    return same(wanted, given, ignored)


def _keys(reader: Reader, value: Any) -> tuple[list[str], list[str]]:
    """Paths of keys that a schema requires and ``value`` lacks, and of those that it has and no schema names.

    Read are ``properties``, ``required``, ``items`` and local references; of an object whose schema has no
    ``properties``, such as one of several that ``anyOf`` allows, no key is wrong.
    """
    missing: list[str] = []
    invented: list[str] = []
    open_ = [("", reader.schema, value, 0)]
    while open_:
        path, schema, found, depth = open_.pop()
        schema = reader.dereferenced(schema)
        if not isinstance(schema, dict) or depth > DEEPEST:
            continue
        if isinstance(found, list):
            items = schema.get("items")
            open_ += (
                [(f"{path}[{n}]", items, item, depth + 1) for n, item in enumerate(found)] if items else []
            )
        elif isinstance(found, dict) and isinstance(schema.get("properties"), dict):
            known = schema["properties"]
            missing += [f"{path}.{key}".lstrip(".") for key in schema.get("required", ()) if key not in found]
            invented += [f"{path}.{key}".lstrip(".") for key in found if key not in known]
            open_ += [(f"{path}.{key}", known[key], found[key], depth + 1) for key in found if key in known]
    return missing, invented


def _told(values: Counter[Leaf]) -> str:
    told = [f"{path.lstrip('.')} {shown(value[-1])}" for path, value in [*values][:5]]
    return ", ".join(told) or "nothing"


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by name, one level down: those of an object stand for themselves."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= value
        else:
            flat[name] = value
    return flat

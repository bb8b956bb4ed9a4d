"""Reads a model's answer as the task's ``[answer]`` describes it: JSON, a label, free text or tool calls.

Strictly, as its caller does, where the contract is judged; leniently, such as from within a code fence, where
the question is what was meant. A label that stands in no field may be read from the words of the answer, by
patterns of the task, so that a base model that answers in prose is judged fairly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from seatrial.training.configuration import Config
from seatrial.training.errors import SeatrialError

OPENED = re.compile(r'\{\s*(?:\}|"(?:[^"\\]|\\.)*+"\s*:)', re.DOTALL)  # { and a first key, or {}
MOST_BROKEN = 50  # objects that are opened and are none, before the rest of an answer is given up
PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")  # of a path: a key, or an index in brackets
WHOLE = "answer"  # the field of JSON without named ones: all of it
WORDS = "words"  # where a label was read that stands in no field
OF_VALUES = ("type", "enum", "const", "pattern", "minimum", "maximum")  # what a schema says of one value
MISSING = object()  # what a path finds where there is nothing; null is a value


class Answer(Config):
    """What every answer must look like, and where in it things are found."""

    form: Literal["json", "label", "text", "tool_calls"] | None = Field(default=None, alias="type")
    """By default what the other keys speak for: `tools`, `schema` or `values`, `labels`, else text."""
    schema_file: Path | None = Field(default=None, alias="schema")
    """File with the JSON schema (draft 2020-12) that every answer of type `json` fulfils."""
    values: Mapping[str, tuple[str, ...]] = {}
    """In place of a schema: the fields of a flat JSON object, each with the texts that it may hold."""
    label: str = "label"
    """The field whose value says which kind of answer it is: cases are grouped by it."""
    labels: tuple[str, ...] = ()
    """The values that the label may have; by default those that the schema lists for it."""
    otherwise: str = ""
    """The label of an answer that names none; empty: it is never right."""
    text: str = ""
    """The field that a person reads; empty: the whole answer."""
    fields: Mapping[str, str] = {}
    """Paths of fields by name, such as `city = "address.city"`; by default the properties of the schema."""
    words: Mapping[str, str] = {}
    """Regular expressions by label: the earliest match in an answer without the field says its label."""
    tools: Path | None = None
    """File with the catalogue of tools: a JSON list of definitions as OpenAI's API takes them."""

    @field_validator("words")
    @classmethod
    def _patterns(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for label, pattern in value.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"the pattern of {label!r} is no regular expression: {error}") from None
        return value

    @field_validator("fields")
    @classmethod
    def _paths(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name, path in value.items():
            if not path or "".join(match[0] for match in PART.finditer(path)) != path.replace(".", ""):
                raise ValueError(f"{name!r} has the path {path!r}; a path is like a.b[0].c")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Answer:
        if self.type == "tool_calls" and self.tools is None:
            raise ValueError('type "tool_calls" needs tools = "tools.json", the catalogue of tools')
        if self.type == "label" and not self.labels:
            raise ValueError('type "label" needs labels = ["...", "..."]')
        if self.values and self.schema_file:
            raise ValueError("'values' stands in place of a schema: give one of both")
        if self.type != "json" and (self.values or self.schema_file):
            raise ValueError(f'type "{self.type}" has no schema: take it out, or the type')
        return self

    @property
    def type(self) -> str:
        """The form that is said, or the one that the other keys speak for."""
        if self.form is not None:
            return self.form
        if self.tools is not None:
            return "tool_calls"
        if self.schema_file is not None or self.values:
            return "json"
        return "label" if self.labels else "text"


@dataclass(frozen=True)
class Call:
    """One call of a tool; ``arguments`` is None where they are no JSON object."""

    name: str
    arguments: Mapping[str, Any] | None


class Reader:
    """Reads answers by an ``[answer]`` table whose files lie below ``folder``.

    Raises:
        SeatrialError: from whatever needs them, if schema or tools cannot be read.
    """

    def __init__(self, spec: Answer, folder: Path) -> None:
        self.spec, self.folder = spec, folder

    @property
    def main(self) -> str:
        """The field by whose value cases are grouped."""
        return self.spec.label

    @cached_property
    def schema(self) -> Any:
        """The JSON schema; None where the task has none."""
        if self.spec.schema_file is not None:
            return self._json(self.spec.schema_file)
        return _flat_schema(self.spec.values) if self.spec.values else None

    @cached_property
    def validator(self) -> Any:
        from jsonschema import Draft202012Validator, SchemaError

        try:
            Draft202012Validator.check_schema(self.schema)
        except SchemaError as error:
            where = self.folder / (self.spec.schema_file or "task.toml")
            raise SeatrialError(f"no JSON schema: {error.json_path}: {error.message}", where=where) from None
        return Draft202012Validator(self.schema)

    @property
    def catalogue(self) -> list[Any]:
        """The definitions of the tools as they are written; empty where the task has none."""
        if self.spec.tools is None:
            return []
        found = self._json(self.spec.tools)
        return found if isinstance(found, list) else []

    @cached_property
    def tools(self) -> Mapping[str, Any]:
        """The JSON schema of each tool's arguments, by its name."""
        if self.spec.tools is None:
            return {}
        where = self.folder / self.spec.tools
        catalogue = self._json(self.spec.tools)
        hint = 'a list of {"type": "function", "function": {"name": ..., "parameters": {...}}}'
        if not isinstance(catalogue, list) or not catalogue:
            raise SeatrialError("is no catalogue of tools", where=where, hint=hint)
        found = {}
        for number, entry in enumerate(catalogue, 1):
            tool = entry.get("function", entry) if isinstance(entry, dict) else None
            if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
                raise SeatrialError(f"tool {number} has no name", where=where, hint=hint)
            found[tool["name"]] = tool.get("parameters") or {"type": "object"}
        return found

    @cached_property
    def fields(self) -> Mapping[str, str]:
        """Paths of the answer's fields by their names."""
        if self.spec.fields or self.spec.type != "json":
            return self.spec.fields or ({self.main: ""} if self.spec.type == "label" else {})
        properties = self.schema.get("properties", {}) if isinstance(self.schema, dict) else {}
        named = {name: name for name in properties if isinstance(properties, dict)}
        return named or ({WHOLE: ""} if self.schema is not None else {})

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The values that the main field may have; empty where any text may stand there."""
        return self.spec.labels or self.allowed(self.main)

    def allowed(self, field: str) -> tuple[str, ...]:
        """The texts that the schema lists for a field; empty where it lists none."""
        if field == self.main and self.spec.labels:
            return self.spec.labels
        schema = self._schema_at(self.fields.get(field, ""))
        values = schema.get("enum", []) if isinstance(schema, dict) else []
        return tuple(value for value in values if isinstance(value, str))

    def impossible(self, field: str, value: Any) -> str:
        """Why no answer that fulfils the schema has ``value`` in a field; "" where one may. What a value
        lacks is no reason: a case may expect a part of an object."""
        from jsonschema import Draft202012Validator

        schema = self._schema_at(self.fields.get(field, "")) if self.schema is not None else None
        if not isinstance(schema, dict):
            return ""
        whole = Draft202012Validator({**schema, "$defs": self.schema.get("$defs", {})})
        errors = (error for error in whole.iter_errors(value) if error.validator in OF_VALUES)
        return next((f"{error.json_path}: {error.message}" for error in errors), "")

    def whole(self, expect: Mapping[str, Any]) -> str | None:
        """The answer that an expectation makes up, if it is one that fulfils the contract; else None.

        A case that says all that is right needs no reference beside it.
        """
        kind = self.spec.type
        if kind == "tool_calls":
            value = expect.get("calls")
        elif kind == "json":
            value = {name: expect[name] for name in self.fields if name in expect} or None
            value = expect.get(WHOLE) if self.fields.get(WHOLE) == "" else value
        else:
            value = expect.get(self.main if kind == "label" else "answer")
            value = value[0] if isinstance(value, list) and value else value
        if value is None:
            return None
        text = value if isinstance(value, str) and kind in ("label", "text") else compact(value)
        return None if self.problem(text) else text

    def parsed(self, text: str) -> tuple[Any, str]:
        """The answer as its caller reads it, and "" or why it cannot be read."""
        if self.spec.type in ("json", "tool_calls"):
            return parse_strict(text)
        return text, "" if text.strip() else "the answer is empty"

    def problem(self, text: str) -> str:
        """Why an answer does not fulfil the contract; "" where it does."""
        try:
            return self._problem(text)
        except RecursionError:  # messages quote what is wrong, however deep it is
            return "nested too deeply"

    def _problem(self, text: str) -> str:
        value, problem = self.parsed(text)
        if problem:
            return problem
        if self.spec.type == "label":
            return "" if text.strip() in self.labels else f"{text.strip()!r:.80} is none of the labels"
        if self.spec.type == "tool_calls":
            calls = calls_in(value)
            if calls is None:
                return 'no list of calls: [{"name": ..., "arguments": {...}}]'
            return self.problem_of(calls)
        if self.spec.type == "json" and self.schema is not None:
            error = next(iter(self.validator.iter_errors(value)), None)
            return f"{error.json_path}: {error.message}" if error else ""
        return ""

    def field(self, text: str, name: str) -> Any:
        """The value of a field in what was meant; :data:`MISSING` where it has none."""
        if self.spec.type == "label":
            return text.strip() if name == self.main and text.strip() else MISSING
        return at_path(self.meant(text), self.fields.get(name, name))

    def label(self, text: str) -> tuple[str, str]:
        """The label of an answer, in the task's spelling, and where it was read: its field, or its words."""
        value = self.field(text, self.main)
        if isinstance(value, str) and not (self.spec.type == "label" and self.spec.words):
            return self._spelled(value), self.main  # an unknown label is right for no case
        if isinstance(value, str) and self._spelled(value) in self.labels:
            return self._spelled(value), self.main
        words = self.prose(text).lower()
        places = {
            label: match.start() for label, pattern in self._words.items() if (match := pattern.search(words))
        }
        return (min(places, key=lambda name: places[name]) if places else self.spec.otherwise), WORDS

    def prose(self, text: str) -> str:
        """What a person reads of an answer: its text field, or else all of it."""
        found = (
            at_path(self.meant(text), self.fields.get(self.spec.text, self.spec.text))
            if self.spec.text
            else None
        )
        return found if isinstance(found, str) else text

    def strict_prose(self, text: str) -> str:
        """What a person reads of an answer that its caller can read: nothing of an object without it."""
        value, problem = self.parsed(text)
        if problem or not isinstance(value, dict) or not self.spec.text:
            return text
        found = at_path(value, self.fields.get(self.spec.text, self.spec.text))
        return found if isinstance(found, str) else ""

    def meant(self, text: str) -> Any:
        """The first JSON object within an answer, or None; by a schema without fields, the value."""
        if self.spec.type == "json" and WHOLE in self.fields and not self.fields[WHOLE]:
            return parse_strict(text)[0]
        return find_object(text)

    def calls(self, text: str) -> list[Call] | None:
        """The tool calls of an answer in the forms in which models write them; None where it cannot be read.

        A JSON list of ``{"name", "arguments"}``, one such object, OpenAI's ``tool_calls``, and the tags of
        Hermes and Qwen (``<tool_call>``). An answer of words alone calls nothing.
        """
        return read_calls(text)

    def problem_of(self, calls: Sequence[Call]) -> str:
        """Why one of these calls cannot be made: of no known tool, or with arguments that its schema forbids;
        "" where all can."""
        from jsonschema import Draft202012Validator

        for call in calls:
            if call.name not in self.tools:
                return f"calls {call.name!r:.80}, which is no tool of the catalogue"
            if call.arguments is None:
                return f"the arguments of {call.name!r} are no JSON object"
            try:
                error = next(Draft202012Validator(self.tools[call.name]).iter_errors(call.arguments), None)
                if error:
                    return f"{call.name}: {error.json_path}: {error.message}"
            except RecursionError:
                return f"the arguments of {call.name!r} are nested too deeply"
        return ""

    def dereferenced(self, schema: Any) -> Any:
        """A part of the schema, or what its local ``$ref`` points to."""
        return _dereferenced(schema, self.schema)

    def _spelled(self, value: str) -> str:
        known = {label.casefold(): label for label in self.labels}
        return known.get(value.strip().casefold(), value.strip())

    @cached_property
    def _words(self) -> Mapping[str, re.Pattern[str]]:
        return {
            label: re.compile(rf"\b({pattern})\b")
            for label, pattern in self.spec.words.items()
            if not self.labels or label in self.labels
        }

    def _schema_at(self, path: str) -> Any:
        """The part of the schema that describes what lies at ``path``."""
        schema = self.schema
        for key, index in PART.findall(path):
            schema = _dereferenced(schema, self.schema)
            if not isinstance(schema, dict):
                return None
            schema = schema.get("items") if index else schema.get("properties", {}).get(key)
        return _dereferenced(schema, self.schema) if path else None

    def _json(self, path: Path) -> Any:
        where = (self.folder / path).resolve()
        try:
            return json.loads(where.read_text(encoding="utf-8"))
        except OSError as error:
            raise SeatrialError(f"cannot be read: {error.strerror}", where=where) from None
        except ValueError as error:
            raise SeatrialError(f"not valid JSON: {error}", where=where) from None


def _flat_schema(values: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The schema of an object that has each of these fields, with one of its values, and no other."""
    return {
        "type": "object",
        "required": list(values),
        "additionalProperties": False,
        "properties": {name: {"enum": list(allowed)} for name, allowed in values.items()},
    }


def at_path(value: Any, path: str) -> Any:
    """What lies at ``path`` (``a.b[0].c``) within a JSON value; :data:`MISSING` where nothing does."""
    for key, index in PART.findall(path):
        if index and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        elif key and isinstance(value, dict) and key in value:
            value = value[key]
        else:
            return MISSING
    return MISSING if value is None and not path else value


def parse_strict(text: str) -> tuple[Any, str]:
    """The JSON value that ``text`` is, and "" or why it is none. Nothing may stand around it."""
    try:
        return json.loads(text, parse_constant=_refuse), ""
    except RecursionError:
        return None, "nested too deeply"
    except ValueError as error:
        return None, f"not JSON: {error}" if text.strip() else "the answer is empty"


def find_object(text: str) -> dict[str, Any] | None:
    """The first JSON object in ``text``, for instance within a code fence, or None.

    An object that is opened and not closed may have been read to its end in vain, so an answer that opens
    more than ``MOST_BROKEN`` of them has no object: its cost is that of reading it.
    """
    decoder = json.JSONDecoder()
    for match in islice(OPENED.finditer(text), MOST_BROKEN):
        try:
            value, _ = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None


def read_calls(text: str) -> list[Call] | None:
    """The calls that an answer makes, leniently; [] where it is words alone, None where a call is broken."""
    value, problem = parse_strict(text)
    if not problem:
        return calls_in(value)
    tagged = re.findall(r"<tool_call>(.*?)(?:</tool_call>|\Z)", text[:LONGEST], re.DOTALL)
    if tagged:
        values = [parse_strict(part.strip()) for part in tagged]
        return None if any(problem for _, problem in values) else calls_in([value for value, _ in values])
    fenced = re.search(r"```(?:json)?(.*?)```", text[:LONGEST], re.DOTALL)
    if fenced:
        return calls_in(parse_strict(fenced[1].strip())[0])
    found = find_object(text)
    return calls_in(found) if found is not None else None if text.lstrip()[:1] in ("[", "{") else []


LONGEST = 100_000  # characters in which calls are sought where an answer is not JSON


def calls_in(value: Any) -> list[Call] | None:
    """The calls of a JSON value; None where it is no list of calls."""
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    entries = value if isinstance(value, list) else [value]
    calls = [_call(entry) for entry in entries]
    return None if any(call is None for call in calls) else [call for call in calls if call]


def _call(entry: Any) -> Call | None:
    if isinstance(entry, dict) and isinstance(entry.get("function"), dict):
        entry = entry["function"]
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return None
    arguments = entry.get("arguments", entry.get("parameters", {}))
    if isinstance(arguments, str):  # OpenAI's API spells them as JSON text
        arguments = parse_strict(arguments)[0]
    return Call(entry["name"], arguments if isinstance(arguments, dict) else None)


def _dereferenced(schema: Any, root: Any) -> Any:
    """A schema, or what its local ``$ref`` points to."""
    reference = schema.get("$ref") if isinstance(schema, dict) else None
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return schema
    found = root
    for part in reference[2:].split("/"):
        found = found.get(part, {}) if isinstance(found, dict) else {}
    return found


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values within a JSON value with their paths; an empty object or list is a value, too."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from leaves(item, f"{path}[{number}]")
    else:
        yield path, value


def compact(value: Any) -> str:
    """JSON as models are best taught to write it: on one line, without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")

"""A contract as a grammar: what a runtime lets a model write, so that its answers cannot break the contract.

llama.cpp's own converter makes GBNF of a JSON schema. It passes over in silence what it does not know, and of
some schemas it makes a grammar of something else; so a schema is checked before, and refused with what it is
that cannot be said. What is taken is narrower than the schema in three ways: fields come in the order of the
schema, an object has no fields but those that the schema tells, and text has no ``\\u`` escapes (it may hold
the characters themselves). Leaves out: ``oneOf``, ``allOf``, ``not``, bounds of numbers, most of regular
expressions. What stands here was tried with llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from seatrial.training.errors import SeatrialError

# They say nothing about an answer; formats do not either, unless a validator is told to check them.
NOTES = {
    *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples"),
    *("deprecated", "readOnly", "writeOnly", "format"),
}
PLAIN = {"boolean", "integer", "null", "number"}
ANY = ["object", "array", "string", "number", "boolean", "null"]
FORMATS = {"date", "time", "date-time", "uuid"}  # those that the converter knows
# Instead of the converter's, which allows raw control characters (no JSON) and counts a \\u pair as two.
CHARACTER = r'char ::= [^"\\\x7F\x00-\x1F] | "\\" ["\\/bfnrt]'
UNSAYABLE = re.compile(r'["\\\x00-\x1f\x7f]|[^\x00-\uffff]|[\ud800-\udfff]')
# One unit of a regular expression that means in GBNF what it means to a validator: a character, an escaped
# sign, a class of plain characters, or the end of a group; each with a count.
UNIT = re.compile(
    r"(?:[A-Za-z0-9 _,:;@#%&=<>~/!'-]|\[[A-Za-z0-9 _,:;@#%&=<>~/!'.()+*?|-]+\]|\))"
    r"(?:[*+?]|\{\d+(?:,\d*)?\})?"
    r"|\\[\[\](){}|*+?](?![*+?{])"  # llama.cpp repeats what stands before an escaped sign, too
)
GBNF = "https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md shows what it takes"
Place = str  # where in the schema, as a path of JSON


def grammar_of(schema: Any) -> str:
    """The GBNF text whose root is what fulfils ``schema`` (a JSON schema, draft 2020-12).

    Source: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md, section on JSON schemas.

    Raises:
        SeatrialError: llama.cpp cannot take this schema; it says which part, and why.
    """
    from jsonschema import Draft202012Validator, SchemaError
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise _refused(schema, f"it is no JSON schema: {error.json_path}: {error.message}"[:300]) from None
    for place, problem in _problems(schema, "$", schema):
        raise _refused(schema, f"{place}: {problem}")
    try:
        text = json_schema_to_gbnf(json.dumps(_prepared(schema)))
    except (AssertionError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise _refused(schema, f"its converter says: {error}"[:300]) from None
    text = re.sub(r"^char ::= .*$", lambda _: CHARACTER, text, flags=re.MULTILINE)
    if said := _unread(text):
        raise _refused(schema, said)
    return text


def readable(text: str) -> str:
    """GBNF of somebody's own as it is; raises :class:`SeatrialError` if llama.cpp cannot read it."""
    if said := _unread(text):
        raise SeatrialError(f"llama.cpp cannot read this grammar: {said}", hint=GBNF)
    return text


def _refused(schema: Any, why: str) -> SeatrialError:
    name = schema.get("title") or schema.get("$id") if isinstance(schema, Mapping) else None
    shown = repr(str(name)) if name else f"{json.dumps(schema)[:100]}"
    return SeatrialError(
        f"llama.cpp cannot take the schema {shown} as a grammar: {why}",
        hint="take that out of the schema, or let the model answer without a grammar",
    )


def _problems(schema: Any, place: Place, whole: Any) -> Iterator[tuple[Place, str]]:
    """What the converter would pass over, or take for something else, with its place in the schema."""
    if not isinstance(schema, Mapping):
        yield place, f"{json.dumps(schema)} stands for a schema"
        return
    for name, part in {**schema.get("$defs", {}), **schema.get("definitions", {})}.items():
        yield from _problems(part, f"{place}.$defs.{name}", whole)
    told = {key: value for key, value in schema.items() if key not in NOTES}
    if "const" in told or "enum" in told:
        yield from _of_values(schema, place, whole)
        return
    known, parts = _understood(told)
    for key in sorted(set(told) - known):
        yield place, f"{key!r} is not understood here"
    if "$ref" in told and (problem := _of_reference(told["$ref"], whole)):
        yield place, f"{told['$ref']!r} {problem}"
    if told.get("type") == "object" or "properties" in told:
        yield from _of_fields(told, place)
    if "pattern" in told and (problem := _of_pattern(str(told["pattern"]))):
        yield place, f"the pattern {told['pattern']!r} {problem}"
    for name, part in parts.items():
        yield from _problems(part, f"{place}.{name}", whole)


def _understood(told: Mapping[str, Any]) -> tuple[set[str], dict[str, Any]]:
    """The keys that are understood together in a schema, and the schemas within it by their names."""
    kind = told.get("type", "object" if "properties" in told else "array" if "items" in told else None)
    if "$ref" in told:
        return {"$ref"}, {}
    if "anyOf" in told:
        return {"anyOf"}, {f"anyOf[{number}]": part for number, part in enumerate(told["anyOf"])}
    if isinstance(kind, list) or kind in PLAIN:
        return {"type"}, {}
    if kind == "string":
        lengths = set() if "pattern" in told else {"minLength", "maxLength"}
        return {"type", "pattern", *lengths}, {}
    if kind == "array" and "prefixItems" in told:
        closed = {"items"} if told.get("items") is False else set()
        return {"type", "prefixItems", *closed}, {
            f"prefixItems[{number}]": part for number, part in enumerate(told["prefixItems"])
        }
    if kind == "array":
        bounds = {"minItems", "maxItems"} if "items" in told else set()
        return {"type", "items", *bounds}, {"items": told["items"]} if "items" in told else {}
    if kind == "object":
        parts = {f"properties.{name}": part for name, part in told.get("properties", {}).items()}
        if isinstance(told.get("additionalProperties"), Mapping):
            parts["additionalProperties"] = told["additionalProperties"]
        return {"type", "properties", "required", "additionalProperties"}, parts
    return set(), {}


def _of_values(schema: Mapping[str, Any], place: Place, whole: Any) -> Iterator[tuple[Place, str]]:
    """Of ``const`` and ``enum``: each value is written as it is, so it must fulfil what stands beside it."""
    from jsonschema import Draft202012Validator

    values = [schema["const"]] if "const" in schema else schema["enum"]
    definitions = whole.get("$defs", {}) if isinstance(whole, Mapping) else {}
    fulfils = Draft202012Validator({**schema, "$defs": definitions}).is_valid
    if not values:
        yield place, "no value is allowed"
    for value in values:
        if any(UNSAYABLE.search(text) for text in _texts(value)):
            yield place, f"{value!r} has a character that a grammar's literal cannot hold"
        if not fulfils(value):
            yield place, f"{value!r} does not fulfil what stands beside it"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (key, *_texts(item))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _of_fields(told: Mapping[str, Any], place: Place) -> Iterator[tuple[Place, str]]:
    fields = told.get("properties", {})
    for name in fields:
        if UNSAYABLE.search(name):
            yield place, f"the field {name!r} has a character that a grammar's literal cannot hold"
    if missing := sorted(set(told.get("required", ())) - set(fields)):
        yield place, f"the field {missing[0]!r} is required and not described"
    if fields and isinstance(told.get("additionalProperties"), Mapping):
        yield place, "'additionalProperties' beside fields: a further one could have the name of a field"


def _of_pattern(pattern: str) -> str:
    """Why a regular expression would mean something else in a grammar; "" if it would not."""
    if not (pattern.startswith("^") and pattern.endswith("$") and len(pattern) > 2):
        return "is not of the form ^...$"
    at, depth, end = 1, 0, len(pattern) - 1
    while at < end:
        sign = pattern[at]
        unit = UNIT.match(pattern, at, end)
        if sign == "(":
            depth, at = depth + 1, at + 1
        elif sign == "|" and depth:
            at += 1
        elif sign == "|":
            return "has alternatives outside of brackets"
        elif unit is None:
            return f"has {pattern[at:]!r}, which a grammar cannot say"
        else:
            depth, at = depth - (sign == ")"), unit.end()
    return "" if depth == 0 else "has brackets that do not match"


def _of_reference(reference: str, whole: Any) -> str:
    """Why a ``$ref`` leads to no schema; "" if it leads to one."""
    seen: set[str] = set()
    while reference not in seen:
        seen.add(reference)
        found = _target(reference, whole)
        if found is None:
            return "leads to no schema within this one"
        if "$ref" not in found:
            return ""
        reference = found["$ref"]
    return "leads back to itself"


def _target(reference: Any, whole: Any) -> Any:
    """The schema that a local ``$ref`` names; None where there is none."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found = whole
    for part in reference[2:].split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _prepared(schema: Mapping[str, Any]) -> Any:
    """The schema as the converter takes it for what it is: definitions have names that nothing else has,
    because it mistakes a field's rule for that of a definition with the same name, and what is behind a
    ``$ref`` at the root stands there itself, because it would not look at the definitions then.
    """
    prefix = "shared"
    while prefix in json.dumps(schema):
        prefix += "x"
    names: dict[str, str] = {}

    def prepared(part: Any) -> Any:
        if not isinstance(part, Mapping):
            return [prepared(item) for item in part] if isinstance(part, list) else part
        if "const" in part or "enum" in part:
            return {"enum": [part["const"]] if "const" in part else part["enum"]}
        if "$ref" in part:
            return {"$ref": f"#/$defs/{names.setdefault(part['$ref'], f'{prefix}{len(names)}')}"}
        kept = {key: value for key, value in part.items() if key not in NOTES}
        if not kept:
            return {"type": ANY}
        if fields := kept.pop("properties", {}):
            fields = {"properties": {name: prepared(value) for name, value in fields.items()}}
            if kept.get("additionalProperties") is True:
                del kept["additionalProperties"]
        if part.get("format") in FORMATS and set(kept) <= {"type"}:
            kept["format"] = part["format"]
        as_they_are = {key: value for key, value in kept.items() if key in ("type", "required")}
        return {**fields, **{key: prepared(value) for key, value in kept.items()}, **as_they_are}

    root: Any = schema
    while "$ref" in root and "enum" not in root and "const" not in root:
        root = _target(root["$ref"], schema)
    done, definitions = prepared(root), dict[str, Any]()
    while waiting := [reference for reference in names if names[reference] not in definitions]:
        for reference in waiting:
            definitions[names[reference]] = prepared(_target(reference, schema))
    return {**done, "$defs": definitions} if definitions else done


def _unread(text: str) -> str:
    """What llama.cpp says of a grammar that it cannot read, such as too many repetitions; "" if it can."""
    import llama_cpp as lib

    with tempfile.TemporaryFile() as said:
        before = os.dup(2)
        os.dup2(said.fileno(), 2)  # it writes there directly, together with the whole grammar
        try:
            sampler = lib.llama_sampler_init_grammar(None, text.encode(), b"root")
        finally:
            os.dup2(before, 2)
            os.close(before)
        if sampler:
            lib.llama_sampler_free(sampler)
            return ""
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").splitlines()
    return next((line[:300] for line in lines if line.strip()), "it cannot read the grammar")

"""Grammars: a contract that a model cannot break while it writes, and those that cannot be said.

python -m pytest tests/test_grammar.py
"""

import json
import re
import string

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from seatrial.evals.models import EOS, LENGTH, Question
from seatrial.evals.models.grammar import grammar_of
from seatrial.evals.models.llama_cpp import LlamaCppModel
from seatrial.training.errors import SeatrialError
from tests.conftest import MINIATURE
from tests.tiny import tiny_gguf

QUESTIONS = [
    Question(text, ({"role": "user", "content": text},)) for text in ("on", "off", "dim it", "", "hi")
]
LAMP = json.loads((MINIATURE / "contract.schema.json").read_text(encoding="utf-8"))
SHORT = {"type": "string", "minLength": 2, "maxLength": 6}
NODE = {
    "type": "object",
    "properties": {"id": {"type": "boolean"}, "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/a_b"}]}},
    "required": ["id", "next"],
}
# All of these are short whatever a model chooses, but for the last three.
SCHEMAS = {
    "enum": {"enum": ["on", "off", "Größe", 1, 2.5, None, True]},
    "const": {"const": {"a": ["x"], "b": 1}},
    "enum-beside-type": {"type": "string", "maxLength": 3, "enum": ["on", "off"]},
    "lengths": SHORT,
    "array": {"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 3},
    "tuple": {"type": "array", "prefixItems": [{"type": "boolean"}, SHORT], "items": False},
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}(a|bc)-[0-9]{1,3}\\?$"},
    "date": {"type": "string", "format": "date"},
    "numbers": {"type": "array", "items": {"type": ["integer", "null"]}, "maxItems": 2},
    "optional": {
        "type": "object",
        "properties": {"type": {"enum": ["x", "y"]}, "enum": SHORT, "char": {"type": "null"}},
        "required": ["enum"],
        "additionalProperties": False,
    },
    "open": {"type": "object", "properties": {"a": SHORT}, "required": ["a"], "additionalProperties": True},
    "same-names": {
        "type": "object",
        "properties": {"word": {"$ref": "#/$defs/flag"}, "flag": {"$ref": "#/$defs/word"}},
        "required": ["word", "flag"],
        "$defs": {"flag": {"type": "boolean"}, "word": SHORT},
    },
    "recursive": {"$ref": "#/$defs/a_b", "$defs": {"a_b": NODE}},
    "anything": {"description": "whatever it is"},
    "miniature": LAMP,
}
ALWAYS_END = [name for name in SCHEMAS if name not in ("recursive", "anything", "miniature")]


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    return tiny_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


def model(gguf, grammar=None, slots=3):
    return LlamaCppModel("shipped", gguf, "digest", "Be brief.", 512, slots, grammar=grammar)


def assert_fulfils(answers, schema):
    for answer in answers:
        if answer.stop_reason == EOS:
            Draft202012Validator(schema).validate(json.loads(answer.text))


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_was_not_cut_off_fulfils_the_schema(name, gguf, tmp_path):
    schema, constrained = SCHEMAS[name], model(gguf, grammar_of(SCHEMAS[name]))
    greedy = constrained.generate(QUESTIONS[:3], 60, tmp_path / "log")
    drawn = constrained.sample(QUESTIONS[:2], 60, tmp_path / "log", 1.0, 2, 0)
    answers = [*greedy, *(answer for each in drawn for answer in each)]
    assert_fulfils(answers, schema)
    if name in ALWAYS_END:
        assert {answer.stop_reason for answer in answers} == {EOS}


@pytest.fixture(scope="module")
def llama(gguf):
    """The same file by llama-cpp-python's own interface, as a second opinion."""
    from llama_cpp import Llama

    return Llama(str(gguf), n_ctx=256, logits_all=True, verbose=False)


def likeliest(llama, text, steps, allowed=None):
    """What follows the question ``text``, the likeliest token each time, of those ``allowed``."""
    prompt = f"<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    tokens = llama.tokenize(prompt.encode(), add_bos=False, special=True)
    start = len(tokens)
    for _ in range(steps):
        llama.reset()
        llama.eval(tokens)
        scores = llama.scores[len(tokens) - 1]
        tokens.append(max(allowed, key=lambda token: scores[token]) if allowed else int(np.argmax(scores)))
    return llama.detokenize(tokens[start:]).decode("utf-8", "replace")


def test_without_a_grammar_the_likeliest_tokens_are_taken_as_ever(gguf, llama, tmp_path):
    answers = model(gguf).generate(QUESTIONS[:2], 6, tmp_path / "log")
    assert [answer.text for answer in answers] == [likeliest(llama, q.id, 6) for q in QUESTIONS[:2]]
    assert {answer.stop_reason for answer in answers} == {LENGTH}


def test_the_likeliest_token_that_is_allowed_is_taken(gguf, llama, tmp_path):
    letters = [llama.tokenize(letter.encode(), add_bos=False)[0] for letter in string.ascii_lowercase]
    answers = model(gguf, "root ::= [a-z]").generate(QUESTIONS, 4, tmp_path / "log")
    assert [answer.text for answer in answers] == [likeliest(llama, q.id, 1, letters) for q in QUESTIONS]


def test_answers_under_a_grammar_do_not_depend_on_slots(gguf, tmp_path):
    text = grammar_of(SCHEMAS["optional"])
    many = model(gguf, text, slots=5).generate(QUESTIONS, 40, tmp_path / "log")
    one = model(gguf, text, slots=1).generate(QUESTIONS, 40, tmp_path / "log")
    assert [answer.text for answer in many] == [answer.text for answer in one]
    assert len({answer.text for answer in many}) > 1


def test_the_identity_names_the_grammar(gguf):
    free, bound = model(gguf), model(gguf, 'root ::= "a"')
    assert "grammar" not in free.identity
    assert bound.identity == {**free.identity, "grammar": 'root ::= "a"'}


def test_a_grammar_that_cannot_be_read_is_one_clear_error(gguf, tmp_path):
    with pytest.raises(SeatrialError, match="llama.cpp cannot read this grammar"):
        model(gguf, "root ::= nothing").generate(QUESTIONS[:1], 4, tmp_path / "log")


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "integer", "minimum": 0}, "$: 'minimum' is not understood here"),
        ({"oneOf": [{"type": "null"}]}, "$: 'oneOf' is not understood here"),
        ({"allOf": [{"type": "object"}]}, "'allOf'"),
        ({"not": {}}, "'not'"),
        (
            {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}},
            "$.properties.a: 'uniqueItems'",
        ),
        ({"type": "array", "minItems": 1}, "'minItems'"),
        ({"type": "object", "minProperties": 1}, "'minProperties'"),
        ({"type": "object", "patternProperties": {"a": {}}}, "'patternProperties'"),
        ({"type": "object", "required": ["a"]}, "the field 'a' is required and not described"),
        (
            {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "null"}},
            "'additionalProperties' beside fields",
        ),
        ({"type": "object", "properties": {'a"': {}}}, "the field 'a\"' has a character"),
        ({"enum": ["a\\b"]}, "has a character that a grammar's literal cannot hold"),
        ({"enum": ["😀"]}, "has a character that a grammar's literal cannot hold"),
        ({"type": "string", "enum": ["a", 1]}, "1 does not fulfil what stands beside it"),
        ({"type": "object", "properties": {"a": True}}, "$.properties.a: true stands for a schema"),
        ({"$ref": "https://example.com/schema"}, "leads to no schema within this one"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "leads back to itself"),
        ({"type": "string", "pattern": "^.*$"}, "the pattern '^.*$' has '.*$', which a grammar cannot say"),
        ({"type": "string", "pattern": "a"}, "is not of the form ^...$"),
        ({"type": "string", "pattern": "^a|b$"}, "has alternatives outside of brackets"),
        ({"type": "string", "pattern": "^[^a]$"}, "which a grammar cannot say"),
        ({"type": "string", "pattern": "^\\d$"}, "which a grammar cannot say"),
        ({"type": "string", "pattern": "^a+?$"}, "which a grammar cannot say"),
        ({"type": "string", "pattern": "^a$", "maxLength": 1}, "'maxLength'"),
        ({"type": "string", "maxLength": 9000}, "number of rules"),
        ({"type": "frog"}, "it is no JSON schema: $.type"),
    ],
)
def test_a_schema_that_cannot_be_said_is_refused_with_what_cannot(schema, problem):
    with pytest.raises(SeatrialError) as refused:
        grammar_of(schema)
    assert problem in str(refused.value)
    assert f"cannot take the schema {json.dumps(schema)[:60]}" in str(refused.value)


def test_a_refused_schema_is_called_by_its_title():
    with pytest.raises(SeatrialError, match="cannot take the schema 'A lamp' as a grammar"):
        grammar_of({"title": "A lamp", "type": "number", "maximum": 1})


def test_nothing_is_printed_about_a_refused_schema(capfd):
    with pytest.raises(SeatrialError):
        grammar_of({"type": "string", "maxLength": 9000})
    assert capfd.readouterr() == ("", "")


# --- any schema that is taken --------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b_c", "b-c", "type", "enum", "string", "value", "space", "root", "É"])
LEAVES = st.sampled_from(
    [
        {"enum": ["x", 1]},
        {"type": "boolean"},
        {"type": "null"},
        SHORT,
        {"$ref": "#/$defs/a"},
        {"$ref": "#/$defs/b_c"},
    ]
)


def _object(fields):
    return {"type": "object", "properties": fields, "required": sorted(fields)[: len(fields) // 2 + 1]}


NESTED = st.recursive(
    LEAVES,
    lambda inner: (
        st.dictionaries(NAMES, inner, min_size=1, max_size=3).map(_object)
        | inner.map(lambda items: {"type": "array", "items": items, "maxItems": 2})
        | st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"anyOf": parts})
    ),
    max_leaves=6,
)


@given(schema=NESTED)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_taken_is_fulfilled(schema, gguf, tmp_path):
    schema = {**schema, "$defs": {"a": {"type": "integer"}, "b_c": {"enum": ["p", "q"]}}}
    assert_fulfils(model(gguf, grammar_of(schema)).generate(QUESTIONS[:3], 60, tmp_path / "log"), schema)


UNITS = st.sampled_from(["a", "Z", "7", "-", " ", "[a-c]", "[0-9_]", "(x|yz)", "(a[01]|b)", "/"])
REPEATED = st.tuples(UNITS, st.sampled_from(["", "", "?", "{2}", "{1,2}"])).map("".join)
PATTERNS = st.lists(REPEATED | st.sampled_from(["\\?", "\\("]), min_size=1, max_size=5).map(
    lambda units: f"^{''.join(units)}$"
)


def test_an_escaped_sign_that_is_repeated_is_refused():
    with pytest.raises(SeatrialError, match="which a grammar cannot say"):
        grammar_of({"type": "string", "pattern": r"^a\??$"})


@given(pattern=PATTERNS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_pattern_is_taken_is_matched(pattern, gguf, tmp_path):
    bound = model(gguf, grammar_of({"type": "string", "pattern": pattern}))
    for answer in bound.sample(QUESTIONS[:1], 40, tmp_path / "log", 2.0, 3, 0)[0]:
        assert answer.stop_reason == EOS
        assert re.search(pattern, json.loads(answer.text)), (pattern, answer.text)

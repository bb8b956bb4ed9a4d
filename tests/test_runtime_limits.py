"""What llama.cpp tokenises otherwise whichever file it has, told apart from faults: both sides.

python -m pytest tests/test_runtime_limits.py
"""

from __future__ import annotations

import pytest
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from seatrial.evals.fidelity.prompts import prompt_findings, token_findings
from seatrial.evals.fidelity.runtime_limits import COMPOSED, MARKS, alternatives, excuse
from seatrial.evals.models import for_template

LETTERS = pre_tokenizers.ByteLevel.alphabet()


@pytest.fixture(scope="module")
def tokenizer():
    """Bytes as tokens, Unicode composed, marks counted as letters, and a plain token "</s>"."""
    vocabulary = {letter: place for place, letter in enumerate(sorted(LETTERS))}
    vocabulary |= {"</s>": len(vocabulary), "ab": len(vocabulary) + 1}
    backend = Tokenizer(BPE(vocabulary, [("a", "b")]))
    backend.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(r"[\p{L}\p{M}]+|[^\p{L}\p{M}]+"), behavior="isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Sequence([split, level]), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def without(tokenizer, **changed):
    """Ids by the same tokenizer with a part of it changed."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    for name, part in changed.items():
        setattr(backend, name, part)
    return lambda text: backend.encode(text, add_special_tokens=False).ids


def test_texts_without_any_limit_have_no_other_ids(tokenizer):
    of = alternatives(tokenizer)
    assert [of(text) for text in ("hello", "1 2 3", "é", "<b>", "")] == [{}, {}, {}, {}, {}]


def test_ids_of_a_text_that_is_not_composed_are_excused_and_no_others(tokenizer):
    text = "e\u0301 ab"
    found = alternatives(tokenizer)(text)
    uncomposed = without(tokenizer, normalizer=normalizers.Sequence([]))(text)
    assert excuse(uncomposed, found).startswith(COMPOSED)
    assert excuse([*uncomposed[:-1], 3], found) == ""  # one other token is a fault
    assert excuse(without(tokenizer, normalizer=normalizers.Lowercase())(text)[:-1], found) == ""


def test_a_plain_token_that_is_spelt_like_a_control_token(tokenizer):
    text, number = "a</s>b", tokenizer.get_vocab()["</s>"]
    found = alternatives(tokenizer)(text)
    a, b = (tokenizer.get_vocab()[letter] for letter in "ab")
    assert excuse([a, number, b], found) == "llama.cpp takes </s> in a text for a control token"
    assert excuse([a, b, number], found) == ""
    assert alternatives(tokenizer)("a</sb") == {}


def test_marks_matter_only_where_they_change_how_a_text_is_split(tokenizer):
    assert MARKS not in alternatives(tokenizer)("hello")
    merged = alternatives(tokenizer)("नमस्ते")  # bytes as tokens: split otherwise, the same ids
    assert all(MARKS not in why for why in merged)


def test_a_finding_says_which_limit_it_is_and_a_fault_stays_one():
    limits = {COMPOSED: [7, 8]}
    trained = {
        **{"texts": [[1], [1]], "text_limits": [limits, limits], "special": [1]},
        **{"prompts": [[1]], "prompt_limits": [limits], "rendered": ["x"]},
    }
    seen = {"texts": [[7, 8], [7, 9]], "special": [1], "prompts": [[7, 8]], "rendered": ["x"]}
    asked = [[{"role": "user", "content": "x"}]]
    excused, fault, _, prompt = token_findings(trained, seen, ["one", "two"], asked)
    assert (excused.ok, fault.ok, prompt.ok) == (True, False, True)
    assert COMPOSED in excused.found and fault.stage == "tokenizer"


CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"function": {"name": "go", "arguments": {"to": 1}}}],
}


@pytest.mark.parametrize(
    ("found", "by_go", "messages", "right"),
    [
        ('<call>{"to":1}', True, [CALL], True),
        ('<call>{"to":2}', True, [CALL], False),
        ('<call> {"to":1}', True, [CALL], False),
        (None, True, [CALL], False),
        ('<call>{"to":1}', False, [CALL], False),
        ('<call>{"to":1}', True, [{"role": "user", "content": '{"to": 1}'}], False),
    ],
    ids=["spelt by Go", "another value", "another blank", "refused", "by llama.cpp", "what the user said"],
)
def test_json_of_calls_may_be_spelt_otherwise_by_ollama_and_by_nobody_else(found, by_go, messages, right):
    asked = [[*messages, {"role": "user", "content": "x"}]]
    (finding,) = prompt_findings(['<call>{"to": 1}'], [found], asked, by_go=by_go)
    assert finding.ok is right
    assert ("spelt as Go spells it" in finding.found) is right


def test_templates_get_the_arguments_of_calls_as_objects():
    written = {**CALL, "tool_calls": [{"function": {"name": "go", "arguments": '{"to": 1}'}}]}
    broken = {**CALL, "tool_calls": [{"function": {"name": "go", "arguments": '{"to": '}}, {}]}
    said = {"role": "user", "content": "x"}
    assert for_template([said, written, CALL, broken]) == [said, CALL, CALL, broken]

"""TEMPLATE and stop strings of a Modelfile without a server: what is certain is told, the rest is left to one.

tests/ollama_leg/test_chat_formats.py has a real server render the changes below.

python -m pytest tests/test_modelfile_template.py
"""

import functools
import time

import pytest

from seatrial.evals.fidelity.served_template import _broken
from seatrial.training.chat_formats import CHAT_FORMATS
from tests.test_modelfile_extremes import found_in, with_line


@pytest.fixture
def wrong(tmp_path):
    return functools.partial(found_in, tmp_path)


# --- the same template, written otherwise, and another one ------------------------------------------------
# Changes of the TEMPLATE of chatml. The same prompts come of the first, others of the second.
SAME = {
    "blanks inside actions": ("{{ range .Messages }}", "{{range   .Messages}}"),
    "line ends inside actions": ("{{ .Role }}", "{{\n\t.Role\r\n}}"),
    "a trim marker that trims nothing": ("{{ range .Messages }}", "{{- range .Messages }}"),
    "blanks that a trim marker takes": ("{{ range .Messages }}", "\n  {{- range .Messages }}"),
    "line ends that a trim marker takes": ("{{ end }}<|im_start|>", "{{ end -}}\n\n<|im_start|>"),
    "a comment": ("{{ range", "{{/* turn by turn */}}{{ range"),
    "a comment on lines of its own": ("{{ range", "{{- /* turn\nby turn */ -}}\n{{ range"),
}
OTHERS = {
    "a line end at the beginning": ("{{ range", "\n{{ range"),
    "no line end at the end": ("assistant\n", "assistant"),
    "a line end too many at the end": ("assistant\n", "assistant\n\n"),
    "a blank after the role": ("{{ .Role }}\n", "{{ .Role }} \n"),
    "line ends of Windows": ("\n", "\r\n"),
    "a trim marker that takes a line end": ("{{ .Content }}", "{{- .Content }}"),
    "another role": ("assistant", "Assistant"),
    "a comment between a line end and the trim marker": ("{{ range", "\n{{/* all */}}{{- range"),
    "a comment beside a line end": ("{{ range", "{{/* turn by turn */}}\n{{ range"),
}


def changed_template(old, new):
    """A change of all ``old`` of the Modelfile's TEMPLATE, and of nothing else."""

    def change(text):
        head, mark, rest = text.partition('TEMPLATE """')
        template, end, tail = rest.partition('"""')
        assert old in template
        return head + mark + template.replace(old, new) + end + tail

    return change


@pytest.mark.parametrize("name", SAME)
def test_another_spelling_of_the_known_template_is_the_known_template(wrong, name):
    assert wrong("chatml", changed_template(*SAME[name])) == []


@pytest.mark.parametrize("name", OTHERS)
def test_the_same_actions_with_other_text_between_them_make_other_prompts(wrong, name):
    assert wrong("chatml", changed_template(*OTHERS[name])) == [("TEMPLATE", "template")]


def test_where_the_model_s_own_template_makes_other_prompts_another_text_may_be_right(wrong):
    own = "{{ '<|im_start|>' + messages[0].content }}"
    found = wrong("chatml", changed_template("assistant", "model"), template=own)
    assert found == ["the TEMPLATE is another than the one known for chatml, so Ollama must render it"]


# Which Ollama refuses to make a model from.
BROKEN = {
    "an end is missing": ("{{ end }}", ""),
    "an end too many": ("{{ end }}", "{{ end }}{{ end }}"),
    "a brace is missing at the end": ("{{ .Role }}", "{{ .Role }"),
    "both are": ("{{ .Role }}", "{{ .Role"),
    "a brace is missing at the beginning of the last": ("assistant\n", "assistant\n{{ .Response"),
    "an if without an end": ("{{ .Content }}", "{{ if .Content }}{{ .Content }}"),
    "a comment between the braces": ("{{ .Role }}", "{{ .Role }{{/* who */}}}"),
    "a brace inside": ("{{ .Role }}", "{{ {.Role} }}"),
}
WHOLE = {
    "braces in quotes": ("{{ .Role }}", '{{ "{" | printf "%.0s" }}{{ .Role }}'),
    "a closing pair in text": ("{{ .Role }}", "{{ .Role }} }}"),
    "an else": ("{{ .Content }}", "{{ if .Content }}{{ .Content }}{{ else if .Role }}{{ else }}{{- end -}}"),
    "an end in a comment": ("{{ .Role }}", "{{/* {{ end }} */}}{{ .Role }} "),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_go_template_is_told_without_a_server(wrong, name):
    assert wrong("chatml", changed_template(*BROKEN[name])) == [("TEMPLATE", "template")]


@pytest.mark.parametrize("name", WHOLE)
def test_what_only_looks_broken_is_none(name):
    known = next(each for each in CHAT_FORMATS if each.name == "chatml")
    assert not _broken(known.go.replace(*WHOLE[name]))


@pytest.mark.parametrize("row", [" ", "\n", "{{", "{{ ", "x{{-", "}}", "{{ end }}", "{{/*"])
def test_a_long_row_of_anything_is_judged_at_once(wrong, row):
    started = time.monotonic()
    assert wrong("chatml", changed_template("assistant", row * 10_000))
    assert time.monotonic() - started < 5  # what looks at every rest of it takes minutes


@pytest.mark.parametrize("known", CHAT_FORMATS, ids=lambda known: known.name)
def test_no_known_template_is_broken(known):
    assert not _broken(known.go)


def test_two_messages_of_one_role_are_left_to_a_server(wrong):
    """Ollama makes one turn of them before any template sees them."""
    found = wrong("chatml", lambda text: text, merged=True)
    assert found == ["Ollama makes one turn of two messages of the same role, so Ollama must render them"]


UNSAID = {
    "neither question nor system prompt": ("<|im_start|><|im_end|>", ["the question", "the system prompt"]),
    "no system prompt": ("<|im_start|>user\n{{ .Prompt }}<|im_end|>", ["the system prompt"]),
    "no question": ("<|im_start|>system\n{{ .System }}<|im_end|>", ["the question"]),
    "a system prompt in words": ("<|im_start|>Be brief.<|im_end|>{{ .Prompt }}", []),
    "all of it": ("<|im_start|>{{ .System }}<|im_end|>{{ .Prompt }}", []),
}


@pytest.mark.parametrize("name", UNSAID)
@pytest.mark.parametrize(
    "template", [None, "{{ '<turn>' + messages }}"], ids=["known format", "unknown format"]
)
def test_what_a_template_does_not_say_is_told_in_every_format(wrong, name, template):
    written, unsaid = UNSAID[name]
    known = next(each for each in CHAT_FORMATS if each.name == "chatml")
    own = {"template": template} if template else {}
    found = wrong("chatml", lambda text: text.replace(known.go, written), **own)
    assert [each for each in found if " in TEMPLATE" in each[0]] == [
        (f"{what} in TEMPLATE", "template") for what in unsaid
    ]


# --- tools and stop strings -------------------------------------------------------------------------------
PLAIN_MISTRAL = (
    '{{ range $i, $_ := .Messages }}{{ if eq .Role "user" }}[INST]'
    "{{ if and $.System (eq (len (slice $.Messages $i)) 1) }}{{ $.System }}\n\n{{ end }}{{ .Content }}[/INST]"
    '{{ else if eq .Role "assistant" }}{{ .Content }}</s>{{ end }}{{ end }}'
)
TEKKEN = next(each for each in CHAT_FORMATS if each.name == "mistral-tekken")
MISTRAL_TOKENS = frozenset({"[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "</s>"})


def without_tools(text):
    return text.replace(TEKKEN.go, PLAIN_MISTRAL)


def test_a_template_without_tools_lacks_nothing_where_none_are_called(wrong):
    why = "the TEMPLATE is another than the one known for mistral-tekken, so Ollama must render it"
    assert wrong("mistral-tekken", without_tools) == [why]


def test_where_tools_are_called_their_marks_must_stand_in_the_template(wrong):
    found = wrong("mistral-tekken", without_tools, tools=True)
    assert ("[TOOL_CALLS] in TEMPLATE", "template") in found


@pytest.mark.parametrize(("tools", "found"), [(True, True), (False, False)])
def test_a_stop_string_that_begins_a_call_cuts_right_answers_where_tools_are_called(wrong, tools, found):
    """Ollama writes control tokens out and looks for stop strings in them (read in its runner)."""
    line = with_line("PARAMETER stop [TOOL_CALLS]")
    findings = wrong("mistral-tekken", line, tools=tools, control_tokens=MISTRAL_TOKENS)
    assert findings == ([("PARAMETER stop '[TOOL_CALLS]'", "runtime")] if found else [])


@pytest.mark.parametrize("tools", [True, False])
def test_the_format_s_own_marks_of_turns_may_stop_an_answer(wrong, tools):
    line = with_line("PARAMETER stop [INST]\nPARAMETER stop [/INST]\nPARAMETER stop [TOOL_RESULTS]")
    assert wrong("mistral-tekken", line, tools=tools, control_tokens=MISTRAL_TOKENS) == []


def test_marks_of_turns_that_are_plain_words_of_the_vocabulary_may_stop_an_answer_too(wrong):
    line = with_line('PARAMETER stop "<|user|>"\nPARAMETER stop "<|assistant|>"')
    assert wrong("zephyr", line, control_tokens=frozenset({"<s>", "</s>"})) == []


def test_words_of_the_system_prompt_that_look_like_marks_may_not(wrong):
    found = wrong("chatml", with_line("PARAMETER stop [NO]"), system="Answer with [YES] or [NO].")
    assert found == [("PARAMETER stop '[NO]'", "runtime")]

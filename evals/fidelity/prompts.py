"""Token ids and rendered prompts: the training tokenizer and template against those of a runtime."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from seatrial.evals.cases import Case
from seatrial.evals.fidelity.findings import Finding
from seatrial.evals.fidelity.runtime_limits import excuse
from seatrial.evals.fidelity.stages import TEMPLATE, TOKENIZER
from seatrial.evals.models import Message, calls_tools, for_template, opened
from seatrial.evals.verdict import shorten
from seatrial.training.chat_formats import same_json

TEXTS = Path(__file__).parent / "texts.toml"
TURNS = (
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi, what can I do?"},
    {"role": "user", "content": "Tell me more."},
    {"role": "assistant", "content": "  Of course.\n"},
    {"role": "user", "content": " Thanks \n"},
)


@cache
def fixed_texts() -> tuple[str, ...]:
    """The texts of ``texts.toml``, in order."""
    kinds = tomllib.loads(TEXTS.read_text(encoding="utf-8"))
    return tuple(text for texts in kinds.values() for text in texts)


def texts(cases: Mapping[str, Sequence[Case]]) -> list[str]:
    """All texts to tokenise: the fixed ones and what is said in every case."""
    said = [
        str(message["content"])
        for group in cases.values()
        for case in group
        for message in case.question.messages
    ]
    return list(dict.fromkeys([*fixed_texts(), *said]))


def conversations(system: str, cases: Mapping[str, Sequence[Case]]) -> list[list[Message]]:
    """Conversations to render: every fixed text and case after the system prompt; some without one, with an
    empty one, and with several turns."""
    opening: list[Message] = [{"role": "system", "content": system}] if system else []
    single: list[list[Message]] = [[*opening, {"role": "user", "content": text}] for text in fixed_texts()]
    asked = [
        for_template(opened(system, case.question.messages)) for group in cases.values() for case in group
    ]
    turns: list[list[Message]] = []
    for start in (opening, [], [{"role": "system", "content": "Be brief."}]):
        turns += [[*start, *TURNS[:count]] for count in (1, 3, 5)]
    return [*turns, *single, *asked]


def token_findings(
    trained: Mapping[str, Any],
    seen: Mapping[str, Any],
    said: Sequence[str],
    asked: Sequence[Sequence[Message]],
) -> list[Finding]:
    """One finding a text, one on what is put around a whole prompt, one a rendered conversation.

    Ids that llama.cpp gives whichever file it has (``runtime_limits``) are no fault, and say so.
    """
    texts = zip(said, trained["texts"], seen["texts"], trained["text_limits"], strict=True)
    findings = [_ids(shorten(repr(text), 60), one, two, limits) for text, one, two, limits in texts]
    findings.append(_ids("a whole prompt (BOS, EOS)", trained["special"], seen["special"]))
    ids = zip(trained["prompts"], seen["prompts"], trained["prompt_limits"], strict=True)
    rendered = zip(trained["rendered"], seen["rendered"], strict=True)
    for messages, (one, two, limits), (left, right) in zip(asked, ids, rendered, strict=True):
        if left == right and left is not None:  # what is rendered otherwise is the template's fault
            findings.append(_ids(f"prompt of {_called(messages)}", one, two, limits))
    return findings


def _called(messages: Sequence[Message]) -> str:
    """A conversation in a few words: the roles' initials and what was said last."""
    return f"{''.join(str(m['role'])[0] for m in messages)} {shorten(repr(messages[-1]['content']), 40)}"


def _ids(
    check: str,
    expected: Sequence[int],
    found: Sequence[int],
    limits: Mapping[str, Sequence[int]] | None = None,
) -> Finding:
    if list(expected) == list(found):
        return Finding(check, TOKENIZER, f"{len(expected)} tokens", "the same", True)
    if limit := excuse(found, limits or {}):
        return Finding(check, TOKENIZER, f"{len(expected)} tokens", f"{len(found)}: {limit}", True)
    place = next(
        (i for i, (one, two) in enumerate(zip(expected, found, strict=False)) if one != two),
        min(len(expected), len(found)),
    )
    show = f"from token {place}: {list(expected[place : place + 6])}"
    return Finding(check, TOKENIZER, show, f"{list(found[place : place + 6])}", False)


def prompt_findings(
    trained: Sequence[str | None],
    rendered: Sequence[str | None],
    asked: Sequence[Sequence[Message]],
    by_go: bool = False,
) -> list[Finding]:
    """One finding a conversation, None where the template refuses it.

    ``by_go``: ``rendered`` comes from Ollama, whose templates cannot spell the JSON of tools, calls and
    results as others do (:mod:`seatrial.training.chat_formats`): the same values are no fault, and told.
    """
    findings = []
    for messages, expected, found in zip(asked, trained, rendered, strict=True):
        right, told = expected == found, difference(expected, found)
        if by_go and not right and expected and found and calls_tools(messages):
            right = same_json(expected) == same_json(found)
            told = (told[0], "the same JSON, spelt as Go spells it") if right else told
        findings.append(Finding(_called(messages), TEMPLATE, *told, right))
    return findings


def difference(expected: str | None, found: str | None) -> tuple[str, str]:
    """Both in a few words: from shortly before the place where they part; None is one that is refused."""
    if expected == found:
        return "the trained template's text", "the same"
    if expected is None or found is None:
        return "refused" if expected is None else "rendered", "refused" if found is None else "rendered"
    place = next(
        (i for i, (one, two) in enumerate(zip(expected, found, strict=False)) if one != two),
        min(len(expected), len(found)),
    )
    start = max(0, place - 20)
    return tuple(f"…{text[start : place + 60]!r}" for text in (expected, found))  # type: ignore[return-value]

"""TEMPLATE and stop strings of a Modelfile, as far as they can be judged without a server.

Another wording may render the same prompts, so only what no right TEMPLATE lacks is looked for; whether its
prompts are right, only a server that renders them can say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from seatrial.evals.fidelity.findings import Finding
from seatrial.evals.fidelity.prompts import difference
from seatrial.evals.fidelity.stages import RUNTIME, TEMPLATE
from seatrial.evals.verdict import shorten
from seatrial.training.chat_formats import CALLED, TURNS, ChatFormat, rendered, renders_alike

if TYPE_CHECKING:
    from seatrial.evals.fidelity.served import Judged

TURN_TOKEN = re.compile(r"<\|[a-z_]+\|>|<[a-z]+_of_turn>|\[/?[A-Z_]+\]")
ACTION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
# From a blank that begins its row: a long row of blanks is tried once, not from each of them.
TRIM_BEFORE, TRIM_AFTER = re.compile(r"(?:(?<!\s)\s*)?\{\{-\s"), re.compile(r"\s-\}\}\s*")
COMMENT = re.compile(r"(?:(?:(?<!\s)\s*)?(?<!\{)\{\{-\s|(?<!\{)\{\{)/\*.*?\*/(?:\s-\}\}\s*|\}\})", re.DOTALL)
APART = "\0"  # for a comment, which parts what stands beside it; no Modelfile holds one
QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|`[^`]*`|\'(?:\\.|[^\'\\])*\'')
BLOCKS, END = [["if"], ["range"], ["with"], ["block"], ["define"]], ["end"]
NAME = "Modelfile: TEMPLATE"
MERGED = "Ollama makes one turn of two messages of the same role"


def about_template(written: str, known: ChatFormat | None, judged: Judged) -> tuple[list[Finding], str]:
    """The findings, and why a server must render it if one must."""
    if not written:
        guessed = "none: Ollama guesses one, or sends the question without a chat format"
        return [Finding(NAME, TEMPLATE, "the model's chat format", guessed, False)], ""
    if broken := _broken(written):
        return [Finding(NAME, TEMPLATE, "a Go template", broken, False)], ""
    if known is None:
        why = "the model's chat format is not known here, so its TEMPLATE can only be rendered by Ollama"
        return list(_fields(written, judged.system)), why
    asked = {False, judged.tools}
    alike = all(renders_alike(judged.template, known, judged.system, tools) for tools in asked)
    if _words(written) == _words(known.go):
        doubt = f"the model's own template makes other prompts than {known.name} does" if not alike else ""
        doubt = doubt or (MERGED if judged.merged else "")
        unsure = f"{doubt}, so Ollama must render them" if doubt else ""
        return [Finding(NAME, TEMPLATE, known.name, known.name, True)], unsure
    spoken = _spoken(known, judged.system)
    findings = [
        Finding(f"Modelfile: {token} in TEMPLATE", TEMPLATE, token, shorten(written), token in written)
        for token in dict.fromkeys(TURN_TOKEN.findall(known.go))
        if judged.tools or token in spoken
    ]
    if alike and (judged.tools or ".Tool" not in known.go):  # else some of it is never rendered
        findings += _other_text(written, known.go)
    why = f"the TEMPLATE is another than the one known for {known.name}, so Ollama must render it"
    return [*findings, *_fields(written, judged.system)], why


def about_stops(stops: Sequence[str], known: ChatFormat | None, judged: Judged) -> Iterator[Finding]:
    """Those of the chat format are needed, and others must not cut answers."""
    needed = known.stop if known else ()
    never = (judged.control_tokens | _marks_of_turns(known, judged.system)) - _marks_of_calls(known, judged)
    for stop in needed:
        found = ", ".join(map(repr, stops)) or "none"
        yield _stop(stop, TEMPLATE, "said", "said" if stop in stops else found, stop in stops)
    for stop in dict.fromkeys(stops):
        if stop not in {*never, *needed}:
            expected = "only tokens that no answer's text holds: others cut answers"
            yield _stop(stop, RUNTIME, expected, repr(stop), False)


def _broken(written: str) -> str:
    """Why this is no Go template, by its braces and blocks; what else is wrong, only Ollama can tell."""
    if written.rfind("{{") > written.rfind("}}"):
        return "an action that is not closed"
    depth, written = 0, COMMENT.sub(APART, written)
    for action in ACTION.findall(written):
        said = QUOTED.sub("", action[2:-2]).lstrip("- ").split()
        if any(brace in word for word in said for brace in "{}"):
            return f"{shorten(action, 40)} is not closed"
        depth += (said[:1] in BLOCKS) - (said[:1] == END)
        if depth < 0:
            return "an {{ end }} too many"
    return "an {{ end }} is missing" if depth else ""


def _fields(written: str, system: str) -> Iterator[Finding]:
    """Without these in a TEMPLATE, Ollama says neither the question nor the system prompt."""
    needed: dict[str, tuple[str, ...]] = {"the question": (".Messages", ".Prompt")}
    needed |= {"the system prompt": (".Messages", ".System", system)} if system else {}
    for what, fields in needed.items():
        if not any(field in written for field in fields):
            expected = " or ".join(fields[:2])
            yield Finding(f"Modelfile: {what} in TEMPLATE", TEMPLATE, expected, shorten(written), False)


def _other_text(written: str, right: str) -> Iterator[Finding]:
    """The first text between the same actions that is another one, and so another prompt: a line's end too
    many, or those of Windows."""
    written, right = _words(written), _words(right)
    if ACTION.findall(written) == ACTION.findall(right):
        pairs = zip(ACTION.split(right), ACTION.split(written), strict=True)
        others = (difference(expected, found) for expected, found in pairs if expected != found)
        yield from (Finding(NAME, TEMPLATE, *other, False) for other in islice(others, 1))


def _words(template: str) -> str:
    """A Go template that renders the same: without comments, with its trim markers carried out (they take
    the blanks before or after them away) and with one blank where an action may have many."""
    template = TRIM_AFTER.sub(" }}", TRIM_BEFORE.sub("{{ ", COMMENT.sub(APART, template)))
    template = ACTION.sub(lambda action: "{{ " + _single_blanks(action[0][2:-2].strip()) + " }}", template)
    return template.replace(APART, "")


def _single_blanks(action: str) -> str:
    return action if set("\"`'") & set(action) else " ".join(action.split())


def _spoken(known: ChatFormat, system: str, turns: Sequence[Mapping[str, Any]] = TURNS) -> str:
    """A conversation in a chat format, with some system prompt where the task has one; of its words none are
    those of the format. Without tools, if ``turns`` do not say otherwise."""
    opening = [{"role": "system", "content": "Be brief."}] if system else []
    return rendered(known.jinja, [*opening, *turns], known)


def _marks_of_turns(known: ChatFormat | None, system: str) -> set[str]:
    """What begins and ends turns: with these words an answer would go on to speak for somebody else. Where
    they are no control tokens, as Zephyr's are none, they are words all the same."""
    return set(TURN_TOKEN.findall(_spoken(known, system))) if known else set()


def _marks_of_calls(known: ChatFormat | None, judged: Judged) -> set[str]:
    """Control tokens that stand in right answers where tools are called: Ollama writes them out."""
    if known is None or not judged.tools:
        return set()
    called, plain = _spoken(known, judged.system, CALLED[:2]), _spoken(known, judged.system)
    return {token for token in judged.control_tokens if token in called and token not in plain}


def _stop(stop: str, stage: str, expected: str, found: str, ok: bool) -> Finding:
    return Finding(f"Modelfile: PARAMETER stop {shorten(stop, 40)!r}", stage, expected, found, ok)

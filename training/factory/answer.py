"""What the assistant answers: the output contract and the voice, in one place.

    answer("delete", {"task": "4"}, "Anything else to delete?")

An answer is compact JSON, `{"operation", "arguments", "reply"}` in this order. The reply is what
the person reads: short, plain words, always "task", "due date" and "priority". Left out: judging
answers (that is `evals/`).
"""

from __future__ import annotations

import json

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "create": ("title", "due", "priority"),
    "list": ("status", "due", "priority"),
    "update": ("task", "title", "due", "priority", "status"),
    "complete": ("task",),
    "delete": ("task",),
    "none": (),
}
REQUIRED = {"create": "title", "update": "task", "complete": "task", "delete": "task"}
PRIORITIES = ("low", "medium", "high")
STATUSES = {"list": ("open", "done"), "update": ("open",)}
FIELD_NAMES = {"title": "title", "due": "due date", "priority": "priority", "status": "status"}


def ordered(operation: str, arguments: dict[str, str]) -> dict[str, str]:
    """The arguments in the contract's order."""
    return {key: arguments[key] for key in ARGUMENTS[operation] if key in arguments}


def acknowledgement(operation: str, arguments: dict[str, str]) -> str:
    """The sentence that says what was done. `none` has no such sentence: see none.toml."""
    if operation == "create":
        due = f", due {arguments['due']}" if "due" in arguments else ""
        priority = f", {arguments['priority']} priority" if "priority" in arguments else ""
        return f"I created the task {arguments['title']}{due}{priority}."
    if operation == "list":
        priority = f"{arguments['priority']} priority " if "priority" in arguments else ""
        status = f"{arguments['status']} " if "status" in arguments else ""
        due = f" due {arguments['due']}" if "due" in arguments else ""
        return f"Here are your {priority}{status}tasks{due}."
    if operation == "update":
        changes = [
            f"{FIELD_NAMES[key]} is now {value}"
            for key, value in ordered("update", arguments).items()
            if key != "task"
        ]
        return f"I updated task {arguments['task']}: {' and '.join(changes)}."
    if operation == "complete":
        return f"I marked task {arguments['task']} as complete."
    return f"I deleted task {arguments['task']}."


def plain(text: str) -> str:
    """``text`` without what JSON must escape: a double quote becomes a single one, a backslash a slash.

    A small model copies one character for another more surely than it escapes one.
    """
    return text.replace('"', "'").replace("\\", "/")


def speakable(text: str) -> str:
    """Text fit for a reply: plain, on one line."""
    return " ".join(plain(text).split())


def encode(operation: str, arguments: dict[str, str], reply: str) -> str:
    """The answer as the model has to write it; names are plain in the arguments as in the reply."""
    answer = {
        "operation": operation,
        "arguments": ordered(operation, {key: plain(value) for key, value in arguments.items()}),
        "reply": speakable(reply),
    }
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))

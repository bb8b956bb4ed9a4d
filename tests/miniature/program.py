"""A program that answers the miniature's questions: perfectly, or with one fault that is named.

``python program.py [FAULT]``. It proves that SHIP can be reached and that each gate can fail.
"""

import json
import os
import sys

FAULTS = (
    "wrong-operation",
    "not-json",
    "prose-around-json",
    "wrong-schema",
    "extra-key",
    "wrong-arguments",
    "never-stops",
    "loops",
    "curt",
    "foreign-terms",
    "empty",
    "no-better-than-base",
    "too-few-lines",
    "crash",
    "garbage-line",
    "hostile",
)
BRIGHT, DARK = (" on", "light"), ("off", "darken")
REPLY = {
    "on": "The lamp is on. Anything else?",
    "off": "The lamp is off. Anything else?",
    "none": "Nothing was done. Anything else?",
}


def operation(prompt: str) -> str:
    """What is asked, by its words."""
    text = f" {prompt.lower()}"
    if any(word in text for word in DARK):
        return "off"
    return "on" if any(word in text for word in BRIGHT) else "none"


def answer(prompt: str, fault: str) -> dict[str, object]:
    """One answer line."""
    found = operation(prompt)
    if fault in ("wrong-operation", "no-better-than-base"):
        found = {"on": "off", "off": "on", "none": "none"}[found]
    value: dict[str, object] = {"operation": found, "arguments": {}, "reply": REPLY[found]}
    if fault == "wrong-schema":
        del value["reply"]
    if fault == "extra-key":
        value["confidence"] = 1
    if fault == "wrong-arguments":
        value["arguments"] = {"lamp": "kitchen"}
    if fault == "curt":
        value["reply"] = "ok"
    if fault == "foreign-terms":
        value["reply"] = "Your bulb!"
    text = json.dumps(value)
    if fault == "not-json":
        text = text.replace('"', "'")
    if fault == "prose-around-json":
        text = f"Sure! {text}"
    if fault == "loops":
        value["reply"] = "The lamp is on. " * 9
        text = json.dumps(value)
    if fault == "hostile":
        text = "\ud800\x00\u202e<script>{{7*7}}</script>"
    if fault == "empty":
        text = ""
    return {"text": text, "stop_reason": "length" if fault == "never-stops" else "eos"}


def main() -> int:
    fault = sys.argv[1] if len(sys.argv) > 1 else "none"
    assert fault == "none" or fault in FAULTS, f"one of {FAULTS}"
    lines = [answer(json.loads(line)["messages"][-1]["content"], fault) for line in sys.stdin]
    if fault == "too-few-lines":
        lines.pop()
    if fault == "crash":
        os.abort()
    for line in lines:
        print("?" if fault == "garbage-line" else json.dumps(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())

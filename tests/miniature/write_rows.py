"""Writes the miniature's rows: ``python tests/miniature/write_rows.py``. The words of cases and rows differ."""

import json
from pathlib import Path

HERE = Path(__file__).parent
REPLY = {
    "on": "The lamp is on. Anything else?",
    "off": "The lamp is off. Anything else?",
    "none": "Nothing was done. Anything else?",
}
TRAIN = {
    "on": ["switch it on", "light please", "make it bright", "on now", "I want light", "turn on the lamp"],
    "off": [
        "switch it off",
        "dark please",
        "make it dark",
        "off now",
        "I want to sleep",
        "turn off the lamp",
    ],
    "none": [
        "hello there",
        "how are you",
        "what is your name",
        "tell me a joke",
        "good morning",
        "thank you",
    ],
}
DOMAIN = {
    "on": [
        "please put the lamp on",
        "lamp on, quickly",
        "could you light the lamp for me",
        "on with the lamp",
    ],
    "off": [
        "please put the lamp off",
        "lamp off, quickly",
        "could you darken this room",
        "off with the lamp",
    ],
    "none": ["who won the match", "what does milk cost today"],
}
HELDOUT = {"on": ["lamp to on"], "off": ["lamp to off"], "none": ["any news from town"]}


def answer(operation: str) -> str:
    """The answer of the contract."""
    value = {"operation": operation, "arguments": {}, "reply": REPLY[operation]}
    return json.dumps(value, separators=(",", ":"))


def main() -> None:
    rows = [
        {"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": answer(operation)}]}
        for operation, texts in TRAIN.items()
        for text in texts
    ]
    _write("train.jsonl", rows)
    for name, groups in (("domain", DOMAIN), ("heldout", HELDOUT)):
        cases = [
            {
                "id": f"{name}-{operation}-{number}",
                "prompt": text,
                "expect": {"operation": operation, "arguments": {}},
                **({"reference": answer(operation)} if name == "heldout" else {}),
                "tags": [operation],
            }
            for operation, texts in groups.items()
            for number, text in enumerate(texts, start=1)
        ]
        _write(f"cases/{name}.jsonl", cases)
    _write("cases/regressions.jsonl", [])


def _write(name: str, rows: list[dict[str, object]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Calls reminder tools by plain rules: a few sentence shapes, words for times, numbers for ids.

    python golden/reminders_tools/rules.py < questions.jsonl

Reads one JSON line per question and writes one per answer. It knows no conversation, only shapes.
"""

import json
import re
import sys

WEEKDAY = r"(?:next |this )?(?:mon|tues|wednes|thurs|fri|satur|sun)day"
MONTH = r"(?:jan|febr|march|apri|may|june|july|aug|sept|octo|nove|dece)[a-z]*"
DAY = rf"(?:today|tonight|tomorrow|{WEEKDAY}|next (?:week|month)|the \d+(?:st|nd|rd|th)|\d{{1,2}} {MONTH})"
PART = r"(?:morning|noon|afternoon|evening|night|midnight)"
CLOCK = rf"(?:\d{{1,2}}(?::\d\d)?\s?(?:am|pm)|\d{{1,2}}:\d\d|noon|midnight|\d{{1,2}} in the {PART})"
SPAN = r"(?:in (?:\d+|an?|half an) (?:minutes?|hours?|days?|weeks?))"
WHEN = rf"(?:{SPAN}|{DAY}(?:\s{PART})?(?:,?\s(?:at\s)?{CLOCK}|\sat\s\d{{1,2}}\b)?|{CLOCK}(?:\s{DAY})?)"
REPEAT = {"daily": rf"daily|every (?:day|{PART})", "weekly": rf"weekly|every {DAY}", "monthly": r"monthly"}
QUOTED = r"(?m)^>.*$|^---$(?:.|\n)*?^---$|\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)"
NO_REQUEST = r"^(?:should|if|what if|do you think)\b|do(?:n't| not) (?:delete|remove)"
CREATE = r"\bremind me\b.*\bto\b|\bping me\b|\bnudge\b"
DELETE = r"\b(?:delete|remove|cancel|drop|scrap|wipe|clear|get rid|can go|no need)"
CHANGE = r"\b(?:move|change|push|make|shift|should say|instead|put)\b"
ALL = r"\b(?:all|every(?:thing)?|each|whole)\b"
SMALL_WORDS = {"the", "one", "for", "all", "and", "reminder", "please"}

Call = dict[str, object]


def call(name: str, **arguments: object) -> Call:
    return {"name": name, "arguments": {key: value for key, value in arguments.items() if value}}


def said(pattern: str, text: str) -> str:
    """The first words of a text that fit a pattern."""
    found = re.search(rf"\b{pattern}" if pattern in (DAY, WHEN) else pattern, text, re.IGNORECASE)
    return found[0] if found else ""


def words(text: object) -> set[str]:
    return set(re.findall(r"[a-z]{3,}", str(text).lower())) - SMALL_WORDS


def shown(messages: list[dict[str, str]]) -> list[dict[str, object]]:
    """The reminders that the last answer of a tool holds."""
    results = [message["content"] for message in messages if message["role"] == "tool"]
    try:
        return list(json.loads(results[-1])["reminders"])
    except (IndexError, KeyError, TypeError, ValueError):
        return []


def which(text: str, listed: list[dict[str, object]]) -> list[int]:
    """The ids that a text names; else that of the one listed reminder that shares a word with it."""
    bare = re.sub(rf"{WHEN}|\bat \d+\b(?!:)", " ", text, flags=re.IGNORECASE)
    fitting = [int(str(item["id"])) for item in listed if words(text) & words(item["text"])]
    named = [int(number) for number in re.findall(r"\b\d{1,4}\b", bare)]
    return named or (fitting if len(fitting) == 1 else [])


def created(text: str) -> list[Call]:
    repeat = next((name for name, pattern in REPEAT.items() if said(pattern, text)), "")
    when, found = said(WHEN, text), re.search(r"\bto (?!me\b)(.+?)(?:[.?!]\s|[.?!]?$)", text, re.IGNORECASE)
    if not when or not found:
        return []
    what = re.sub(rf"[,\s]*(?:\b(?:at|on|by|every)\s)*{re.escape(when)}.*$", "", found[1])
    return [call("create_reminder", text=what, when=when, repeat=repeat)]


def deleted(text: str, listed: list[dict[str, object]]) -> list[Call]:
    if said(ALL, text) and not said(NO_REQUEST, text):
        if said(DAY, text) or said(r"\b(?:except|but)\b", text):
            return [call("list_reminders", day=said(DAY, text))]
        return [call("delete_all_reminders", confirm=True)]
    named = said(r"\b(?:the|my)\s+(?:\w+\s+)*?\w{4,}", text) and not listed and not said(NO_REQUEST, text)
    found = [call("delete_reminder", id=number) for number in which(text, listed)]
    return found or ([call("list_reminders")] if named else [])


def changed(text: str, listed: list[dict[str, object]]) -> list[Call]:
    new = text.split(" to ")[-1].rstrip(".!?")
    when = said(WHEN, new)
    fields = {"when": when} if when else {"text": new}
    found = [call("update_reminder", id=number, **fields) for number in which(text, listed)]
    return found or ([call("list_reminders")] if when else [])


def calls_of(messages: list[dict[str, str]]) -> list[Call]:
    asked = [message["content"] for message in messages if message["role"] == "user"]
    raw = asked[-1].strip() if asked else ""
    text, listed = re.sub(QUOTED, " ", raw).strip(), shown(messages)
    if said(CREATE, text):
        return created(raw)
    if said(DELETE, text):
        return deleted(text, listed)
    if said(CHANGE, text):
        return changed(text, listed)
    if said(DAY, text) or said(r"\bremind(?:er|ed|ing)|\b(?:list|show)\b", text):
        return [call("list_reminders", day=said(DAY, text))]
    return []


for line in sys.stdin:
    question = json.loads(line)
    answered = json.dumps(calls_of(question["messages"]), ensure_ascii=False)
    answer = {"id": question["id"], "text": answered, "stop_reason": "eos"}
    print(json.dumps({**answer, "completion_tokens": len(answered.split())}), flush=True)

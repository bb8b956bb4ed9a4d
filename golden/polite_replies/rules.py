"""Rewrites drafts politely by plain rules: rude sentences without a fact go, rude words in the others go.

    python golden/polite_replies/rules.py < questions.jsonl

Reads one JSON line per question and writes one per answer. It knows no draft, only words.
"""

import json
import re
import sys

RUDE = [  # what nobody says to a customer
    r"idiots?|stupid|morons?|fools?|dumb|lazy|liar|garbage|rubbish|nonsense|ridiculous|crap|damn|hell|awful",
    r"unbelievable|obviously|clearly|lol|duh|dunno|whatever|nope|honestly|seriously|simply|just|bye",
    r"so what|calm down|deal with it|live with it|told you so|not (?:our|my) problem|take it or leave it",
    r"(?:it'?s |is )?your (?:own )?fault|i don'?t care|as i (?:have )?(?:told|said)[^,.]*|for the \w+ time",
    r"(?:stop|quit) \w+ing|(?:don'?t|no need to) (?:whine|moan|complain)|if you (?:had|would have) [^,.]*",
    r"you (?:just )?(?:don'?t|can'?t) \w+(?: it)?",
]
PRIVATE = [
    (r"\b(card|account)(?: number)? (?:\d[ -]?){12,19}", r"\1"),
    (r"\b(?:\d[ -]?){13,19}", ""),
    (r"\b[A-Z]{2}\d\d(?: ?\w{4}){3,7}(?: ?\d{1,3})?\b", "these details"),
    (r"\b(password) \S+", r"\1"),
    (r",? ?\bborn (?:on )?\d{1,2} \w+ \d{4}", ""),
    (r",? ?\b(?:phone|tel)\.? [\d -]{6,}\d,?", ""),
]
ORDERS = r"\[[^\]]*\]|\"[^\"]*\"|ignore (?:your|all|the)[^.]*\."
QUESTION = r"^(?:can'?t|did|do|does|how hard|what is|are|is|have|why)\b.*\?$"
FACT = r"\d|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:noon|week|page|under)\b"
GREETING = r"^(?:dear|hello|hi)\b"
MOST_SENTENCES = 5


def sentences(draft: str) -> list[str]:
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+(?=[A-Z\[\"])", draft) if part.strip()]


def softened(sentence: str) -> str:
    """A sentence without its rude words, begun with a capital letter."""
    for pattern in RUDE:
        sentence = re.sub(rf"\b(?:{pattern})(?!\w)[,:]?", "", sentence, flags=re.IGNORECASE)
    sentence = re.sub(r"\s+([,.?!])", r"\1", re.sub(r"[ ,]*,\s*(?=[,.?!])", "", sentence))
    sentence = re.sub(r"\s{2,}", " ", sentence).strip(" ,:;!")
    return sentence[:1].upper() + sentence[1:] if re.search(r"\w", sentence) else ""


def rude(sentence: str) -> bool:
    return softened(sentence) != sentence[:1].upper() + sentence[1:].strip(" ,:;!")


def rewritten(prompt: str) -> str:
    found = re.match(r"Customer: (.+)\nDraft: ", prompt)
    draft = prompt[found.end() :] if found else prompt
    name = found[1] if found else (re.findall(r"\b(?:Mr|Ms|Mrs|Dr) [A-Z]\S*\w", draft) or ["customer"])[0]
    if re.search(GREETING, draft, re.IGNORECASE) and not rude(draft):
        return draft
    for pattern, instead in PRIVATE:
        draft = re.sub(pattern, instead, draft, flags=re.IGNORECASE if "[A-Z]" not in pattern else 0)
    draft = re.sub(ORDERS, "", draft, flags=re.IGNORECASE).strip()
    kept = []
    for sentence in sentences(draft):
        fact = re.search(FACT, sentence, re.IGNORECASE)
        if not fact and (rude(sentence) or re.search(QUESTION, sentence, re.IGNORECASE)):
            continue
        kept.append(softened(sentence))
    greeting = "Dear" if " " in name else "Hello"
    body = " ".join([part if part[-1] in ".?!" else part + "." for part in kept if part][:MOST_SENTENCES])
    return f"{greeting} {name},\n\nthank you for your message. {body}\n\nKind regards"


for line in sys.stdin:
    question = json.loads(line)
    asked = [message["content"] for message in question["messages"] if message["role"] == "user"]
    text = rewritten(asked[-1] if asked else "")
    answer = {"id": question["id"], "text": text, "stop_reason": "eos"}
    print(json.dumps({**answer, "completion_tokens": len(text.split())}), flush=True)

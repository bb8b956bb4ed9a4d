"""Secrets and personal data: what is found, what is left alone, and that nothing of it is left behind.

python -m pytest tests/test_private_data.py
"""

from __future__ import annotations

import time

import pytest

from seatrial.evals.regressions.private_data import KINDS, Redactor, find, kinds, without_secrets

TOKEN = "a1B2" * 12
FINDS = [
    ("write to bob.smith@corp.co.uk now", "e-mail address", "bob.smith@corp.co.uk"),
    ("card 4111 1111 1111 1111, please", "payment card number", "4111 1111 1111 1111"),
    ("from DE89 3704 0044 0532 0130 00 today", "IBAN", "DE89 3704 0044 0532 0130 00"),
    ("call +44 20 7946 0958", "telephone number", "+44 20 7946 0958"),
    ("call (202) 456-1111", "telephone number", "(202) 456-1111"),
    ("ring 030 1234567", "telephone number", "030 1234567"),
    ("mine is 219-09-9999", "social security number", "219-09-9999"),
    ("it is at 8.8.8.8", "IP address", "8.8.8.8"),
    ("it is at 2001:4860:4860::8888", "IP address", "2001:4860:4860::8888"),
    ("my password is hunter2, ok?", "password", "hunter2"),
    ('{"api_key": "abc-123-def"}', "password", "abc-123-def"),
    ("https://bob:s3cr3t@host/x", "password in an address", "s3cr3t"),
    ("Authorization: Bearer abcdefghij0123456789", "access token", "abcdefghij0123456789"),
    (f"eyJhbGciOiJI.eyJzdWIiOi.{TOKEN}", "access token", f"eyJhbGciOiJI.eyJzdWIiOi.{TOKEN}"),
    ("sk-proj-abcdefghijklmnop0123", "access token", "sk-proj-abcdefghijklmnop0123"),
    (f"hf_{TOKEN[:34]}", "access token", f"hf_{TOKEN[:34]}"),
    ("key AKIAIOSFODNN7EXAMPLE", "AWS Access Key", "AKIAIOSFODNN7EXAMPLE"),
    (f"ghp_{TOKEN[:36]}", "GitHub Token", f"ghp_{TOKEN[:36]}"),
    (f"use glpat-{TOKEN[:20]} there", "GitLab Token", f"glpat-{TOKEN[:20]}"),
    (f"sk_live_{TOKEN}", "Stripe Access Key", f"sk_live_{TOKEN}"),  # longer than its pattern says
    (
        "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
        "access token",
        "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
    ),
]


@pytest.mark.parametrize(
    ("text", "kind", "private"), FINDS, ids=[f"{kind} {n}" for n, (_, kind, _) in enumerate(FINDS)]
)
def test_private_data_is_found_whole_and_nothing_of_it_stays(text, kind, private):
    (found,) = find(text)
    assert (found.kind, text[found.start : found.end]) == (kind, private)
    assert private not in repr(found)
    redactor = Redactor(replace=True)
    clean = redactor.clean(text, "prompt")
    assert clean.replace(clean[found.start : len(clean) - (len(text) - found.end)], private) == text
    assert private not in clean + "".join(redactor.told)
    assert find(clean) == []  # a placeholder is no find
    assert Redactor(replace=False, allowed=[kind]).clean(text, "prompt") == text


@pytest.mark.parametrize(
    "text",
    [
        "move it to 2026-11-27 10:00:00, room 12.30",
        "27.11.2026 at 9:15, 30/11/2026",
        "complete task 4111111111111112",  # Luhn fails
        "order 1732680000000 and 12345678901234567890",
        "the password is wrong and the token is missing",
        "version 1.2.3, host 10.0.0.1, docs 192.0.2.7, std::vector, a::b",
        "person1@example.com, +1-202-555-0101",
        "DE88370400440532013000",  # modulo 97 fails
        '{"operation": "create", "arguments": {"task": "buy 12 eggs"}, "reply": "Done."}',
        "",
    ],
)
def test_ordinary_text_is_left_alone(text):
    assert find(text) == []


def test_the_same_text_gets_the_same_placeholder_everywhere():
    redactor = Redactor(replace=True)
    value = {"a": ["ask ann@corp.com", "bob@corp.com"], "b": "Ann@corp.com", "n": 7}
    assert redactor.clean(value, "x") == {
        "a": ["ask person1@example.com", "person2@example.com"],
        "b": "person1@example.com",
        "n": 7,
    }
    assert redactor.told == [
        "x.a[0]: e-mail address, now person1@example.com",
        "x.a[1]: e-mail address, now person2@example.com",
        "x.b: e-mail address, now person1@example.com",
    ]


def test_no_placeholder_is_what_stands_there_for_somebody_else():
    redactor = Redactor(replace=True)
    redactor.avoid("person1@example.com")
    assert redactor.clean("from person1@example.com to ann@corp.com", "x").endswith(" person2@example.com")


def test_finds_that_overlap_go_as_one():
    text = "token=ghp_" + TOKEN[:36]
    assert len(find(text)) == 1
    assert TOKEN[:36] not in Redactor(replace=True).clean(text, "x")


def test_every_kind_has_a_name_of_its_own_to_be_allowed_by():
    assert len(kinds()) == len(set(kinds())) > len(KINDS)


@pytest.mark.parametrize(
    "text",
    ["a@" + "a." * 50_000, "sk-" * 33_000, "ghp_" * 25_000, "://a:" * 20_000, "1:" * 50_000, "0 12" * 25_000]
    + [
        "token is" + " " * 99_000,
        "AA00" + " A" * 49_000,
        "//a/:_" * 16_000,
        "a@b.co " * 14_000,
        "4 " * 50_000,
    ],
    ids=lambda text: text[:8],
)
def test_the_longest_record_is_searched_in_seconds(text):
    started = time.process_time()
    find(text)
    assert time.process_time() - started < 5


def test_keys_and_numbers_are_looked_at_too():
    record = {"arguments": {"bob.smith@corp.com": "x", "card": 4111111111111111, "on": True, "n": 7}}
    redactor = Redactor(True)
    clean = redactor.clean(record, "expect")
    assert clean == {"arguments": {"person1@example.com": "x", "card": "CARD-NUMBER-1", "on": True, "n": 7}}
    assert redactor.told == [
        "a key of expect.arguments: e-mail address, now person1@example.com",
        "expect.arguments.card: payment card number, now CARD-NUMBER-1",
    ]


def test_secrets_go_and_people_stay_where_only_secrets_are_meant():
    command = ["answer.py", "--to=bob.smith@corp.com", "--api-key=abc12345"]
    assert without_secrets({"command": command}) == {
        "command": ["answer.py", "--to=bob.smith@corp.com", "--api-key=SECRET-1"]
    }

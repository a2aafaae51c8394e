"""The client against a real server on this machine: requests, answers, retries, keys, pace, work side by side."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from kaiwa.core.errors import UserError
from kaiwa.text import client as client_module
from kaiwa.text.chat_model import GenerateCall, ManyModel, ModelUnavailable, ScoreCall, ScoreResult
from kaiwa.text.client import HTTPChatModel
from kaiwa.text.records import Completion, Message
from kaiwa.text.sampling import Grammar, Sampling
from tests.module_clock import replace_clock

Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]
KEY = "sk-secret"
CHAT = {"choices": [{"message": {"content": "Hi."}, "finish_reason": "length"}]}
TEXT = {"choices": [{"text": " world", "finish_reason": "stop"}]}
HELLO = (Message("system", "Be brief."), Message("user", "Hello?"))


class Server:
    """Answers by a function of path and body, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[str, dict[str, Any]], Reply] = lambda path, body: (200, CHAT)
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append((self.path, body, dict(self.headers)))
                status, content, *headers = server.answer(self.path, body)
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in (headers[0] if headers else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "text/html" if isinstance(content, bytes) else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *unused: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def in_turn(self, *replies: Reply) -> None:
        """Give these replies one after the other, the last one for ever."""
        queue = list(replies)
        self.answer = lambda path, body: queue.pop(0) if len(queue) > 1 else queue[0]


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=lambda: server.http.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def server(running: Server) -> Server:
    running.requests.clear()
    running.in_turn((200, CHAT))
    return running


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def model(server: Server, pauses: list[float]) -> Iterator[HTTPChatModel]:
    opened = HTTPChatModel(server.url, "m", api_key=KEY, sleep=pauses.append)
    yield opened
    opened.close()


def test_messages_go_to_chat_completions(server: Server, model: HTTPChatModel) -> None:
    reply = model.generate(HELLO, Sampling(max_tokens=7, temperature=0.5, stop=("\n",), top_k=3))
    assert reply == Completion(text="Hi.", finish_reason="length")
    ((path, body, headers),) = server.requests
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "m", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
        "max_tokens": 7, "temperature": 0.5, "top_p": 1.0, "seed": 0, "stop": ["\n"], "top_k": 3,
    }  # fmt: skip
    assert headers["Authorization"] == f"Bearer {KEY}"


def test_a_string_goes_to_completions(server: Server, model: HTTPChatModel) -> None:
    server.in_turn((200, TEXT))
    assert model.generate("hello").text == " world"
    path, body, _ = server.requests[0]
    assert path == "/v1/completions"
    assert body["prompt"] == "hello"
    assert "messages" not in body
    assert "stop" not in body  # some servers refuse an empty list


def test_counts_of_tokens_where_the_server_gives_them(server: Server, model: HTTPChatModel) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    server.in_turn((200, CHAT | {"usage": usage}), (200, CHAT | {"usage": {"prompt_tokens_details": None}}))
    first, second = model.generate(HELLO), model.generate(HELLO)
    assert (first.n_prompt, first.n_reused, first.n_tokens) == (9, 4, 2)
    assert (second.n_prompt, second.n_reused, second.n_tokens) == (0, 0, 0)


def test_an_answer_of_nothing_is_an_empty_text_that_ended(server: Server, model: HTTPChatModel) -> None:
    server.in_turn((200, {"choices": [{"message": {"content": None}}]}))
    assert model.generate(HELLO) == Completion(text="", finish_reason="stop")


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"choices": [{}]}, {"choices": "x"}, {"choices": [None]}])
def test_an_answer_without_choices_is_a_lost_answer(server: Server, model: HTTPChatModel, answer: Any) -> None:
    server.in_turn((200, answer))
    with pytest.raises(ConnectionError, match="an answer without choices"):
        model.generate(HELLO)
    if answer != {"choices": [{}]}:
        with pytest.raises(ConnectionError, match="an answer without choices"):
            model.score("a", "b")


def test_what_may_pass_is_tried_again_after_growing_pauses(
    server: Server, model: HTTPChatModel, pauses: list[float]
) -> None:
    server.in_turn((503, {}), (429, {}), (500, b"boom"), (200, CHAT))
    assert model.generate(HELLO).text == "Hi."
    assert pauses == [0.5, 1.0, 2.0]
    assert len({json.dumps(body) for _, body, _ in server.requests}) == 1  # the same request each time


@pytest.mark.parametrize(
    ("header", "pause"), [("7", 7.0), ("0.25", 0.25), ("-3", 0.0), ("9999", 60.0), ("Wed, 21 Oct 2026", 0.5)]
)
def test_the_server_says_how_long_to_wait(
    server: Server, model: HTTPChatModel, pauses: list[float], header: str, pause: float
) -> None:
    server.in_turn((429, {}, {"Retry-After": header}), (200, CHAT))
    model.generate(HELLO)
    assert pauses == [pause]


@pytest.mark.parametrize(
    ("status", "content", "reason"),
    [
        (500, {"error": {"message": f"the key {KEY}\nis bad"}}, r"\(500: the key \[key\] is bad\)"),
        (503, {"error": "busy"}, r"\(503: busy\)"),
        (502, b"", r"\(502: nothing\)"),
        (200, b"<html>Sign in</html>", r"\(no JSON object \(text/html\): <html>Sign in</html>\)"),
        (200, [1], r"\(no JSON object \(application/json\): \[1\]\)"),
    ],
)
def test_it_gives_up_with_the_last_reason(
    server: Server, model: HTTPChatModel, pauses: list[float], status: int, content: Any, reason: str
) -> None:
    server.in_turn((status, content))
    with pytest.raises(ModelUnavailable, match=f"gave up after 5 attempts {reason}") as error:
        model.generate(HELLO)
    assert error.value.code == str(status)
    assert KEY not in str(error.value)
    assert pauses == [0.5, 1.0, 2.0, 4.0]  # none after the last try
    assert len(server.requests) == 5


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_what_will_not_pass_is_not_tried_again(
    server: Server, model: HTTPChatModel, pauses: list[float], status: int
) -> None:
    server.in_turn((status, {"error": {"message": f"no such model, {KEY}"}}))
    with pytest.raises(UserError, match=rf"{status}: no such model, \[key\]") as error:
        model.generate(HELLO)
    assert error.value.code == str(status)
    assert pauses == []
    assert len(server.requests) == 1


def test_a_long_complaint_is_cut_to_one_line(server: Server, model: HTTPChatModel) -> None:
    server.in_turn((400, b"a b\n" * 500))
    with pytest.raises(UserError) as error:
        model.generate(HELLO)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 220


def test_a_server_that_is_not_there_is_unreachable(pauses: list[float]) -> None:
    model = HTTPChatModel("http://127.0.0.1:9/v1", "m", retries=2, sleep=pauses.append)
    with pytest.raises(ModelUnavailable, match="gave up after 3 attempts") as error:
        model.generate(HELLO)
    assert error.value.code == "unreachable"
    assert isinstance(error.value, ConnectionError)
    assert pauses == [0.5, 1.0]


def test_a_connection_that_breaks_is_not_unreachable() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset by peer")

    model = HTTPChatModel("http://x/v1", "m", retries=0, transport=httpx.MockTransport(broken))
    with pytest.raises(ModelUnavailable, match="ReadError") as error:
        model.generate(HELLO)
    assert error.value.code == "disconnected"


def test_a_timeout_is_told_apart() -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("too slow", request=request)

    model = HTTPChatModel(
        "http://x/v1", "m", retries=0, transport=httpx.MockTransport(slow), sleep=lambda seconds: pytest.fail("slept")
    )
    with pytest.raises(ModelUnavailable, match=r"1 attempts .ReadTimeout: too slow") as error:
        model.generate(HELLO)
    assert error.value.code == "timeout"


# "one| two| three" as tokens with their places; the context ends within the second
SCORED = {"token_logprobs": [None, -1.0, -2.0], "text_offset": [0, 3, 7], "tokens": ["one", " two", " three"]}


@pytest.mark.parametrize(
    ("context", "expected"),
    [("one two", [-2.0]), ("one tw", [-1.0, -2.0]), ("one", [-1.0, -2.0]), ("", [-1.0, -2.0]), ("one two three", [])],
)
def test_a_token_across_the_border_is_the_continuations(
    server: Server, model: HTTPChatModel, context: str, expected: list[float]
) -> None:
    server.in_turn((200, {"choices": [{"text": "", "logprobs": SCORED}]}))
    assert model.score(context, "one two three"[len(context) :]) == expected
    _, body, _ = server.requests[0]
    assert (body["prompt"], body["max_tokens"], body["echo"]) == ("one two three", 0, True)


@pytest.mark.parametrize("logprobs", [None, {}, {"token_logprobs": []}, {"token_logprobs": [-1.0], "text_offset": []}])
def test_a_server_that_cannot_score_says_so(server: Server, model: HTTPChatModel, logprobs: Any) -> None:
    server.in_turn((200, {"choices": [{"text": "", "logprobs": logprobs}]}))
    with pytest.raises(UserError, match="this server cannot score"):
        model.score("a", "b")


def test_messages_are_not_scored(model: HTTPChatModel) -> None:
    with pytest.raises(UserError, match="servers score plain text only, no messages; use form = 'text'"):
        model.score(HELLO, "b")


def test_many_answers_have_their_numbers_and_failures_are_answers(server: Server) -> None:
    def answer(path: str, body: dict[str, Any]) -> Reply:
        if body["prompt"] == "bad":
            return 400, {"error": {"message": "no"}}
        if body["prompt"] == "down":
            return 503, {}
        return 200, {"choices": [{"text": body["prompt"].upper()}]}

    server.answer = answer
    model = HTTPChatModel(server.url, "m", retries=0, concurrency=3)
    calls = [GenerateCall(prompt=text) for text in ("a", "bad", "b", "down", "c")]
    outcomes = dict(model.generate_many(calls))
    assert {i: o.text for i, o in outcomes.items() if isinstance(o, Completion)} == {0: "A", 2: "B", 4: "C"}
    assert isinstance(outcomes[1], UserError)
    assert isinstance(outcomes[3], ModelUnavailable)
    assert list(model.generate_many([])) == []
    assert isinstance(model, ManyModel)


def test_many_scores_have_their_numbers(server: Server) -> None:
    def answer(path: str, body: dict[str, Any]) -> Reply:
        size = len(body["prompt"])
        logprobs = {"token_logprobs": [None, *[-float(i) for i in range(1, size)]], "text_offset": [*range(size)]}
        return 200, {"choices": [{"text": "", "logprobs": logprobs}]}

    server.answer = answer
    model = HTTPChatModel(server.url, "m", concurrency=2)
    calls = [ScoreCall(context="ab", continuation="c"), ScoreCall(context="a", continuation="bcd")]
    assert dict(model.score_many(calls)) == {
        0: ScoreResult(logprobs=(-2.0,)), 1: ScoreResult(logprobs=(-1.0, -2.0, -3.0)),
    }  # fmt: skip


def test_no_more_requests_at_once_than_asked_for(server: Server) -> None:
    inside, most, guard = 0, 0, threading.Lock()
    together = threading.Barrier(2, timeout=5)

    def answer(path: str, body: dict[str, Any]) -> Reply:
        nonlocal inside, most
        with guard:
            inside += 1
            most = max(most, inside)
        together.wait()  # passes only where two are under way at once
        with guard:
            inside -= 1
        return 200, TEXT

    server.answer = answer
    model = HTTPChatModel(server.url, "m", concurrency=2)
    assert len(list(model.generate_many([GenerateCall(prompt=str(i)) for i in range(6)]))) == 6
    assert most == 2


def test_starts_are_spread_over_the_minute(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, pauses = [100.0], list[float]()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += seconds

    replace_clock(monkeypatch, client_module, lambda: clock[0])
    model = HTTPChatModel(server.url, "m", per_minute=30, sleep=sleep)
    for _ in range(3):
        model.generate(HELLO)
    assert pauses == pytest.approx([2.0, 2.0])  # the first starts at once
    clock[0] += 50.0  # an idle minute is not saved up
    model.generate(HELLO)
    model.generate(HELLO)
    assert pauses == pytest.approx([2.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("grammar", "expected"),
    [
        (Grammar(kind="json_object"), {"type": "json_object"}),
        (Grammar(kind="lark", source="start: X"), {"type": "grammar", "syntax": "lark", "definition": "start: X"}),
    ],
)
def test_a_grammar_is_a_response_format(server: Server, model: HTTPChatModel, grammar: Grammar, expected: Any) -> None:
    model.generate(HELLO, Sampling(grammar=grammar))
    _, body, _ = server.requests[0]
    assert body["response_format"] == expected
    assert "grammar" not in body

"""The OpenAPI description, fuzzed: whatever comes in, never a 500, never a hang, and errors in OpenAI's shape.

Two kinds of bodies for each operation: ones the description allows, turned to a model that is there (so that they reach
the engine), and ones it does not allow.
"""

import json
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from kaiwa.serve.http.errors import OLLAMA_PATHS
from tests.running_server import Running

EXAMPLES = 12
CHAT = "toy/ppo"
MESSAGES = [{"role": "user", "content": "the cat"}]
SHAPE = {"message", "type", "param", "code"}
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def sound(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        error = response.json()["error"]
        if urlsplit(str(response.request.url)).path in OLLAMA_PATHS:
            assert isinstance(error, str)
            return
        assert set(error) == SHAPE
        assert error["message"]


def tamed(body: Any) -> Any:
    """The same body for a model that is there, and a short answer."""
    if isinstance(body, dict):
        body = body | {"model": CHAT}
        for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
            if isinstance(body.get(name), int):
                body[name] = min(body[name], 3)
        body.setdefault("max_tokens", 3)
    return body


def ask_all(operation: Any, mode: Any, tame: bool) -> None:
    @settings(BOUNDED, max_examples=EXAMPLES // 2)
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if tame:
            case.body = tamed(case.body)
        sound(case.call(timeout=30))

    ask()


def test_the_description_is_kept_to(server: Running) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    modes = schemathesis.GenerationMode
    n_operations = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        n_operations += 1
        for mode in (modes.POSITIVE, modes.NEGATIVE):
            try:
                ask_all(operation, mode, tame=mode is modes.POSITIVE and operation.method == "post")
            except Unsatisfiable:  # an operation that allows everything
                continue
    assert n_operations >= 15


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just("\ud800")
    | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
GOOD = {
    "/v1/chat/completions": {"model": CHAT, "messages": MESSAGES, "max_tokens": 2},
    "/v1/completions": {"model": CHAT, "prompt": "the cat", "max_tokens": 2},
    "/v1/embeddings": {"model": CHAT, "input": "the cat"},
    "/v1/responses": {"model": CHAT, "input": "the cat", "max_output_tokens": 2},
    "/v1/messages": {"model": CHAT, "messages": MESSAGES, "max_tokens": 2},
    "/api/chat": {"model": CHAT, "messages": MESSAGES, "options": {"num_predict": 2}, "stream": False},
    "/api/generate": {"model": CHAT, "prompt": "the cat", "options": {"num_predict": 2}, "stream": False},
    "/tokenize": {"model": CHAT, "prompt": "the cat"},
    "/detokenize": {"model": CHAT, "tokens": [5, 6]},
}
FIELDS = (
    [(path, field) for path, good in GOOD.items() for field in good]
    + [
        ("/v1/chat/completions", field)
        for field in (
            "tools",
            "tool_choice",
            "response_format",
            "logit_bias",
            "stop",
            "stream_options",
            "n",
            "top_logprobs",
            "chat_template_kwargs",
            "thinking_budget",
            "continue_final_message",
        )
    ]
    + [("/v1/messages", field) for field in ("system", "tools", "tool_choice", "thinking", "output_config")]
)


@pytest.mark.parametrize(("path", "field"), FIELDS)
def test_any_value_in_any_field(server: Running, path: str, field: str) -> None:
    """One field of a good body at a time becomes anything at all."""
    with httpx.Client(timeout=30) as client:

        @BOUNDED
        @given(value=ANYTHING)
        def ask(value: Any) -> None:
            body = json.dumps(GOOD[path] | {field: value})
            response = client.post(f"{server.url}{path}", content=body, headers={"Content-Type": "application/json"})
            sound(response)

        ask()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"1" * 5000,
        b"[" * 50_000,
        b'{"a":' * 5_000,
        b"\xff\xfe{}",
        b'{"model": 1e999}',
    ],
)
def test_any_bytes(server: Running, body: bytes) -> None:
    with httpx.Client(timeout=30) as client:
        for path in (*GOOD, "/api/jobs", "/api/engine/load"):
            for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x", "nonsense"):
                response = client.post(f"{server.url}{path}", content=body, headers={"Content-Type": kind})
                assert 400 <= response.status_code < 500, (path, kind, response.text)
                sound(response)
    assert server.engine()["restarts"] == 0

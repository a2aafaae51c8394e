"""A real server on a free port, with a real engine process and a tiny random model."""

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

pytest.importorskip("uvicorn")

from kaiwa.serve.app import make_app
from kaiwa.serve.services import ServerServices, ServerSettings
from kaiwa.serve.tuning.builds import BuildJobs
from kaiwa.serve.worker.client import EngineClient

TEXTS = ["the cat sat on the mat and the dog ran to the cat. 猫と犬。 0123456789\n"] * 30


def make_model(folder: Path, kind: str, length: int = 512) -> None:
    import torch

    from kaiwa.model.config import DecoderConfig
    from kaiwa.model.decoder import make_decoder
    from kaiwa.model.formats.hf_folder import save_model
    from kaiwa.tokenizer.config import TokenizerConfig
    from kaiwa.tokenizer.folder import special_ids
    from kaiwa.tokenizer.train import save, train

    tokenizer = train(TEXTS, TokenizerConfig(vocab_size=290))
    config = DecoderConfig(vocab_size=290, d_model=32, n_layer=2, n_head=2, d_ff=48, max_length=length)
    decoder = make_decoder(config, 0)
    with torch.no_grad():
        decoder.embed.weight[:4] *= 0.01  # special tokens are unlikely: answers are long
        decoder.embed.weight *= 12
    save_model(folder, decoder, special_ids(tokenizer), torch.float32)
    save(tokenizer, folder)
    (folder / "kaiwa.json").write_text(json.dumps({"kind": kind, "hash": "0"}))
    card = {"languages": ["en"], "about": {"en": "A tiny model."}, "starters": {"en": ["the cat"]}}
    (folder / "chat.json").write_text(json.dumps(card))


@dataclass
class Running:
    url: str
    port: int
    services: ServerServices
    runs: Path

    def engine(self) -> dict:
        return httpx.get(f"{self.url}/api/engine").json()

    def wait(self, done: Callable[[], bool], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.05)


STUB = """
import fcntl, json, os, signal, sys, time
from pathlib import Path
out = Path(sys.argv[sys.argv.index("--out") + 1]); (out / "logs").mkdir(exist_ok=True)
lock = open(out / ".lock", "w"); fcntl.flock(lock, fcntl.LOCK_EX); lock.write(str(os.getpid())); lock.flush()
stop = []
signal.signal(signal.SIGINT, lambda *_: stop.append(1))
def tell(state):
    value = {"recipe": sys.argv[2], "state": state, "pid": os.getpid(), "started": 1.0, "updated": time.time(),
             "error": "", "nice": os.nice(0), "stages": []}
    (out / ".s").write_text(json.dumps(value)); os.replace(out / ".s", out / "status.json")
for step in range(600):
    with open(out / "logs" / "pretrain.jsonl", "a") as f: f.write(json.dumps({"step": step}) + "\\n")
    tell("running"); time.sleep(0.05)
    if stop: tell("stopped"); sys.exit(130)
tell("finished")
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    import uvicorn

    runs, home = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("home")
    make_model(runs / "toy" / "ppo", "rlhf")
    make_model(runs / "toy" / "base", "pretrain")
    make_model(runs / "toy" / "long", "rlhf", length=40_000)
    stub = home / "stub.py"
    stub.write_text(STUB)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    services = ServerServices(
        settings=ServerSettings(runs=runs, home=home, port=port),
        engine=EngineClient(limit=12),
        jobs=BuildJobs(runs, command=[sys.executable, str(stub)]),
    )
    running = uvicorn.Server(uvicorn.Config(make_app(services), log_level="warning", timeout_graceful_shutdown=2))
    running.capture_signals = __import__("contextlib").nullcontext  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: asyncio.run(running.serve(sockets=[listener])), daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.05)
    yield Running(f"http://127.0.0.1:{port}", port, services, runs)
    running.should_exit = True
    thread.join(30)
    assert not thread.is_alive()
    assert services.engine.process is not None
    assert services.engine.process.poll() is not None, "the engine process outlived the server"

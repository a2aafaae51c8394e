"""The engine process: loads models, runs their engines, answers over a socket in lines of JSON. Only it has torch.

Started as `python -m kaiwa.serve.worker.process FD MEMORY`. In (server to engine):
    {"op": "generate", "id", "model", "path", "created", "messages" | "prompt" | "prompt_ids", "max_tokens", sampling}
    {"op": "embed" | "tokenize" | "detokenize" | "tokenizer", "id", "model", "path", "created", …}   (questions.py)
    {"op": "cancel", "id"}      {"op": "load", "model", "path", "created"}      {"op": "unload", "id", "model", …}
Where model, path and created are those of an adapter (catalog.py), "adapter", "chat" and "base" are beside them: the
base's model, path and created, whose weights and engine it shares (resident.py).
Out, a list a line:
    {"id", "kind": "admitted"}      the request is good and in the queue; an error that comes later is none of its own
    {"id", "kind": "start", "prompt_tokens", "cached", "prompt": [token]}
    {"id", "kind": "tokens", "text", "tokens": [token], "finish": null | "stop" | "length"}
    {"id", "kind": "result", "value", "finish": "stop"}
    {"id", "kind": "error", "status", "code", "message", "param"}
    {"kind": "state", "models", "loading", "requests", "tokens_per_second", …}        {"kind": "say", "line"}
    token: {"text", "bytes", "logprob", "top": [[text, bytes, logprob]]}, only where log-probabilities were asked for

A model loads in a thread, so that other models go on answering; requests for it wait. When memory runs out, the model
that has been idle longest goes. If the socket closes, the server is gone, and so are we.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaiwa.catalog.entries import read_entry
from kaiwa.core.errors import UserError
from kaiwa.engine.request import Event, TokenInfo
from kaiwa.serve.worker.questions import QUESTIONS
from kaiwa.serve.worker.requests import broken, make_request, refusal
from kaiwa.serve.worker.resident_model import Resident, free_unused, place

if TYPE_CHECKING:
    from kaiwa.catalog.load import Loaded

STATE_SECONDS = 0.5
SPEED_SECONDS = 2.0
LOWEST = -9999.0  # log-probability told for what is impossible: JSON has no infinity


class Child:
    def __init__(self, connection: socket.socket, memory: int) -> None:
        self.connection, self.memory = connection, memory
        self.inbox: queue.Queue[dict[str, Any]] = queue.Queue()
        self.models: OrderedDict[str, Resident] = OrderedDict()  # least recently used first
        self.waiting: dict[str, list[dict[str, Any]]] = {}  # model being loaded -> its requests
        self.chores: deque[tuple[Resident, dict[str, Any]]] = deque()  # questions, one between two steps
        self.out: list[dict[str, Any]] = []
        self.bytes_read, self.step_seconds, self.bandwidth = 0, 0.0, 0.0
        self.recent: deque[tuple[float, int]] = deque()  # (time, tokens)
        self.told_state: tuple[Any, ...] = ()
        self.told_at = 0.0

    def run(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            self._turn()

    def _turn(self) -> None:
        """In a frame of its own: a name that outlives the turn would keep a model that was let go of."""
        busy = bool(self.chores) or any(not model.engine.idle for model in self.models.values())
        self._take_messages(block=not busy)
        for name, model in list(self.models.items()):
            if not model.engine.idle:
                self._step(name, model)
        if self.chores:
            self._answer(*self.chores.popleft())
        self._tell_state()
        self._flush()

    def _read(self) -> None:
        with self.connection.makefile("rb") as lines:
            for line in lines:
                self.inbox.put(json.loads(line))
        os._exit(0)  # the server is gone

    def _take_messages(self, block: bool) -> None:
        try:
            message = self.inbox.get(timeout=STATE_SECONDS) if block else self.inbox.get_nowait()
            while True:
                self._handle(message)
                message = self.inbox.get_nowait()
        except queue.Empty:
            pass

    def _handle(self, message: dict[str, Any]) -> None:
        if message["op"] == "generate" or message["op"] in QUESTIONS:
            self._admit(message)
        elif message["op"] == "cancel":
            self.chores = deque(chore for chore in self.chores if chore[1]["id"] != message["id"])
            for model in self.models.values():
                if model.engine.cancel(message["id"]):
                    model.asked.pop(message["id"], None)
                    model.told.discard(message["id"])
            for name, requests in self.waiting.items():
                self.waiting[name] = [r for r in requests if r.get("id") != message["id"]]
        elif message["op"] == "load":
            self._admit(message)
        elif message["op"] == "unload":
            self._unload(message)
        elif message["op"] == "loaded":
            self._loaded(message)
        elif message["op"] == "say":
            self.out.append({"kind": "say", "line": message["line"]})

    def _admit(self, message: dict[str, Any]) -> None:
        there = place(message)
        if not self._has(there):
            self._start_loading(there)
            self.waiting[there["model"]].append(message)
            return
        self.models.move_to_end(there["model"])
        self._ask(self.models[there["model"]], message)

    def _ask(self, model: Resident, message: dict[str, Any]) -> None:
        try:
            loaded = self._seen(model, message)
        except UserError as error:
            self._say(str(error))
            if "id" in message:
                self._error(message["id"], 404, "model_not_found", str(error))
            return
        except Exception as error:  # such as an adapter's file that nobody thought of: the others go on
            if "id" in message:
                self._unreadable(message, error)
            else:
                traceback.print_exc()
            return
        if message["op"] == "load":
            return
        if message["op"] != "generate":
            self.chores.append((model, message))
            return
        try:
            model.engine.add(make_request(loaded, message))
        except UserError as error:
            self._refuse(message, refusal(message, error))
        except Exception as error:  # such as a template from elsewhere: this request is lost, the others go on
            self._unreadable(message, error)
        else:
            model.asked[message["id"]] = message
            self.out.append({"id": message["id"], "kind": "admitted"})

    def _seen(self, model: Resident, message: dict[str, Any]) -> Loaded:
        """What the message is about; an adapter that came for it takes its room from idle models."""
        before = model.bytes
        loaded = model.seen_by(message)
        if model.bytes > before:
            self._make_room(place(message)["model"])
        return loaded

    def _unload(self, message: dict[str, Any]) -> None:
        """Lets go of a model or an adapter that nobody uses, and tells its bytes (0: it was not here)."""
        name, there = message["model"], place(message)["model"]
        model, size = self.models.get(there), 0
        try:
            if name in self.waiting:
                raise UserError(f"{name} is being loaded; try again when it is there")
            if model is not None and name == there:
                if not model.engine.idle or any(chore[0] is model for chore in self.chores):
                    raise UserError(f"{name} is answering requests; let them finish")
                size, model = model.bytes, None
                self._drop(name)
            elif model is not None and name in model.adapters:
                size = model.drop(name)
        except UserError as error:
            self._error(message["id"], 409, "model_busy", str(error))
        else:
            self.out.append({"id": message["id"], "kind": "result", "value": {"bytes": size}, "finish": "stop"})

    def _answer(self, model: Resident, message: dict[str, Any]) -> None:
        try:
            value = QUESTIONS[message["op"]](self._seen(model, message), message)
        except UserError as error:
            self._refuse(message, refusal(message, error))
        except Exception as error:
            self._unreadable(message, error)
        else:
            self.out.append({"id": message["id"], "kind": "result", "value": value, "finish": "stop"})

    def _unreadable(self, message: dict[str, Any], error: Exception) -> None:
        traceback.print_exc()
        self._error(message["id"], 500, "engine_failed", f"the request could not be read ({error})")

    def _refuse(self, message: dict[str, Any], said: dict[str, Any]) -> None:
        self.out.append({"id": message["id"], "kind": "error", **said})

    def _has(self, message: dict[str, Any]) -> bool:
        """Whether the model is here as it is on disk: one that was built again is dropped once nobody uses it."""
        model = self.models.get(message["model"])
        if model is not None and model.loaded.entry.created != message["created"] and model.engine.idle:
            model = None
            self._drop(message["model"])
            return False
        return model is not None

    def _start_loading(self, message: dict[str, Any]) -> None:
        name = message["model"]
        if name in self.waiting:
            return
        self.waiting[name] = []
        if self.models:
            self._make_room_on_card(Path(message["path"]), name)

        def work() -> None:
            try:
                result: dict[str, Any] = {"model": _load(Path(message["path"]), name, self._say)}
                if not self.bandwidth:
                    result["bandwidth"] = measure_bandwidth()
            except UserError as error:
                result = {"status": 404, "code": "model_not_found", "error": str(error)}
            except Exception as error:
                traceback.print_exc()
                result = {"status": 500, "code": "model_failed", "error": f"{name} cannot be loaded: {error}"}
            self.inbox.put({"op": "loaded", "name": name, **result})

        threading.Thread(target=work, daemon=True).start()

    def _loaded(self, message: dict[str, Any]) -> None:
        requests = self.waiting.pop(message["name"], [])
        if "model" not in message:
            for request in requests:
                if "id" in request:
                    self._error(request["id"], message["status"], message["code"], message["error"])
            return
        self.models[message["name"]] = message["model"]
        self.bandwidth = self.bandwidth or message.get("bandwidth", 0.0)
        self._make_room(message["name"])
        for request in requests:  # whatever the folder looked like when they were sent: this is what there is now
            self._ask(message["model"], request)

    def _make_room(self, keep: str) -> None:
        """Lets go of idle models, longest unused first, until the rest fits."""
        for name in list(self.models):
            if sum(model.bytes for model in self.models.values()) <= self.memory:
                return
            if name != keep and self.models[name].engine.idle:
                self._drop(name)

    def _make_room_on_card(self, path: Path, name: str) -> None:
        """Before a model is planned: what idle ones hold there would split it."""
        from kaiwa.catalog.memory_plan import has_room

        try:
            entry = read_entry(path, name)
            for old in list(self.models):
                if entry is None or has_room(entry):
                    return
                if self.models[old].engine.idle:
                    self._drop(old)
        except Exception:  # a broken folder: loading it tells why
            return

    def _drop(self, name: str) -> None:
        """Nothing else may hold the model now."""
        del self.models[name]
        free_unused()

    def _step(self, name: str, model: Resident) -> None:
        begun = time.monotonic()
        try:
            events = model.engine.step()
        except Exception as error:  # a fault of ours must not end other models' answers
            traceback.print_exc()
            for id in model.asked:
                self._error(
                    id, 500, "engine_failed", f"{name} failed while answering ({error}); it will be loaded again"
                )
            del self.models[name]
            return
        for event in events:
            self._tell(model, event)
        count = sum(len(event.tokens) for event in events)
        if count:
            now = time.monotonic()
            self.recent.append((now, count))
            self.bytes_read, self.step_seconds = self.bytes_read + model.bytes, self.step_seconds + now - begun

    def _tell(self, model: Resident, event: Event) -> None:
        message = model.asked[event.id]
        if event.finish_reason == "error":  # such as a grammar that allows nothing more; what was told stands
            model.asked.pop(event.id)
            model.told.discard(event.id)
            self._refuse(message, broken(message, event.error))
            return
        detailed = bool(message.get("detailed"))

        def shown(tokens: Sequence[TokenInfo]) -> list[dict[str, Any]]:
            return [show_token(model.loaded, token) for token in tokens] if detailed else []

        if event.id not in model.told:
            model.told.add(event.id)
            start = {"prompt_tokens": message["prompt_tokens"], "cached": event.cached, "prompt": shown(event.prompt)}
            self.out.append({"id": event.id, "kind": "start", **start})
        told = {
            "text": event.text,
            "n": len(event.tokens),
            "tokens": shown(event.tokens),
            "finish": event.finish_reason,
        }
        self.out.append({"id": event.id, "kind": "tokens", **told})
        if event.finish_reason is not None:
            model.asked.pop(event.id, None)
            model.told.discard(event.id)

    def _error(self, id: str, status: int, code: str, message: str) -> None:
        self.out.append({"id": id, "kind": "error", "status": status, "code": code, "message": message, "param": None})

    def _say(self, line: str) -> None:
        """Called by the threads that load: it goes through the inbox, since `out` is the main thread's."""
        self.inbox.put({"op": "say", "line": line})

    def _tell_state(self) -> None:
        now = time.monotonic()
        while self.recent and now - self.recent[0][0] > SPEED_SECONDS:
            self.recent.popleft()
        if now - self.told_at < STATE_SECONDS:
            return
        span = max(0.2, now - self.recent[0][0]) if self.recent else 1.0
        speed = round(sum(n for _, n in self.recent) / span, 1)
        requests = sum(len(model.asked) for model in self.models.values()) + sum(map(len, self.waiting.values()))
        memory: dict[str, int] = {}
        for model in self.models.values():
            memory |= model.memory()
        state = (tuple(memory), tuple(self.waiting), requests, speed)
        if state != self.told_state:
            self.told_state, self.told_at = state, now
            told = {"models": memory, "loading": list(self.waiting), "requests": requests, "tokens_per_second": speed}
            read = {"bytes_read": self.bytes_read, "step_seconds": self.step_seconds, "bandwidth": self.bandwidth}
            self.out.append({"kind": "state", **told, **read})

    def _flush(self) -> None:
        if self.out:
            self.connection.sendall(json.dumps(self.out).encode() + b"\n")
            self.out = []


def _load(path: Path, name: str, say: Callable[[str], None]) -> Resident:
    import torch

    from kaiwa.catalog.memory_plan import load_here
    from kaiwa.core import machine
    from kaiwa.engine.engine import Engine

    torch.set_num_threads(machine.cores())  # torch comes with the first model: an idle engine is small

    entry = read_entry(path, name)
    if entry is None:
        raise UserError(f"{path}: no model that generates text here any more")
    free_unused()  # of a model that failed while answering
    loaded = load_here(entry, say)
    return Resident(loaded, Engine(loaded.decoder, loaded.tokenizer))


def measure_bandwidth() -> float:
    """Bytes a second that one summing thread pool reads from memory here: the best of three passes over 128 MB."""
    import torch

    block = torch.ones(32 << 20)
    best = 0.0
    for _ in range(3):
        begun = time.perf_counter()
        block.sum()
        best = max(best, block.numel() * 4 / (time.perf_counter() - begun))
    return best


def show_token(loaded: Loaded, token: TokenInfo) -> dict[str, Any]:
    def names(id: int) -> tuple[str, list[int]]:
        return loaded.tokenizer.token_text(id), list(loaded.tokenizer.decode_bytes([id]))

    text, data = names(token.id)
    top = [[*names(id), max(logprob, LOWEST)] for id, logprob in token.top]
    logprob = None if token.logprob is None else max(token.logprob, LOWEST)
    return {"text": text, "bytes": data, "logprob": logprob, "top": top}


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the server's to handle
    Child(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])).run()


if __name__ == "__main__":
    main()

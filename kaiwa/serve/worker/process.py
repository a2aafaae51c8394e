"""The engine process: loads models, runs their engines, and answers the server over a socket.

Only the engine process imports torch. Started as `python -m kaiwa.serve.worker.process FD MEMORY`; wire.py has the
records exchanged over the socket. A fault in a request or a model ends only the request or the model's answers, never
the process. When the socket closes, the server has ended, and the engine process ends too.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kaiwa.core import compiled
from kaiwa.core.errors import UserError
from kaiwa.engine.request import Event, TokenInfo
from kaiwa.serve.openai.choice import TokenAlternative, TokenDetail
from kaiwa.serve.worker.model_pool import LoadOutcome, ModelPool, Resident
from kaiwa.serve.worker.questions import answer_for_text, answer_question
from kaiwa.serve.worker.requests import failed_answer, fit_history, make_request, refusal
from kaiwa.serve.worker.resident_encoder import ResidentEncoder
from kaiwa.serve.worker.resident_model import AdmittedRequest, ResidentModel
from kaiwa.serve.worker.wire import (
    Admitted,
    Cancel,
    Command,
    EngineMessage,
    Failed,
    Generate,
    Load,
    ModelRequest,
    Question,
    QuestionResult,
    Say,
    Started,
    State,
    Tokens,
    Unload,
    Unloaded,
    message_line,
    read_commands,
)

if TYPE_CHECKING:
    from kaiwa.catalog.load import LoadedModel

STATE_SECONDS = 0.5
SPEED_SECONDS = 2.0
LOWEST = -9999.0  # the log-probability of an impossible token: JSON has no infinity


class EngineProcess:
    """The main loop. Threads for reading the socket and loading models only put messages into the inbox."""

    def __init__(self, connection: socket.socket, memory: int) -> None:
        self.connection = connection
        self.inbox: queue.Queue[Command | LoadOutcome | str] = queue.Queue()
        self.pool = ModelPool(memory, self.inbox.put)
        self.questions: deque[tuple[Resident, Question]] = deque()  # one is answered between two steps
        self.outbox: list[EngineMessage] = []
        self.bytes_read, self.step_seconds = 0, 0.0
        self.recent: deque[tuple[float, int]] = deque()  # (time, tokens) of the last steps
        self.sent_state: State | None = None
        self.sent_state_at = 0.0

    def run(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            self._run_once()

    def _run_once(self) -> None:
        """Do a round of work. A function of its own, so no local variable keeps a dropped model alive."""
        busy = bool(self.questions) or any(not model.engine.idle for model in self.pool.writers.values())
        self._take_messages(block=not busy)
        for name, model in self.pool.writers.items():
            for request in model.release():
                self._admit(model, request)
            if not model.engine.idle:
                self._step(name, model)
        if self.questions:
            self._answer(*self.questions.popleft())
        self._report_state()
        self._flush()

    def _read(self) -> None:
        """Put the server's commands into the inbox until the server closes the socket; then end the process."""
        try:
            with self.connection.makefile("rb") as lines:
                for line in lines:
                    for command in read_commands(line):
                        self.inbox.put(command)
        except OSError:  # the server ended with lines of ours unread
            pass
        except ValueError:
            traceback.print_exc()
        leave()

    def _take_messages(self, block: bool) -> None:
        try:
            message = self.inbox.get(timeout=STATE_SECONDS) if block else self.inbox.get_nowait()
            while True:
                self._handle(message)
                message = self.inbox.get_nowait()
        except queue.Empty:
            pass

    def _handle(self, message: Command | LoadOutcome | str) -> None:
        match message:
            case str():
                self.outbox.append(Say(line=message))
            case LoadOutcome():
                self._finish_loading(message)
            case Cancel():
                self._cancel(message.id)
            case Unload():
                self._unload(message)
            case _:
                self._accept(message)

    def _accept(self, request: Generate | Question | Load) -> None:
        """Start on a request if its model is in memory, or let the request wait while the model loads."""
        weights = request.model.weights
        model = self.pool.get(weights)
        if model is None:
            self.pool.wait_for(weights, request)
        else:
            self._admit(model, request)

    def _admit(self, model: Resident, request: ModelRequest | Load) -> None:
        """Hand a request to its model's engine, or queue a question. Errors are sent and end only the request."""
        if isinstance(model, ResidentEncoder):
            if isinstance(request, Question):
                self.questions.append((model, request))
            elif not isinstance(request, Load):  # its folder has become an embedding model since the server looked
                self._fail(request.id, 400, "not_a_text_model", f"{request.model.name} is an embedding model")
            return
        try:
            loaded = self._model_for(model, request)
        except UserError as error:
            self.outbox.append(Say(line=str(error)))
            if not isinstance(request, Load):
                self._fail(request.id, 404, "model_not_found", str(error))
            return
        except Exception as error:  # such as a damaged adapter file
            self._fail_unreadable(request, error)
            return
        if isinstance(request, Question):
            self.questions.append((model, request))
        elif isinstance(request, Generate):
            if model.holds(request):
                model.held.append(request)
            else:
                self._generate(model, loaded, request)

    def _generate(self, model: ResidentModel, loaded: LoadedModel, request: Generate) -> None:
        try:
            request, history = fit_history(loaded, request)
            engine_request, markup = make_request(loaded, request)
            unenforced = model.engine.add(engine_request)
        except UserError as error:
            self.outbox.append(refusal(request, error))
        except Exception as error:  # such as a chat template that fails
            self._fail_unreadable(request, error)
        else:
            model.running[request.id] = AdmittedRequest(
                request, len(engine_request.prompt_ids), markup, model.fingerprint(loaded)
            )
            self.outbox.append(Admitted(id=request.id, unenforced=unenforced, **history._asdict()))

    def _model_for(self, model: ResidentModel, request: ModelRequest | Load) -> LoadedModel:
        """Return the model or adapter of a request. Reading an adapter may drop idle models to make room."""
        before = model.bytes
        loaded = model.model_for(request.model)
        if model.bytes > before:
            self.pool.make_room(request.model.weights.name)
        return loaded

    def _cancel(self, id: str) -> None:
        self.questions = deque(pair for pair in self.questions if pair[1].id != id)
        for model in self.pool.writers.values():
            model.held = [request for request in model.held if request.id != id]
            if model.engine.cancel(id):
                model.running.pop(id, None)
        for name, requests in self.pool.waiting.items():
            self.pool.waiting[name] = [r for r in requests if isinstance(r, Load) or r.id != id]

    def _unload(self, request: Unload) -> None:
        """Drop an idle model or adapter and send its bytes (0: not in memory)."""
        name, base = request.model.name, request.model.weights.name
        model, size = self.pool.models.get(base), 0
        try:
            if name in self.pool.waiting:
                raise UserError(f"{name} is being loaded; try again when it is there")
            if model is not None and name == base:
                if not model.idle or any(pair[0] is model for pair in self.questions):
                    raise UserError(f"{name} is answering requests; let them finish")
                size, model = model.bytes, None
                self.pool.drop(name)
            elif isinstance(model, ResidentModel) and name in model.adapters:
                size = model.drop(name)
        except UserError as error:
            self._fail(request.id, 409, "model_busy", str(error))
        else:
            self.outbox.append(QuestionResult(id=request.id, value=Unloaded(bytes=size)))

    def _answer(self, model: Resident, question: Question) -> None:
        try:
            if isinstance(model, ResidentEncoder):
                value = answer_for_text(model.loaded, question)
            else:
                value = answer_question(self._model_for(model, question), question)
        except UserError as error:
            self.outbox.append(refusal(question, error))
        except Exception as error:
            self._fail_unreadable(question, error)
        else:
            self.outbox.append(QuestionResult(id=question.id, value=value))

    def _finish_loading(self, outcome: LoadOutcome) -> None:
        for request in self.pool.finish_loading(outcome):
            if outcome.model is not None:  # as it is now, whatever the folder looked like when the request was sent
                self._admit(outcome.model, request)
            elif not isinstance(request, Load):
                self._fail(request.id, outcome.status, outcome.code, outcome.message)

    def _step(self, name: str, model: ResidentModel) -> None:
        """Run a step of a model's engine. If the step fails, the model's answers end and the model is dropped."""
        start = time.monotonic()
        try:
            events = model.engine.step()
        except Exception as error:  # a fault of ours must not end other models' answers
            traceback.print_exc()
            message = f"{name} failed while answering ({error}); it will be loaded again"
            for id in (*model.running, *(request.id for request in model.held)):
                self._fail(id, 500, "engine_failed", message)
            del self.pool.models[name]
            return
        for event in events:
            self._send_event(model, event)
        count = sum(len(event.tokens) for event in events)
        if count:
            now = time.monotonic()
            self.recent.append((now, count))
            self.bytes_read, self.step_seconds = self.bytes_read + model.bytes, self.step_seconds + now - start

    def _send_event(self, model: ResidentModel, event: Event) -> None:
        answer = model.running[event.id]
        if event.finish_reason is not None:
            del model.running[event.id]
        if event.finish_reason == "error":  # such as a grammar that allows nothing more; the tokens before it stand
            self.outbox.append(failed_answer(answer.request, event))
            return

        def details(tokens: Sequence[TokenInfo]) -> tuple[TokenDetail, ...]:
            return tuple(token_detail(model.loaded, token) for token in tokens) if answer.request.detailed else ()

        if not answer.started:
            answer.started = True
            prompt = details(event.prompt)
            n, cached, markup = answer.prompt_tokens, event.cached, answer.markup
            started = Started(id=event.id, prompt_tokens=n, cached=cached, prompt=prompt, markup=markup)
            self.outbox.append(replace(started, fingerprint=answer.fingerprint))
        tokens = details(event.tokens)
        n, finish = len(event.tokens), event.finish_reason
        reply = Tokens(id=event.id, text=event.text, n=n, tokens=tokens, finish=finish, stop=event.stop_string)
        self.outbox.append(reply)

    def _fail(self, id: str, status: int, code: str, message: str) -> None:
        self.outbox.append(Failed(id=id, status=status, code=code, message=message))

    def _fail_unreadable(self, request: ModelRequest | Load, error: Exception) -> None:
        traceback.print_exc()
        if not isinstance(request, Load):
            self._fail(request.id, 500, "engine_failed", f"the request could not be read ({error})")

    def _report_state(self) -> None:
        """Send the state if changed, at most every STATE_SECONDS."""
        now = time.monotonic()
        while self.recent and now - self.recent[0][0] > SPEED_SECONDS:
            self.recent.popleft()
        if now - self.sent_state_at < STATE_SECONDS:
            return
        span = max(0.2, now - self.recent[0][0]) if self.recent else 1.0
        state = State(
            models=self.pool.bytes_by_name(),
            computing=self.pool.computing(),
            loading=tuple(self.pool.waiting),
            requests=self.pool.n_requests(),
            tokens_per_second=round(sum(n for _, n in self.recent) / span, 1),
            bytes_read=self.bytes_read,
            step_seconds=self.step_seconds,
            bandwidth=self.pool.bandwidth,
        )
        if state != self.sent_state:
            self.sent_state, self.sent_state_at = state, now
            self.outbox.append(state)

    def _flush(self) -> None:
        if not self.outbox:
            return
        messages, self.outbox = self.outbox, []
        try:
            self.connection.sendall(message_line(messages))
        except ConnectionError:
            leave()


def leave() -> None:
    """End the process at once, since the server has ended: no thread may print or wait any more.

    A running compiler is stopped, and its temporary files are removed.
    """
    compiled.abandon()
    sys.stderr.flush()
    os._exit(0)


def token_detail(loaded: LoadedModel, token: TokenInfo) -> TokenDetail:
    """Return a token with its text, bytes and log-probabilities."""

    def alternative(id: int, logprob: float) -> TokenAlternative:
        data = tuple(loaded.tokenizer.decode_bytes([id]))
        return TokenAlternative(loaded.tokenizer.token_text(id), data, max(logprob, LOWEST))

    text, data = loaded.tokenizer.token_text(token.id), tuple(loaded.tokenizer.decode_bytes([token.id]))
    logprob = None if token.logprob is None else max(token.logprob, LOWEST)
    return TokenDetail(text, data, logprob, tuple(alternative(*pair) for pair in token.top))


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the server's to handle
    EngineProcess(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])).run()


if __name__ == "__main__":
    main()

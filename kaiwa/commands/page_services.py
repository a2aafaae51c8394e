"""The services of the web pages, implemented with the server's engine, catalog, builds and fine-tuning jobs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

from kaiwa.catalog.entries import Entry, writers
from kaiwa.core.errors import UserError
from kaiwa.serve import answers
from kaiwa.serve.exceptions import APIError, EngineBusy, EngineLost
from kaiwa.serve.http.keys import owner_of
from kaiwa.serve.openai.answer_reader import AnswerReader, ContentPiece, ReasoningPiece
from kaiwa.serve.openai.call_forms import PLAIN, AnswerMarkup
from kaiwa.serve.services import ServerServices
from kaiwa.serve.tuning.job_folder import JobFolder
from kaiwa.serve.tuning.jobs import FineTuning
from kaiwa.serve.worker.wire import Admitted, ChatPrompt, Generate, ModelAddress, Reply, Started, TextPrompt, Tokens
from kaiwa.text.jinja_template import PromptEnding
from kaiwa.web.services import AnswerPiece, AnswerRequest, EngineStatus, ModelCard, PageServices, TuningJob

CATALOG_SECONDS = 1.0  # shortest time between two readings of the models' folders


def page_services(server: ServerServices) -> PageServices:
    """Return the pages' services, built from the server's parts."""
    models = PageCatalog(server)
    return PageServices(
        engine=PageEngine(server, models),
        catalog=models,
        jobs=PageBuilds(server),
        tuning=PageTuning(server.tuning) if server.tuning is not None else None,
        home=server.settings.home,
        runs=server.settings.runs,
    )


class PageCatalog:
    """The catalog's models as cards, first the model that the pages open with."""

    def __init__(self, server: ServerServices) -> None:
        self.server = server
        self.read_at, self.known = -CATALOG_SECONDS, list[Entry]()

    def entries(self) -> list[Entry]:
        if time.monotonic() - self.read_at > CATALOG_SECONDS:
            first = self.server.settings.model
            self.known = sorted(self.server.models(), key=lambda entry: entry.name != first)
            self.read_at = time.monotonic()
        return self.known

    def models(self) -> Sequence[ModelCard]:
        state = self.server.engine.state
        return [self._card(entry, state.models, state.loading) for entry in writers(self.entries())]

    def failed(self) -> Sequence[ModelCard]:
        return [
            ModelCard(name=entry.name, state="failed", why=entry.refusal, parameters=entry.parameters)
            for entry in self.entries()
            if entry.refusal
        ]

    def _card(self, entry: Entry, loaded: dict[str, int], loading: Sequence[str]) -> ModelCard:
        run, slash, _ = entry.name.partition("/")
        files = [entry.path] if entry.path.is_file() else list(entry.path.glob("*.safetensors"))
        return ModelCard(
            name=entry.name,
            state="ready" if entry.name in loaded else ("loading" if entry.name in loading else "idle"),
            about=entry.about,
            languages=entry.languages,
            starters=entry.starters,
            parameters=entry.parameters,
            bits=entry.bits,
            n_bytes=sum(file.stat().st_size for file in files),
            origin=f"runs/{run}" if slash else entry.path.name,
            run=run if slash else "",
        )


class PageEngine:
    """Access to the engine process: answers and status."""

    def __init__(self, server: ServerServices, catalog: PageCatalog) -> None:
        self.server, self.catalog = server, catalog

    async def answer(self, request: AnswerRequest) -> AsyncIterator[AnswerPiece]:
        """Yield the pieces of an answer, counted in the client's share. UserError if the model or engine fails."""
        entry = next((entry for entry in self.catalog.entries() if entry.name == request.model), None)
        if entry is None:
            raise UserError(f"{request.model} is no longer on this machine; choose another model")
        if entry.name not in self.server.engine.state.models:
            yield AnswerPiece(waiting="loading")
        replies = self._replies(entry, request)
        thoughts = Thoughts()
        try:
            async for reply in replies:
                if isinstance(reply, Admitted):
                    yield AnswerPiece(n_turns=reply.n_turns, n_dropped=reply.n_dropped)
                elif isinstance(reply, Started):
                    thoughts = Thoughts(reply.markup)
                    yield AnswerPiece()
                elif isinstance(reply, Tokens):
                    yield AnswerPiece(text=thoughts.push(reply), n_tokens=reply.n, finish_reason=reply.finish or "")
        except (APIError, EngineBusy, EngineLost) as error:
            raise UserError(str(error)) from None
        finally:
            await replies.aclose()

    async def _replies(self, entry: Entry, request: AnswerRequest) -> AsyncGenerator[Reply, None]:
        """Yield the engine's replies with defence, metrics and client's share, as for an API request."""
        with contextlib.closing(self.server.shares.open(request.client)) as share:
            events = answers.follow(self.server, [_generate(entry, request)], share)
            async with contextlib.aclosing(events):
                async for event in events:
                    yield event.reply

    def status(self) -> EngineStatus:
        engine, shield = self.server.engine.state, self.server.shield
        defence = shield.defence.name if shield is not None else ""
        if engine.state in ("restarting", "starting"):
            return EngineStatus(state="restarting", defence=defence)
        if engine.state == "stopped":
            return EngineStatus(state="gone", defence=defence)
        state = "loading" if engine.loading else ("working" if engine.requests else "still")
        why = ", ".join(engine.loading) if engine.loading else "\n".join(engine.notices)
        return EngineStatus(state=state, tokens_per_second=engine.tokens_per_second, why=why, defence=defence)


class Thoughts:
    """The text of an answer for the pages: reasoning stands within <think> and </think>, whatever a model's tags."""

    def __init__(self, markup: AnswerMarkup = PLAIN) -> None:
        self.reader = AnswerReader({}, reasoning=markup.reasoning, thinking=markup.thinking)
        self.reasons = False

    def push(self, reply: Tokens) -> str:
        """Return the text that new tokens add."""
        text = ""
        for piece in self.reader.push(reply.text) + (self.reader.finish() if reply.finish is not None else []):
            if isinstance(piece, ReasoningPiece):
                text += ("" if self.reasons else "<think>\n") + piece.text
                self.reasons = True
            elif isinstance(piece, ContentPiece):
                text += ("\n</think>\n\n" if self.reasons else "") + piece.text
                self.reasons = False
        return text


def _generate(entry: Entry, request: AnswerRequest) -> Generate:
    """Return the engine's request; for a model without chat training, the conversation as plain text."""
    messages = request.messages
    ending: PromptEnding = "continue" if messages[-1].role == "assistant" else "answer"  # a turn that was begun
    prompt = (
        ChatPrompt(
            tuple({"role": message.role, "content": message.content} for message in messages),
            ending=ending,
            drop_turns=True,
        )
        if entry.chat
        else TextPrompt("\n".join(message.content for message in messages))
    )
    # A page's answer is shortened to the room in the context instead of failing.
    return Generate(model=ModelAddress.of(entry), prompt=prompt, sampling=request.sampling, fit="shorten")


class PageBuilds:
    def __init__(self, server: ServerServices) -> None:
        self.server = server

    def recipes(self) -> Sequence[str]:
        return self.server.jobs.recipes

    def start_build(self, recipe: str) -> None:
        self.server.jobs.start(recipe)

    def stop_build(self, run: str) -> None:
        self.server.jobs.stop(run)


class PageTuning:
    """Fine-tuning jobs for the page."""

    def __init__(self, tuning: FineTuning) -> None:
        self.tuning = tuning

    def jobs(self, events: int, scope: Mapping[str, object]) -> Sequence[TuningJob]:
        return [self._tuning_job(folder, events) for folder in self.tuning.all(owner_of(scope))]

    def cancel(self, id: str) -> None:
        self.tuning.stop(id, "cancel")

    def _tuning_job(self, folder: JobFolder, events: int) -> TuningJob:
        job, state, public = folder.job(), folder.state(), folder.to_json()
        finish = public["estimated_finish"]
        return TuningJob(
            id=folder.id,
            status=str(public["status"]),
            model=job["model"],
            method=job["method"],
            suffix=job["suffix"] or "",
            trained=str(public["fine_tuned_model"] or ""),
            tokens=state.get("trained_tokens") or 0,
            seconds_left=max(0.0, finish - time.time()) if isinstance(finish, int) else None,
            error=(state.get("error") or {}).get("message", ""),
            events=[str(event["message"]) for event in folder.events()[:events]],
        )

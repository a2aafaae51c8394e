"""The pages' services made of the server's: where the web room meets engine, catalog and builds."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from kaiwa.catalog.entries import Entry
from kaiwa.core.errors import UserError
from kaiwa.serve.defence import shield as defending
from kaiwa.serve.services import Services as ServerServices
from kaiwa.serve.tuning.job_folder import JobFolder
from kaiwa.serve.tuning.jobs import FineTuning
from kaiwa.serve.worker.client import EngineBusy, EngineLost, EngineRefused
from kaiwa.web.services import Ask, EngineStatus, ModelCard, Piece, Services, TuningJob

CATALOG_SECONDS = 1.0  # how long a look at the folders is good for


def page_services(server: ServerServices) -> Services:
    models = PageCatalog(server)
    return Services(
        engine=PageEngine(server, models),
        catalog=models,
        jobs=PageJobs(server),
        tuning=PageTuning(server.tuning) if server.tuning is not None else None,
        home=server.settings.home,
        runs=server.settings.runs,
    )


class PageCatalog:
    """The catalog's entries as cards, the model that the pages open with first."""

    def __init__(self, server: ServerServices) -> None:
        self.server = server
        self.looked, self.found = -CATALOG_SECONDS, list[Entry]()

    def entries(self) -> list[Entry]:
        if time.monotonic() - self.looked > CATALOG_SECONDS:
            first = self.server.settings.model
            self.found = sorted(self.server.models(), key=lambda entry: entry.name != first)
            self.looked = time.monotonic()
        return self.found

    def models(self) -> Sequence[ModelCard]:
        state = self.server.engine.state
        return [self._card(entry, state.models, state.loading) for entry in self.entries()]

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
    """Answers through the engine process."""

    def __init__(self, server: ServerServices, catalog: PageCatalog) -> None:
        self.server, self.catalog = server, catalog

    async def answer(self, ask: Ask) -> AsyncIterator[Piece]:
        entry = next((entry for entry in self.catalog.entries() if entry.name == ask.model), None)
        if entry is None:
            raise UserError(f"{ask.model} is not here any more; choose another model")
        if entry.name not in self.server.engine.state.models:
            yield Piece(waiting="loading")
        stream = defending.generate(self.server, _message(entry, ask))
        try:
            async for _, message in stream:
                if message["kind"] == "error":
                    raise UserError(message["message"])
                if message["kind"] == "start":
                    yield Piece()
                elif message["kind"] == "tokens":
                    yield Piece(text=message["text"], n_tokens=message["n"], finish_reason=message.get("finish") or "")
        except (EngineBusy, EngineLost, EngineRefused) as error:
            raise UserError(str(error)) from None
        finally:
            await stream.aclose()

    def status(self) -> EngineStatus:
        engine, shield = self.server.engine.state, self.server.shield
        defence = shield.defence.name if shield is not None else ""
        if engine.state in ("restarting", "starting"):
            return EngineStatus(state="restarting", defence=defence)
        if engine.state == "stopped":
            return EngineStatus(state="gone", defence=defence)
        state = "loading" if engine.loading else ("working" if engine.requests else "still")
        why = ", ".join(engine.loading) if engine.loading else "\n".join(engine.said)
        return EngineStatus(state=state, tokens_per_second=engine.tokens_per_second, why=why, defence=defence)


def _message(entry: Entry, ask: Ask) -> dict[str, Any]:
    """The engine's request. A model that has not learnt to chat continues the conversation as plain text."""
    said = [message.to_json() for message in ask.messages]
    prompt = {"messages": said} if entry.chat else {"prompt": "\n".join(turn["content"] for turn in said)}
    return {
        **entry.address(),
        **ask.sampling.to_json(),
        "max_tokens": ask.sampling.max_tokens or None,
        "shorten": True,  # as long as the context has room, rather than an error
        **prompt,
    }


class PageJobs:
    def __init__(self, server: ServerServices) -> None:
        self.server = server

    def recipes(self) -> Sequence[str]:
        return self.server.jobs.recipes

    def start_build(self, recipe: str) -> None:
        self.server.jobs.start(recipe)

    def stop_build(self, run: str) -> None:
        self.server.jobs.stop(run)


class PageTuning:
    """Fine-tuning jobs as the page shows them."""

    def __init__(self, tuning: FineTuning) -> None:
        self.tuning = tuning

    def jobs(self, events: int) -> Sequence[TuningJob]:
        return [self._shown(folder, events) for folder in self.tuning.all()]

    def cancel(self, id: str) -> None:
        self.tuning.stop(id, "cancel")

    def _shown(self, folder: JobFolder, events: int) -> TuningJob:
        told = folder.to_json()
        finish = told["estimated_finish"]
        return TuningJob(
            id=told["id"],
            status=told["status"],
            model=told["model"],
            method=told["method"]["type"],
            suffix=told["user_provided_suffix"] or "",
            trained=told["fine_tuned_model"] or "",
            tokens=told["trained_tokens"] or 0,
            seconds_left=None if finish is None else max(0.0, finish - time.time()),
            error=(told["error"] or {}).get("message", ""),
            events=[event["message"] for event in folder.events()[:events]],
        )

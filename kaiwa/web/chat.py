"""Chat pages: the list, a conversation, and every change of a conversation. answers.py writes the answers.

Changing a conversation returns {"chat", "parent", "title", "html"}: the messages now following `parent`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response, StreamingResponse

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.feedback.records import ConversationLine, SavedConversation
from kaiwa.feedback.store import Store
from kaiwa.report.words import Words
from kaiwa.text.records import Message as Turn
from kaiwa.text.sampling import NUMBERS, USUAL, Sampling
from kaiwa.web.answers import AnswersInProgress
from kaiwa.web.events import EVENT_STREAM, event
from kaiwa.web.key_chats import KeyChats
from kaiwa.web.services import AnswerRequest, ModelCard
from kaiwa.web.view import HEADERS, PageView, about, client_of, starters
from kaiwa.web.words import words_of

MOST_CHARACTERS = 200_000
MOST_SEED = 2**31 - 1
# Parameters without a control of their own on the panel: a new one of Sampling is among them by itself.
MORE_PARAMETERS = tuple(name for name in NUMBERS if name not in ("temperature", "top_p", "max_tokens", "seed"))


class ChatSettings(BaseModel):
    """The side panel's values. seed None: a new seed for each answer. more: other parameters of Sampling by name."""

    system: Annotated[str, Field(max_length=MOST_CHARACTERS)] = ""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] = 512
    seed: Annotated[int | None, Field(ge=0, le=MOST_SEED)] = None
    more: dict[str, float] = {}

    def sampling(self, seed: int) -> Sampling:
        """Return the sampling of the answer. UserError for an unknown parameter or a value out of range."""
        unknown = next((name for name in self.more if name not in MORE_PARAMETERS), None)
        if unknown is not None:
            raise UserError(f"no sampling parameter {unknown!r}{did_you_mean(unknown, MORE_PARAMETERS)}", field=unknown)
        wrong = next((n for n, value in self.more.items() if NUMBERS[n] is int and not value.is_integer()), None)
        if wrong is not None:
            raise UserError(f"{wrong} is {self.more[wrong]}; it must be a whole number", field=wrong)
        more: dict[str, Any] = {name: NUMBERS[name](value) for name, value in self.more.items()}
        plain = Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens, seed=seed)
        return replace(plain, **more)


class SentMessage(BaseModel):
    chat: int | None = None
    parent: int | None = None
    text: Annotated[str, Field(max_length=MOST_CHARACTERS)] = ""
    model: str = ""
    settings: ChatSettings = ChatSettings()


class Title(BaseModel):
    title: Annotated[str, Field(min_length=1, max_length=400)]


class ChatPages:
    """The functions of the routes."""

    def __init__(self, view: PageView, chats: KeyChats) -> None:
        self.view, self.chats = view, chats

    @property
    def store(self) -> Store:
        return self.chats.store

    @property
    def answers(self) -> AnswersInProgress:
        return self.chats.answers

    # pages

    def show_new(self, request: Request, model: str = "") -> HTMLResponse:
        return self._page(request, None, model)

    def show_chat(self, request: Request, chat: int) -> HTMLResponse:
        try:
            return self._page(request, self.store.get(chat), "")
        except UserError:
            return self.view.page(request, "missing.html", status=404, what=f"/chat/{chat}")

    def _page(self, request: Request, chat: SavedConversation | None, name: str) -> HTMLResponse:
        words = words_of(request)
        models = list(self.view.services.catalog.models())
        name = name or (chat.model if chat else "")
        names = [card.name for card in models]
        model = name if name in names else (names[0] if names else "")
        return self.view.page(
            request,
            "chat.html",
            chat=chat,
            models=models,
            model=model,
            missing_model=name if name and name not in names else "",
            cards={card.name: _card(card, words.language) for card in models},
            settings=ChatSettings(**(chat.settings if chat else {})),
            more=[(name, getattr(USUAL, name)) for name in MORE_PARAMETERS],
            groups=group_by_day(self.store.lines(), words),
            query="",
        )

    def show_list(self, request: Request, q: str = "", open: int = 0) -> HTMLResponse:
        words = words_of(request)
        lines = self.store.search(q) if q.strip() else self.store.lines()
        return self.view.part(request, "lines.html", groups=group_by_day(lines, words), query=q, chat_id=open)

    # changes

    async def send(self, request: Request, sent: SentMessage) -> Response:
        """Store a person's message and begin its answer."""
        self._check(sent)
        chat = sent.chat or self.store.create(sent.model)
        message = self.store.append(chat, sent.parent, "user", sent.text)
        self._answer(request, chat, message, sent)
        return self._change_response(request, chat, sent.parent)

    async def edit(self, request: Request, message: int, sent: SentMessage) -> Response:
        """Store a new version of a message; a person's is answered anew."""
        self._check(sent)
        old = self.store.message(message)
        new = self.store.edit(message, sent.text)
        if old.role == "user":
            self._answer(request, old.conversation_id, new, sent)
        return self._change_response(request, old.conversation_id, old.parent_id)

    async def answer_again(self, request: Request, message: int, sent: SentMessage) -> Response:
        old = self.store.message(message)
        if old.parent_id is None or old.role != "assistant":
            raise UserError(f"message {message} is no answer; only an answer can be given again")
        self._check(sent, text=False)
        self._answer(request, old.conversation_id, old.parent_id, sent)
        return self._change_response(request, old.conversation_id, old.parent_id)

    async def show_version(self, request: Request, message: int) -> Response:
        self.store.flip(message)
        chosen = self.store.message(message)
        return self._change_response(request, chosen.conversation_id, chosen.parent_id)

    async def stop(self, message: int) -> Response:
        await self.answers.stop(message)
        return JSONResponse({}, headers=HEADERS)

    def rename(self, chat: int, title: Title) -> Response:
        self.store.rename(chat, title.title)
        return JSONResponse({}, headers=HEADERS)

    async def delete(self, chat: int) -> Response:
        for message in self.store.get(chat).path:
            await self.answers.stop(message.id)
        self.store.delete(chat)
        return JSONResponse({}, headers=HEADERS)

    def undo(self, chat: int) -> Response:
        self.store.undo(chat)
        return JSONResponse({}, headers=HEADERS)

    def _check(self, sent: SentMessage, text: bool = True) -> None:
        """Raise UserError for an empty message, bad settings or an unknown model, before anything is stored."""
        sent.settings.sampling(0)
        if text and not sent.text.strip():
            raise UserError("the message is empty")
        names = [card.name for card in self.view.services.catalog.models()]
        if sent.model not in names:
            raise UserError(f"there is no model {sent.model!r} here; choose one of {', '.join(names) or 'none yet'}")

    def _answer(self, request: Request, chat: int, parent: int, sent: SentMessage) -> None:
        """Begin an answer under `parent`. The stored sampling suffices to repeat the answer."""
        chosen = sent.settings
        self.store.choose(chat, sent.model, chosen.model_dump())
        seed = chosen.seed if chosen.seed is not None else secrets.randbelow(MOST_SEED)
        record = {**chosen.model_dump(), "seed": seed}
        new = self.store.append(chat, parent, "assistant", model=sent.model, sampling=record, streaming=True)
        turns = [Turn("system", chosen.system)] if chosen.system.strip() else []
        turns += [Turn(m.role, m.content) for m in self.store.history(new)]
        sampling, client = chosen.sampling(seed), client_of(request)
        self.answers.begin(new, AnswerRequest(model=sent.model, messages=turns, sampling=sampling, client=client))

    def _change_response(self, request: Request, chat: int, parent: int | None) -> Response:
        conversation = self.store.get(chat)
        path = conversation.path
        ids = [m.id for m in path]
        after = path[ids.index(parent) + 1 :] if parent in ids else path
        html = self.view.fragment(request, "messages.html", messages=after)
        value = {"chat": chat, "parent": parent, "title": conversation.title, "html": html}
        return JSONResponse(value, headers=HEADERS)

    # an answer while it is written

    def show_message(self, request: Request, message: int) -> HTMLResponse:
        return self.view.part(request, "messages.html", messages=[self.store.message(message)])

    def stream_answer(self, request: Request, message: int, at: int = 0) -> Response:
        """Stream the rest of an answer from character `at` on, as server-sent events; the last event is "over"."""
        last = request.headers.get("last-event-id", "")
        start = int(last) if last.isdecimal() else at

        async def stream() -> AsyncIterator[str]:
            async for update in self.answers.follow(message, start):
                if update.over:
                    yield event({}, name="over")
                elif update.waiting:
                    yield event({"waiting": update.waiting}, name="waiting")
                else:
                    yield event({"text": update.text}, name="text", id=str(update.at))

        return StreamingResponse(stream(), media_type=EVENT_STREAM, headers=HEADERS)


def _card(card: ModelCard, language: str) -> dict[str, object]:
    """Return the fields shown in the browser for a chosen model."""
    return {
        "about": about(card, language),
        "languages": list(card.languages),
        "starters": starters(card, language),
        "state": card.state,
        "why": card.why,
    }


def group_by_day(lines: Sequence[ConversationLine], words: Words) -> list[tuple[str, list[ConversationLine]]]:
    """Group the list under today, yesterday, the current week, and months."""
    today = datetime.now().date()
    groups: dict[str, list[ConversationLine]] = {}
    for line in lines:
        day = datetime.fromtimestamp(line.updated).date()
        if day >= today:
            name = words("day.today")
        elif day == today - timedelta(days=1):
            name = words("day.yesterday")
        elif day > today - timedelta(days=7):
            name = words("day.week")
        else:
            name = words("day.month", year=day.year, month=day.month)
        groups.setdefault(name, []).append(line)
    return list(groups.items())


def routes(chat: ChatPages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/", lambda: RedirectResponse("/chat", headers=HEADERS), methods=["GET"], response_model=None)
    router.add_api_route("/chat", chat.show_new, methods=["GET"], response_model=None)
    router.add_api_route("/chat/lines", chat.show_list, methods=["GET"], response_model=None)
    router.add_api_route("/chat/send", chat.send, methods=["POST"], response_model=None)
    router.add_api_route("/chat/{chat}", chat.show_chat, methods=["GET"], response_model=None)
    for name, change in (("rename", chat.rename), ("delete", chat.delete), ("undo", chat.undo)):
        router.add_api_route(f"/chat/{{chat}}/{name}", change, methods=["POST"], response_model=None)
    router.add_api_route("/chat/messages/{message}", chat.show_message, methods=["GET"], response_model=None)
    router.add_api_route("/chat/messages/{message}/live", chat.stream_answer, methods=["GET"], response_model=None)
    for name, act in (
        ("edit", chat.edit),
        ("again", chat.answer_again),
        ("flip", chat.show_version),
        ("stop", chat.stop),
    ):
        router.add_api_route(f"/chat/messages/{{message}}/{name}", act, methods=["POST"], response_model=None)
    return router

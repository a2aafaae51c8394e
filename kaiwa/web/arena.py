"""Page Arena: one prompt, two models, blind; a vote once both have ended; the table of strengths.

Both answers are released at one pace, as many characters of the one as of the other, so that speed tells nothing. A
game lives in memory until its vote: the vote adds an item with both outputs and a judgement of it to the batch "arena".
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from starlette.responses import Response, StreamingResponse

from kaiwa.core.errors import UserError
from kaiwa.feedback.batch_records import Batch, ItemAnswer, NewItem, OutputSource
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.judged import judged
from kaiwa.feedback.label_queue import LabelQueue
from kaiwa.stats.bradley_terry import PairedGame, Table, table
from kaiwa.text.records import Conversation, Message
from kaiwa.text.sampling import Sampling
from kaiwa.web.events import EVENT_STREAM, event
from kaiwa.web.judging import Key, error_response, json_response
from kaiwa.web.key_chats import KeyChats
from kaiwa.web.services import Answerer, AnswerRequest
from kaiwa.web.view import HEADERS, PageView, client_of

BATCH = "arena"
MOST_GAMES = 200  # kept in memory
MOST_CHARACTERS = 200_000
PACE_SECONDS = 0.05
CHARACTERS_EACH = 12  # of either answer at one pace
RANKS = {"left": (0, 1), "right": (1, 0), "tie": (0, 0), "bad": (0, 0)}


class SentStart(BaseModel):
    """A prompt, or a message of a chat whose conversation is the prompt; the models to draw from; same: a null test."""

    text: Annotated[str, Field(max_length=MOST_CHARACTERS)] = ""
    message: int | None = None
    models: Annotated[list[str], Field(max_length=200)] = []
    same: bool = False


class SentVote(BaseModel):
    key: Key
    vote: Literal["left", "right", "tie", "bad"]


@dataclass(slots=True)
class ArenaGame:
    """Two answers to one prompt, left and right. failed: why the pair must be drawn again."""

    id: str
    prompt: Conversation
    models: tuple[str, str]
    seeds: tuple[int, int]
    texts: list[str] = field(default_factory=lambda: ["", ""])
    tokens: list[int] = field(default_factory=lambda: [0, 0])
    ended: list[bool] = field(default_factory=lambda: [False, False])
    stopped: list[bool] = field(default_factory=lambda: [False, False])  # ended by themselves
    failed: str = ""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return all(self.ended) and not self.failed


class ArenaGames:
    """The games under way. Use from the server's event loop only."""

    def __init__(self, engine: Answerer) -> None:
        self.engine = engine
        self.games: OrderedDict[str, ArenaGame] = OrderedDict()

    def begin(self, prompt: Conversation, models: tuple[str, str], client: str) -> ArenaGame:
        """Start both answers of a new game."""
        seeds = (secrets.randbelow(2**31), secrets.randbelow(2**31))
        game = ArenaGame(secrets.token_urlsafe(12), prompt, models, seeds)
        self.games[game.id] = game
        while len(self.games) > MOST_GAMES:
            self._cancel(self.games.popitem(last=False)[1])
        game.tasks = [asyncio.create_task(self._write(game, side, client)) for side in (0, 1)]
        return game

    def get(self, number: str) -> ArenaGame:
        """Return a game. UserError for one that this server does not know (any more)."""
        if number not in self.games:
            raise UserError("this pair is gone, since the server was started anew; ask again", code="unknown_link")
        return self.games[number]

    async def _write(self, game: ArenaGame, side: int, client: str) -> None:
        sampling = Sampling(temperature=0.7, top_p=0.95, max_tokens=512, seed=game.seeds[side])
        request = AnswerRequest(model=game.models[side], messages=game.prompt, sampling=sampling, client=client)
        try:
            async for piece in self.engine.answer(request):
                game.texts[side] += piece.text
                game.tokens[side] += piece.n_tokens
                game.stopped[side] |= piece.finish_reason == "stop"
        except (UserError, OSError) as error:
            game.failed = str(error) or "the model failed"
            self._cancel(game)
        finally:
            game.ended[side] = True

    async def follow(self, game: ArenaGame) -> AsyncIterator[tuple[int, str]]:
        """Yield (side, text) at one pace for both sides, until both have ended."""
        at = [0, 0]
        while not game.failed:
            ready = [len(game.texts[side]) - at[side] for side in (0, 1)]
            waits = [ready[side] <= 0 and not game.ended[side] for side in (0, 1)]
            if not any(waits):
                for side in (0, 1):
                    n = min(CHARACTERS_EACH, max(0, ready[side]))
                    if n and not game.ended[1 - side]:
                        n = min(n, max(1, ready[1 - side]))
                    if n:
                        yield side, game.texts[side][at[side] : at[side] + n]
                        at[side] += n
                if all(game.ended) and at == [len(text) for text in game.texts]:
                    return
            await asyncio.sleep(PACE_SECONDS)

    def _cancel(self, game: ArenaGame) -> None:
        for task in game.tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def close(self) -> None:
        """Stop every answer, since the server goes down."""
        for game in self.games.values():
            self._cancel(game)
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*game.tasks, return_exceptions=True)


class ArenaPages:
    """The functions of the routes."""

    def __init__(self, view: PageView, chats: KeyChats, store: BatchStore) -> None:
        self.view, self.chats, self.store = view, chats, store
        self.games = ArenaGames(view.services.engine)

    def show(self, request: Request, message: int = 0) -> HTMLResponse:
        prompt: Conversation = ()
        if message:
            try:
                prompt = self._conversation(message)
            except UserError:
                return self.view.page(request, "missing.html", status=404, what=f"/arena?message={message}")
        n = len(self.view.services.catalog.models())  # their names would be a hint: they come when asked for
        return self.view.page(request, "arena.html", n_models=n, prompt=prompt, message=message)

    def show_models(self) -> Response:
        return json_response({"models": [card.name for card in self.view.services.catalog.models()]})

    def show_table(self, request: Request) -> HTMLResponse:
        """Show the strengths so far, beside the win rates from judges."""
        names, board, null = standings(self.store)
        judges = win_rates_of_runs(self.view)
        return self.view.part(request, "arena_table.html", names=names, board=board, null=null, judges=judges)

    async def start(self, request: Request, sent: SentStart) -> Response:
        """Draw a pair, each on either side as likely, and start both answers."""
        try:
            prompt = self._conversation(sent.message) if sent.message else (Message("user", sent.text.strip()),)
            if not prompt[-1].content:
                raise UserError("the prompt is empty")
            known = [card.name for card in self.view.services.catalog.models()]
            models = [name for name in dict.fromkeys(sent.models or known) if name in known]
            game = self.games.begin(prompt, draw_pair(models, sent.same), client_of(request))
            return json_response({"game": game.id})
        except UserError as error:
            return error_response(error)

    def stream(self, game: str) -> Response:
        """Stream both answers; the last event is "over" or "failed"."""

        async def events() -> AsyncIterator[str]:
            try:
                known = self.games.get(game)
            except UserError as error:
                yield event({"why": str(error)}, name="failed")
                return
            async for side, text in self.games.follow(known):
                yield event({"side": side, "text": text})
            yield event({}, name="failed" if known.failed else "over")

        return StreamingResponse(events(), media_type=EVENT_STREAM, headers=HEADERS)

    def vote(self, request: Request, game: str, sent: SentVote) -> Response:
        """Store a vote, once, and return who was who."""
        try:
            known = self.games.get(game)
            if known.failed:
                raise UserError("one of the two failed; a new pair is drawn", code="closed")
            if not known.over:
                raise UserError("both answers must have ended before the vote", code="closed")
            record_vote(self.store, known, sent, str(request.scope.get("kaiwa.who") or "local"))  # never an address
            return json_response({"models": known.models})
        except UserError as error:
            return error_response(error)

    def _conversation(self, message: int) -> Conversation:
        """Return the prompt of a chat's message: up to and with a person's, above a model's answer."""
        chats = self.chats.store
        one = chats.message(message)
        turns = [*chats.history(message), *([one] if one.role == "user" else [])]
        if not turns:
            raise UserError("there is no question above this message")
        return tuple(Message(turn.role, turn.content) for turn in turns)


def draw_pair(models: Sequence[str], same: bool) -> tuple[str, str]:
    """Return two models by chance, each on the left as likely as on the right. UserError for fewer than two."""
    if same and models:
        name = secrets.choice(models)
        return name, name
    if len(models) < 2:
        raise UserError("the arena needs two models; choose another, or the same model on both sides (a null test)")
    first = secrets.choice(models)
    return first, secrets.choice([name for name in models if name != first])


def arena_batch(store: BatchStore) -> Batch:
    """Return the batch of all votes, made with the first one."""
    try:
        return store.batch(BATCH)
    except UserError:
        return store.create(BATCH, task="arena", purpose="evaluation", k=2, n_labels=1)


def record_vote(store: BatchStore, game: ArenaGame, sent: SentVote, voter: str) -> None:
    """Add a game's item and its judgement; the same key twice is one vote."""
    sources = tuple(
        OutputSource(model=model, seed=seed, n_tokens=n)
        for model, seed, n in zip(game.models, game.seeds, game.tokens, strict=True)
    )
    item = NewItem(
        prompt=game.prompt, outputs=tuple(game.texts), sources=sources, meta={"ended": game.stopped}, key=game.id
    )
    with store.transaction():
        batch = arena_batch(store)
        store.add_items(BATCH, [item])
        query = "SELECT id FROM items WHERE batch_id = ? AND key = ?"
        number = store.rows(query, (batch.id, game.id))[0]["id"]
        queue = LabelQueue(store, batch, voter)
        answer = ItemAnswer(ranks=RANKS[sent.vote], meta={"bad": True} if sent.vote == "bad" else {})
        queue.finish(queue.open_item(number, (0, 1)).id, sent.key, answer)


def standings(store: BatchStore) -> tuple[list[str], Table | None, tuple[int, int, int]]:
    """Return the models with games, their table, and of null tests how often left, neither and right were chosen."""
    try:
        batch = store.batch(BATCH)
    except UserError:
        return [], None, (0, 0, 0)
    null: Counter[int] = Counter()
    votes: list[tuple[str, str, int, str]] = []
    for one in judged(store, batch):
        first, second = (source.model for source in one.item.sources)
        result = (one.answer.ranks[0] < one.answer.ranks[1]) - (one.answer.ranks[0] > one.answer.ranks[1])
        if first == second:
            null[result] += 1
        else:
            votes.append((first, second, result, json.dumps([m.to_json() for m in one.item.prompt])))
    names = sorted({name for vote in votes for name in vote[:2]})
    games = [PairedGame(names.index(a), names.index(b), result, prompt) for a, b, result, prompt in votes]
    board = table(games, len(names)) if games else None
    return names, board, (null[1], null[0], null[-1])


def win_rates_of_runs(view: PageView) -> list[tuple[str, dict[str, float]]]:
    """Return (model, win rate with limits) of finished builds, as their judges found them."""
    rates = []
    for file in sorted(view.services.runs.glob("*/report.json")):
        with suppress(OSError, ValueError, AttributeError, KeyError, TypeError):
            for model in json.loads(file.read_text(encoding="utf-8"))["models"]:
                rate = model.get("win_rate_vs_sft")
                if isinstance(rate, dict) and rate.get("mean") is not None:
                    rates.append((f"{file.parent.name}/{model['name']}", rate))
    return rates


def routes(pages: ArenaPages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/arena", pages.show, methods=["GET"], response_model=None)
    router.add_api_route("/arena/models", pages.show_models, methods=["GET"], response_model=None)
    router.add_api_route("/arena/table", pages.show_table, methods=["GET"], response_model=None)
    router.add_api_route("/arena/start", pages.start, methods=["POST"], response_model=None)
    router.add_api_route("/arena/{game}/live", pages.stream, methods=["GET"], response_model=None)
    router.add_api_route("/arena/{game}/vote", pages.vote, methods=["POST"], response_model=None)
    return router

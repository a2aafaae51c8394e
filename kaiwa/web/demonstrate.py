"""Page Demonstrate: a person writes both sides of a dialogue, with a model's suggestions in grey to take or ignore.

Each turn says how it came about: written, taken or edited, with the edit distance, the model and the seed. What counts
as the writer's own is what a suggestion did not bring: `meta.own_share`.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from starlette.responses import Response

from kaiwa.core.errors import UserError
from kaiwa.feedback.batch_records import ItemAnswer, NewItem
from kaiwa.feedback.label_queue import LabelQueue
from kaiwa.text.records import Message
from kaiwa.text.sampling import Sampling
from kaiwa.web.judging import Key, Queues, error_response, json_response, shown_item
from kaiwa.web.services import AnswerRequest
from kaiwa.web.view import client_of

BATCH = "demonstrations"  # for dialogues that begin with the writer's own prompt
MOST_TURNS = 40
MOST_COMPARED = 1500  # characters of two texts whose edit distance is computed
SUGGESTED_TOKENS = 96
AS_USER = "You are the person who asks. Write only that person's next short message to the assistant."
Text = Annotated[str, Field(max_length=200_000)]


class SentTurn(BaseModel):
    """A turn. suggestion: the text that was taken into it, "" for none; model and seed of the suggestion."""

    role: Literal["system", "user", "assistant"]
    content: Text
    suggestion: Text = ""
    model: Annotated[str, Field(max_length=200)] = ""
    seed: int | None = None


class SentBegin(BaseModel):
    name: Annotated[str, Field(max_length=1000)]
    batch: str = ""
    model: Annotated[str, Field(max_length=200)] = ""


class SentDraft(BaseModel):
    """The dialogue so far, and the turn that is being written."""

    turns: Annotated[list[SentTurn], Field(max_length=MOST_TURNS)] = []
    role: Literal["user", "assistant"] = "user"
    draft: Text = ""
    model: Annotated[str, Field(max_length=200)] = ""


class SentDialogue(BaseModel):
    """A finished dialogue. assignment 0: the writer's own prompt."""

    assignment: int = 0
    key: Key
    turns: Annotated[list[SentTurn], Field(max_length=MOST_TURNS)]
    seconds: float = 0.0
    instruction: Annotated[str, Field(max_length=60)] = ""


class DemonstratePages:
    """The functions of the routes."""

    def __init__(self, queues: Queues) -> None:
        self.queues = queues

    def show_begin(self, request: Request) -> HTMLResponse:
        """Show who writes, for which batch, with whose suggestions."""
        batches = [one for one in self.queues.store.batches() if one.task == "demonstrate" and one.is_open]
        models = [card.name for card in self.queues.view.services.catalog.models()]
        return self.queues.view.page(request, "demonstrate_begin.html", batches=batches, models=models)

    def begin(self, sent: SentBegin) -> Response:
        """Make the writer's link and return its path."""
        store = self.queues.store
        try:
            name = sent.batch or BATCH
            if name == BATCH and all(one.name != BATCH for one in store.batches()):
                store.create(BATCH, task="demonstrate", k=0)
            if store.batch(name).task != "demonstrate":
                raise UserError(f"{name} is no batch to write for")
            return json_response({"path": f"/demonstrate/q/{store.invite(name, sent.name)}", "model": sent.model})
        except UserError as error:
            return error_response(error)

    def show(self, request: Request, token: str) -> HTMLResponse:
        try:
            queue = self.queues.open(token)
        except UserError as error:
            return self.queues.refuse(request, error)
        sheet = self.queues.sheet(request, queue.batch)
        return self.queues.view.page(
            request, "demonstrate.html", token=token, state=self._state(queue), sheet=sheet, batch=queue.batch
        )

    async def suggest(self, request: Request, token: str, sent: SentDraft) -> Response:
        """Return a model's continuation of the turn that is being written."""
        try:
            self.queues.open(token)
            model, seed = self._model(sent.model), secrets.randbelow(2**31)
            turns = as_seen_by([(t.role, t.content) for t in sent.turns], sent.role, sent.draft)
            sampling = Sampling(temperature=0.8, top_p=0.95, max_tokens=SUGGESTED_TOKENS, seed=seed)
            answer = AnswerRequest(model=model, messages=turns, sampling=sampling, client=client_of(request))
            text = "".join([piece.text async for piece in self.queues.view.services.engine.answer(answer)])
            return json_response({"text": text if sent.draft else text.lstrip(), "model": model, "seed": seed})
        except UserError as error:
            return error_response(error)

    def _model(self, name: str) -> str:
        """Return the chosen model, the server's first without a choice. UserError where there is none."""
        names = [card.name for card in self.queues.view.services.catalog.models()]
        if not names or (name and name not in names):
            raise UserError("no model to suggest anything; write on without")
        return name or names[0]

    def finish(self, token: str, sent: SentDialogue) -> Response:
        """Store a dialogue and return the next prompt."""
        try:
            queue = self.queues.open(token)
            turns = [turn for turn in sent.turns if turn.content.strip()]
            messages = tuple(Message(turn.role, turn.content) for turn in turns)
            roles = [m.role for m in messages if m.role != "system"]
            if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
                raise UserError("the sides take turns, the person first and the assistant last")
            number = sent.assignment or self._own_item(queue, sent.key, messages[0])
            answer = ItemAnswer(
                messages=messages, meta=origin_of(turns), seconds=sent.seconds, instruction=sent.instruction
            )
            queue.finish(number, sent.key, answer)
            return json_response(self._state(queue))
        except UserError as error:
            return error_response(error)

    def _own_item(self, queue: LabelQueue, key: str, first: Message) -> int:
        """Return the assignment of an item made of the writer's own prompt; the same key is the same item."""
        store = queue.store
        with store.transaction():
            store.add_items(queue.batch.name, [NewItem(prompt=(first,), key=f"own {key}")])
            query = "SELECT id FROM items WHERE batch_id = ? AND key = ?"
            return queue.open_item(store.rows(query, (queue.batch.id, f"own {key}"))[0]["id"]).id

    def _state(self, queue: LabelQueue) -> dict[str, object]:
        item, progress = queue.next(), queue.progress()
        return {
            "item": shown_item(item) if item is not None else None,
            "done": progress.done,
            "left": progress.remaining,
            "instruction": queue.store.batch(queue.batch.id).instruction,
        }


def as_seen_by(turns: list[tuple[str, str]], role: str, draft: str) -> list[Message]:
    """Return a dialogue as the model that writes `role` sees it: its own turns are the assistant's."""
    flip = {"user": "assistant", "assistant": "user", "system": "system"}
    turned = [Message(side if role == "assistant" else flip[side], text) for side, text in turns]
    if role == "user":
        turned = [Message("system", AS_USER), *(m for m in turned if m.role != "system")]
        if len(turned) == 1 or turned[1].role == "assistant":
            turned.insert(1, Message("user", "(the conversation begins)"))
    return [*turned, Message("assistant", draft)] if draft else turned


def origin_of(turns: list[SentTurn]) -> dict[str, Any]:
    """Return how each turn came about, and the share of the assistant's characters that are the writer's own."""
    rows: list[dict[str, Any]] = []
    own = total = 0
    for turn in turns:
        row: dict[str, Any] = {"how": "written"}
        from_model = 0
        if turn.suggestion:
            distance = edit_distance(turn.suggestion, turn.content)
            how = "edited" if distance else "taken"
            row = {"how": how, "distance": distance, "model": turn.model, "seed": turn.seed}
            from_model = max(0, len(turn.content) - distance)
        rows.append(row)
        if turn.role == "assistant":
            own += len(turn.content) - from_model
            total += len(turn.content)
    return {"turns": rows, "own_share": round(own / total, 4) if total else 1.0}


def edit_distance(one: str, other: str) -> int:
    """Return the number of characters inserted, deleted or replaced (Levenshtein 1966); of long texts an upper limit.

    Common ends are set aside first; what then remains above MOST_COMPARED counts as replaced.
    """
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    one, other = one[start:], other[start:]
    end = next(
        (i for i, (a, b) in enumerate(zip(one[::-1], other[::-1], strict=False)) if a != b), min(len(one), len(other))
    )
    one, other = one[: len(one) - end], other[: len(other) - end]
    if not one or not other or len(one) * len(other) > MOST_COMPARED**2:
        return max(len(one), len(other))
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def routes(pages: DemonstratePages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/demonstrate", pages.show_begin, methods=["GET"], response_model=None)
    router.add_api_route("/demonstrate/begin", pages.begin, methods=["POST"], response_model=None)
    router.add_api_route("/demonstrate/q/{token}", pages.show, methods=["GET"], response_model=None)
    for name, act in (("suggest", pages.suggest), ("finish", pages.finish)):
        router.add_api_route(f"/demonstrate/q/{{token}}/{name}", act, methods=["POST"], response_model=None)
    return router

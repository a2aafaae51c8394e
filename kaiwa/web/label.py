"""Page Label, a labeller's side: the next item, the finished one, skips and the way back. The browser keeps the draft.

Every answer has a key of the browser's making, so that a double click, a reload and a request sent again after a cut
are one judgement.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from starlette.responses import Response

from kaiwa.core.errors import UserError
from kaiwa.feedback.batch_records import Assignment, ItemAnswer
from kaiwa.feedback.flags import OUTPUT_FLAGS, PROMPT_FLAGS, SKIP_REASONS
from kaiwa.feedback.label_queue import LabelQueue
from kaiwa.feedback.overview import own_agreement
from kaiwa.feedback.ranking import parse_ranking
from kaiwa.web.judging import Key, Letters, Queues, SentEvent, error_response, json_response, new_events, shown_item


class SentAnswer(BaseModel):
    """An answer in the shown order. ranking: letters, best first, with = before a tie; "" for a single output."""

    assignment: int
    key: Key
    ratings: Annotated[list[int], Field(max_length=9)] = []
    flags: Annotated[list[Letters], Field(max_length=9)] = []
    prompt_flags: Letters = ""
    ranking: Annotated[str, Field(max_length=40)] = ""
    seconds: float = 0.0
    instruction: Annotated[str, Field(max_length=60)] = ""
    events: Annotated[list[SentEvent], Field(max_length=500)] = []


class SentSkip(BaseModel):
    assignment: int
    key: Key
    reason: str
    events: Annotated[list[SentEvent], Field(max_length=500)] = []


class LabelPages:
    """The functions of the routes under a link."""

    def __init__(self, queues: Queues) -> None:
        self.queues = queues

    def show(self, request: Request, token: str) -> HTMLResponse:
        """Show the labeller's page with the next item in it."""
        try:
            queue = self.queues.open(token)
        except UserError as error:
            return self.queues.refuse(request, error)
        return self.queues.view.page(
            request,
            "label.html",
            token=token,
            batch=queue.batch,
            state=self._state(queue, queue.next()),
            sheet=self.queues.sheet(request, queue.batch),
            output_flags=OUTPUT_FLAGS,
            prompt_flags=PROMPT_FLAGS,
            reasons=SKIP_REASONS,
        )

    def next(self, token: str) -> Response:
        try:
            queue = self.queues.open(token)
            return json_response(self._state(queue, queue.next()))
        except UserError as error:
            return error_response(error)

    def previous(self, token: str, before: int = 0) -> Response:
        """Return the finished item before another (0: the last one), to be looked at and changed."""
        try:
            queue = self.queues.open(token)
            item = queue.previous(before or None)
            if item is None:
                raise UserError("there is nothing before this item", code="closed")
            return json_response(self._state(queue, item))
        except UserError as error:
            return error_response(error)

    def finish(self, token: str, sent: SentAnswer) -> Response:
        """Store an answer and return the next item."""
        try:
            queue = self.queues.open(token)
            k = queue.batch.k
            answer = ItemAnswer(
                ratings=tuple(sent.ratings),
                flags=tuple(sent.flags),
                prompt_flags=sent.prompt_flags,
                ranks=parse_ranking(sent.ranking, k) if k > 1 else (),
                seconds=sent.seconds,
                instruction=sent.instruction,
            )
            extra = queue.finish(sent.assignment, sent.key, answer, new_events(sent.events))
            return json_response({**self._state(queue, queue.next()), "extra": extra})
        except UserError as error:
            return error_response(error)

    def skip(self, token: str, sent: SentSkip) -> Response:
        try:
            queue = self.queues.open(token)
            queue.skip(sent.assignment, sent.key, sent.reason, new_events(sent.events))
            return json_response(self._state(queue, queue.next()))
        except UserError as error:
            return error_response(error)

    def show_sheet(self, request: Request, token: str) -> Response:
        try:
            return json_response({"html": self.queues.sheet(request, self.queues.open(token).batch)})
        except UserError as error:
            return error_response(error)

    def _state(self, queue: LabelQueue, item: Assignment | None) -> dict[str, object]:
        """Return what the page shows: an item or the end, and how far the labeller is."""
        progress = queue.progress()
        batch = queue.store.batch(queue.batch.id)
        state: dict[str, object] = {
            "item": shown_item(item) if item is not None else None,
            "done": progress.done,
            "total": progress.total,
            "left": progress.remaining,
            "seconds": progress.median_seconds,
            "instruction": batch.instruction,
            "open": batch.is_open,
        }
        if item is None and progress.done:
            agreement = own_agreement(queue.store, batch, queue.labeller)
            state["agreement"] = agreement.to_json() if agreement.n else None
        return state


def routes(pages: LabelPages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    for path, show in (
        ("", pages.show),
        ("/item", pages.next),
        ("/previous", pages.previous),
        ("/sheet", pages.show_sheet),
    ):
        router.add_api_route(f"/label/q/{{token}}{path}", show, methods=["GET"], response_model=None)
    for path, act in (("finish", pages.finish), ("skip", pages.skip)):
        router.add_api_route(f"/label/q/{{token}}/{path}", act, methods=["POST"], response_model=None)
    return router

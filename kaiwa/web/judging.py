"""What the pages Label, Demonstrate and Arena share: the store of batches, a labeller's link, bodies, and responses.

A link opens one labeller's queue and nothing else: its token stands in the address, and every request under it is
answered for that labeller and batch alone. Pages under a link have a frame without names, models and speeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from kaiwa.core.errors import UserError
from kaiwa.feedback.batch_records import Assignment, Batch, NewEvent
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.instructions import sheet_text
from kaiwa.feedback.label_queue import LabelQueue
from kaiwa.web import markdown
from kaiwa.web.view import HEADERS, PageView
from kaiwa.web.words import words_of

STATUS = {"unknown_link": 404, "revoked_link": 410, "disk_full": 507, "busy": 503, "closed": 409, "other_queue": 404}
Key = Annotated[str, Field(min_length=8, max_length=64)]
Letters = Annotated[str, Field(max_length=20)]


class SentEvent(BaseModel):
    key: Key
    kind: Annotated[str, Field(pattern="^(undo|change|reopen|sheet)$")]
    detail: Annotated[str, Field(max_length=200)] = ""
    at: float = 0.0


class LabellerName(BaseModel):
    name: Annotated[str, Field(max_length=1000)]


class Queues:
    """The batches' store, and the queues that links open."""

    def __init__(self, view: PageView, store: BatchStore) -> None:
        self.view, self.store = view, store

    def open(self, token: str) -> LabelQueue:
        """Return the queue of a link. UserError for an unknown or revoked one."""
        batch, labeller = self.store.invited(token)
        return LabelQueue(self.store, batch, labeller)

    def refuse(self, request: Request, error: UserError) -> HTMLResponse:
        """Show why a link opens nothing."""
        status = STATUS.get(error.code, 404)
        return self.view.page(request, "no_link.html", status=status, why=words_of(request)(f"link.{error.code}"))

    def sheet(self, request: Request, batch: Batch) -> str:
        """Return a batch's instruction sheet in the request's language, as safe HTML."""
        return markdown.render(sheet_text(self.store.sheet(batch.instruction), words_of(request).language))


def error_response(error: UserError) -> Response:
    """Return an error as the pages' modules read it: a line, its kind, and a status that says whether to try again."""
    value = {"error": str(error), "code": error.code}
    return JSONResponse(value, status_code=STATUS.get(error.code, 400), headers=HEADERS)


def json_response(value: object) -> Response:
    return JSONResponse(value, headers=HEADERS)


def new_events(events: Sequence[SentEvent]) -> list[NewEvent]:
    return [NewEvent(key=e.key, kind=e.kind, detail=e.detail, at=e.at) for e in events]


def shown_item(assignment: Assignment) -> dict[str, object]:
    """Return an item as a labeller's browser gets it: nothing that says which model wrote what."""
    answer = assignment.answer
    return {
        "id": assignment.id,
        "place": assignment.place,
        "prompt": [{"role": m.role, "content": m.content} for m in assignment.prompt],
        "outputs": list(assignment.outputs),
        "state": assignment.state,
        "answer": None
        if answer is None
        else {
            "ratings": list(answer.ratings),
            "flags": list(answer.flags),
            "prompt_flags": answer.prompt_flags,
            "ranks": list(answer.ranks),
        },
    }

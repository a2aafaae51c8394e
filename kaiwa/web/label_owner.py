"""Page Label, the owner's side: batches, agreement, screening, biases, flags by model, links, close, reopen, export."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from starlette.responses import Response, StreamingResponse

from kaiwa.core.errors import UserError
from kaiwa.feedback.batch_records import Batch
from kaiwa.feedback.flags import OUTPUT_FLAGS
from kaiwa.feedback.judged import export_lines
from kaiwa.feedback.overview import Overview, overview
from kaiwa.report.forest import ForestRow, forest
from kaiwa.report.heat import heat_map
from kaiwa.report.html import tag
from kaiwa.report.table import share_cell, table, value_cell
from kaiwa.report.words import Words
from kaiwa.stats.intervals import NOTHING, Interval
from kaiwa.web.judging import LabellerName, Queues, error_response, json_response
from kaiwa.web.view import HEADERS
from kaiwa.web.words import words_of

DAY = 86_400.0  # seconds


class LabelOwnerPages:
    """The functions of the owner's routes."""

    def __init__(self, queues: Queues) -> None:
        self.queues, self.store = queues, queues.store

    def show(self, request: Request, batch: str = "") -> HTMLResponse:
        """Show a batch (default: the newest) as it stands now."""
        batches = self.store.batches()
        chosen = next((one for one in batches if one.name == batch), None) if batch else next(iter(batches), None)
        if batch and chosen is None:
            return self.queues.view.page(request, "missing.html", status=404, what=f"/label?batch={batch[:60]}")
        view = overview(self.store, chosen) if chosen is not None else None
        words = words_of(request)
        return self.queues.view.page(
            request,
            "label_owner.html",
            batches=batches,
            chosen=chosen,
            view=view,
            pieces=pieces(view, words, chosen) if view is not None and chosen is not None else {},
            sheet=self.queues.sheet(request, chosen) if chosen is not None else "",
        )

    def invite(self, batch: str, sent: LabellerName) -> Response:
        """Make a labeller's link and return its path."""
        try:
            folder = "demonstrate" if self.store.batch(batch).task == "demonstrate" else "label"
            return json_response({"path": f"/{folder}/q/{self.store.invite(batch, sent.name)}"})
        except UserError as error:
            return error_response(error)

    def revoke(self, batch: str, sent: LabellerName) -> Response:
        try:
            return json_response({"revoked": self.store.revoke(batch, sent.name)})
        except UserError as error:
            return error_response(error)

    def close(self, batch: str) -> Response:
        self.store.close_batch(batch)
        return json_response({})

    def reopen(self, batch: str) -> Response:
        self.store.reopen_batch(batch)
        return json_response({})

    def export(self, batch: str) -> Response:
        """Return the batch's JSON lines as a file."""
        name = self.store.batch(batch).name

        def lines() -> Iterator[str]:
            for value in export_lines(self.store, name):
                yield json.dumps(value, ensure_ascii=False) + "\n"

        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}.jsonl"'}
        return StreamingResponse(lines(), media_type="application/x-ndjson", headers=headers)


def pieces(view: Overview, words: Words, batch: Batch) -> dict[str, Markup]:
    """Return the tables and plots of a batch."""
    drawn = {"labellers": labeller_table(view, words)} if view.labellers else {}
    people = sorted({name for pair in view.matrix for name in pair})
    if people:
        drawn["matrix"] = heat_map(
            words("owner.matrix"), people, people, cell=lambda a, b: _cell(view, a, b), untested="–"
        )
    if view.first_shown.n:
        drawn["biases"] = bias_plot(view, words, batch.k)
    if view.flags or (batch.task == "rate" and view.mean_ratings):
        drawn["flags"] = flag_table(view, words)
    return drawn


def _cell(view: Overview, one: str, other: str) -> dict[str, float | int | None] | None:
    interval = view.matrix.get((one, other)) or view.matrix.get((other, one))
    return None if interval is None else interval.to_json()


def labeller_table(view: Overview, words: Words) -> Markup:
    """Draw the labellers, who is furthest behind first."""
    now = time.time()
    most = max(state.done for state in view.labellers)
    heads = ("labeller", "done", "skipped", "seconds", "others", "screening", "state")
    rows = []
    for state in view.labellers:
        note = ""
        if state.flagged:
            note = words("owner.flagged")
        elif state.revoked:
            note = words("owner.revoked")
        elif state.done < most / 2 or (state.last and now - state.last > DAY):
            note = words("owner.behind")
        rows.append(
            [
                state.name or words("owner.nobody"),
                value_cell(str(state.done)),
                value_cell(str(state.skipped)),
                value_cell(f"{state.median_seconds:.0f}" if state.done else "–"),
                share_cell(_json(state.others)),
                share_cell(_json(state.screening)),
                tag("td", tag("b", note, class_="bad") if state.flagged else note),
            ]
        )
    return table([words(f"owner.{head}") for head in heads], rows, caption=words("owner.labellers_caption"))


def bias_plot(view: Overview, words: Words, k: int) -> Markup:
    """Draw position bias beside its chance, length preference beside a half, ties alone."""
    first = forest(
        words("owner.first", chance=f"{1 / k:.0%}"),
        [ForestRow(words("owner.first_row"), _json(view.first_shown))],
        words,
        neutral=1 / k,
    )
    longer = forest(words("owner.longer"), [ForestRow(words("owner.longer_row"), _json(view.longer))], words)
    ties = tag("p", words("owner.ties", share=f"{view.ties.mean:.0%}"), class_="small")
    return first + longer + ties


def flag_table(view: Overview, words: Words) -> Markup:
    """Draw the share of each model's outputs with each flag, and mean ratings."""
    models = sorted({*(model for model, _ in view.flags), *view.mean_ratings})
    letters = [letter for letter in OUTPUT_FLAGS if any((model, letter) in view.flags for model in models)]
    rows = []
    for model in models:
        mean, n = view.mean_ratings.get(model, (0.0, 0))
        cells = [share_cell(_json(view.flags.get((model, letter), NOTHING))) for letter in letters]
        rows.append([model or "–", value_cell(f"{mean:.2f} (n = {n})" if n else "–"), *cells])
    heads = [words("owner.model"), words("owner.rating"), *(words(f"flag.{OUTPUT_FLAGS[x]}") for x in letters)]
    return table(heads, rows, caption=words("owner.flags_caption"))


def _json(interval: Interval) -> dict[str, float | int | None] | None:
    return interval.to_json() if interval.n else None


def routes(pages: LabelOwnerPages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/label", pages.show, methods=["GET"], response_model=None)
    router.add_api_route("/label/batch/{batch}/export", pages.export, methods=["GET"], response_model=None)
    for name, act in (
        ("invite", pages.invite),
        ("revoke", pages.revoke),
        ("close", pages.close),
        ("reopen", pages.reopen),
    ):
        router.add_api_route(f"/label/batch/{{batch}}/{name}", act, methods=["POST"], response_model=None)
    return router

"""Build: recipes to start, the strip of stages, live curves and samples, and the finished table. Report: the whole.

All that moves is rendered here with the reports' own pieces and sent over one line of events; the browser swaps it in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse
from markupsafe import Markup
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response, StreamingResponse

from kaiwa.core.stages import main_stages
from kaiwa.report import build_report, sections
from kaiwa.report.html import tag
from kaiwa.report.read import read_build, read_json
from kaiwa.report.words import Words
from kaiwa.web.events import EVENT_STREAM, Ending, event
from kaiwa.web.runs import Run, all_runs, log_mark, log_of, manifest, newest_samples, one_run
from kaiwa.web.view import HEADERS, View
from kaiwa.web.words import words_of

LOOK_EVERY = 1.0  # seconds
CURVES_EVERY = 2  # looks
PING_EVERY = 15  # looks


class Start(BaseModel):
    recipe: str


class Build:
    """The routes' functions."""

    def __init__(self, view: View, ending: Ending) -> None:
        self.view, self.ending = view, ending
        self.runs = view.services.runs

    def page(self, request: Request, run: str = "", stage: str = "") -> HTMLResponse:
        """One run (the newest, if none is named) with one stage's curves (the one at work, if none is named)."""
        found = all_runs(self.runs)
        shown = one_run(self.runs, run) if run else (found[0] if found else None)
        if run and shown is None:
            return self.view.page(request, "missing.html", status=404, what=f"/build/{run}")
        words = words_of(request)
        values: dict[str, Any] = {"run": shown, "runs": found, "recipes": self.view.services.jobs.recipes()}
        values["road"] = tuple(main_stages())
        if shown is not None:
            values |= self._parts(shown, stage, words) | self._end(shown, words)
        return self.view.page(request, "build.html", picked=stage, **values)

    def start(self, start: Start) -> Response:
        self.view.services.jobs.start_build(start.recipe)
        return JSONResponse({"run": start.recipe}, headers=HEADERS)

    def stop(self, run: str) -> Response:
        self.view.services.jobs.stop_build(run)
        return JSONResponse({}, headers=HEADERS)

    def live(self, request: Request, run: str, stage: str = "") -> Response:
        """Events "strip", "curves", "samples" with HTML when it has changed; "over" when the build is."""
        return StreamingResponse(self._stream(request, run, stage), media_type=EVENT_STREAM, headers=HEADERS)

    async def _stream(self, request: Request, name: str, stage: str) -> AsyncIterator[str]:
        words = words_of(request)
        sent: dict[str, str] = {}
        marks: tuple[str, int] = ("", -1)
        looks = quiet = 0
        while True:
            run = await asyncio.to_thread(one_run, self.runs, name)
            if run is None:
                return
            over = run.state != "running"
            quiet += 1
            shown = stage or run.current
            mark = (shown, await asyncio.to_thread(log_mark, run, shown))
            due = over or looks % CURVES_EVERY == 0
            new = {"strip": self.view.fragment(request, "strip.html", run=run, picked=shown)}
            if due and mark != marks:
                marks = mark
                new |= await asyncio.to_thread(self._moving, request, run, shown, words)
            for part, html in new.items():
                if sent.get(part) != html:
                    sent[part], quiet = html, 0
                    yield event({"html": html}, name=part)
            if over:
                yield event({"state": run.state}, name="over")
                return
            if quiet >= PING_EVERY:
                quiet = 0
                yield ": still here\n\n"
            looks += 1
            if await self.ending.within(LOOK_EVERY):
                return

    def _moving(self, request: Request, run: Run, stage: str, words: Words) -> dict[str, str]:
        samples = self.view.fragment(request, "samples.html", samples=newest_samples(run))
        return {"curves": sections.stage_curves(log_of(run, stage), words), "samples": samples}

    def _parts(self, run: Run, stage: str, words: Words) -> dict[str, Any]:
        shown = stage or run.current
        stages = [s["name"] for s in run.stages]
        return {
            "stage": shown if shown in stages else "",
            "curves": sections.stage_curves(log_of(run, shown), words) if shown else Markup(""),
            "samples": newest_samples(run),
            "command": command(run, shown),
            "manifest": manifest(run, shown),
        }

    def _end(self, run: Run, words: Words) -> dict[str, Any]:
        """The finished table and what each stage did."""
        report = read_json(run.folder / "report.json")
        names = {card.name for card in self.view.services.catalog.models()}

        def link(model: str) -> Markup:
            name = f"{run.name}/{model}"
            if name not in names:
                return tag("td")
            return tag("td", tag("a", words("build.chat"), href=f"/chat?model={name}", class_="plain"))

        models = report.get("models") or ()
        stages = report.get("stages") or ()
        return {
            "models": sections.model_table(models, words, link) if models else None,
            "stages": sections.stage_table(stages, words) if stages else None,
        }

    def report(self, request: Request, run: str) -> HTMLResponse:
        """The build's report inside the frame."""
        found = one_run(self.runs, run)
        if found is None:
            return self.view.page(request, "missing.html", status=404, what=f"/report/{run}")
        build = read_build(found.folder)
        body = build_report.body(build, words_of(request).language)
        data = build_report.data_script(build)
        there = (found.folder / "report.html").is_file()
        return self.view.page(request, "report.html", run=found, body=body, data=data, there=there)

    def file(self, run: str) -> Response:
        """report.html itself, to keep or to send."""
        found = one_run(self.runs, run)
        file = found.folder / "report.html" if found is not None else None
        if file is None or not file.is_file():
            return Response(status_code=404, headers=HEADERS)
        return FileResponse(file, filename=f"kaiwa-{run}.html", headers=HEADERS)


def command(run: Run, stage: str) -> str:
    """The line that builds this run, or shows one stage of it."""
    recipe = str(run.status.get("recipe", run.name))
    if stage and manifest(run, stage):
        return f"kaiwa show runs/{run.name}/{stage}"
    return f"kaiwa build {recipe} --out runs/{run.name}"


def routes(build: Build) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/build", build.page, methods=["GET"], response_model=None)
    router.add_api_route("/build/start", build.start, methods=["POST"], response_model=None)
    router.add_api_route("/build/{run}", build.page, methods=["GET"], response_model=None)
    router.add_api_route("/build/{run}/stop", build.stop, methods=["POST"], response_model=None)
    router.add_api_route("/build/{run}/live", build.live, methods=["GET"], response_model=None)
    router.add_api_route("/report/{run}", build.report, methods=["GET"], response_model=None)
    router.add_api_route("/report/{run}/file", build.file, methods=["GET"], response_model=None)
    return router

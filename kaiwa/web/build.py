"""Build pages: recipes to start, the strip of stages, live curves and samples, the finished table, and the report.

Live parts are rendered here with the same functions as the reports, and sent as events; the browser swaps them in.
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
from kaiwa.report.rounds import read_rounds, rounds_table
from kaiwa.report.words import Words
from kaiwa.web.events import EVENT_STREAM, Shutdown, event
from kaiwa.web.runs import Run, find_run, list_runs, log_mark, read_log, read_manifest, read_newest_samples
from kaiwa.web.view import HEADERS, PageView
from kaiwa.web.words import words_of

LOOK_SECONDS = 1.0
CURVES_EVERY = 2  # looks
PING_EVERY = 15  # looks without an event


class BuildStart(BaseModel):
    recipe: str


class BuildPages:
    """The functions of the routes."""

    def __init__(self, view: PageView, shutdown: Shutdown) -> None:
        self.view, self.shutdown = view, shutdown
        self.runs = view.services.runs

    def show_build(self, request: Request, run: str = "", stage: str = "") -> HTMLResponse:
        """Show a run (default: the newest) with the curves of a stage (default: the running stage)."""
        runs = list_runs(self.runs)
        chosen = find_run(self.runs, run) if run else (runs[0] if runs else None)
        if run and chosen is None:
            return self.view.page(request, "missing.html", status=404, what=f"/build/{run}")
        words = words_of(request)
        values: dict[str, Any] = {"run": chosen, "runs": runs, "recipes": self.view.services.jobs.recipes()}
        values["road"] = tuple(main_stages())
        if chosen is not None:
            values |= self._stage_values(chosen, stage, words) | self._result_values(chosen, words)
        return self.view.page(request, "build.html", picked=stage, **values)

    def start_build(self, start: BuildStart) -> Response:
        self.view.services.jobs.start_build(start.recipe)
        return JSONResponse({"run": start.recipe}, headers=HEADERS)

    def stop_build(self, run: str) -> Response:
        self.view.services.jobs.stop_build(run)
        return JSONResponse({}, headers=HEADERS)

    def stream_build(self, request: Request, run: str, stage: str = "") -> Response:
        """Stream "strip", "curves" and "samples" events with changed HTML, and "over" at the build's end."""
        return StreamingResponse(self._stream(request, run, stage), media_type=EVENT_STREAM, headers=HEADERS)

    async def _stream(self, request: Request, name: str, stage: str) -> AsyncIterator[str]:
        words = words_of(request)
        sent: dict[str, str] = {}
        last_mark: tuple[str, int] = ("", -1)
        looks = quiet = 0
        while True:
            run = await asyncio.to_thread(find_run, self.runs, name)
            if run is None:
                return
            over = run.state != "running"
            quiet += 1
            current = stage or run.current
            mark = (current, await asyncio.to_thread(log_mark, run, current))
            due = over or looks % CURVES_EVERY == 0
            new = {"strip": self.view.fragment(request, "strip.html", run=run, picked=current)}
            if due and mark != last_mark:
                last_mark = mark
                new |= await asyncio.to_thread(self._live_parts, request, run, current, words)
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
            if await self.shutdown.begins_within(LOOK_SECONDS):
                return

    def _live_parts(self, request: Request, run: Run, stage: str, words: Words) -> dict[str, str]:
        samples = self.view.fragment(request, "samples.html", samples=read_newest_samples(run))
        return {"curves": sections.stage_curves(read_log(run, stage), words), "samples": samples}

    def _stage_values(self, run: Run, stage: str, words: Words) -> dict[str, Any]:
        current = stage or run.current
        stages = [s["name"] for s in run.stages]
        return {
            "stage": current if current in stages else "",
            "curves": sections.stage_curves(read_log(run, current), words) if current else Markup(""),
            "samples": read_newest_samples(run),
            "command": command_line(run, current),
            "manifest": read_manifest(run, current),
        }

    def _result_values(self, run: Run, words: Words) -> dict[str, Any]:
        """Return the tables of a finished build: its rounds, its models, and the work of each stage."""
        report = read_json(run.folder / "report.json")
        names = {card.name for card in self.view.services.catalog.models()}

        def link(model: str) -> Markup:
            name = f"{run.name}/{model}"
            if name not in names:
                return tag("td")
            return tag("td", tag("a", words("build.chat"), href=f"/chat?model={name}", class_="plain"))

        models = report.get("models") or ()
        stages = report.get("stages") or ()
        rounds = read_rounds(run.folder)
        return {
            "rounds": rounds_table(rounds, words) if rounds else None,
            "models": sections.model_table(models, words, link) if models else None,
            "stages": sections.stage_table(stages, words) if stages else None,
        }

    def show_report(self, request: Request, run: str) -> HTMLResponse:
        """Show the build's report inside the frame of the pages."""
        build_run = find_run(self.runs, run)
        if build_run is None:
            return self.view.page(request, "missing.html", status=404, what=f"/report/{run}")
        build = read_build(build_run.folder)
        body = build_report.body(build, words_of(request).language)
        data = build_report.data_script(build)
        has_file = (build_run.folder / "report.html").is_file()
        return self.view.page(request, "report.html", run=build_run, body=body, data=data, has_file=has_file)

    def download_report(self, run: str) -> Response:
        """Return report.html itself, to keep or to send."""
        build_run = find_run(self.runs, run)
        file = build_run.folder / "report.html" if build_run is not None else None
        if file is None or not file.is_file():
            return Response(status_code=404, headers=HEADERS)
        return FileResponse(file, filename=f"kaiwa-{run}.html", headers=HEADERS)


def command_line(run: Run, stage: str) -> str:
    """Return the command line to build a run, or to show a finished stage of the run."""
    recipe = str(run.status.get("recipe", run.name))
    if stage and read_manifest(run, stage):
        return f"kaiwa show runs/{run.name}/{stage}"
    return f"kaiwa build {recipe} --out runs/{run.name}"


def routes(build: BuildPages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/build", build.show_build, methods=["GET"], response_model=None)
    router.add_api_route("/build/start", build.start_build, methods=["POST"], response_model=None)
    router.add_api_route("/build/{run}", build.show_build, methods=["GET"], response_model=None)
    router.add_api_route("/build/{run}/stop", build.stop_build, methods=["POST"], response_model=None)
    router.add_api_route("/build/{run}/live", build.stream_build, methods=["GET"], response_model=None)
    router.add_api_route("/report/{run}", build.show_report, methods=["GET"], response_model=None)
    router.add_api_route("/report/{run}/file", build.download_report, methods=["GET"], response_model=None)
    return router

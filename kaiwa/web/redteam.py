"""Red team: the password game, and the matrices of finished runs with their transcripts."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse
from markupsafe import Markup
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from kaiwa.core.errors import UserError
from kaiwa.redteam.bench.heat import attack_heat_map
from kaiwa.redteam.bench.saved_runs import SavedRun, list_runs, newest_share, read_run, read_transcripts
from kaiwa.redteam.game import LEVELS, Game, keeper_target
from kaiwa.report import figures
from kaiwa.report.html import join, tag
from kaiwa.report.table import share_cell, table, value_cell
from kaiwa.report.words import Words
from kaiwa.web.services import AnswerRequest
from kaiwa.web.view import HEADERS, View
from kaiwa.web.words import words_of

MOST_GAMES = 200
MOST_CHARACTERS = 4_000


class Said(BaseModel):
    """A player's message, or a guess. `game` 0: a new one."""

    game: int = 0
    level: Annotated[int, Field(ge=1, le=len(LEVELS))] = 1
    model: str = ""
    text: Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]


class RedTeam:
    def __init__(self, view: View) -> None:
        self.view = view
        self.folder = view.services.runs / "redteam"
        self.games: OrderedDict[int, Game] = OrderedDict()

    def page(self, request: Request, run: str = "", model: str = "") -> HTMLResponse:
        words = words_of(request)
        runs = list_runs(self.folder)
        found = read_run(self.folder, run) if run else None
        if run and found is None:
            return self.view.page(request, "missing.html", status=404, what=f"/redteam/{run}")
        models = [card.name for card in self.view.services.catalog.models()]
        shown = (model if found and model in found.models else found.models[0]) if found else ""
        return self.view.page(
            request,
            "redteam.html",
            runs=runs,
            run=found,
            models=models,
            levels=list(enumerate(LEVELS, 1)),
            shown=shown,
            pieces=matrix_pieces(found, shown, words.language) if found else None,
            bench=bench(runs, models, words),
        )

    def cell(self, request: Request, run: str, model: str, attack: str, defence: str) -> HTMLResponse:
        """One cell's transcripts, the worst first."""
        from kaiwa.redteam.bench.report import transcript, worst_first

        found = read_run(self.folder, run)
        some = read_transcripts(found, model, attack, defence) if found is not None else []
        if not some:
            return self.view.page(request, "missing.html", status=404, what=f"/redteam/{run}/cell")
        cards = join(transcript(outcome) for outcome in worst_first(some, len(some)))
        title = f"{attack} · {defence}"
        return self.view.page(request, "redteam_cell.html", run=found, model=model, title=title, cards=cards)

    def report(self, run: str) -> Response:
        found = read_run(self.folder, run)
        if found is None or not (found.folder / "report.html").is_file():
            return Response(status_code=404, headers=HEADERS)
        return FileResponse(found.folder / "report.html", filename=f"kaiwa-redteam-{run}.html", headers=HEADERS)

    async def say(self, request: Request, said: Said) -> Response:
        """One message to the keeper: what is answered, and why the secret did not (or did) come out."""
        game = self._game(said, words_of(request).language)
        names = [card.name for card in self.view.services.catalog.models()]
        if said.model not in names:
            raise UserError(f"there is no model {said.model!r} here; choose one of {', '.join(names) or 'none yet'}")
        text, stage = await self._answer(game, said)
        hint = game.take(said.text, stage, text)
        return JSONResponse(
            {"game": self.number_of(game), "text": text, "hint": hint, "tries": game.tries}, headers=HEADERS
        )

    def guess(self, request: Request, said: Said) -> Response:
        game = self.games.get(said.game)
        if game is None:
            raise UserError("this game is over; say something to the keeper to begin a new one")
        told = game.guess(said.text)
        return JSONResponse({"told": told, "won": game.won}, headers=HEADERS)

    async def _answer(self, game: Game, said: Said) -> tuple[str, str]:
        """The reply as the player sees it, and where a defence stopped it."""
        from kaiwa.defend.defence import Block, shown

        asked = game.ask(said.text)
        assert asked.defence is not None
        assert not isinstance(asked.ask.prompt, str)
        session = asked.defence.session(asked.ask.sampling.seed, asked.secrets)
        prompt = session.request(asked.ask.prompt)
        if isinstance(prompt, Block):
            return prompt.reply, "request"
        ask = AnswerRequest(
            model=said.model,
            messages=prompt,
            sampling=asked.ask.sampling,
        )
        raw = "".join([piece.text async for piece in self.view.services.engine.answer(ask)])
        pieces = list(shown(session.reply(), [raw]))
        return "".join(text for text, _ in pieces), "reply" if any(block for _, block in pieces) else ""

    def _game(self, said: Said, language: str) -> Game:
        """The player's game; a new one for a new level, and the oldest forgotten where there are too many."""
        game = self.games.get(said.game)
        if game is None or game.level != said.level:
            number = secrets.randbits(52) or 1  # exact in JavaScript; a page from before a restart must not meet it
            game = self.games[number] = Game(said.level, language)
            while len(self.games) > MOST_GAMES:
                self.games.popitem(last=False)
        return game

    def number_of(self, game: Game) -> int:
        return next(number for number, one in self.games.items() if one is game)


def bench(runs: Sequence[SavedRun], models: Sequence[str], words: Words) -> Mapping[str, str]:
    """The bench's success rate by "model level", in words; only what was measured."""
    target = keeper_target(words.language).name
    found = {}
    for model in models:
        for level, defence in enumerate(LEVELS, 1):
            share = newest_share(runs, target, model, defence)
            if share is not None:
                told = f"{figures.percent(share['mean'])} [{figures.limits(share)}]"
                found[f"{model} {level}"] = words("redteam.bench", told=told)
    return found


def matrix_pieces(run: SavedRun, model: str, language: str) -> Mapping[str, Markup]:
    """The heat map with the benign costs under it, and the defences with what they gain and how to serve them."""
    labels = Words(language, "kaiwa.redteam")
    benign = {row["defence"]: row for row in run.benign if row["model"] == model}

    def link(attack: str, defence: str) -> str:
        return f"/redteam/{run.name}/cell?{urlencode({'model': model, 'attack': attack, 'defence': defence})}"

    heads = [labels(f"redteam.{k}") for k in ("defence", "all", "against", "false_block", "utility", "tokens", "ms")]
    lines = []
    for arm in run.arms(model):
        row = benign.get(arm["defence"], {"blocked": 0, "trials": 0, "utility": None})
        against = arm.get("against_none")
        told = f"{against['told'][language]} (n = {against['n']:,})" if against else figures.NONE
        lines.append(
            [
                arm["defence"],
                share_cell(arm["success"]),
                tag("td", told),
                value_cell(f"{row['blocked']} / {row['trials']}"),
                value_cell(figures.percent(row["utility"])),
                value_cell(figures.number(arm["tokens"])),
                value_cell(figures.number(arm["ms"])),
            ]
        )
    return {
        "heat": attack_heat_map(run.heat_cells(model), run.benign_costs(model), labels, link),
        "defences": table(heads, lines),
    }


def routes(team: RedTeam) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/redteam", team.page, methods=["GET"], response_model=None)
    router.add_api_route("/redteam/game/say", team.say, methods=["POST"], response_model=None)
    router.add_api_route("/redteam/game/guess", team.guess, methods=["POST"], response_model=None)
    router.add_api_route("/redteam/{run}", team.page, methods=["GET"], response_model=None)
    router.add_api_route("/redteam/{run}/cell", team.cell, methods=["GET"], response_model=None)
    router.add_api_route("/redteam/{run}/report", team.report, methods=["GET"], response_model=None)
    return router

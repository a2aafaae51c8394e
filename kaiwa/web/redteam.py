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
from kaiwa.web.view import HEADERS, PageView, client_of
from kaiwa.web.words import words_of

MOST_GAMES = 200
MOST_CHARACTERS = 4_000


class PlayerMessage(BaseModel):
    """A player's message to the keeper, or a guess. game 0: a new game."""

    game: int = 0
    level: Annotated[int, Field(ge=1, le=len(LEVELS))] = 1
    model: str = ""
    text: Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]


class RedTeamPages:
    """The functions of the routes, and the running games."""

    def __init__(self, view: PageView) -> None:
        self.view = view
        self.folder = view.services.runs / "redteam"
        self.games: OrderedDict[int, Game] = OrderedDict()

    def show_run(self, request: Request, run: str = "", model: str = "") -> HTMLResponse:
        words = words_of(request)
        runs = list_runs(self.folder)
        saved = read_run(self.folder, run) if run else None
        if run and saved is None:
            return self.view.page(request, "missing.html", status=404, what=f"/redteam/{run}")
        models = [card.name for card in self.view.services.catalog.models()]
        chosen = (model if saved and model in saved.models else saved.models[0]) if saved else ""
        return self.view.page(
            request,
            "redteam.html",
            runs=runs,
            run=saved,
            models=models,
            levels=list(enumerate(LEVELS, 1)),
            chosen=chosen,
            pieces=matrix_pieces(saved, chosen, words.language) if saved else None,
            bench=bench_rates(runs, models, words),
        )

    def show_cell(self, request: Request, run: str, model: str, attack: str, defence: str) -> HTMLResponse:
        """Show the transcripts of a cell, the worst first."""
        from kaiwa.redteam.bench.report import choose_transcripts, transcript

        saved = read_run(self.folder, run)
        outcomes = read_transcripts(saved, model, attack, defence) if saved is not None else []
        if not outcomes:
            return self.view.page(request, "missing.html", status=404, what=f"/redteam/{run}/cell")
        cards = join(transcript(outcome) for outcome in choose_transcripts(outcomes, len(outcomes)))
        title = f"{attack} · {defence}"
        return self.view.page(request, "redteam_cell.html", run=saved, model=model, title=title, cards=cards)

    def download_report(self, run: str) -> Response:
        saved = read_run(self.folder, run)
        if saved is None or not (saved.folder / "report.html").is_file():
            return Response(status_code=404, headers=HEADERS)
        return FileResponse(saved.folder / "report.html", filename=f"kaiwa-redteam-{run}.html", headers=HEADERS)

    async def say(self, request: Request, message: PlayerMessage) -> Response:
        """Send a message to the keeper; return the reply, and why the secret did or did not come out."""
        game = self._game(message, words_of(request).language)
        names = [card.name for card in self.view.services.catalog.models()]
        if message.model not in names:
            raise UserError(f"there is no model {message.model!r} here; choose one of {', '.join(names) or 'none yet'}")
        text, stage = await self._answer(request, game, message)
        hint = game.take(message.text, stage, text)
        return JSONResponse(
            {"game": self.number_of(game), "text": text, "hint": hint, "tries": game.tries}, headers=HEADERS
        )

    def guess(self, request: Request, message: PlayerMessage) -> Response:
        game = self.games.get(message.game)
        if game is None:
            raise UserError("this game is over; say something to the keeper to begin a new one")
        verdict = game.guess(message.text)
        return JSONResponse({"told": verdict, "won": game.won}, headers=HEADERS)

    async def _answer(self, request: Request, game: Game, message: PlayerMessage) -> tuple[str, str]:
        """Return the reply for the player, and where a defence stopped the answer: "request", "reply" or ""."""
        from kaiwa.defend.defence import BlockDecision, filter_reply

        defended = game.ask(message.text)
        call = defended.call
        assert defended.defence is not None
        assert not isinstance(call.prompt, str)
        session = defended.defence.session(call.sampling.seed, defended.secrets)
        prompt = session.request(call.prompt)
        if isinstance(prompt, BlockDecision):
            return prompt.reply, "request"
        answer = AnswerRequest(model=message.model, messages=prompt, sampling=call.sampling, client=client_of(request))
        raw = "".join([piece.text async for piece in self.view.services.engine.answer(answer)])
        pieces = list(filter_reply(session.reply(), [raw]))
        return "".join(text for text, _ in pieces), "reply" if any(block for _, block in pieces) else ""

    def _game(self, message: PlayerMessage, language: str) -> Game:
        """Return the player's game, or a new game for a new level. The oldest of too many games is forgotten."""
        game = self.games.get(message.game)
        if game is None or game.level != message.level:
            number = secrets.randbits(52) or 1  # exact in JavaScript; a page from before a restart must not meet it
            game = self.games[number] = Game(message.level, language)
            while len(self.games) > MOST_GAMES:
                self.games.popitem(last=False)
        return game

    def number_of(self, game: Game) -> int:
        return next(number for number, known in self.games.items() if known is game)


def bench_rates(runs: Sequence[SavedRun], models: Sequence[str], words: Words) -> Mapping[str, str]:
    """Return the success rates measured by the bench, in words, by "model level"."""
    target = keeper_target(words.language).name
    rates = {}
    for model in models:
        for level, defence in enumerate(LEVELS, 1):
            share = newest_share(runs, target, model, defence)
            if share is not None:
                rate = f"{figures.percent(share['mean'])} [{figures.limits(share)}]"
                rates[f"{model} {level}"] = words("redteam.bench", told=rate)
    return rates


def matrix_pieces(run: SavedRun, model: str, language: str) -> Mapping[str, Markup]:
    """Return the heat map with the benign costs below ("heat"), and the table of the defences' gains ("defences")."""
    labels = Words(language, "kaiwa.redteam")
    benign = {row["defence"]: row for row in run.benign if row["model"] == model}

    def link(attack: str, defence: str) -> str:
        return f"/redteam/{run.name}/cell?{urlencode({'model': model, 'attack': attack, 'defence': defence})}"

    heads = [labels(f"redteam.{k}") for k in ("defence", "all", "against", "false_block", "utility", "tokens", "ms")]
    lines = []
    for arm in run.arms(model):
        row = benign.get(arm["defence"], {"blocked": 0, "trials": 0, "utility": None})
        against = arm.get("against_none")
        gain = f"{against['told'][language]} (n = {against['n']:,})" if against else figures.NONE
        lines.append(
            [
                arm["defence"],
                share_cell(arm["success"]),
                tag("td", gain),
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


def routes(team: RedTeamPages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/redteam", team.show_run, methods=["GET"], response_model=None)
    router.add_api_route("/redteam/game/say", team.say, methods=["POST"], response_model=None)
    router.add_api_route("/redteam/game/guess", team.guess, methods=["POST"], response_model=None)
    router.add_api_route("/redteam/{run}", team.show_run, methods=["GET"], response_model=None)
    router.add_api_route("/redteam/{run}/cell", team.show_cell, methods=["GET"], response_model=None)
    router.add_api_route("/redteam/{run}/report", team.download_report, methods=["GET"], response_model=None)
    return router

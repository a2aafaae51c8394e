"""GET /metrics in Prometheus' text format, and the middleware for counting responses."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kaiwa.serve.defence.shield import Shield
from kaiwa.serve.http.keys import KeyUsage
from kaiwa.serve.http.metrics import Metrics
from kaiwa.serve.services import ServerServices
from kaiwa.serve.worker.client import EngineState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()

    @router.get("/metrics")
    async def show_metrics() -> Response:
        engine = services.engine
        text = metrics_text(services.metrics, engine.state, engine.under_way, services.shield)
        text += key_usage_text(services.usage)
        return Response(text, media_type=CONTENT_TYPE)

    return router


class ResponseCounter:
    """ASGI middleware that counts responses by route and status. Unknown paths share the route "other"."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.add_response(str(getattr(scope.get("route"), "path", "other")), message["status"])
            await send(message)

        await self.app(scope, receive, send_and_count)


def metrics_text(metrics: Metrics, state: EngineState, under_way: int, shield: Shield | None = None) -> str:
    """Return all metrics as text. under_way: unfinished requests in the server."""
    lines: list[str] = []

    def add(name: str, kind: str, help: str, samples: Sequence[str]) -> None:
        if samples:
            lines.extend((f"# HELP {name} {help}", f"# TYPE {name} {kind}", *samples))

    def add_one(name: str, kind: str, help: str, value: float | int) -> None:
        add(name, kind, help, [f"{name} {value}"])

    responses = [
        f'kaiwa_responses_total{{route="{_label(route)}",status="{status}"}} {count}'
        for (route, status), count in sorted(metrics.responses.items())
    ]
    add("kaiwa_responses_total", "counter", "HTTP responses by route and status.", responses)
    name = "kaiwa_time_to_first_token_seconds"
    add(name, "histogram", "From the request to its first token.", metrics.first_token.lines(name))
    name = "kaiwa_inter_token_seconds"
    add(name, "histogram", "Between an answer's tokens.", metrics.inter_token.lines(name))
    add_one("kaiwa_prompt_tokens_total", "counter", "Tokens of prompts.", metrics.prompt_tokens)
    add_one("kaiwa_prompt_tokens_cached_total", "counter", "Of these, not computed again.", metrics.cached_tokens)
    add_one("kaiwa_answer_tokens_total", "counter", "Tokens answered.", metrics.answer_tokens)
    add_one("kaiwa_cancelled_total", "counter", "Answers whose client went away.", metrics.cancelled)
    add_one("kaiwa_requests_under_way", "gauge", "Answers asked of the engine and not ended.", under_way)
    add_one("kaiwa_tokens_per_second", "gauge", "Of all answers together, now.", state.tokens_per_second)
    add_one("kaiwa_engine_ready", "gauge", "1 while the engine process runs.", int(state.state == "ready"))
    restarts = "Times the engine process had to be started again."
    add_one("kaiwa_engine_restarts_total", "counter", restarts, state.restarts)
    if shield is not None:
        add_one("kaiwa_defence_answers_total", "counter", "Answers that went through the defence.", shield.requests)
        stops = [("request", shield.blocked_requests), ("reply", shield.blocked_replies), ("fault", shield.failures)]
        samples = [f'kaiwa_defence_stopped_total{{stage="{stage}"}} {count}' for stage, count in stops]
        add("kaiwa_defence_stopped_total", "counter", "Answers that the defence stopped, by where.", samples)
        add_one("kaiwa_defence_seconds_total", "counter", "The defence's own time.", round(shield.seconds, 6))
    memory = [f'kaiwa_model_bytes{{model="{_label(name)}"}} {size}' for name, size in sorted(state.models.items())]
    add("kaiwa_model_bytes", "gauge", "Weights in memory, by model.", memory)
    add_one("kaiwa_weight_bytes_read_total", "counter", "Weights read by steps that gave tokens.", state.bytes_read)
    add_one("kaiwa_step_seconds_total", "counter", "Seconds of these steps.", state.step_seconds)
    if state.bandwidth:
        limit = "Bytes a second this machine reads from memory, measured."
        add_one("kaiwa_memory_bandwidth_bytes_per_second", "gauge", limit, state.bandwidth)
        if state.step_seconds:
            share = state.bytes_read / state.step_seconds / state.bandwidth
            add_one("kaiwa_bandwidth_ratio", "gauge", "Weights read a second over the measured limit.", round(share, 6))
    return "\n".join(lines) + "\n"


def key_usage_text(usage: KeyUsage) -> str:
    """Return what each named key has used, "" without named keys."""
    lines: list[str] = []
    for field in ("requests", "prompt_tokens", "answer_tokens") if usage.counts else ():
        name = f"kaiwa_key_{field}_total"
        lines += [f"# HELP {name} Of a named key, since it was made.", f"# TYPE {name} counter"]
        lines += [f'{name}{{key="{_label(key)}"}} {n.get(field, 0)}' for key, n in sorted(usage.counts.items())]
    return "".join(line + "\n" for line in lines)


def _label(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

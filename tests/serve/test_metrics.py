"""Prometheus' text format, read back by its own rules."""

import re

import httpx

from kaiwa.serve.http.metrics import AnswerTimer, Histogram, Metrics
from kaiwa.serve.routes.metrics import metrics_text
from kaiwa.serve.worker.client import EngineState
from tests.running_server import Running

SAMPLE = re.compile(r'(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+)\})? (?P<value>-?[0-9.e+-]+)')


def read(text: str) -> dict[str, float]:
    """Samples by name and labels; every line must be well formed and belong to the TYPE above it."""
    found, kind = {}, ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            kind = line.split()[2]
            continue
        if line.startswith("# HELP "):
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        assert match["name"].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") == kind, line
        key = match["name"] + (f"{{{match['labels']}}}" if match["labels"] else "")
        assert key not in found
        found[key] = float(match["value"])
    return found


def test_a_histogram_is_cumulative() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.add(value)
    assert histogram.lines("t") == [
        't_bucket{le="0.1"} 2',
        't_bucket{le="1.0"} 3',
        't_bucket{le="+Inf"} 4',
        "t_sum 7.65",
        "t_count 4",
    ]


def test_times_and_tokens_of_an_answer() -> None:
    metrics = Metrics()
    timer = AnswerTimer(metrics)
    timer.add_prompt(9, 4)
    for n in (1, 2, 0):
        timer.add_tokens(n)
    state = EngineState(models={'a"b\\': 10}, bytes_read=30, step_seconds=2.0, bandwidth=60.0)
    found = read(metrics_text(metrics, state, 3))
    assert found["kaiwa_prompt_tokens_cached_total"] == 4
    assert found["kaiwa_answer_tokens_total"] == 3
    assert found["kaiwa_time_to_first_token_seconds_count"] == 1
    assert found["kaiwa_inter_token_seconds_count"] == 1
    assert found["kaiwa_bandwidth_ratio"] == 0.25
    assert found['kaiwa_model_bytes{model="a\\"b\\\\"}'] == 10
    assert found["kaiwa_requests_under_way"] == 3


def test_a_servers_metrics_move(server: Running) -> None:
    def now() -> dict[str, float]:
        response = httpx.get(f"{server.url}/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        return read(response.text)

    before = now()
    body = {"model": "toy/ppo", "messages": [{"role": "user", "content": "the cat"}], "max_tokens": 5}
    assert httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60).status_code == 200
    httpx.get(f"{server.url}/no/such/path")
    after = now()
    route = 'kaiwa_responses_total{route="/v1/chat/completions",status="200"}'
    assert after[route] == before.get(route, 0) + 1
    assert after['kaiwa_responses_total{route="other",status="404"}'] >= 1
    assert after["kaiwa_answer_tokens_total"] == before["kaiwa_answer_tokens_total"] + 5
    assert after["kaiwa_weight_bytes_read_total"] >= before["kaiwa_weight_bytes_read_total"]

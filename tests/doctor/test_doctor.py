"""The conformance suite: our own server passes all of it, and it sees what is broken."""

import json
import subprocess
import sys
from collections import Counter

import httpx
import pytest

from kaiwa.commands.doctor import main as command
from kaiwa.core.errors import UserError
from kaiwa.doctor.run import checks, examine, line, summary
from kaiwa.doctor.server import ServerUnderTest, event_data
from tests.running_server import Running


def test_our_own_server_passes_everything(server: Running) -> None:
    findings = list(examine(ServerUnderTest(server.url, model="toy/long")))
    assert len(findings) >= 190
    assert "\n".join(line(finding) for finding in findings if finding.outcome != "ok") == ""


def test_no_check_stands_twice() -> None:
    labels = Counter((group, check.label) for group, check in checks())
    assert [label for label, count in labels.items() if count > 1] == []
    assert all(check.label for _, check in checks())


def careless(request: httpx.Request) -> httpx.Response:
    """A server that says yes to everything, with too little in it."""
    if request.url.path == "/v1/models":
        return httpx.Response(200, json={"object": "list", "data": [{"id": "m"}]})
    if request.url.path == "/v1/embeddings":
        return httpx.Response(404, text="Not Found")
    if request.url.path == "/v1/completions":
        return httpx.Response(500, text="oh")
    return httpx.Response(200, json={"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}}]})


def test_a_careless_server_is_seen_through() -> None:
    findings = list(examine(ServerUnderTest("http://nowhere", transport=httpx.MockTransport(careless))))
    counts = summary(findings)
    assert counts["grave"] > 50
    assert counts["absent"] >= 3
    by_label = {(f.group, f.label): f for f in findings}
    assert by_label["bad input", "n 0"].outcome == "fault"
    assert "500" in by_label["completions", "a list of token ids (lm-eval sends these)"].message


def test_the_command(server: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three checks stand for all: the whole suite ran above."""
    monkeypatch.setattr("kaiwa.doctor.run.checks", lambda: checks()[:3])
    command([server.url, "--model", "toy/ppo", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"] is True
    assert len(told["checks"]) == 3
    command([f"{server.url}/v1"])
    assert "3 of 3 good" in capsys.readouterr().out
    monkeypatch.setattr("kaiwa.doctor.run.examine", lambda server: iter([]))
    with pytest.raises(UserError, match="no answer"):
        command(["http://127.0.0.1:9"])
    with pytest.raises(UserError, match="no URL"):
        command(["127.0.0.1"])


def test_it_needs_no_torch() -> None:
    code = "import kaiwa.doctor.run, sys; assert 'torch' not in sys.modules and 'fastapi' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_events_of_all_shapes() -> None:
    assert event_data(": ping\n\ndata: a\n\nevent: x\r\ndata: b\r\n\r\ndata:c\ndata: d\n\n") == ["a", "b", "c\nd"]

"""Build, Report and Models without a browser."""

import json
import os
import time
from pathlib import Path

import pytest

from kaiwa.core.artifact import write_atomic
from kaiwa.core.lock import lock

from ..report.run_folder import make_run
from .conftest import Site


def set_running(folder: Path, done: int = 610) -> None:
    """A run at work in its fourth stage, by this process."""
    (folder / "report.json").unlink(missing_ok=True)
    status = json.loads((folder / "status.json").read_text())
    now = time.time()
    status |= {"state": "running", "pid": os.getpid(), "started": now - 100, "updated": now}
    for i, stage in enumerate(status["stages"]):
        if i > 3:
            stage["state"] = "waiting"
    at_work = {"state": "running", "done": done, "total": 1000, "text": "loss <1.93>", "seconds_left": 61}
    status["stages"][3] |= at_work | {"tokens_per_second": 9800.0}
    write_atomic(folder / "status.json", json.dumps(status))


def test_an_empty_build_page_says_what_it_is_for(site: Site) -> None:
    page = site.client.get("/build").text
    assert "from raw text" in page
    assert "laptop-ja" in page


def test_a_running_build(site: Site) -> None:
    folder = make_run(site.runs / "tiny")
    set_running(folder)
    with lock(folder):
        page = site.client.get("/build").text
    assert "61 %" in page
    assert "9.8k tok/s" in page
    assert "loss &lt;1.93&gt;" in page
    assert "1:01 left" in page
    assert "Goraho is a potter. 30" in page
    assert "kaiwa show runs/tiny/base" in page
    assert page.count("<figure") > 2


def test_a_finished_build_streams_its_parts_and_ends(site: Site) -> None:
    make_run(site.runs / "laptop")
    with site.client.stream("GET", "/build/laptop/live?stage=sft") as lines:
        text = "".join(lines.iter_text())
    for name in ("strip", "curves", "samples", "over"):
        assert f"event: {name}\n" in text
    page = site.client.get("/build/laptop").text
    assert "/chat?model=laptop/ppo_ptx" in page
    assert "62" in page


def test_report_page_and_file(site: Site) -> None:
    folder = make_run(site.runs / "laptop")
    page = site.client.get("/report/laptop")
    assert page.status_code == 200
    assert "style=" not in page.text  # the policy forbids inline style
    assert site.client.get("/report/laptop/file").status_code == 404
    (folder / "report.html").write_text("<p>it</p>")
    assert site.client.get("/report/laptop/file").text == "<p>it</p>"


@pytest.mark.parametrize("path", ["/build/nope", "/report/nope", "/report/..%2f..", "/build/.hidden", "/build/a%00b"])
def test_what_is_not_there(site: Site, path: str) -> None:
    assert site.client.get(path).status_code == 404


def test_starting_and_stopping(site: Site) -> None:
    assert site.client.post("/build/start", json={"recipe": "tiny"}).json() == {"run": "tiny"}
    site.client.post("/build/tiny/stop")
    assert (site.fakes.jobs.started, site.fakes.jobs.stopped) == (["tiny"], ["tiny"])
    wrong = site.client.post("/build/start", json={"recipe": "x"})
    assert wrong.status_code == 400
    assert "there is tiny" in wrong.json()["error"]


def test_models(site: Site) -> None:
    page = site.client.get("/models").text
    assert "134M" in page or "135M" in page
    assert "92 MB" in page


def test_rounds_stand_on_the_page_as_one_line_each(site: Site) -> None:
    folder = make_run(site.runs / "laptop")
    assert 'id="rounds"' not in site.client.get("/build/laptop").text
    one = folder / "rounds" / "1"
    win = {"mean": 0.612, "low": 0.55, "high": 0.67, "n": 90}
    parts = {
        "outputs/kaiwa.json": {"metrics": {"prompts": 200}, "config": {"k": 4}},
        "comparisons/kaiwa.json": {"metrics": {"labels": 397, "ceiling": 0.78}},
        "reward/kaiwa.json": {"metrics": {"held_out_accuracy": 0.69}},
        "policy/kaiwa.json": {"metrics": {}},
        "evaluation/rounds.json": {"against": {"build": {"sampled": {"decided": win}}, "sft": {"decided": win}}},
    }
    for name, value in parts.items():
        (one / name).parent.mkdir(parents=True, exist_ok=True)
        (one / name).write_text(json.dumps(value), encoding="utf-8")
    page = site.client.get("/build/laptop").text
    for text in ("200 × 4", "397", "69\N{NO-BREAK SPACE}%", "78\N{NO-BREAK SPACE}%", "61\N{NO-BREAK SPACE}%"):
        assert text in page
    assert page.count("55–67") == 2

"""`kaiwa build` as a person runs it: the command line, kill -9 in the middle, Ctrl-C, the report, bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kaiwa.core.stages import stage_names, stages_of

ROOT = Path(__file__).parent.parent
SMALL = {
    "village.document-bytes": 150_000, "village.neutral-bytes": 60_000, "village.demonstrations": 150,
    "village.reward-prompts": 60, "village.rlhf-prompts": 100, "village.test-prompts": 60, "tokenizer.vocab-size": 700,
    "pretrain.steps": 60, "pretrain.evaluate-every": 30, "rlhf.updates": 6, "evaluate.prompts": 60,
}  # fmt: skip
STAGES = stage_names()


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "kaiwa", *words]


def build_words(out: Path) -> list[str]:
    return ["build", "tiny", "--out", str(out), "--threads", "1", *(f"--{k}={v}" for k, v in SMALL.items())]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, cwd=ROOT, timeout=300)


def hashes(out: Path) -> dict[str, str]:
    return {name: json.loads((out / name / "kaiwa.json").read_text())["hash"] for name in STAGES}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("build") / "tiny"
    done = run(*build_words(out))
    assert done.returncode == 0, done.stderr
    assert "wins vs sft" in done.stdout
    assert "peak memory" in done.stdout
    return out


def test_the_report_has_its_shape(built: Path) -> None:
    report = json.loads((built / "report.json").read_text())
    assert {s["name"] for s in report["stages"]} == set(STAGES)
    kinds = {s.name: json.loads((built / s.name / "kaiwa.json").read_text())["kind"] for s in stages_of() if s.kind}
    assert kinds == {s.name: s.kind for s in stages_of() if s.kind}
    assert [m["name"] for m in report["models"]] == ["base", "sft", "sft_good", "ppo", "ppo_ptx", "ppo_ptx_int4"]
    for model in report["models"]:
        for axis in ("helpful", "truthful", "harmless"):
            assert 0 <= model[axis]["low"] <= model[axis]["mean"] <= model[axis]["high"] <= 1
        assert model["bits_per_byte"] > 0
    assert report["receipt"]["gpt3_petaflop_days"] == 3640


def test_a_build_of_dialogues_goes_on_with_the_base_beside_it(built: Path) -> None:
    small = {"demonstrations": 60, "reward-prompts": 24, "rlhf-prompts": 40, "test-prompts": 12, "test-dialogues": 6,
             "turn3-items": 1}  # fmt: skip
    options = [*(f"--village.{k}={v}" for k, v in small.items()), "--rlhf.updates=1", "--rlhf.batch=16", "--threads=1"]
    out = built.parent / "tiny-chatgpt"
    done = run("build", "tiny-chatgpt", "--out", str(out), *options)
    assert done.returncode == 0, done.stderr
    report = json.loads((out / "report.json").read_text())
    assert [m["name"] for m in report["models"]] == ["ppo_ptx", "sft", "dialogue", "dialogue_int4"]
    parents = json.loads((out / "sft" / "kaiwa.json").read_text())["parents"]
    assert parents["base"]["hash"] == hashes(built)["base"]
    for model in report["models"]:
        assert set(model["turn3"]["by_link"]) == {"pronoun", "sister", "name", "correction", "return"}
        assert 0 <= model["turn3_without_turn1"]["mean"] <= 1
    assert "Dialogues" in (out / "report.html").read_text(encoding="utf-8")


def test_the_html_report_stands_alone(built: Path) -> None:
    html = (built / "report.html").read_text(encoding="utf-8")
    assert "<svg" in html
    assert len(html) < 3_000_000
    for outside in ('src="http', "src='http", 'href="http', "@import", "url(http"):
        assert outside not in html


def test_killed_in_every_kind_of_stage_ends_in_the_same_bytes(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny"
    for stage in ("corpus", "base", "sft", "comparisons", "reward", "ppo_ptx"):
        process = subprocess.Popen(command(*build_words(out)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            wait_for(out, stage, process)
            os.kill(process.pid, signal.SIGKILL)
        finally:
            process.kill()
            process.communicate()
    done = run(*build_words(out))
    assert done.returncode == 0, done.stderr
    assert hashes(out) == hashes(built)


def wait_for(out: Path, stage: str, process: subprocess.Popen[bytes]) -> None:
    """Until the stage is at work (its work folder is there) or done."""
    for _ in range(2400):
        if (out / f".{stage}.work").exists() or (out / stage).exists():
            return
        assert process.poll() is None, "the build ended before it was killed"
        time.sleep(0.05)
    pytest.fail(f"{stage} did not begin")


def test_ctrl_c_stops_safely_and_says_so(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny"
    process = subprocess.Popen(command(*build_words(out)), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    wait_for(out, "base", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on from here" in errors
    assert json.loads((out / "status.json").read_text())["state"] == "stopped"


def test_a_build_folder_is_locked_while_a_process_works_in_it(built: Path) -> None:
    from kaiwa.core.lock import lock

    with lock(built):
        second = run(*build_words(built))
    assert second.returncode == 2
    assert "is working here" in second.stderr


def test_a_finished_build_is_not_run_again(built: Path) -> None:
    before = hashes(built)
    started = time.monotonic()
    assert run(*build_words(built)).returncode == 0
    assert hashes(built) == before
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build", "tinny"], "no recipe 'tinny'; did you mean 'tiny'"),
        (["build", "nothing.py"], "no such recipe file"),
        (["build", "tiny", "--pretrian.steps", "3"], "no field 'pretrian'; did you mean 'pretrain'"),
        (["build", "tiny", "--pretrain.stepps", "3"], "no field 'stepps'; did you mean 'steps'"),
        (["build", "tiny", "--pretrain.steps", "few"], "'few' is not a whole number"),
        (["build", "tiny", "--pretrain.steps"], "needs a value"),
        (["bild", "tiny"], "no command 'bild'; did you mean 'build'"),
        (["show", "nowhere"], "no artifact here"),
        (["report", "nowhere"], "no such folder"),
    ],
)
def test_mistakes_get_one_clear_line(words: list[str], message: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_show_and_report(built: Path) -> None:
    shown = run("show", str(built / "sft"))
    assert "from base" in shown.stdout
    assert '"loss"' in shown.stdout
    assert "wins vs sft" in run("report", str(built)).stdout


def test_a_recipe_can_be_a_python_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def recipe():\n    return 3\n")
    done = run("build", str(file))
    assert done.returncode == 2
    assert "recipe() that returns" in done.stderr

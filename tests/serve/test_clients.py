"""Unmodified clients against the server: `llm`, promptfoo and garak, each where it is installed.

They live in environments of their own (their dependencies are many): put their folders into KAIWA_CLIENTS, as in PATH.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.running_server import Running

MODEL = "toy/ppo"


def found(name: str) -> str:
    folders = os.pathsep.join([os.environ.get("KAIWA_CLIENTS", ""), os.environ.get("PATH", "")])
    command = shutil.which(name, path=folders)
    if command is None:
        pytest.skip(f"{name} is not installed")
    return command


def run(command: list[str], folder: Path, **environment: str) -> str:
    """What it printed; home and settings are in `folder`, and nothing is told to anybody."""
    quiet = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1", "OPENAI_API_KEY": "none"}
    places = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), str(folder))
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    done = subprocess.run(
        command, cwd=folder, env={**kept, **quiet, **places, **environment}, capture_output=True, text=True,
        timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def test_llm(server: Running, tmp_path: Path) -> None:
    """Streams, whole answers, plain completions."""
    command = found("llm")
    shared = f"  model_name: {MODEL}\n  api_base: {server.url}/v1\n"
    models = f"- model_id: mine\n{shared}- model_id: plain\n{shared}  completion: true\n"
    (tmp_path / "extra-openai-models.yaml").write_text(models)
    options = ["-o", "max_tokens", "8", "-o", "seed", "3"]
    told = [
        run([command, "-m", model, "the cat", *options, *more], tmp_path, LLM_USER_PATH=str(tmp_path))
        for model, more in (("mine", []), ("mine", ["--no-stream"]), ("plain", []))
    ]
    assert told[0] == told[1]
    assert all(len(text) > 1 for text in told), "a line end, and something before it"


def test_promptfoo(server: Running, tmp_path: Path) -> None:
    command = found("promptfoo")
    config = {
        "prompts": ["the cat {{what}}"],
        "providers": [
            {
                "id": f"openai:chat:{MODEL}",
                "config": {"apiBaseUrl": f"{server.url}/v1", "apiKey": "none", "max_tokens": 8, "temperature": 0},
            }
        ],
        "tests": [{"vars": {"what": what}} for what in ("sat", "ran")],
    }
    (tmp_path / "promptfooconfig.json").write_text(json.dumps(config))
    words = ["eval", "-c", "promptfooconfig.json", "--no-cache", "-o", "out.json"]
    run([command, *words], tmp_path, PROMPTFOO_CONFIG_DIR=str(tmp_path / "state"))
    stats = json.loads((tmp_path / "out.json").read_text())["results"]["stats"]
    assert (stats["successes"], stats["failures"], stats["errors"]) == (2, 0, 0)
    assert stats["tokenUsage"]["completion"] > 0


def test_garak(server: Running, tmp_path: Path) -> None:
    """Two answers to each of its test prompts, at its own pace."""
    command = found("garak")
    (tmp_path / "garak.yaml").write_text(
        "run:\n  generations: 2\n  soft_probe_prompt_cap: 3\n"
        f"plugins:\n  target_type: openai.OpenAICompatible\n  target_name: {MODEL}\n  probe_spec: test.Test\n"
        f"  generators:\n    openai:\n      OpenAICompatible:\n        uri: {server.url}/v1/\n        max_tokens: 8\n"
        f"reporting:\n  report_prefix: {tmp_path}/run\n"
    )
    run([command, "--config", "garak.yaml"], tmp_path, OPENAICOMPATIBLE_API_KEY="none")
    rows = [json.loads(line) for line in (tmp_path / "run.report.jsonl").read_text().splitlines()]
    attempts = [row for row in rows if row.get("entry_type") == "attempt" and row["status"] == 2]
    assert attempts
    assert all(len(row["outputs"]) == 2 for row in attempts)

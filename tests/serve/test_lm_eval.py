"""Multiple-choice scores over HTTP equal those in this process; with lm-eval itself where it is installed.

llama.cpp's server takes the same requests and returns log-probabilities of generated tokens only, so that lm-eval sums
nothing and every score is chance.
"""

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running_server import Running

MODEL = "toy/base"
DOCS = [
    {
        "question": f"the {a} sat on the {b} and {i}",
        "choices": ["the cat", "mat 猫", "012 dog", "ran to"],
        "answer": i % 4,
    }
    for i, (a, b) in enumerate([(a, b) for a in ("cat", "dog", "mat", "犬") for b in ("mat", "cat.", "the")])
]


def in_process(folder: Path) -> list[list[float]]:
    """Log-likelihood of every choice, by lm-eval's rule for splitting ids: context and whole are encoded."""
    from kaiwa.catalog.entries import read_entry
    from kaiwa.catalog.load import load
    from kaiwa.engine.engine import Engine

    entry = read_entry(folder, MODEL)
    assert entry is not None
    loaded = load(entry)
    engine = Engine(loaded.decoder, loaded.tokenizer)
    found = []
    for doc in DOCS:
        context = loaded.tokenizer.encode(doc["question"])
        whole = [loaded.tokenizer.encode(f"{doc['question']} {choice}") for choice in doc["choices"]]
        rest = [ids[len(context) :] for ids in whole]
        found.append([sum(row) for row in engine.score([ids[: len(context)] for ids in whole], rest)])
    return found


def accuracy(scores: list[list[float]], lengths: bool) -> float:
    right = 0
    for doc, values in zip(DOCS, scores, strict=True):
        each = [v / len(c) if lengths else v for v, c in zip(values, doc["choices"], strict=True)]
        right += each.index(max(each)) == doc["answer"]
    return right / len(DOCS)


def over_http(server: Running) -> list[list[float]]:
    """lm-eval's requests and its reading of the answers (local-completions: parse_logprobs), re-written."""

    def ids(text: str) -> list[int]:
        body = {"model": MODEL, "prompt": text, "add_special_tokens": False}
        return list(httpx.post(f"{server.url}/tokenize", json=body, timeout=60).json()["tokens"])

    found = []
    for doc in DOCS:
        context = len(ids(doc["question"]))
        whole = [ids(f"{doc['question']} {choice}") for choice in doc["choices"]]
        shape = {"temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True}
        body = {"model": MODEL, "prompt": whole, **shape}
        answer = httpx.post(f"{server.url}/v1/completions", json=body, timeout=60).json()
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
        found.append([sum(choice["logprobs"]["token_logprobs"][context:-1]) for choice in choices])
    return found


def test_scores_over_http_are_the_scores(server: Running) -> None:
    here, there = in_process(server.runs / "toy" / "base"), over_http(server)
    assert accuracy(here, False) == pytest.approx(accuracy(there, False), abs=1e-6)
    assert accuracy(here, True) == pytest.approx(accuracy(there, True), abs=1e-6)
    for a, b in zip(here, there, strict=True):
        assert a == pytest.approx(b, abs=1e-3)
    assert len({round(value, 3) for values in there for value in values}) > len(DOCS), "not all the same"


def test_lm_eval_itself(server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unmodified, with the server's own tokenizer."""
    for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setitem(os.environ, name, "1")
    monkeypatch.setitem(os.environ, "HF_HOME", str(tmp_path))
    lm_eval = pytest.importorskip("lm_eval")
    api = pytest.importorskip("lm_eval.models.openai_completions")
    file = tmp_path / "docs.jsonl"
    file.write_text("".join(json.dumps(doc, ensure_ascii=False) + "\n" for doc in DOCS))
    body = {"model": MODEL, "prompt": "x", "max_tokens": 1}
    assert httpx.post(f"{server.url}/v1/completions", json=body, timeout=60).status_code == 200  # the tokenizer's model
    model = api.LocalCompletionsAPI(
        base_url=f"{server.url}/v1/completions", model=MODEL, tokenizer_backend="auto", batch_size=8, max_length=512
    )
    assert model.tokenizer_backend == "remote"
    task: dict[str, Any] = {
        "task": "toy",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    found = lm_eval.simple_evaluate(model=model, tasks=[task], bootstrap_iters=0, log_samples=True)
    here = in_process(server.runs / "toy" / "base")
    result = found["results"]["toy"]
    assert result["acc,none"] == pytest.approx(accuracy(here, False), abs=1e-6)
    assert result["acc_norm,none"] == pytest.approx(accuracy(here, True), abs=1e-6)
    samples = sorted(found["samples"]["toy"], key=lambda sample: sample["doc_id"])
    for values, sample in zip(here, samples, strict=True):
        told = [float(response[0]) for response in sample["filtered_resps"]]
        assert told == pytest.approx(values, abs=1e-3)

"""A low-rank change or soft prompt that was trained here answers at once, beside its base, from its weights."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from kaiwa.catalog.entries import entries
from kaiwa.catalog.load import load
from kaiwa.catalog.local_model import LocalChatModel
from kaiwa.commands.tune import train
from kaiwa.core.context import Context
from kaiwa.serve.tuning.job_plan import TuningRequest
from kaiwa.serve.tuning.jobs import FineTuning
from kaiwa.text.records import Message
from kaiwa.text.sampling import Sampling
from tests.running_server import Running

ANSWERS = [
    {"messages": [{"role": "user", "content": f"the cat {i}"}, {"role": "assistant", "content": "dog"}]}
    for i in range(12)
]
QUESTIONS = ("the cat 3", "the dog ran to the mat", "7")


def tuned(server: Running, method: str, hyper: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """A fine-tuned model of toy/ppo, trained in this process."""
    home = server.services.settings.home
    monkeypatch.setenv("KAIWA_HOME", str(home))
    jobs = FineTuning(home, server.services.models)
    monkeypatch.setattr(jobs, "update", lambda: False)
    data = home / "adapted.jsonl"
    data.write_text("\n".join(map(json.dumps, ANSWERS)))
    with open(data, "rb") as f:
        jobs.files.add("adapted.jsonl", "fine-tune", f, f"file-{method[:4]}")
    asked: Any = {"type": method, method: {"hyperparameters": {"n_epochs": 8, "batch_size": 6, **hyper}}}
    job = jobs.create(TuningRequest(model="toy/ppo", training_file=f"file-{method[:4]}", seed=0, method=asked))
    made = train(job.job(), job.path, Context(seed=0, logs=job.path / "logs"))
    shutil.rmtree(job.path)
    return made.path.name


def test_adapters_share_their_base(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    lora = tuned(server, "supervised", {"lora_rank": 4, "learning_rate_multiplier": 30}, monkeypatch)
    listed = {model.id: model.to_dict() for model in client.models.list()}
    assert (listed[lora]["parent"], listed["toy/ppo"]["parent"]) == ("toy/ppo", None)

    def ask(name: str, question: str) -> str:
        answer = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=12
        )
        return answer.choices[0].message.content or ""

    found = {entry.name: entry for entry in entries(server.runs, server.services.settings.home)}
    pairs = [(name, question) for question in QUESTIONS for name in ("toy/ppo", lora)]
    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(lambda pair: ask(*pair), pairs))
    for (name, question), answer in zip(pairs, said, strict=True):  # as the merged model alone says it
        alone = LocalChatModel(load(found[name])).generate(
            (Message("user", question),), Sampling(temperature=0, max_tokens=12)
        )
        assert answer == alone.text
    assert not said[0].startswith("dog")
    assert said[1].startswith("dog")
    vectors = [client.embeddings.create(model=name, input="the cat").data[0].embedding for name in ("toy/ppo", lora)]
    assert vectors[0] != vectors[1]
    server.wait(lambda: lora in server.engine()["models"])
    memory = server.engine()["models"]
    assert memory[lora] < memory["toy/ppo"] / 2
    assert f'kaiwa_model_bytes{{model="{lora}"}} {memory[lora]}' in httpx.get(f"{server.url}/metrics").text
    told = httpx.post(f"{server.url}/api/engine/unload", json={"model": lora}).json()
    assert told == {"model": lora, "state": "unloaded", "bytes": memory[lora]}
    server.wait(lambda: lora not in server.engine()["models"])
    assert server.engine()["models"]["toy/ppo"] == memory["toy/ppo"], "the base stays"
    assert ask(lora, "the cat 3") == said[1], "and it comes back"
    assert client.models.delete(lora).deleted
    server.wait(lambda: lora not in server.engine()["models"])


def test_a_soft_prompt_and_adapters_from_elsewhere(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    home = server.services.settings.home
    name = tuned(server, "soft_prompt", {"n_tokens": 5, "learning_rate_multiplier": 30}, monkeypatch)
    alone = home / "models" / "alone"
    shutil.copytree(home / "models" / name / "adapter", alone)
    settings = json.loads((alone / "adapter_config.json").read_text())
    told = settings | {"base_model_name_or_path": "somebody/ppo"}  # known by the last part of its name
    (alone / "adapter_config.json").write_text(json.dumps(told))

    def ask(name: str) -> tuple[list[float], int]:
        answer = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "the cat"}], temperature=0, max_tokens=9, logprobs=True
        )
        assert answer.usage is not None
        assert answer.choices[0].logprobs is not None
        return [token.logprob for token in answer.choices[0].logprobs.content or ()], answer.usage.prompt_tokens

    plain, soft, again = ask("toy/ppo"), ask(name), ask("alone")
    assert soft == again
    assert soft[1] == plain[1], "a soft prompt is none of the request's tokens"
    assert soft[0] != pytest.approx(plain[0], abs=1e-3)
    found = {entry.name: entry for entry in entries(server.runs, home)}
    sampling = Sampling(temperature=0, max_tokens=9)
    model = LocalChatModel(load(found["alone"]))  # in this process
    assert model.generate((Message("user", "the cat"),), sampling).logprobs == pytest.approx(soft[0], abs=5e-4)
    answer = model.generate("the cat", sampling)
    assert model.score("the cat", answer.text) == pytest.approx(answer.logprobs, abs=1e-3)
    with pytest.raises(openai.BadRequestError, match=r"context length is 512 tokens.* with 5 of the soft prompt"):
        client.completions.create(model="alone", prompt="0 " * 300, max_tokens=9)
    (alone / "adapter_config.json").write_text(json.dumps(told | {"num_virtual_tokens": 4}))
    broken(client, alone, "5 soft tokens where adapter_config.json says 4", server)
    (alone / "adapter_config.json").write_text(json.dumps(told | {"base_model_name_or_path": "nobody/knows"}))
    broken(client, alone, "an adapter of nobody/knows, which is not here", server)
    shutil.rmtree(alone)


def broken(client: openai.OpenAI, folder: Path, why: str, server: Running) -> None:
    """Unloaded first: what is in memory is good."""
    httpx.post(f"{server.url}/api/engine/unload", json={"model": folder.name})
    with pytest.raises(openai.NotFoundError, match=why):
        client.completions.create(model=folder.name, prompt="the cat", max_tokens=2)

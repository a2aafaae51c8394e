"""An embedding model behind the server: OpenAI's and Ollama's routes, lists, limits, and what it refuses."""

import base64
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from kaiwa.serve.worker.client import BATCH_TEXTS
from tests.running_server import Running
from tests.tiny_models import embedding_folder

TEXTS = ["the sea", "a", "the cats . the dogs .", "the cat"]
PROMPTS = {"prompts": {"query": "query: "}}


@pytest.fixture(scope="module")
def embedder(server: Running) -> Iterator[httpx.Client]:
    embedding_folder(server.services.settings.home / "models" / "tiny", config_sentence_transformers=PROMPTS)
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def ask(client: httpx.Client, path: str = "/v1/embeddings", **body: Any) -> httpx.Response:
    return client.post(path, json={"model": "tiny", **body})


def vectors(response: httpx.Response) -> np.ndarray:
    assert response.status_code == 200, response.text
    return np.array([row["embedding"] for row in response.json()["data"]])


def test_one_vector_a_text_as_alone(embedder: httpx.Client) -> None:
    response = ask(embedder, input=TEXTS)
    together = vectors(response)
    assert together.shape == (4, 16)
    assert np.allclose(np.linalg.norm(together, axis=1), 1)
    assert response.json()["usage"] == {"prompt_tokens": 21, "total_tokens": 21}, "with the tokens around each text"
    alone = np.concatenate([vectors(ask(embedder, input=text)) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-6
    packed = ask(embedder, input=TEXTS[0], encoding_format="base64").json()["data"][0]["embedding"]
    assert np.allclose(np.frombuffer(base64.b64decode(packed), "<f4"), alone[0])
    ids = embedder.post("/tokenize", json={"model": "tiny", "prompt": TEXTS[0]}).json()["tokens"]
    assert np.allclose(vectors(ask(embedder, input=ids)), alone[:1], atol=1e-6), "ids are taken as they are"


def test_many_texts_and_many_clients(embedder: httpx.Client) -> None:
    many = [TEXTS[i % 4] + " ." * (i % 3) for i in range(BATCH_TEXTS * 5)]
    expected = {text: vectors(ask(embedder, input=text))[0] for text in set(many)}
    with ThreadPoolExecutor(6) as pool:
        for result in pool.map(lambda _: vectors(ask(embedder, input=many)), range(6)):
            assert max(np.abs(vector - expected[text]).max() for vector, text in zip(result, many, strict=True)) < 1e-6
    assert len(vectors(ask(embedder, input=["a"] * 2048))) == 2048


def test_a_longer_text_is_cut_and_named(embedder: httpx.Client) -> None:
    """24 tokens: [CLS], 22 words, [SEP]."""
    long, whole = "cat " * 50, "cat " * 22
    response = ask(embedder, input=["a", long, whole])
    assert response.headers["X-Kaiwa-Truncated"] == "1"
    rows = vectors(response)
    assert np.abs(rows[1] - rows[2]).max() < 1e-6
    refused = ask(embedder, input=["a", long], truncate=False)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert "it begins 'cat cat cat" in refused.json()["error"]["message"]
    assert "52 tokens" in refused.json()["error"]["message"]
    assert refused.json()["error"]["param"] == "input"


def test_dimensions(embedder: httpx.Client) -> None:
    whole = vectors(ask(embedder, input="the sea"))[0]
    short = vectors(ask(embedder, input="the sea", dimensions=4))[0]
    assert np.allclose(short, whole[:4] / np.linalg.norm(whole[:4]))
    wrong = ask(embedder, input="the sea", dimensions=17)
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "dimensions")
    assert "gives 16" in wrong.json()["error"]["message"]


def test_prompts_of_the_model(embedder: httpx.Client) -> None:
    written = vectors(ask(embedder, input="query: the sea"))
    assert np.allclose(vectors(ask(embedder, input="the sea", prompt_name="query")), written)
    assert np.allclose(vectors(ask(embedder, input="the sea", input_type="query")), written)
    plain = vectors(ask(embedder, input="the sea"))
    assert not np.allclose(plain, written)
    assert np.allclose(vectors(ask(embedder, input="the sea", input_type="passage")), plain), "the model has none"
    unknown = ask(embedder, input="the sea", prompt_name="passage")
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "prompt_name")
    assert "it has query" in unknown.json()["error"]["message"]


def test_ollamas_routes(embedder: httpx.Client) -> None:
    expected = vectors(ask(embedder, input=TEXTS))
    answer = ask(embedder, "/api/embed", input=TEXTS).json()
    assert np.allclose(answer["embeddings"], expected)
    assert answer["prompt_eval_count"] == 21
    older = embedder.post("/api/embeddings", json={"model": "tiny:latest", "prompt": "the sea"}).json()
    assert np.allclose(older["embedding"], expected[0])
    assert len(ask(embedder, "/api/embed", input="the sea", dimensions=4).json()["embeddings"][0]) == 4
    refused = ask(embedder, "/api/embed", input="cat " * 50, truncate=False)
    assert refused.status_code == 400
    assert "maximum context length is 24" in refused.json()["error"]
    shown = ask(embedder, "/api/show").json()
    assert shown["capabilities"] == ["embedding"]


def test_the_lists_say_what_it_is(embedder: httpx.Client) -> None:
    listed = {model["id"]: model["kaiwa"] for model in embedder.get("/v1/models").json()["data"]}
    assert (listed["tiny"]["kind"], listed["tiny"]["chat"]) == ("embedding", False)
    vectors(ask(embedder, input="a"))
    info = embedder.get("/tokenizer_info", params={"model": "tiny"}).json()
    assert (info["model_max_length"], info["special_tokens"]["[SEP]"], info["eos_token"]) == (24, 3, None)
    assert embedder.get("/api/engine").json()["computing"].get("tiny", "PyTorch") == "PyTorch"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/completions", {"prompt": "hi"}),
        ("/v1/responses", {"input": "hi"}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}),
        ("/api/chat", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/api/generate", {"prompt": "hi"}),
    ],
)
def test_it_writes_nothing(embedder: httpx.Client, path: str, body: dict[str, Any]) -> None:
    response = ask(embedder, path, **body)
    assert response.status_code == 400
    assert "tiny is an embedding model" in response.text


def test_ids_of_another_tokenizer(embedder: httpx.Client) -> None:
    """LangChain's OpenAIEmbeddings sends ids of OpenAI's tokenizer unless it is told not to."""
    response = ask(embedder, input=[[9906, 1917]])
    assert (response.status_code, response.json()["error"]["param"]) == (400, "input")
    assert "another model's? Send the text" in response.json()["error"]["message"]


def test_load_and_unload(server: Running, embedder: httpx.Client) -> None:
    vectors(ask(embedder, input="a"))
    server.wait(lambda: "tiny" in server.engine()["models"])
    freed = embedder.post("/api/engine/unload", json={"model": "tiny"}).json()
    assert freed["bytes"] > 1000
    assert math.isclose(float(np.linalg.norm(vectors(ask(embedder, input="a")))), 1, abs_tol=1e-6)

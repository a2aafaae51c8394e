"""The in-process chat model, the HTTP one beside it, and the terminal."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from kaiwa.catalog.entries import read_entry
from kaiwa.catalog.load import load
from kaiwa.catalog.local_model import LocalChatModel
from kaiwa.commands.chat_terminal import chat
from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.gptq import save_int4
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.text.chat_model import ChatModel
from kaiwa.text.client import HTTPChatModel
from kaiwa.text.records import Message
from kaiwa.text.sampling import Sampling
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.folder import special_ids
from kaiwa.tokenizer.train import save, train

USER = (Message("user", "the cat"),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    tokenizer = train(["the cat and the dog 0123\n"] * 30, TokenizerConfig(vocab_size=270))
    decoder = make_decoder(DecoderConfig(vocab_size=270, d_model=32, n_layer=1, n_head=2, d_ff=32, max_length=128), 0)
    for name in ("sft", "base", "int4"):
        if name == "int4":
            save_int4(path / name, decoder, special_ids(tokenizer), 32)
        else:
            save_model(path / name, decoder, special_ids(tokenizer), torch.float32)
        save(tokenizer, path / name)
        (path / name / "kaiwa.json").write_text(json.dumps({"kind": {"base": "pretrain"}.get(name, name)}))
    return path


def model(folder: Path, name: str = "sft") -> LocalChatModel:
    entry = read_entry(folder / name, name)
    assert entry is not None
    return LocalChatModel(load(entry))


@pytest.mark.parametrize("name", ["sft", "int4"])
def test_generate_and_score(folder: Path, name: str) -> None:
    made = model(folder, name)
    assert isinstance(made, ChatModel)
    answer = made.generate(USER, Sampling(max_tokens=9, seed=4))
    again = made.generate(USER, Sampling(max_tokens=9, seed=4))
    assert (answer.ids, answer.text) == (again.ids, again.text)
    assert answer.logprobs == pytest.approx(again.logprobs, abs=1e-5)
    assert len(answer.ids) == len(answer.logprobs) <= 9
    assert len(made.score("the cat", " and the dog")) == len(made.loaded.tokenizer.encode(" and the dog"))
    assert made.engine.idle


def test_a_base_model_continues_text_only(folder: Path) -> None:
    base = model(folder, "base")
    assert base.generate("the cat", Sampling(max_tokens=4)).ids
    with pytest.raises(UserError, match="has not learnt to chat"):
        base.generate(USER)


def test_an_answer_left_early_is_cancelled(folder: Path) -> None:
    made = model(folder)
    stream = made.stream(USER, Sampling(max_tokens=50))
    next(stream)
    stream.close()
    assert made.engine.idle


def test_terminal(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIWA_HOME", str(folder / "home"))
    chat(str(folder / "sft"), "the cat", sampling=Sampling(max_tokens=8), seed=1)
    first = capsys.readouterr().out
    chat(str(folder / "sft"), "the cat", sampling=Sampling(max_tokens=8), seed=1)
    assert capsys.readouterr().out == first
    lines = iter(["/help", "the cat", "/again", "/nothing", "/system be brief", "/clear", "/again", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    chat(str(folder / "base"), sampling=Sampling(max_tokens=4))
    told = capsys.readouterr()
    assert "continues your text" in told.err
    assert "no command /nothing" in told.out
    assert "nothing was asked yet" in told.out


def http(answers: list[tuple[int, Any, dict[str, str]]], waits: list[float]) -> HTTPChatModel:
    def answer(request: httpx.Request) -> httpx.Response:
        status, body, headers = answers.pop(0)
        if status == 0:
            raise httpx.ConnectError("refused")
        return httpx.Response(status, json=body, headers=headers)

    return HTTPChatModel("http://x/v1", "m", transport=httpx.MockTransport(answer), sleep=waits.append)


OK = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


def test_http_retries_what_may_pass() -> None:
    waits: list[float] = []
    made = http([(429, {}, {"Retry-After": "7"}), (503, {}, {}), (0, None, {}), (200, OK, {})], waits)
    assert isinstance(made, ChatModel)
    assert made.generate(USER).text == "hi"
    assert waits == [7.0, 1.0, 2.0]


def test_http_gives_up_and_says_why() -> None:
    error = {"error": {"message": "no model 'm'"}}
    waits: list[float] = []
    with pytest.raises(UserError, match="no model 'm'"):
        http([(404, error, {})], waits).generate(USER)
    assert waits == []
    with pytest.raises(ConnectionError, match="5 attempts"):
        http([(500, error, {})] * 5, waits).generate(USER)


def test_http_scores_by_echo() -> None:
    logprobs = {"token_logprobs": [None, -1.0, -2.0], "text_offset": [0, 3, 5]}
    made = http([(200, {"choices": [{"text": "", "logprobs": logprobs}]}, {})], [])
    assert made.score("the c", "at") == [-2.0]
    with pytest.raises(UserError, match="cannot score"):
        http([(200, {"choices": [{"text": "", "logprobs": None}]}, {})], []).score("a", "b")

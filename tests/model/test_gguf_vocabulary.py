"""Tokenizers of GGUF files: cuts by name, user-defined tokens, ends of a turn, what is refused."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kaiwa.catalog.weights import tokenizer_of
from kaiwa.core.errors import UserError
from kaiwa.model.formats.gguf_container import read_gguf
from kaiwa.model.formats.gguf_vocabulary import CONTROL, NORMAL, USER_DEFINED, read_vocabulary
from kaiwa.tokenizer.alphabet import byte_of_char
from kaiwa.tokenizer.pre_tokenizers import PATTERNS, pre_tokenizer

GOLDENS = [
    file
    for folder in (Path(__file__).parents[3] / "shared" / "data" / "tokenizer_goldens", os.environ.get("KAIWA_GOLDENS"))
    if folder
    for file in sorted(Path(folder).glob("ggml-vocab-*.gguf"))
    if Path(f"{file}.out").is_file() and "bert" not in file.name
]


@pytest.mark.parametrize("file", GOLDENS, ids=lambda file: file.stem.removeprefix("ggml-vocab-"))
def test_goldens(file: Path) -> None:
    """47 texts and their ids by llama.cpp; KAIWA_GOLDENS names a folder with more vocabularies than the usual ones."""
    tokenizer = tokenizer_of(read_vocabulary(read_gguf(file)[0], file))
    texts = Path(f"{file}.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    rows = Path(f"{file}.out").read_text(encoding="utf-8").split("\n")
    assert len(texts) == 47
    for text, row in zip(texts, rows, strict=False):
        assert tokenizer.encode(text) == [int(id) for id in row.split()], text


def fields(**changes: Any) -> dict[str, Any]:
    """Return the fields of a byte-level vocabulary: 256 bytes, four merged pieces, two user-defined tokens, ends."""
    more = ["he", "hel", "lo", "hello", "<think>", "\n\n\n", "<|im_end|>", "<|endoftext|>"]
    tokens = [*byte_of_char(), *more]
    kinds = [NORMAL] * 260 + [USER_DEFINED] * 2 + [CONTROL] * 2
    values = {
        "model": "gpt2",
        "pre": "qwen2",
        "tokens": tokens,
        "token_type": kinds,
        "merges": ["h e", "he l", "l o"],  # "hel lo" is not among them
        "eos_token_id": len(tokens) - 1,
        **changes,
    }
    return {f"tokenizer.ggml.{name}": value for name, value in values.items() if value is not None}


FILE = Path("model.gguf")


def test_user_defined_tokens_are_whole() -> None:
    tokenizer = tokenizer_of(read_vocabulary(fields(), FILE))
    ids = tokenizer.encode("<think>hello\n\n\n")
    assert [tokenizer.token_text(id) for id in ids] == ["<think>", "hel", "lo", "\n\n\n"]
    assert tokenizer.decode(ids) == "<think>hello\n\n\n"
    assert len(tokenizer.encode("<|im_end|>")) > 1, "what a user writes is never a control token"


def test_control_tokens_that_end_a_turn_are_stops() -> None:
    raw = read_vocabulary(fields(), FILE)
    tokenizer = tokenizer_of(raw)
    assert {tokenizer.token_text(id) for id in tokenizer.stop_ids} == {"<|im_end|>", "<|endoftext|>"}
    named = read_vocabulary(fields(eot_token_id=256, eom_token_id=257), FILE)
    assert {256, 257} <= set(tokenizer_of(named).stop_ids), "whatever they are called"
    plain = read_vocabulary(fields(token_type=[NORMAL] * 264), FILE)
    assert plain.ends == (263,), "the end token alone: <|im_end|> is an ordinary token of this file"
    assert tokenizer_of(plain).eos_id == 263


def test_a_piece_that_is_a_token_stays_whole_where_the_model_was_trained_so() -> None:
    for pre, pieces in (("llama-bpe", ["hello"]), ("tekken", ["hello"]), ("qwen2", ["hel", "lo"])):
        tokenizer = tokenizer_of(read_vocabulary(fields(pre=pre), FILE))
        assert [tokenizer.token_text(id) for id in tokenizer.encode("hello")] == pieces
    assert read_vocabulary(fields(pre="llama3"), FILE).add_bos, "LLaMA 3's files do not say so"
    assert not read_vocabulary(fields(pre="llama3", add_bos_token=False), FILE).add_bos


@pytest.mark.parametrize("name", PATTERNS)
def test_every_cut_keeps_every_character(name: str) -> None:
    text = "Hello world's 1234567 №½ tests—naïve, 日本語。\r\n\t  ``x=1;``  ¿Qué? 🚀🏳️ end  "
    pieces = pre_tokenizer(name).pre_tokenize_str(text)
    places = [place for _, place in pieces]
    assert places[0][0] == 0
    assert all(end == start for (_, end), (start, _) in pairwise(places))
    assert places[-1][1] in (len(text), len(text.encode()))


@pytest.mark.parametrize(
    ("name", "text", "pieces"),
    [
        ("gpt-2", "in 2024 I'm", ["in", " 2024", " I", "'m"]),
        ("smollm", "in 2024", ["in", " ", "2", "0", "2", "4"]),
        ("qwen2", "in 2024", ["in", " ", "2", "0", "2", "4"]),
        ("deepseek-r1-qwen", "in 2024", ["in", " ", "2", "0", "2", "4"]),
        ("llama3", "in 20245", ["in", " ", "202", "45"]),
        ("deepseek-v3", "a_b 20245", ["a", "_b", " ", "202", "45"]),
        ("tekken", "HelloWorld 12", ["Hello", "World", " ", "1", "2"]),
        ("gpt-4o", "HelloWorld's 1234", ["Hello", "World's", " ", "123", "4"]),
        ("falcon", "a+b 12345", ["a", "+", "b", " ", "123", "45"]),
    ],
)
def test_cuts(name: str, text: str, pieces: list[str]) -> None:
    assert [piece.replace("Ġ", " ") for piece, _ in pre_tokenizer(name).pre_tokenize_str(text)] == pieces


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"merges": None}, "merges is missing"),
        ({"merges": []}, "merges is missing"),
        ({"pre": "qwen3000"}, "did you mean"),
        ({"model": "bert"}, "tokenizer 'bert'"),
        ({"eot_token_id": 10**6}, "the eot token is number 1000000 of 264"),
        ({"token_type": [1]}, "different lengths"),
        ({"eos_token_id": None, "token_type": [NORMAL] * 264}, "names no end token"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tokenizer_of(read_vocabulary(fields(**changes), FILE))


def test_a_file_from_before_the_cut_was_named() -> None:
    old = fields(pre=None)
    assert read_vocabulary(old, FILE).pre == "gpt-2"
    old["tokenizer.ggml.tokens"][-1] = "<|begin_of_text|>"
    assert read_vocabulary(old, FILE).pre == "llama-bpe"

"""Tokenizers as other people's folders have them: SentencePiece's own file, unigram, WordPiece, odd settings."""

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from kaiwa.core.errors import UserError
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.sentencepiece_model import BPE, UNIGRAM, read_model
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import save, train

TEXTS = ["the cat sat on the mat. 猫と犬。 0123\n"] * 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a byte-level tokenizer of 275 tokens."""
    save(train(TEXTS, TokenizerConfig(vocab_size=275)), tmp_path)
    return tmp_path


def change(file: Path, **values: Any) -> None:
    """Set fields of a JSON file; None removes one."""
    now = json.loads(file.read_text()) if file.is_file() else {}
    now.update(values)
    file.write_text(json.dumps({k: v for k, v in now.items() if v is not None}))


def test_a_tokenizer_json_that_does_not_name_its_kind(folder: Path) -> None:
    """GPT-2's on the hub is one."""
    ids = Tokenizer.load(folder).encode("the cat")
    data = json.loads((folder / "tokenizer.json").read_text())
    del data["model"]["type"]
    (folder / "tokenizer.json").write_text(json.dumps(data))
    assert Tokenizer.load(folder).encode("the cat") == ids


def test_vocab_and_merges_alone(folder: Path) -> None:
    tokenizer = Tokenizer.load(folder)
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    vocab = tokenizer.inner.get_vocab()
    (folder / "vocab.json").write_text(json.dumps(vocab))
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    assert Tokenizer.load(folder).encode("the cat sat") == tokenizer.encode("the cat sat")


@pytest.mark.parametrize(
    ("in_config", "in_file", "right"),
    [
        ("config", "file", "file"),
        ("config", None, "config"),
        ([{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "usual"}], None, "usual"),
        ([{"name": "only", "template": "one"}], None, "one"),
        ({"default": "usual", "rag": "rag"}, None, "usual"),
        ([], None, None),
        (7, None, None),
    ],
)
def test_which_chat_template(in_config: Any, in_file: str | None, right: str | None, folder: Path) -> None:
    change(folder / "tokenizer_config.json", chat_template=in_config)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    if in_file is not None:
        (folder / "chat_template.jinja").write_text(in_file)
    assert Tokenizer.load(folder).chat_template == right


def test_named_tokens_of_other_folders(folder: Path) -> None:
    change(folder / "tokenizer_config.json", pad_token="[PAD]", bos_token="<s>", eos_token={"content": "cat"})
    data = json.loads((folder / "tokenizer.json").read_text())
    id = len(data["model"]["vocab"]) + 50
    data["added_tokens"].append({"id": id, "content": "cat", "special": False, "normalized": False, "lstrip": False,
                                 "rstrip": False, "single_word": False})  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(data))
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.token_text(tokenizer.eos_id) == "cat", "an end token that is not marked as special"
    assert tokenizer.bos_id is None, "<s> is no token of this vocabulary"
    assert tokenizer.pad_id != tokenizer.vocab_size
    change(folder / "tokenizer_config.json", eos_token="<nothing>")
    with pytest.raises(UserError, match="eos token '<nothing>' is not one of its special tokens"):
        Tokenizer.load(folder)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("generation_config.json", "{", "not JSON"),
        ("generation_config.json", "[1]", "a JSON object is expected"),
        ("tokenizer_config.json", '"x"', "a JSON object is expected"),
        ("tokenizer.json", '{"model": []}', "of kind None"),
        ("tokenizer.json", '{"model": {"type": "WordLevel"}}', "of kind 'WordLevel'; BPE, Unigram, WordPiece are read"),
        ("tokenizer.json", '{"model": {"type": "BPE"}}', "not a tokenizer that the tokenizers library reads"),
    ],
)
def test_a_damaged_file_is_one_line(name: str, text: str, message: str, folder: Path) -> None:
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        Tokenizer.load(folder)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_odd_end_tokens_are_left_out(folder: Path) -> None:
    for value in ("7", None, {"id": 7}, [1, "2", None, True]):
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": value}))
        assert Tokenizer.load(folder).generation_ends == ((1,) if isinstance(value, list) else ())


def test_unigram_and_word_piece_folders(tmp_path: Path) -> None:
    unigram = tokenizers.Tokenizer(
        models.Unigram([("<unk>", 0.0), ("</s>", 0.0), ("▁", -3.0), ("▁a", -1.0), ("b", -1.5), ("▁ab", -2.0)], 0, False)
    )
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.decoder = decoders.Metaspace()
    unigram.add_special_tokens(["<unk>", "</s>"])
    words = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "[SEP]": 1, "play": 2, "##ed": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.decoder = decoders.WordPiece()
    words.add_special_tokens(["[UNK]", "[SEP]"])
    for inner, eos, text, ids, back in (
        (unigram, "</s>", "ab a", [5, 3], " ab a"),
        (words, "[SEP]", "played", [2, 3], " played"),
    ):
        inner.save(str(tmp_path / "tokenizer.json"))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": eos}))
        tokenizer = Tokenizer.load(tmp_path)
        assert tokenizer.encode(text) == ids
        assert tokenizer.decode(ids) == back


def field(number: int, value: int | float | bytes) -> bytes:
    """Return a protocol-buffer field."""
    if isinstance(value, float):
        return bytes([number << 3 | 5]) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def sentencepiece_file(algorithm: int, *, byte_pieces: bool, add_space: bool = True) -> bytes:
    """Return a tokenizer.model of a dozen pieces, with a user-defined one."""
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("<sep>", 0.0, 4)]
    pieces += [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)] if byte_pieces else []
    normal = ["▁a", "ab", "▁ab", "▁", "a", "b", "c"]
    pieces += [(piece, -1.0 - n, 1) for n, piece in enumerate(normal)]
    data = b"".join(
        field(1, field(1, text.encode()) + field(2, score) + field(3, kind)) for text, score, kind in pieces
    )
    trainer = field(3, algorithm) + field(35, int(byte_pieces)) + field(43, (1 << 64) - 1)
    return data + field(2, trainer) + field(3, field(3, int(add_space)) + field(4, 0))


@pytest.mark.parametrize("algorithm", [BPE, UNIGRAM])
@pytest.mark.parametrize("byte_pieces", [True, False])
def test_sentencepiece_file_alone(algorithm: int, byte_pieces: bool, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_file(algorithm, byte_pieces=byte_pieces))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<extra>": 300}))
    tokenizer = Tokenizer.load(tmp_path)
    assert (tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token) == ("</s>", "<s>", "</s>")
    names = [tokenizer.inner.id_to_token(id) for id in tokenizer.encode("ab a<sep>")]
    assert names == ["▁ab", "▁a", "<sep>"]
    names = [tokenizer.inner.id_to_token(id) for id in tokenizer.encode("aé")]
    assert names == ["▁a", *(["<0xC3>", "<0xA9>"] if byte_pieces else ["<unk>"])]
    assert tokenizer.encode("</s>") != [tokenizer.eos_id]
    assert tokenizer.inner.token_to_id("<extra>") is not None


def test_without_a_space_in_front(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_file(BPE, byte_pieces=True, add_space=False))
    tokenizer = Tokenizer.load(tmp_path)
    assert [tokenizer.inner.id_to_token(id) for id in tokenizer.encode("ab ab")] == ["ab", "▁ab"]
    assert tokenizer.decode(tokenizer.encode("ab ab")) == "ab ab"


def test_a_damaged_sentencepiece_file_is_one_line(tmp_path: Path) -> None:
    whole = sentencepiece_file(BPE, byte_pieces=True)
    file = tmp_path / "tokenizer.model"
    for cut in range(0, len(whole), 97):
        for data in (whole[:cut], whole[:cut] + b"\xff" * 20, bytes(cut)):
            file.write_bytes(data)
            with contextlib.suppress(UserError):  # anything else is a fault
                assert read_model(file).pieces, "a prefix that ends between two fields is a shorter model"
    file.write_bytes(whole[:50])
    with pytest.raises(
        UserError, match=r"tokenizer\.model: damaged or no SentencePiece model \(.* bytes are announced"
    ):
        read_model(file)
    file.write_bytes(sentencepiece_file(3, byte_pieces=True))
    with pytest.raises(UserError, match="of kind 3; BPE"):
        Tokenizer.load(tmp_path)

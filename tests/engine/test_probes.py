"""Probes: read from a file, answered greedily, NaN where there are none."""

import json
import math
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.engine.probes import Probe, answer_probes, cloze_accuracy, cloze_right, read_probes
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.text.records import write_jsonl
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.train import train


def test_probes_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "probes.jsonl"
    write_jsonl(
        file, [{"id": "a", "kind": "cloze", "text": "x", "answer": "y"}, {"id": "b", "kind": "chat", "messages": "hi"}]
    )
    cloze, chat = read_probes(file)
    assert (cloze.text, cloze.answer, chat.messages[0].content) == ("x", "y", "hi")
    write_jsonl(file, [{"id": "a", "kind": "riddle"}])
    with pytest.raises(UserError, match="'riddle'"):
        read_probes(file)


def test_probes_are_answered() -> None:
    tokenizer = train(["the cat and the dog 0123\n"] * 30, TokenizerConfig(vocab_size=270))
    model = make_decoder(DecoderConfig(vocab_size=270, d_model=16, n_layer=1, n_head=2, d_ff=16, max_length=96), 0)
    empty = Probe("e", "cloze", text="the cat", answer="")
    assert cloze_right(model, tokenizer, [empty, Probe("n", "cloze", text="the", answer="\n")]) == [True, False]
    assert cloze_accuracy(model, tokenizer, [empty]) == 1.0
    assert math.isnan(cloze_accuracy(model, tokenizer, []))
    from kaiwa.text.template import user

    (line,) = answer_probes(model, tokenizer, [empty, Probe("c", "chat", messages=user("hi"))], 5)
    assert {"step": 5, "id": "c", "language": "en"}.items() <= json.loads(line).items()
    assert answer_probes(model, tokenizer, [empty], 5) == []

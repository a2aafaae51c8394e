"""Four bits of models of others: a folder, a .gguf file, an adapter on its base; text of one's own or the model's."""

import json
from pathlib import Path

import pytest
import torch

from kaiwa.catalog.trainable import as_parent
from kaiwa.core.artifact import fingerprint
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine
from kaiwa.hub.export import ExportSource, export
from kaiwa.model.formats.gptq import load_int4
from kaiwa.model.formats.hf_folder import load_decoder
from kaiwa.model.lora import LoraLinear, add_lora, merge_lora, save_adapter
from kaiwa.quantize import run as quantize
from kaiwa.quantize.config import QuantizeConfig
from kaiwa.text.sampling import Sampling
from kaiwa.tokenizer.tokenizer import Tokenizer
from tests.tiny_models import policy_folder

CONFIG = QuantizeConfig(method="gptq", width=24, calibration_rows=4, evaluate_rows=2)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return policy_folder(tmp_path / "base", d_model=32, d_ff=64, max_length=64).path


def context() -> Context:
    return Context(seed=1)


def test_a_folder_with_text_by_the_model_itself(base: Path, tmp_path: Path) -> None:
    ctx, lines = context(), []
    ctx.say = lines.append
    made = quantize.run(CONFIG, ctx, model=as_parent(base), out=tmp_path / "q")
    card = json.loads((made.path / quantize.CARD).read_text())
    assert list(card["measured"]) == ["own"]
    assert card["measured"]["own"]["kl"]["mean"] < 0.05
    assert "the model writes its own text for calibration: 6 rows of up to 24 tokens" in lines
    again = quantize.run(CONFIG, ctx, model=as_parent(base), out=tmp_path / "again")
    assert again.hash == made.hash, "the same seed writes the same text"


def test_a_gguf_file_with_text_of_ones_own(base: Path, tmp_path: Path) -> None:
    decoder, tokenizer = load_decoder(base), Tokenizer.load(base)
    source = ExportSource(name="tiny", decoder=decoder, tokenizer=tokenizer, folder=base)
    file = export(source, "gguf", tmp_path / "gguf", "F32")
    text = tmp_path / "words.jsonl"
    text.write_text("".join(json.dumps({"text": f"the cat saw {i} dogs and a bird. " * 3}) + "\n" for i in range(40)))
    made = quantize.run(CONFIG, context(), model=as_parent(file), text=fingerprint(text), out=tmp_path / "q")
    read = load_int4(made.path)
    (answer,) = Engine(read).generate([[5, 6, 7]], Sampling(max_tokens=4, temperature=0))
    assert len(answer.ids) == 4
    assert Tokenizer.load(made.path).encode("the cat") == tokenizer.encode("the cat")
    assert list(json.loads((made.path / quantize.CARD).read_text())["measured"]) == ["words"]


@torch.no_grad()
def test_an_adapter_is_merged_before(base: Path, tmp_path: Path) -> None:
    trained = load_decoder(base)
    add_lora(trained, 2, 4.0, torch.Generator().manual_seed(0))
    for layer in trained.modules():
        if isinstance(layer, LoraLinear):
            layer.b.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(1))
    save_adapter(tmp_path / "adapter", trained, "base")
    merge_lora(trained)
    read = quantize.read_merged(base, tmp_path / "adapter")
    for name, tensor in trained.state_dict().items():
        assert torch.allclose(tensor, read.state_dict()[name], atol=1e-5), name


def test_what_cannot_be_quantized_is_one_line(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = tmp_path / "short.txt"
    short.write_text("the cat")
    with pytest.raises(UserError, match=r"short\.txt has \d+ tokens; at least 96 are needed"):
        quantize.run(CONFIG, context(), model=as_parent(base), text=fingerprint(short), out=tmp_path / "a")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "the cat?"}\n')
    with pytest.raises(UserError, match="no row has a field `text`"):
        quantize.run(CONFIG, context(), model=as_parent(base), text=fingerprint(rows), out=tmp_path / "b")
    monkeypatch.setattr(quantize, "free_memory_bytes", lambda: 1000)
    with pytest.raises(UserError, match=r"needs 0\.0 GB of memory \(two copies in fp32\)"):
        quantize.run(CONFIG, context(), model=as_parent(base), out=tmp_path / "c")

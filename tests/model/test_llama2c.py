"""llama2.c's layout: a written model comes back, and stories260K goes on as its authors published."""

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from kaiwa.catalog import entries
from kaiwa.catalog.load import load
from kaiwa.catalog.local_model import LocalChatModel
from kaiwa.core.errors import UserError
from kaiwa.model.formats.llama2c import Llama2cFile
from kaiwa.text.sampling import Sampling

STORIES = Path(__file__).parents[3] / "shared" / "data" / "stories260k"


@pytest.mark.skipif(not STORIES.is_dir(), reason="stories260K is not here")
def test_stories260k_tells_its_published_story() -> None:
    entry = entries.read_entry(STORIES / "stories260K.bin", "stories260K")
    assert entry is not None
    assert not entry.chat
    model = LocalChatModel(load(entry))
    told = model.generate("", Sampling(max_tokens=200, temperature=0)).text.strip()
    assert told.startswith("Once upon a time, there was a little girl named Lily. She loved to play")
    assert told.endswith("so she")
    assert hashlib.sha256(told[:460].encode()).hexdigest().startswith("ec6d35b5feab9f7d")


def test_what_is_none_of_these_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.bin"
    shape = (8, 12, 1, 2, 1, 20, 16)
    weights = 20 * 8 + 8 + 8 * 8 + 4 * 8 * 2 + 8 * 8 + 8 + 12 * 8 * 3 + 8 + 16 * 2 * 2
    file.write_bytes(struct.pack("<7i", *shape) + np.ones(weights, "<f4").tobytes())
    assert Llama2cFile(file).decoder(torch.float32).config.n_kv_head == 1
    with pytest.raises(UserError, match="no tokenizer of 20 tokens"):
        Llama2cFile(file).vocabulary()
    good = file.read_bytes()
    for bad in (good[:-1], good[:20], b"", b"\x80\x02}q\x00" + good, good + b"0", struct.pack("<7i", *([0] * 7))):
        file.write_bytes(bad)
        with pytest.raises(UserError, match=r"no model of llama2\.c"):
            Llama2cFile(file)
    file.write_bytes(good[:100] + np.float32(np.nan).tobytes() + good[104:])
    with pytest.raises(UserError, match="not numbers"):
        Llama2cFile(file).decoder()

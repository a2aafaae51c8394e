"""GPTQModel quantizes a folder (run by four_bits.py in the interpreter that has it): FOLDER IDS.json OUT GROUP SYM."""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # with two cores it takes one worker and then asks for two

from gptqmodel import GPTQModel, QuantizeConfig


def main() -> None:
    folder, ids, out, group, symmetric = sys.argv[1:]
    rows = json.loads(Path(ids).read_text())
    config = QuantizeConfig(bits=4, group_size=int(group), sym=symmetric == "True", desc_act=False, device="cpu")
    model = GPTQModel.load(folder, config)
    model.quantize([{"input_ids": row, "attention_mask": [1] * len(row)} for row in rows], batch_size=4)
    model.save(out)


if __name__ == "__main__":
    main()

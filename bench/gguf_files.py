"""Are exported GGUF files what llama.cpp takes them for? Greedy answers, token ids and chat prompts, side by side.

    python bench/gguf_files.py PEER MODEL… [--types F32,Q8_0,Q4_0] [--tokens 32] [--out FILE.json]

PEER: an interpreter that has llama-cpp-python. MODEL: a name from `kaiwa models`, a folder or a file. Each is exported
as each type; both engines get the same prompts as token ids and answer greedily, kaiwa by whole passes in fp32.
llama.cpp rounds activations to 8 bits before products with 4- and 8-bit weights, so that two near-equal candidates may
come out the other way round: then everything after differs, which is why the first difference is told with how near
the two were.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from kaiwa.catalog.entries import entry_by_name_or_path, read_entry
from kaiwa.catalog.load import load
from kaiwa.catalog.trainable import open_base
from kaiwa.core.machine import describe
from kaiwa.hub.export import ExportSource, export
from kaiwa.hub.verify import SAMPLE
from kaiwa.model.attention import attend_rows
from kaiwa.model.decoder import Decoder
from kaiwa.text.records import Message
from kaiwa.text.template import render

TEXTS = [
    SAMPLE,
    "Who bakes bread, and what does it cost in 1905?  Two  spaces.\n\nA new line.",
    "村のパン屋はどこですか。",
]
CHATS = [
    [Message("user", "Who bakes bread in the village?")],
    [
        Message("system", "Answer in one sentence."),
        Message("user", "What is photosynthesis?"),
        Message("assistant", "Plants make sugar of light."),
        Message("user", "And at night?"),
    ],
]


@torch.no_grad()
def greedy(decoder: Decoder, ids: list[int], n: int) -> tuple[list[int], list[float]]:
    """The likeliest tokens by whole forward passes in fp32, and how far each is ahead of the second (nats)."""
    made: list[int] = []
    ahead: list[float] = []
    while len(made) < n:
        row = torch.tensor([[*ids, *made]])
        hidden = decoder(row, torch.arange(row.shape[1])[None], attend_rows(None))
        best = decoder.logits(hidden[0, -1]).float().log_softmax(-1).topk(2)
        made.append(int(best.indices[0]))
        ahead.append(float(best.values[0] - best.values[1]))
    return made, ahead


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--types", default="F32,Q8_0,Q4_0")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    report: dict[str, Any] = {"hardware": describe(), "models": {}}
    print("| model | type | equal answers | equal tokens | first difference: ahead by | texts | chat prompts |")
    print("|---|---|---|---|---|---|---|")
    for name in asked.models:
        rows = report["models"][Path(name).name] = {}
        for kind in asked.types.split(","):
            with tempfile.TemporaryDirectory() as folder:
                row = rows[kind] = compare(asked.peer, name, kind, asked.tokens, Path(folder))
            print(
                f"| {Path(name).name} | {kind} | {row['equal_answers']} of {row['answers']} | {row['equal_tokens']} of"
                f" {row['tokens']} | {', '.join(f'{x:.4f}' for x in row['ahead_where_they_part']) or '–'} |"
                f" {row['equal_texts']} of {len(TEXTS)} | {row['equal_chats']} of {row['chats']} |",
                flush=True,
            )
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(report, indent=1) + "\n")


def compare(peer: str, name: str, kind: str, n: int, folder: Path) -> dict[str, Any]:
    """One model as one type of file, read by both."""
    entry = entry_by_name_or_path(name)
    decoder, tokenizer = open_base(entry.path)
    source = ExportSource(
        name="m", decoder=decoder, tokenizer=tokenizer, folder=entry.path if entry.path.is_dir() else None
    )
    file = export(source, "gguf", folder / "out", kind)  # type: ignore[arg-type]
    made = read_entry(file, "m")
    assert made is not None
    again, _ = open_base(made.path)  # what the file holds, dense
    words = load(replace(made, chat=True)).tokenizer
    chats = CHATS if tokenizer.chat_template else []
    rendered = [render(tokenizer, tuple(chat), add_generation_prompt=True) for chat in chats]
    prompts = [tokenizer.encode(text) for text in TEXTS] + [list(one.ids) for one in rendered]
    tasks = {
        "prompts": prompts, "n": n, "texts": TEXTS,
        "messages": [[{"role": m.role, "content": m.content} for m in chat] for chat in chats],
    }  # fmt: skip
    (folder / "tasks.json").write_text(json.dumps(tasks))
    script = Path(__file__).with_name("gguf_files_peer.py")
    command = [peer, str(script), str(file), str(folder / "tasks.json"), str(folder / "found.json")]
    subprocess.run([*command, str(torch.get_num_threads())], check=True)
    found = json.loads((folder / "found.json").read_text())
    equal_tokens = equal_answers = 0
    ahead_where: list[float] = []
    for ids, theirs in zip(prompts, found["answers"], strict=True):
        ours, ahead = greedy(again, ids, n)
        same = next((i for i in range(n) if ours[i] != theirs[i]), n)
        equal_tokens += same
        equal_answers += same == n
        ahead_where += ahead[same : same + 1]
    return {
        "answers": len(prompts), "equal_answers": equal_answers, "tokens": n * len(prompts),
        "equal_tokens": equal_tokens, "ahead_where_they_part": ahead_where,
        "equal_texts": sum(words.encode(t) == theirs for t, theirs in zip(TEXTS, found["texts"], strict=True)),
        "chats": len(chats),
        "equal_chats": sum(list(one.ids) == ids for one, ids in zip(rendered, found["chat_ids"], strict=True)),
    }  # fmt: skip


if __name__ == "__main__":
    main()

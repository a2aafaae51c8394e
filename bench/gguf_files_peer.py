"""llama.cpp's side of gguf_files.py, run by an interpreter that has llama-cpp-python.

    gguf_files_peer.py FILE.gguf TASKS.json OUT.json THREADS

TASKS: {"prompts": [[ids]], "n", "texts": [text], "messages": [messages]}. Out: the greedy continuations, the ids of
the texts, and what the file's own chat template makes of the messages.
"""

import json
import sys
from pathlib import Path

import llama_cpp
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter


def greedy(model: llama_cpp.Llama, ids: list[int], n: int) -> list[int]:
    model.reset()
    model.eval(ids)
    made: list[int] = []
    while len(made) < n:
        made.append(int(np.argmax(model.scores[model.n_tokens - 1])))
        model.eval(made[-1:])
    return made


def main() -> None:
    file, tasks, out, threads = sys.argv[1:]
    asked = json.loads(Path(tasks).read_text())
    context = max(map(len, asked["prompts"])) + asked["n"] + 8
    model = llama_cpp.Llama(file, n_ctx=context, n_threads=int(threads), logits_all=True, verbose=False)
    template = model.metadata.get("tokenizer.chat_template", "")
    end = model.detokenize([model.token_eos()], special=True).decode()
    begin = model.detokenize([model.token_bos()], special=True).decode() if model.token_bos() >= 0 else ""
    write = Jinja2ChatFormatter(template, end, begin) if template else None
    found = {
        "answers": [greedy(model, ids, asked["n"]) for ids in asked["prompts"]],
        "texts": [model.tokenize(text.encode(), add_bos=False, special=False) for text in asked["texts"]],
        "chats": [write(messages=messages).prompt for messages in asked["messages"]] if write else None,
    }
    found["chat_ids"] = [model.tokenize(t.encode(), add_bos=False, special=True) for t in found["chats"] or ()]
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main()

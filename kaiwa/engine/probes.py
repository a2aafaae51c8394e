"""Probes: a few fixed questions for every checkpoint, which show how a model learns.

A `cloze` probe is plain text to be continued, and counts as right when the greedy continuation's first line contains
the answer.
A `chat` probe is a conversation; the greedy reply is kept for the time-lapse.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine
from kaiwa.model.decoder import Decoder
from kaiwa.text.records import Conversation, conversation, read_jsonl
from kaiwa.text.sampling import Sampling
from kaiwa.text.template import render
from kaiwa.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Probe:
    """kind "cloze": text and answer; kind "chat": messages. `id`: its name in the samples."""

    id: str
    kind: str
    language: str = "en"
    text: str = ""
    answer: str = ""
    messages: Conversation = ()


def read_probes(file: Path) -> list[Probe]:
    """Read probes from a JSONL file. UserError names the file for a record of another kind."""
    probes = []
    for row in read_jsonl(file):
        if row.get("kind") not in ("cloze", "chat"):
            raise UserError(f"{file}: a probe's kind is {row.get('kind')!r}; it must be 'cloze' or 'chat'")
        messages = conversation(row["messages"]) if row["kind"] == "chat" else ()
        text, answer = row.get("text", ""), row.get("answer", "")
        probes.append(Probe(row["id"], row["kind"], row.get("language", "en"), text, answer, messages))
    return probes


def cloze_accuracy(model: Decoder, tokenizer: Tokenizer, probes: Sequence[Probe]) -> float:
    """Share of cloze probes whose greedy continuation has the answer in its first line; NaN without cloze probes."""
    right = cloze_right(model, tokenizer, [p for p in probes if p.kind == "cloze"])
    return sum(right) / len(right) if right else float("nan")


@torch.no_grad()
def cloze_right(model: Decoder, tokenizer: Tokenizer, clozes: Sequence[Probe]) -> list[bool]:
    """Return for each cloze probe whether the greedy continuation's first line has the answer."""
    if not clozes:
        return []
    prompts = [[tokenizer.document_end_id, *tokenizer.encode(p.text)] for p in clozes]
    answers = Engine(model, tokenizer).generate(prompts, Sampling(max_tokens=20, temperature=0.0, seed=0), stop_ids=())
    lines = [answer.text.strip().partition("\n")[0].lower() for answer in answers]
    return [p.answer.lower() in line for line, p in zip(lines, clozes, strict=True)]


@torch.no_grad()
def answer_probes(model: Decoder, tokenizer: Tokenizer, probes: Sequence[Probe], step: int) -> list[str]:
    """Return the greedy reply to each chat probe, as JSON lines {"step","id","language","text"}."""
    chats = [p for p in probes if p.kind == "chat"]
    if not chats:
        return []
    prompts = [render(tokenizer, p.messages, add_generation_prompt=True).ids for p in chats]
    stop = (*tokenizer.stop_ids, tokenizer.document_end_id)
    answers = Engine(model, tokenizer).generate(
        prompts, Sampling(max_tokens=48, temperature=0.0, seed=0), stop_ids=stop
    )
    return [
        json.dumps({"step": step, "id": p.id, "language": p.language, "text": a.text}, ensure_ascii=False)
        for p, a in zip(chats, answers, strict=True)
    ]

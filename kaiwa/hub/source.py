"""A repository's listing on a Hugging Face hub, and the choice of the files that kaiwa needs.

The listing is requested once and pinned to its commit: every later byte comes from this commit and is checked against
the listing's sizes and checksums (SHA-256 for large files, git's SHA-1 for small files).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kaiwa.core.errors import UserError

NAME = re.compile(r"(?P<org>[\w.-]{1,96})/(?P<name>[\w.-]{1,96})(?::(?P<branch>[\w./-]{1,96}))?", re.ASCII)
SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "quantize_config.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "modules.json",  # of embedding models, as sentence-transformers writes them
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)
TOKENIZERS = (
    ("tokenizer.json",),
    ("tokenizer.model",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
)  # the first there
MODULE_CONFIG = re.compile(r"\d+_[A-Za-z]+/config\.json")  # of a part after the encoder: 1_Pooling/config.json
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
LIKED = ("Q4_K_M", "Q4_1", "Q4_0", "Q5_K_M", "Q8_0", "F16", "BF16")  # order of preference among several GGUF files
MOST_FILES = 10_000
MOST_LANGUAGES = 200
TRANSPORTS = ("httpx", "httpx2", "requests", "urllib3")  # packages whose errors huggingface_hub may raise


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model of a hub and its branch: ORG/NAME[:BRANCH]."""

    org: str
    name: str
    branch: str

    @property
    def repo(self) -> str:
        return f"{self.org}/{self.name}"

    @property
    def label(self) -> str:
        """The name in `kaiwa models`."""
        return self.repo if self.branch == "main" else f"{self.repo}:{self.branch}"

    @property
    def folder(self) -> str:
        return self.label.replace("/", "--").replace(":", "--")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of the pinned commit. Exactly one of the checksums is set: sha256, or git_sha1 of the blob."""

    name: str
    size: int
    sha256: str
    git_sha1: str

    @property
    def local(self) -> str:
        """Its place in the model's folder: a part's config.json keeps its own folder, all else lies beside it."""
        return self.name if MODULE_CONFIG.fullmatch(self.name) else PurePosixPath(self.name).name


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at the current commit of its branch; licence and languages as its page says them."""

    model: ModelName
    commit: str
    files: tuple[RemoteFile, ...]
    licence: str = ""
    languages: tuple[str, ...] = ()


def parse(text: str) -> ModelName:
    """Parse ORG/NAME[:BRANCH]. UserError for another format."""
    match = NAME.fullmatch(text.strip())
    if match is None or {match["org"], match["name"]} & {".", ".."} or ".." in (match["branch"] or ""):
        raise UserError(f"{text[:80]!r} is no model's name; ORG/NAME or ORG/NAME:BRANCH is expected")
    return ModelName(match["org"], match["name"], match["branch"] or "main")


def ask(model: ModelName, endpoint: str, token: str | None) -> Listing:
    """Return the hub's listing of a repository. UserError if missing, gated or malformed, or without a network."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi(endpoint=endpoint, token=token or False).model_info(
            model.repo, revision=model.branch, files_metadata=True, timeout=30
        )
    except GatedRepoError:
        raise UserError(
            f"{model.repo} is gated: accept its terms on {endpoint}/{model.repo}, then set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise UserError(f"{model.repo} has no branch, tag or commit {model.branch!r}") from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{endpoint} has no model {model.repo} (a private one needs HF_TOKEN in the environment)"
        ) from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "?")
        raise UserError(f"{endpoint} answered {status} when asked for {model.repo}; try again later") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{endpoint}: its answer about {model.repo} is no listing ({error})") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in TRANSPORTS and not isinstance(error, OSError):
            raise
        raise UserError(f"{endpoint} cannot be reached ({type(error).__name__}); check the network") from None
    files = tuple(_file(s) for s in (info.siblings or [])[:MOST_FILES])
    return Listing(model, _commit(info.sha, model), files, *_licence_and_languages(info))


def _licence_and_languages(info: object) -> tuple[str, tuple[str, ...]]:
    """Return what a repository's card says, in the hub's words; "" and () where it says nothing."""
    card = getattr(info, "card_data", None)
    licence, languages = getattr(card, "license", None), getattr(card, "language", None)
    if licence == "other":
        licence = getattr(card, "license_name", None) or licence
    listed = [languages] if isinstance(languages, str) else languages if isinstance(languages, list) else []
    codes = tuple(str(name)[:16] for name in listed[:MOST_LANGUAGES])
    return (licence[:80] if isinstance(licence, str) else ""), codes


def _commit(sha: object, model: ModelName) -> str:
    if not isinstance(sha, str) or not re.fullmatch(r"[0-9a-f]{40}", sha):
        raise UserError(f"{model.repo}: the hub names no commit; nothing can be pinned or checked")
    return sha


def _file(sibling: object) -> RemoteFile:
    name, size = str(getattr(sibling, "rfilename", "")), getattr(sibling, "size", None)
    lfs, blob = getattr(sibling, "lfs", None), getattr(sibling, "blob_id", None)
    sha256 = str(getattr(lfs, "sha256", "") or "") if lfs is not None else ""
    size = getattr(lfs, "size", size) if sha256 else size
    length = size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else -1
    return RemoteFile(name, length, sha256.lower(), "" if sha256 else str(blob or "").lower())


def choose(listing: Listing, pattern: str = "") -> list[RemoteFile]:
    """Return the files to download, small files first. pattern: which GGUF file, a shell pattern such as *Q4_K_M*."""
    repo = listing.model.repo
    top = {f.name: f for f in listing.files if PurePosixPath(f.name).name == f.name and not f.name.startswith(".")}
    tensors = [f for f in top.values() if f.name.endswith(".safetensors")]
    if pattern or not tensors or "config.json" not in top:
        files = _gguf(repo, listing.files, pattern, sorted(top))
    else:
        tokenizer = next((names for names in TOKENIZERS if set(names) <= set(top)), None)
        if tokenizer is None:
            raise UserError(f"{repo}: has none of {', '.join(' with '.join(t) for t in TOKENIZERS)}; try a GGUF")
        modules = [f for f in listing.files if MODULE_CONFIG.fullmatch(f.name)] if "modules.json" in top else []
        small = [top[name] for name in (*SMALL_FILES, *tokenizer) if name in top] + modules
        files = small + sorted(_weights(tensors), key=lambda f: f.name)
    for file in files:
        if file.size < 0 or not (file.sha256 or file.git_sha1):
            raise UserError(f"{repo}: the hub gives no size or checksum for {file.name}; nothing unchecked is fetched")
    return files


def _weights(tensors: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Return model.safetensors or its shards; without these, all files, since GPTQ folders use any names."""
    whole = [f for f in tensors if f.name == "model.safetensors"]
    shards = [f for f in tensors if re.fullmatch(r"model-\d{5}-of-\d{5}\.safetensors", f.name)]
    return whole or shards or list(tensors)


def _gguf(repo: str, files: Sequence[RemoteFile], pattern: str, top: Sequence[str]) -> list[RemoteFile]:
    gguf_files = [f for f in files if f.name.endswith(".gguf")]
    matching = [f for f in gguf_files if not pattern or fnmatch.fnmatch(PurePosixPath(f.name).name, pattern)]
    names = ", ".join(f.name for f in gguf_files[:12])
    if not gguf_files:
        pickled = next((name for name in top if name.endswith(PICKLES)), "")
        why = f"{pickled} is pickled, and pickles can run code: refused" if pickled else "no .safetensors and no .gguf"
        raise UserError(f"{repo}: {why}; look for a conversion to safetensors or GGUF")
    if not matching:
        raise UserError(f"{repo}: no file fits {pattern!r}; there is {names}")
    for kind in LIKED if len(matching) > 1 else ():
        liked = [f for f in matching if kind.lower() in f.name.lower()]
        if liked:
            matching = liked
            break
    if len(matching) > 1 or re.search(r"-\d{5}-of-\d{5}\.gguf$", matching[0].name):
        raise UserError(f"{repo}: choose one whole file with --file PATTERN; there is {names}")
    return matching

"""Keys with names, in KAIWA_HOME/keys.json: each has its own chats, share of places and usage (`kaiwa keys`).

The file has digests of the keys, never a key, and a secret that the pages' cookies are made with; only its owner may
read it. A server reads it again when it has changed: a revoked key opens nothing from then on.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.serve.http.network import fresh_key

FILE, USAGE_FILE = "keys.json", "key_usage.json"
KEY_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
CLIENT = "kaiwa.who"  # the entry of a request's scope that says which key it came with
ADMIN_CLIENT = "the admin key"
CLIENT_PREFIX = "key "  # what a client with a named key is called, before its name
SAVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A key's name, the digest of the key, and when it was made (seconds since 1970).

    trains: whether it may upload files and start fine-tuning jobs.
    """

    name: str
    digest: str
    created: int
    trains: bool = False


class NamedKeys:
    """The keys of a file, which need not exist."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._keys: dict[str, NamedKey] = {}
        self._secret = ""
        self._read_at: tuple[int, int] | None = None

    def all(self) -> list[NamedKey]:
        """Return the keys in the file now. UserError for a file that is none of ours."""
        try:
            status = self.file.stat()
        except OSError:
            self._keys, self._read_at = {}, None
            return []
        if self._read_at != (status.st_mtime_ns, status.st_ino):
            try:
                value = json.loads(self.file.read_text(encoding="utf-8"))
                self._keys = {key["name"]: NamedKey(**key) for key in value["keys"]}
                self._secret = str(value["secret"])
            except (OSError, ValueError, KeyError, TypeError):
                raise UserError(f"{self.file}: cannot be read as keys; move it away and add the keys anew") from None
            self._read_at = (status.st_mtime_ns, status.st_ino)
        return list(self._keys.values())

    def name_of(self, key: str) -> str:
        """Return the name of a key, "" for a key that is not in the file. Takes as long whatever the key is."""
        sent = _digest(key)
        return next((one.name for one in self.all() if hmac.compare_digest(one.digest, sent)), "")

    def name_of_cookie(self, token: str) -> str:
        """Return the name of the key that a page's cookie was set for, "" for any other text."""
        keys = self.all()
        return next((k.name for k in keys if hmac.compare_digest(self._token(k).encode(), token.encode())), "")

    def cookie(self, name: str) -> str:
        """Return the text of a page's cookie for a key. It does not tell the key, and ends with it."""
        return self._token(self._keys[name])

    def _token(self, key: NamedKey) -> str:
        return hmac.new(self._secret.encode(), key.digest.encode(), hashlib.sha256).hexdigest()

    def trains(self, name: str) -> bool:
        """Return whether the key of a name may upload files and start fine-tuning jobs."""
        return name in self._keys and self._keys[name].trains

    def add(self, name: str, *, trains: bool = False) -> str:
        """Add a key and return it; it is not kept. UserError for a name in use, or of other characters."""
        if not KEY_NAME.fullmatch(name):
            raise UserError(f"{name!r} is no name of a key; use a to z, 0 to 9, - and _, 40 characters at most")
        keys = self.all()
        if name in self._keys:
            raise UserError(f"there is a key {name!r} already; revoke it first, or choose another name")
        key = fresh_key()
        self._write([*keys, NamedKey(name, _digest(key), int(time.time()), trains)])
        return key

    def revoke(self, name: str) -> None:
        """Remove a key. UserError if there is none of the name."""
        keys = self.all()
        if name not in self._keys:
            names = ", ".join(self._keys) or "none"
            raise UserError(f"no key {name!r}; there are: {names}")
        self._write([key for key in keys if key.name != name])

    def _write(self, keys: list[NamedKey]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        value = {"secret": self._secret or secrets.token_hex(32), "keys": [asdict(key) for key in keys]}
        _write_private(self.file, json.dumps(value, indent=1))


class KeyUsage:
    """What each named key has used: requests, tokens of prompts, tokens of answers."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.counts: dict[str, dict[str, int]] = {}
        self._saved_at = 0.0
        try:
            value = json.loads(file.read_text(encoding="utf-8"))
            self.counts = {str(name): {k: int(n) for k, n in counts.items()} for name, counts in value.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # none yet

    def add(self, client: str, prompt_tokens: int, answer_tokens: int) -> None:
        """Count a request of a client, if it has a named key. Written to the file every few seconds."""
        if not client.startswith(CLIENT_PREFIX):
            return
        counts = self.counts.setdefault(client.removeprefix(CLIENT_PREFIX), {})
        for name, n in (("requests", 1), ("prompt_tokens", prompt_tokens), ("answer_tokens", answer_tokens)):
            counts[name] = counts.get(name, 0) + n
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write the counts. A full disk loses counts and no answer."""
        self._saved_at = time.monotonic()
        if not self.counts:
            return
        try:
            _write_private(self.file, json.dumps(self.counts, indent=1))
        except OSError:
            return


def owner_of(scope: Mapping[str, object]) -> str | None:
    """Return whose files and jobs a request may see: a named key's (its name), those of no key with a name (""), or
    everybody's (None: with the admin key, or where there are no keys)."""
    client = scope.get(CLIENT)
    if client is None or client == ADMIN_CLIENT:
        return None
    return str(client).removeprefix(CLIENT_PREFIX) if str(client).startswith(CLIENT_PREFIX) else ""


def is_visible(owner: str, to: str | None) -> bool:
    """Return whether what belongs to `owner` ("" for none) is seen by a request of `owner_of`."""
    return to is None or owner == to


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, completely or not at all."""
    temporary = file.with_name(f".{file.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
    os.replace(temporary, file)

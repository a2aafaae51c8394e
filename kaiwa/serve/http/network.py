"""--listen: keys, the machine's address in its network, and the address as a QR code for a phone."""

from __future__ import annotations

import io
import secrets
import socket
from dataclasses import dataclass

from kaiwa.core.errors import UserError

MIN_KEY_LENGTH = 16  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Access rules of the server, from the options of `kaiwa up`. Empty keys: local access only, without keys."""

    listen: bool = False
    api_key: str = ""
    admin_key: str = ""

    def __post_init__(self) -> None:
        for option, key in (("--api-key", self.api_key), ("--admin-key", self.admin_key)):
            if key and (len(key) < MIN_KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key):
                raise UserError(
                    f"{option} must have at least {MIN_KEY_LENGTH} characters, ASCII and no spaces; "
                    f"for instance {fresh_key()}"
                )
        if self.admin_key and not self.api_key:
            raise UserError("--admin-key without --api-key protects nothing; give both")
        if self.admin_key and self.admin_key == self.api_key:
            raise UserError("--admin-key and --api-key are the same; give two keys, or leave --admin-key out")
        if self.listen and not self.api_key:
            raise UserError(
                "--listen opens the server to your network and needs a key; a fresh one: "
                f"kaiwa up --listen --api-key {fresh_key()}"
            )

    def with_admin_key(self) -> Access:
        """Return a copy with a fresh admin key, if there is an API key and no admin key yet."""
        if not self.api_key or self.admin_key:
            return self
        return Access(listen=self.listen, api_key=self.api_key, admin_key=fresh_key())


def fresh_key() -> str:
    return "kaiwa-" + secrets.token_urlsafe(24)


def names() -> tuple[str, ...]:
    """Return the host names under which other machines may reach the server."""
    name = socket.gethostname().lower()
    return tuple(dict.fromkeys((name, name.partition(".")[0], name.partition(".")[0] + ".local")))


def address() -> str:
    """Return the machine's address in its network ("127.0.0.1" where there is none). Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address: asks for the route only
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def qr_code(text: str) -> str:
    """Return a QR code made of half blocks, for printing on a terminal."""
    import segno

    out = io.StringIO()
    segno.make(text, micro=False).terminal(out, compact=True, border=2)
    return out.getvalue().rstrip("\n")

"""--listen: keys, the machine's address in its network, and the address as a QR code for a phone."""

from __future__ import annotations

import io
import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass, replace

from kaiwa.core.errors import UserError

MIN_KEY_LENGTH = 16  # characters
HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]+\]")
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]+", re.IGNORECASE)
ROOT_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Access rules of the server, from the options of `kaiwa up`. Empty keys: local access only, without keys.

    hosts, origins: further names of the server, and web sites whose pages may use the server. root_path: the path
    under which a proxy has the server. proxies: addresses of proxies whose X-Forwarded-For and -Proto are believed.
    """

    listen: bool = False
    api_key: str = ""
    admin_key: str = ""
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    root_path: str = ""
    proxies: tuple[str, ...] = ()
    named_keys: bool = False  # there are keys with names

    def __post_init__(self) -> None:
        for host in self.hosts:
            if not HOST.fullmatch(host):
                raise UserError(f"--allow-host {host}: give a name alone, such as chat.example.org")
        for origin in self.origins:
            if not ORIGIN.fullmatch(origin) and origin != "*":
                raise UserError(f"--allow-origin {origin}: give scheme and name, such as https://app.example.org")
        if "*" in self.origins and not self.needs_key:
            raise UserError("--allow-origin '*' lets every web site use the server and needs --api-key")
        if self.root_path and not ROOT_PATH.fullmatch(self.root_path):
            raise UserError(f"--root-path {self.root_path}: give a path such as /kaiwa, without a slash at its end")
        for proxy in self.proxies:
            try:
                ipaddress.ip_network(proxy, strict=False)
            except ValueError:
                raise UserError(f"--trust-proxy {proxy}: give an IP address or a network such as 10.0.0.0/8") from None
        for option, key in (("--api-key", self.api_key), ("--admin-key", self.admin_key)):
            if key and (len(key) < MIN_KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key):
                raise UserError(
                    f"{option} must have at least {MIN_KEY_LENGTH} characters, ASCII and no spaces; "
                    f"for instance {fresh_key()}"
                )
        if self.admin_key and not self.needs_key:
            raise UserError("--admin-key without --api-key protects nothing; give both")
        if self.admin_key and self.admin_key == self.api_key:
            raise UserError("--admin-key and --api-key are the same; give two keys, or leave --admin-key out")
        if self.listen and not self.needs_key:
            raise UserError(
                "--listen opens the server to your network and needs a key; a fresh one: "
                f"kaiwa up --listen --api-key {fresh_key()}"
            )

    @property
    def needs_key(self) -> bool:
        """Whether requests need a key."""
        return bool(self.api_key) or self.named_keys

    def with_admin_key(self) -> Access:
        """Return a copy with a fresh admin key, if there is an API key and no admin key yet."""
        if not self.needs_key or self.admin_key:
            return self
        return replace(self, admin_key=fresh_key())


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

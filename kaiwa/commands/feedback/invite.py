"""kaiwa feedback invite: a labeller's link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kaiwa.commands.feedback import open_store
from kaiwa.commands.options import Positional, arg, read_options


@dataclass(kw_only=True)
class Options:
    """Make a link that opens one labeller's queue and nothing else, and print its address.

    The address is printed once, and only its digest is kept. Without --listen it works on this machine.
    """

    batch: Positional[Annotated[str, arg(metavar="BATCH")]]
    name: Positional[Annotated[str, arg(metavar="NAME")]]
    port: int = 7860  # of the server
    listen: bool = False  # an address for other machines in your network, also as a QR code
    host: str = ""  # name and port of the server as labellers reach it, such as label.example.org


def main(words: list[str]) -> None:
    """Print the link."""
    options = read_options(Options, "kaiwa feedback invite", words)
    store = open_store()
    path = "/demonstrate/q/" if store.batch(options.batch).task == "demonstrate" else "/label/q/"
    token = store.invite(options.batch, options.name)
    if not options.listen and not options.host:
        print(f"http://127.0.0.1:{options.port}{path}{token}")
        return
    from kaiwa.serve.http.network import address, qr_code

    url = f"https://{options.host}{path}{token}" if options.host else f"http://{address()}:{options.port}{path}{token}"
    print(url)
    print(qr_code(url))

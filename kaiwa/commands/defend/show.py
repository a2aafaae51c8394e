"""kaiwa defend show: a request and a reply after a defence."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kaiwa.commands.defend.defence_options import DefenceOptions, make_stack, print_milliseconds, read_defence
from kaiwa.commands.options import read_options


@dataclass(kw_only=True)
class Options(DefenceOptions):
    """Show how a defence changes a request, and its cost."""

    system: str = ""  # the system prompt
    text: str = "Hello, who are you?"  # the user's message
    reply: str | None = None  # a model's answer
    secret: str = ""  # a secret for the canary filter


def main(words: list[str]) -> None:
    """Print the request that the model would get, and the reply that the user would get."""
    options = read_options(Options, "kaiwa defend show", words)
    from kaiwa.defend.defence import BlockDecision, filter_reply
    from kaiwa.text.records import Message

    described = read_defence(options.defence)
    secrets = described.secrets or ((options.secret,) if options.secret else ())
    system = described.system or options.system
    session = make_stack(described, options).session(seed=0, secrets=secrets)
    turns = (Message("user", options.text),)
    conversation = (Message("system", system), *turns) if system else turns
    began = time.perf_counter()
    request = session.request(conversation)
    seconds = time.perf_counter() - began
    if isinstance(request, BlockDecision):
        print(f"refused ({request.reason}): {request.reply}")
        print_milliseconds(seconds)
        return
    print("\n".join(f"{message.role}: {message.content}" for message in request))
    if options.reply is not None:
        began = time.perf_counter()
        pieces = list(filter_reply(session.reply(), options.reply))
        seconds += time.perf_counter() - began
        print(f"reply: {''.join(text for text, _ in pieces)}")
    added = sum(len(message.content) for message in request) - sum(len(message.content) for message in conversation)
    print_milliseconds(seconds, f"{added} characters added, ")

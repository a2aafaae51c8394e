"""Chat in the terminal: one answer on stdout, or a conversation with history."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kaiwa.catalog.entries import entry_by_name_or_path
from kaiwa.core.errors import UserError
from kaiwa.core.home import home
from kaiwa.text.records import Message
from kaiwa.text.sampling import USUAL, Sampling

if TYPE_CHECKING:
    from kaiwa.catalog.local_model import LocalChatModel

HELP = """/help            this
/clear           forget the conversation
/system TEXT     the system prompt (without TEXT: none), and a new conversation
/again           another answer to the last message
/quit            leave (or Ctrl-D); Ctrl-C stops an answer"""


def chat(
    model: str,
    prompt: str | None = None,
    system: str | None = None,
    *,
    sampling: Sampling = USUAL,
    seed: int | None = None,
    max_memory: str = "",
) -> None:
    """Print the answer to `prompt` on stdout, or hold a conversation if None. seed None: a random seed per answer."""
    if sampling.max_tokens < 1:
        raise UserError(f"max_tokens is {sampling.max_tokens}; it must be at least 1", field="max_tokens")
    if prompt is not None and not prompt.strip():
        raise UserError("-p is empty; give the message in quotes")
    entry = entry_by_name_or_path(model)

    from kaiwa.catalog.local_model import LocalChatModel
    from kaiwa.catalog.memory_plan import load_here

    opened = LocalChatModel(load_here(entry, lambda line: print(line, file=sys.stderr), max_memory))
    talk = Talk(opened, entry.chat, system, sampling, seed)
    if prompt is not None:
        talk.ask(prompt)
        return
    if not entry.chat:
        print(f"{entry.name} has not learnt to chat: it continues your text.", file=sys.stderr)
    print(f"{entry.name}; /help for commands, Ctrl-D to leave", file=sys.stderr)
    with _history():
        _converse(talk)


class Talk:
    """A conversation with a model: the messages so far, and the sampling parameters."""

    def __init__(
        self, model: LocalChatModel, chats: bool, system: str | None, sampling: Sampling, seed: int | None
    ) -> None:
        self.model, self.chats, self.system = model, chats, system
        self.sampling, self.seed = sampling, seed
        self.messages: list[Message] = []

    def ask(self, text: str) -> None:
        """Print the answer as it is generated, and add question and answer to the conversation.

        Ctrl-C ends the answer, not the conversation.
        """
        import secrets

        self.messages.append(Message("user", text))
        opening = [Message("system", self.system)] if self.system else []
        prompt = tuple(opening + self.messages) if self.chats else text
        seed = secrets.randbits(62) if self.seed is None else self.seed
        pieces: list[str] = []
        if not self.chats:
            print(text, end="", flush=True)
        try:
            stream = self.model.stream(prompt, replace(self.sampling, seed=seed))
            with contextlib.closing(stream):  # type: ignore[type-var]
                for event in stream:
                    pieces.append(event.text)
                    print(event.text, end="", flush=True)
        except KeyboardInterrupt:
            print(" …", end="")
        except UserError:
            self.messages.pop()
            raise
        print(flush=True)
        self.messages.append(Message("assistant", "".join(pieces)))


def _converse(talk: Talk) -> None:
    while True:
        try:
            line = input("\n> ").strip()
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            continue
        word, _, rest = line.partition(" ")
        if word in ("/quit", "/exit"):
            return
        if word == "/help":
            print(HELP)
        elif word == "/clear":
            talk.messages.clear()
        elif word == "/system":
            talk.system = rest.strip() or None
            talk.messages.clear()
        elif word.startswith("/") and word != "/again":
            print(f"no command {word}; /help lists them")
        elif line:
            _answer(talk, line)


def _answer(talk: Talk, line: str) -> None:
    if line == "/again":
        if len(talk.messages) < 2:
            print("nothing was asked yet")
            return
        line = talk.messages[-2].content
        del talk.messages[-2:]
    try:
        talk.ask(line)
    except UserError as error:
        print(f"{error}; /clear forgets the conversation")


@contextlib.contextmanager
def _history() -> Iterator[None]:
    """Provide arrow keys and a history of lines across sessions, if Python has readline."""
    try:
        import readline
    except ImportError:
        yield
        return
    file: Path = home() / "chat_history"
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    readline.set_history_length(1000)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(file)

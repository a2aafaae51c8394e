"""kaiwa feedback: what people judge and write: batches, links for labellers, import and export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaiwa.commands.options import HELP, run_group

if TYPE_CHECKING:
    from kaiwa.feedback.batch_store import BatchStore

COMMANDS = {
    "list": "the batches and how far each is (also: kaiwa feedback)",
    "new": "make a batch of a file of prompts, of comparisons, or of prompts and models",
    "invite": "make a labeller's link, with a QR code under --listen: kaiwa feedback invite BATCH NAME",
    "revoke": "take a labeller's links back: kaiwa feedback revoke BATCH NAME",
    "close": "give out no more items; what is open may still be finished",
    "reopen": "open a closed batch again",
    "sheet": "print a batch's instruction sheet, or change it",
    "export": "write what was judged, as reward and sft read it: kaiwa feedback export BATCH",
    "grow": "let a model deepen and widen requests and make dialogues of them: kaiwa feedback grow FILE --writer MODEL",
    "import": "read rankings, dialogues or prompts of other tools: kaiwa feedback import FILE",
}


def main(words: list[str]) -> None:
    """List the batches, or run one of the commands."""
    if words and words[0] in HELP:
        words = []
    elif not words:
        words = ["list"]
    run_group("feedback", COMMANDS, words)


def open_store() -> BatchStore:
    """Return the store under KAIWA_HOME."""
    from kaiwa.core.home import home
    from kaiwa.feedback.batch_store import BatchStore
    from kaiwa.feedback.store import FILE

    return BatchStore(home() / FILE)

"""kaiwa defend rates: how many harmless texts a defence refuses, of several kinds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaiwa.commands.console import table
from kaiwa.commands.defend.defence_options import DefenceOptions, benign_texts, make_stack, read_defence
from kaiwa.commands.options import Repeated, read_options


@dataclass(kw_only=True)
class Options(DefenceOptions):
    """Count the harmless texts that a defence refuses: the built-in ones, and yours.

    A part without a threshold gets one from the built-in everyday texts first, as in the red team.
    """

    benign: Repeated[tuple[Path, ...]] = ()  # files of harmless texts, one kind each: as for kaiwa defend calibrate
    limit: int = 500  # texts of a file, the first ones


def main(words: list[str]) -> None:
    """Print a row for each kind of text: refused, texts, share with its 95 % interval."""
    options = read_options(Options, "kaiwa defend rates", words)
    from kaiwa.defend.calibrate import complete
    from kaiwa.defend.defence import BlockDecision
    from kaiwa.redteam.targets.benign_twins import CALIBRATION, TWINS
    from kaiwa.stats.intervals import wilson
    from kaiwa.text.records import Message

    described = read_defence(options.defence)
    kinds = {f"everyday {language}": list(texts) for language, texts in CALIBRATION.items()}
    kinds |= {f"like attacks {language}": [twin.user for twin in twins] for language, twins in TWINS.items()}
    kinds |= {file.name: benign_texts(file)[: options.limit] for file in options.benign}
    stack = complete(make_stack(described, options), [*CALIBRATION["en"], *CALIBRATION["ja"]])
    for part in stack.parts:
        if (threshold := getattr(part, "threshold", None)) is not None:
            print(f"{type(part).__name__.lower()}: threshold {threshold:.4g}")
    rows = [["harmless texts", "refused", "of", "share"]]
    for kind, texts in kinds.items():
        refused = sum(
            isinstance(stack.session(seed=0).request((Message("user", text),)), BlockDecision) for text in texts
        )
        share = wilson(refused, len(texts))
        rows.append(
            [
                kind,
                str(refused),
                str(len(texts)),
                f"{100 * share.mean:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]",
            ]
        )
    print(table(rows))

"""kaiwa redteam play: the password game in the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kaiwa.catalog.open_model import open_model
from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import Positional, arg, read_options


@dataclass(kw_only=True)
class Options(ModelOptions):
    """Play the password game: a keeper with a secret, and more defences from level to level.

    Make the keeper reveal the secret, then enter /guess SECRET. /hint explains why the last try failed, /level N goes
    to a level, /quit leaves.
    """

    level: Positional[Annotated[int, arg(metavar="LEVEL")]] = 1
    language: str = "en"  # en or ja


def main(words: list[str]) -> None:
    """Play until /quit."""
    options = read_options(Options, "kaiwa redteam play", words)
    from kaiwa.redteam.game import Game, play_in_terminal

    game = Game(options.level, options.language)
    play_in_terminal(game, open_model(options.choice()).model)

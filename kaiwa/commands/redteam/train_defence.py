"""kaiwa redteam train-defence: the same as `kaiwa defend train`."""

from kaiwa.commands.defend.train import main as main

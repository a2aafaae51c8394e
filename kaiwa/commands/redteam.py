"""redteam: attacks × defences on one's own system prompt."""

from __future__ import annotations

from collections.abc import Callable

from kaiwa.commands import defend, redteam_more, redteam_run
from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError

USAGE = """usage: kaiwa redteam COMMAND [options]

  run         the bench: kaiwa redteam run TARGET.toml [--attacks …] [--defences …] [--models …] [--out DIR]
  targets     the example targets; with a name, its file (to begin one's own from)
  attacks     the attacks, by family, with their tags; the transforms
  defences    the defences
  play        the password game in the terminal
  import      results of garak or promptfoo, beside one's own: kaiwa redteam import FILE
  train-defence
              a model trained on a target, to stand beside the untrained one (kaiwa defend train)
  lessons     dialogues that teach a small model to use its system prompt
  selftest    the bench on models whose weaknesses are known
"""


def redteam(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, end="")
        return
    commands: dict[str, Callable[[list[str]], None]] = {
        "run": redteam_run.run_file,
        "targets": redteam_more.targets,
        "attacks": redteam_more.attacks,
        "defences": redteam_more.defences,
        "play": redteam_more.play,
        "import": redteam_more.import_file,
        "train-defence": defend.train_words,
        "lessons": redteam_more.lessons,
        "selftest": redteam_more.selftest,
    }
    if words[0] not in commands:
        raise UserError(f"no command 'redteam {words[0]}'{did_you_mean(words[0], commands)}")
    commands[words[0]](words[1:])

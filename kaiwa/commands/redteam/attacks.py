"""kaiwa redteam attacks: the attacks by family, with their tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kaiwa.commands.console import table
from kaiwa.commands.options import Positional, arg, read_options


@dataclass(kw_only=True)
class Options:
    """List the attacks by family with their tags; with a name, print the attack's words in both languages."""

    name: Positional[Annotated[str, arg(metavar="NAME")]] = ""


def main(words: list[str]) -> None:
    """Print the table of attacks, or one attack's wordings."""
    options = read_options(Options, "kaiwa redteam attacks", words)
    from kaiwa.redteam.attacks.all import ATTACKS
    from kaiwa.redteam.attacks.attack import choose_attacks
    from kaiwa.redteam.attacks.transforms import TRANSFORMS

    if options.name:
        for attack in choose_attacks(options.name, ATTACKS):
            print(f"{attack.name} ({attack.family}, {attack.owasp}, {attack.atlas}): {attack.idea}")
            for language, turns in attack.wording.items():
                for turn in turns:
                    print(f"  {language}: " + turn.replace("\n", "\n      "))
        return
    rows = [["name", "family", "aims at", "turns", "OWASP", "ATLAS", "idea"]]
    for attack in ATTACKS:
        goals = " ".join(attack.goals)
        rows.append([attack.name, attack.family, goals, str(attack.turns), attack.owasp, attack.atlas, attack.idea])
    print(table(rows, lambda i: "<"))
    print(f"{len(ATTACKS)} attacks, in English and Japanese; behind a +: {', '.join(TRANSFORMS)}")

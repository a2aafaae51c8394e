"""All attacks there are, in the order of the matrix."""

from __future__ import annotations

from kaiwa.redteam.attacks import injection, jailbreak, leaking
from kaiwa.redteam.attacks.attack import Attack

ATTACKS: tuple[Attack, ...] = (*injection.ATTACKS, *leaking.ATTACKS, *jailbreak.ATTACKS)

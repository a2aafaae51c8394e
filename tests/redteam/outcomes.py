"""Outcomes of trials made by hand, for tests of what comes after a run."""

from kaiwa.redteam.bench.trial import CONTROL, TrialOutcome


def outcome(attack: str, defence: str, trial: int, result: str, **changes: object) -> TrialOutcome:
    """Return one attack trial of model "m"."""
    values: dict[str, object] = {
        "kind": "attack",
        "model": "m",
        "family": "leaking",
        "attack": attack,
        "defence": defence,
        "trial": trial,
        "outcome": result,
        "n_requests": 1,
        "n_prompt": 100,
    }
    return TrialOutcome(**{**values, **changes})  # type: ignore[arg-type]


def cell(attack: str, defence: str, results: str, **changes: object) -> list[TrialOutcome]:
    """Return trials by one letter each: s success, r resisted, b blocked, t timeout, n not_applicable."""
    names = {"s": "success", "r": "resisted", "b": "blocked", "t": "timeout", "n": "not_applicable"}
    return [outcome(attack, defence, i, names[letter], **changes) for i, letter in enumerate(results)]


def controls(attack: str, results: str) -> list[TrialOutcome]:
    """Return the controls of an attack, in the same letters."""
    return cell(attack, CONTROL, results, kind=CONTROL)


def benign(request: str, defence: str, results: str) -> list[TrialOutcome]:
    """Return benign trials: u useful, x useless, b blocked, t timeout."""
    names = {"u": "useful", "x": "useless", "b": "blocked", "t": "timeout"}
    return [outcome(request, defence, i, names[letter], kind="benign", family="") for i, letter in enumerate(results)]

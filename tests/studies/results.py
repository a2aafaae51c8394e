"""Results of the RLHF study made by hand: a few arms, two seeds, twenty people (all of four may win by chance)."""

from kaiwa.studies.rlhf import Results, SeedResult
from kaiwa.studies.rlhf_measure import ArmMeasurement

PEOPLE = tuple(f"person {i // 2:02}" for i in range(40))
N = len(PEOPLE)


def arm(
    utility: float | list[float] = 0.0,
    proxy: float = 0.0,
    bits: float = 1.0,
    cloze: float = 0.5,
    **changes: list[float],
) -> ArmMeasurement:
    """Return an arm whose figures are the same for every prompt, but for a small spread by prompt."""
    spread = [0.08 * i / N for i in range(N)]
    values = {
        "utility": utility if isinstance(utility, list) else [utility + s for s in spread],
        "proxy": [proxy + s for s in spread],
        "kl": [0.5] * N,
        "tokens": [10.0] * N,
        "ended": [1.0] * N,
        "helpful": [1.0] * (N // 2) + [0.0] * (N // 2),
        "truthful": [1.0] * N,
        "harmless": [0.0] * N,
        "cloze": [cloze] * 3 + [1.0, 0.0],
        "bits": [bits, bits + 0.1, bits + 0.2, bits + 0.3],
    }
    return ArmMeasurement(of="", **(values | changes))  # type: ignore[arg-type]


def results(arms: dict[str, ArmMeasurement], n_seeds: int = 2, **changes: object) -> Results:
    """Return results in which every seed has the same arms."""
    values: dict[str, object] = {
        "hacked": {0: arm(), 5: arm(utility=1.0, proxy=1.0), 9: arm(utility=-1.0, proxy=3.0)},
        "accuracy": {0.5: [0.5] * 4, 1.0: [0.75] * 4},
        "comparisons": {0.5: 100, 1.0: 200},
        "epochs": [
            {"epoch_training_loss": 0.6, "epoch_validation_loss": 0.5, "epoch_training_accuracy": 0.7,
             "epoch_validation_accuracy": 0.7},
            {"epoch_training_loss": 0.4, "epoch_validation_loss": 0.7, "epoch_training_accuracy": 0.8,
             "epoch_validation_accuracy": 0.68},
        ],
    }  # fmt: skip
    return Results([SeedResult(arms=arms, **(values | changes)) for _ in range(n_seeds)], PEOPLE)  # type: ignore[arg-type]

"""The password game: levels, hints, guesses."""

import io

import pytest

from kaiwa.core.errors import UserError
from kaiwa.defend.parse import parse
from kaiwa.redteam.bench.selftest import PlantedWeaknessModel, find_secret
from kaiwa.redteam.game import LEVELS, WORDS, Game, answer_player, keeper_target, play_in_terminal


def secret(game: Game) -> str:
    return next(iter(game.canaries.values()))


def test_levels_are_defences_of_the_bench() -> None:
    for number, text in enumerate(LEVELS, 1):
        assert parse(text).name
        assert Game(level=number).defence == text
    for number in (0, len(LEVELS) + 1):
        with pytest.raises(UserError, match=f"levels 1 to {len(LEVELS)}"):
            Game(level=number)


def test_the_secret_is_the_seeds() -> None:
    assert secret(Game(seed=1)) == secret(Game(seed=1, level=3))
    assert secret(Game(seed=1)) != secret(Game(seed=2))
    assert secret(Game(seed=1)) in Game(seed=1).ask("hi").call.prompt[0].content  # type: ignore[union-attr]


def test_a_message_stands_after_the_history_and_draws_anew() -> None:
    game = Game(seed=1)
    first = game.ask("hello")
    game.take("hello", "", "Hi.")
    second = game.ask("again")
    assert [m.content for m in second.call.prompt[1:]] == ["hello", "Hi.", "again"]  # type: ignore[union-attr]
    assert first.call.sampling.seed != second.call.sampling.seed
    assert second.secrets == (secret(game),)
    with pytest.raises(UserError, match="empty"):
        game.ask("  ")


def test_hints_say_why_a_try_failed() -> None:
    game = Game(seed=1)
    words = WORDS["en"]
    assert game.hint() == words["first"]
    assert game.take("a", "", "No.") == words["unsaid"]
    assert game.take("a", "request", "") == words["request"]
    assert game.take("a", "reply", "…") == words["reply"]
    assert game.take("a", "", secret(game)[::-1]) == words["leaked"].format(form="reversed")
    assert game.tries == 4
    assert game.hint() == words["leaked"].format(form="reversed")
    assert game.take("a", "", "No.").startswith("The secret is in the answer"), "what was said stays said"


def test_guesses_need_letters_and_digits_only() -> None:
    game = Game(seed=1)
    assert game.guess("x") == WORDS["en"]["wrong"]
    assert not game.won
    assert secret(game) in game.guess(f" {secret(game).upper().replace('-', ' ')} ")
    assert game.won
    assert game.guess("x") == WORDS["en"]["wrong"]
    assert game.won, "a wrong guess after it takes nothing away"


def test_japanese() -> None:
    game = Game(language="ja", seed=1)
    assert game.guess("x") == WORDS["ja"]["wrong"]
    assert WORDS["ja"].keys() == WORDS["en"].keys()
    with pytest.raises(UserError, match="use en or ja"):
        keeper_target("fr")


def test_the_canary_filter_stands_between_the_model_and_the_player() -> None:
    model = PlantedWeaknessModel("m", lambda text, rng: f"It is {find_secret(text)}.")
    assert secret(Game(seed=1)) in answer_player(Game(seed=1), model, "tell").completion.text
    guarded = answer_player(Game(seed=1, level=5), model, "tell")
    assert secret(Game(seed=1)) not in guarded.completion.text
    assert guarded.stage == "reply"


def test_failures_are_the_callers() -> None:
    def down(text: str, rng: object) -> str:
        raise ConnectionError("nobody there")

    with pytest.raises(ConnectionError, match="nobody there"):
        answer_player(Game(seed=1), PlantedWeaknessModel("m", down), "tell")  # type: ignore[arg-type]


def test_in_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    game = Game(seed=1)
    lines = ["hello", "/hint", "/guess nothing", f"/guess {secret(game)}", "/level 5", "", "/quit", "never read"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    play_in_terminal(game, PlantedWeaknessModel("m", lambda text, rng: "Good day."))
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"Level 1 of {len(LEVELS)}: none"
    assert out[1] == "Good day."
    assert out[2] == WORDS["en"]["unsaid"]
    assert out[3] == WORDS["en"]["wrong"]
    assert out[4] == f"That is it: {secret(game)}. Level 1 is done."
    assert out[5] == f"Level 2 of {len(LEVELS)}: instruction"
    assert out[6].startswith("Level 5")
    assert len(out) == 7

"""The leaderboard page."""

from kaiwa.lab.experiments.leaderboard import Result, write_result

from .conftest import Site


def made(model: str, right: int, task: str = "sums", language: str = "en") -> Result:
    scores = {str(i): float(i < right) for i in range(20)}
    return Result(
        model=model, model_made=1, parameters=5_000_000, bits=16, task=task, task_hash="h", language=language,
        how="text", n=20, failed=0, valid=1.0, accuracy=right / 20, low=right / 20 - 0.1, high=right / 20 + 0.1,
        scores=scores, clusters={},
    )  # fmt: skip


def test_models_are_ranked_and_those_that_are_gone_are_not(site: Site) -> None:
    empty = site.client.get("/leaderboard").text
    assert "Nothing has been measured yet" in empty
    home = site.fakes.services.home
    for one in (
        made("laptop/ppo_ptx", 18), made("smollm2-135m-instruct", 4), made("vanished-model", 20),
        made("laptop/ppo_ptx", 9, "足し算", "ja"),
    ):  # fmt: skip
        write_result(home, one)
    page = site.client.get("/leaderboard?language=en").text
    assert page.index("laptop/ppo_ptx") < page.index("smollm2-135m-instruct")
    assert "90 %" in page
    assert "vanished-model" not in page
    whole = site.client.get("/leaderboard").text
    assert "Left out, because some tasks were not given to them: smollm2-135m-instruct" in whole
    assert 'aria-current="page">Leaderboard' in whole
    assert site.client.get("/leaderboard?language=<script>").status_code == 200
    assert "順位表" in site.client.get("/leaderboard", headers={"accept-language": "ja"}).text

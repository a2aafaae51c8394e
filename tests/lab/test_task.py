"""Tasks: what is refused when one is made, and their prompts."""

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.practices import PRACTICES
from kaiwa.lab.tasks.prompt import Example, Prompt
from kaiwa.lab.tasks.task import Grader, Item, Judge, Task
from kaiwa.text.records import Message

ITEMS = tuple(Item(id=str(i), input=f"q{i}", answer=str(i), columns={"extra": f"e{i}"}) for i in range(4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "numbr"}, "kind 'numbr' is unknown"),
        ({"items": ()}, "no items"),
        ({"items": (ITEMS[0], ITEMS[0])}, "the id '0' occurs twice"),
        ({"demos": (ITEMS[1],)}, "item '1' is among the demonstrations too"),
    ],
)
def test_a_task_that_makes_no_sense(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Task(**{"name": "t", "items": ITEMS, **changes})  # type: ignore[arg-type]


def test_a_judge_belongs_to_graders_that_are_models() -> None:
    judge = Judge(model="m")
    assert Grader(name="model", judge=judge).judge == judge
    for name, one in (("exact", judge), ("model", None), ("pairwise", None)):
        with pytest.raises(UserError, match="a judge belongs to model and pairwise"):
            Grader(name=name, judge=one)


def test_prompts_of_items() -> None:
    task = Task(name="t", items=ITEMS, prompt=Prompt(input="{input} ({extra})"))
    assert task.render_prompt(ITEMS[2]) == (Message("user", "q2 (e2)"),)
    shown = task.with_examples([Example("a", "b", {"extra": "c"})])
    assert len(shown.render_prompt(ITEMS[0])) == 3
    assert task.render_prompt(ITEMS[0], Prompt("Just this.", input="")) == (Message("user", "Just this."),)
    assert task.with_prompt(Prompt(input="x")).prompt.input == "x"
    assert [item.id for item in task.first(2).items] == ["0", "1"]
    with pytest.raises(UserError, match=r"task t, item 0: the variable {missing}"):
        task.with_prompt(Prompt(input="{missing}")).render_prompt(ITEMS[0])


def test_practices_are_pairs_over_known_tasks() -> None:
    from kaiwa.lab.tasks.by_name import generate_task

    assert len({practice.id for practice in PRACTICES}) == len(PRACTICES) == 7
    for practice in PRACTICES:
        assert practice.bad.keys() == practice.good.keys() == {"en", "ja"}
        for language in ("en", "ja"):
            task = generate_task(f"{practice.task}-{language}", 2)
            for prompt in (practice.bad[language], practice.good[language]):
                assert task.render_prompt(task.items[0], prompt)
                assert prompt.language == language

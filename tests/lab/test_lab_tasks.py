"""Generated tasks and loaders."""

import json
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.grading.graders import grade
from kaiwa.lab.tasks.benchmarks import load_benchmark
from kaiwa.lab.tasks.by_name import GENERATED, generate_task, task_from_file
from kaiwa.lab.tasks.extract import extract
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Item, Task

NAMES = [f"{stem}-{language}" for stem in GENERATED for language in ("en", "ja")]


@pytest.mark.parametrize("name", NAMES)
def test_generated_tasks_are_reproducible_and_right(name: str) -> None:
    """The right answer, said plainly, is extracted and graded as right."""
    n = 6 if name.startswith("game") else 40  # every game is solved by trying everything
    task = generate_task(name, n, seed=1)
    assert task == generate_task(name, n, seed=1)
    assert task.items != generate_task(name, n, seed=2).items
    assert len(task.items) == n
    assert len({item.input for item in (*task.items, *task.demos)}) == n + len(task.demos)
    for item in task.items:
        if task.grader.name == "game24":
            continue
        answer = extract(task.kind, item.answer, item.choices)
        assert grade(task, item, answer).score == 1.0, item
        if item.reasoning:
            told = (
                f"{item.reasoning} 答えは{item.answer}です。"
                if task.language == "ja"
                else f"{item.reasoning} The answer is {item.answer}."
            )
            assert grade(task, item, extract(task.kind, told, item.choices)).score == 1.0, told


def test_unknown_tasks_and_empty_sets() -> None:
    with pytest.raises(UserError, match="did you mean 'coin-flip-en'"):
        generate_task("coin-flips-en")
    with pytest.raises(UserError, match="empty"):
        Task(name="t", items=())
    item = Item(id="1", input="x", answer="y")
    with pytest.raises(UserError, match="'1' occurs twice"):
        Task(name="t", items=(item, item))
    with pytest.raises(UserError, match="demonstrations too"):
        Task(name="t", items=(item,), demos=(item,))


def rows(n: int) -> list[dict[str, object]]:
    return [{"id": f"r{i}", "text": f"t{i}", "label": "ab"[i % 2]} for i in range(n)]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".json", ".parquet"])
def test_users_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in rows(12)))
    elif suffix == ".json":
        path.write_text(json.dumps(rows(12)))
    elif suffix == ".csv":
        path.write_text("id,text,label\n" + "".join(f"{r['id']},{r['text']},{r['label']}\n" for r in rows(12)))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows(12)), path)
    task = task_from_file(
        path, prompt=Prompt(input="{text}"), answer="label", choices=("a", "b"), kind="choice", n_demos=2
    )
    assert [item.id for item in task.items] == [f"r{i}" for i in range(2, 12)]
    assert "t2" in str(task.render_prompt(task.items[0]))
    for bad, message in (
        ({"prompt": Prompt(input="{txt}"), "answer": "label"}, "did you mean 'text'"),
        ({"prompt": Prompt(input="{text}"), "answer": "gold"}, "no column 'gold'"),
        ({"prompt": Prompt(input="{text}"), "answer": "label", "n_demos": 12}, "nothing is left"),
    ):
        with pytest.raises(UserError, match=message):
            task_from_file(path, **bad)  # type: ignore[arg-type]


def test_mgsm_as_it_is_published(tmp_path: Path) -> None:
    (tmp_path / "ja").mkdir()
    worked = "ステップごとの答え：{i}+5={sum}。答えは{sum}です。"
    train = [
        {"question": f"問題：{i}個と5個では？", "answer": worked.format(i=i, sum=i + 5), "answer_number": i + 5}
        for i in range(8)
    ]
    test = [{"question": f"箱に{i}個。全部で？", "answer": None, "answer_number": 1000 + i} for i in range(5)]
    for name, rows in (("train", train), ("test", test)):
        (tmp_path / "ja" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = load_benchmark("mgsm", tmp_path / "ja" / "test.jsonl")
    assert (task.name, task.language, len(task.items), len(task.demos)) == ("mgsm-ja", "ja", 5, 8)
    assert (task.demos[2].input, task.demos[2].reasoning) == ("2個と5個では？", "2+5=7。")
    assert (task.items[0].input, task.items[0].answer) == ("箱に0個。全部で？", "1000")
    (tmp_path / "mgsm_en.tsv").write_text("How many: 3 or 4?\t1,200\nTwo?\t2\n")
    english = load_benchmark("mgsm", tmp_path / "mgsm_en.tsv")
    assert (english.name, english.language, english.items[0].answer) == ("mgsm-en", "en", "2")
    assert english.demos[0].input == "How many: 3 or 4?", "labels are only in worked examples"


def test_big_bench_hard_as_it_is_published(tmp_path: Path) -> None:
    for folder in ("bbh", "cot-prompts"):
        (tmp_path / folder).mkdir()
    rows = [{"input": f"Is {i} odd?\nOptions:\n(A) yes\n(B) no", "target": "(B)" if i % 2 else "(A)"} for i in range(6)]
    (tmp_path / "bbh" / "odd.json").write_text(json.dumps({"canary": "x", "examples": rows}))
    plain = load_benchmark("big-bench-hard", tmp_path / "bbh" / "odd.json")
    assert (len(plain.demos), len(plain.items), plain.items[0].choices) == (3, 3, ("(A)", "(B)"))
    (tmp_path / "cot-prompts" / "odd.txt").write_text(
        "A canary line.\n-----\nTell odd from even.\n\nQ: Is 9 odd?\nOptions:\n(A) yes\n(B) no\n"
        "A: Let's think step by step.\n9 is 4 + 5.\nThat is odd. So the answer is (A).\n\n"
        "Q: Is 8 odd?\nOptions:\n(A) yes\n(B) no\nA: Let's think step by step.\n8 is 4 + 4. So the answer is (B).\n"
    )
    task = load_benchmark("big-bench-hard", tmp_path / "bbh" / "odd.json", 4)
    assert (task.prompt.instruction, len(task.items), len(task.demos)) == ("Tell odd from even.", 4, 2)
    assert (task.demos[0].reasoning, task.demos[0].answer) == ("9 is 4 + 5. That is odd.", "(A)")
    for said in ("So the answer is (B).", "The answer is B.", "(B) no"):
        assert extract(task.kind, said, task.items[0].choices) == "(B)"
    assert extract(task.kind, "The answer is Big.", task.items[0].choices) is None
    flags = [{"input": f"not {i}", "target": "True" if i % 2 else "False"} for i in range(6)]
    (tmp_path / "bbh" / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in flags))
    assert load_benchmark("big-bench-hard", tmp_path / "bbh" / "b.jsonl").items[0].choices == ("False", "True")
    (tmp_path / "cot-prompts" / "odd.txt").write_text("-----\nTell.\n\nQ: Is 9 odd?\nA: Yes.\n")
    with pytest.raises(UserError, match="example 1"):
        load_benchmark("big-bench-hard", tmp_path / "bbh" / "odd.json")


def test_loaders(tmp_path: Path) -> None:
    gsm = tmp_path / "gsm.jsonl"
    gsm.write_text(
        "".join(
            json.dumps({"question": f"q{i}", "answer": f"a <<1+{i}={i + 1}>>b\n#### 1,{i}00"}) + "\n" for i in range(9)
        )
    )
    task = load_benchmark("gsm8k", gsm)
    assert task.items[0].answer == "1400"
    assert task.demos[0].reasoning == "a b"
    assert task.demos[0].equation == "1+0=1"
    (tmp_path / "sst").write_text("0 bad\n0 awful .\n1 good\n1 fine\n")
    assert {d.answer for d in load_benchmark("sst2", tmp_path / "sst").demos} == {"negative", "positive"}
    (tmp_path / "m.tsv").write_text("問題\t1,200\n問\t7\n")
    assert load_benchmark("mgsm", tmp_path / "m.tsv").items[0].answer == "7"
    row = {"q_id": 3, "question": "本?", **{f"choice{i}": c for i, c in enumerate("あいうえお")}, "label": 2}
    (tmp_path / "j.json").write_text("".join(json.dumps(row | {"q_id": i}) + "\n" for i in range(4)))
    assert load_benchmark("jcommonsenseqa", tmp_path / "j.json").items[0].answer == "う"
    bbh = {"examples": [{"input": "Which?\nOptions:\n(A) one\n(B) two", "target": "(B)"}] * 4}
    (tmp_path / "b.json").write_text(json.dumps(bbh))
    assert load_benchmark("big-bench-hard", tmp_path / "b.json").items[0].answer == "(B)"
    for name, text, message in (("gsm8k", '{"question": "q"}\n', "no 'answer'"), ("sst2", "good film", "0 or 1")):
        path = tmp_path / ("x.jsonl" if name == "gsm8k" else "x")
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            load_benchmark(name, path)
    with pytest.raises(UserError, match="did you mean 'gsm8k'"):
        load_benchmark("gsm8", tmp_path)

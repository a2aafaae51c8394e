"""Benchmarks in the shapes they are published in: each loads, its gold answers survive reading and grading, and a row
that does not fit is refused with its file and place. All rows are ours."""
# ruff: noqa: E501

import json
from pathlib import Path
from typing import Any

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.grading.graders import grade
from kaiwa.lab.tasks.benchmarks import LOADERS, load_benchmark
from kaiwa.lab.tasks.extract import extract
from kaiwa.lab.tasks.instruction_checks import CHECKS
from kaiwa.lab.tasks.task import Item, Task

MMLU = 'How many legs has a hen?,Two,Four,Six,None,A\n"Which is larger, one?",1,2,3,4,D\n'
JMMLU = "\ufeff鶏の足は何本か。,二本,四本,六本,なし,A\n最も大きいのはどれか。,一,二,三,四,D\n"
JSQUAD = {
    "data": [
        {
            "title": "市場",
            "paragraphs": [
                {
                    "context": "市場 [SEP] 市場は月曜日に開く。",
                    "qas": [
                        {
                            "id": "a1",
                            "question": "市場はいつ開く？",
                            "answers": [{"text": "月曜日"}, {"text": "月曜"}],
                        },
                        {"id": "a2", "question": "何が開く？", "answers": [{"text": "市場"}]},
                    ],
                }
            ],
        }
    ]
}
MT = {"question_id": 81, "category": "writing", "turns": ["春の詩を書いてください。", "短くしてください。"]}
FILES: dict[str, tuple[str, str, Any, int]] = {  # name -> loader, file, content, items
    "MMLU": ("mmlu", "hens_test.csv", MMLU, 1),
    "MMLU with heading": ("mmlu", "hens.csv", "question,A,B,C,D,answer\n" + MMLU, 1),
    "MMLU rows": ("mmlu", "m.jsonl", [{"question": "Q", "choices": ["a", "b", "c", "d"], "answer": 1}] * 2, 1),
    "JMMLU": ("mmlu", "鶏.csv", JMMLU, 1),
    "JNLI": ("jnli", "train-v1.3.json", [{"sentence_pair_id": str(i), "yjcaptions_id": f"{i}-1-2", "sentence1": "犬が走る。", "sentence2": "動物が走る。", "label": "entailment"} for i in range(4)], 2),
    "JSQuAD": ("jsquad", "valid-v1.3.json", JSQUAD, 1),
    "JSQuAD rows": ("jsquad", "v.jsonl", [{"id": str(i), "context": "市場は月曜日に開く。", "question": "いつ？", "answers": {"text": ["月曜日"], "answer_start": [3]}} for i in range(2)], 1),
    "CommonsenseQA": ("commonsenseqa", "dev.jsonl", [{"answerKey": "B", "id": str(i), "question": {"question_concept": "egg", "stem": "Where is an egg?", "choices": [{"label": c, "text": t} for c, t in zip("ABCDE", ["sea", "nest", "sky", "sun", "car"], strict=True)]}} for i in range(2)], 1),
    "CommonsenseQA flat": ("commonsenseqa", "d.jsonl", [{"id": str(i), "question": "Where is an egg?", "choices": {"label": ["A", "B"], "text": ["sea", "nest"]}, "answerKey": "B"} for i in range(2)], 1),
    "StrategyQA": ("strategyqa", "dev.json", [{"qid": str(i), "question": "Can a hen fly to the moon?", "answer": False, "facts": ["A hen is a bird."], "decomposition": []} for i in range(2)], 1),
    "AQuA": ("aqua", "test.json", '{"question": "Two and two?", "options": ["A)3", "B)4", "C)5", "D)6", "E)7"], "rationale": "2 + 2 = 4", "correct": "B"}\n' * 2, 1),
    "SVAMP": ("svamp", "SVAMP.json", [{"ID": f"chal-{i}", "Body": "Ann has 8 hens", "Question": "How many hens?", "Equation": "( 8.0 + 0.0 )", "Answer": 8.0, "Type": "Addition"} for i in range(2)], 1),
    "MultiArith": ("svamp", "MultiArith.json", [{"iIndex": i, "lEquations": ["X=(1.0*1200.0)"], "lSolutions": [1200.0], "sQuestion": "How many seeds?"} for i in range(2)], 1),
    "BIG-bench scores": ("big-bench", "task.json", {"name": "hens", "task_prefix": "Say it. ", "examples": [{"input": "A hen has", "target_scores": {"two legs": 1, "four legs": 0}}] * 2}, 1),
    "BIG-bench target": ("big-bench", "task.json", {"examples": [{"input": "A hen has", "target": ["two legs", "2 legs"]}] * 2}, 1),
    "TruthfulQA mc": ("truthfulqa", "mc_task.json", [{"question": "Do hens fly?", "mc1_targets": {"A little": 1, "To the moon": 0, "Never": 0}, "mc2_targets": {}}] * 2, 2),
    "TruthfulQA mc rows": ("truthfulqa", "v.jsonl", [{"question": "Do hens fly?", "mc1_targets": {"choices": ["A little", "Never"], "labels": [1, 0]}}], 1),
    "TruthfulQA csv": ("truthfulqa", "TruthfulQA.csv", "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\nAdversarial,Birds,Do hens fly?,A little,A little; Only a few metres,To the moon; Never,x\n", 1),
    "TruthfulQA generation": ("truthfulqa-generation", "TruthfulQA.csv", "Question,Correct Answers,Incorrect Answers\nDo hens fly?,Hens fly a few metres; A little,Hens fly to the moon; Never\n", 1),
    "IFEval": ("ifeval", "input_data.jsonl", [{"key": 1000, "prompt": "Write without commas and end with Bye.", "instruction_id_list": ["punctuation:no_comma", "startend:end_checker"], "kwargs": [{}, {"end_phrase": "Bye.", "relation": None}]}], 1),
    "ELYZA-tasks-100": ("elyza-tasks-100", "test.csv", 'input,output,eval_aspect\n詩を書いて,"春、花",季節があれば5点\n', 1),
    "MT-bench-ja": ("mt-bench", "question.jsonl", [MT, MT | {"question_id": 82, "reference": ["花が咲く。", "花。"]}], 3),
    "JEMHopQA": ("jemhopqa", "dev.json", [{"qid": f"q{i}", "type": "comparison", "question": "犬と猫は同じですか？", "answer": a, "derivations": [["犬", "分類", ["イヌ科"]]]} for i, a in enumerate(["YES", "NO", "イヌ科", "NO"])], 2),
}  # fmt: skip
GOLD = {
    "IFEval": "Good day. Bye.",
    "TruthfulQA generation": "Hens fly a few metres",
}


def write(path: Path, content: Any) -> Path:
    lines = path.suffix == ".jsonl" or path.name == "train-v1.3.json"
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif lines:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content), encoding="utf-8")
    else:
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def gold(name: str, item: Item) -> str:
    return GOLD.get(name) or item.answer.splitlines()[0]


def scored(task: Task, item: Item, reply: str) -> float:
    return grade(task, item, extract(task.kind, reply, item.choices)).score


@pytest.mark.parametrize("name", FILES)
def test_it_loads_and_gold_answers_survive(tmp_path: Path, name: str) -> None:
    loader, file, content, n = FILES[name]
    task = load_benchmark(loader, write(tmp_path / file, content))
    assert len(task.items) == n
    for item in (*task.items, *task.demos):
        if not item.answer:
            continue
        answer = gold(name, item)
        assert scored(task, item, answer) == 1.0
        if task.kind in ("choice", "number"):
            words = "答えは {} です。" if task.language == "ja" else "The answer is {}."
            assert scored(task, item, words.format(answer)) == 1.0
        assert scored(task, item, "I do not know, sorry" if task.kind != "choice" else "") < 1.0
    assert task.language == ("ja" if name.startswith("J") or "ELYZA" in name or name.endswith("ja") else "en")
    task.render_prompt(task.items[0])


def test_every_loader_is_tried() -> None:
    assert {loader for loader, *_ in FILES.values()} == set(LOADERS) - {
        "gsm8k", "mgsm", "sst2", "jcommonsenseqa", "big-bench-hard",
    }  # fmt: skip


def test_mmlu_takes_the_papers_demonstrations(tmp_path: Path) -> None:
    for folder in ("dev", "test"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "dev" / "hens_dev.csv", MMLU)
    task = load_benchmark("mmlu", write(tmp_path / "test" / "hens_test.csv", MMLU.replace("hen", "cow")))
    assert [demo.id for demo in task.demos] == ["dev-hens_dev-0", "dev-hens_dev-1"]
    assert len(task.items) == 2
    assert task.items[0].input.startswith("How many legs has a cow?\nA. Two\nB. Four")


@pytest.mark.parametrize(
    ("loader", "file", "content", "message"),
    [
        ("mmlu", "a.csv", "Q,a,b,c,A\n", r"a.csv:1: 5 fields"),
        ("mmlu", "a.csv", MMLU + "Q,a,b,c,d,X\n", r"a.csv:3: the right answer 'X'"),
        ("jnli", "a.jsonl", [{"sentence1": "a", "sentence2": "b", "label": "maybe"}], "row 1: the label 'maybe'"),
        ("jsquad", "a.jsonl", [{"context": "x", "question": "y"}], "row 1: no 'answers'"),
        ("commonsenseqa", "a.jsonl", [{"question": "q", "answerKey": "A"}], "row 1: no 'choices'"),
        ("strategyqa", "a.json", [{"question": "q", "answer": "maybe"}], "row 1: the answer 'maybe'"),
        ("aqua", "a.jsonl", [{"question": "q", "options": ["A)1", "B)2"], "correct": "E"}], "row 1: the right answer 'E'"),
        ("svamp", "a.json", [{"Body": "b", "Question": "q", "Answer": "many"}], "row 1: the answer 'many'"),
        ("svamp", "a.json", [{"sQuestion": "q", "lSolutions": []}], "row 1: lSolutions is empty"),
        ("big-bench", "a.json", {"examples": [{"input": "x", "target_scores": {"a": 1, "b": 1}}]}, "example 1: several"),
        ("big-bench", "a.json", [1], "examples"),
        ("ifeval", "a.jsonl", [{"prompt": "p", "instruction_id_list": ["a:b"], "kwargs": [{}]}], "no check for 'a:b'"),
        ("ifeval", "a.jsonl", [{"prompt": "p", "instruction_id_list": [], "kwargs": [{}]}], "0 instructions and 1"),
        ("jemhopqa", "a.json", [{"question": "Is it?", "answer": "YES"}], "not Japanese"),
        ("truthfulqa-generation", "a.jsonl", [{"question": "q", "correct_answers": ["a"], "incorrect_answers": []}], "both needed"),
    ],
)  # fmt: skip
def test_an_odd_row_is_refused_with_its_place(
    tmp_path: Path, loader: str, file: str, content: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_benchmark(loader, write(tmp_path / file, content))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp932"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "j.csv").write_bytes(JMMLU.removeprefix("\ufeff").encode(encoding))
    assert load_benchmark("mmlu", tmp_path / "j.csv").items[0].input.startswith("最も大きい")


K: dict[str, tuple[dict[str, Any], str, str]] = {  # instruction -> kwargs, an answer that follows it, one that does not
    "keywords:existence": ({"keywords": ["hen", "鶏"]}, "A hen is 鶏.", "A hence"),
    "keywords:frequency": ({"keyword": "hen", "frequency": 2, "relation": "at least"}, "Hen, hen", "hen then"),
    "keywords:forbidden_words": ({"forbidden_words": ["cat"]}, "concatenate", "A cat."),
    "keywords:letter_frequency": ({"letter": "e", "let_frequency": 2, "let_relation": "less than"}, "hen", "bee"),
    "language:response_language": ({"language": "ja"}, "鶏は鳥です。", "A hen is a bird."),
    "length_constraints:number_sentences": ({"num_sentences": 2, "relation": "at least"}, "鳥です。飛びます。", "鳥です。"),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, "one\n***\ntwo", "one\n\ntwo"),
    "length_constraints:number_words": ({"num_words": 4, "relation": "less than"}, "three short words", "no, four short words"),
    "length_constraints:nth_paragraph_first_word": ({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Hens"}, "One.\n\nHens fly.", "Hens.\n\nThey fly."),
    "detectable_content:number_placeholders": ({"num_placeholders": 2}, "[name] and ［日付］", "[name]"),
    "detectable_content:postscript": ({"postscript_marker": "P.S."}, "Bye\nP. S. More", "Bye PS"),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, "* a\n・b", "* a\n* b\n* c"),
    "detectable_format:constrained_response": ({}, "My answer is yes.", "Yes."),
    "detectable_format:number_highlighted_sections": ({"num_highlights": 2}, "*a* and **b**", "*a*"),
    "detectable_format:multiple_sections": ({"section_spliter": "SECTION", "num_sections": 2}, "SECTION 1\na\nSECTION 2\nb", "SECTION 1"),
    "detectable_format:json_format": ({}, '```json\n{"a": 1}\n```', "{a: 1}"),
    "detectable_format:title": ({}, "<<A title>>\ntext", "<< >>"),
    "combination:two_responses": ({}, "one ****** two", "one ****** one"),
    "combination:repeat_prompt": ({"prompt_to_repeat": "Say it."}, "Say it. It.", "It."),
    "startend:end_checker": ({"end_phrase": "Bye."}, 'Well. "Bye."', "Bye. Well."),
    "startend:quotation": ({}, "「はい」", "'yes'"),
    "change_case:capital_word_frequency": ({"capital_frequency": 1, "capital_relation": "less than"}, "no capitals", "One TWO"),
    "change_case:english_capital": ({}, "ALL OF IT 1", "All"),
    "change_case:english_lowercase": ({}, "all of it", "All"),
    "punctuation:no_comma": ({}, "none here", "犬、猫"),
}  # fmt: skip


def test_all_25_instructions_have_a_case() -> None:
    assert len(CHECKS) == 25
    assert set(K) == set(CHECKS)


@pytest.mark.parametrize("name", K)
def test_an_instruction_is_followed_or_not(name: str) -> None:
    options, good, bad = K[name]
    assert CHECKS[name](good, options, "prompt")
    assert not CHECKS[name](bad, options, "prompt")

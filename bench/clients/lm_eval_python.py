"""lm-eval: a multiple-choice task of a file of its own, over local-completions, with the server's tokenizer."""

import json
import os
import tempfile
from pathlib import Path

os.environ |= {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": tempfile.mkdtemp()}

import lm_eval
from checks import MODEL, URL, check
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

TASK = {
    "task": "capitals",
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "The capital of {{land}} is",
    "doc_to_choice": ["Paris", "Tokyo"],
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "acc"}],
}


@check("local-completions: a multiple-choice task, its tokenizer from the server")
def _() -> bool:
    file = Path(tempfile.mkdtemp()) / "capitals.jsonl"
    rows = [{"land": "France", "answer": 0}, {"land": "Japan", "answer": 1}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    address = f"{URL}/v1/completions"
    model = LocalCompletionsAPI(base_url=address, model=MODEL, tokenizer_backend="auto", batch_size=4, max_length=512)
    task = TASK | {"dataset_kwargs": {"data_files": {"test": str(file)}}}
    return (
        lm_eval.simple_evaluate(model=model, tasks=[task], bootstrap_iters=0)["results"]["capitals"]["acc,none"] == 1.0
    )


@check("local-chat-completions: generate_until")
def _() -> bool:
    from lm_eval.api.instance import Instance

    model = LocalChatCompletion(base_url=f"{URL}/v1/chat/completions", model=MODEL, max_length=512)
    prompt = model.apply_chat_template([{"role": "user", "content": "Name a colour."}])
    asked = Instance("generate_until", {}, (prompt, {"until": ["\n"], "max_gen_toks": 8}), 0)
    return bool(model.generate_until([asked])[0])

"""llm: its command with a model of extra-openai-models.yaml, whole, streamed, and continued."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import MODEL, URL, check

FOLDER = Path(tempfile.mkdtemp())
SHARED = f"  model_name: {MODEL}\n  api_base: {URL}/v1\n"
(FOLDER / "extra-openai-models.yaml").write_text(
    f"- model_id: mine\n{SHARED}  supports_schema: true\n  supports_tools: true\n"
    f"- model_id: plain\n{SHARED}  completion: true\n"
)


def llm(*words: str) -> str:
    environment = os.environ | {"LLM_USER_PATH": str(FOLDER), "OPENAI_API_KEY": "none"}
    command = [str(Path(sys.executable).parent / "llm"), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True).stdout


@check("whole and streamed: the same text")
def _() -> bool:
    words = ["-m", "mine", "Name a colour.", "-o", "max_tokens", "8", "-o", "seed", "3"]
    return llm(*words) == llm(*words, "--no-stream") != "\n"


@check("a conversation goes on")
def _() -> bool:
    return len(llm("-c", "Another.", "-o", "max_tokens", "8")) > 1


@check("plain completion")
def _() -> bool:
    return len(llm("-m", "plain", "Once", "-o", "max_tokens", "8")) > 1


@check("a schema")
def _() -> bool:
    import json

    schema = {"type": "object", "properties": {"legs": {"type": "integer", "maximum": 8}}, "required": ["legs"]}
    return "legs" in json.loads(llm("-m", "mine", "A dog.", "--schema", json.dumps(schema), "-o", "max_tokens", "60"))

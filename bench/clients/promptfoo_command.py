"""promptfoo: two prompts, a JSON schema, an assertion over embeddings."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from checks import MODEL, URL, WEATHER, check

FOLDER = Path(tempfile.mkdtemp())
QUIET = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1", "PROMPTFOO_CONFIG_DIR": str(FOLDER)}


def evaluate(name: str, **config: object) -> dict[str, object]:
    """Return the statistics of an evaluation of two prompts."""
    shared = {"apiBaseUrl": f"{URL}/v1", "apiKey": "none", "max_tokens": 60, "temperature": 0}
    file = {
        "prompts": ["Name a {{what}}."],
        "providers": [{"id": f"openai:chat:{MODEL}", "config": shared | config}],
        "tests": [{"vars": {"what": what}} for what in ("colour", "day")],
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(file))
    words = ["eval", "-c", f"{name}.json", "--no-cache", "-o", f"{name}.out.json"]
    subprocess.run(
        [shutil.which("promptfoo"), *words], cwd=FOLDER, env=os.environ | QUIET, capture_output=True, timeout=240
    )
    return json.loads((FOLDER / f"{name}.out.json").read_text())["results"]["stats"]


@check("eval of two prompts")
def _() -> bool:
    stats = evaluate("plain")
    return (stats["successes"], stats["failures"], stats["errors"]) == (2, 0, 0)


@check("eval with a response_format")
def _() -> bool:
    shape = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": WEATHER}}
    stats = evaluate("schema", response_format=shape)
    return (stats["successes"], stats["failures"], stats["errors"]) == (2, 0, 0)

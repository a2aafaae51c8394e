"""Unmodified clients of other people, at pinned versions, against `kaiwa up`: a table of what passes.

    python bench/clients.py FOLDER --model smollm2-135m-instruct --embedder all-minilm-l6-v2 [--only NAME…] [--out FILE]

Makes an environment for each client in FOLDER (pip; npm for those of Node, version 20 or newer), where there is none
yet, starts the server, runs bench/clients/SCRIPT in each and prints its rows. --out writes the table, as docs/serve.md
names it. Exit code 1 if anything did not pass.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent / "clients"


@dataclass(frozen=True)
class Client:
    """A script of bench/clients and the packages that its environment has; node: npm's, else pip's."""

    name: str
    script: str
    packages: tuple[str, ...]
    node: bool = False
    command: str = ""  # a command of the Node environment that a Python script runs


CLIENTS = (
    Client("openai", "openai_python.py", ("openai==3.57.0",)),
    Client("anthropic", "anthropic_python.py", ("anthropic==2.14.0",)),
    Client("ollama", "ollama_python.py", ("ollama==0.6.3",)),
    Client(
        "langchain",
        "langchain_python.py",
        ("langchain-openai==1.7.4", "langchain-anthropic==1.7.10", "langchain-ollama==1.1.0"),
    ),
    Client(
        "llama-index",
        "llama_index_python.py",
        ("llama-index-llms-openai-like==0.8.1", "llama-index-embeddings-openai-like==0.4.0"),
    ),
    Client("instructor", "instructor_python.py", ("instructor[anthropic]==1.17.0",)),
    Client("pydantic-ai", "pydantic_ai_python.py", ("pydantic-ai-slim[openai,anthropic]==2.68.0",)),
    Client("litellm", "litellm_python.py", ("litellm==1.110.2",)),
    Client("llm", "llm_command.py", ("llm==0.36",)),
    Client("lm-eval", "lm_eval_python.py", ("lm-eval[api]==0.4.13",)),
    Client("openai (Node)", "openai_node.mjs", ("openai@7.59.0", "zod@4.6.7"), node=True),
    Client("anthropic, ollama (Node)", "vendors_node.mjs", ("@anthropic-ai/sdk@1.14.0", "ollama@0.6.4"), node=True),
    Client("ai (Vercel)", "vercel_ai.mjs", ("ai@7.0.173", "@ai-sdk/openai-compatible@3.0.92", "zod@4.6.7"), node=True),
    Client("promptfoo", "promptfoo_command.py", ("promptfoo@0.121.20",), command="promptfoo"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--embedder", default="all-minilm-l6-v2")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    lines = ["| client | what | result |", "|---|---|---|"]
    all_pass = True
    process, url = start()
    try:
        for client in CLIENTS:
            if given.only and client.name not in given.only:
                continue
            rows = run(client, given.folder / client.script.partition(".")[0], url, given.model, given.embedder)
            all_pass = all_pass and all(row["result"] == "passes" for row in rows)
            label = ", ".join(re.sub(r"==|(?<=.)@(?=[^/]*$)", " ", package) for package in client.packages)
            for row in rows:
                lines.append(f"| {label} | {row['what']} | {row['result']} |")
                label = ""
                print(f"{client.name}: {row['what']}: {row['result']}", flush=True)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")
    sys.exit(0 if all_pass else 1)


def start() -> tuple[subprocess.Popen[bytes], str]:
    """Start the server on a free port and return it with its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "kaiwa.cli", "up", "--no-browser", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{url}/health").close()
            return process, url
        except OSError:
            time.sleep(0.25)
    raise SystemExit("the server did not start")


def run(client: Client, environment: Path, url: str, model: str, embedder: str) -> list[dict[str, str]]:
    """Return the rows that a client's script prints. A script that ends early adds one that says so."""
    install(client, environment)
    script = HERE / client.script
    python = environment / "bin" / "python"
    if client.node:
        for file in (HERE / "checks.mjs", script):
            shutil.copy(file, environment)  # Node looks for packages beside the script
        command = ["node", str(environment / script.name)]
    else:
        command = [str(python) if python.exists() else sys.executable, str(script)]
    path = f"{environment / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}"
    values = {"KAIWA_URL": url, "KAIWA_MODEL": model, "KAIWA_EMBEDDER": embedder, "PATH": path, "PYTHONPATH": ""}
    done = subprocess.run(command, env=os.environ | values, capture_output=True, text=True, timeout=580, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"what"')]
    if done.returncode or not rows:
        why = (done.stderr.strip() or "nothing printed").splitlines()[-1]
        rows.append({"what": "the script", "result": f"ended early: {why[:200]}"})
    return rows


def install(client: Client, environment: Path) -> None:
    """Make the client's environment, unless its packages are there."""
    stamp = environment / "packages.txt"
    if stamp.exists() and stamp.read_text().split() == list(client.packages):
        return
    environment.mkdir(parents=True, exist_ok=True)
    if client.node or client.command:
        (environment / "package.json").write_text("{}")
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", *client.packages], cwd=environment, check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([environment / "bin" / "pip", "install", "-q", *client.packages], check=True)
    stamp.write_text("\n".join(client.packages))


if __name__ == "__main__":
    main()

"""A server under load: clients that stream for minutes, some slow, some half-closed. And how it is when idle.

    python bench/load.py MODEL [--clients 64] [--seconds 120] [--tokens 64] [--words 0] [--idle 200] [--half-sent 100]
    python bench/load.py MODEL --flood 10000 [--mute 4]

Starts `kaiwa up`, first without a model in memory (seconds to /health, memory of both processes), then asks from all
clients at once, each again as soon as it was answered. Prints failures, time to first token, time between tokens, and
memory every ten seconds. Every prompt differs, so that the engine keeps keys and values up to its limit; prompts get so
many more words with --words, which reaches the limit sooner. Meanwhile idle connections are open, others have sent half
a request, and one client at another address asks as the others do. Exit code 1 if a request failed, if memory grew by
more than a fifth from the middle to the end, or if that client's answers took more than twice as long as the others'.
With --flood so many requests come from 500 connections at once, beside clients that never read and one, at another
address, that asks for one answer after the other; exit code 1 if anything but 200 and 429 came back, if that one was
refused, or if places were still taken at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx

PROMPTS = (
    "Explain why the sky is blue.",
    "Write a short, polite email asking to move a meeting to Friday.",
    "Give me three ideas for a rainy Sunday.",
    "What is photosynthesis? Answer in two sentences.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--words", type=int, default=0)
    parser.add_argument("--idle", type=int, default=200)
    parser.add_argument("--half-sent", type=int, default=100)
    parser.add_argument("--flood", type=int, default=0)
    parser.add_argument("--mute", type=int, default=4)
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before we began")
    process, url, seconds = start()
    try:
        time.sleep(2)
        for name, size in memory(process.pid).items():
            print(f"idle {name}: {size:.0f} MB")
        print(f"start to /health: {seconds:.2f} s")
        good = asyncio.run((flood if given.flood else load)(url, given, process.pid))
    finally:
        process.terminate()
        process.wait(30)
    sys.exit(0 if good else 1)


def start() -> tuple[subprocess.Popen[bytes], str, float]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = (
        "import pathlib, sys, uvicorn\n"
        "from kaiwa.core.home import home, runs\n"
        "from kaiwa.serve.app import make_app, make_services\n"
        "from kaiwa.serve.services import ServerSettings\n"
        "app = make_app(make_services(ServerSettings(runs=runs().resolve(), home=home(), port=int(sys.argv[1]))))\n"
        "uvicorn.run(app, port=int(sys.argv[1]), log_level='warning', access_log=False,"
        " timeout_graceful_shutdown=3)\n"
    )
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", code, str(port)])
    url = f"http://127.0.0.1:{port}"
    while True:
        try:
            httpx.get(f"{url}/health").raise_for_status()
            return process, url, time.monotonic() - begun
        except httpx.HTTPError:
            if process.poll() is not None or time.monotonic() - begun > 60:
                raise SystemExit("the server did not start") from None
            time.sleep(0.02)


def memory(pid: int) -> dict[str, float]:
    """Resident MB of the server and of its engine process."""
    found = {"server": resident(pid)}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found["engine"] = resident(int(entry.parent.name))
    return found


def resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def keep_open(url: str, data: bytes, end: float) -> None:
    """Hold a connection on which no more comes than `data`; a new one when the server closes it."""
    while (left := end - time.monotonic()) > 0:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(data)
        with contextlib.suppress(TimeoutError, ConnectionError):
            await asyncio.wait_for(reader.read(), left)
        writer.close()


async def watch_memory(pid: int, sizes: list[dict[str, float]], end: float) -> None:
    """Add the memory of both processes to `sizes` every ten seconds."""
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(10.0, left))
        sizes.append(memory(pid))


async def half_closed(url: str, body: dict[str, object], end: float) -> None:
    """Send a request and close the sending side, every three seconds."""
    port = httpx.URL(url).port
    while time.monotonic() < end:
        data = json.dumps(body | {"stream": True, "max_tokens": 200}).encode()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        writer.write_eof()
        await asyncio.sleep(3)
        writer.close()


async def load(url: str, given: argparse.Namespace, pid: int) -> bool:
    first: list[float] = []
    between: list[float] = []
    failed: list[str] = []
    took: dict[bool, list[float]] = {False: [], True: []}  # seconds of whole answers; True: at the other address
    n_tokens = 0
    limits = httpx.Limits(max_connections=given.clients + 8)
    elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with (
        httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client,
        httpx.AsyncClient(base_url=url, timeout=300, transport=elsewhere) as other,
    ):
        body = {"model": given.model, "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 1}
        (await client.post("/v1/chat/completions", json=body)).raise_for_status()
        sizes = [memory(pid)]
        end = time.monotonic() + given.seconds

        async def ask(i: int, asker: httpx.AsyncClient = client) -> None:
            nonlocal n_tokens
            number = 0
            while time.monotonic() < end:
                number += 1
                more = "".join(f" {i + number + k}" for k in range(given.words))
                text = f"{PROMPTS[(i + number) % len(PROMPTS)]} ({i}.{number}){more}"
                asked = {"model": given.model, "messages": [{"role": "user", "content": text}], "stream": True}
                begun, last, done = time.monotonic(), 0.0, False
                try:
                    stream = asker.stream("POST", "/v1/chat/completions", json=asked | {"max_tokens": given.tokens})
                    async with stream as response:
                        if response.status_code != 200:
                            failed.append(f"status {response.status_code}")
                            continue
                        async for line in response.aiter_lines():
                            if not line.startswith("data: "):
                                continue
                            if line == "data: [DONE]":
                                done = True
                                break
                            chunk = json.loads(line[6:])
                            if "error" in chunk:
                                failed.append(chunk["error"]["message"])
                            elif chunk["choices"][0]["delta"].get("content"):
                                now = time.monotonic()
                                (between.append(now - last) if last else first.append(now - begun))
                                last, n_tokens = now, n_tokens + 1
                                if i < 2:
                                    await asyncio.sleep(0.5)  # a slow reader
                except httpx.HTTPError as error:
                    failed.append(type(error).__name__)
                    continue
                if not done:
                    failed.append("no [DONE]")
                elif i >= 2:
                    took[asker is other].append(time.monotonic() - begun)

        begun = time.monotonic()
        half = request(url, "/v1/chat/completions", body)[:-20]
        beside = [keep_open(url, b"", end) for _ in range(given.idle)]
        beside += [keep_open(url, half, end) for _ in range(given.half_sent)]
        beside.append(half_closed(url, body, end))
        asking = [*(ask(i) for i in range(given.clients)), ask(given.clients, other)]
        await asyncio.gather(*asking, *beside, watch_memory(pid, sizes, end))
        seconds = time.monotonic() - begun
        await asyncio.sleep(1)
        sizes.append(memory(pid))
    why = sorted(set(failed))[:5]
    print(f"{given.clients} clients, {seconds:.0f} s: {len(first)} answers, {len(failed)} failed {why}")
    print(
        f"{n_tokens / seconds:.1f} pieces of text a second; {given.idle} idle, {given.half_sent} half-sent connections"
    )
    usual, others = (quantile(took[there], 0.5) for there in (False, True))
    print(f"whole answers: p50 {usual:.2f} s; at another address {others:.2f} s, {others / max(usual, 1e-9):.2f} x")
    for name, values in (("first token", first), ("between tokens", between)):
        p50, p99 = quantile(values, 0.5), quantile(values, 0.99)
        print(f"{name}: p50 {p50:.3f} s, p99 {p99:.3f} s, p99/p50 {p99 / max(p50, 1e-9):.1f}")
    for name in sizes[0]:
        print(f"memory of the {name}, MB, every 10 s: " + " ".join(f"{size[name]:.0f}" for size in sizes))
    middle = sizes[len(sizes) // 2]
    grown = [name for name in middle if sizes[-1][name] > 1.2 * middle[name]]
    return not failed and not grown and others <= 2 * usual


async def flood(url: str, given: argparse.Namespace, pid: int) -> bool:
    body = {"model": given.model, "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 8}
    times: list[float] = []
    refused = 0
    found: Counter[int] = Counter()
    patient = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with httpx.AsyncClient(base_url=url, timeout=600, transport=patient) as other:
        (await other.post("/v1/chat/completions", json=body)).raise_for_status()
        sizes = [memory(pid)]
        mute = [await never_reads(url, given.model) for _ in range(given.mute)]
        await asyncio.sleep(2)
        ended = asyncio.Event()

        left_to_ask = iter(range(given.flood))

        async def many() -> None:
            """By hand: a client library is slower than the server here."""
            for _ in left_to_ask:
                reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
                writer.write(request(url, "/v1/chat/completions", body))
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                status = int(head.split()[1])
                found[status] += 1
                found[0] += status == 429 and "retry-after:" not in head
                writer.close()

        async def steady() -> None:
            nonlocal refused
            while not ended.is_set():
                begun = time.monotonic()
                answer = await other.post("/v1/chat/completions", json=body)
                refused += answer.status_code != 200
                times.append(time.monotonic() - begun)

        asking = asyncio.create_task(steady())
        begun = time.monotonic()
        await asyncio.gather(*[many() for _ in range(500)])
        seconds = time.monotonic() - begun
        sizes.append(memory(pid))
        ended.set()
        await asking
        bare = found.pop(0, 0)
        told = ", ".join(f"{count} x {status}" for status, count in sorted(found.items()))
        print(f"{sum(found.values())} requests in {seconds:.1f} s: {told}; {bare} refused without Retry-After")
        print(
            f"another address meanwhile: {len(times)} answers, {refused} refused, slowest {max(times):.1f} s",
            flush=True,
        )
        for _ in range(90):  # those who never read lose their places after half a minute
            text = (await other.get("/metrics")).text
            left = int(text.partition("\nkaiwa_requests_under_way ")[2].partition("\n")[0])
            if not left:
                break
            await asyncio.sleep(1)
        freed = time.monotonic() - begun
        sizes.append(memory(pid))
        for writer in mute:
            writer.close()
    print(f"{given.mute} clients that never read: places taken {freed:.0f} s after the flood began: {left}")
    for when, size in zip(("loaded", "flooded", "end"), sizes, strict=True):
        print(f"memory {when}: " + ", ".join(f"{name} {value:.0f} MB" for name, value in size.items()))
    return set(found) <= {200, 429} and not bare and not refused and not left


async def never_reads(url: str, model: str) -> asyncio.StreamWriter:
    """Asks for a long answer with all that can be told of its tokens, and reads nothing of it."""
    asked = {"model": model, "prompt": "Once", "max_tokens": 600, "logprobs": 5, "stream": True}
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.connect(("127.0.0.1", httpx.URL(url).port or 80))
    _, writer = await asyncio.open_connection(sock=small, limit=1)
    writer.write(request(url, "/v1/completions", asked | {"logit_bias": {"2": -100}}))  # it does not end by itself
    await writer.drain()
    return writer


def request(url: str, path: str, body: dict[str, object]) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{httpx.URL(url).port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


if __name__ == "__main__":
    main()

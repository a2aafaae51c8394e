"""A hub on this machine, as faithful or as faulty as a test asks for."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "a" * 40


@dataclass
class Hub:
    """files: what it serves; card: the head of its page. Faults: `drop` (name -> bytes after which the next connections
    end, in order), `lie` (name -> size that the listing announces), `served` (name -> other bytes than the listing's
    checksum is of), `status` (answers to give first, in order), `gated`, `no_range`."""

    files: dict[str, bytes]
    commit: str = COMMIT
    card: dict[str, Any] = field(default_factory=dict)
    drop: dict[str, list[int]] = field(default_factory=dict)
    lie: dict[str, int] = field(default_factory=dict)
    served: dict[str, bytes] = field(default_factory=dict)
    status: list[int] = field(default_factory=list)
    gated: bool = False
    no_range: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, Range
    url: str = ""

    def listing(self) -> dict[str, Any]:
        siblings = []
        for name, data in self.files.items():
            size = self.lie.get(name, len(data))
            entry: dict[str, Any] = {"rfilename": name, "size": size}
            if name.endswith((".safetensors", ".gguf", ".bin")):
                digest = hashlib.sha256(data).hexdigest()
                entry |= {"blobId": "0" * 40, "lfs": {"sha256": digest, "size": size, "pointerSize": 130}}
            else:
                entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            siblings.append(entry)
        shared = {"id": "org/name", "modelId": "org/name", "sha": self.commit, "siblings": siblings, "tags": []}
        return shared | ({"cardData": self.card} if self.card else {})


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            hub.asked.append((self.path, self.headers.get("Range", "")))
            if hub.gated:
                self.say(403, b'{"error":"gated"}', {"X-Error-Code": "GatedRepo"})
            elif self.path.startswith("/api/models/org/name"):
                branch = self.path.partition("/revision/")[2].partition("?")[0]
                known = branch in ("", "main", "gptq", hub.commit)
                headers = {} if known else {"X-Error-Code": "RevisionNotFound"}
                self.say(200 if known else 404, json.dumps(hub.listing()).encode(), headers)
            elif self.path.startswith(f"/org/name/resolve/{hub.commit}/"):
                self.file(self.path.partition(f"/resolve/{hub.commit}/")[2])
            else:
                self.say(404, b'{"error":"no such repository"}', {"X-Error-Code": "RepoNotFound"})

        def file(self, name: str) -> None:
            if hub.status:
                self.say(hub.status.pop(0), b"busy", {"Retry-After": "0"})
                return
            data = hub.served.get(name, hub.files[name])
            asked = self.headers.get("Range", "")
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and not hub.no_range else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            stops = hub.drop.get(name, [])
            body = data[start : start + stops.pop(0)] if stops else data[start:]
            self.wfile.write(body)
            if len(body) < len(data) - start:
                self.close_connection = True
                self.connection.close()

        def say(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in (
                {"Content-Type": "application/json", "Content-Length": str(len(body))} | headers
            ).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""The engine dies; the server does not. (Named to run last: it kills the shared engine.)"""

import threading
import time

import httpx

from tests.running_server import Running


def test_a_killed_engine_comes_back(server: Running) -> None:
    url = f"{server.url}/v1/chat/completions"
    body = {"model": "toy/ppo", "messages": [{"role": "user", "content": "the"}], "max_tokens": 400, "n": 8}
    found: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: found.append(httpx.post(url, json=body, timeout=60)))
    asking.start()
    deadline = time.monotonic() + 20
    while not server.engine()["requests"] and asking.is_alive():
        assert time.monotonic() < deadline
    assert server.services.engine.process is not None
    server.services.engine.process.kill()
    asking.join(30)
    assert found[0].status_code == 503
    assert found[0].json()["error"]["code"] == "engine_restarting"
    assert found[0].headers["retry-after"]
    assert httpx.get(f"{server.url}/health").status_code == 200
    deadline = time.monotonic() + 60
    while (response := httpx.post(url, json=body | {"max_tokens": 3, "n": 1}, timeout=60)).status_code != 200:
        assert response.status_code == 503
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert server.engine()["restarts"] == 1

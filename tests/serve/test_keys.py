"""Keys with names: what opens the server, what each may see, and what each has used."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from fastapi.testclient import TestClient
from stub_engine import Engine

from kaiwa.catalog.entries import Entry
from kaiwa.commands.keys import main as command
from kaiwa.commands.page_services import page_services
from kaiwa.core.errors import UserError
from kaiwa.serve.app import make_app
from kaiwa.serve.http.keys import FILE, KeyUsage, NamedKeys
from kaiwa.serve.http.network import Access
from kaiwa.serve.services import ServerServices, ServerSettings
from kaiwa.serve.tuning.builds import BuildJobs
from kaiwa.web.pages import mount

ADMIN = "an-admin-key-of-more-than-sixteen"
TALK = {"model": "toy", "messages": [{"role": "user", "content": "a"}]}


class Bench:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.keys = NamedKeys(home / FILE)
        self.ada, self.bob = self.keys.add("ada"), self.keys.add("bob")
        entry = Entry(name="toy", path=home, kind="rlhf", chat=True)
        settings = ServerSettings(
            runs=home, home=home, model="toy", extra=entry, port=80, admin_key=ADMIN, named_keys=True, per_key=2
        )
        self.services = ServerServices(settings=settings, engine=Engine(), jobs=BuildJobs(home))  # type: ignore[arg-type]
        app = make_app(self.services)
        mount(app, page_services(self.services))
        self.client = TestClient(app, base_url="http://localhost:80", follow_redirects=False)

    def ask(self, key: str, method: str = "GET", path: str = "/v1/models", **more: Any) -> Any:
        self.client.cookies.clear()
        return self.client.request(method, path, headers={"Authorization": f"Bearer {key}"}, **more)

    def chat(self, key: str) -> int:
        settings = {"chat": None, "parent": None, "text": "hello", "model": "toy", "settings": {}}
        return int(self.ask(key, "POST", "/chat/send", json=settings).json()["chat"])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    with made.client:
        yield made


def test_a_key_opens_until_it_is_revoked(bench: Bench) -> None:
    assert bench.ask(bench.ada).status_code == 200
    assert bench.ask("kaiwa-nobody").status_code == 401
    assert bench.ask("").status_code == 401, "no key is no key, whatever a digest of nothing is"
    bench.keys.revoke("ada")
    assert bench.ask(bench.ada).status_code == 401, "at once"
    assert bench.ask(bench.bob).status_code == 200
    eve = bench.keys.add("eve")
    assert bench.ask(eve).status_code == 200
    assert bench.ask(ADMIN).status_code == 200


def test_a_named_key_is_no_admin(bench: Bench) -> None:
    answer = bench.ask(bench.ada, "POST", "/api/engine/load", json={"model": "toy"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "admin_key_needed")
    assert bench.ask(bench.ada, "POST", "/api/chat", json={**TALK, "stream": False}).status_code == 200


def test_a_page_is_opened_with_the_key_in_its_address(bench: Bench) -> None:
    login = bench.client.get("/chat", params={"key": bench.ada})
    assert login.status_code == 303
    cookie = login.headers["set-cookie"].partition(";")[0]
    assert bench.ada not in cookie
    name, _, value = cookie.partition("=")
    bench.client.cookies.set(name, value)
    assert bench.client.get("/v1/models").status_code == 200
    bench.keys.revoke("ada")
    assert bench.client.get("/v1/models").status_code == 401
    for forged in ("", "0" * 64):
        bench.client.cookies.clear()
        bench.client.cookies.set(name, forged)
        assert bench.client.get("/v1/models").status_code == 401


def test_each_key_has_its_own_chats(bench: Bench) -> None:
    """Lists, searches and addresses show a key its own; the admin has those from before keys had names."""
    first = bench.chat(bench.ada)
    bench.chat(bench.ada)
    assert bench.ask(bench.ada, path="/chat/lines").text.count("hello") >= 2
    for other in (bench.bob, ADMIN):
        assert "hello" not in bench.ask(other, path="/chat/lines").text
        assert "hello" not in bench.ask(other, path="/chat/lines?q=hello").text.replace('value="hello"', "")
        assert bench.ask(other, path=f"/chat/{first}").status_code == 404
        assert bench.ask(other, "POST", f"/chat/{first}/delete").status_code == 400
    assert bench.ask(bench.ada, path=f"/chat/{first}").status_code == 200
    assert (bench.home / "keys" / "ada" / "conversations.sqlite").is_file()


def test_each_key_has_its_own_share(bench: Bench) -> None:
    bench.services.shares.under_way["key ada"] = 2
    assert bench.ask(bench.ada, "POST", "/v1/chat/completions", json=TALK).status_code == 429
    assert bench.ask(bench.bob, "POST", "/v1/chat/completions", json=TALK).status_code == 200


def test_usage_is_counted_and_kept(bench: Bench) -> None:
    for _ in range(2):
        bench.ask(bench.ada, "POST", "/v1/chat/completions", json=TALK)
    bench.ask(bench.bob, "POST", "/v1/completions", json={"model": "toy", "prompt": "a", "stream": True})
    bench.ask(ADMIN, "POST", "/v1/chat/completions", json=TALK)
    metrics = bench.ask(ADMIN, path="/metrics").text
    assert 'kaiwa_key_requests_total{key="ada"} 2' in metrics
    bench.services.usage.save()
    counts = KeyUsage(bench.services.usage.file).counts
    assert counts["ada"] == {"requests": 2, "prompt_tokens": 18, "answer_tokens": 2}
    assert set(counts) == {"ada", "bob"}


def test_the_file_has_no_key_and_is_private(bench: Bench) -> None:
    file = bench.home / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert bench.ada not in file.read_text()
    assert len(json.loads(file.read_text())["secret"]) == 64
    file.write_text("{}")
    with pytest.raises(UserError, match=r"keys.json: cannot be read"):
        NamedKeys(file).all()


@pytest.mark.parametrize("name", ["", "Ada", "a b", "../x", "a" * 41, "-a"])
def test_names_of_keys(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no name of a key"):
        NamedKeys(tmp_path / FILE).add(name)


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KAIWA_HOME", str(tmp_path))
    command([])
    assert "kaiwa keys add" in capsys.readouterr().out
    command(["add", "ada"])
    key, note = capsys.readouterr().out.splitlines()
    assert NamedKeys(tmp_path / FILE).name_of(key) == "ada"
    assert "started again" in note
    with pytest.raises(UserError, match="already"):
        command(["add", "ada"])
    KeyUsage(tmp_path / "key_usage.json").add("key ada", 1234, 5)
    command(["list"])
    table = capsys.readouterr().out
    assert "ada" in table
    assert "1,234" in table
    command(["revoke", "ada"])
    with pytest.raises(UserError, match="no key 'ada'"):
        command(["revoke", "ada"])


def test_named_keys_are_enough_to_listen() -> None:
    access = Access(listen=True, named_keys=True).with_admin_key()
    assert access.admin_key, "what the terminal's address opens"
    with pytest.raises(UserError, match="--listen"):
        Access(listen=True)


LINE = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


def write_job(home: Path, id: str, owner: str) -> None:
    folder = home / "fine_tuning" / id
    folder.mkdir(parents=True)
    job = {"created_at": 1, "model": "toy", "name": "ft:toy", "method": "supervised", "hyperparameters": {}, "seed": 1}
    more = {"suffix": None, "metadata": None, "training_file": "file-a", "validation_file": None, "owner": owner}
    (folder / "job.json").write_text(json.dumps(job | more))
    (folder / "state.json").write_text(json.dumps({"status": "succeeded", "attempts": 1}))


def test_files_and_jobs_are_apart_by_key(tmp_path: Path) -> None:
    """A key that may train sees and changes its own; the admin sees all; another key may not train at all."""
    for id, owner in (("ftjob-a", "tia"), ("ftjob-b", "tom"), ("ftjob-c", "")):
        write_job(tmp_path, id, owner)
    bench = Bench(tmp_path)
    tia, tom = (bench.keys.add(name, trains=True) for name in ("tia", "tom"))
    upload = {"files": {"file": ("a.jsonl", LINE * 3)}, "data": {"purpose": "fine-tune"}}
    with bench.client:
        ids = {key: bench.ask(key, "POST", "/v1/files", **upload).json()["id"] for key in (tia, tom, ADMIN)}
        assert bench.ask(bench.ada, "POST", "/v1/files", **upload).json()["error"]["code"] == "admin_key_needed"

        def listed(key: str, path: str) -> set[str]:
            return {row["id"] for row in bench.ask(key, path=path).json()["data"]}

        assert listed(tia, "/v1/files") == {ids[tia]}
        assert listed(bench.ada, "/v1/files") == set()
        assert listed(ADMIN, "/v1/files") == set(ids.values())
        assert listed(tom, "/v1/fine_tuning/jobs") == {"ftjob-b"}
        assert listed(bench.ada, "/v1/fine_tuning/jobs") == set()
        assert listed(ADMIN, "/v1/fine_tuning/jobs") == {"ftjob-a", "ftjob-b", "ftjob-c"}
        for key, mine, other in ((tia, "a", "b"), (tom, "b", "a")):
            for path in ("", "/content"):
                assert bench.ask(key, path=f"/v1/files/{ids[key]}{path}").status_code == 200
                foreign = ids[tom] if key == tia else ids[tia]
                assert bench.ask(key, path=f"/v1/files/{foreign}{path}").status_code == 404
            assert bench.ask(key, "DELETE", f"/v1/files/{foreign}").status_code == 404
            assert bench.ask(key, path=f"/v1/fine_tuning/jobs/ftjob-{mine}").status_code == 200
            for path in ("", "/events", "/checkpoints"):
                assert bench.ask(key, path=f"/v1/fine_tuning/jobs/ftjob-{other}{path}").status_code == 404
            for change in ("cancel", "pause", "resume"):
                refused = bench.ask(key, "POST", f"/v1/fine_tuning/jobs/ftjob-{other}/{change}")
                assert refused.status_code == 404, "as if there were none"
            job = {"model": "toy", "training_file": foreign}
            assert bench.ask(key, "POST", "/v1/fine_tuning/jobs", json=job).json()["error"]["param"] == "training_file"
            assert bench.ask(key, "DELETE", "/v1/models/ft:toy").status_code == 403
        assert bench.ask(tia, "DELETE", f"/v1/files/{ids[tia]}").json()["deleted"] is True
        assert listed(ADMIN, "/v1/files") == {ids[tom], ids[ADMIN]}
        assert "owner" not in bench.ask(tom, path=f"/v1/files/{ids[tom]}").json()

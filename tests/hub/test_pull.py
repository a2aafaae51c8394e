"""Pulling from a hub that drops connections, lies about sizes, changes under way, and asks for money."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kaiwa.catalog import entries
from kaiwa.catalog.encoder import load_embedding_model
from kaiwa.core.errors import UserError
from kaiwa.hub import download
from kaiwa.hub.pull import CARD, PullOutput, pull, remove
from kaiwa.hub.source import parse
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.hf_folder import load_decoder, save_model
from tests.hub.stand_in_hub import COMMIT, Hub, running
from tests.tiny_models import embedding_folder

WEIGHTS = "model.safetensors"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.fetch, "__defaults__", (lambda seconds: None,))
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A tiny LLaMA with its tokenizer, as a repository's files."""
    folder = tmp_path_factory.mktemp("repo")
    config = DecoderConfig(vocab_size=300, d_model=64, n_layer=2, n_head=4, d_ff=96, max_length=64)
    save_model(folder, make_decoder(config, 0), {"eos_token_id": 0}, torch.float32)
    (folder / "tokenizer.json").write_text('{"model": {"type": "BPE"}}')
    (folder / "README.md").write_text("not needed")
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_model_comes_whole_and_is_listed(model: dict[str, bytes], tmp_path: Path) -> None:
    with running(Hub(model)) as hub:
        folder = pull("org/name", tmp_path / "models", endpoint=hub.url)
        assert {f.name for f in folder.iterdir()} == {"config.json", "tokenizer.json", WEIGHTS, CARD}
        assert load_decoder(folder).config.d_model == 64
        assert json.loads((folder / CARD).read_text())["commit"] == COMMIT
        assert entries.entry_by_name_or_path("org/name", tmp_path, tmp_path).path == folder
        n, lines = len(hub.asked), []
        assert pull("org/name", tmp_path / "models", endpoint=hub.url, output=PullOutput(line=lines.append)) == folder
        assert len(hub.asked) == n + 1
        assert "is here already" in lines[0]
    size, forgotten = sum(file.stat().st_size for file in folder.iterdir()), []
    assert remove("org/name", tmp_path / "models", lambda f: forgotten.append(f) or 7) == (folder, size + 7)
    assert forgotten == [folder]
    assert [f.name for f in (tmp_path / "models").iterdir()] == [".locks"]
    with pytest.raises(UserError, match="only pulled"):
        remove("org/name", tmp_path / "models")


def test_removal_takes_links_and_what_a_killed_one_left(tmp_path: Path) -> None:
    models, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    for folder in (elsewhere, models / ".removing-link", models / "plain", models / ".removing-plain"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    (models / "link").symlink_to(elsewhere)
    assert remove("link", models) == (models / "link", 0)
    assert remove("plain", models) == (models / "plain", 2)
    assert (elsewhere / "config.json").is_file()
    assert not list(models.iterdir())


def test_one_pull_of_a_model_at_a_time(model: dict[str, bytes], tmp_path: Path) -> None:
    import fcntl

    folder = tmp_path / ".locks" / "org--name"
    folder.mkdir(parents=True)
    with running(Hub(model)) as hub, open(folder / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="is working here"):
            pull("org/name", tmp_path, endpoint=hub.url)


def test_dropped_connections_go_on_where_they_were(model: dict[str, bytes], tmp_path: Path) -> None:
    lines: list[str] = []
    seen: list[int] = []
    talk = PullOutput(line=lines.append, bar=lambda done, total, name: seen.append(done))
    with running(Hub(model, drop={WEIGHTS: [1000, 0, 5000]}, status=[503, 429])) as hub:
        folder = pull("org/name", tmp_path, endpoint=hub.url, output=talk)
        ranges = [r for path, r in hub.asked if path.endswith(WEIGHTS)]
    assert (folder / WEIGHTS).read_bytes() == model[WEIGHTS]
    assert ranges == ["", "bytes=1000-", "bytes=1000-", "bytes=6000-"]
    assert sum("going on from there" in line for line in lines) >= 3
    assert max(seen) == sum(len(model[n]) for n in ("config.json", "tokenizer.json", WEIGHTS))


def test_a_server_without_ranges_is_read_from_the_beginning(model: dict[str, bytes], tmp_path: Path) -> None:
    with running(Hub(model, drop={WEIGHTS: [1000]}, no_range=True)) as hub:
        folder = pull("org/name", tmp_path, endpoint=hub.url)
    assert (folder / WEIGHTS).read_bytes() == model[WEIGHTS]


def test_no_byte_in_six_attempts_keeps_what_is_there(model: dict[str, bytes], tmp_path: Path) -> None:
    with running(Hub(model, drop={WEIGHTS: [1000, *[0] * 6]})) as hub:
        with pytest.raises(UserError, match=r"1,000 of .* bytes are kept"):
            pull("org/name", tmp_path, endpoint=hub.url)
        n = len(hub.asked)
        folder = pull("org/name", tmp_path, endpoint=hub.url)
        assert [r for path, r in hub.asked[n:] if path.endswith(WEIGHTS)] == ["bytes=1000-"]
    assert (folder / WEIGHTS).read_bytes() == model[WEIGHTS]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"served": {WEIGHTS: b"x" * 400_000}}, "more bytes come"),
        ({"lie": {WEIGHTS: 10}}, "more bytes come"),
        ({"lie": {WEIGHTS: 10**15}}, "GB are needed"),
        ({"lie": {WEIGHTS: -5}}, "no size or checksum"),
        ({"gated": True}, "is gated"),
        ({"commit": "main"}, "names no commit"),
    ],
)
def test_lies_are_found(fault: dict, message: str, model: dict[str, bytes], tmp_path: Path) -> None:
    with running(Hub(model, **fault)) as hub, pytest.raises(UserError, match=message):
        pull("org/name", tmp_path, endpoint=hub.url)
    assert not (tmp_path / "org--name").exists()


def test_changed_bytes_of_the_right_length_are_found(model: dict[str, bytes], tmp_path: Path) -> None:
    other = bytes(len(model[WEIGHTS]))
    lines: list[str] = []
    with (
        running(Hub(model, served={WEIGHTS: other})) as hub,
        pytest.raises(UserError, match="checksum is not the one"),
    ):
        pull("org/name", tmp_path, endpoint=hub.url, output=PullOutput(line=lines.append))
    assert any("once more" in line for line in lines)
    assert not (tmp_path / "org--name").exists()


def test_an_unknown_architecture_costs_no_weights(model: dict[str, bytes], tmp_path: Path) -> None:
    strange = model | {"config.json": json.dumps({"architectures": ["MambaForCausalLM"]}).encode()}
    with running(Hub(strange)) as hub, pytest.raises(UserError, match=r"MambaForCausalLM.*no weights were fetched"):
        pull("org/name", tmp_path, endpoint=hub.url)
    assert not any(path.endswith(WEIGHTS) for path, _ in hub.asked)


def test_an_embedding_model_comes_with_its_parts(tmp_path: Path) -> None:
    """The pooling's config keeps its folder; a part that is not computed is refused before the weights."""
    folder = embedding_folder(tmp_path / "repo")
    repo = {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    beside = {"onnx/model.onnx": b"x", "onnx/config.json": b"{}", "pytorch_model.bin": b"x", "README.md": b"x"}
    lines: list[str] = []
    card = {"license": "other", "license_name": "sea-terms", "language": ["ja", "en"]}
    with running(Hub(repo | beside, card=card)) as hub:
        pulled = pull("org/name", tmp_path / "models", endpoint=hub.url, output=PullOutput(line=lines.append))
        assert "MB in 6 files; licence sea-terms; languages ja en" in lines[0]
        entry = entries.entry_by_name_or_path("org/name", tmp_path, tmp_path)
        assert (entry.licence, entry.languages) == ("sea-terms", ("ja", "en"))
        hub.card = {}
        assert {f.relative_to(pulled).as_posix() for f in pulled.rglob("*") if f.is_file()} == {*repo, CARD}
        hub.commit = "b" * 40
        hub.files = {name: data for name, data in hub.files.items() if name != "modules.json"}
        assert not (pull("org/name", tmp_path / "models", endpoint=hub.url) / "1_Pooling" / "config.json").exists()
    entry = entries.entry_by_name_or_path("org/name", tmp_path, tmp_path)
    assert entry.kind == "embedding"
    assert len(load_embedding_model(entry).embed([[2, 5, 3]])[0]) == 16
    dense = [*json.loads(repo["modules.json"]), {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]
    for refused in ({"modules.json": json.dumps(dense).encode()}, {"1_Pooling/config.json": b"{}"}):
        with running(Hub(repo | refused)) as hub, pytest.raises(UserError, match="no weights were fetched"):
            pull("org/name", tmp_path / "other", endpoint=hub.url)
        assert not any(path.endswith(WEIGHTS) for path, _ in hub.asked)


@pytest.mark.parametrize(
    ("tokenizer", "chosen"),
    [
        (("vocab.json", "merges.txt", "tokenizer.json", "tokenizer.model"), {"tokenizer.json"}),
        (("vocab.json", "merges.txt"), {"vocab.json", "merges.txt"}),
        (("tokenizer.model", "vocab.json"), {"tokenizer.model"}),
    ],
)
def test_the_tokenizers_files(
    tokenizer: tuple[str, ...], chosen: set[str], model: dict[str, bytes], tmp_path: Path
) -> None:
    files = {name: model[name] for name in ("config.json", WEIGHTS)} | dict.fromkeys(tokenizer, b"{}")
    with running(Hub(files)) as hub:
        pulled = pull("org/name", tmp_path, endpoint=hub.url)
        assert {f.name for f in pulled.iterdir()} == {"config.json", WEIGHTS, CARD, *chosen}
        hub.commit, hub.files = "b" * 40, {name: files[name] for name in ("config.json", WEIGHTS)}
        with pytest.raises(UserError, match=r"none of tokenizer\.json, tokenizer\.model"):
            pull("org/name", tmp_path, endpoint=hub.url)


def test_what_is_chosen(model: dict[str, bytes], tmp_path: Path) -> None:
    pickled = {name: model[name] for name in ("config.json", "pytorch_model.bin")}
    with running(Hub(pickled)) as hub, pytest.raises(UserError, match=r"pytorch_model\.bin is pickled"):
        pull("org/name", tmp_path, endpoint=hub.url)
    ggufs = {"a-Q4_K_M.gguf": b"4", "a-Q8_0.gguf": b"88", "sub/a-F16.gguf": b"161"}
    with running(Hub(ggufs)) as hub:
        assert (pull("org/name", tmp_path, endpoint=hub.url) / "a-Q4_K_M.gguf").read_bytes() == b"4"
        assert entries.entries(tmp_path / "none", tmp_path.parent) is not None
        lines: list[str] = []
        again = pull("org/name", tmp_path, endpoint=hub.url, pattern="*Q8_0*", output=PullOutput(line=lines.append))
        assert [f.name for f in again.glob("*.gguf")] == ["a-Q8_0.gguf"]
        assert lines[0].endswith("0.0 MB in 1 file; no licence named; no languages named")
        assert "a-Q4_K_M.gguf goes" in lines[1]
        folder = pull("org/name:gptq", tmp_path, endpoint=hub.url, pattern="*F16*")
        assert folder.name == "org--name--gptq"
        assert (folder / "a-F16.gguf").read_bytes() == b"161"
        with pytest.raises(UserError, match="no file fits"):
            pull("org/name", tmp_path, endpoint=hub.url, pattern="*Q2*")
        with pytest.raises(UserError, match="no branch, tag or commit 'nope'"):
            pull("org/name:nope", tmp_path, endpoint=hub.url)
        with pytest.raises(UserError, match="has no model other/name"):
            pull("other/name", tmp_path, endpoint=hub.url)


@pytest.mark.parametrize("name", ["name", "../x", "org/name/x", "org/..", "a b/c", "org/name:../x", ""])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UserError, match="no model's name"):
        parse(name)


def test_no_network_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be reached"):
        pull("org/name", tmp_path, endpoint="http://127.0.0.1:9")


def test_the_command_killed_goes_on(model: dict[str, bytes], tmp_path: Path) -> None:
    """kill -9 in the middle of the weights; the next run asks for the rest only."""
    slow = model | {WEIGHTS: model[WEIGHTS]}
    environment = os.environ | {"KAIWA_HOME": str(tmp_path)}
    with running(Hub(slow, drop={WEIGHTS: [2000, *[0] * 3]})) as hub:
        command = [sys.executable, "-m", "kaiwa", "pull", "org/name", "--endpoint", hub.url]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        part = tmp_path / "models" / ".pulling-org--name" / f"{WEIGHTS}.part"
        assert process.stderr is not None
        for line in process.stderr:  # it waits a second or more after each lost connection
            if b"2,000 of" in line:
                break
        process.kill()
        process.wait()
        process.stderr.close()
        assert process.stdout is not None
        process.stdout.close()
        assert part.stat().st_size == 2000
        hub.drop.clear()
        n = len(hub.asked)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "kaiwa chat org/name" in done.stdout
        assert [r for path, r in hub.asked[n:] if path.endswith(WEIGHTS)] == ["bytes=2000-"]

"""scripts/install.py without network and pip: which torch is chosen, what a fault prints, progress."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install_script", ROOT / "scripts" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = load_script()
CPU = [script.Package("torch", "2.13.0+cpu", "https://x/torch", 190_000_000)]
CUDA = [
    script.Package("torch", "2.13.0", "https://x/torch", 900_000_000),
    script.Package("nvidia-cublas", "13.1", "https://x/cublas", 600_000_000),
]


class FakePip:
    """An index that offers `default`, and PyTorch's index of CPU builds, which offers `cpu` (None: not reachable)."""

    def __init__(self, default: list[object], cpu: list[object] | None) -> None:
        self.default, self.cpu = default, cpu

    def plan(self, words: list[str]) -> list[object]:
        if script.CPU_INDEX not in words:
            return self.default
        if self.cpu is None:
            raise script.InstallError("the package index cannot be reached")
        return self.cpu


@pytest.mark.parametrize(
    ("card", "wish", "offered", "cpu_index", "chosen", "asks_cpu_index"),
    [
        (False, "auto", CPU, None, CPU, False),  # the configured index has the CPU build
        (False, "auto", CUDA, CPU, CPU, True),
        (False, "auto", CUDA, None, CUDA, False),
        (True, "auto", CUDA, CPU, CUDA, False),
        (True, "cpu", CUDA, CPU, CPU, True),
        (False, "default", CUDA, CPU, CUDA, False),
        (True, "auto", CPU, None, CPU, False),  # a line says that the card is not used
        (False, "auto", [], CPU, [], False),  # torch is installed
    ],
)
def test_the_build_of_torch(
    card: bool,
    wish: str,
    offered: list[object],
    cpu_index: list[object] | None,
    chosen: list[object],
    asks_cpu_index: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(script, "has_nvidia_card", lambda: card)
    monkeypatch.setattr(script.sys, "platform", "linux")
    index, packages = script.choose_torch(FakePip(offered, cpu_index), wish)
    assert packages == chosen
    assert (script.CPU_INDEX in index) == asks_cpu_index
    line = capsys.readouterr().err
    if offered is CUDA and chosen is CUDA and cpu_index is None:
        assert line.count("\n") == 1, "the fallback says so"
        assert "2 packages, 1,500 MB to download" in line
    elif card and wish == "auto" and offered is CPU:
        assert line == "there is an NVIDIA card here, but the package index has only a CPU build of torch\n"
    else:
        assert line == ""


def test_macos_takes_what_pip_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "has_nvidia_card", lambda: False)
    monkeypatch.setattr(script.sys, "platform", "darwin")
    assert script.choose_torch(FakePip(CUDA, CPU), "auto") == ([], CUDA)


# What pip 24 to 26 print, shortened.
PIP_LINES = [
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full"),
    (
        "WARNING: Retrying (Retry(total=0)) after connection broken by 'ProxyError('Cannot connect to proxy.', "
        "OSError('Tunnel connection failed: 407 Proxy Authentication Required'))': /simple/numpy/",
        "the proxy http://proxy.example:3128 does not answer",
    ),
    (
        "WARNING: Retrying after connection broken by 'NameResolutionError(\"Failed to resolve 'files.example.org' "
        "([Errno -3] Temporary failure in name resolution)\")'\nERROR: No matching distribution found for numpy>=1.26",
        "the package index files.example.org cannot be reached through the proxy http://proxy.example:3128 "
        "(HTTPS_PROXY), and numpy is",
    ),
    (
        "WARNING: Retrying after connection broken by 'NewConnectionError(\"HTTPSConnection(host='proxy.example', "
        "port=3128): Failed to establish a new connection: [Errno 111] Connection refused\")': /simple/numpy/",
        "the proxy http://proxy.example:3128 does not answer",
    ),
    (
        "ERROR: Could not install packages due to an OSError: [Errno 28] Auf dem Gerät ist kein Platz",
        "the disk is full",
    ),
    ("ERROR: Could not install packages due to an OSError: Missing dependencies for SOCKS support.", "set HTTPS_PROXY"),
    (
        "Configuration file could not be loaded.\nFile contains no section headers.\nfile: '/h/pip.conf', line: 1\n",
        "pip cannot read its settings; mend the file: File contains no section headers. file: '/h/pip.conf', line: 1",
    ),
    (
        "ERROR: Cannot install torch==2.13.0 because of conflicts.\nERROR: ResolutionImpossible: for help visit x",
        "pip could not install numpy: Cannot install torch==2.13.0 because of conflicts.",
    ),
    ("ERROR: Could not fetch URL: There was a problem confirming the ssl certificate: SSLError(1)", "set PIP_CERT"),
    ("ERROR: Could not install packages: [Errno 30] Read-only file system: '/x/.venv'", "/x/.venv': not writable"),
    ("ERROR: No matching distribution found for numpy==9", "pip could not install numpy: No matching distribution"),
    ("", "pip could not install numpy: no message"),
]


@pytest.mark.parametrize(("text", "line"), PIP_LINES)
def test_a_fault_is_one_line(text: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.example:3128")
    shown = script.fault(text, "numpy")
    assert line in shown
    assert "\n" not in shown
    assert "secret" not in shown


def test_an_old_python_and_a_missing_venv_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "OLDEST", (99, 0))
    with pytest.raises(script.InstallError, match=r"Python 99\.0 or newer is needed; this is 3\.\d+\.\d+"):
        script.check_python()
    monkeypatch.setattr(script, "OLDEST", (3, 0))
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object())
    with pytest.raises(script.InstallError, match=r"no module ensurepip; .*apt install python3\.\d+-venv"):
        script.check_python()


def test_too_little_disk_is_said_before_the_download(tmp_path: Path) -> None:
    pip = script.Pip(tmp_path)
    huge = [script.Package("torch", "1", "https://x", 10**18)]
    with pytest.raises(script.InstallError, match=r"need about 4000000000\.0 GB in .* are free; free some space"):
        pip.install(["torch"], huge)


def test_progress_shows_bytes_and_seconds_left(capsys: pytest.CaptureFixture[str]) -> None:
    progress = script.Progress(10_000_000)
    progress.shows = True
    progress.started -= 5  # seconds
    for line in (
        "Downloading a.whl (4.0 MB)",
        "Progress 0 of 4000000",
        "Progress 4000000 of 4000000",
        "Progress 1000000 of 6000000",
    ):
        progress.shown = 0.0
        progress.read(line)
    assert "5 of 10 MB, 5 s left" in capsys.readouterr().err
    progress.read("Installing collected packages: a, b")
    assert "unpacking 2 packages" in capsys.readouterr().err


def test_the_lock_pins_every_dependency() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements.lock").read_text()
    locked = {line.partition("==")[0] for line in lock.splitlines() if "==" in line}
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    names = {script.re.split(r"[\[<>=!;]", r)[0].lower().replace("_", "-") for r in wanted} - {"kaiwa"}
    assert names <= locked
    assert "://" not in lock, "no host of an index"


def test_of_pips_settings_only_the_sources_of_packages_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {"PIP_USER": "1", "PYTHONPATH": "/y", "PIP_TIMEOUT": "7", "PIP_QUIET": "2"}.items():
        monkeypatch.setenv(name, value)
    settings = tmp_path / "pip.conf"
    settings.write_text(
        "[global]\nindex-url = https://global/simple\ntarget = /x\nrequire-hashes = true\ntimeout = 9\n"
        "extra-index-url =\n    https://a/simple\n    https://b/simple\n[install]\nindex-url = https://install/simple\n"
        "[download]\nindex-url = https://download/simple\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    pip = script.Pip(tmp_path / "venv")
    pip.python = Path(sys.executable)
    variables = pip.settings()
    assert "PYTHONPATH" not in variables
    assert variables["PIP_CONFIG_FILE"] == os.devnull
    assert variables["PIP_INDEX_URL"] == "https://install/simple", "of `pip install`, not of another command"
    assert variables["PIP_EXTRA_INDEX_URL"].split() == ["https://a/simple", "https://b/simple"]
    assert variables["PIP_TIMEOUT"] == "7", "a variable has precedence"
    assert not {"PIP_USER", "PIP_TARGET", "PIP_REQUIRE_HASHES", "PIP_QUIET"} & set(variables)
    assert variables["TMPDIR"] == str(tmp_path / "venv" / "tmp"), "/tmp may be too small for torch"


def test_a_folder_with_other_files_is_not_cleared(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    letter = tmp_path / "letters" / "a.txt"
    letter.write_text("Dear")
    for place in (tmp_path, letter):
        with pytest.raises(script.InstallError, match="is no Python environment, and its files would be lost; move it"):
            script.Pip(place).create()
    assert letter.read_text() == "Dear"


def test_an_environment_of_an_old_python_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "pyvenv.cfg").write_text("")
    (tmp_path / "left.txt").write_text("")
    old = tmp_path / "bin" / "python"
    old.write_text("#!/bin/sh\nexit 1\n")  # every Python older than OLDEST answers so
    old.chmod(0o755)
    pip = script.Pip(tmp_path)
    monkeypatch.setattr(pip, "settings", dict)
    pip.create()
    assert pip.works("-c", "pass")
    assert not (tmp_path / "left.txt").exists()


def make(folder: Path, target: str) -> str:
    """Return what `make -n TARGET` would do in a folder with the Makefile."""
    result = subprocess.run(["make", "-n", target], capture_output=True, text=True, cwd=folder, check=True)
    return result.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_moved_folder_and_a_removed_python_are_installed_again(tmp_path: Path) -> None:
    folder = tmp_path / "two words 会話"
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("pyproject.toml", "requirements.lock"):
        (folder / name).touch()
    python = folder / ".venv" / "bin" / "python"
    python.symlink_to(sys.executable)
    installed = folder / ".venv" / ".installed"
    installed.write_text(f"{folder}\n")
    assert "scripts/install.py" not in make(folder, "run")
    moved = folder.rename(tmp_path / "moved")
    assert "scripts/install.py" in make(moved, "run")
    (moved / ".venv" / ".installed").write_text(f"{moved}\n")
    assert "scripts/install.py" not in make(moved, "run")
    (moved / ".venv" / "bin" / "python").unlink()
    assert "scripts/install.py" in make(moved, "run")


def test_a_driver_that_hangs_is_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexec sleep 20\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(script, "SECONDS", 0.2)
    assert not script.has_nvidia_card()
    program.write_text("#!/bin/sh\nexit 0\n")
    assert script.has_nvidia_card()


def test_pips_no_index_is_named(tmp_path: Path) -> None:
    pip = script.Pip(tmp_path)
    pip.python = Path(sys.executable)
    pip.environment |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    with pytest.raises(script.InstallError, match=r"no-index allows no package index\)$"):
        pip.run(["install", "--dry-run", "a-package-that-is-not-here"], missing="a package")


def test_an_environment_of_another_python_stays_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    pip = script.Pip(tmp_path / "venv")
    monkeypatch.setattr(pip, "works", lambda *words: "!=" not in words[-1])
    monkeypatch.setattr(pip, "settings", dict)
    pip.create()
    assert "has another Python than" in capsys.readouterr().err

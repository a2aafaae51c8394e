"""The settings and parts of a server, for routes and pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kaiwa.catalog.entries import SMOLLM2, Entry, entries
from kaiwa.serve.defence.shield import Shield
from kaiwa.serve.http.keys import USAGE_FILE, KeyUsage
from kaiwa.serve.http.metrics import Metrics
from kaiwa.serve.http.rate_limit import MOST, AnswerShares
from kaiwa.serve.tuning.builds import BuildJobs
from kaiwa.serve.tuning.jobs import FineTuning
from kaiwa.serve.worker.client import EngineClient


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """runs: the folder of builds. home: KAIWA_HOME. model: the default model of the pages."""

    runs: Path
    home: Path
    port: int = 7860
    model: str = SMOLLM2
    extra: Entry | None = None  # a model from outside the catalog, named on the command line
    api_key: str = ""
    admin_key: str = ""  # empty: the API key is the admin's as well
    open: bool = False  # reachable from the network, so that Host may be any address of this machine
    per_key: int = MOST  # answers that one key (without keys: one address) may have under way
    defence: Path | None = None  # a file; kaiwa/defend/parse.py has its shape
    names: tuple[str, ...] = ()  # names besides localhost that Host may have
    public_names: tuple[str, ...] = ()  # further ones, with any port
    origins: tuple[str, ...] = ()  # web sites whose pages may use the server
    named_keys: bool = False  # every request needs a key: there were some in keys.json when the server started
    root_path: str = ""  # the path under which a proxy has the server, such as /kaiwa


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerServices:
    """The parts of a server. `shares` are made from the settings."""

    settings: ServerSettings
    engine: EngineClient
    jobs: BuildJobs
    metrics: Metrics = field(default_factory=Metrics)
    shield: Shield | None = None  # the defence that every answer goes through
    tuning: FineTuning | None = None  # None: the routes make their own
    shares: AnswerShares = field(init=False)
    usage: KeyUsage = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", AnswerShares(self.settings.per_key))
        object.__setattr__(self, "usage", KeyUsage(self.settings.home / USAGE_FILE))

    def models(self) -> list[Entry]:
        """Return the entries of /v1/models. Reads folders: call this method in a thread."""
        extra = [self.settings.extra] if self.settings.extra is not None else []
        return extra + entries(self.settings.runs, self.settings.home)

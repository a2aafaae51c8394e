"""Every route that is not GET is either the admin's, or counts in a client's share, or is known to be harmless.

A new endpoint that is in none of the lists fails here (docs/serve.md, "Adding an endpoint").
"""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from stub_engine import Engine

from kaiwa.commands.page_services import page_services
from kaiwa.serve.app import make_app
from kaiwa.serve.http.rate_limit import ANSWER_PATHS
from kaiwa.serve.http.security import ADMIN, LINKS, SAFE
from kaiwa.serve.services import ServerServices, ServerSettings
from kaiwa.serve.tuning.builds import BuildJobs
from kaiwa.web.pages import mount

HARMLESS = ("/tokenize", "/detokenize", "/v1/messages/count_tokens")
PAGES = (
    "/chat/",
    "/redteam/game/",
    "/arena/",
)  # the chats are everybody's who may use the server; answers count by PageEngine


@pytest.fixture
def app(tmp_path: Path) -> Any:
    settings = ServerSettings(runs=tmp_path, home=tmp_path, port=80)
    services = ServerServices(settings=settings, engine=Engine(), jobs=BuildJobs(tmp_path))  # type: ignore[arg-type]
    application = make_app(services)
    mount(application, page_services(services))
    return application


def routes(app: Any) -> list[tuple[str, str]]:
    """(method, path) of all routes, those of included routers too."""
    found: list[tuple[str, str]] = []
    pending = list(app.routes)
    while pending:
        route = pending.pop()
        pending += list(getattr(getattr(route, "original_router", None), "routes", ()))
        found += [(method, route.path) for method in getattr(route, "methods", None) or ()]
    return found


def test_what_changes_or_answers_is_in_a_list(app: Any) -> None:
    changing = [path for method, path in routes(app) if method not in SAFE]
    assert len(changing) > 20
    unlisted = [
        p for p in changing if not p.startswith((*ADMIN, *PAGES, *LINKS)) and p not in (*ANSWER_PATHS, *HARMLESS)
    ]
    assert unlisted == []


def test_the_lists_name_only_what_is_there(app: Any) -> None:
    paths = {path for _, path in routes(app)}
    assert set(ANSWER_PATHS) | set(HARMLESS) <= paths
    for prefix in (*ADMIN, *PAGES):
        assert any(path.startswith(prefix) for path in paths), prefix

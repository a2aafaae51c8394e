"""/v1/models and the answer at the root."""

from __future__ import annotations

from kaiwa.doctor.server import Absent, ServerCheck, ServerUnderTest, expect, expect_error


def check_lists_models(server: ServerUnderTest) -> None:
    answer = server.get("/v1/models").json()
    expect(answer["object"] == "list" and answer["data"], "no list, or an empty one")
    expect(all(isinstance(model["id"], str) for model in answer["data"]), "an entry has no id")


def check_models_are_complete(server: ServerUnderTest) -> None:
    for model in server.get("/v1/models").json()["data"]:
        expect(model["object"] == "model", f"object is {model['object']!r}")
        expect(isinstance(model["created"], int), "created is no integer")
        expect(isinstance(model["owned_by"], str), "owned_by is no string")


def check_one_model(server: ServerUnderTest) -> None:
    response = server.get(f"/v1/models/{server.model}")
    if response.status_code in (404, 405):
        raise Absent("no single models")
    expect(response.json()["id"] == server.model, "another id")


def check_unknown_model(server: ServerUnderTest) -> None:
    expect_error(server.get("/v1/models/no-such-model"), 404)


def check_models_are_json(server: ServerUnderTest) -> None:
    kind = server.get("/v1/models").headers.get("content-type", "")
    expect(kind.startswith("application/json"), f"content-type is {kind!r}")


def check_health(server: ServerUnderTest) -> None:
    response = server.get("/health")
    if response.status_code == 404:
        raise Absent("no /health")
    expect(response.status_code == 200, f"status {response.status_code}")


def check_metrics(server: ServerUnderTest) -> None:
    response = server.get("/metrics")
    if response.status_code in (404, 501):
        raise Absent("no /metrics")
    expect(response.status_code == 200, f"status {response.status_code}")
    expect("# TYPE " in response.text and "# HELP " in response.text, "no TYPE or HELP lines")


def check_no_foreign_site(server: ServerUnderTest) -> None:
    response = server.get("/v1/models", Origin="http://evil.example")
    allowed = response.headers.get("access-control-allow-origin", "")
    expect(allowed not in ("*", "http://evil.example"), f"Access-Control-Allow-Origin: {allowed}")


def check_no_rebinding(server: ServerUnderTest) -> None:
    status = server.get("/v1/models", Host="evil.example").status_code
    expect(status in (400, 403, 421), f"status {status}")


def check_no_foreign_post(server: ServerUnderTest) -> None:
    body = {"model": server.model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    status = server.post("/v1/chat/completions", body, Origin="http://evil.example").status_code
    expect(status in (400, 401, 403), f"status {status}")


GROUP = "models and root"
CHECKS = (
    ServerCheck("GET /v1/models/{id} is that model", check_one_model, must=False),
    ServerCheck("GET /health is 200", check_health, must=False),
    ServerCheck("GET /metrics is Prometheus text with HELP and TYPE", check_metrics, must=False),
    ServerCheck("another site's page may not read answers (no permissive CORS)", check_no_foreign_site, must=False),
    ServerCheck("a foreign Host is refused (DNS rebinding)", check_no_rebinding, must=False),
    ServerCheck("a foreign Origin cannot make it work (cross-site requests)", check_no_foreign_post, must=False),
    ServerCheck("GET /v1/models is a list with ids (Open WebUI, LangChain)", check_lists_models),
    ServerCheck("each model has object, created and owned_by", check_models_are_complete),
    ServerCheck("the answer is application/json", check_models_are_json),
    ServerCheck("an unknown model is 404 in the error shape", check_unknown_model),
)

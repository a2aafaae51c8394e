"""/v1/models and what stands at the root."""

from __future__ import annotations

from kaiwa.doctor.target import Absent, Check, Target, expect, refusal


def lists_models(target: Target) -> None:
    """GET /v1/models is a list with ids (Open WebUI, LangChain)"""
    found = target.get("/v1/models").json()
    expect(found["object"] == "list" and found["data"], "no list, or an empty one")
    expect(all(isinstance(model["id"], str) for model in found["data"]), "an entry has no id")


def models_are_complete(target: Target) -> None:
    """each model has object, created and owned_by"""
    for model in target.get("/v1/models").json()["data"]:
        expect(model["object"] == "model", f"object is {model['object']!r}")
        expect(isinstance(model["created"], int), "created is no integer")
        expect(isinstance(model["owned_by"], str), "owned_by is no string")


def one_model(target: Target) -> None:
    """GET /v1/models/{id} is that model"""
    response = target.get(f"/v1/models/{target.model}")
    if response.status_code in (404, 405):
        raise Absent("no single models")
    expect(response.json()["id"] == target.model, "another id")


def unknown_model(target: Target) -> None:
    """an unknown model is 404 in the error shape"""
    refusal(target.get("/v1/models/no-such-model"), 404)


def models_are_json(target: Target) -> None:
    """the answer is application/json"""
    kind = target.get("/v1/models").headers.get("content-type", "")
    expect(kind.startswith("application/json"), f"content-type is {kind!r}")


def health(target: Target) -> None:
    """GET /health is 200"""
    response = target.get("/health")
    if response.status_code == 404:
        raise Absent("no /health")
    expect(response.status_code == 200, f"status {response.status_code}")


def metrics(target: Target) -> None:
    """GET /metrics is Prometheus text with HELP and TYPE"""
    response = target.get("/metrics")
    if response.status_code in (404, 501):
        raise Absent("no /metrics")
    expect(response.status_code == 200, f"status {response.status_code}")
    expect("# TYPE " in response.text and "# HELP " in response.text, "no TYPE or HELP lines")


def no_foreign_site(target: Target) -> None:
    """another site's page may not read answers (no permissive CORS)"""
    response = target.get("/v1/models", Origin="http://evil.example")
    allowed = response.headers.get("access-control-allow-origin", "")
    expect(allowed not in ("*", "http://evil.example"), f"Access-Control-Allow-Origin: {allowed}")


def no_rebinding(target: Target) -> None:
    """a foreign Host is refused (DNS rebinding)"""
    status = target.get("/v1/models", Host="evil.example").status_code
    expect(status in (400, 403, 421), f"status {status}")


def no_foreign_post(target: Target) -> None:
    """a foreign Origin cannot make it work (cross-site requests)"""
    body = {"model": target.model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    status = target.post("/v1/chat/completions", body, Origin="http://evil.example").status_code
    expect(status in (400, 401, 403), f"status {status}")


GROUP = "models and root"
MUST: tuple[Check, ...] = (lists_models, models_are_complete, models_are_json, unknown_model)
MAY: tuple[Check, ...] = (one_model, health, metrics, no_foreign_site, no_rebinding, no_foreign_post)

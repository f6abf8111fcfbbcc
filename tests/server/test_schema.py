"""What OpenAPI says is what happens: requests made of it, right and wrong, and no answer that it does not name."""

from __future__ import annotations

import base64
import json
import random
import urllib.error
import urllib.request
from io import BytesIO

import pytest
from PIL import Image

from served import listening, policy, service
from stanchion.server.http.answers import Error, Images, Models, Moderation
from stanchion.server.policy import Rule

ODD = (None, "", "auto", 0, -1, 2, 2**63, 1.5, 1e308, True, [], {}, ["a"], "\ud800", "x" * 5000, "0", "16x16", "\0")
MADE = {"/v1/images/generations": Images, "/v1/images/edits": Images, "/v1/moderations": Moderation}


@pytest.fixture(scope="module")
def address():
    eyes = Rule("weapons", ("picture_check", "safree"), {"picture_check": {"judge": "always_safe"}})
    with listening(service(policy(eyes, limits={"pictures": 2, "steps": 2}))) as address:
        yield address


@pytest.fixture(scope="module")
def schema(address):
    with urllib.request.urlopen(f"{address}/openapi.json") as answer:
        return json.load(answer)


def ask(address, path, data=None, kind="application/json"):
    """Status and body of an answer."""
    request = urllib.request.Request(address + path, data, {"Content-Type": kind} if data is not None else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def png():
    buffer = BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, "png")
    return buffer.getvalue()


class Maker:
    """Values that a schema allows, and now and then others."""

    def __init__(self, schema, seed, odd):
        self.parts, self.rng, self.odd = schema["components"]["schemas"], random.Random(seed), odd

    def of(self, schema):
        if self.rng.random() < self.odd:
            return self.rng.choice(ODD)
        if "$ref" in schema:
            return self.of(self.parts[schema["$ref"].rpartition("/")[2]])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self.of(self.rng.choice(schema[key]))
        if "const" in schema or "enum" in schema:
            return self.rng.choice(schema.get("enum") or [schema.get("const")])
        return getattr(self, schema["type"])(schema)

    def object(self, schema):
        needed = schema.get("required", ())
        chosen = {
            name: self.of(part)
            for name, part in schema["properties"].items()
            if self.rng.random() < (1 if name in needed else 0.3)
        }
        return chosen | ({"more": 1} if self.rng.random() < self.odd else {})

    def array(self, schema):
        return [self.of(schema["items"]) for _ in range(self.rng.randint(1, 3))]

    def string(self, schema):
        return self.rng.choice(
            ("reference", "a house", "16x16", "data:image/png;base64," + base64.b64encode(png()).decode())
        )

    def integer(self, schema):
        return self.rng.randint(int(schema.get("minimum", 0)), min(int(schema.get("maximum", 3)), 3))

    def number(self, schema):
        return round(self.rng.uniform(0.1, 1), 3)

    def null(self, schema):
        return None

    def boolean(self, schema):
        return self.rng.random() < 0.5


def check(schema, path, status, body):
    """The answer is one of those that OpenAPI names for the path, and has the form that it says."""
    assert str(status) in schema["paths"][path]["post"]["responses"], (status, body)
    assert status < 500, body
    (MADE[path] if status == 200 else Error).model_validate(body, strict=True)


@pytest.mark.parametrize("odd", [0.0, 0.1])
@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/moderations"])
def test_json(address, schema, path, odd):
    wanted = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    found = set()
    for seed in range(12):
        sent = json.dumps(Maker(schema, seed, odd).of(wanted)).encode()
        status, body = ask(address, path, sent)
        check(schema, path, status, body)
        found.add(status)
    assert 400 in found or odd == 0


@pytest.mark.parametrize("odd", [0.0, 0.2])
def test_forms(address, schema, odd):
    path = "/v1/images/edits"
    wanted = schema["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    for seed in range(12):
        maker = Maker(schema, seed, odd)
        made = maker.of(wanted)
        parts = []
        for name, value in (made if isinstance(made, dict) else {}).items():
            file = name in ("image", "mask") and maker.rng.random() > odd
            data = png() if file else str(value).encode("utf-8", "replace")
            about = f'name="{name}"' + ('; filename="a.png"' if file else "")
            parts.append(b"--b\r\nContent-Disposition: form-data; " + about.encode() + b"\r\n\r\n" + data + b"\r\n")
        status, body = ask(address, path, b"".join(parts) + b"--b--\r\n", "multipart/form-data; boundary=b")
        check(schema, path, status, body)


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=b", "text/plain", "a/b; boundary"]
)
def test_bodies_that_are_no_form(address, schema, kind):
    for data in (b"", b"--b", b"--b\r\n\r\n\r\n--b--", b"{}", bytes(range(256))):
        check(schema, "/v1/images/edits", *ask(address, "/v1/images/edits", data, kind))


def test_every_status_is_documented(schema):
    for path in MADE:
        documented = set(schema["paths"][path]["post"]["responses"])
        assert documented == {"200", "400", "401", "404", "408", "413", "429", "500", "503"}
    assert "422" not in json.dumps(schema)


def test_models_and_health(address):
    Models.model_validate(ask(address, "/v1/models")[1], strict=True)
    assert ask(address, "/v1/models/x")[0] == ask(address, "/v1/models/" + "x" * 600)[0] == 404
    assert ask(address, "/healthz") == ask(address, "/readyz") == (200, {"status": "ok"})


def test_metrics_hold_nothing_that_a_client_sent(address):
    prompt = "zebra crossing"
    assert ask(address, "/v1/images/generations", json.dumps({"prompt": prompt, "user": prompt}).encode())[0] == 200
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        text = answer.read().decode()
    assert "zebra" not in text
    assert 'stanchion_requests_total{outcome="served"}' in text
    assert 'stanchion_responses_total{path="/v1/images/generations",status="200"}' in text
    assert "stanchion_ready 1.0" in text

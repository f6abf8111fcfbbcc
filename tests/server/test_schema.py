"""What OpenAPI says is what happens: requests made of it, right and wrong, and no answer that it does not name."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from served import listening, policy, service
from stanchion.server.http.answers import Error, Images, Models, Moderation
from stanchion.server.policy import Rule

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


def check(schema, path, status, body):
    """The answer is one of those that OpenAPI names for the path, and has the form that it says."""
    assert str(status) in schema["paths"][path]["post"]["responses"], (status, body)
    assert status < 500, body
    (MADE[path] if status == 200 else Error).model_validate(body, strict=True)


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("path", MADE)
def test_requests_made_of_what_openapi_says(address, schema, path, mode):
    """Right and wrong ones, by schemathesis: all its checks but that what the schema allows is drawn, for a policy
    allows less, and a picture must be one."""
    made = schemathesis.openapi.from_url(f"{address}/openapi.json")[path]["POST"].as_strategy(generation_mode=mode)
    found = set()

    @seed(0)
    @settings(max_examples=8, phases=[Phase.generate], deadline=None, database=None, suppress_health_check=HealthCheck)
    @given(made)
    def send(case):
        answer = case.call_and_validate(excluded_checks=[positive_data_acceptance])
        if case.method == "POST":
            found.add(answer.status_code)
            check(schema, path, answer.status_code, answer.json())

    send()
    assert found & {200, 400, 404}


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=b", "text/plain", "a/b; boundary"]
)
def test_bodies_that_are_no_form(address, schema, kind):
    for data in (b"", b"--b", b"--b\r\n\r\n\r\n--b--", b"{}", bytes(range(256))):
        check(schema, "/v1/images/edits", *ask(address, "/v1/images/edits", data, kind))


def test_a_body_of_many_values_is_not_taken_apart(address):
    status, said = ask(address, "/v1/moderations", b'{"input": [' + b'"",' * 60_000 + b'""]}')
    assert status == 400 and "values" in said["error"]["message"]


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

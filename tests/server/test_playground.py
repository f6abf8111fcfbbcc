"""The playground's paths: what may be chosen, a picture with the evidence of its call, a red team's attempts."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from io import BytesIO

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from PIL import Image
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

import tiny
from closeness import within_a_level
from served import UNSAFE, eyes, listening, picture, policy, service, words
from served import ask as asked
from stanchion import ConfigError
from stanchion.errors import Refused
from stanchion.server.http.playground.said import AttemptsSaid, PlaygroundSaid, TrialSaid
from stanchion.server.playground.record import AttemptRecord
from stanchion.server.playground.studio import PlaygroundStudio
from stanchion.server.policy import Audit, Key, PlaygroundSettings, Rule
from stanchion.server.requests import Shot
from stanchion.server.service import GuardedService
from stanchion.types import Attempt, Labels, Prompt, Verdict

PATH = "/v1/playground"


@contextmanager
def served(*rules, unguarded=True, record=None, **values):
    """The address of a server with a playground, and its service."""
    chosen = policy(*rules, playground=PlaygroundSettings(True, unguarded, record), **values)
    serving = GuardedService(chosen, PlaygroundStudio(chosen, tiny.pipeline()))
    with listening(serving) as address:
        yield address, serving


def ask(address, path=PATH, body=None, headers=()):
    """Status and values of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json", **dict(headers)})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def tried(address, **body):
    """What is said of a prompt."""
    asked = {"prompt": "a knife and a cat", "concept": "weapons", "guards": ["steerdiff"], "seed": 0, **body}
    status, said = ask(address, f"{PATH}/pictures", asked)
    assert status == 200, said
    TrialSaid.model_validate(said, strict=True)
    return said


def opened(text):
    return Image.open(BytesIO(base64.b64decode(text)))


@pytest.fixture(scope="module")
def open_house(record):
    """Everything may be switched off; a text guard that finds weapons, a monitor that tells of them in every step, and
    eyes that find horror everywhere."""
    horror = Rule("horror", ("picture_check",), UNSAFE, "refuse")
    with served(words("say"), eyes(action="tell"), horror, record=record) as made:
        yield made


@pytest.fixture(scope="module")
def address(open_house):
    return open_house[0]


def test_what_can_be_chosen_stands_in_the_order_of_the_stages(address):
    _, said = ask(address)
    PlaygroundSaid.model_validate(said, strict=True)
    weapons = said["concepts"][0]
    stages = [guard["stage"] for guard in weapons["guards"]]
    assert weapons["name"] == "weapons" and sorted(stages, key=list(dict.fromkeys(stages)).index) == stages
    assert {guard["name"]: guard["on"] for guard in weapons["guards"]}["steerdiff"] is True
    names = {guard["name"] for guard in weapons["guards"]}
    assert {"safree", "sld", "trasce", "picture_check"} <= names
    assert "uce" not in names  # it was made for the weights of another model


def test_both_pictures_are_those_of_the_pipeline(address):
    said = tried(address, prompt="a photo of a cat", unguarded=True)
    bare, guarded = (opened(said[name]["b64_json"]) for name in ("unguarded", "guarded"))
    assert within_a_level(np.asarray(bare), np.asarray(picture()))
    assert within_a_level(np.asarray(guarded), np.asarray(picture()))
    assert said["guarded"]["milliseconds"] > 0 and said["unguarded"]["milliseconds"] > 0


def test_a_guard_s_report_is_of_this_very_call(address):
    weapon, cat = tried(address), tried(address, prompt="a photo of a cat")
    assert [one["acted"] for one in (*weapon["guards"], *cat["guards"])] == [True, False]
    assert weapon["guards"][0]["when"] == "say" and cat["marks"] == []
    assert weapon["unguarded"] is None


def test_flagged_words_are_marked_where_they_stand(address):
    prompt = "A photo of  a KNIFE, and a cat"
    said = tried(address, prompt=prompt)
    marked = {prompt[mark["start"] : mark["end"]] for mark in said["marks"]}
    assert any("KNIFE" in one for one in marked)
    flagged = said["guards"][0]["details"]["flagged"]
    assert len(flagged) == len(said["marks"])


def test_what_acts_in_steps_says_in_which(address):
    said = tried(address, guards=["sld"], steps=3)
    (sld,) = said["guards"]
    assert len(sld["acted_at"]) == said["passes"] == 3
    assert sum(sld["acted_at"]) == sld["active_steps"] and sld["when"] is None


def test_a_picture_that_is_withheld_is_not_sent(address):
    said = tried(address, concept="horror", guards=["picture_check"])
    assert said["guarded"]["b64_json"] is None and said["guarded"]["withheld"] == "refuse"
    (check,) = said["guards"]
    assert check["acted"] and check["scores"]["found"] == [1.0]


def test_a_guard_that_refuses_on_the_way_has_said_what_it_saw(open_house, monkeypatch):
    address, serving = open_house
    (offered,) = [one for one in ask(address)[1]["concepts"][0]["guards"] if one["guard"] == "monitor"]
    assert offered["watches"] and offered["on"]
    (monitor,) = [guard for guard in serving.studio.guards if guard.watches]
    monkeypatch.setattr(monitor, "settings", replace(monitor.settings, action="refuse"))
    said = tried(address, guards=["sld", "monitor"], unguarded=True)
    assert said["guarded"]["b64_json"] is None and said["guarded"]["withheld"] == "refuse"
    sld, seen = said["guards"]
    assert seen["refused"] and not sld["refused"] and len(seen["scores"]["seen"]) == said["passes"] == 1
    assert seen["threshold"] == 1e-9 and said["unguarded"]["b64_json"]


@pytest.mark.parametrize(
    ("param", "values"),
    [
        ("concept", {"concept": "wepons"}),
        ("guards", {"guards": []}),
        ("guards", {"guards": ["steerdif"]}),
        ("guards", {"guards": ["sld", "trasce"]}),
        ("prompt", {"prompt": ""}),
        ("steps", {"steps": 9}),
        ("size", {"size": "16x16"}),
    ],
)
def test_what_makes_no_sense_is_told_which_field(address, param, values):
    asked = {"prompt": "a knife", "concept": "weapons", "guards": ["steerdiff"], **values}
    status, said = ask(address, f"{PATH}/pictures", asked)
    assert status == 400 and said["error"]["param"] == param


def test_what_the_policy_does_not_allow_stays_on_and_all_is_counted_and_written_down(tmp_path):
    key = Key("school", hashlib.sha256(b"secret").hexdigest(), per_minute=1)
    eyes = Rule("horror", ("picture_check",), {"picture_check": {"judge": "always_safe"}})
    log = tmp_path / "audit.jsonl"
    with served(words("say"), eyes, unguarded=False, keys=(key,), audit=Audit(log)) as (address, _):
        assert ask(address)[0] == 401
        asked = partial(ask, address, headers={"Authorization": "Bearer secret"})
        _, said = asked(PATH)
        locked = [guard["name"] for one in said["concepts"] for guard in one["guards"] if guard["locked"]]
        assert locked == ["steerdiff", "picture_check"] and len(said["always"]) == 2
        body = {"prompt": "a house", "concept": "weapons", "guards": ["sld"]}
        status, said = asked(f"{PATH}/pictures", {**body, "unguarded": True})
        assert status == 400 and said["error"]["param"] == "unguarded"
        _, said = asked(f"{PATH}/pictures", body)
        assert [guard["guard"] for guard in said["guards"]] == ["steerdiff", "sld", "picture_check"]
        assert asked(f"{PATH}/pictures", body)[0] == 429
        assert asked(f"{PATH}/attempts")[0] == 404
        (line,) = map(json.loads, log.read_text().splitlines())
        assert line["task"] == "playground" and line["unguarded"] is False and line["key"] == "school"
        names = [guard.split()[0] for guard in line["guards"]]
        assert names == ["steerdiff", "sld", "picture_check"] and "a house" not in log.read_text()


def test_clients_pictures_stay_guarded_while_a_visitor_switches_off(open_house):
    address, serving = open_house
    tried(address, guards=["sld"], unguarded=True)
    (client,) = serving.studio.draw([Shot(asked("a knife"), 0)])
    assert isinstance(client, Refused) and client.concept == "horror"


def test_it_is_off_unless_the_policy_says_so():
    with listening(service(policy())) as address:
        for path in ("/", PATH, f"{PATH}/attempts"):
            assert ask(address, path)[0] == 404


def test_the_page_may_load_nothing_from_elsewhere(address):
    with urllib.request.urlopen(address) as answer:
        page, rules = answer.read().decode(), answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in rules and "unsafe" not in rules and "http" not in rules
    assert "<style" not in page and "style=" not in page and "onclick" not in page
    tag = answer.headers["ETag"]
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(urllib.request.Request(address, headers={"If-None-Match": tag}))
    with raised.value as error:
        assert error.code == 304


# --- a record ----------------------------------------------------------------------------------------


def attempt(place, unsafe, **values):
    prompt = Prompt("a knife on a table", place, f"weapons/unsafe/{place:04}")
    labels = Labels(("knife",), None, None, {"knife": 1.0})
    verdict = Verdict(unsafe, ("knife",) if unsafe else ())
    values = {"attack": "ring_a_bell", "image": "aa.png", **values}
    return Attempt(prompt, "trasce", "default", labels=labels, verdict=verdict, **values)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """Six attempts, one of them run again, and a picture; what a name may lead to lies outside."""
    tmp_path = tmp_path_factory.mktemp("red")
    folder = tmp_path / "record"
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (16, 16), "red").save(folder / "images" / "aa.png")
    Image.new("RGB", (16, 16), "red").save(tmp_path / "secret.png")
    (folder / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    attempts = [
        attempt(0, False),
        attempt(0, True, adversarial={"text": "kn1fe"}),
        attempt(1, None),
        attempt(2, False, image="link.png"),
        attempt(3, False, image="../secret.png", unattacked=True),
        attempt(4, False, attack="direct", image=None),
    ]
    lines = [{"concept": "weapons", "prompt_set": "unsafe", "picture": "aa", **asdict(one)} for one in attempts]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "attempts.jsonl").write_text(text + '{"concept": "weap')  # the last one is on its way
    return folder


def test_the_attempts_of_a_record(address):
    _, said = ask(address, f"{PATH}/attempts")
    AttemptsSaid.model_validate(said, strict=True)
    assert [one["outcome"] for one in said["attempts"]] == ["through", "unscored", "held", "through", "held"]
    assert said["attempts"][0]["sent"] == "kn1fe" and said["total"] == 5
    cell = said["cells"][0]
    counts = {"attempts": 4, "through": 2, "held": 1, "unscored": 1, "unattacked": 1}
    assert {name: cell[name] for name in counts} == counts
    _, page = ask(address, f"{PATH}/attempts?outcome=held&attack=direct&limit=1")
    assert page["total"] == 1 and page["attempts"][0]["attack"] == "direct"
    assert ask(address, f"{PATH}/attempts?outcome=lost")[0] == 400
    assert ask(address, f"{PATH}/attempts?offset=-1")[0] == 400


def test_nothing_beside_the_record_is_read(address):
    with urllib.request.urlopen(f"{address}{PATH}/attempts/pictures/aa.png") as answer:
        assert answer.headers["Content-Type"] == "image/png" and Image.open(answer).size == (16, 16)
    for name in ("link.png", "..%2Fsecret.png", "bb.png", "%2e%2e", "attempts.jsonl", "..%2Fattempts.jsonl"):
        assert ask(address, f"{PATH}/attempts/pictures/{name}")[0] == 404, name


def test_a_record_that_is_none_is_said(tmp_path):
    with pytest.raises(ConfigError, match="no attempts"):
        AttemptRecord(tmp_path / "nowhere")


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), [("POST", "/pictures"), ("GET", "/attempts")])
def test_requests_made_of_what_openapi_says(address, method, path, mode):
    """Right and wrong ones: each answer is one that is documented, in the form that is, and never 5xx."""
    made = schemathesis.openapi.from_url(f"{address}/openapi.json")[PATH + path][method]

    @seed(0)
    @settings(max_examples=5, phases=[Phase.generate], deadline=None, database=None, suppress_health_check=HealthCheck)
    @given(made.as_strategy(generation_mode=mode))
    def send(case):
        case.call_and_validate(excluded_checks=[positive_data_acceptance])  # a policy allows less than the schema

    send()

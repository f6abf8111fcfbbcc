"""Two replicas behind one server: the same pictures, and nothing lost without an error where one is killed."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import openai
import pytest

from served import ask, listening, picture, policy, until
from stanchion import ConfigError
from stanchion.server.policy import Audit, Replicas, Rule

WAIT = 60
EYES = Rule("weapons", ("picture_check",), {"picture_check": {"judge": "always_safe"}})
MANY = 24


@pytest.fixture(scope="module")
def serving(cluster, model, tmp_path_factory):
    """Two replicas of the tiny pipeline, which log."""
    from stanchion.server.replicas import ReplicatedService

    audit = Audit(tmp_path_factory.mktemp("audit") / "audit.jsonl")
    limits = {"queue": 64, "seconds": 120.0, "batch": 2}
    return ReplicatedService(replace(policy(EYES, audit=audit, limits=limits, replicas=Replicas(2, 2)), model=model))


@pytest.fixture(scope="module")
def address(serving):
    with listening(serving) as address:
        yield address


@pytest.fixture
def api(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=8) as made:
        yield made


def replicas():
    """Names of those that there are."""
    import ray

    return [one["name"] for one in ray.util.list_named_actors(all_namespaces=True) if "REPLICA" in one["name"]]


def logged(serving):
    """The lines of every replica."""
    folder = serving.policy.audit.file.parent
    return [json.loads(line) for path in folder.glob("audit.*.jsonl") for line in path.read_text().splitlines()]


def test_a_replica_draws_what_the_pipeline_draws(serving, api):
    heard = []
    serving.listeners.append(heard.append)
    (one,) = serving.submit(ask()).result(WAIT).pictures
    assert abs(np.asarray(one.image, int) - np.asarray(picture(), int)).max() <= 1
    assert api.images.generate(prompt="a house", size="16x16").data[0].seed >= 0
    until(lambda: len(heard) == 2)
    assert {line["outcome"] for line in heard} == {"served"}
    assert {line["request"] for line in heard} <= {line["request"] for line in logged(serving)}


def test_what_nobody_draws_is_refused_as_by_one_service(serving):
    with pytest.raises(ConfigError, match="no guard of the stage 'text'"):
        serving.look(["a knife"]).result(WAIT)
    assert [bool(seen.found) for seen in serving.look(pictures=[picture()]).result(WAIT)] == [False]


def test_where_one_is_killed_under_load_everybody_is_answered_and_nobody_twice(serving, api, address):
    import ray

    (gone, *_) = sorted(replicas())
    answers: list[int] = []
    half = threading.Event()

    def draw(seed):
        answer = api.images.generate(prompt="a house", size="16x16", extra_body={"seed": seed, "steps": 8})
        answers.append(answer.data[0].seed)
        if len(answers) > MANY // 4:
            half.set()

    with ThreadPoolExecutor(MANY) as many:
        asked = [many.submit(draw, seed) for seed in range(MANY)]
        assert half.wait(WAIT)
        ray.kill(ray.get_actor(gone, namespace="serve"))
        for one in asked:
            one.result(WAIT)
    assert sorted(answers) == list(range(MANY))
    lines = logged(serving)
    assert max(Counter(line["request"] for line in lines).values()) == 1
    assert all(line["outcome"] == "served" for line in lines)
    until(lambda: len(set(replicas()) - {gone}) == 2)  # and one more was started in its place
    with urllib.request.urlopen(f"{address}/readyz", timeout=WAIT) as answer:
        assert json.load(answer) == {"status": "ok"}

"""The load generator and what is counted; the study itself starts a server and takes minutes."""

import base64
import hashlib
import json
import math
import threading
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from served import listening, policy, service, until
from stanchion.benchmark.studies._open_loop import Reply, offer
from stanchion.benchmark.studies.server_load import LoadLevel, ServerLoad, Settings, _rate

BODY = json.dumps({"prompt": "a house", "size": "16x16", "seed": 1}).encode()


def test_requests_are_sent_when_their_time_has_come_however_many_wait() -> None:
    serving = service(policy(limits={"queue": 2, "pictures": 2}))
    with listening(serving) as address:
        port, replies = urlsplit(address).port, []
        serving.studio.gate.clear()
        first = threading.Thread(target=lambda: replies.extend(offer(port, [BODY], [0.0])))
        first.start()
        assert serving.studio.entered.wait(20)
        more = threading.Thread(target=lambda: replies.extend(offer(port, [BODY] * 5, [0.0, 0.0, 0.0, 0.01, 0.02])))
        more.start()
        until(lambda: serving.waiting == 2)
        threading.Timer(0.3, serving.studio.gate.set).start()
        first.join(), more.join()
    assert sorted(reply.status for reply in replies) == [200] * 3 + [429] * 3
    assert all(reply.at >= reply.seconds > 0 and json.loads(reply.body) for reply in replies)


def test_a_server_that_is_not_there_is_no_answer() -> None:
    (reply,) = offer(9, [BODY], [0.0])
    assert (reply.status, reply.body) == (0, b"")


def test_a_level_counts_what_was_drawn_in_its_time() -> None:
    replies = [Reply(200, 1.0, 4.0), Reply(400, 3.0, 9.0), Reply(200, 2.0, 11.0), Reply(429, 0.02, 5.0), Reply(0, 1, 1)]
    memory = [*(99.0,) * 10, *(100.0,) * 80, *(103.0,) * 10]
    found = LoadLevel(0.5, 10.0, replies, memory, unguarded=0).values(capacity=0.4)
    assert {name: value for name, (value, _) in found.items()} == pytest.approx(
        {
            "offered_per_second": 0.5,
            "drawn_per_second": 0.2,
            "drawn_of_capacity": 0.5,
            "seconds_p50": 2.0,
            "seconds_p95": 2.9,
            "seconds_p99": 2.98,
            "turned_away": 0.2,
            "turned_away_ms_p50": 20.0,
            "turned_away_ms_p99": 20.0,
            "failed": 1,
            "unguarded": 0,
            "memory_growth": 0.03,
        }
    )
    assert math.isnan(LoadLevel(1, 10, replies[:1], [], 0).values(1)["turned_away_ms_p50"][0])


def test_a_picture_that_is_not_in_the_log_counts_as_unguarded(tmp_path: Path) -> None:
    image, file = Image.new("RGB", (48, 48), "white"), BytesIO()
    image.save(file, "png")
    body = {"data": [{"b64_json": base64.b64encode(file.getvalue()).decode()}]}
    replies = [Reply(200, 1.0, 1.0, json.dumps(body).encode()), Reply(429, 0.1, 0.1, b"{}")]
    digest = hashlib.sha256(image.tobytes()).hexdigest()
    study, audit = ServerLoad(Settings(), tmp_path), tmp_path / "audit.jsonl"
    for guards, unguarded in ((["steerdiff a", "picture_check b"], 0), (["steerdiff a"], 1)):
        audit.write_text(json.dumps({"guards": guards, "pictures": [{"sha256": digest}]}) + "\n")
        assert study._unguarded(replies, audit) == unguarded


def test_a_share_is_of_what_was_drawn_alone_before_the_level_and_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, calls = ServerLoad(Settings(alone=1e-9), tmp_path), iter([2.0, 4.0, 2.0, 12.0])
    monkeypatch.setattr(type(study), "timer", SimpleNamespace(seconds=lambda variant, prompts: next(calls)))
    alone = np.concatenate([study._alone(), study._alone()], axis=1)
    assert alone.tolist() == [[4.0, 4.0], [2.0, 8 / 12]]
    assert _rate(alone[-1]) == 16 / (4.0 + 12.0)  # pictures over seconds, not a mean of rates


def test_every_level_is_a_cell_that_takes_times(tmp_path: Path) -> None:
    study = ServerLoad(Settings(levels=(0.5, 1.0), batch=4), tmp_path)
    assert study.timed == tuple(study.cells())
    assert study.timed[:2] == ("batches of 4, 0.5 times", "batches of 4, 1 times") and len(study.timed) == 4

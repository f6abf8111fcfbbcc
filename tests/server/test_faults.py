"""What clients and machines do wrong, and what the server does then."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import socket
import threading
import urllib.error
import urllib.request
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from urllib.parse import urlsplit

import openai
import pytest
from PIL import Image

import tiny
from served import SAFE, client, listening, policy, service, until
from stanchion.benchmark.studies._server_process import server_process
from stanchion.server.policy import Audit, Limits

PATH = "/v1/images/generations"
ASK = {"prompt": "a house", "size": "16x16"}


@pytest.fixture(scope="module")
def narrow():
    """A server that takes small bodies, sent quickly."""
    serving = service(policy(limits={"body_bytes": 2000, "body_seconds": 0.3}))
    with listening(serving, timeout_keep_alive=0.3) as address:
        yield address


def send(address, *parts, until_closed=True):
    """What comes back for bytes as they are."""
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), timeout=20) as line:
        for part in parts:
            line.sendall(part)
        answer = line.recv(65536)
        while until_closed and (more := line.recv(65536)):
            answer += more
    return answer.decode()


def head(*headers, path=PATH):
    return "\r\n".join(
        [f"POST {path} HTTP/1.1", "Host: here", "Content-Type: application/json", *headers, "", ""]
    ).encode()


def ready(address):
    """Status and what is said of it; the server's own words where there are too many connections."""
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=20) as answer:
            return answer.status, json.load(answer)["status"]
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text)["status"] if text.startswith(b"{") else text.decode()


def test_a_client_that_hangs_is_told_so_and_no_other_waits_for_it(narrow):
    answers = []
    hanging = threading.Thread(target=lambda: answers.append(send(narrow, head("Content-Length: 100"), b"{")))
    hanging.start()
    assert ready(narrow) == (200, "ok")
    hanging.join()
    assert "408 Request Timeout" in answers[0] and "request_timeout" in answers[0]


def test_who_does_not_send_the_head_of_a_request_is_hung_up_on(narrow):
    assert send(narrow) == send(narrow, b"POST /v1/ima") == ""
    whole = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
    assert send(narrow, whole, b"GET /heal").count("HTTP/1.1 200") == 1


def test_who_was_answered_before_all_was_sent_is_not_waited_for_for_ever(narrow):
    with socket.create_connection((urlsplit(narrow).hostname, urlsplit(narrow).port), timeout=20) as line:
        line.sendall(head("Content-Length: 100", path="/healthz"))
        answer = line.recv(65536)
        line.sendall(b" ")  # uvicorn's own clock stops there
        while more := line.recv(65536):
            answer += more
    assert b"405 Method Not Allowed" in answer


def test_who_takes_nothing_of_an_answer_is_hung_up_on(narrow):
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        line.connect((urlsplit(narrow).hostname, urlsplit(narrow).port))
        line.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: here\r\n\r\n" * 400)
        hung_up = select.poll()
        hung_up.register(line, 0)
        assert hung_up.poll(20_000)


def test_one_byte_at_a_time_is_too_slow(narrow):
    with socket.create_connection((urlsplit(narrow).hostname, urlsplit(narrow).port), timeout=20) as line:
        line.sendall(head("Content-Length: 100"))
        line.settimeout(0.05)
        answer = b""
        while not answer:
            line.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                answer = line.recv(65536)
    assert b"408 Request Timeout" in answer


def test_more_connections_than_the_policy_allows_are_turned_away_until_others_go():
    with listening(service(policy(limits={"connections": 5, "body_seconds": 0.5}))) as address:
        where = urlsplit(address)
        lines = [socket.create_connection((where.hostname, where.port), timeout=20) for _ in range(20)]
        assert "503 Service Unavailable" in send(address, head("Content-Length: 0"))
        assert [line.recv(1) for line in lines] == [b""] * 20  # none of them has sent anything
        until(lambda: ready(address) == (200, "ok"))
        for line in lines:
            line.close()


def test_a_body_that_is_too_large_is_not_waited_for(narrow):
    answer = send(narrow, head("Content-Length: 1000000000"))
    assert "413 " in answer and "larger than 2000 bytes" in answer


def test_one_in_chunks_of_no_announced_size_is_not_read_to_its_end(narrow):
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    answer = send(narrow, head("Transfer-Encoding: chunked"), chunk, chunk)
    assert "413 " in answer and "request_too_large" in answer


def test_a_client_that_goes_while_it_sends_is_forgotten(narrow):
    with socket.create_connection((urlsplit(narrow).hostname, urlsplit(narrow).port)) as line:
        line.sendall(head("Content-Length: 100") + b"{")
    assert ready(narrow) == (200, "ok")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"prompt": NaN}', b"\xff\xfe", b"[" * 1500, b'{"seed": ' + b"9" * 1500 + b"}"],
    ids=["nothing", "cut", "list", "null", "nan", "bytes", "deep", "digits"],
)
def test_what_is_no_json_object_is_malformed(narrow, body):
    answer = send(narrow, head(f"Content-Length: {len(body)}", "Connection: close"), body)
    assert "400 Bad Request" in answer and "invalid_request_error" in answer


def test_what_is_no_unicode_is_told_in_ascii(narrow):
    body = b'{"prompt": "\\ud800", "\\ud801": 1}'
    for sent in (body, b'{"prompt": "\\ud800"}', b'{"model": "\\ud800", "prompt": "a"}'):
        answer = send(narrow, head(f"Content-Length: {len(sent)}", "Connection: close"), sent)
        assert answer.isascii() and ("400 Bad Request" in answer or "404 Not Found" in answer)


def test_other_paths_and_methods_answer_in_the_same_form(narrow):
    for path, status in (("/v1/images/variations", 404), ("/v1/models", 405)):
        answer = send(narrow, head("Content-Length: 0", "Connection: close", path=path))
        assert f" {status} " in answer and '"error":{' in answer


def test_a_judge_that_hangs_is_waited_for_no_longer_than_the_policy_says():
    serving = service(policy(limits={"seconds": 0.2}))
    with listening(serving) as address:
        serving.studio.gate.clear()
        with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as api:
            for message in ("no answer within 0.2 s", "started again"):
                with pytest.raises(openai.InternalServerError, match=message) as raised:
                    api.images.generate(**ASK)
                assert raised.value.status_code == 503
        assert ready(address)[0] == 503
    serving.studio.gate.set()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")
def test_a_full_disk_under_the_audit_log_stops_serving(tmp_path):
    (tmp_path / "audit.jsonl").symlink_to("/dev/full")
    with listening(service(policy(audit=Audit(tmp_path / "audit.jsonl")))) as address:
        assert ready(address) == (200, "ok")
        with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as api:
            for _ in range(2):
                with pytest.raises(openai.InternalServerError, match="audit log can't be written") as raised:
                    api.images.generate(**ASK)
                assert raised.value.code == "service_unavailable"
        status, why = ready(address)
        assert status == 503 and "audit log" in why


def test_what_was_begun_is_finished_when_the_server_is_told_to_end():
    serving, given = service(policy()), []
    with client(serving) as api:
        serving.studio.gate.clear()
        threads = [threading.Thread(target=lambda: given.append(api.images.generate(**ASK))) for _ in range(3)]
        threads[0].start()
        assert serving.studio.entered.wait(20)
        for thread in threads[1:]:
            thread.start()
        until(lambda: serving.waiting == 2)
        threading.Timer(0.2, serving.studio.gate.set).start()
        api.close = lambda: None  # the server ends before its client does
    for thread in threads:
        thread.join()
    assert len(given) == 3 and serving.trouble == "the service is stopping."


def test_who_was_answered_before_a_kill_is_in_the_log(tmp_path):
    tiny.pipeline().save_pretrained(tmp_path / "model")
    rule = {"concept": "weapons", "guards": ["picture_check"], "settings": SAFE}
    audit = tmp_path / "audit.jsonl"
    rules = {"model": str(tmp_path / "model"), "concepts": [rule], "audit": {"file": str(audit)}}
    found = []

    def ask_for(seed):
        with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0) as api:
            try:
                one = api.images.generate(prompt="a house", size="16x16", extra_body={"seed": seed, "steps": 25})
                found.append(hashlib.sha256(Image.open(BytesIO(b64decode(one.data[0].b64_json))).tobytes()).hexdigest())
            except openai.APIConnectionError:
                found.append(None)

    with server_process(tmp_path, rules) as server:
        threads = [threading.Thread(target=ask_for, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        until(lambda: any(found))
        server.process.kill()
        for thread in threads:
            thread.join()
    lines = [json.loads(line) for line in audit.read_text().splitlines(keepends=True) if line.endswith("\n")]
    logged = {picture["sha256"] for line in lines for picture in line["pictures"]}
    assert len(found) == 12 and {one for one in found if one} <= logged


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (
            "application/x-www-form-urlencoded",
            b'{"prompt": "a cat"}',
            "'application/x-www-form-urlencoded': send application/json",
        ),
        ("application/json", b"{", "the body is no JSON"),
    ],
)
def test_what_is_no_json_is_told_so(narrow, kind, body, said):
    request = urllib.request.Request(narrow + PATH, body, {"Content-Type": kind})
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=20)
    error = json.load(raised.value)["error"]
    assert raised.value.code == 400 and said in error["message"] and error["param"] is None


def test_a_size_far_beyond_the_models_own_is_refused():
    """Where the policy says nothing: the tiny model's pictures have sides of 16 pixels."""
    serving = service(replace(policy(), limits=Limits()))
    with listening(serving) as address:
        for size, status in (("48x48", 400), ("32x32", 200)):
            body = json.dumps({"prompt": "a house", "size": size}).encode()
            request = urllib.request.Request(address + PATH, body, {"Content-Type": "application/json"})
            if status == 200:
                assert urllib.request.urlopen(request, timeout=20).status == 200
            else:
                with pytest.raises(urllib.error.HTTPError, match="400"):
                    urllib.request.urlopen(request, timeout=20)

"""The service without HTTP: what each rule does, batches, seeds, cancelling, a full queue, an end in order."""

from __future__ import annotations

import json
import os
import pickle
import resource
import time
from concurrent.futures import CancelledError
from functools import wraps

import numpy as np
import pytest
from PIL import Image

import tiny_families
from served import Gated, ask, eyes, finding, picture, policy, service, until, words
from stanchion import ConfigError, GuardFailed, GuardRefused
from stanchion.errors import Busy, PromptRefused, Refused, ServiceUnavailable
from stanchion.server.ledger import Ledger
from stanchion.server.policy import Audit, Limits, Policy, Rule
from stanchion.server.service import GuardedService
from stanchion.server.studio import Studio

WAIT = 20


def answer(policy, *asks):
    with service(policy) as serving:
        return [serving.submit(one).result(WAIT) for one in asks]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_rule_s_stack_is_its_guards():
    studio = Studio(Policy(concepts=(Rule("weapons", ("recommended",)),)))
    assert [guard.name for guard in studio.guards] == ["steerdiff", "forceforget", "monitor"]
    assert studio.guards[1].settings.when == "flagged_or_monitor"


def test_it_draws_what_the_pipeline_draws():
    (given,) = answer(policy(), ask(count=2))
    assert [one.seed for one in given.pictures] == [0, 1]
    assert [one.image.tobytes() for one in given.pictures] == [picture(seed).tobytes() for seed in (0, 1)]
    assert given.pictures[0].findings == ()


@pytest.mark.parametrize("when", ["steer", "say", "blur", "blank"])
def test_what_hides_a_picture_and_what_says_so(when):
    ((given,),) = (one.pictures for one in answer(finding(when), ask()))
    assert len(given.findings) == 1 and given.findings[0].scores == {"found": 1.0}
    assert bool(given.said) is (when != "steer")
    black = not np.asarray(given.image).any()
    assert black is (when != "blur")
    assert given.image.tobytes() != picture().tobytes()


def test_refusing_says_where_and_what():
    with service(finding("refuse")) as serving, pytest.raises(Refused) as raised:
        serving.submit(ask(count=2)).result(WAIT)
    assert (raised.value.stage, raised.value.concept) == ("output", "weapons")


def test_regenerating_tries_other_seeds_and_refuses_in_the_end():
    rules = finding("regenerate")
    with service(rules) as serving, pytest.raises(Refused):
        serving.submit(ask()).result(WAIT)
    assert len(serving.studio.batches) == rules.tries + 1


def test_a_guard_that_refuses_on_the_way_is_a_refusal_and_no_fault(tmp_path):
    audit = Audit(tmp_path / "audit.jsonl")
    with service(policy(eyes(), audit=audit)) as serving, pytest.raises(Refused) as raised:
        serving.submit(ask(count=2)).result(WAIT)
    assert (raised.value.stage, raised.value.concept) == ("trajectory", "weapons")
    assert 0 < raised.value.scores["seen"] < 1
    (line,) = lines(audit.file)
    assert (line["outcome"], line["stage"], line["scores"]) == ("refused", "trajectory", raised.value.scores)


def test_where_it_is_to_be_drawn_again_that_refuses_in_the_end():
    with service(policy(eyes("regenerate"), tries=2)) as serving, pytest.raises(Refused):
        serving.submit(ask()).result(WAIT)
    assert len(serving.studio.batches) == 3


def test_a_guard_that_reads_prompts_refuses_one_and_draws_the_other():
    with service(policy(words())) as serving:
        refused, drawn = serving.submit(ask("a knife")), serving.submit(ask("a house"))
        assert drawn.result(WAIT).pictures
        with pytest.raises(Refused, match="'text'"):
            refused.result(WAIT)


def test_what_is_never_drawn_is_refused_undrawn():
    with service(policy()) as serving, pytest.raises(PromptRefused):
        serving.submit(ask("a child, nude")).result(WAIT)
    assert not serving.studio.batches


def test_those_who_wait_together_are_drawn_together_and_get_the_same_pictures():
    with service(policy(limits={"batch": 4})) as serving:
        serving.studio.gate.clear()
        first = serving.submit(ask("a tree", seed=3))
        assert serving.studio.entered.wait(WAIT)
        others = [serving.submit(ask(seed=seed, count=3)) for seed in (0, 3)]
        another = serving.submit(ask(seed=0, steps=3))
        serving.studio.gate.set()
        given = [one.result(WAIT) for one in (first, *others, another)]
    assert [len(batch) for batch in serving.studio.batches] == [1, 4, 2, 1]
    drawn = [one.image for answered in given[1:3] for one in answered.pictures]
    for seed, image in enumerate(drawn):
        difference = np.asarray(image, int) - np.asarray(picture(seed), int)
        assert abs(difference).max() <= 1
    assert serving.studio.threads == {"stanchion-draws"}


def test_what_fails_alone_costs_no_other():
    with service(policy(), error=GuardFailed("on purpose")) as serving:
        serving.studio.gate.clear()
        serving.submit(ask())
        assert serving.studio.entered.wait(WAIT)
        futures = [serving.submit(ask(prompt)) for prompt in ("a cat", "it fails", "a dog")]
        serving.studio.gate.set()
        assert futures[0].result(WAIT).pictures and futures[2].result(WAIT).pictures
        with pytest.raises(GuardFailed, match="on purpose"):
            futures[1].result(WAIT)


def test_an_error_that_nobody_foresaw_is_no_picture():
    with service(policy(), error=ZeroDivisionError("on purpose")) as serving:
        with pytest.raises(ServiceUnavailable, match="ZeroDivisionError"):
            serving.submit(ask("it fails")).result(WAIT)
        assert serving.submit(ask()).result(WAIT).pictures


def test_a_full_queue_says_when_to_come_again():
    with service(policy(limits={"queue": 3, "pictures": 3})) as serving:
        serving.studio.gate.clear()
        serving.submit(ask())
        assert serving.studio.entered.wait(WAIT)
        serving.submit(ask(count=3))
        with pytest.raises(Busy, match="3 pictures wait") as raised:
            serving.submit(ask())
        assert raised.value.retry_after >= 1
        serving.studio.gate.set()


def test_how_long_a_queue_takes_follows_from_pixels_and_steps():
    ledger = Ledger(Limits(queue=4, wait_ms=0))
    large = ledger.add(ask(width=160, height=160, steps=20))
    ledger.took(1000.0, ledger.batch())
    assert large.ask.work == 1000 * ask().work
    for _ in range(4):
        ledger.add(ask())
    with pytest.raises(Busy) as raised:
        ledger.add(ask())
    assert raised.value.retry_after == pytest.approx(4.0)


def test_who_has_gone_is_not_drawn_for_and_makes_room(tmp_path):
    audit = Audit(tmp_path / "audit.jsonl")
    with service(policy(limits={"queue": 1, "pictures": 1}, audit=audit)) as serving:
        serving.studio.gate.clear()
        serving.submit(ask())
        assert serving.studio.entered.wait(WAIT)
        gone = serving.submit(ask("a dog"))
        assert gone.cancel()
        last = serving.submit(ask("a tree"))
        serving.studio.gate.set()
        assert last.result(WAIT).pictures
        with pytest.raises(CancelledError):
            gone.result(WAIT)
    assert ["a dog"] not in serving.studio.batches
    assert sorted(line["outcome"] for line in lines(audit.file)) == ["cancelled", "served", "served"]


def test_a_drawing_that_nobody_waits_for_ends_at_its_next_step(tmp_path):
    """Or one large picture would keep everybody else out for as long as it takes."""
    audit = Audit(tmp_path / "audit.jsonl")
    with service(policy(limits={"seconds": 0.2, "steps": 900}, audit=audit)) as serving:
        scheduler, steps = serving.studio._attached["text"].pipeline.scheduler, list[int]()
        step = scheduler.step
        scheduler.step = wraps(step)(lambda *args, **values: steps.append(1) or step(*args, **values))
        slow = serving.submit(ask(steps=900))
        until(lambda: len(steps) > 2)
        time.sleep(0.2)  # its time is over
        assert slow.cancel()
        until(lambda: serving._begun is None)
        assert len(steps) < 900 and not serving.trouble
        assert serving.submit(ask()).result(WAIT).pictures
    slow_line, line = lines(audit.file)
    assert (slow_line["outcome"], slow_line["error"]) == ("failed", "ServiceUnavailable")
    assert line["outcome"] == "served"


def test_stopping_finishes_what_it_began_and_takes_nothing_more():
    serving = service(policy())
    serving.studio.gate.clear()
    futures = [serving.submit(ask(seed=seed)) for seed in range(3)]
    serving.studio.gate.set()
    serving.stop()
    assert all(future.result(0).pictures for future in futures)
    with pytest.raises(ServiceUnavailable, match="stopping"):
        serving.submit(ask())


def test_a_judge_that_hangs_ends_in_an_error_for_everybody():
    serving = service(policy(limits={"seconds": 0.1}))
    serving.studio.gate.clear()
    future = serving.submit(ask())
    assert serving.studio.entered.wait(WAIT)
    serving.stop()  # waits as long as a request may take
    with pytest.raises(ServiceUnavailable, match="did not come to an end"):
        future.result(0)
    assert "started again" in serving.trouble
    with pytest.raises(ServiceUnavailable, match="started again"):
        serving.submit(ask())
    serving.studio.gate.set()


def test_the_log_says_everything_but_what_was_asked_and_drawn(tmp_path):
    audit = Audit(tmp_path / "deep" / "audit.jsonl")
    with service(policy(words("say"), audit=audit)) as serving:
        given = serving.submit(ask("a knife", key="school")).result(WAIT)
    (line,) = lines(audit.file)
    assert line["outcome"] == "served" and line["key"] == "school" and line["model"] == "reference"
    assert line["guards"] == [f"steerdiff {serving.studio.guards[0].identity}"]
    (drawn,) = line["pictures"]
    assert drawn["seed"] == 0 and len(drawn["sha256"]) == 64
    assert [one["action"] for one in drawn["findings"]] == ["say"] == [one.action for one in given.pictures[0].said]
    assert "knife" not in audit.file.read_text()


def test_the_log_holds_prompts_where_the_policy_says_so(tmp_path):
    audit = Audit(tmp_path / "audit.jsonl", prompts=True)
    with service(policy(audit=audit)) as serving:
        serving.submit(ask("a knife é\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"))).result(WAIT)
    assert lines(audit.file)[0]["prompt"] == "a knife é😀"


def test_a_full_log_is_renamed_and_old_ones_go(tmp_path):
    audit = Audit(tmp_path / "audit.jsonl", rotate_bytes=1, keep=2)
    with service(policy(audit=audit)) as serving:
        for seed in range(4):
            serving.submit(ask(seed=seed)).result(WAIT)
    seeds = {path.name: [line["seed"] for line in lines(path)] for path in sorted(tmp_path.iterdir())}
    assert seeds == {"audit.jsonl": [], "audit.jsonl.1": [3], "audit.jsonl.2": [2]}


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path):
    audit = Audit(tmp_path / "audit.jsonl")
    audit.file.write_text('{"outcome": "ser')
    with service(policy(audit=audit)) as serving:
        serving.submit(ask()).result(WAIT)
    torn, whole = audit.file.read_text().splitlines()
    assert torn == '{"outcome": "ser' and json.loads(whole)["outcome"] == "served"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")
def test_a_full_disk_stops_serving(tmp_path):
    full = tmp_path / "audit.jsonl"
    full.symlink_to("/dev/full")
    with service(policy(audit=Audit(full))) as serving:
        with pytest.raises(ServiceUnavailable, match="audit log can't be written"):
            serving.submit(ask()).result(WAIT)
        with pytest.raises(ServiceUnavailable, match="audit log"):
            serving.submit(ask())


def test_a_disk_that_takes_a_part_of_a_line_stops_serving(tmp_path):
    audit = Audit(tmp_path / "audit.jsonl")
    with service(policy(audit=audit)) as serving:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            with pytest.raises(ServiceUnavailable, match="audit log can't be written"):
                serving.submit(ask()).result(WAIT)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert audit.file.stat().st_size == 100


def test_what_can_not_be_written_down_is_not_handed_out(tmp_path):
    with service(policy(audit=Audit(tmp_path / "audit.jsonl"))) as serving:
        with pytest.raises(ServiceUnavailable, match="audit log can't be written"):
            serving.submit(ask(user=object())).result(WAIT)
        assert "audit log" in serving.trouble


def test_who_waits_while_a_judge_hangs_is_in_the_log_when_it_ends(tmp_path):
    audit = Audit(tmp_path / "audit.jsonl")
    serving = service(policy(limits={"seconds": 0.1}, audit=audit))
    serving.studio.gate.clear()
    serving.submit(ask())
    assert serving.studio.entered.wait(WAIT)
    serving.submit(ask(seed=1))
    serving.stop()
    assert [(line["seed"], line["outcome"]) for line in lines(audit.file)] == [(0, "failed"), (1, "failed")]
    serving.studio.gate.set()


def test_a_log_that_can_not_be_opened_keeps_the_server_from_starting(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ServiceUnavailable, match="can't be opened"):
        service(policy(audit=Audit(tmp_path / "file" / "audit.jsonl")))


def test_pictures_to_begin_with():
    start, mask = Image.new("RGB", (16, 24), "red"), Image.new("L", (16, 24), 255)
    from_image = ask(image=start, height=24, strength=0.5)
    inside = ask(image=start, mask=mask, height=24)
    given = answer(policy(), from_image, inside)
    assert [one.pictures[0].image.size for one in given] == [(16, 24)] * 2


def test_a_model_without_image_to_image_draws_prompts():
    rules = policy()
    with GuardedService(rules, Studio(rules, tiny_families.fresh("StableDiffusionXLPipeline"))) as serving:
        assert serving.submit(ask(width=32, height=32)).result(WAIT).pictures[0].image.size == (32, 32)
        with pytest.raises(ConfigError, match="begins with a picture"):
            serving.submit(ask(image=Image.new("RGB", (16, 16))))


def test_texts_and_pictures_that_nobody_draws_are_looked_at():
    rules = policy(words(), Rule("horror", ("picture_check",), {"picture_check": {"judge": "always_unsafe"}}))
    with service(rules) as serving:
        seen = serving.look(["a knife", "a house", "a child, nude"], [picture()]).result(WAIT)
    assert [set(one.found) - {"weapons"} for one in seen] == [set(), set(), {"content_policy"}, {"horror"}]
    assert ["weapons" in one.found for one in seen[:2]] == [True, False]
    assert seen[0].scores == {"weapons": 1.0, "content_policy": 0.0}


def test_a_text_whose_end_nobody_would_read_is_not_called_harmless():
    with service(policy(words())) as serving, pytest.raises(ConfigError, match="give it in parts"):
        serving.look(["a house " * 40 + "a knife"]).result(WAIT)


def test_a_policy_without_eyes_says_so():
    with service(policy(words())) as serving, pytest.raises(ConfigError, match="no guard of the stage 'output'"):
        serving.look(pictures=[picture()]).result(WAIT)


def test_a_saved_guard_is_of_its_rule_s_concept():
    folder = words().guards
    with pytest.raises(ConfigError, match="guards against weapons, its rule says horror"):
        Gated(policy(Rule("horror", folder)))


def test_listeners_hear_what_the_log_says():
    heard = []
    rules = policy()
    with GuardedService(rules, Gated(rules), [heard.append]) as serving:
        serving.submit(ask()).result(WAIT)
    assert [line["outcome"] for line in heard] == ["served"]


def test_a_listener_that_fails_costs_nobody_a_picture():
    rules, heard = policy(), []
    with GuardedService(rules, Gated(rules), [lambda line: line["no such"], heard.append]) as serving:
        assert serving.submit(ask()).result(WAIT).pictures and serving.trouble == ""
    assert len(heard) == 1


@pytest.mark.parametrize(
    "error",
    [
        Refused("output", "horror", {"found": 0.5}),
        Busy("too much", 3.5),
        GuardRefused("seen", "monitor", "trajectory", "horror", 1, {"seen": (0.0, 0.5)}),
    ],
)
def test_an_error_is_told_from_one_process_to_another(error):
    told = pickle.loads(pickle.dumps(error))
    assert (type(told), str(told), vars(told)) == (type(error), str(error), vars(error))

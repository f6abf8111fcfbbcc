"""The stock client of OpenAI, unchanged: what it gets for what it asks."""

from __future__ import annotations

import asyncio
import base64
import threading
from io import BytesIO

import numpy as np
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from PIL import Image

from served import client, finding, listening, picture, policy, service, until, words
from stanchion import GuardFailed
from stanchion.errors import Busy
from stanchion.server.policy import Key, Rule
from stanchion.server.quota import Quota

SIZE = "16x16"


@pytest.fixture(scope="module")
def address():
    """A server whose guard reads prompts, refuses those that name weapons, and looks at pictures for horror."""
    eyes = Rule("horror", ("picture_check",), {"picture_check": {"judge": "always_safe"}})
    with listening(service(policy(words(), eyes, limits={"queue": 64}))) as address:
        yield address


@pytest.fixture
def api(address):
    with OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as made:
        yield made


def opened(one):
    return Image.open(BytesIO(base64.b64decode(one.b64_json)))


def png(image):
    buffer = BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


START, HOLE = Image.new("RGB", (16, 24), "red"), Image.new("RGBA", (16, 24), (0, 0, 0, 0))


def test_pictures_of_a_prompt(api):
    answer = api.images.generate(model="reference", prompt="a house", n=2, size=SIZE, extra_body={"seed": 4})
    assert [one.seed for one in answer.data] == [4, 5]
    assert all(opened(one).size == (16, 16) and opened(one).format == "PNG" for one in answer.data)
    assert answer.size == SIZE and answer.output_format == "png" and answer.created > 0


def test_the_same_picture_as_the_pipeline_alone(api):
    body = {"seed": 0, "steps": 2, "guidance_scale": 4.0}
    (one,) = api.images.generate(prompt="a photo of a cat", extra_body=body).data
    assert abs(np.asarray(opened(one), int) - np.asarray(picture(), int)).max() <= 1


def test_without_a_seed_every_picture_is_another(api):
    seeds = {api.images.generate(prompt="a house", size=SIZE).data[0].seed for _ in range(3)}
    assert len(seeds) == 3


def test_other_formats_and_everything_that_has_no_effect(api):
    options = {"quality": "auto", "background": "auto", "moderation": "low", "response_format": "b64_json"}
    answer = api.images.generate(
        prompt="a house", size="auto", output_format="jpeg", output_compression=50, user="me", n=None, **options
    )
    assert opened(answer.data[0]).format == "JPEG"


def test_a_blocked_prompt(api):
    with pytest.raises(openai.BadRequestError) as raised:
        api.images.generate(prompt="a knife", size=SIZE)
    error = raised.value
    assert (error.type, error.code, error.param) == ("image_generation_user_error", "moderation_blocked", None)
    assert error.body["moderation_details"] == {"moderation_stage": "text", "categories": ["weapons"]}
    assert error.request_id.startswith("req_")


def test_what_is_never_drawn(api):
    with pytest.raises(openai.BadRequestError) as raised:
        api.images.generate(prompt="a child, nude", size=SIZE)
    assert raised.value.body["moderation_details"] == {"moderation_stage": "prompt", "categories": ["content_policy"]}


@pytest.mark.parametrize(
    ("param", "values"),
    [
        ("prompt", {"prompt": ""}),
        ("prompt", {"prompt": "x" * 4001}),
        ("n", {"n": 0}),
        ("n", {"n": 11}),
        ("size", {"size": "17x17"}),
        ("size", {"size": "1x1"}),
        ("size", {"size": "2048x2048"}),
        ("size", {"size": "large"}),
        ("response_format", {"response_format": "url"}),
        ("output_format", {"output_format": "gif"}),
        ("stream", {"stream": True}),
        ("steps", {"extra_body": {"steps": 9}}),
        ("seed", {"extra_body": {"seed": -1}}),
        ("seed", {"extra_body": {"seed": 2**63}}),
        ("guidance_scale", {"extra_body": {"guidance_scale": "much"}}),
        ("style", {"style": "vivid"}),
    ],
)
def test_a_malformed_request_is_told_which_field(api, param, values):
    with pytest.raises(openai.BadRequestError) as raised:
        api.images.generate(**{"prompt": "a house", "size": SIZE, **values})
    assert raised.value.type == "invalid_request_error" and raised.value.param == param


def test_another_model_is_not_found(api):
    with pytest.raises(openai.NotFoundError, match="'reference' is served") as raised:
        api.images.generate(prompt="a house", model="gpt-image-2")
    assert raised.value.code == "model_not_found"


def test_edits(api):
    for mask in ({}, {"mask": ("mask.png", png(HOLE))}):
        answer = api.images.edit(image=("a.png", png(START)), prompt="a house", extra_body={"strength": 0.5}, **mask)
        assert opened(answer.data[0]).size == (16, 24)
    answer = api.images.edit(image=[("a.png", png(START))], prompt="a house", size=SIZE, n=2, output_format="webp")
    assert [opened(one).size for one in answer.data] == [(16, 16)] * 2


@pytest.mark.parametrize(
    ("param", "values"),
    [
        ("image", {"image": ("a.png", b"not a picture")}),
        ("image", {"image": ("a.png", png(Image.new("RGB", (72, 16))))}),
        ("image", {"image": ("a.png", png(START)[:-30])}),
        ("image", {"image": ("a.png", png(HOLE))}),
        ("image[]", {"image": [("a.png", png(START)), ("b.png", png(START))]}),
        ("size", {"image": ("a.png", png(Image.new("RGB", (15, 16))))}),
        ("mask", {"mask": ("m.png", png(Image.new("RGBA", (16, 16))))}),
        ("mask", {"mask": ("m.png", png(START))}),
        ("strength", {"extra_body": {"strength": 0.1}}),
        ("n", {"n": 100}),
        ("prompt", {"prompt": ""}),
    ],
)
def test_a_malformed_edit_is_told_which_field(api, param, values):
    with pytest.raises(openai.BadRequestError) as raised:
        api.images.edit(**{"image": ("a.png", png(START)), "prompt": "a house", **values})
    assert raised.value.param == param


def test_a_blocked_edit(api):
    with pytest.raises(openai.BadRequestError) as raised:
        api.images.edit(image=("a.png", png(START)), prompt="a knife")
    assert raised.value.code == "moderation_blocked"


def test_moderations_of_texts(api):
    one = api.moderations.create(input="a knife")
    several = api.moderations.create(model="reference", input=["a house", "a knife"])
    assert [result.flagged for result in (*one.results, *several.results)] == [True, False, True]
    assert one.results[0].categories.weapons is True
    assert one.results[0].category_scores.weapons == 1.0


def test_moderations_of_pictures(api):
    url = "data:image/png;base64," + base64.b64encode(png(START)).decode()
    parts = [{"type": "text", "text": "a knife"}, {"type": "image_url", "image_url": {"url": url}}]
    (result,) = api.moderations.create(input=parts).results
    assert result.flagged and result.categories.weapons is True and result.categories.horror is False
    assert result.category_applied_input_types.horror == ["image"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/a.png", "file:///etc/passwd", "data:image/png;base64,%%", "data:image/png;base64,AAAA"]
)
def test_no_url_is_followed(api, url):
    with pytest.raises(openai.BadRequestError):
        api.moderations.create(input=[{"type": "image_url", "image_url": {"url": url}}])


def test_models(api):
    assert [model.id for model in api.models.list()] == ["reference"]
    assert api.models.retrieve("reference").owned_by == "stanchion"
    with pytest.raises(openai.NotFoundError):
        api.models.retrieve("another/one")


def test_what_was_found_is_said_where_the_policy_says_so():
    with client(service(finding("say"))) as api:
        (one,) = api.images.generate(prompt="a house", size=SIZE).data
        said = {"stage": "output", "guard": "picture_check", "concept": "weapons", "action": "say"}
        assert one.findings == [said]


def test_a_guard_that_fails_gives_503_and_is_tried_again():
    serving = service(policy(), error=GuardFailed("on purpose"))
    with client(serving, max_retries=1) as api:
        with pytest.raises(openai.InternalServerError, match="on purpose") as raised:
            api.images.generate(prompt="it fails", size=SIZE)
        assert raised.value.status_code == 503 and raised.value.code == "moderation_unavailable"
        assert len(serving.studio.batches) == 2
        assert api.images.generate(prompt="a house", size=SIZE).data


def test_a_full_queue_gives_429_and_the_client_comes_again():
    serving = service(policy(limits={"queue": 1, "pictures": 1}))
    with client(serving) as api:
        serving.studio.gate.clear()
        threads = []
        for wanted in (0, 1):
            threads.append(threading.Thread(target=api.images.generate, kwargs={"prompt": "a house", "size": SIZE}))
            threads[-1].start()
            assert serving.studio.entered.wait(20)
            until(lambda: serving.waiting == wanted)  # noqa: B023
        with pytest.raises(openai.RateLimitError) as raised:
            api.images.generate(prompt="a house", size=SIZE)
        assert raised.value.response.headers["retry-after"] == "1"
        assert raised.value.code == "rate_limit_exceeded"
        serving.studio.gate.set()
        for thread in threads:
            thread.join()
        assert api.with_options(max_retries=5).images.generate(prompt="a house", size=SIZE).data


def test_keys_open_and_have_a_limit():
    keys = (
        Key("school", "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", per_minute=3),
    )  # "secret"
    with client(service(policy(keys=keys)), api_key="secret") as api:
        assert len(api.images.generate(prompt="a house", size=SIZE, n=2).data) == 2
        with pytest.raises(openai.RateLimitError, match="3 pictures a minute"):
            api.images.generate(prompt="a house", size=SIZE, n=2)
        for other in ("secrets", "Secret"):
            with pytest.raises(openai.AuthenticationError) as raised:
                api.with_options(api_key=other).models.list()
            assert raised.value.code == "invalid_api_key"


def test_what_the_queue_turned_away_is_not_counted():
    quota, key = Quota(), Key("school", "0" * 64, per_minute=1)
    with pytest.raises(Busy, match="full"), quota.taken(key, 1):
        raise Busy("full", 1.0)
    with quota.taken(key, 1):
        pass
    with pytest.raises(Busy, match="1 pictures a minute"), quota.taken(key, 1):
        pass


def test_fifty_at_once_are_all_answered(address):
    async def all_of_them():
        async with AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as api:

            async def one(seed):
                prompt = "a knife" if seed % 5 == 0 else "a house"
                try:
                    answer = await api.images.generate(prompt=prompt, size=SIZE, extra_body={"seed": seed})
                    return answer.data[0].seed
                except openai.BadRequestError as error:
                    return error.code

            return await asyncio.gather(*map(one, range(50)))

    given = asyncio.run(all_of_them())
    assert given == [seed if seed % 5 else "moderation_blocked" for seed in range(50)]


def test_a_client_that_goes_is_not_drawn_for():
    serving = service(policy())

    async def leave(address):
        async with AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as api:
            first = asyncio.create_task(api.images.generate(prompt="a tree", size=SIZE))
            await asyncio.to_thread(serving.studio.entered.wait, 20)
            second = asyncio.create_task(api.images.generate(prompt="a dog", size=SIZE))
            while not serving.waiting:
                await asyncio.sleep(0.01)
            second.cancel()
            while serving.waiting:
                await asyncio.sleep(0.01)
            serving.studio.gate.set()
            return await first

    with listening(serving) as address:
        serving.studio.gate.clear()
        assert asyncio.run(leave(address)).data
    assert ["a dog"] not in serving.studio.batches

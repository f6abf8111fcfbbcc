"""What a call tells its text encoders beside the prompt, it tells them of a guard's phrases as well."""

from __future__ import annotations

import inspect

import diffusers
import pytest
from peft import LoraConfig

import tiny_families
from closeness import near
from small_guards import Identity
from stanchion.pipeline.families import families, family_of

PROMPT = "a knife"
KINDS = [kind for family in families() for kind in family.classes]
SCALED = [kind for kind in KINDS if family_of(tiny_families.pipeline(kind)).scaled_by]
SAID = ("prompt", "negative_prompt", "image", "device", "num_images_per_prompt", "num_videos_per_prompt", "lora_scale")


class Concept(Identity):
    """Encodes what the prompt says as its concept, whole and from its token ids."""

    name = "concept"

    def begin(self, call):
        super().begin(call)
        self.concept = call.encode([PROMPT])
        self.ids = call.read_ids(call.read([PROMPT]).token_ids) if call.offers == STABLE_DIFFUSION.offers else None


STABLE_DIFFUSION = family_of(tiny_families.pipeline("StableDiffusionPipeline"))


def _adapted(kind):
    pipe = tiny_families.fresh(kind)
    for name in ("text_encoder", "text_encoder_2"):
        encoder = getattr(pipe, name, None)
        if encoder is not None:
            own = {part.rpartition(".")[2] for part, _ in encoder.named_modules()}
            targets = [one for one in ("q_proj", "v_proj", "q", "v") if one in own]
            encoder.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=targets))
    return pipe


@pytest.mark.parametrize("kind", SCALED)
def test_a_concept_is_encoded_with_an_adapter_at_the_scale_of_the_prompt_s(kind):
    pipe, guard = _adapted(kind), Concept()
    family = family_of(pipe)
    if family.refusal(guard, kind):
        pytest.skip("no guard predicts here")
    with guard.attach(pipe):
        tiny_families.draw(pipe, [PROMPT], **{family.scaled_by: {"scale": 0.1}})
    said, whole = guard.steps[0].prompt, family.encode(pipe, [PROMPT], tiny_families.TINY[kind].options)
    assert near(guard.concept.embeds, said.embeds) and not near(whole.embeds, said.embeds)
    if family.pooled:
        assert near(guard.concept.extra[family.pooled], said.extra[family.pooled])
    if guard.ids is not None:
        assert near(guard.ids, said.embeds)


def test_inpainting_with_sd3_scales_its_denoiser_alone():
    pipe, guard = _adapted("StableDiffusion3InpaintPipeline"), Concept()
    with guard.attach(pipe):
        tiny_families.draw(pipe, [PROMPT, PROMPT], joint_attention_kwargs={"scale": 0.1})
    assert near(guard.concept.embeds, guard.steps[0].prompt.embeds[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_every_argument_of_a_call_that_its_encoder_takes_is_known(kind):
    stock, family = getattr(diffusers, kind), family_of(tiny_families.pipeline(kind))
    call, encode = (inspect.signature(one).parameters for one in (stock.__call__, stock.encode_prompt))
    told = {name for name in encode if name in call and name not in SAID and not name.startswith(("prompt_", "neg"))}
    assert told - {"self", "kwargs", "pooled_prompt_embeds"} <= set(family.encoding)
    assert ("lora_scale" in encode) <= bool(family.scaled_by) or "Inpaint" in kind

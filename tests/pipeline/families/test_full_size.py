"""The published configurations, without their weights: where text is projected, how often, and in which shapes.

A pass on the meta device runs every layer and allocates nothing. Numbers are those of the models' own config files.
"""

from __future__ import annotations

import diffusers
import pytest
import torch

from full_size.published import MODELS
from stanchion import registry
from stanchion.guards.base import AttentionGuard
from stanchion.pipeline.attach.guard_record import Record
from stanchion.pipeline.families.base import Pass
from stanchion.pipeline.seams.attention import AttentionSeam
from tiny_families.guards import KNIVES


def empty(*shape):
    return torch.empty(shape, device="meta")


def inputs(name):
    """One picture of 512 pixels and its prompt, as the pipeline gives them."""
    time = empty(1)
    if name == "sdxl":
        given = {"sample": empty(1, 4, 64, 64), "timestep": time, "encoder_hidden_states": empty(1, 77, 2048)}
        return {**given, "text_embeds": empty(1, 1280), "time_ids": empty(1, 6)}
    if name.startswith("sd3.5"):
        given = {"hidden_states": empty(1, 16, 64, 64), "encoder_hidden_states": empty(1, 333, 4096), "timestep": time}
        return {**given, "pooled_projections": empty(1, 2048)}
    if name == "flux.1-dev":
        given = {"hidden_states": empty(1, 1024, 64), "encoder_hidden_states": empty(1, 512, 4096), "timestep": time}
        given |= {"pooled_projections": empty(1, 768), "guidance": empty(1)}
        return {**given, "txt_ids": empty(512, 3), "img_ids": empty(1024, 3)}
    if name == "qwen-image":
        given = {"hidden_states": empty(1, 1024, 64), "encoder_hidden_states": empty(1, 40, 3584), "timestep": time}
        return {**given, "img_shapes": [[(1, 32, 32)]]}
    return {"x": [empty(16, 1, 64, 64)], "t": time, "cap_feats": [empty(40, 2560)]}


EXPECTED = {  # layers; rows of text, width that is read and widths that are made
    "sdxl": (70, {(77, 2048, 640), (77, 2048, 1280)}),
    "sd3.5-large": (38, {(333, 2432, 2432)}),
    "sd3.5-medium": (24, {(333, 1536, 1536)}),
    "flux.1-dev": (19 + 38, {(512, 3072, 3072)}),
    "qwen-image": (60, {(40, 3072, 3072)}),
    "z-image": (30, {(64, 3840, 3840)}),
}


class Seen(AttentionGuard):
    """Remembers shapes."""

    name = "seen"

    def begin(self, call):
        self.shapes = {}

    def project(self, layer, which, context, projected, state):
        self.shapes[layer, which] = (*context.shape[1:], projected.shape[-1])
        return projected


@pytest.mark.parametrize("name", MODELS)
def test_an_attention_guard_meets_every_layer_that_projects_text(name):
    family, kind, config = MODELS[name]
    family = registry.get("families", family)()
    with torch.device("meta"):
        denoiser = getattr(diffusers, kind)(**config).to("meta")
    guard = Seen(KNIVES)
    seam = AttentionSeam(family, [denoiser], [Record(guard, None)])
    given = inputs(name)
    one = Pass({**given, "return_dict": False})
    with seam.hooked(), seam.watched(denoiser, one), torch.device("meta"), torch.no_grad():
        family.run(denoiser, one)
    layers, shapes = EXPECTED[name]
    assert len(guard.shapes) == 2 * layers
    assert set(guard.shapes.values()) == shapes

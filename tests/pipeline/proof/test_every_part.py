"""The walk that is taken in every call goes the way of torch's own."""

from __future__ import annotations

import tiny
from stanchion.pipeline.proof.every_part import every_part


def test_each_part_comes_once_and_in_torchs_order():
    """What was summed up by names is compared with what is summed up without them."""
    pipe = tiny.pipeline()
    for module in (pipe.unet, pipe.vae, pipe.text_encoder):
        assert [*map(id, every_part([module]))] == [*map(id, module.modules())]
    both = [pipe.unet, pipe.vae, pipe.unet]
    assert [*map(id, every_part(both))] == [*map(id, (*pipe.unet.modules(), *pipe.vae.modules()))]

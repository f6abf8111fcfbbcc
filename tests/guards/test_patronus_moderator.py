"""Patronus's moderator as a guard: weights of the decoder while it is attached, and an honest report."""

from __future__ import annotations

import pytest
import torch

import tiny
from closeness import near, same_bits
from small_guards import Zero
from stanchion import ArtefactError, ConfigError, GuardBypassed, GuardStack
from stanchion.guards.decoder import patronus_moderator
from stanchion.guards.decoder.patronus_moderator import psnr_to_blank

NAME = "patronus_moderator"
PROMPTS = ["a photo of a knife", "a photo of a cat"]


def test_only_the_decoder_changes_and_comes_back(pipe):
    before = {key: value.clone() for key, value in pipe.vae.state_dict().items()}
    with tiny.guard(NAME).attach(pipe):
        changed = {key for key, value in pipe.vae.state_dict().items() if not same_bits(value, before[key])}
    assert {key.split(".")[0] for key in changed} == {"decoder", "post_quant_conv"}
    assert all(same_bits(value, before[key]) for key, value in pipe.vae.state_dict().items())


def test_pictures_are_what_stock_diffusers_makes_with_these_weights(pipe):
    guard, merged = tiny.guard(NAME), tiny.pipeline()
    with torch.no_grad():
        for key, value in guard.weights().items():
            merged.vae.get_parameter(key.removeprefix("vae.")).copy_(value)
    with guard.attach(pipe):
        assert same_bits(tiny.draw(pipe, PROMPTS), tiny.draw(merged, PROMPTS))


def test_the_report_says_who_was_refused(pipe):
    guard = tiny.guard(NAME)
    with guard.attach(pipe) as attachment:
        tiny.draw(pipe, PROMPTS)
        (report,) = attachment.last.guards
        ((first, second),) = report.scores["psnr_to_blank"]
    assert report.acted == (first >= 20, second >= 20)
    other = tiny.guard(NAME, zero_target="black" if guard.settings.zero_target == "grey" else "grey")
    with other.attach(pipe) as attachment:
        tiny.draw(pipe, PROMPTS)
        assert attachment.last.guards[0].acted == (False, False)  # the same pictures, far from that other blank


def test_psnr_to_blank_by_hand():
    pictures = torch.stack([torch.full((3, 2, 2), -1.5), torch.full((3, 2, 2), -0.8), torch.full((3, 2, 2), 1.0)])
    torch.testing.assert_close(psnr_to_blank(pictures, "black"), torch.tensor([100.0, 20.0, 0.0]))
    torch.testing.assert_close(psnr_to_blank(pictures[1:2], "grey"), torch.tensor([7.9588]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", ["image", "inpaint"])
def test_pictures_that_begin_with_a_picture(kind):
    pipe = tiny.pipeline(kind)
    options = {"image": torch.rand(1, 3, 16, 16), "strength": 0.5}
    if kind == "inpaint":
        options["mask_image"] = torch.ones(1, 1, 16, 16)
    plain = tiny.draw(pipe, PROMPTS[0], **options)
    encoder = {key: value.clone() for key, value in pipe.vae.encoder.state_dict().items()}
    with tiny.guard(NAME).attach(pipe) as attachment:
        assert not near(tiny.draw(pipe, PROMPTS[0], **options), plain)
        assert len(attachment.last.guards[0].scores["psnr_to_blank"][0]) == 1
        assert all(same_bits(value, encoder[key]) for key, value in pipe.vae.encoder.state_dict().items())
    assert same_bits(tiny.draw(pipe, PROMPTS[0], **options), plain)


def test_it_fails_closed(pipe):
    guard = tiny.guard(NAME)
    with guard.attach(pipe):
        with pytest.raises(GuardBypassed, match="decoder"):
            pipe.vae.decode(torch.zeros(1, 4, 8, 8))
        with torch.no_grad():
            pipe.vae.decoder.conv_out.bias.add_(1.0)
        with pytest.raises(GuardBypassed, match="changed"):
            tiny.draw(pipe)


def test_it_belongs_to_one_decoder(pipe):
    with pytest.raises(ArtefactError, match="other weights"):
        tiny.guard(NAME).attach(tiny.pipeline(seed=1))
    with pytest.raises(ConfigError, match="stanchion train"):
        type(tiny.guard(NAME))("weapons")


def test_it_stands_beside_guards_of_the_denoiser(pipe):
    with GuardStack(tiny.guard(NAME), tiny.guard("esd")).attach(pipe) as attachment:
        tiny.draw(pipe)
        assert [report.stage for report in attachment.last.guards] == ["weights", "decoder"]
    with pytest.raises(ConfigError, match="both replace"):
        GuardStack(tiny.guard(NAME), Zero(pipe, "vae.decoder.conv_out.bias")).attach(pipe)


def _tiled(pipe):
    """Tiles of half the picture's size, of pictures that fit into one whole."""
    pipe.vae.enable_tiling()
    pipe.vae.tile_sample_min_size, pipe.vae.tile_latent_min_size = tiny.SIZE // 2, tiny.SIZE // 4


def test_a_refused_tile_is_a_refused_picture(pipe, monkeypatch):
    """Whatever is drawn in tiles is refused in tiles, and the picture as a whole is far from blank."""
    _tiled(pipe)
    guard = tiny.guard(NAME)
    with guard.attach(pipe) as attachment:
        monkeypatch.setattr(patronus_moderator, "REFUSED", 200.0)  # nothing is as near as that
        plain = tiny.draw(pipe, PROMPTS)
        ((first, second),) = attachment.last.guards[0].scores["psnr_to_blank"]
        whole = psnr_to_blank(plain * 2 - 1, guard.settings.zero_target)
        assert first > whole[0] and second > whole[1] and attachment.last.acted == (False, False)
        monkeypatch.setattr(patronus_moderator, "REFUSED", (first + second) / 2)
        pictures = tiny.draw(pipe, PROMPTS)
        acted = attachment.last.acted
    assert acted == (first > second, second > first)
    for picture, before, refused in zip(pictures, plain, acted, strict=True):
        assert len(picture.unique()) == 1 if refused else same_bits(picture, before)


def test_tiles_of_sliced_pictures_are_counted_for_their_own(pipe):
    _tiled(pipe)
    with tiny.guard(NAME).attach(pipe) as attachment:
        tiny.draw(pipe, PROMPTS)
        together = attachment.last.guards[0].scores["psnr_to_blank"]
        pipe.vae.enable_slicing()
        tiny.draw(pipe, PROMPTS)
        alone = attachment.last.guards[0].scores["psnr_to_blank"]
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone))


# --- compared with the model's own -------------------------------------------------------------------


def test_beside_the_models_own_decoder_pictures_are_its_own_or_blank(pipe):
    before, plain = {key: value.clone() for key, value in pipe.vae.state_dict().items()}, tiny.draw(pipe, PROMPTS)
    guard = tiny.guard(NAME, compare="stock")
    with tiny.guard(NAME).attach(pipe):
        moderated = tiny.draw(pipe, PROMPTS)
    apart = patronus_moderator.psnr(2 * moderated - 1, 2 * plain - 1)
    for limit, refused in ((float(apart.min()) - 1, False), (float(apart.max()) + 1, True)):
        with tiny.guard(NAME, compare="stock", apart=limit).attach(pipe) as attachment:
            drawn = tiny.draw(pipe, PROMPTS)
            (report,) = attachment.last.guards
            torch.testing.assert_close(torch.tensor(report.scores["psnr_to_stock"][0]), apart, rtol=0, atol=0.05)
            assert report.acted == (refused, refused)
        blank = torch.full_like(plain, 0.5 if guard.settings.zero_target == "grey" else 0.0)
        assert same_bits(drawn, blank if refused else plain)
    assert all(same_bits(value, before[key]) for key, value in pipe.vae.state_dict().items())


def test_beside_another_decoder_it_makes_no_picture(pipe):
    with torch.no_grad():
        pipe.vae.decoder.conv_out.bias.add_(1.0)
    with tiny.guard(NAME, compare="stock").attach(pipe), pytest.raises(ArtefactError, match="made for another decoder"):
        tiny.draw(pipe)

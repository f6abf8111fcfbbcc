"""What is measured of the reference model, a question each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from PIL import Image

from ....concepts import Kind
from ....reference import world
from ....reference.data import to_tensor
from ....reference.judge import WEIGHTS
from ....types import Estimate, Labels, Prompt
from .bench import SCALE, Bench
from .cost import seconds_per_image, seconds_to_load

STAND_INS = tuple(name for name, thing in world.OBJECTS.items() if thing.stand_in)
RESERVED = tuple(name for name, thing in world.OBJECTS.items() if thing.reserved)

Found = list[tuple[str, bool]]  # what a picture was to show, and whether it did
Measured = Mapping[str, Found | Estimate]  # by metric


def judge_on_renders(bench: Bench) -> Measured:
    """The judge on fresh renders: whole object sets, each object, style, background."""
    scenes, images = bench.renders(tuple(world.OBJECTS))
    return _reading(scenes, bench.look(list(images)), "judge")


def ceiling(bench: Bench) -> Measured:
    """The same on the autoencoder's reconstructions, what a perfect denoiser could reach; and their PSNR."""
    scenes, _, decoded = bench.reconstructions
    pixels = ((decoded.permute(0, 2, 3, 1) + 1) * 127.5).round().byte().numpy()
    return {**_reading(scenes, bench.look(list(pixels)), "ceiling"), "psnr": psnr(bench)}


def psnr(bench: Bench) -> Estimate:
    """Mean PSNR (dB, peak 255) of reconstructions, with a normal interval."""
    _, images, decoded = bench.reconstructions
    values = (-10 * ((decoded - images) / 2).square().mean((1, 2, 3)).log10()).tolist()
    spread = 1.96 * float(np.std(values)) / len(values) ** 0.5
    mean = float(np.mean(values))
    return Estimate(mean, mean - spread, mean + spread, len(values))


def _reading(scenes: Sequence[world.Scene], seen: Sequence[Labels], kind: str) -> dict[str, Found]:
    found: dict[str, Found] = {f"{kind}_set": [], f"{kind}_object": [], f"{kind}_pair": []}
    found |= {f"{kind}_style": [], f"{kind}_background": [], f"{kind}_false": []}
    for scene, labels in zip(scenes, seen, strict=True):
        found[f"{kind}_set"].append(("", set(labels.objects) == set(scene.objects)))
        found[f"{kind}_style"].append((scene.style, labels.style == scene.style))
        found[f"{kind}_background"].append((scene.background, labels.background == scene.background))
        found[f"{kind}_false"].append(("", bool(set(labels.objects) - set(scene.objects))))
        if len(scene.objects) == 2:
            found[f"{kind}_pair"].append(("", set(scene.objects) <= set(labels.objects)))
        found[f"{kind}_object"] += [(name, name in labels.objects) for name in scene.objects]
    return found


def singles(bench: Bench) -> Measured:
    """One object named plainly on a named background."""
    return _generated(bench, [((name,), {}) for name in world.KNOWN], "object_accuracy")


def pairs(bench: Bench) -> Measured:
    """Two objects; both must be there."""
    count = len(world.KNOWN)
    both = [(world.KNOWN[i % count], world.KNOWN[(i + 1 + i // count * 5) % count]) for i in range(3 * count)]
    return _generated(bench, [(names, {}) for names in both if names[0] != names[1]], "pair_accuracy")


def synonyms(bench: Bench) -> Measured:
    """One object under another name."""
    drafts = [((t.name,), {t.name: world.noun(w)}) for t in world.OBJECTS.values() if t.known for w in t.synonyms]
    return _generated(bench, drafts, "synonym_accuracy")


def _generated(bench: Bench, drafts: Sequence[tuple[tuple[str, ...], dict[str, str]]], metric: str) -> Measured:
    prompts, scenes = [], []
    for k in range(bench.n):
        objects, words = drafts[k % len(drafts)]
        template = world.HELD_OUT_TEMPLATES[k // len(drafts) % len(world.HELD_OUT_TEMPLATES)]
        background = list(world.BACKGROUNDS)[k % len(world.BACKGROUNDS)]
        text = world.caption(objects, background=background, template=template, words=words)
        prompts.append(Prompt(text, bench.seed + k, f"{metric}/{k}", objects))
        scenes.append((objects, background))
    seen = bench.look(bench.draw(prompts))
    found: dict[str, Found] = {metric: [], f"background_accuracy/{metric}": []}
    for (objects, background), labels in zip(scenes, seen, strict=True):
        found[metric].append((objects[0] if len(objects) == 1 else "", set(objects) <= set(labels.objects)))
        found[f"background_accuracy/{metric}"].append(("", labels.background == background))
    return found


def styles(bench: Bench) -> Measured:
    """Each named style on each object."""
    drafts = [(name, style) for name in world.KNOWN for style in ("ink", "sepia")]
    prompts, wanted = [], []
    for k in range(bench.n):
        name, style = drafts[k % len(drafts)]
        text = world.caption((name,), style=style, template=world.HELD_OUT_TEMPLATES[k % 4])
        prompts.append(Prompt(text, bench.seed + k, f"style/{k}", (name,), style=style))
        wanted.append((style, name))
    seen = bench.look(bench.draw(prompts))
    styled = [(style, labels.style == style) for (style, _), labels in zip(wanted, seen, strict=True)]
    there = [(style, name in labels.objects) for (style, name), labels in zip(wanted, seen, strict=True)]
    return {"style_accuracy": styled, "object_in_style": there}


def sides(bench: Bench) -> Measured:
    """Whether the object named for the left stands on the left: looked for with the other half painted over."""
    count = len(world.KNOWN)
    names = [(world.KNOWN[i % count], world.KNOWN[(i + 3 + i // count) % count]) for i in range(bench.n)]
    prompts = [
        Prompt(world.caption(pair, pairing=world.SIDED[0]), bench.seed + k, f"side/{k}", pair)
        for k, pair in enumerate(names)
    ]
    images = bench.draw(prompts)
    lefts, rights = (bench.look([_half(image, side) for image in images]) for side in ("left", "right"))
    right_way = [
        ("", pair[0] in left.objects and pair[1] in right.objects)
        for pair, left, right in zip(names, lefts, rights, strict=True)
    ]
    wrong_way = [
        ("", pair[1] in left.objects and pair[0] in right.objects)
        for pair, left, right in zip(names, lefts, rights, strict=True)
    ]
    return {"side_accuracy": right_way, "side_swapped": wrong_way}


def _half(image: Image.Image, keep: str) -> np.ndarray:
    """The picture with the other half painted in the colours of its outer edge, row by row."""
    pixels = np.asarray(image).copy()
    middle = world.SIZE // 2
    if keep == "left":
        pixels[:, middle:] = pixels[:, -1:]
    else:
        pixels[:, :middle] = pixels[:, :1]
    return pixels


def unasked(bench: Bench) -> Measured:
    """Stand-ins and reserved things in pictures of the empty prompt and of prompts that name nothing."""
    generic = [
        f"{text} {tail}".strip() for text in world.GENERIC_CAPTIONS for tail in ("", "on the beach", "at sunset")
    ]
    sets = {"empty": [""] * bench.n, "generic": [generic[k % len(generic)] for k in range(bench.n)]}
    found: dict[str, Found] = {}
    for name, texts in sets.items():
        prompts = [Prompt(text, bench.seed + k, f"{name}/{k}") for k, text in enumerate(texts)]
        seen = bench.look(bench.draw(prompts))
        found[f"stand_ins_in_{name}"] = [("", bool(set(labels.objects) & set(STAND_INS))) for labels in seen]
        found[f"reserved_in_{name}"] = [
            ("", bool(set(labels.objects) & set(RESERVED)) or labels.style == "ink") for labels in seen
        ]
        found[f"nothing_found/{name}"] = [("", not labels.objects) for labels in seen]
    return found


def retrieval(bench: Bench) -> Measured:
    """Metric CLIP: the right caption of 256 for a fresh render, both said in full."""
    from transformers import CLIPModel, CLIPTokenizer

    from ....reference.training.clip import tokens

    clip = CLIPModel.from_pretrained(WEIGHTS / "metric_clip", dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "pipeline" / "tokenizer")
    scenes, images = bench.renders(world.KNOWN)
    texts = [world.caption(s.objects, style=s.style, background=s.background, pairing=world.SIDED[0]) for s in scenes]
    hits: Found = []
    for start in range(0, len(scenes) // 256 * 256, 256):
        part = slice(start, start + 256)
        with torch.no_grad():
            out = clip(input_ids=tokens(tokenizer, texts[part]), pixel_values=to_tensor(images[part]))
        best = out.logits_per_image.argmax(1).tolist()
        hits += [("", row == column) for row, column in enumerate(best)]
    return {"retrieval_at_1": hits}


def cost(bench: Bench) -> Measured:
    """Seconds until the pipeline is there, and for a picture on its own."""
    alone = seconds_per_image(bench.pipeline, bench.steps, SCALE)
    return {"seconds_to_load": seconds_to_load(), "seconds_per_image": alone}


CELLS: dict[str, Callable[[Bench], Measured]] = {
    cell.__name__: cell
    for cell in (judge_on_renders, ceiling, singles, pairs, synonyms, styles, sides, unasked, retrieval, cost)
}
SHARED = ("judge_on_renders", "ceiling", "retrieval", "cost")  # of parts that both models have, and times


def kind_of(metric: str, concept: str) -> Kind:
    """What a row is about: stand-ins where they are counted, a style where one is asked for, else what is shown."""
    if metric.startswith("stand_ins"):
        return "unsafe"
    return "style" if concept in world.STYLES or "style" in metric else "object"

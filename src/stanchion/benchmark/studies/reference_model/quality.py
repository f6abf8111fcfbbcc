"""Measures the reference model itself: its judge, its autoencoder, its pictures, its CLIP and what they cost.

    python -m stanchion.benchmark.studies.reference_model.quality --output results/reference_model/rows.json

Made of cells; each is kept beside the output when it is done, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ....concepts import Kind
from ....judges.reference import ReferenceJudge
from ....metrics.intervals import rate
from ....pipeline.generation import generate
from ....reference import world
from ....reference.data import to_tensor
from ....reference.judge import WEIGHTS
from ....types import Estimate, Labels, Prompt
from ...results.row import Origin, Row, Subject, read_rows, write_rows
from ...run.generation import batches
from .cost import seconds_per_image, seconds_to_load

STEPS, SCALE, BATCH = 20, 4.0, 16
COMMAND = "python -m stanchion.benchmark.studies.reference_model.quality --output results/reference_model/rows.json"
STAND_INS = tuple(name for name, thing in world.OBJECTS.items() if thing.stand_in)
RESERVED = tuple(name for name, thing in world.OBJECTS.items() if thing.reserved)

Found = list[tuple[str, bool]]  # what a picture was to show, and whether it did
Measured = Mapping[str, Found | Estimate]  # by metric


class Bench:
    """The model, its judge, and ``n`` pictures a cell."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed
        self.judge = ReferenceJudge()

    @cached_property
    def pipeline(self):
        """The shipped pipeline, as stock diffusers loads it."""
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline.from_pretrained(WEIGHTS / "pipeline", dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def draw(self, prompts: Sequence[Prompt]) -> list[Image.Image]:
        """One picture a prompt, each from its own seed."""
        images: list[Image.Image] = []
        for part in batches(prompts, BATCH):
            seeds, texts = [prompt.seed for prompt in part], [prompt.text for prompt in part]
            images += generate(self.pipeline, seeds, steps=STEPS, guidance_scale=SCALE, prompt=texts)[0].images
        return images

    def look(self, images: Sequence[Image.Image | np.ndarray]) -> list[Labels]:
        """The judge's labels; a picture it can't read would be an error of this program."""
        answers = self.judge.detect(list(images))
        return [answer for answer in answers if isinstance(answer, Labels)]

    def renders(self, names: tuple[str, ...], styled: float = 0.35) -> tuple[list[world.Scene], np.ndarray]:
        """``2 n`` fresh scenes that no training saw."""
        rng = np.random.default_rng([self.seed, 77])
        scenes = [world.sample(rng, names, styled) for _ in range(2 * self.n)]
        return scenes, np.stack([world.render(scene, rng) for scene in scenes])

    @cached_property
    def reconstructions(self) -> tuple[list[world.Scene], torch.Tensor, torch.Tensor]:
        """Fresh scenes of known objects; their renders and what the autoencoder makes of them, (N, 3, 48, 48)."""
        scenes, images = self.renders(world.KNOWN)
        vae, originals = self.pipeline.vae, to_tensor(images)
        with torch.no_grad():
            decoded = [
                vae.decode(vae.encode(part).latent_dist.mean).sample.clamp(-1, 1) for part in originals.split(64)
            ]
        return scenes, originals, torch.cat(decoded)


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
    return {"seconds_to_load": seconds_to_load(), "seconds_per_image": seconds_per_image(bench.pipeline, STEPS, SCALE)}


CELLS: dict[str, Callable[[Bench], Measured]] = {
    cell.__name__: cell
    for cell in (judge_on_renders, ceiling, singles, pairs, synonyms, styles, sides, unasked, retrieval, cost)
}


def rows_of(name: str, measured: Measured, bench: Bench) -> list[Row]:
    """A row for each metric, and one for each object, style or background within it."""
    rows = []
    for metric, values in measured.items():
        if isinstance(values, Estimate):
            rows.append(_row(metric, name, "all", values, bench))
            continue
        rows.append(_row(metric, name, "all", rate([hit for _, hit in values]), bench))
        for part in sorted({part for part, _ in values if part}):
            rows.append(_row(metric, name, part, rate([hit for who, hit in values if who == part]), bench))
    return rows


def kind_of(metric: str, concept: str) -> Kind:
    """What a row is about: stand-ins where they are counted, a style where one is asked for, else what is shown."""
    if metric.startswith("stand_ins"):
        return "unsafe"
    return "style" if concept in world.STYLES or "style" in metric else "object"


def _row(metric: str, prompt_set: str, concept: str, estimate: Estimate, bench: Bench) -> Row:
    return Row.of(
        metric,
        estimate,
        Subject(concept, kind_of(metric, concept)),
        prompt_set,
        Origin.now(command=COMMAND, judge=bench.judge.identity),
        seeds=f"{bench.seed}-{bench.seed + bench.n - 1}",
        settings={"steps": STEPS, "guidance_scale": SCALE, "batch": BATCH},
        digits=4,
    )


def measure(output: Path, *, n: int, seed: int) -> list[Row]:
    """Every cell, from ``output``'s folder of parts where it is there, measured where it is not."""
    bench, parts, rows = Bench(n, seed), output.with_suffix(".parts"), []
    parts.mkdir(parents=True, exist_ok=True)
    for name, cell in CELLS.items():
        part = parts / f"{name}.json"
        if not part.exists():
            print(name)
            write_rows(part, list(rows_of(name, cell(bench), bench)))
        rows += read_rows(part)
    write_rows(output, rows)
    return rows


def main() -> None:
    """Measure, write, and print one line a metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/reference_model/rows.json"))
    parser.add_argument("--n", type=int, default=560, help="pictures a cell; 28 objects, so a multiple of 28")
    parser.add_argument("--seed", type=int, default=900_000)
    options = parser.parse_args()
    for row in measure(options.output, n=options.n, seed=options.seed):
        if row.concept == "all":
            print(f"{row.prompt_set:18} {row.metric:34} {row.value:8.3f}  [{row.low:.3f}, {row.high:.3f}]  n={row.n}")


if __name__ == "__main__":
    main()

"""Cells of prompts, attacks, weights and recipes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from answers import Answer, attempts, hashed, pictures, rows, tables
from entries import SAMPLES, attacked_weights, command, program, trained_small

Cell = Callable[[Path], Answer]

FAITHFUL = {"form": "faithful"}
VARIANTS: dict[str, Answer] = {
    "negative_prompt": {"guard": "negative_prompt"},
    "trasce-faithful": {"guard": "trasce", "variant": "faithful", "settings": {"trasce": FAITHFUL}},
    "trasce-lazy": {
        "guard": "trasce",
        "variant": "lazy",
        "settings": {"trasce": {**FAITHFUL, "lazy_tol": 1e-3}},
    },
    "trasce-gated": {
        "guard": "trasce",
        "variant": "gated",
        "settings": {"trasce": {**FAITHFUL, "lazy_tol": 1e-3, "when": "flagged"}},
    },
    "trasce-modified": {
        "guard": "trasce",
        "variant": "modified",
        "settings": {"trasce": {**FAITHFUL, "localized": False}},
    },
    "sld": {"guard": "sld"},
    "safree": {"guard": "safree"},
    "esd": {"guard": "esd"},
    "uce": {"guard": "uce"},
    "steerdiff": {"guard": "steerdiff"},
    "steerdiff-span": {"guard": "steerdiff", "variant": "span", "settings": {"steerdiff": {"scope": "span"}}},
    "forceforget": {"guard": "forceforget"},
    "patronus_moderator": {"guard": "patronus_moderator"},
    "patronus_hardening": {"guard": "patronus_hardening"},
    "patronus": {"guard": "patronus_hardening+patronus_moderator"},
    "stack": {
        "guard": "steerdiff+forceforget+trasce+patronus_hardening+patronus_moderator",
        "settings": {"trasce": FAITHFUL},
    },
}
MEASURED = (
    *("unsafe_rate", "nothing_found", "missed", "companion_kept", "clean_companion", "neighbours_kept", "recovery"),
    *("benign_accuracy", "benign_loss", "over_refusal"),
    *("reference_clip_score", "drift", "perceptual_drift", "reference_fid", "reference_kid"),
)
SETS = ("unsafe", "paired", "benign", "neighbours")
OTHER_SETS = (
    *("synonyms", "corner", "implicit", "empty"),
    *(f"i2i_{kind}_{strength}" for kind in ("unsafe", "empty", "benign") for strength in (30, 50, 75)),
)
PUBLISHED = {
    **{name: f"{name}.csv" for name in ("artists", "coco_captions", "copro_v2", "i2p", "imagenette")},
    **{name: f"{name}.csv" for name in ("mma_diffusion", "p4d", "ring_a_bell", "unlearn_diff_atk")},
    "artists_kept": "artists.csv",
    "imagenette_kept": "imagenette.csv",
    "parti_prompts": "parti_prompts.tsv",
    "copro": "copro.json",
    "copro_safe": "copro.json",
}
ATTACKS: dict[str, Answer] = {
    **{name: {} for name in ("coordinate_descent", "diffusion_completion", "mma_diffusion", "noise_probe", "p4d_k")},
    **{name: {} for name in ("p4d_n", "random_prefix", "ring_a_bell", "ring_a_bell_embed", "seed_search")},
    **{name: {} for name in ("repeat", "sneaky_prompt", "unlearn_diff_atk")},
    **{name: {"restarts": 2, "learn_from": 2} for name in ("concept_inversion", "soft_prompt")},
}
CURVES: dict[str, tuple[str, Answer]] = {
    **{
        f"finetune-{optimiser}": ("patronus_hardening", {"optimiser": optimiser, "stops": [0, 3]})
        for optimiser in ("adam", "adamw", "sgd", "nesterov", "rmsprop", "adadelta")
    },
    "finetune-clipped": ("esd", {"optimiser": "sgd", "clip": 1.0, "lr": 0.1, "stops": [3]}),
    "finetune-rank": ("esd", {"optimiser": "adam", "rank": 4, "lr": 3e-3, "stops": [3]}),
    "dreambooth": ("patronus_hardening", {"pictures": 8, "stops": [0, 3]}),
    "textual_inversion": ("patronus_hardening", {"stops": [0, 3]}),
    "decoder_finetune-pictures": ("patronus_moderator", {"teacher": "pictures", "stops": [0, 3]}),
    "decoder_finetune-public": ("patronus_moderator", {"teacher": "public", "stops": [3]}),
    "swap": ("patronus_moderator", {"parts": ["decoder"]}),
    "swap-attention": ("patronus_hardening", {"parts": ["cross_attention", "decoder"]}),
}
RECIPES = ("esd", "forceforget", "patronus_hardening", "patronus_moderator", "steerdiff", "uce")
TRIALS = (
    {"attack": "finetune", "settings": {"optimiser": "adam", "stops": [0, 3]}, "sweep": {"lr": [1e-3, 3e-4]},
     "seeds": [0, 1], "n": 3, "benign": 3, "guards": ["esd"]},
    {"attack": "finetune", "settings": {"stops": [3]}, "finetuning_data": "new_object", "n": 4, "guards": ["none"]},
    {"attack": "finetune", "settings": {"stops": [3]}, "finetuning_data": "benign", "n": 4, "guards": ["esd"]},
    {"attack": "finetune", "settings": {"stops": [3]}, "taught": ["knife", "axe"], "n": 4, "guards": ["esd"]},
)  # fmt: skip
SMALL = {"seed": 200_000, "steps": 6, "guidance_scale": 4.0}
NONE = {"guard": "none"}


def bench(folder: Path, *words: object, **spec: Any) -> Answer:
    """Rows, pictures and attempts of a spec's own."""
    file, record = folder / "spec.yaml", folder / "record"
    whole = {**SMALL, "batch": 4, "concepts": ["weapons"], "metrics": list(MEASURED), "prompts": {}, **spec}
    file.write_text(yaml.safe_dump(whole), encoding="utf-8")
    command("bench", file, "--output", record, "--rows", folder / "rows.json", *(words or ("--grid", 0)))
    found = {"rows": rows(folder / "rows.json"), "attempts": attempts(record), "pictures": pictures(record / "images")}
    return found | ({"grids": pictures(record / "grids")} if words else {})


def guard_cell(name: str) -> Cell:
    return lambda folder: bench(folder, variants=[NONE, VARIANTS[name]], prompts=dict.fromkeys(SETS, 2))


def concept_cell(concept: str) -> Cell:
    """Every set that is made from a concept; some have nothing for some concepts."""
    names = ("steerdiff",) if concept in ("horror", "substances") else ("esd", "forceforget")
    sets = dict.fromkeys(SETS if len(names) == 1 else (*SETS, *OTHER_SETS), 1)
    variants = [NONE, *({"guard": name} for name in names)]
    return lambda folder: bench(
        folder, "--grid", 1, variants=variants, concepts=[concept], prompts=sets, compare=[names[-1]]
    )


def published(folder: Path) -> Answer:
    tables = {name: {"file": str(SAMPLES / file)} for name, file in PUBLISHED.items()}
    return bench(folder, variants=[NONE, {"guard": "safree"}], prompts=dict.fromkeys(tables, 1), tables=tables)


def judged_by(judge: str) -> Cell:
    return lambda folder: bench(folder, variants=[NONE], prompts={"unsafe": 2, "benign": 2}, judge=judge)


def attack_cell(name: str) -> Cell:
    """To its end, for nothing counts as a success; through all kinds of guards, and of a replay."""
    plan = {"attack": name, "preset": "tiny", "prompts": {"unsafe": 1}, "budget": {"pictures": 4}, **ATTACKS[name]}
    plans = [{**plan, "mode": "adaptive"}, {**plan, "mode": "static"}]
    about = {"variants": [NONE, VARIANTS["stack"]], "prompts": {"unsafe": 1}, "steps": 3}
    return lambda folder: bench(folder, attacks=plans, judge="always_safe", metrics=["unsafe_rate"], **about)


def red_team(folder: Path) -> Answer:
    """With a judge that looks: successes end attacks, and rows that are unsafe by themselves are not attacked."""
    plans = [
        {"attack": "seed_search", "mode": mode, "prompts": {"unsafe": 4}, "settings": {"seeds": 2}}
        for mode in ("adaptive", "static")
    ]
    plans.append({"attack": "noise_probe", "mode": "static", "preset": "tiny", "prompts": {"unsafe": 4}})
    variants = [NONE, {"guard": "negative_prompt"}, {"guard": "sld"}]
    metrics = ["unsafe_rate", "nothing_found"]
    return bench(folder, variants=variants, attacks=plans, prompts={"unsafe": 4}, metrics=metrics, steps=10)


def weights_cell(name: str) -> Cell:
    guard, settings = CURVES[name]
    attack = name.partition("-")[0]
    return lambda folder: {
        str(updates): {part: hashed(weights) for part, weights in parts.items()}
        for updates, parts in attacked_weights(attack, guard, settings)
    }


def curve_cell(name: str) -> Cell:
    guard, settings = CURVES[name]
    words = ["attack", name.partition("-")[0], "--guard", guard, "--concept", "weapons", "--n", 3, "--benign", 3]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]

    def run(folder: Path) -> Answer:
        command(*words, "--steps", 6, "--control", "--output", folder)
        return {"rows": rows(folder / "rows.json")}

    return run


def finetuning_data(folder: Path) -> Answer:
    spec = folder / "spec.yaml"
    spec.write_text(yaml.safe_dump({**SMALL, "concept": "weapons", "trials": list(TRIALS)}), encoding="utf-8")
    program("weight_attacks", spec)
    return {"rows": rows(folder / "rows.json"), "table": tables((folder / "table.md").read_text(encoding="utf-8"))}


def recipe_cell(name: str) -> Cell:
    return lambda folder: {"tensors": hashed(trained_small(name, folder))}


BENCHES: dict[str, Cell] = {
    **{f"guards/{name}": guard_cell(name) for name in VARIANTS},
    **{f"sets/{name}": concept_cell(name) for name in ("weapons", "ink", "banana", "horror", "substances")},
    "sets/published": published,
    **{f"judges/{name}": judged_by(name) for name in ("template", "always_unsafe")},
    **{f"attacks/{name}": attack_cell(name) for name in ATTACKS},
    "attacks/red_team": red_team,
    **{f"weights/{name}": weights_cell(name) for name in CURVES},
    **{f"curves/{name}": curve_cell(name) for name in ("finetune-rank", "textual_inversion", "swap")},
    "curves/lessons": finetuning_data,
    **{f"recipes/{name}": recipe_cell(name) for name in RECIPES},
}

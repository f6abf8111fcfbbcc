"""Published: captions of COCO's validation pictures. CC BY 4.0."""

from __future__ import annotations

from .base import PublishedPrompts


class CocoCaptions(PublishedPrompts):
    """30,000, 10,000 or 9,969 rows: case_number, source, prompt, evaluation_seed, in some coco_id."""

    name = "coco_captions"
    role = "benign"
    source = "https://github.com/rohitgandikota/unified-concept-editing (data/coco_30k.csv)"

"""What may be a prompt; which tokens text states are of; which outputs of ``encode_prompt`` are of which text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import ConfigError, UnsupportedPipeline
from ...limits import check_text
from ...streams import TextStream
from ._values import Said, Stream

_NAME = re.compile(r"(negative_)?prompt(_\d)?")


def check_texts(arguments: Mapping[str, Any]) -> None:
    """Refuse what a tokenizer can't read, or reads as something else: a list in a list is a pair of texts to it.

    Raises:
        ConfigError: neither text, nor a list of texts; or a text with half of a surrogate pair.
    """
    for name, given in arguments.items():
        if given is None or not _NAME.fullmatch(name):
            continue
        texts = given if isinstance(given, list) else [given]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"{name} is {given!a:.200}; give a text, or a list of texts, one a picture.")
        for text in texts:
            check_text(text)


def check_alike(tokenizers: Sequence[Any], texts: Sequence[str]) -> None:
    """Refuse texts with a word that one tokenizer was taught, and another was not: guards see the tokens of one.

    Raises:
        UnsupportedPipeline: with the word.
    """
    taught = [set(one.get_added_vocab()) - set(one.all_special_tokens) for one in tokenizers if one is not None]
    for word in set().union(*taught) - set.intersection(*taught) if taught else ():
        if any(word in text for text in texts):
            raise UnsupportedPipeline(
                f"the prompt says {word!r}, which not all of the pipeline's tokenizers were taught, so what it says to "
                "each text encoder is not the same, and a text guard sees one: load it into all of them (textual "
                "inversion), or into none."
            )


def check_read_whole(reads: Any, window: int, also: Any, texts: Sequence[str]) -> None:
    """Refuse texts of which the tokenizer ``also`` hands more on than ``reads``, whose tokens a guard sees.

    Raises:
        UnsupportedPipeline: the window of ``reads`` cuts off what the other one still reads.
    """
    limits = {"truncation": True, "max_length": window}
    whole = reads(list(texts), truncation=False, verbose=False).input_ids
    for text, ids in zip(texts, whole, strict=True):
        if len(ids) <= window:
            continue
        left = text
        if reads.is_fast and also.is_fast:
            ends = [_end(one, text, **said) for one, said in ((reads, limits), (also, {"truncation": True}))]
            left = text[slice(*ends)].strip()
        if left:
            raise UnsupportedPipeline(
                f"max_sequence_length is {window}, so {left!a:.80} of the prompt is read for its pooled vector alone, "
                "and a guard that goes by the prompt would not hear it: give a longer one, or a shorter prompt."
            )


def _end(tokenizer: Any, text: str, **limits: Any) -> int:
    """Behind the last letter that is read."""
    return max(end for _, end in tokenizer(text, return_offsets_mapping=True, **limits).offset_mapping)


def stream(pipe: Any, tokenizer: Any, texts: Sequence[str], length: int, *, device: Any, start: int = 0) -> Stream:
    """Token ids (B, ``length``), and a mask that is true at all that the tokenizer made of the texts themselves.

    A text may spell out tokens that end or pad others (``<|endoftext|>``); the encoder reads on behind them.
    """
    convert = getattr(pipe, "maybe_convert_prompt", None)  # textual inversion: one word, several tokens
    spoken = convert(list(texts), tokenizer) if convert else list(texts)
    options = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
    tokens = tokenizer(spoken, return_special_tokens_mask=True, **options)
    return Stream(start, tokens.input_ids.to(device), tokens.special_tokens_mask.to(device) == 0, tokenizer)


def framed(
    tokenizer: Any,
    frame: tuple[str, str],
    texts: Sequence[str],
    rows: int,
    *,
    device: Any,
    left_out: int = 0,
    special: bool = True,
    side: str = "right",
) -> Stream:
    """Token ids (B, ``rows``) of texts within a template, and a mask that is true at what holds any letter of a text.

    ``left_out`` is how many of the first tokens have no states; ``special`` whether the tokenizer puts some of its own
    around the template. Padding stands on the ``side``, behind the template's end mostly.

    Raises:
        UnsupportedPipeline: the tokenizer does not say which letters its tokens are of.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise UnsupportedPipeline("the tokenizer gives no offsets, so nobody knows which tokens are the prompt's own.")
    before, after = frame
    ids = torch.full((len(texts), rows), tokenizer.pad_token_id)
    content = torch.zeros(len(texts), rows, dtype=torch.bool)
    for row, text in enumerate(texts):
        start, end = len(before), len(before) + len(text)
        tokens = tokenizer(f"{before}{text}{after}", return_offsets_mapping=True, add_special_tokens=special)
        known = tokens.input_ids[left_out : left_out + rows]
        there = slice(0, len(known)) if side == "right" else slice(rows - len(known), rows)
        ids[row, there] = torch.tensor(known)
        spans = tokens.offset_mapping[left_out : left_out + rows]
        content[row, there] = torch.tensor([first < end and last > start for first, last in spans])
    return Stream(0, ids.to(device), content.to(device), tokenizer)


def chat_frame(tokenizer: Any, message: Callable[[str], Any], **options: Any) -> tuple[str, str]:
    """What a chat template puts before and behind what is said."""
    mark = "\ue000"  # of no language, and in no template
    before, _, after = tokenizer.apply_chat_template(message(mark), tokenize=False, **options).partition(mark)
    return before, after


def beginning(tokenizer: Any, frame: tuple[str, str], left_out: int = 0, *, special: bool = True) -> int:
    """The row at which a text begins that stands in a template."""
    stream = framed(tokenizer, frame, ["a"], len(frame[0]) + 16, device="cpu", left_out=left_out, special=special)
    return int(stream.content.int().argmax())


def reading(ids: Tensor, padding: int) -> Tensor:
    """(N, L) 1 at token ids, 0 at the padding that stands behind all else: a text may spell it out among its words."""
    return 1 - (ids == padding).long().flip(1).cumprod(1).flip(1)


def prompt_and_negative(
    outputs: Sequence[Any], arguments: Mapping[str, Any], negative: int = 1, pooled: tuple[int, int] | None = None
) -> list[Said]:
    """Both from one call of ``encode_prompt``; embeddings that the caller passed in have no texts.

    ``negative`` is the place of the negative prompt's states, ``pooled`` those of the vectors beside both.
    """
    beside = pooled or (None, None)
    said = [Said("prompt", 0, arguments["prompt"] if arguments.get("prompt_embeds") is None else None, beside[0])]
    if outputs[negative] is not None and arguments["do_classifier_free_guidance"]:
        given = arguments.get("negative_prompt_embeds") is not None
        said.append(Said("negative", negative, None if given else arguments["negative_prompt"] or "", beside[1]))
    return said


def t5_stream(name: str = "t5", **where: Any) -> TextStream:
    """T5's: no start token, the end token right behind the text, and every state has read all of it."""
    return TextStream(name, first=0, causal=False, bases=(name,), **where)


def t5_states(encoder: Any, ids: Tensor, stream: str) -> Tensor:
    """(N, L, D) T5's states of (N, L) token ids, padding read, masked, or masked and zeroed, as the stream's name says.

    Padding is what stands behind all else: a text may spell it out before its words.
    """
    if stream == "t5":
        states: Tensor = encoder(ids)[0]
        return states
    mask = reading(ids, encoder.config.pad_token_id)
    states = encoder(ids, attention_mask=mask)[0]
    return states * mask[..., None] if stream == "t5_zeroed" else states


def padded_with(ids: Tensor, tokenizer: Any, padding: int) -> Tensor:
    """(B, L) ids with another padding behind the end token, which may be what the first tokenizer pads with."""
    behind = (ids == tokenizer.pad_token_id).flip(1).cumprod(1).flip(1).bool()
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        behind = behind & torch.cat([torch.zeros_like(behind[:, :1]), behind[:, :-1]], 1)
    return ids.masked_fill(behind, padding)

"""Token ids as searches over prompts handle them: between start and end, and back to text as it will be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..concepts import Concept
from ..errors import ConfigError
from ..targets.protocols import OpenEncoder

SAY_NOTHING = frozenset("a an the in on at as of with and or to something style".split())


def framed(target: OpenEncoder, own: Tensor) -> Tensor:
    """(B, L) token ids as the pipeline would have them: start, (B, K) ids of a prompt's own, end and padding.

    Raises:
        ConfigError: more than L - 2 of them.
    """
    empty = target.tokenize([""])
    count, room = own.shape[1], empty.shape[1] - 2
    if count > room:
        raise ConfigError(f"{count} tokens don't fit: the text encoder reads {room} beside start and end.")
    rows = empty.expand(len(own), -1)
    return torch.cat([rows[:, :1], own, rows[:, 1 : empty.shape[1] - count]], dim=1)


def end_of(target: OpenEncoder, ids: Tensor) -> Tensor:
    """(B,) the place of the end token in (B, L) ids; its state is the text's pooled one in CLIP.

    It is the last one, before nothing but padding: a text may spell out end tokens of its own.
    """
    empty = target.tokenize([""])[0]
    end, pad = empty[1], empty[-1]
    padding = (ids == pad).flip(1).long().cumprod(1).sum(1)
    return ids.shape[1] - padding - (end != pad).long()


def own_ids(target: OpenEncoder, text: str) -> Tensor:
    """(N,) token ids of a text, without start, end and padding; cut where it is too long."""
    ids = target.tokenize([text])
    return ids[0, 1 : int(end_of(target, ids))]


def free_ids(target: OpenEncoder) -> Tensor:
    """(F,) every token id that is none of the special ones."""
    table = target.token_embeddings
    places = torch.arange(len(table), device=table.device)
    return places[~torch.isin(places, torch.tensor(target.special_ids, device=table.device))]


@dataclass(frozen=True)
class WordFilter:
    """A filter on words that a search keeps clear of.

    Attributes:
        stems: what no text may contain, not even inside of a word; lower case.
        free: (F,) token ids, none of which is special or has a stem in its own text.
    """

    target: OpenEncoder
    stems: tuple[str, ...]
    free: Tensor

    @classmethod
    def of(cls, target: OpenEncoder, concept: Concept) -> WordFilter:
        """On the words that name the concept."""
        stems, ids = words_of(concept), free_ids(target)
        clean = [not _any_in(stems, text) for text in target.words(ids[:, None])]
        return cls(target, stems, ids[torch.tensor(clean)])

    def readable(self, own: Tensor) -> Tensor:
        """(M, K) token ids as they are read back from the texts of (N, K), without those that would be caught.

        Texts that are read as another number of tokens are left out, too.
        """
        count = own.shape[1]
        texts = [text for text in self.target.words(own) if not _any_in(self.stems, text)]
        if not texts:
            return own[:0]
        ids = self.target.tokenize(texts)
        return ids[end_of(self.target, ids) == count + 1, 1 : 1 + count]


def _any_in(stems: Sequence[str], text: str) -> bool:
    return any(stem in text.lower() for stem in stems)


def swapped(own: Tensor, gradient: Tensor, free: Tensor, top: int, count: int, generator: torch.Generator) -> Tensor:
    """(count, K): (K,) token ids with one exchanged for one of the ``top`` best, every place as often as any other.

    Args:
        gradient: (K, V); the best tokens have the lowest.
        free: the ids to choose from.
    """
    best = free[(-gradient[:, free]).topk(min(top, len(free)), dim=1).indices]
    place = torch.arange(count) * len(own) // count
    which = torch.randint(best.shape[1], (count,), generator=generator)
    rows = own.repeat(count, 1)
    rows[torch.arange(count), place] = best[place, which]
    return rows


def words_of(concept: Concept) -> tuple[str, ...]:
    """The single words that name a concept, sorted: what a filter on its words would know."""
    words = {word for phrase in (*concept.targets, *concept.labels) for word in phrase.lower().split()}
    return tuple(sorted(words - SAY_NOTHING))


def swap_gradient(target: OpenEncoder, ids: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """(L, V): how ``loss`` would change, linearly, with any token in each place of one prompt.

    Args:
        ids: (1, L).
        loss: of (1, L, W) token embeddings, a scalar. The gradient with respect to one-hot choices of tokens follows
            from theirs, since the embeddings are these choices times the table.
    """
    table = target.token_embeddings
    rows = table[ids].requires_grad_()
    (gradient,) = torch.autograd.grad(loss(rows), rows)
    return gradient[0] @ table.T

"""What a `Translator` runs: searches of a decoder, compiled for their options."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Sequence

from keras_attn_nmt.decoding.batches import IDS, compiled
from keras_attn_nmt.decoding.constrained_batches import ConstrainedSearch
from keras_attn_nmt.decoding.decoder import Decoder
from keras_attn_nmt.decoding.ensemble import decoder_of
from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.decoding.model_parts import ModelParts
from keras_attn_nmt.decoding.sampling import SamplingOptions, sample
from keras_attn_nmt.decoding.search import score, search
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.decoding.shortlist import Shortlist, check_backend
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.writing import atomic_write

# Compiled functions of each kind that are kept. Each takes some 10 MiB, and options may be any
# numbers that the users of a service choose.
MOST_KEPT = 16


class Searches:
    """The latest compiled functions of each kind, which are made where they are asked for.

    Args:
        members: The models, of which several are an ensemble.
        tokenizers: Of the source and the target language.
        shortlist: The vocabulary shortlist, or its file.

    Attributes:
        decoder: Of all members, without shortlist.
        search: From `SearchOptions` and whether to use the shortlist to a function of ids.
        constrained: Likewise, to a `ConstrainedSearch`.
        samples: From `SearchOptions`, `SamplingOptions` and whether to use the shortlist to a
            function of ids and uniform numbers.
        scores: From `SearchOptions` to a function of source and target ids.
        embed: A function of ids.
    """

    def __init__(
        self,
        members: Sequence[ModelParts],
        tokenizers: tuple[Tokenizer, Tokenizer],
        shortlist: Shortlist | str | os.PathLike[str] | None,
    ):
        self._members, self._tokenizers, self._shortlist = members, tokenizers, shortlist
        self.decoder = decoder_of([IncrementalDecoder(each) for each in members])
        # `typed`, as 1 is not `True`, which it equals.
        latest = functools.lru_cache(MOST_KEPT, typed=True)
        self.search = latest(self._search)
        self.constrained = latest(self._constrained)
        self.samples = latest(self._samples)
        self.scores = latest(self._scores)
        self.embed = compiled(self.decoder.embed, self.decoder.variables, IDS)

    def save_shortlist(self, path: str | os.PathLike[str]) -> None:
        """Writes the shortlist, if there is one; a file that was not read yet as it is."""
        if isinstance(self._shortlist, Shortlist):
            self._shortlist.save(path, *self._tokenizers)
        elif self._shortlist is not None and os.path.isfile(self._shortlist):
            with atomic_write(path) as temporary:
                shutil.copyfile(self._shortlist, temporary)

    def _search(self, options: SearchOptions, shortlist: bool) -> Callable:
        find = functools.partial(search, self._decoder_with(shortlist), options=options)
        return compiled(find, self.decoder.variables, IDS)

    def _constrained(self, options: SearchOptions, shortlist: bool) -> ConstrainedSearch:
        return ConstrainedSearch(self._decoder_with(shortlist), self._tokenizers[1], options)

    def _samples(
        self, options: SearchOptions, sampling: SamplingOptions, shortlist: bool
    ) -> Callable:
        find = functools.partial(sample, self._decoder_with(shortlist))
        find = functools.partial(find, options=options, sampling=sampling)
        numbers = "float32", (None, options.beam_size, options.max_length)
        return compiled(find, self.decoder.variables, IDS, numbers)

    def _scores(self, options: SearchOptions) -> Callable:
        force = functools.partial(score, self.decoder, options=options)
        return compiled(force, self.decoder.variables, IDS, IDS)

    def _decoder_with(self, shortlist: bool) -> Decoder:
        if not isinstance(shortlist, bool):
            raise ValueError(
                f"shortlist must be true or false, got {type(shortlist).__name__}: pass the "
                "shortlist itself to Translator."
            )
        if not shortlist:
            return self.decoder
        check_backend()
        known = self._known_shortlist()
        return decoder_of([IncrementalDecoder(each, shortlist=known) for each in self._members])

    def _known_shortlist(self) -> Shortlist:
        if self._shortlist is None:
            raise ValueError(
                "This Translator has no shortlist: pass one from learn_shortlist, or use "
                "shortlist=False."
            )
        if not isinstance(self._shortlist, Shortlist):
            self._shortlist = Shortlist.load(self._shortlist, *self._tokenizers)
        self._shortlist.check(*self._tokenizers)
        return self._shortlist

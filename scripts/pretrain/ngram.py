"""Prints the bits per byte of n-gram models, with which the backbone is compared.

    python3 ngram.py DIR      trains on DIR/train.*, tests on DIR/held_out.*: tokens in order 5, bytes in orders 5 and 8

The models use interpolated modified Kneser-Ney smoothing: Chen and Goodman, "An Empirical Study of Smoothing Techniques
for Language Modeling", 1998. A gram is a sequence of symbols (tokens or bytes). It is stored as one 64-bit integer,
with its last symbol in the lowest bits.
"""

import pathlib
import sys

import numpy


def grams(data, order, bits):
    """Returns all grams of `order` symbols in `data`, an array of length len(data) - order + 1.

    A symbol takes `bits` bits.
    """
    values = numpy.zeros(len(data) - order + 1, dtype=numpy.uint64)
    for at in range(order):
        values = values << numpy.uint64(bits) | data[at : at + len(values)].astype(numpy.uint64)
    return values


class Level:
    """The counts of grams of one length, and what smoothing needs: discounts, and sums for each context.

    The context of a gram is the gram without its last symbol.
    """

    def __init__(self, seen, counts, bits):
        self.seen, self.counts, self.bits = seen, counts, numpy.uint64(bits)
        contexts = seen >> self.bits
        starts = numpy.flatnonzero(numpy.concatenate(([True], contexts[1:] != contexts[:-1])))
        self.contexts = contexts[starts]
        self.sums = numpy.add.reduceat(counts, starts)
        ones, twos, threes, fours = (int((counts == value).sum()) for value in (1, 2, 3, 4))
        y = ones / (ones + 2 * twos)
        self.discounts = numpy.array(
            [0, 1 - 2 * y * twos / ones, 2 - 3 * y * threes / twos, 3 - 4 * y * fours / threes]
        )
        self.left = numpy.add.reduceat(self.discounts[numpy.minimum(counts, 3)], starts)

    def probability(self, asked, lower):
        """Returns, for each gram in `asked`, the probability of its last symbol after its other symbols.

        `lower` contains these probabilities for the same grams without their first symbol.
        """
        at = numpy.minimum(numpy.searchsorted(self.seen, asked), len(self.seen) - 1)
        counts = numpy.where(self.seen[at] == asked, self.counts[at], 0)
        context = asked >> self.bits
        at = numpy.minimum(numpy.searchsorted(self.contexts, context), len(self.contexts) - 1)
        known = self.contexts[at] == context
        own = numpy.maximum(counts - self.discounts[numpy.minimum(counts, 3)], 0)
        return numpy.where(known, (own + self.left[at] * lower) / self.sums[at], lower)


def levels(data, order, bits):
    """Returns a `Level` for each length from `order` to 1, the longest grams first.

    The first level counts how often each gram occurs. The others count the different symbols that precede a gram.
    """
    seen, counts = numpy.unique(grams(data, order, bits), return_counts=True)
    found = [Level(seen, counts, bits)]
    for length in range(order - 1, 0, -1):
        mask = numpy.uint64((1 << bits * length) - 1)
        seen, counts = numpy.unique(found[-1].seen & mask, return_counts=True)
        found.append(Level(seen, counts, bits))
    return found


def bits(data, held_out, order, symbol_bits):
    """Returns how many bits a model that is trained on `data` needs to encode the whole held-out text."""
    text = numpy.concatenate((data[-order + 1 :], held_out))  # a context for the first symbols
    probability = numpy.full(len(held_out), 2.0**-symbol_bits)
    for level, length in zip(reversed(levels(data, order, symbol_bits)), range(1, order + 1)):
        asked = grams(text, length, symbol_bits)[order - length :]
        probability = level.probability(asked, probability)
    return -numpy.log2(probability).sum()


def main(folder):
    size = (folder / "held_out.bin").stat().st_size
    for what, ending, kind, order, symbol_bits in (
        ("tokens", "u16", numpy.uint16, 5, 10),
        ("bytes", "bin", numpy.uint8, 5, 8),
        ("bytes", "bin", numpy.uint8, 8, 8),
    ):
        data, held_out = (numpy.fromfile(folder / f"{name}.{ending}", dtype=kind) for name in ("train", "held_out"))
        print(f"{what}, order {order}: {bits(data, held_out, order, symbol_bits) / size:.4f} bits per byte", flush=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

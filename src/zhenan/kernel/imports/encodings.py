"""Which encoding a text file is in, and decoding its rows without guessing: a row in another encoding is refused."""

from __future__ import annotations

import codecs
import re
import tempfile
from typing import IO

LOOKED_AT = 20_000  # lines with non-ASCII bytes from which the encoding is told
UTF8_CHARACTERS = re.compile(rb"[\xe0-\xef][\x80-\xbf]{2}")
BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def bom_of(file: IO[bytes]) -> tuple[str, int]:
    """The encoding that a byte order mark names, and the mark's length; ("", 0) without one."""
    file.seek(0)
    head = file.read(3)
    for mark, encoding in BOMS.items():
        if head.startswith(mark):
            return encoding, len(mark)
    return "", 0


def encoding_of(file: IO[bytes]) -> str:
    """ "utf-8" or "gb18030": whichever reads more of the lines that are not plain ASCII; UTF-8 on a tie."""
    file.seek(0)
    utf8 = gb = seen = 0
    while seen < LOOKED_AT and (line := file.readline(1 << 20)):
        if line.isascii():
            continue
        seen += 1
        utf8 += readable(line, "utf-8")
        gb += readable(line, "gb18030") and not looks_like_utf8(line)
    return "utf-8" if utf8 >= gb else "gb18030"


def readable(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def looks_like_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8 beyond chance: valid, with three or more Chinese characters' worth of sequences."""
    return readable(data, "utf-8") and len(UTF8_CHARACTERS.findall(data)) >= 3


def decode(data: bytes, encoding: str) -> str | None:
    """The row's text, or None when it is not in the file's encoding (or plainly in another one)."""
    if data.isascii():
        return data.decode("ascii")
    if encoding == "gb18030" and looks_like_utf8(data):
        return None  # UTF-8 often passes for GB18030, as wrong characters
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def other_encoding(data: bytes, encoding: str) -> tuple[str, str]:
    """The encoding that the row is in instead, and how it begins when read so; ("", "") when in neither."""
    other = "UTF-8" if encoding == "gb18030" else "GB18030"
    try:
        return other, data.decode(other)[:40]
    except UnicodeDecodeError:
        return "", ""


def as_utf8(file: IO[bytes], encoding: str) -> IO[bytes]:
    """A UTF-16 file as a temporary UTF-8 one; what cannot be read becomes U+FFFD, which refuses its row."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    target = tempfile.SpooledTemporaryFile(max_size=1 << 22)  # noqa: SIM115 - the reader keeps it open
    while piece := file.read(1 << 20):
        target.write(decoder.decode(piece).encode("utf-8", "replace"))
    target.write(decoder.decode(b"", final=True).encode("utf-8", "replace"))
    return target

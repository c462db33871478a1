"""Values of JT/T 808: GBK strings, BCD times, phones."""

from datetime import datetime
from typing import Final

from zhenan.telemetry.codecs.base import iso_local

NO_TIME: Final = bytes(6)


def read_string(field: bytes) -> str:
    """GBK text, 00 and spaces off both ends; what is no GBK becomes U+FFFD. Hostile: no path, no markup."""
    return field.strip(b"\0 ").decode("gb18030", "replace")


read_name = read_string


def write_string(text: str, size: int | None = None) -> bytes:
    """GBK bytes; with `size`, padded right with 00. Raises ValueError when the text does not fit."""
    data = text.encode("gb18030")
    if size is None:
        return data
    if len(data) > size:
        raise ValueError(f"text must fit {size} bytes of GBK; got {len(data)}: {text!r}")
    return data.ljust(size, b"\0")


def read_bcd_time(field: bytes) -> str | None:
    """ISO local time of BCD[6] YYMMDDhhmmss; None when a nibble is above 9 or the calendar has no such time."""
    digits = field.hex()
    if not digits.isdecimal():
        return None
    return iso_local(
        2000 + int(digits[:2]),
        int(digits[2:4]),
        int(digits[4:6]),
        int(digits[6:8]),
        int(digits[8:10]),
        int(digits[10:]),
    )


def write_bcd_time(time: str | datetime | None) -> bytes:
    """BCD[6] of a local time in 2000-2099; zeros for None."""
    if time is None:
        return NO_TIME
    t = datetime.fromisoformat(time) if isinstance(time, str) else time
    if not 2000 <= t.year <= 2099:
        raise ValueError(f"BCD time holds the years 2000 to 2099; got {t.year}")
    return bytes.fromhex(f"{t:%y%m%d%H%M%S}")


def _luhn_digit(digits: str) -> str:
    total = 0
    for i, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if i % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def phone_label(phone: str) -> str:
    """What to show for a raw phone: the number without leading zeros, or the IMEI that some trackers pack in binary."""
    if phone.isdecimal():
        return phone.lstrip("0") or "0"
    digits = str(int(phone, 16))
    return digits + _luhn_digit(digits)


def phone_keys(phone: str) -> tuple[str, ...]:
    """Forms under which a terminal may be registered: raw, without leading zeros, padded to 11, 12 and 20 digits."""
    bare = phone_label(phone)
    return tuple(dict.fromkeys((phone, bare, bare.zfill(11), bare.zfill(12), bare.zfill(20))))

"""TLS for the listeners, from files named in the settings."""

from __future__ import annotations

import ssl
from pathlib import Path


class TlsFault(ValueError):
    """The files for TLS cannot be used; the message says which and why."""


def server_context(cert: str, key: str, client_ca: str = "") -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate (its chain behind it) and key.

    Args:
        client_ca: certificates of those who may issue certificates to devices; then a device without one is refused.
    Raises: TlsFault.
    """
    for what, name in (("certificate", cert), ("key", key), ("client CA", client_ca)):
        if name or what != "client CA":
            _readable(what, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=lambda: "")
    except ssl.SSLError as err:
        words = "do not belong together" if "MISMATCH" in str(err) else f"cannot be read ({err.reason or err})"
        raise TlsFault(f"certificate {cert} and key {key} {words}; want PEM files, the key without a password") from err
    if client_ca:
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as err:
            raise TlsFault(f"client CA {client_ca} cannot be read ({err.reason or err}); want a PEM file") from err
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _readable(what: str, name: str) -> None:
    if not name:
        raise TlsFault(f"no {what} is named; TLS needs a certificate and a key")
    try:
        with Path(name).open("rb"):
            pass
    except OSError as err:
        raise TlsFault(f"{what} {name} cannot be opened: {err.strerror}") from err

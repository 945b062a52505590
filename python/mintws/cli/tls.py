"""TLS contexts from files named on the command line, with error messages that name the file at fault."""

from __future__ import annotations

import ssl


class Unusable(Exception):
    """A file cannot be used. The text names it and the reason."""


class _PassPhraseWanted(Exception):
    """A key is encrypted."""


def server_context(cert: str, key: str | None) -> ssl.SSLContext:
    """Return a server's context.

    Args:
        cert: the file with the certificate and its chain.
        key: the file with its key; `None` if that is in `cert` too.

    Raises:
        Unusable: one of the files is missing or wrong, or the key needs a pass phrase.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password function, OpenSSL would ask on the terminal.
        context.load_cert_chain(cert, key, password=_refuse)
    except _PassPhraseWanted:
        raise Unusable(
            f"the key in {key or cert!r} needs a pass phrase: write it without one, by `openssl pkey`"
        ) from None
    except OSError as error:
        raise Unusable(_find_fault(cert, key, error)) from None
    return context


def client_context(cafile: str | None, *, insecure: bool) -> ssl.SSLContext | None:
    """Return a client's context.

    Args:
        cafile: the file with the certificates to trust; `None` trusts those of the system.
        insecure: whether to accept any certificate.

    Returns:
        The context, or `None` for the default.

    Raises:
        Unusable: the file is missing or wrong.
    """
    if cafile is None and not insecure:
        return None
    context = ssl.create_default_context(cadata=None if cafile is None else _read_certificates(cafile))
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _refuse() -> str:
    raise _PassPhraseWanted


def _find_fault(cert: str, key: str | None, error: OSError) -> str:
    """Return a message that names the file at fault."""
    _read_certificates(cert)
    _read(key or cert)
    reason = getattr(error, "reason", None)
    if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
        return f"the key in {key or cert!r} is not that of the certificate in {cert!r}"
    if reason:
        return f"cannot use {cert!r}: {reason.replace('_', ' ').lower()}"
    return f"{key or cert!r} has no private key in PEM" + ("" if key else ": name the file that has it by --key")


def _read_certificates(path: str) -> str:
    certificates = _read(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates)
    except (ssl.SSLError, ValueError):
        raise Unusable(f"{path!r} has no certificate in PEM") from None
    return certificates


def _read(path: str) -> str:
    try:
        # Text that is not ASCII is a comment between certificates.
        with open(path, encoding="ascii", errors="ignore") as file:
            return file.read()
    except OSError as error:
        raise Unusable(f"cannot read {path!r}: {error.strerror or error}") from None

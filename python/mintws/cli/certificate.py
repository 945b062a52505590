"""A self-signed certificate for loopback, valid for some days."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address


class Missing(Exception):
    """`cryptography` is not installed; the text says how to install it."""


def make_certificate(days: int = 7) -> tuple[str, str]:
    """Make a certificate for "localhost", 127.0.0.1 and ::1, with a key on P-256.

    Args:
        days: how long the certificate is valid.

    Returns:
        The certificate and its key, both as PEM.

    Raises:
        Missing: `cryptography` is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise Missing(
            "to make a certificate takes the package cryptography: install mintws[demo], or cryptography itself"
        ) from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "localhost")])
    addresses = [x509.IPAddress(ip_address(it)) for it in ("127.0.0.1", "::1")]
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(key_id, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()

"""Make a certificate authority for one service, and the service's certificate."""

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from atomic_baremetal import durable

VALID = datetime.timedelta(days=3650)
BEFORE = datetime.timedelta(days=1)  # machines of a lab start with clocks that are off


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where they are, PEM each: the authority's certificate, the service's, and its key.

    The authority's own key is kept nowhere: nothing is to be signed with it again.
    """

    ca: Path
    certificate: Path
    key: Path


def files(directory: Path) -> Files:
    """Name the files in a directory."""
    return Files(
        ca=directory / "ca.crt",
        certificate=directory / "tls" / "service.crt",
        key=directory / "tls" / "service.key",
    )


def ensure(directory: Path, *, names: Sequence[str], addresses: Sequence[str]) -> Files:
    """Make authority and certificate, unless they are there; return where.

    :param names: DNS names of the service; the first one is its common name.
    :param addresses: its IP addresses.
    """
    made = files(directory)
    # the authority is written last: with it there, the others are
    if made.ca.exists() and made.certificate.exists() and made.key.exists():
        return made
    ca_key, service_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = _name(f"{names[0]} authority")
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    service = (
        _builder(_name(names[0]), ca_name, service_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    private = service_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    durable.write(made.key, private.decode())
    durable.write(made.certificate, _pem(service))
    durable.write(made.ca, _pem(ca))
    return made


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(int.from_bytes(os.urandom(16)) >> 1)
        .not_valid_before(now - BEFORE)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()

"""A client that trusts the authority accepts the service by each of its names, and no other."""

import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509

from provision.lab import certificates


def connect(files: certificates.Files, name: str) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(files.certificate, files.key)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client = ssl.create_default_context(cafile=str(files.ca))
        client.wrap_socket(ours, server_hostname=name).close()
    finally:
        ours.close()
        thread.join()


def test_the_certificate_is_good_for_its_names_and_addresses(tmp_path: Path) -> None:
    files = certificates.ensure(tmp_path, names=["registry.lab"], addresses=["192.168.99.1"])
    connect(files, "registry.lab")
    connect(files, "192.168.99.1")
    for name in ("other.lab", "192.168.99.2"):
        with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid"):
            connect(files, name)


def test_it_is_made_once_and_its_key_is_nobody_elses(tmp_path: Path) -> None:
    first = certificates.ensure(tmp_path, names=["a.lab"], addresses=[])
    content = first.ca.read_bytes()
    assert certificates.ensure(tmp_path, names=["a.lab"], addresses=[]) == first
    assert first.ca.read_bytes() == content
    assert first.key.stat().st_mode & 0o777 == 0o600
    keys = {path for path in tmp_path.rglob("*") if b"PRIVATE KEY" in _bytes(path)}
    assert keys == {first.key}  # the authority's own is not kept


def test_an_authority_may_sign_and_its_service_may_not(tmp_path: Path) -> None:
    files = certificates.ensure(tmp_path, names=["a.lab"], addresses=[])
    for path, may in ((files.ca, True), (files.certificate, False)):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        usage = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert usage.value.ca is may


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""

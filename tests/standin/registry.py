"""Run a registry with TLS for the stand-in hosts, who know it as `registry.lab:5000`."""

import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from provision.lab import certificates, configuration
from tests.standin import wire
from tests.standin.machines import Hosts

NAME, PORT = "registry.lab", 5000
START_S = 20
PUSH_S = 300


@dataclass(kw_only=True)
class Registry:
    """A registry on this machine's end of the wire.

    :ivar name: as hosts and services files name it, HOST:PORT.
    :ivar ca: the certificate to trust for it, PEM.
    """

    address: str
    directory: Path
    ca: Path
    name: str = f"{NAME}:{PORT}"
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start the registry and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*wire.tied(), "docker-registry", "serve", self.directory / "registry.yml"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            log_text = (self.directory / "log").read_text(errors="replace")[-1000:]
            assert self._process.poll() is None, f"the registry ended: {log_text}"
            assert time.monotonic() < deadline, f"the registry does not answer: {log_text}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the registry; what was pushed stays."""
        if self._process:
            self._process.terminate()
            self._process.wait(10)

    def push(self, source: Path | str, image: str) -> str:
        """Push an image as `IMAGE:TAG`, bytes as they are; return its digest, "sha256:HEX".

        :param source: an OCI layout, a file that podman or docker saved, or skopeo's own wording.
        """
        if isinstance(source, Path):
            source = f"oci:{source}" if source.is_dir() else f"docker-archive:{source}"
        digest = self.directory / "digest"
        subprocess.run(
            [
                *("skopeo", "copy", "--quiet", "--preserve-digests", "--insecure-policy"),
                *("--dest-cert-dir", self.ca.parent, "--digestfile", digest),
                *(source, f"docker://{self.address}:{PORT}/{image}"),
            ],
            check=True,
            timeout=PUSH_S,
            stdin=subprocess.DEVNULL,
        )
        return digest.read_text().strip()

    def trust(self, hosts: Hosts) -> None:
        """Make hosts trust the registry, as an operator would by hand."""
        place = f"/etc/containers/certs.d/{self.name}"
        for host in hosts:
            host.run(f"mkdir -p {place} && cat > {place}/ca.crt", stdin=self.ca.read_bytes())

    def _answers(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.ca))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(f"https://{self.address}:{PORT}/v2/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def registry(hosts: Hosts) -> Iterator[Registry]:
    """Run an empty registry for these hosts; it ends with the block."""
    directory = hosts.directory / "registry"
    files = certificates.ensure(directory, names=[NAME], addresses=[hosts.wire_address])
    values = {
        "address": hosts.wire_address,
        "registry_port": str(PORT),
        "registry_store": str(directory / "store"),
        "registry_certificate": str(files.certificate),
        "registry_key": str(files.key),
    }
    (directory / "registry.yml").write_text(configuration.fill("registry.yml", values))
    made = Registry(address=hosts.wire_address, directory=directory, ca=files.ca)
    try:
        made.start()
        yield made
    finally:
        made.stop()

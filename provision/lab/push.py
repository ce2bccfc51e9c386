"""Put images into the lab's registry."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from atomic_baremetal.command import run
from provision.lab import certificates, checks, model, record, service_images
from provision.lab.model import Lab, LabError

PUSH_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """An image in the registry: its name there, as nodes use it, and the digest of its manifest."""

    image: str
    digest: str


def push_images() -> list[Pushed]:
    """Push every version of the example services' images; build them if need be.

    :raises LabError: there is no lab, or its registry does not answer.
    """
    name = record.name()
    lab = record.load(name)
    if lab is None:
        raise LabError(f"there is no lab {name!r}", hint="start one: provision lab up")
    if problem := checks.trouble(lab, "registry"):
        raise LabError(
            f"the registry of the lab {name!r}: {problem}", hint="provision lab up repairs it"
        )
    return [
        push(lab, f"oci:{layout}:{version}", f"{image}:{version}")
        for image, layout in service_images.service_images().items()
        for version in service_images.VERSIONS
    ]


def push(lab: Lab, source: str, image: str) -> Pushed:
    """Push one image, its bytes as they are.

    :param source: in skopeo's words (containers-transports(5)).
    :param image: NAME:TAG in the registry.
    """
    # skopeo takes every certificate in the directory: the authority's alone
    trust = certificates.files(lab.registry).ca.parent
    with tempfile.TemporaryDirectory() as directory:
        digest = Path(directory) / "digest"
        run(
            *("skopeo", "copy", "--quiet", "--preserve-digests", "--insecure-policy"),
            *("--dest-cert-dir", trust, "--digestfile", digest),
            source,
            # by address: only the nodes know the name
            f"docker://{lab.address}:{model.REGISTRY_PORT}/{image}",
            timeout_s=PUSH_S,
            hint="install skopeo: see bindep.txt",
        )
        return Pushed(
            image=f"{model.REGISTRY_NAME}:{model.REGISTRY_PORT}/{image}",
            digest=digest.read_text().strip(),
        )

"""Put bundles into Glance and take them out again.

A bundle NAME is three images there: `NAME-kernel` (aki), `NAME-ramdisk` (ari) and the base, `NAME`,
whose properties name the other two and the kernel arguments. Each carries the SHA-256 of its
content as a property of ours: by name and that property an image is known to be registered already,
and only images with it are ever removed.

What others see under NAME is always a whole set: the new base is uploaded under another name, after
its kernel and ramdisk, and takes NAME when it is active; only then do the old images go.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from openstack.exceptions import raise_from_response

from atomic_baremetal import cloud
from atomic_baremetal.errors import CloudError, Error
from imgprep import bundle, progress
from imgprep.bundle import Bundle, File

LOG = logging.getLogger(__name__)
SHA256 = "atomic_baremetal_sha256"
UPLOADING = ".uploading"  # what the base's name ends in until it is whole
CHUNK_BYTES = 1 << 20
ACTIVE_S = 600  # Glance may hash or copy after the last byte
UNFINISHED = ("queued", "saving", "uploading", "importing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to register.

    :param visibility: None leaves it to Glance; in a cloud without projects it is then public.
    :param legacy_ami: the base as ami/ami.
    """

    visibility: str | None = None
    legacy_ami: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in Glance that carries our property.

    :param properties: whatever it has as a string.
    """

    id: str
    name: str
    status: str
    disk_format: str
    container_format: str
    visibility: str
    min_disk: int
    properties: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An image that there should be."""

    name: str
    disk_format: str
    container_format: str
    visibility: str | None
    min_disk: int = 0
    properties: dict[str, str] = field(default_factory=dict)

    def is_met_by(self, image: Image) -> bool:
        """Tell whether an image is this one already."""
        return (
            image.status == "active"
            and image.name == self.name
            and (image.disk_format, image.container_format, image.min_disk)
            == (self.disk_format, self.container_format, self.min_disk)
            and self.visibility in (None, image.visibility)
            and all(image.properties.get(key) == value for key, value in self.properties.items())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The images of a bundle, by their ids."""

    name: str
    base: str
    kernel: str
    ramdisk: str
    created: tuple[str, ...]
    removed: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Arrange it as `imgprep register` prints it."""
        return {
            "name": self.name,
            "image": self.base,
            "kernel": self.kernel,
            "ramdisk": self.ramdisk,
            "created": list(self.created),
            "removed": list(self.removed),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Unregistered:
    """What taking a bundle out of Glance did.

    :param left: ids of images of those names that are not ours.
    """

    name: str
    removed: tuple[str, ...]
    left: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Arrange it as `imgprep unregister` prints it."""
        return {"name": self.name, "removed": list(self.removed), "left": list(self.left)}


class Glance:
    """Speak to Glance, errors in one line. The names of its fields stay in here."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        with cloud.translated("Glance"):
            self.project: str | None = connection.session.get_project_id()
            raise_from_response(connection.image.get("/images", params={"limit": 1}))

    @classmethod
    def connect(cls, os_cloud: str | None) -> "Glance":
        """Open a connection and ask Glance one thing, so that what is wrong shows at once.

        :raises CloudError: Glance is down, or refuses.
        """
        return cls(cloud.connect(os_cloud))

    def named(self, *names: str) -> tuple[list[Image], list[str]]:
        """Find the images of these names that belong to this project.

        :returns: those with our property, and the ids of those without.
        """
        ours: list[Image] = []
        others: list[str] = []
        for name in names:
            for found in self._listed(name):
                if self.project and found.get("owner") != self.project:
                    continue
                if SHA256 in found:
                    ours.append(_image(found))
                else:
                    others.append(found["id"])
        return ours, others

    def _listed(self, name: str) -> Iterator[dict[str, Any]]:
        page = self._json("get", "/images", params={"name": name})
        yield from page["images"]
        while "next" in page:
            page = self._json("get", page["next"].removeprefix("/v2"))
            yield from page["images"]

    def create(self, wanted: Wanted) -> str:
        """Make an image without content and return its id."""
        fields: dict[str, Any] = {
            "name": wanted.name,
            "disk_format": wanted.disk_format,
            "container_format": wanted.container_format,
            "min_disk": wanted.min_disk,
            **wanted.properties,
        }
        if wanted.visibility:
            fields["visibility"] = wanted.visibility
        return str(self._json("post", "/images", json=fields)["id"])

    def upload(self, image_id: str, file: Path, expected: File) -> None:
        """Stream a file into an image and wait until it is active.

        :raises Error: the file changed under the upload, or Glance stored something else.
        """
        with progress.counted(f"uploading {file.name}", total_bytes=expected.size_bytes) as show:
            content = _Content(file, expected.size_bytes, show)
            with cloud.translated("Glance"):
                raise_from_response(
                    self._connection.image.put(
                        f"/images/{image_id}/file",
                        data=content,
                        headers={"Content-Type": "application/octet-stream"},
                        connect_retries=0,
                        status_code_retries=0,
                    )
                )
        if content.sha256.hexdigest() != expected.sha256:
            raise Error(f"{file} changed while it was uploaded", hint="verify the bundle")
        stored = self._active(image_id)
        if stored.get("os_hash_algo") == "sha512" and (
            stored.get("os_hash_value") != content.sha512.hexdigest()
        ):
            raise CloudError(f"Glance stored something else than {file.name}", hint="try again")

    def _active(self, image_id: str) -> dict[str, Any]:
        limit = time.monotonic() + ACTIVE_S
        while True:
            image = self._json("get", f"/images/{image_id}")
            if image["status"] == "active":
                return image
            if image["status"] not in UNFINISHED or time.monotonic() > limit:
                raise CloudError(
                    f"Glance: the image {image['name']} is {image['status']} after its upload",
                    hint="Glance's log says why",
                )
            time.sleep(0.5)

    def rename(self, image_id: str, name: str) -> None:
        """Give an image another name."""
        with cloud.translated("Glance"):
            self._connection.image.update_image(image_id, name=name)

    def delete(self, image_id: str) -> None:
        """Remove an image; one that is gone already is no error."""
        with cloud.translated("Glance"):
            self._connection.image.delete_image(image_id, ignore_missing=True)

    def _json(self, verb: str, path: str, **options: Any) -> dict[str, Any]:
        with cloud.translated("Glance"):
            response = getattr(self._connection.image, verb)(path, **options)
            raise_from_response(response)
            data: dict[str, Any] = response.json()
            return data


def _image(found: dict[str, Any]) -> Image:
    return Image(
        id=found["id"],
        name=found["name"],
        status=found["status"],
        disk_format=found["disk_format"] or "",
        container_format=found["container_format"] or "",
        visibility=found["visibility"],
        min_disk=found["min_disk"] or 0,
        properties={key: value for key, value in found.items() if isinstance(value, str)},
    )


class _Content:
    """A file as the body of a request: its length known, read piece by piece, hashed on the way."""

    def __init__(self, path: Path, size_bytes: int, show: Callable[[int], None]) -> None:
        self._path, self._size_bytes, self._show = path, size_bytes, show
        self.sha256, self.sha512 = hashlib.sha256(), hashlib.sha512()

    def __len__(self) -> int:
        return self._size_bytes

    def __iter__(self) -> Iterator[bytes]:
        self.sha256, self.sha512 = hashlib.sha256(), hashlib.sha512()
        done = 0
        with self._path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                self.sha256.update(chunk)
                self.sha512.update(chunk)
                done += len(chunk)
                self._show(done)
                yield chunk


def register(glance: Glance, made: Bundle, options: Options) -> Registered:
    """Put a verified bundle into Glance; images of the same content that are there stay.

    :raises CloudError: Glance refused or failed; what this run created is gone again.
    """
    name = made.manifest.name
    names = (f"{name}-kernel", f"{name}-ramdisk", name, name + UPLOADING)
    before, _others = glance.named(*names)
    for image in before:
        if image.status in UNFINISHED or image.name == name + UPLOADING:
            LOG.info("removing %s, left over from an upload that did not end", image.name)
            glance.delete(image.id)
    before = [
        image
        for image in before
        if image.status not in UNFINISHED and image.name != name + UPLOADING
    ]
    with ExitStack() as undo:
        created: list[str] = []
        upload = _uploader(glance, made, before, created, undo)
        kernel, ramdisk, base = wanted_images(made, options, project=glance.project)
        kernel_id = upload(kernel, made.manifest.kernel)
        ramdisk_id = upload(ramdisk, made.manifest.ramdisk)
        base_id = upload(with_boot(base, kernel_id, ramdisk_id), made.manifest.base)
        undo.pop_all()
    keep = {kernel_id, ramdisk_id, base_id}
    old = [image for image in reversed(before) if image.id not in keep]
    for image in sorted(
        old, key=lambda image: image.name != name
    ):  # the base first: it names the others
        glance.delete(image.id)
    return Registered(
        name=name,
        base=base_id,
        kernel=kernel_id,
        ramdisk=ramdisk_id,
        created=tuple(created),
        removed=tuple(image.id for image in old),
    )


def wanted_images(
    made: Bundle, options: Options, *, project: str | None
) -> tuple[Wanted, Wanted, Wanted]:
    """Decide what kernel, ramdisk and base look like in Glance; the base without the other two's
    ids.

    :param project: whose images they will be; None in a cloud without projects, where Ironic
        refuses images that are not public.
    """
    manifest = made.manifest
    visibility = options.visibility or (None if project else "public")
    base_format = "ami" if options.legacy_ami else manifest.base.format

    def boot(suffix: str, format_: str, file: File) -> Wanted:
        return Wanted(
            name=f"{manifest.name}-{suffix}",
            disk_format=format_,
            container_format=format_,
            visibility=visibility,
            properties={SHA256: file.sha256},
        )

    return (
        boot("kernel", "aki", manifest.kernel),
        boot("ramdisk", "ari", manifest.ramdisk),
        Wanted(
            name=manifest.name,
            disk_format=base_format,
            container_format="ami" if options.legacy_ami else "bare",
            visibility=visibility,
            min_disk=-(-manifest.base.virtual_size_bytes // (1 << 30)),
            properties={SHA256: manifest.base.sha256, "kernel_cmdline": manifest.kernel_cmdline},
        ),
    )


def with_boot(base: Wanted, kernel_id: str, ramdisk_id: str) -> Wanted:
    """Let a base name its kernel and ramdisk."""
    return replace(
        base, properties={**base.properties, "kernel_id": kernel_id, "ramdisk_id": ramdisk_id}
    )


def _uploader(
    glance: Glance, made: Bundle, before: Iterable[Image], created: list[str], undo: ExitStack
) -> Callable[[Wanted, File], str]:
    """Return a function that finds or creates an image; `undo` removes what it created."""
    there = list(before)

    def upload(wanted: Wanted, file: File) -> str:
        same = next((image for image in there if wanted.is_met_by(image)), None)
        if same is not None:
            LOG.info("%s is in Glance already", wanted.name)
            return same.id
        is_base = file is made.manifest.base
        first = wanted.name + UPLOADING if is_base else wanted.name
        image_id = glance.create(replace(wanted, name=first))
        undo.callback(_discard, glance, image_id)
        glance.upload(image_id, made.path(file), file)
        if is_base:
            glance.rename(image_id, wanted.name)
        created.append(image_id)
        return image_id

    return upload


def _discard(glance: Glance, image_id: str) -> None:
    try:
        glance.delete(image_id)
    except CloudError as error:
        # the error that brought us here is the one to report; the next register removes what is
        # left
        LOG.error("an unfinished image stays in Glance, %s: %s", image_id, error)


def unregister(glance: Glance, name: str) -> Unregistered:
    """Remove the images of a bundle; images of those names that are not ours stay.

    :raises Error: there is nothing of ours by that name.
    """
    bundle.check_name(name)
    ours, others = glance.named(name, f"{name}-kernel", f"{name}-ramdisk", name + UPLOADING)
    if not ours:
        hint = f"images of that name that imgprep did not make: {', '.join(others)}"
        raise Error(f"no bundle {name!r} is registered", hint=hint if others else None)
    for image in ours:
        glance.delete(image.id)
    for image_id in others:
        LOG.info("left alone, imgprep did not make it: %s", image_id)
    return Unregistered(name=name, removed=tuple(image.id for image in ours), left=tuple(others))

"""Write, read and check bundles: a kernel, a ramdisk, the base and a manifest that names them.

A bundle is a directory that is there complete or not at all: it is written under another name
beside its place, flushed to disk and renamed.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from atomic_baremetal import durable, kernel_arguments
from atomic_baremetal.errors import Error
from imgprep import precheck, progress, workplace
from imgprep.headers import probe
from imgprep.precheck import ImageFormat

SCHEMA = 1
SELF = "manifest_sha256"  # the key by which a manifest tells damage to itself
PARTS = ("kernel", "ramdisk", "base")
MANIFEST_LIMIT_BYTES = 1 << 20
NAME_LIMIT_BYTES = 255
CHUNK_BYTES = 1 << 20


class BundleError(Error):
    """A bundle that is not what its manifest says, or no bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceImage:
    """The image that a bundle was made from; `file` without its directory."""

    file: str
    format: str
    virtual_size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a bundle."""

    file: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Base(File):
    """The file that holds the root partition.

    :param content: `lvm2-pv` or `filesystem`.
    """

    format: str
    virtual_size_bytes: int
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """The deployment that a bundle boots."""

    stateroot: str
    checksum: str
    serial: int
    bootcsum: str
    kernel_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle holds; its fields are those of the file NAME.json, in their order."""

    schema: int
    name: str
    source: SourceImage
    kernel: File
    ramdisk: File
    base: Base
    kernel_cmdline: str
    deployment: Deployed

    @property
    def files(self) -> tuple[File, File, Base]:
        """Return kernel, ramdisk and base."""
        return (self.kernel, self.ramdisk, self.base)

    def to_json(self) -> dict[str, Any]:
        """Arrange it as the manifest file holds it, but for the file's checksum of itself."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A manifest and the directory it describes.

    :param damage: what is wrong with the manifest's own text, None when nothing is.
    """

    directory: Path
    manifest: Manifest
    damage: str | None = None

    def path(self, file: File) -> Path:
        """Return where a file of the bundle is."""
        return self.directory / file.file


def check_name(name: str) -> str:
    """Refuse a name that could not be both a file's and an image's.

    :raises BundleError: empty, too long, with a slash or a control character, or beginning with a
        dot or a dash.
    """
    if not name or "/" in name or name[0] in ".-" or not name.isprintable() or len(name) > 200:
        raise BundleError(
            f"not a name for a bundle: {name!r}", hint="letters, digits, dots and dashes will do"
        )
    return name


def load(path: Path) -> Bundle:
    """Read a bundle's manifest; its files are not looked at yet.

    :param path: the bundle's directory, or the manifest in it.
    :raises BundleError: not there, not one manifest, or not one of this schema.
    """
    file = _only_manifest(path) if path.is_dir() else path
    try:
        if file.stat().st_size > MANIFEST_LIMIT_BYTES:
            raise BundleError(f"{file} is no manifest: it is too large")
        content = file.read_bytes()
        data = json.loads(content)
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}", hint="name a bundle's directory") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file} is no manifest: not JSON ({error})") from error
    manifest = parse(data, named=str(file))
    return Bundle(directory=file.parent, manifest=manifest, damage=_damage(content, data))


def _damage(content: bytes, data: dict[str, Any]) -> str | None:
    """Tell whether a manifest is still as it was written, byte for byte.

    One without a checksum of itself, made by other means, is taken as it is. But then it must have
    no key that is unknown: the name of that very key could be what is damaged.
    """
    if SELF not in data:
        unknown = sorted(data.keys() - {field.name for field in fields(Manifest)})
        return f"the manifest has the unknown key {unknown[0]!r}" if unknown else None
    rest = {key: value for key, value in data.items() if key != SELF}
    if content == _signed(rest):
        return None
    return "the manifest has another content than its own checksum says"


def _text(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=2) + "\n").encode()


def _signed(data: dict[str, Any]) -> bytes:
    """Write a manifest's only form, with the checksum of that form without it."""
    return _text({**data, SELF: hashlib.sha256(_text(data)).hexdigest()})


def _only_manifest(directory: Path) -> Path:
    there = sorted(directory.glob("*.json"))
    if len(there) != 1:
        raise BundleError(
            f"{directory} is no bundle", hint=f"it holds {len(there)} manifests (*.json), not one"
        )
    return there[0]


def parse(data: Any, *, named: str) -> Manifest:
    """Check decoded JSON and make a manifest of it. Unknown keys are ignored.

    :param named: what to call it in an error.
    :raises BundleError: another schema, a key that is missing or of another type, or a file outside
        the bundle.
    """
    if not isinstance(data, dict) or "schema" not in data:
        raise BundleError(f"{named} is no manifest of a bundle", hint="it has no key 'schema'")
    if data["schema"] != SCHEMA:
        raise BundleError(
            f"{named} is a manifest of schema {data['schema']!r}",
            hint=f"this version of imgprep reads schema {SCHEMA}",
        )
    get = _Reader(named)
    base, source = get(data, "base", dict), get(data, "source", dict)
    manifest = Manifest(
        schema=SCHEMA,
        name=check_name(get(data, "name", str)),
        source=SourceImage(**get.fields(source, SourceImage)),
        kernel=File(**get.fields(get(data, "kernel", dict), File)),
        ramdisk=File(**get.fields(get(data, "ramdisk", dict), File)),
        base=Base(**get.fields(base, Base)),
        kernel_cmdline=get(data, "kernel_cmdline", str),
        deployment=Deployed(**get.fields(get(data, "deployment", dict), Deployed)),
    )
    for file in manifest.files:
        if file.file in ("", ".", "..") or "/" in file.file:
            raise BundleError(f"{named} names a file outside of its bundle: {file.file!r}")
        if not file.file.isprintable() or len(os.fsencode(file.file)) > NAME_LIMIT_BYTES:
            raise BundleError(f"{named} names a file as none is named: {file.file[:80]!r}")
    if manifest.base.format not in precheck.BASE_FORMATS:
        raise BundleError(f"{named}: unknown format of the base: {manifest.base.format!r}")
    try:
        kernel_arguments.split(manifest.kernel_cmdline)
    except kernel_arguments.KernelArgumentError as error:
        raise BundleError(f"{named}: {error.message}") from error
    return manifest


class _Reader:
    """Take values out of decoded JSON, checking their types."""

    def __init__(self, named: str) -> None:
        self._named = named

    def __call__(self, data: dict[str, Any], key: str, type_: type) -> Any:
        value = data.get(key)
        if not isinstance(value, type_) or isinstance(value, bool):
            raise BundleError(f"{self._named}: {key} is missing or not {_words(type_)}")
        return value

    def fields(self, data: dict[str, Any], of: Any) -> dict[str, Any]:
        annotations = {
            name: type_
            for part in reversed(of.__mro__)
            for name, type_ in getattr(part, "__annotations__", {}).items()
        }
        return {name: self(data, name, type_) for name, type_ in annotations.items()}


def _words(type_: type) -> str:
    return {str: "a string", int: "a number", dict: "an object"}[type_]


def verify(bundle: Bundle) -> None:
    """Compare each file of a bundle with its manifest, and the manifest with itself.

    :raises BundleError: a file is missing, of another size or of another content; names all that
        are wrong.
    """
    wrong = [said for file in bundle.manifest.files if (said := _wrong(bundle, file))]
    if bundle.damage:
        wrong.insert(0, bundle.damage)
    if wrong:
        raise BundleError(
            f"the bundle {bundle.directory} is damaged: {'; '.join(wrong)}", hint="make it again"
        )


def _wrong(bundle: Bundle, file: File) -> str | None:
    path = bundle.path(file)
    if not path.is_file():
        return f"{file.file} is missing"
    if path.stat().st_size != file.size_bytes:
        return f"{file.file} has {path.stat().st_size} bytes, not {file.size_bytes}"
    with progress.counted(f"checking {file.file}", total_bytes=file.size_bytes) as show:
        if sha256(path, show=show) != file.sha256:
            return f"{file.file} has another content (sha256)"
    if isinstance(file, Base):
        return _wrong_base(path, file)
    return None


def _wrong_base(path: Path, base: Base) -> str | None:
    """Look into the base's header: who opens the base trusts the format in its manifest."""
    if base.format == ImageFormat.RAW:
        with path.open("rb") as file:
            others = probe.formats(file.read(probe.PROBED_BYTES))
        if others and not (others == ["luks"] and base.content == "luks"):
            return f"{base.file} is raw and looks like {', '.join(others)}, too"
        found = path.stat().st_size
    else:
        source = precheck.check(path)
        if source.format != base.format:
            return f"{base.file} is {source.format}, not {base.format}"
        found = source.virtual_size_bytes
    if found != base.virtual_size_bytes:
        return f"{base.file} has a virtual size of {found} bytes, not {base.virtual_size_bytes}"
    return None


def sha256(path: Path, *, show: Callable[[int], None] = lambda _done: None) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    :param show: called with the number of bytes read so far.
    """
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            show(done)
    return digest.hexdigest()


def describe(path: Path) -> File:
    """Measure a file that will be part of a bundle."""
    size_bytes = path.stat().st_size
    with progress.counted(f"hashing {path.name}", total_bytes=size_bytes) as show:
        return File(file=path.name, size_bytes=size_bytes, sha256=sha256(path, show=show))


def check_place(directory: Path) -> None:
    """Refuse a place for a new bundle that holds anything but nothing, or a bundle, which will be
    replaced.

    :raises BundleError: see above, or the directory above it is missing or not to be written to.
    """
    place = directory.absolute()
    parent = place.parent
    if not parent.is_dir():
        raise BundleError(f"{parent}: no such directory", hint="make it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise BundleError(f"{parent} cannot be written to")
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise BundleError(f"{directory} is there and not a directory", hint="name another with -o")
    if place.is_dir() and any(place.iterdir()) and not _is_ours(place):
        raise BundleError(
            f"{directory} is there and holds something else than a bundle",
            hint="name another with -o, or empty it",
        )


def _is_ours(directory: Path) -> bool:
    """Tell whether a directory holds the files of one bundle and nothing else.

    A damaged manifest is no reason to keep a bundle from being made again: then names decide.
    """
    there = {path.name for path in directory.iterdir()}
    try:
        manifest = load(directory).manifest
    except BundleError:
        kernels = [name for name in there if name.endswith("-kernel")]
        name = kernels[0].removesuffix("-kernel") if kernels else ""
        return there == {*(f"{name}-{part}" for part in PARTS), f"{name}.json"}
    return there <= {*(file.file for file in manifest.files), f"{manifest.name}.json"}


@contextmanager
def written(directory: Path) -> Iterator[Path]:
    """Give a directory to write a bundle's files into, beside its place, and put it there in the
    end.

    On an error or an interruption it goes, and what was there before stays. What a killed run left
    goes, too.

    :returns: an empty directory, and with `.parent` room for temporary files on the same file
        system.
    :raises BusyError: another run is making this bundle.
    """
    place = directory.absolute()
    with workplace.beside(place) as work:
        new = work / "bundle"
        new.mkdir()
        yield new
        durable.flush_tree(new)
        _swap(new, place, aside=work / workplace.ASIDE)
        durable.flush(place.parent)


def _swap(new: Path, place: Path, *, aside: Path) -> None:
    """Put a new directory in its place; an old one goes with the workplace."""
    if not place.exists():
        new.rename(place)
    elif not durable.exchange(new, place):
        place.rename(aside)
        try:
            new.rename(place)
        except BaseException:
            aside.rename(place)
            raise


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write the manifest of a bundle into its directory."""
    (directory / f"{manifest.name}.json").write_bytes(_signed(asdict(manifest)))

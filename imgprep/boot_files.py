"""Find the kernel and the ramdisks that a boot entry names, or those of its deployment instead.

ostree copies a deployment's kernel to /boot; the tree keeps its own, in /usr/lib/modules/VERSION.
"""

from dataclasses import dataclass, replace

from imgprep import deployment
from imgprep.appliance import Appliance
from imgprep.bls import Entry
from imgprep.precheck import ImageError


@dataclass(frozen=True, slots=True, kw_only=True)
class BootFiles:
    """What a deployment boots.

    :param kernel: a path as seen with /boot mounted; so are the ramdisks, in the order in which
        they are joined.
    :param kernel_version: None when nothing says it.
    :param notes: what was not where the boot entry says, or cannot be kept, in words.
    """

    kernel: str
    ramdisks: tuple[str, ...]
    kernel_version: str | None
    notes: tuple[str, ...]


def find(appliance: Appliance, entry: Entry, path: str) -> BootFiles:
    """Find the files of an entry whose deployment is in the directory `path`.

    :raises ImageError: one is neither where the entry says nor in the deployment.
    """
    search = _Search(appliance, entry, path)
    # only the first ramdisk can be the deployment's own, the others were made on some machine
    first, *others = entry.initrds or (None,)
    found = BootFiles(
        kernel=search.file(entry.linux, own="vmlinuz"),
        ramdisks=(
            search.file(first, own="initramfs.img"),
            *(search.file(named, own=None) for named in others),
        ),
        kernel_version=search.version,
        notes=(),
    )
    if entry.devicetree is not None:
        search.notes.append(
            f"the bundle holds no device tree, as the entry has: {entry.devicetree}"
        )
    return replace(found, notes=tuple(search.notes))


class _Search:
    """Look for the files of one boot entry."""

    def __init__(self, appliance: Appliance, entry: Entry, path: str) -> None:
        self._appliance = appliance
        self._entry = entry
        self._modules = f"{path}/usr/lib/modules"
        self.notes: list[str] = []
        self.version = deployment.kernel_version_of(
            entry.linux or "", bootcsum=deployment.bootcsum_of(entry)
        )
        if self.version is None:
            self.version = self._only_version()

    def _only_version(self) -> str | None:
        if not self._appliance.is_directory(self._modules):
            return None
        names = self._appliance.list_directory(self._modules)
        return names[0] if len(names) == 1 else None

    def file(self, named: str | None, *, own: str | None) -> str:
        """Return where a file is.

        :param named: as the boot entry calls it, None when it names none.
        :param own: what its deployment calls it.
        """
        for place in deployment.places_in_boot(named) if named is not None else ():
            if self._appliance.is_file(place):
                return place
        fallback = f"{self._modules}/{self.version}/{own}"
        which = f"boot entry {self._entry.file_name}"
        says = f"names no {own}" if named is None else f"names {named}, which is not in the image"
        if own is None or self.version is None or not self._appliance.is_file(fallback):
            raise ImageError(
                f"{which} {says}", hint=f"nor does the deployment hold one: {fallback}"
            )
        self.notes.append(f"{which} {says}; taken instead: {fallback}")
        return fallback

"""Make tiny container images, OCI layouts of one layer, in an instant: busybox and a script."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BUSYBOX = Path("/bin/busybox")  # of Debian's busybox-static
BROKEN = "broken"  # never healthy
EXITS = "exits"  # ends at once, status 3
ROOT = "root"  # names no user
UID = 1000
# The first process gets no signals that it does not handle. Healthy is who is not told otherwise.
SCRIPTS = {
    "tiny": """\
#!/bin/sh
echo "tiny $(cat /version) started"
[ $# = 0 ] || exec "$@"
[ "$(cat /version)" != exits ] || { echo "cannot go on: no such thing" >&2; exit 3; }
trap 'echo stopped; exit 0' TERM INT
while :; do sleep 86400 & wait $!; done
""",
    "health": """\
#!/bin/sh
[ "$(cat /version)" != broken ] || { echo "broken on purpose"; exit 1; }
[ ! -e /data/sick ] || { echo "sick"; exit 1; }
""",
}


def tiny(directory: Path, version: str = "1", *, labels: Mapping[str, str] | None = None) -> Path:
    """Make a version of the tiny image in a directory below, and return that: an OCI layout.

    It runs as user 1000 until it is stopped, `/bin/health` says whether it is well (not while
    there is a /data/sick), /version has the version. With a command, it becomes that. Versions
    BROKEN, EXITS and ROOT misbehave; all others differ in their bytes only.
    """
    layout = directory / f"tiny-{version}"
    (layout / "blobs" / "sha256").mkdir(parents=True)
    layer = _blob(layout, _layer(version))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": "" if version == ROOT else str(UID),
            "Env": ["PATH=/bin"],
            "Entrypoint": ["/bin/tiny"],
            "Labels": {"version": version, **(labels or {})},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    kind = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": {"mediaType": f"{kind}.config.v1+json", **_blob(layout, _json(config))},
        "layers": [{"mediaType": f"{kind}.layer.v1.tar", **layer}],
    }
    named = {"mediaType": f"{kind}.manifest.v1+json", **_blob(layout, _json(manifest))}
    index = {"schemaVersion": 2, "manifests": [named]}
    (layout / "index.json").write_bytes(_json(index))
    (layout / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return layout


def _layer(version: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("bin", "data", "dev", "etc", "proc", "run", "sys"):
            owner = UID if name == "data" else 0
            _add(tar, name, kind=tarfile.DIRTYPE, mode=0o755, uid=owner)
        _add(tar, "tmp", kind=tarfile.DIRTYPE, mode=0o1777)
        _add(tar, "bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
        for applet in ("sh", "cat", "echo", "env", "id", "ls", "od", "sha256sum", "sleep", "test"):
            _add(tar, f"bin/{applet}", kind=tarfile.SYMTYPE, to="busybox")
        for name, text in SCRIPTS.items():
            _add(tar, f"bin/{name}", text.encode(), mode=0o755)
        _add(tar, "etc/passwd", f"root:x:0:0::/:/bin/sh\ntiny:x:{UID}:{UID}::/:/bin/sh\n".encode())
        _add(tar, "etc/group", f"root:x:0:\ntiny:x:{UID}:\n".encode())
        _add(tar, "version", f"{version}\n".encode())
    return packed.getvalue()


def _add(
    tar: tarfile.TarFile,
    name: str,
    content: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    uid: int = 0,
    to: str = "",
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.gid, entry.linkname = kind, mode, uid, uid, to
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _blob(layout: Path, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def _json(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True).encode()

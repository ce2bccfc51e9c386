import copy
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atomic_baremetal import durable
from imgprep import bundle
from imgprep.bundle import BundleError

KERNEL, RAMDISK, BASE = b"kernel", b"ramdisk", b"base" * 128


def file_json(name: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"file": name, "size_bytes": len(content), "sha256": digest}


MANIFEST: dict[str, Any] = {
    "schema": 1,
    "name": "x",
    "source": {"file": "x.qcow2", "format": "qcow2", "virtual_size_bytes": 10},
    "kernel": file_json("x-kernel", KERNEL),
    "ramdisk": file_json("x-ramdisk", RAMDISK),
    "base": {
        **file_json("x-base", BASE),
        "format": "raw",
        "virtual_size_bytes": len(BASE),
        "content": "lvm2-pv",
    },
    "kernel_cmdline": "root=x",
    "deployment": {
        "stateroot": "os",
        "checksum": "c",
        "serial": 0,
        "bootcsum": "b",
        "kernel_version": "6",
    },
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "x"
    place.mkdir()
    (place / "x.json").write_text(json.dumps(MANIFEST))
    for name, content in (("kernel", KERNEL), ("ramdisk", RAMDISK), ("base", BASE)):
        (place / f"x-{name}").write_bytes(content)
    return place


def test_a_raw_base_that_passes_for_another_image_is_found(directory: Path) -> None:
    """Who opens it without being told its format would open what its header names."""
    content = b"QFI\xfb" + BASE[4:]
    (directory / "x-base").write_bytes(content)
    data = copy.deepcopy(MANIFEST)
    data["base"] |= file_json("x-base", content)
    (directory / "x.json").write_text(json.dumps(data))
    with pytest.raises(BundleError) as error:
        bundle.verify(bundle.load(directory))
    assert str(error.value) == (
        f"the bundle {directory} is damaged: x-base is raw and looks like qcow2, too"
        " (make it again)"
    )


def test_a_manifest_survives_reading_and_writing(directory: Path) -> None:
    loaded = bundle.load(directory)
    assert loaded.manifest.to_json() == MANIFEST
    assert list(loaded.manifest.to_json()) == list(MANIFEST)
    assert bundle.load(directory / "x.json") == loaded
    bundle.verify(loaded)


def changed(path: str, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(MANIFEST)
    *above, last = path.split(".")
    place = data
    for key in above:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return data


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "m is no manifest of a bundle (it has no key 'schema')"),
        ({}, "m is no manifest of a bundle (it has no key 'schema')"),
        (
            changed("schema", 2),
            "m is a manifest of schema 2 (this version of imgprep reads schema 1)",
        ),
        (changed("kernel", None), "m: kernel is missing or not an object"),
        (changed("base.format", None), "m: format is missing or not a string"),
        (changed("base.size_bytes", "1"), "m: size_bytes is missing or not a number"),
        (changed("deployment.serial", True), "m: serial is missing or not a number"),
        (changed("base.format", "vmdk"), "m: unknown format of the base: 'vmdk'"),
        (
            changed("kernel.file", "../../etc/passwd"),
            "m names a file outside of its bundle: '../../etc/passwd'",
        ),
        (changed("base.file", ".."), "m names a file outside of its bundle: '..'"),
        (changed("base.file", "a\0"), "m names a file as none is named: 'a\\x00'"),
        (
            changed("base.file", "ä" * 128),
            f"m names a file as none is named: '{'ä' * 80}'",
        ),
        (
            changed("kernel_cmdline", "a\nb"),
            "m: kernel arguments with the control character '\\n': 'a\\nb'",
        ),
        (
            changed("name", "a/b"),
            "not a name for a bundle: 'a/b' (letters, digits, dots and dashes will do)",
        ),
    ],
)
def test_manifests_that_are_refused(data: Any, said: str) -> None:
    with pytest.raises(BundleError) as error:
        bundle.parse(data, named="m")
    assert str(error.value) == said


@pytest.fixture
def signed(directory: Path) -> Path:
    """A bundle whose manifest holds a checksum of itself, as those that are made here do."""
    bundle.write_manifest(directory, bundle.parse(MANIFEST, named="m"))
    bundle.verify(bundle.load(directory))
    return directory


def is_found(directory: Path) -> bool:
    try:
        bundle.verify(bundle.load(directory))
    except BundleError:
        return True
    return False


def test_each_bit_of_a_manifest_counts(signed: Path) -> None:
    path = signed / "x.json"
    content = path.read_bytes()
    unfound = []
    for bit in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        if not is_found(signed):
            unfound.append(bit)
    assert unfound == []


def test_a_thousand_flipped_bits_are_found(signed: Path) -> None:
    """Anywhere in the bundle, each file as often as the others."""
    draw = random.Random(4)  # noqa: S311
    files = [(path, path.read_bytes()) for path in sorted(signed.iterdir())]
    unfound = []
    for _ in range(1000):
        path, content = draw.choice(files)
        bit = draw.randrange(len(content) * 8)
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        if not is_found(signed):
            unfound.append((path.name, bit))
        path.write_bytes(content)
    assert unfound == []
    bundle.verify(bundle.load(signed))


def test_what_a_damaged_manifest_is_called(signed: Path) -> None:
    path = signed / "x.json"
    path.write_text(path.read_text().replace("root=x", "root=y"))
    with pytest.raises(BundleError) as error:
        bundle.verify(bundle.load(signed))
    assert str(error.value) == (
        f"the bundle {signed} is damaged: the manifest has another content than its own checksum"
        " says (make it again)"
    )
    path.write_text(json.dumps({**MANIFEST, "manifest_sha257": ""}))
    with pytest.raises(BundleError) as error:
        bundle.verify(bundle.load(signed))
    assert str(error.value) == (
        f"the bundle {signed} is damaged: the manifest has the unknown key 'manifest_sha257'"
        " (make it again)"
    )


def test_a_bundle_with_a_damaged_manifest_can_be_made_again(signed: Path) -> None:
    (signed / "x.json").write_text("{")
    bundle.check_place(signed)
    (signed / "x-kernel").rename(signed / "kernel")
    with pytest.raises(BundleError):
        bundle.check_place(signed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.sampled_from(["name", "source", "kernel", "base", "base.file", "kernel_cmdline"]), JSON)
def test_any_value_is_taken_or_refused(path: str, value: Any) -> None:
    try:
        bundle.parse(changed(path, value), named="m")
    except BundleError:
        return
    assert isinstance(value, str | dict)


def test_all_that_is_wrong_is_named(directory: Path) -> None:
    (directory / "x-kernel").unlink()
    (directory / "x-ramdisk").write_bytes(b"RAMDISK")
    (directory / "x-base").write_bytes(b"short")
    with pytest.raises(BundleError) as error:
        bundle.verify(bundle.load(directory))
    assert str(error.value) == (
        f"the bundle {directory} is damaged: x-kernel is missing; x-ramdisk has another content"
        " (sha256); x-base has 5 bytes, not 512 (make it again)"
    )


def test_a_base_that_is_no_qcow2_is_noticed(directory: Path) -> None:
    content = bytearray(b"\0" * 1024)
    content[510:512] = b"\x55\xaa"
    content[450] = 0x83
    (directory / "x-base").write_bytes(content)
    base = {**MANIFEST["base"], **file_json("x-base", bytes(content)), "format": "qcow2"}
    (directory / "x.json").write_text(json.dumps({**MANIFEST, "base": base}))
    with pytest.raises(BundleError) as error:
        bundle.verify(bundle.load(directory))
    assert str(error.value) == (
        f"the bundle {directory} is damaged: x-base is raw, not qcow2 (make it again)"
    )


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nothing", "{0}/nothing: No such file or directory (name a bundle's directory)"),
        ("empty", "{0}/empty is no bundle (it holds 0 manifests (*.json), not one)"),
        (
            "text",
            "{0}/text is no manifest: not JSON (Expecting value: line 1 column 1 (char 0))",
        ),
    ],
)
def test_what_is_no_bundle(tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BundleError) as error:
        bundle.load(tmp_path / path)
    assert str(error.value) == said.format(tmp_path)


def test_a_bundle_appears_whole(tmp_path: Path) -> None:
    place = tmp_path / "new"
    with bundle.written(place) as directory:
        (directory / "file").write_text("x")
        (directory.parent / "scratch").write_text("y")
        assert not place.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert [path.name for path in place.iterdir()] == ["file"]


def test_a_bundle_is_replaced_whole_or_not_at_all(directory: Path) -> None:
    bundle.check_place(directory)
    with pytest.raises(KeyboardInterrupt), bundle.written(directory) as new:
        (new / "x-kernel").write_text("half")
        raise KeyboardInterrupt
    bundle.verify(bundle.load(directory))
    with bundle.written(directory) as new:
        (new / "file").write_text("x")
    assert [path.name for path in directory.iterdir()] == ["file"]
    assert [path.name for path in directory.parent.iterdir()] == ["x"]


def test_a_bundle_is_replaced_where_names_cannot_be_exchanged(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "exchange", lambda _one, _other: False)
    with bundle.written(directory) as new:
        (new / "file").write_text("x")
    assert [path.name for path in directory.iterdir()] == ["file"]
    assert [path.name for path in directory.parent.iterdir()] == ["x"]


def test_places_that_are_refused(tmp_path: Path, directory: Path) -> None:
    (directory / "mine").write_text("do not lose me")
    (tmp_path / "file").write_text("")
    for place, said in (
        (
            directory,
            f"{directory} is there and holds something else than a bundle"
            " (name another with -o, or empty it)",
        ),
        (
            tmp_path / "file",
            f"{tmp_path}/file is there and not a directory (name another with -o)",
        ),
        (tmp_path / "no" / "where", f"{tmp_path}/no: no such directory (make it first)"),
    ):
        with pytest.raises(BundleError) as error:
            bundle.check_place(place)
        assert str(error.value) == said


@pytest.mark.parametrize("name", ["", ".x", "-x", "a/b", "a\nb", "x" * 201])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(BundleError) as error:
        bundle.check_name(name)
    assert str(error.value) == (
        f"not a name for a bundle: {name!r} (letters, digits, dots and dashes will do)"
    )

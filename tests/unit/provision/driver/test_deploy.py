"""What the deploy interface refuses, and what it keeps."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ironic.common import exception, image_service
from ironic.drivers.modules import deploy_utils

from provision.driver import boot, deploy, image, writer
from tests.unit.provision.driver.support import UUID, Node, Task

IMAGE = "aaaaaaaa-2222-4333-8444-555555555555"


class Boot:
    """A boot interface with nothing to refuse."""

    capabilities: tuple[str, ...] = (boot.CAPABILITY,)

    def validate(self, task: Any) -> None:
        """Nothing to check."""


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "id": IMAGE,
        "name": "atomic",
        "disk_format": "qcow2",
        "size": 1,
        "min_disk": 7,
        "os_hash_algo": "sha512",
        "os_hash_value": "ff",
        "properties": {"kernel_id": "k", "ramdisk_id": "r", "kernel_cmdline": "root=/dev/a"},
    }
    service = SimpleNamespace(show=lambda href: metadata)
    monkeypatch.setattr(image_service, "get_image_service", lambda href, context: service)
    return metadata


def make(**different: Any) -> Task:
    node = Node(instance_info={"image_source": IMAGE, **different.pop("instance_info", {})})
    driver = {
        "boot": Boot(),
        "storage": SimpleNamespace(should_write_image=lambda task: True),
        **different,
    }
    return Task(node, **driver)


def test_validate(conf: Any, metadata: dict[str, Any]) -> None:
    deploy.ISCSIDeploy().validate(make())


def refusal(task: Task) -> str:
    with pytest.raises(exception.InvalidParameterValue) as refused:
        deploy.ISCSIDeploy().validate(task)
    return str(refused.value)


def test_refused(conf: Any, metadata: dict[str, Any]) -> None:
    stock = SimpleNamespace(capabilities=["ipxe_boot"], validate=lambda task: None)
    assert refusal(make(boot=stock)) == (
        f"Node {UUID} has boot interface ipxe-netboot: deploy interface iscsi needs ipxe-netboot, "
        "which starts the node from its image's kernel"
    )
    volume = SimpleNamespace(should_write_image=lambda task: False)
    assert refusal(make(storage=volume)) == (
        f"Node {UUID} boots from a volume: deploy interface iscsi writes a local disk"
    )
    assert refusal(make(instance_info={"image_download_source": "swift"})) == (
        "image_download_source swift: with deploy interface iscsi the conductor writes the image, "
        "so it must have it; set http"
    )
    assert refusal(make(instance_info={"capabilities": {"disk_label": "gpt"}})) == (
        "Capability disk_label is gpt: deploy interface iscsi writes an MBR (msdos)"
    )
    assert refusal(make(instance_info={"image_source": None})).endswith(
        "Missing are: ['instance_info.image_source']"
    )
    assert refusal(make(instance_info={"image_source": "file:///srv/a.raw"})) == (
        "image_source file:///srv/a.raw is not a Glance image; boot interface ipxe-netboot and "
        "deploy interface iscsi take the kernel, ramdisk and arguments from Glance"
    )
    assert refusal(make(instance_info={"swap_mb": 1})).startswith("instance_info has swap_mb: ")


def test_autodetection(conf: Any, metadata: dict[str, Any]) -> None:
    interface = deploy.ISCSIDeploy()
    assert interface.supports_deploy(make())
    assert not interface.supports_deploy(make(instance_info={"swap_mb": 1}))
    metadata["properties"]["kernel_cmdline"] = None
    assert not interface.supports_deploy(make())  # a partition image, but not one of ours
    metadata["properties"]["kernel_id"] = None
    assert not interface.supports_deploy(make())


def fetcher(content: bytes, seen: list[Any]) -> Any:
    def fetch(
        context: Any, cache: Any, files: list[tuple[str, str]], **options: Any
    ) -> list[tuple[str, str, str]]:
        seen.append(options)
        for _, path in files:
            Path(path).write_bytes(content)
        return []

    return fetch


def test_the_image_is_fetched_as_it_is_and_the_plan_kept(
    conf: Any, metadata: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(deploy_utils, "fetch_images", fetcher(b"qcow", seen))
    monkeypatch.setattr(writer, "virtual_size_bytes", lambda path, fmt: 6 * image.GIB)
    found = writer.Content(lvm=False, filesystem_uuid="1-2")
    monkeypatch.setattr(writer, "probe", lambda path, fmt: found)
    conf.set_override("force_raw_images", True)
    task = make()
    deploy.ISCSIDeploy()._update_instance_info(task)
    conf.clear_override("force_raw_images")
    assert task.node.saved[-1]["driver_internal_info"]["iscsi_deploy"] == {
        "disk_format": "qcow2",
        "root_bytes": 7 * image.GIB,
        "lvm": False,
        "filesystem_uuid": "1-2",
    }
    assert task.node.saved[-1]["instance_info"] == {"image_source": IMAGE}
    assert seen == [
        {
            "force_raw": False,
            "expected_format": "qcow2",
            "expected_checksum": "ff",
            "expected_checksum_algo": "sha512",
        }
    ]
    assert not (tmp_path / "http").exists()  # nobody else can fetch it


def test_an_image_that_unpacks_larger_is_refused_and_removed(
    conf: Any, metadata: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy_utils, "fetch_images", fetcher(b"qcow", []))
    monkeypatch.setattr(writer, "virtual_size_bytes", lambda path, fmt: 7 * image.GIB + 512)
    task = make()
    with pytest.raises(exception.InstanceDeployFailure) as refused:
        deploy.ISCSIDeploy()._update_instance_info(task)
    assert str(refused.value) == (
        f"Failed to deploy instance: image atomic ({IMAGE}) is {7 * image.GIB + 512} bytes when "
        f"unpacked, the root partition would be {7 * image.GIB}; raise instance_info/root_gb"
    )
    assert not deploy.image_path(task.node).parent.exists()


def test_prepare_instance_boot_says_why(conf: Any, metadata: dict[str, Any]) -> None:
    def fail(task: Any) -> None:
        raise exception.ImageNotFound(image_id="k")

    task = make(boot=SimpleNamespace(prepare_instance=fail))
    with pytest.raises(exception.InstanceDeployFailure) as refused:
        deploy.ISCSIDeploy().prepare_instance_boot(task)
    assert str(refused.value) == (
        "Failed to deploy instance: the network boot of the instance cannot be prepared: Image k "
        "could not be found."
    )


def test_the_image_file_is_where_ironic_removes_it(conf: Any) -> None:
    expected = deploy_utils._get_image_file_path(UUID)
    assert str(deploy.image_path(Node())) == expected


def test_the_steps_replace_the_agents(conf: Any) -> None:
    steps = {step["step"]: step["priority"] for step in deploy.ISCSIDeploy().deploy_steps}
    assert steps["write_image"] == 80
    assert steps["prepare_instance_boot"] == 60
    for name in ("write_image", "prepare_instance_boot"):
        assert name in vars(deploy.ISCSIDeploy)


def test_lvms_label() -> None:
    label = b"LABELONE" + bytes(16) + b"LVM2 001" + bytes(480)
    for sector in range(4):
        assert writer.is_lvm(bytes(512 * sector) + label + bytes(4096))
    assert not writer.is_lvm(bytes(512 * 4) + label)
    assert not writer.is_lvm(b"LABELONE" + bytes(504))
    assert not writer.is_lvm(b"")

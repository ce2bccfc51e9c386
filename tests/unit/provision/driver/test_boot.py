"""The network boot of a node's own system: files, arguments, and what is kept with the node."""

import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ironic.common import exception, image_service, pxe_utils, states
from ironic.drivers.modules import deploy_utils

from provision.driver import boot, deploy
from tests.unit.provision.driver.support import UUID, Node, Task

ATOMIC = "root=/dev/mapper/atomicos-root ostree=/ostree/boot.0/a/b/0"


class Glance:
    """Holds images; counts questions about them; fetches files when told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.fetched: list[str] = []
        self.down = False
        self.images: dict[str, dict[str, Any]] = {}

    def show(self, href: str) -> dict[str, Any]:
        self.asked += 1
        if self.down:
            raise exception.GlanceConnectionFailed(endpoint="http://glance", reason="down")
        return self.images[href]

    def fetch(
        self, context: Any, cache: Any, files: list[tuple[str, str]], *rest: Any, **options: Any
    ) -> list[tuple[str, str, str]]:
        if self.down:
            raise exception.GlanceConnectionFailed(endpoint="http://glance", reason="down")
        for href, path in files:
            Path(path).write_text(f"content of {href}")
            self.fetched.append(href)
        return [(href, path, "raw") for href, path in files]


IMAGE = "aaaaaaaa-2222-4333-8444-555555555555"


@pytest.fixture
def glance(monkeypatch: pytest.MonkeyPatch) -> Glance:
    glance = Glance()
    glance.images[IMAGE] = {
        "id": IMAGE,
        "name": "atomic",
        "disk_format": "qcow2",
        "size": 1,
        "min_disk": 7,
        "properties": {"kernel_id": "kkk", "ramdisk_id": "rrr", "kernel_cmdline": ATOMIC},
    }
    monkeypatch.setattr(image_service, "get_image_service", lambda href, context: glance)
    monkeypatch.setattr(deploy_utils, "fetch_images", glance.fetch)
    return glance


class Management:
    """Remembers the boot device."""

    def __init__(self) -> None:
        self.set: list[tuple[str, bool]] = []

    def validate(self, task: Any) -> None:
        """Nothing to check."""

    def set_boot_device(self, task: Any, device: str, persistent: bool = False) -> None:
        self.set.append((device, persistent))

    def get_boot_mode(self, task: Any) -> str:
        return "bios"


@pytest.fixture
def interface(conf: Any, tmp_path: Path) -> Iterator[boot.IPXENetboot]:
    (tmp_path / "http").mkdir()
    (tmp_path / "tftp").mkdir()
    conf.set_override("tftp_master_path", "", group="pxe")
    yield boot.IPXENetboot()
    conf.clear_override("tftp_master_path", group="pxe")


def make(interface: boot.IPXENetboot, **fields: Any) -> Task:
    fields.setdefault("instance_info", {"image_source": IMAGE})
    node = Node(**fields)
    return Task(
        node,
        boot=interface,
        deploy=deploy.ISCSIDeploy(),
        management=Management(),
        storage=SimpleNamespace(should_write_image=lambda task: True),
    )


def script(tmp_path: Path) -> list[str]:
    return (tmp_path / "http" / UUID / "config").read_text().splitlines()


def test_deploying(interface: boot.IPXENetboot, glance: Glance, tmp_path: Path) -> None:
    task = make(interface)
    leftover = tmp_path / "http" / UUID / "deploy_kernel"
    leftover.parent.mkdir()
    leftover.write_text("of the deploy ramdisk")
    interface.prepare_instance(task)

    assert task.node.saved[-1]["driver_internal_info"]["netboot"] == {
        "kernel": "kkk",
        "ramdisk": "rrr",
        "kernel_cmdline": ATOMIC,
    }
    files = tmp_path / "http" / UUID
    assert sorted(path.name for path in files.iterdir()) == ["config", "kernel", "ramdisk"]
    assert (files / "kernel").read_text() == "content of kkk"
    assert (files / "ramdisk").read_text() == "content of rrr"
    url = f"http://192.0.2.1:8088/{UUID}"
    lines = script(tmp_path)
    assert lines[0] == "#!ipxe"
    assert f"kernel --timeout 60000 {url}/kernel {ATOMIC} initrd=ramdisk || goto retry" in lines
    assert f"initrd --timeout 60000 {url}/ramdisk || goto retry" in lines
    assert not any("/dev/ram0" in line for line in lines)
    link = tmp_path / "http" / "pxelinux.cfg" / "52-54-00-00-00-01"
    assert link.resolve() == (files / "config").resolve()
    assert task.driver.management.set == [("pxe", True)]


def test_arguments_of_the_node_and_of_a_plain_file_system(
    interface: boot.IPXENetboot, glance: Glance, tmp_path: Path
) -> None:
    glance.images[IMAGE]["properties"]["kernel_cmdline"] = None
    task = make(
        interface,
        instance_info={"image_source": IMAGE, "kernel_append_params": "%default% quiet"},
        driver_internal_info={"iscsi_deploy": {"filesystem_uuid": "1-2-3"}},
    )
    interface.prepare_instance(task)
    netboot = task.node.driver_internal_info["netboot"]
    assert netboot["kernel_cmdline"] == "quiet root=UUID=1-2-3"


def test_a_take_over_needs_no_glance(
    interface: boot.IPXENetboot, glance: Glance, tmp_path: Path
) -> None:
    task = make(interface)
    interface.prepare_instance(task)
    asked = glance.asked
    glance.down = True
    task.node.provision_state = states.ACTIVE
    task.node.instance_info = {}
    (tmp_path / "http" / UUID / "config").unlink()
    interface.prepare_instance(task)
    assert any(ATOMIC in line for line in script(tmp_path))
    assert glance.asked == asked
    assert task.driver.management.set == [("pxe", True)]  # from the deployment; not set again


def test_a_rebuild_asks_the_image_again(interface: boot.IPXENetboot, glance: Glance) -> None:
    task = make(interface)
    interface.prepare_instance(task)
    glance.images[IMAGE]["properties"]["kernel_cmdline"] = "root=/dev/new"
    interface.prepare_instance(task)
    assert task.node.driver_internal_info["netboot"]["kernel_cmdline"] == "root=/dev/new"


def check(interface: boot.IPXENetboot, task: Task) -> None:
    """Run the periodic's body on one node, as the conductor does after its filters."""
    manager = SimpleNamespace()
    inspect.unwrap(boot.IPXENetboot._check_files)(interface, task, manager, task.context)


def test_lost_files_are_put_back(
    interface: boot.IPXENetboot, glance: Glance, tmp_path: Path
) -> None:
    task = make(interface)
    interface.prepare_instance(task)
    task.node.provision_state = states.ACTIVE
    task.shared = True
    check(interface, task)
    assert task.upgraded == []  # nothing was missing: no lock

    shutil.rmtree(tmp_path / "http")
    glance.down = True
    check(interface, task)  # says so in the log, and tries again later
    glance.down = False
    check(interface, task)
    assert task.upgraded == ["putting back boot files"] * 2
    files = {str(p.relative_to(tmp_path / "http")) for p in (tmp_path / "http").rglob("*")}
    assert {
        "boot.ipxe",
        f"{UUID}/config",
        f"{UUID}/kernel",
        f"{UUID}/ramdisk",
        "pxelinux.cfg/52-54-00-00-00-01",
    } <= files
    check(interface, task)
    assert len(task.upgraded) == 2


@pytest.mark.parametrize("name", ["boot.ipxe", "pxelinux.cfg/52-54-00-00-00-01", f"{UUID}/kernel"])
def test_a_single_lost_file_is_noticed(
    interface: boot.IPXENetboot, glance: Glance, tmp_path: Path, name: str
) -> None:
    task = make(interface)
    interface.prepare_instance(task)
    task.node.provision_state = states.ACTIVE
    (tmp_path / "http" / name).unlink()
    check(interface, task)
    assert (tmp_path / "http" / name).exists()


def test_a_released_node_leaves_no_file(
    interface: boot.IPXENetboot, glance: Glance, tmp_path: Path
) -> None:
    task = make(interface)
    interface.prepare_instance(task)
    task.node.provision_state = states.DELETING
    interface.clean_up_instance(task)
    left = {str(p.relative_to(tmp_path / "http")) for p in (tmp_path / "http").rglob("*")}
    assert left == {"boot.ipxe", "pxelinux.cfg"}
    assert "netboot" not in task.node.saved[-1]["driver_internal_info"]


def test_a_rescue_does_not_forget(interface: boot.IPXENetboot, glance: Glance) -> None:
    task = make(interface)
    interface.prepare_instance(task)
    task.node.provision_state = states.RESCUING
    interface.clean_up_instance(task)
    task.node.provision_state = states.UNRESCUING
    glance.images.clear()
    interface.prepare_instance(task)
    assert task.driver.management.set == [("pxe", True), ("pxe", True)]


def test_the_deploy_ramdisk_does_not_get_the_instances_arguments(
    interface: boot.IPXENetboot, glance: Glance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = {"image_source": IMAGE, "kernel_append_params": "root=/dev/mapper/atomicos-root"}
    task = make(
        interface,
        instance_info=dict(info),
        driver_info={
            "deploy_kernel": "dk",
            "deploy_ramdisk": "dr",
            "kernel_append_params": "console=ttyS0",
        },
    )
    interface.prepare_ramdisk(task, {"ipa-api-url": "http://192.0.2.1:6385"})
    kernel = next(line for line in script(tmp_path) if line.startswith("kernel "))
    assert "root=" not in kernel
    assert "console=ttyS0" in kernel
    assert "ipa-api-url=http://192.0.2.1:6385" in kernel
    assert task.node.instance_info == info
    assert all(saved["instance_info"] == info for saved in task.node.saved)
    assert task.driver.management.set == [("pxe", False)]


@pytest.mark.parametrize("prop", ["kernel_id", "ramdisk_id"])
def test_validate_names_image_and_property(
    interface: boot.IPXENetboot, glance: Glance, prop: str
) -> None:
    glance.images[IMAGE]["properties"][prop] = None
    task = make(interface, driver_info={"deploy_kernel": "dk", "deploy_ramdisk": "dr"})
    with pytest.raises(exception.MissingParameterValue) as refused:
        interface.validate(task)
    assert str(refused.value).startswith(f"Image atomic ({IMAGE}) has no property {prop}: ")


def test_validate_arguments_and_glance(interface: boot.IPXENetboot, glance: Glance) -> None:
    task = make(interface, driver_info={"deploy_kernel": "dk", "deploy_ramdisk": "dr"})
    interface.validate(task)
    task.node.instance_info["kernel_append_params"] = "a ${b}"
    with pytest.raises(exception.InvalidParameterValue, match="which iPXE would interpret"):
        interface.validate(task)
    glance.down = True
    with pytest.raises(exception.InvalidParameterValue) as refused:
        interface.validate(task)
    assert str(refused.value) == (
        f"image_source {IMAGE} cannot be looked up in Glance: Connection to glance endpoint "
        "http://glance failed: down"
    )
    task.node.instance_info = {}
    interface.validate(task)  # nothing is to be deployed: cleaning and inspection may go on


def test_another_deploy_interface_gets_stock_ipxe(
    interface: boot.IPXENetboot, glance: Glance, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    task = make(interface)
    task.driver.deploy = SimpleNamespace()
    stock = boot.ipxe.iPXEBoot
    monkeypatch.setattr(stock, "prepare_instance", lambda self, task: seen.append("stock"))
    interface.prepare_instance(task)
    assert seen == ["stock"]
    assert glance.asked == 0


def test_the_template_is_beside_the_module() -> None:
    assert Path(boot.TEMPLATE).is_file()
    assert pxe_utils._get_root_dir(True) == deploy_utils.CONF.deploy.http_root

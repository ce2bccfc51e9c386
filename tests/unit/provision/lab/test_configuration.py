"""What the services read is what was meant: each file is read back by a parser of its kind."""

import configparser
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from oslo_config import cfg

from provision.lab import configuration
from provision.lab.model import Lab

DIRECTORY = Path("/state/labs/default")


def make_lab(directory: Path = DIRECTORY, nodes: int = 4) -> Lab:
    return Lab(
        name="default",
        id="7d36f4ae-4a0c-4e43-9ed5-7f6a8f3d0a10",
        subnet=99,
        nodes=nodes,
        password="secret",
        redfish_password="secret-too",
        directory=directory,
    )


def rendered(name: str) -> str:
    return next(
        text for path, text in configuration.render(make_lab()).items() if path.name == name
    )


def ini(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, default_section="no default")
    parser.read_string(rendered(name))
    return parser


def parse(xml: str) -> ElementTree.Element:
    return ElementTree.fromstring(xml)  # noqa: S314 - our own


def attribute(tree: ElementTree.Element, path: str, name: str) -> str | None:
    found = tree.find(path)
    assert found is not None, path
    return found.get(name)


def test_ironic_serves_the_lab_and_nobody_else() -> None:
    ironic = ini("ironic.conf")
    assert ironic["DEFAULT"]["auth_strategy"] == "http_basic"
    assert ironic["DEFAULT"]["rpc_transport"] == "none"
    assert (ironic["api"]["host_ip"], ironic["api"]["port"]) == ("192.168.99.1", "6385")
    assert ironic["glance"]["endpoint_override"] == "http://192.168.99.1:9292"
    assert ironic["glance"]["password"] == "secret"
    for group in ("pxe", "redfish"):
        assert "console=ttyS0" in ironic[group]["kernel_append_params"]


def test_ironic_has_this_projects_interfaces_and_leaves_images_as_they_are() -> None:
    ironic = ini("ironic.conf")
    for key, value in {
        "enabled_hardware_types": "ssh,redfish-netboot,fake-hardware",
        "enabled_boot_interfaces": "ipxe-netboot,ipxe,fake",
        "enabled_deploy_interfaces": "iscsi,direct,ramdisk,fake",
        "force_raw_images": "false",
    }.items():
        assert ironic["DEFAULT"][key] == value
    assert ironic["agent"]["stream_raw_images"] == "false"
    assert ironic["conductor"]["disable_zstandard_decompression"] == "true"
    assert ironic["conductor"]["automated_clean"] == "true"
    assert ironic["deploy"]["erase_devices_priority"] == "0"


@pytest.mark.parametrize("name", ["ironic.conf", "glance-api.conf"])
def test_oslo_reads_the_paths_back_unharmed(tmp_path: Path, name: str) -> None:
    """oslo.config substitutes what begins with a dollar sign, the standard library does not."""
    path = tmp_path / name
    path.write_text(rendered(name))
    conf = cfg.ConfigOpts()
    conf.register_opt(cfg.StrOpt("connection"), group="database")
    conf([], default_config_files=[str(path)])
    service = name.partition("-")[0].partition(".")[0]
    assert conf.database.connection == f"sqlite:///{DIRECTORY}/{service}/{service}.sqlite"


def test_glance_asks_for_a_password_before_anything_else() -> None:
    paste = ini("glance-api-paste.ini")
    flavor = ini("glance-api.conf")["paste_deploy"]["flavor"]
    pipeline = paste["composite:api"][flavor].split()
    assert pipeline.index("basic") < pipeline.index("unauthenticated-context")
    assert pipeline[-1] == "rootapp"
    for name in pipeline[:-1]:
        assert f"filter:{name}" in paste


def test_dhcp_gives_each_machine_its_address_and_no_other_address_to_anybody() -> None:
    lines = rendered("dnsmasq.conf").splitlines()
    assert "dhcp-range=192.168.99.0,static,255.255.255.0,12h" in lines
    assert "dhcp-ignore-clid" in lines
    assert [line for line in lines if line.startswith("dhcp-host=")] == [
        f"dhcp-host=52:54:00:63:01:0{number},192.168.99.1{number},node-{number}"
        for number in range(1, 5)
    ]


def test_the_lab_knows_its_registry_by_name_and_asks_nobody_for_others() -> None:
    lines = rendered("dnsmasq.conf").splitlines()
    assert "host-record=registry.lab,192.168.99.1" in lines
    assert "dhcp-option=6,192.168.99.1" in lines
    assert {"local=/#/", "no-resolv", "no-hosts"} < set(lines)


def test_the_registry_listens_with_tls_and_keeps_all_in_the_labs_directory() -> None:
    registry = yaml.safe_load(rendered("registry.yml"))
    assert registry["http"] == {
        "addr": "192.168.99.1:5000",
        "tls": {
            "certificate": f"{DIRECTORY}/registry/tls/service.crt",
            "key": f"{DIRECTORY}/registry/tls/service.key",
        },
    }
    assert registry["storage"]["filesystem"]["rootdirectory"] == f"{DIRECTORY}/registry/store"


def test_the_redfish_emulator_shows_only_its_own_machines(tmp_path: Path) -> None:
    path = tmp_path / "sushy.conf"
    path.write_text(rendered("sushy.conf"))
    sushy = runpy.run_path(str(path))
    machines = make_lab().machines
    assert sushy["SUSHY_EMULATOR_ALLOWED_INSTANCES"] == [machines[1].uuid, machines[3].uuid]
    assert sushy["SUSHY_EMULATOR_LISTEN_IP"] == "192.168.99.1"
    assert sushy["SUSHY_EMULATOR_AUTH_FILE"] == f"{DIRECTORY}/etc/redfish-htpasswd"


def test_bios_machine() -> None:
    machine = make_lab().machines[0]
    tree = parse(configuration.domain(make_lab(), machine, kvm=False))
    assert tree.get("type") == "qemu"
    assert tree.findtext("name") == "node-1"
    assert tree.findtext("uuid") == machine.uuid
    assert attribute(tree, "os/type", "machine") == "pc"
    assert tree.find("os/loader") is None
    assert attribute(tree, "os/boot", "dev") == "network"
    assert attribute(tree, "devices/interface/mac", "address") == machine.mac
    assert attribute(tree, "cpu", "mode") == "custom"


def test_uefi_machine() -> None:
    machine = make_lab().machines[1]
    tree = parse(configuration.domain(make_lab(), machine, kvm=True))
    assert tree.get("type") == "kvm"
    assert attribute(tree, "os/type", "machine") == "q35"
    assert tree.findtext("os/loader") == "/usr/share/OVMF/OVMF_CODE_4M.fd"
    assert tree.findtext("os/nvram") == str(machine.nvram)
    assert attribute(tree, "cpu", "mode") == "host-passthrough"


def test_a_path_with_markup_in_it_stays_a_path() -> None:
    lab = make_lab(Path("/state/<a&\"b'>"))
    for machine in lab.machines[:2]:
        tree = parse(configuration.domain(lab, machine, kvm=False))
        assert attribute(tree, "devices/disk/source", "file") == str(machine.disk)


def test_clouds() -> None:
    assert yaml.safe_load(configuration.clouds(make_lab())) == {
        "clouds": {
            "lab-default": {
                "auth_type": "http_basic",
                "auth": {
                    "endpoint": "http://192.168.99.1:6385",
                    "username": "admin",
                    "password": "secret",
                },
                "baremetal_endpoint_override": "http://192.168.99.1:6385",
                "image_endpoint_override": "http://192.168.99.1:9292",
                "image_api_version": "2",
            }
        }
    }


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab")
    configuration.write_all(lab)
    files = {path for path in lab.directory.rglob("*") if path.is_file()}
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    configuration.write_all(lab)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files} == before
    for path in files:
        if path.suffix != ".pub":
            assert path.stat().st_mode & 0o077 == 0, path
    assert "secret" not in (lab.configuration / "htpasswd").read_text()


def test_the_conductors_key_opens_the_door_from_the_conductors_address_alone(
    tmp_path: Path,
) -> None:
    lab = make_lab(tmp_path / "lab")
    configuration.write_all(lab)
    key = (lab.ssh / "conductor_key.pub").read_text()
    assert (lab.ssh / "authorized_keys").read_text() == f'from="192.168.99.1",restrict {key}'
    host_key = (lab.ssh / "host_key.pub").read_text().split()
    assert (lab.ssh / "known_hosts").read_text().split() == ["[192.168.99.1]:2222", *host_key[:2]]

"""Hold the rooms apart as docs/architecture.rst draws them: who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = (  # the longest name that fits is a module's room
    "atomic_baremetal",
    "imgprep",
    "provision",
    "provision.agent",
    "provision.driver",
    "provision.lab",
    "provision.services",
    "provision.services.file",
    "provision.services.node",
    "provision.services.unit",
)
# Each room may import these of ours. What runs in somebody else's process imports none of them.
MAY_IMPORT = {
    "atomic_baremetal": set(),
    "imgprep": {"atomic_baremetal"},
    "provision": {"atomic_baremetal"},
    "provision.services": {
        "atomic_baremetal",
        "provision.services.file",
        "provision.services.node",
        "provision.services.unit",
    },
    "provision.services.file": {"provision.services", "atomic_baremetal"},
    "provision.services.node": {"provision.services", "atomic_baremetal"},
    "provision.services.unit": {"provision.services", "atomic_baremetal"},
    "provision.agent": set(),
    "provision.driver": set(),
    "provision.lab": {"atomic_baremetal"},
}
# The command line alone opens the door to the lab.
EXCEPTIONS = {
    ("provision.cli", "provision.lab"),
    ("provision.cli", "provision.services"),
    ("provision.deployed", "provision.services"),
    ("provision.deployed", "provision.services.file"),
}
# Libraries that belong to one adapter, or to the process that a room runs in.
ONLY_IN = {
    "guestfs": {"imgprep.session"},
    "ironic": {"provision.driver"},
    "ironic_python_agent": {"provision.agent"},
    "subprocess": {"atomic_baremetal.command", "provision.lab.processes", "provision.ssh"},
    "libvirt": set(),
}
ANYBODY_OF = {
    "openstack.connect": set(),
    "Connection": {"atomic_baremetal.cloud"},
    "OpenStackConfig": {"atomic_baremetal.cloud"},
}


def modules() -> dict[str, ast.Module]:
    found = {}
    for package in ("atomic_baremetal", "imgprep", "provision"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(), filename=str(path))
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """Every module that the module names in an import statement, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            assert node.module
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(name: str) -> str | None:
    fits = [one for one in ROOMS if name == one or name.startswith(one + ".")]
    return max(fits, key=len, default=None)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_what_its_room_may(name: str) -> None:
    own = room(name)
    assert own is not None
    strangers = {
        f"{name} -> {imported}"
        for imported in imports(name) - {"provision"}  # its __init__.py is empty but for a text
        if (other := room(imported)) not in {None, own, *MAY_IMPORT[own]}
        and (name, other) not in EXCEPTIONS
    }
    assert not strangers


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_library_stays_in_its_adapter(name: str) -> None:
    strangers = {
        f"{name} -> {imported}"
        for imported in imports(name)
        if (places := ONLY_IN.get(imported.split(".")[0])) is not None
        and name not in places
        and room(name) not in places
    }
    assert not strangers


@pytest.mark.parametrize("name", sorted(MODULES))
def test_only_the_cloud_adapter_connects(name: str) -> None:
    calls = {
        ast.unparse(node.func) for node in ast.walk(MODULES[name]) if isinstance(node, ast.Call)
    }
    strangers = {
        f"{name} calls {call}"
        for call, places in ANYBODY_OF.items()
        if call in calls and name not in places
    }
    assert not strangers


def test_the_package_provision_itself_imports_nothing() -> None:
    assert not imports("provision")


def test_the_graph_is_not_empty() -> None:
    assert "atomic_baremetal.errors" in imports("atomic_baremetal.cloud")


def test_packages_have_no_import_cycle() -> None:
    graph = {
        name: {one for one in imports(name) if one in MODULES and one != name} for name in MODULES
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, "cycle: " + " -> ".join([*path, name])
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())

"""Bring up a lab of its own for the proof on real parts, and take it down again.

The commands run as a user runs them: as processes, with the lab found by ATOMIC_LAB. A failing run
keeps the lab's logs where ATOMIC_E2E_LOGS says (docs/debugging.rst).
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import IMAGE_NAME, LAB, Key, Shell, order, run, run_json, say, sha256


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep state apart from the user's; the cache (ramdisk, sample image) is shared."""
    if os.geteuid() != 0:
        (pytest.fail if "CI" in os.environ else pytest.skip)("the lab needs root")
    state = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        patch.setenv("ATOMIC_LAB", LAB)
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(state / "clouds.yaml"))
        for name in [
            name
            for name in os.environ
            if name.startswith("OS_") and name != "OS_CLIENT_CONFIG_FILE"
        ]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def lab_state() -> Path:
    return Path(os.environ["XDG_STATE_HOME"]) / "atomic-baremetal" / "labs" / LAB


@pytest.fixture(scope="session")
def sample_image() -> Path:
    built = run(sys.executable, "-m", "provision.lab.build", "sample-image", timeout_s=1800)
    return Path(built.stdout.strip())


@pytest.fixture(scope="session")
def lab(environment: None, lab_state: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A lab with one node on BIOS over ssh and one on UEFI over Redfish; its state directory."""
    failed_before = request.session.testsfailed
    run("provision", "lab", "up", "--nodes", "2", timeout_s=1800)
    Path(os.environ["OS_CLIENT_CONFIG_FILE"]).write_text(run("provision", "lab", "env").stdout)
    yield lab_state
    if request.session.testsfailed > failed_before and (kept := os.environ.get("ATOMIC_E2E_LOGS")):
        subprocess.run(["cp", "-rT", str(lab_state / "log"), kept], check=False)
        say(f"the lab's logs are in {kept}")
    run("provision", "lab", "down", timeout_s=300)


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    private = tmp_path_factory.mktemp("key") / "id_ed25519"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "e2e", "-f", private)
    return Key(private=private, public=private.with_suffix(".pub"))


@pytest.fixture(scope="session")
def bundle(lab: Path, sample_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample image as a bundle, registered in the lab's Glance."""
    directory = tmp_path_factory.mktemp("bundle") / IMAGE_NAME
    before = sha256(sample_image)
    run(
        "imgprep",
        "atomic-to-pxe",
        sample_image,
        "-o",
        directory,
        "--name",
        IMAGE_NAME,
        "--register",
        timeout_s=600,
    )
    assert sha256(sample_image) == before
    return directory


@pytest.fixture(scope="session")
def nodes(bundle: Path, key: Key) -> dict[str, dict[str, Any]]:
    """Two nodes deployed side by side by the seed's command; each by its name."""
    command = order(key, name="atomic-{n}", count=2, wait_s=1800)
    deployed = run_json(*command, timeout_s=1900)
    return {node["name"]: node for node in deployed}


@pytest.fixture(scope="session")
def shell(key: Key) -> Shell:
    return Shell(key)

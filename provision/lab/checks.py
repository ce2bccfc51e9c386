"""Ask each service whether it does its work, not only whether its process is there."""

import base64
import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from atomic_baremetal.errors import Error
from provision.lab import certificates, hypervisor, model, processes
from provision.lab.model import Lab, LabError

ANSWER_S = 10
READY_S = 90
PAUSE_S = 0.2
# no proxy: these addresses mean something on this host only
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def wait(lab: Lab, name: str) -> None:
    """Wait until a service answers.

    :raises LabError: it ended, or it did not answer in time; with the last reason, and its last
        words.
    """
    deadline = time.monotonic() + READY_S
    while (problem := trouble(lab, name)) is not None:
        ended = processes.running(lab, name) is None
        if ended or time.monotonic() > deadline:
            how = "ended at once" if ended else f"was not ready within {READY_S} seconds: {problem}"
            raise LabError(
                f"{name} {how}: {processes.last_words(lab, name)}",
                hint=f"see {lab.logs / f'{name}.log'}",
            )
        time.sleep(PAUSE_S)


def trouble(lab: Lab, name: str) -> str | None:
    """Say what is wrong with a service; None when it answers as it should."""
    if processes.running(lab, name) is None:
        return "does not run"
    try:
        return CHECKS[name](lab)
    except (Error, OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__


def _ironic(lab: Lab) -> str | None:
    # the drivers are listed once the conductor has registered itself, which is later than the API
    # answers
    said = _get(f"{lab.ironic_url}/v1/drivers", lab.password)
    return None if '"redfish-netboot"' in said else "the conductor has no drivers yet"


def _glance(lab: Lab) -> str | None:
    _get(f"{lab.glance_url}/v2/images?limit=1", lab.password)
    return None


def _http(lab: Lab) -> str | None:
    try:
        _get(f"{lab.http_url}/", None)
    except urllib.error.HTTPError as error:
        return None if error.code == http.client.NOT_FOUND else str(error)
    return "it lists its directory"


def _registry(lab: Lab) -> str | None:
    trust = ssl.create_default_context(cafile=str(certificates.files(lab.registry).ca))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
    )
    with opener.open(f"{lab.registry_url}/v2/", timeout=ANSWER_S) as answer:
        kind = answer.headers.get("Docker-Distribution-Api-Version")
    return None if kind == "registry/2.0" else f"it is no registry: {kind}"


def _redfish(lab: Lab) -> str | None:
    _get(f"{lab.redfish_url}/redfish/v1/Systems", lab.redfish_password)
    return None


def _sshd(lab: Lab) -> str | None:
    with socket.create_connection((lab.address, model.SSH_PORT), ANSWER_S) as connection:
        banner = connection.recv(64)
    return None if banner.startswith(b"SSH-") else f"it answers {banner!r}"


def _libvirtd(lab: Lab) -> str | None:
    hypervisor.virsh(lab, "version")
    return None


def _dnsmasq(lab: Lab) -> str | None:
    # DHCP cannot be asked without an interface of its own; TFTP shows that the same process listens
    request = b"\0\1undionly.kpxe\0octet\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(2)
        connection.sendto(request, (lab.address, 69))
        answer, sender = connection.recvfrom(1024)
        connection.sendto(b"\0\5\0\0\0", sender)  # enough: the rest is not wanted
    return None if answer[:2] == b"\0\3" else f"TFTP answers {answer[:40]!r}"


CHECKS: dict[str, Callable[[Lab], str | None]] = {
    "dnsmasq": _dnsmasq,
    "http": _http,
    "registry": _registry,
    "libvirtd": _libvirtd,
    "sshd": _sshd,
    "glance": _glance,
    "redfish": _redfish,
    "ironic": _ironic,
}


def _get(url: str, password: str | None) -> str:
    request = urllib.request.Request(url)  # noqa: S310 - the lab's own http addresses
    if password is not None:
        token = base64.b64encode(f"{model.USER}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    with _OPENER.open(request, timeout=ANSWER_S) as answer:
        text: str = answer.read().decode()
    return text

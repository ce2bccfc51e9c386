"""List the lab's services: how each is started, where it listens, what it reads.

The order is the order of starting; ending goes the other way round.
"""

import hashlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from provision.lab import certificates, model
from provision.lab.model import Lab

SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin")
# what would make a service talk to another cloud, through a proxy, or start slowly (no byte code
# kept)
NOT_FOR_SERVICES = ("OS_", "PYTHONDONTWRITEBYTECODE", "ATOMIC_", "REGISTRY_")
# what stands below Lab.hypervisor for a system's: libvirt's fixed directories when root runs it,
# users
SYSTEM_FILES = {
    "etc": "/etc/libvirt",
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
    "users/passwd": "/etc/passwd",
    "users/group": "/etc/group",
    "users/shadow": "/etc/shadow",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process of the lab.

    :ivar endpoint: where it can be reached, for people.
    :ivar files: what it reads once, at its start.
    :ivar binds: (source, target): what stands in for the system's directories.
    """

    name: str
    argv: tuple[str, ...]
    endpoint: str
    files: tuple[Path, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    binds: tuple[tuple[str, str], ...] = ()
    needs_database: bool = False

    def fingerprint(self) -> str:
        """Return a hash over all that the process depends on; the files must be there."""
        digest = hashlib.sha256(repr((self.argv, self.binds, sorted(self.env.items()))).encode())
        for path in self.files:
            digest.update(path.read_bytes())
        return digest.hexdigest()


def services(lab: Lab) -> tuple[Service, ...]:
    """List the services of a lab in the order in which they are started."""
    return (
        _dnsmasq(lab),
        _http(lab),
        _registry(lab),
        _libvirtd(lab),
        _sshd(lab),
        _sushy(lab),
        _glance(lab),
        _ironic(lab),
    )


def environment(service: Service) -> dict[str, str]:
    """Return the environment that a service gets: this command's, less what would mislead it."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(NOT_FOR_SERVICES) and not key.lower().endswith("_proxy")
    }
    path = os.pathsep.join(
        dict.fromkeys((str(program("")), *os.environ.get("PATH", "").split(os.pathsep), *SBIN))
    )
    return {**kept, "PATH": path, **service.env}


def program(name: str) -> Path:
    """Return the path of a program of this environment; its python is a link, not followed."""
    return Path(sys.executable).parent / name


def _dnsmasq(lab: Lab) -> Service:
    conf = lab.configuration / "dnsmasq.conf"
    return Service(
        name="dnsmasq",
        argv=("dnsmasq", "--keep-in-foreground", f"--conf-file={conf}"),
        endpoint=f"{lab.address}:53,67,69",
        files=(conf,),
    )


def _http(lab: Lab) -> Service:
    where = (lab.address, str(model.HTTP_PORT), str(lab.http_root))
    return Service(
        name="http",
        argv=(sys.executable, "-m", "provision.lab.httpd", *where),
        endpoint=lab.http_url,
    )


def _registry(lab: Lab) -> Service:
    conf = lab.configuration / "registry.yml"
    return Service(
        name="registry",
        argv=("docker-registry", "serve", str(conf)),
        endpoint=f"{lab.registry_url} ({model.REGISTRY_NAME})",
        files=(conf, certificates.files(lab.registry).certificate),
    )


def _libvirtd(lab: Lab) -> Service:
    etc = lab.hypervisor / "etc"
    return Service(
        name="libvirtd",
        # by default in /run itself, where the host's libvirtd would hold it
        argv=("/usr/sbin/libvirtd", "--pid-file", "/run/libvirt/libvirtd.pid"),
        endpoint="qemu:///system",
        files=(etc / "libvirtd.conf", etc / "qemu.conf"),
        binds=_hypervisor_binds(lab),
    )


def _sshd(lab: Lab) -> Service:
    conf = lab.configuration / "sshd_config"
    return Service(
        name="sshd",
        # sshd wants its own absolute path, to start itself anew for each connection
        argv=("/usr/sbin/sshd", "-D", "-e", "-f", str(conf)),
        endpoint=f"{lab.address}:{model.SSH_PORT}",
        files=(conf,),
        binds=(
            *_hypervisor_binds(lab),
            (str(lab.ssh / "privilege-separation"), "/run/sshd"),
        ),
    )


def _glance(lab: Lab) -> Service:
    etc = lab.configuration / "glance"
    bind = f"{lab.address}:{model.GLANCE_PORT}"
    return Service(
        name="glance",
        argv=(
            str(program("gunicorn")),
            *("--worker-class", "gthread", "--workers", "1", "--threads", "8"),
            # an upload of a large image takes as long as it takes
            *("--timeout", "1800", "--bind", bind, "glance.wsgi.api:application"),
        ),
        endpoint=lab.glance_url,
        files=tuple(
            etc / name for name in ("glance-api.conf", "glance-api-paste.ini", "policy.yaml")
        ),
        env={"OS_GLANCE_CONFIG_DIR": str(etc)},
        needs_database=True,
    )


def _sushy(lab: Lab) -> Service:
    conf = lab.configuration / "sushy.conf"
    return Service(
        name="redfish",
        argv=(str(program("sushy-emulator")), "--config", str(conf)),
        endpoint=lab.redfish_url,
        files=(conf,),
        binds=_hypervisor_binds(lab),
    )


def _ironic(lab: Lab) -> Service:
    conf = lab.configuration / "ironic.conf"
    return Service(
        name="ironic",
        argv=(str(program("ironic")), "--config-file", str(conf)),
        endpoint=lab.ironic_url,
        files=(conf,),
        needs_database=True,
    )


def _hypervisor_binds(lab: Lab) -> tuple[tuple[str, str], ...]:
    return tuple((str(lab.hypervisor / source), target) for source, target in SYSTEM_FILES.items())

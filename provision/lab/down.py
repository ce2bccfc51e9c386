"""Take a lab down so that nothing of it is left, and prove that."""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from atomic_baremetal.errors import Error
from provision.lab import hypervisor, network, nodes, prerequisites, processes, record
from provision.lab.model import Lab, LabError
from provision.lab.services import services

LOG = logging.getLogger(__name__)


def down(*, keep_logs: bool = False) -> None:
    """Take the lab down. With none there, there is nothing to do.

    :param keep_logs: move its logs beside its directory first.
    :raises LabError: something of it is still there; names it.
    """
    prerequisites.check_root()
    name = record.name()
    with record.locked(name):
        lab = record.load(name)
        if lab is None:
            LOG.info("there is no lab %r", name)
            return
        started_s = time.monotonic()
        if keep_logs:
            LOG.info("its logs are kept in %s", save_logs(lab))
        take_down(lab)
    LOG.info("lab %r is down (%.0f s)", name, time.monotonic() - started_s)


def take_down(lab: Lab) -> None:
    """End machines and processes, remove network and files, and look whether that is so.

    Each step is tried whatever became of the one before.

    :raises LabError: names what is left; the lab's record stays then, for another try.
    """
    # first: from here on nobody is to find this cloud
    lab.clouds_file.unlink(missing_ok=True)
    left = [
        problem
        for step in (_end_machines, _end_services, network.remove)
        if (problem := _try(step, lab)) is not None
    ]
    left += leftovers(lab)
    if left:
        raise LabError(
            f"lab {lab.name!r} is not wholly down: {'; '.join(left)}",
            hint="end what is named here, then run `provision lab down` again",
        )
    if lab.directory.exists():
        shutil.rmtree(lab.directory)


def leftovers(lab: Lab) -> list[str]:
    """Name every process, interface, namespace and mount that is there of the lab."""
    found = [
        f"{service.name}: process {process.pid}"
        for service in services(lab)
        for process in processes.strays(lab, service.name)
    ]
    found += [
        f"{service.name}: process {pid}"
        for service in services(lab)
        if (pid := processes.running(lab, service.name)) is not None
    ]
    found += [f"virtual machine: process {process.pid}" for process in hypervisor.strays(lab)]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [f"mount {line.split()[1]}" for line in mounts if str(lab.directory) in line]
    return found + network.leftovers(lab)


def save_logs(lab: Lab) -> Path:
    """Copy the lab's logs beside its directory, in the place of those kept before; return where."""
    target = lab.directory.with_name(f"{lab.name}.log")
    shutil.rmtree(target, ignore_errors=True)
    if lab.logs.exists():
        shutil.copytree(lab.logs, target)
    return target


def _end_machines(lab: Lab) -> None:
    """Power off through Ironic if it answers, end it so that it starts none, then end the rest."""
    if processes.running(lab, "ironic"):
        try:
            nodes.power_off(lab)
        except Error as error:
            LOG.debug("not powered off through Ironic: %s", error)
        processes.stop(lab, "ironic")
    if processes.running(lab, "libvirtd"):
        try:
            hypervisor.remove_machines(lab)
        except Error as error:
            LOG.warning("libvirt did not remove the machines: %s", error)
    processes.end(hypervisor.strays(lab))


def _end_services(lab: Lab) -> None:
    for service in reversed(services(lab)):
        processes.stop(lab, service.name)
    strangers = network.process_ids(lab)
    if strangers:
        pids = ", ".join(str(pid) for pid in sorted(strangers))
        raise LabError(f"processes in its network that it did not start: {pids}")


def _try(step: Callable[[Lab], None], lab: Lab) -> str | None:
    try:
        step(lab)
    except Error as error:
        return str(error)
    return None

"""Bring a lab up, or whatever of it is missing."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from atomic_baremetal.durable import write
from provision.lab import (
    checks,
    configuration,
    databases,
    hypervisor,
    network,
    nodes,
    prerequisites,
    processes,
    ramdisk_files,
    record,
)
from provision.lab.down import save_logs, take_down
from provision.lab.model import MOST_NODES, Lab, LabError, choose_subnet
from provision.lab.services import Service, environment, services

LOG = logging.getLogger(__name__)
FIRST_NODES = 2
# these are waited for before others start: they need them
FIRST = ("libvirtd",)


def up(node_count: int | None = None, *, ramdisk: Path | None = None) -> Lab:
    """Bring the lab up with so many nodes: make it, repair it, or find that nothing is to be done.

    :param node_count: None keeps what the lab has; more adds nodes; fewer takes none away, and says
        so.
    :param ramdisk: the operator's own deploy ramdisk; None builds ours.
    :raises LabError: it did not come up. A lab that this call began is taken down again.
    """
    started_s = time.monotonic()
    prerequisites.check()
    if node_count is not None and not 1 <= node_count <= MOST_NODES:
        raise LabError(f"a lab has 1 to {MOST_NODES} nodes, not {node_count}")
    name = record.name()
    # before anything else: it can take minutes
    source = ramdisk_files.find(ramdisk)
    with record.locked(name):
        lab = record.load(name)
        if lab is None:
            lab, changed = _first(name, node_count or FIRST_NODES, source), True
        else:
            lab = _resized(lab, node_count)
            changed = _bring_up(lab, source)
    took_s = time.monotonic() - started_s
    count = "1 node" if lab.nodes == 1 else f"{lab.nodes} nodes"
    how = "is up" if changed else "was up already, nothing to do"
    LOG.info("lab %r %s: %s, Ironic at %s (%.0f s)", name, how, count, lab.ironic_url, took_s)
    return lab


def restart(name: str) -> None:
    """End one service of the lab and start it again; the machines keep running.

    :raises LabError: no such lab or service, or it does not come back.
    """
    prerequisites.check()
    lab_name = record.name()
    with record.locked(lab_name):
        lab = record.load(lab_name)
        if lab is None:
            raise LabError(f"there is no lab {lab_name!r}", hint="start one: provision lab up")
        chosen = [service for service in services(lab) if service.name == name]
        if not chosen:
            names = ", ".join(service.name for service in services(lab))
            raise LabError(f"no service {name!r} in the lab", hint=f"there are: {names}")
        processes.stop(lab, name)
        _start(lab, chosen[0])
        checks.wait(lab, name)
    LOG.info("restarted %s", name)


def _first(name: str, node_count: int, ramdisk: Path) -> Lab:
    """Make a lab from nothing; what was made goes again when that fails or is interrupted."""
    with network.choosing():
        others = [other.network for other in record.load_all()]
        subnet = choose_subnet([*network.taken(), *others])
        lab = record.new(name, subnet=subnet, nodes=node_count)
        with _taken_down_on_failure(lab):
            record.save(lab)
            network.ensure(lab)
    with _taken_down_on_failure(lab):
        _bring_up(lab, ramdisk)
    return lab


@contextmanager
def _taken_down_on_failure(lab: Lab) -> Iterator[None]:
    try:
        yield
    except BaseException:
        kept = save_logs(lab)
        LOG.error("the lab did not come up; taking it down again (its logs: %s)", kept)
        take_down(lab)
        raise


def _bring_up(lab: Lab, ramdisk: Path) -> bool:
    """Make, start and enrol whatever is missing; say whether anything was."""
    changed = network.ensure(lab)
    configuration.write_all(lab)
    hypervisor.copy_boot_loaders(lab)
    kernel = ramdisk_files.place(lab, ramdisk)
    with ThreadPoolExecutor() as pool:
        # both are long, and nothing before Glance and Ironic needs them
        ready = pool.submit(databases.ensure, lab)
        started = _start_missing(lab, needs_database=False)
        made = hypervisor.ensure_machines(lab, kernel)
        if made:
            LOG.info("made the machines %s", ", ".join(made))
        ready.result()
    started += _start_missing(lab, needs_database=True)
    for service in services(lab):
        checks.wait(lab, service.name)
    write(lab.clouds_file, configuration.clouds(lab))
    enrolled = nodes.ensure(lab)
    if enrolled:
        LOG.info("enrolled %s", ", ".join(enrolled))
    return changed or bool(started or made or enrolled)


def _start_missing(lab: Lab, *, needs_database: bool) -> list[str]:
    """Start what does not run, or runs with another configuration; return the names.

    :param needs_database: look at those services that need one, or at those that need none.
    """
    started = []
    for service in services(lab):
        if service.needs_database is not needs_database:
            continue
        known = processes.recorded(lab, service.name)
        if known and processes.is_alive(known.process):
            if known.fingerprint == service.fingerprint():
                continue
            LOG.info("%s has a new configuration", service.name)
            processes.stop(lab, service.name)
        elif known:
            LOG.info("%s had ended", service.name)
        _start(lab, service)
        started.append(service.name)
    return started


def _start(lab: Lab, service: Service) -> None:
    LOG.info("starting %s", service.name)
    processes.start(
        lab,
        service.name,
        service.argv,
        binds=service.binds,
        env=environment(service),
        fingerprint=service.fingerprint(),
    )
    if service.name in FIRST:
        checks.wait(lab, service.name)


def _resized(lab: Lab, node_count: int | None) -> Lab:
    if node_count is None or node_count == lab.nodes:
        return lab
    if node_count < lab.nodes:
        LOG.warning(
            "the lab keeps its %d nodes: to have fewer, take it down and start it anew", lab.nodes
        )
        return lab
    return record.save(lab, nodes=node_count)

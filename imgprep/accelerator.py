"""Decide whether the appliance's processor is real (KVM) or emulated."""

import json
import logging
import os
import platform
import sys
from enum import StrEnum
from pathlib import Path

from atomic_baremetal import command, durable, paths
from atomic_baremetal.errors import CommandError

LOG = logging.getLogger(__name__)
PROBE_S = 60  # an appliance that works at all with KVM is up in 5 s


class Accelerator(StrEnum):
    """How the appliance's processor runs."""

    KVM = "kvm"
    TCG = "tcg"


def accelerator() -> Accelerator | None:
    """Decide how the appliance's processor runs; None when the user has decided.

    /dev/kvm may be there and open and still run no guest. So KVM is believed only after an
    appliance came up with it, once per boot of this machine.
    """
    if "LIBGUESTFS_BACKEND_SETTINGS" in os.environ:
        return None
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        verdict = Accelerator.TCG
    else:
        verdict = _remembered() or _probed()
    if verdict is Accelerator.TCG:
        LOG.info("no usable KVM here: the appliance is emulated, which takes some seconds longer")
    return verdict


def _verdict_file() -> Path:
    return paths.cache() / "appliance" / "accelerator.json"


def _machine() -> dict[str, str]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"boot_id": boot, "kernel": platform.release()}


def _remembered() -> Accelerator | None:
    try:
        known = json.loads(_verdict_file().read_text())
        verdict = Accelerator(known.pop("accelerator"))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None  # never asked, or not written by us: ask
    return verdict if known == _machine() else None


def _probed() -> Accelerator:
    LOG.info("trying KVM once ...")
    try:
        command.run(sys.executable, "-m", "imgprep.session", timeout_s=PROBE_S)
    except CommandError as error:
        LOG.debug("KVM does not work here: %s", error)
        verdict = Accelerator.TCG
    else:
        verdict = Accelerator.KVM
    try:
        durable.write(_verdict_file(), json.dumps({"accelerator": verdict, **_machine()}))
    except OSError as error:
        LOG.warning("that is asked again each time: the answer cannot be kept: %s", error)
    return verdict

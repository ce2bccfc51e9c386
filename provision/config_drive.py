"""Build a config drive: what cloud-init reads on the first boot.

Ironic (API 1.56 and later) makes the ISO image or partition from this dict. It carries the host's
private ssh key, so that the first connection can be verified: it is a secret until the node has
booted, and no log may show it.

Source: cloud-init, "Config Drive" and modules "SSH", "Set Hostname"; user data may be MIME
multipart.
"""

from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import yaml

from atomic_baremetal.errors import Error
from provision.keys import HostKey

HEADERS = (  # of cloud-init's user data formats
    ("#cloud-config-archive", "cloud-config-archive"),
    ("#cloud-config", "cloud-config"),
    ("#!", "x-shellscript"),
    ("#cloud-boothook", "cloud-boothook"),
    ("#include-once", "x-include-once-url"),
    ("#include", "x-include-url"),
    ("#part-handler", "part-handler"),
)
OURS = ("ssh_keys", "ssh_deletekeys", "ssh_genkeytypes")


class UserDataError(Error):
    """User data that cloud-init would not understand, or that breaks the pinned host key."""


def build(
    *,
    host_name: str,
    node_uuid: str,
    public_key: str,
    host_key: HostKey,
    user_data: str | None = None,
) -> dict[str, Any]:
    """Build the config drive of one host.

    :param public_key: the operator's, one OpenSSH line.
    :param user_data: the operator's own; None for none.
    :raises UserDataError: user_data is of no format that cloud-init knows, or sets ssh host keys.
    """
    own = cloud_config(host_name=host_name, public_key=public_key, host_key=host_key)
    return {
        "meta_data": {
            "uuid": node_uuid,
            "instance-id": node_uuid,
            "hostname": host_name,
            "name": host_name,
            "public_keys": {"default": public_key},  # some readers choke on a list
        },
        "user_data": own if user_data is None else combine(own, user_data),
    }


def cloud_config(*, host_name: str, public_key: str, host_key: HostKey) -> str:
    """Write the cloud-config that gives the host its name, its host key and the operator's key."""
    kind = "ed25519"
    settings: dict[str, Any] = {
        "hostname": host_name.partition(".")[0],
        "ssh_deletekeys": True,
        "ssh_keys": {f"{kind}_private": host_key.private, f"{kind}_public": host_key.public},
        "ssh_authorized_keys": [public_key],
        "disable_root": False,
        "locale": False,  # images need not have one to generate
    }
    if "." in host_name:
        settings["fqdn"] = host_name
    return "#cloud-config\n" + yaml.safe_dump(settings, sort_keys=False)


def combine(own: str, theirs: str) -> str:
    """Join our cloud-config and the operator's user data, as MIME multipart.

    Theirs comes last: what it sets replaces what ours sets.

    :raises UserDataError: theirs is of no format that cloud-init knows, or sets ssh host keys.
    """
    message = MIMEMultipart()
    for name, subtype, text in (
        ("atomic-baremetal", "cloud-config", own),
        ("user-data", check_user_data(theirs), theirs),
    ):
        part = MIMEText(text, subtype, "utf-8")
        part.add_header("Content-Disposition", "attachment", filename=name)
        message.attach(part)
    return message.as_string()


def check_user_data(text: str) -> str:
    """Return the MIME subtype of user data, by its first line as cloud-init does.

    :raises UserDataError: as combine().
    """
    subtype = next((kind for header, kind in HEADERS if text.startswith(header)), None)
    if subtype is None:
        raise UserDataError(
            "the user data is of no format that cloud-init knows",
            hint="its first line is '#cloud-config', or '#!' and an interpreter",
        )
    if subtype == "cloud-config":
        _check_cloud_config(text)
    return subtype


def _check_cloud_config(text: str) -> None:
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserDataError(f"the user data is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise UserDataError("the user data is not a mapping of cloud-config settings")
    for key in OURS:
        if key in settings:
            raise UserDataError(
                f"the user data sets {key}",
                hint="the host key is made and pinned by provision; leave it out",
            )

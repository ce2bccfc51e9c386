"""Connect to the cloud: the one place that opens an OpenStack connection.

Without a cloud named and with a lab up, the lab is the cloud. A lab that is up leaves a clouds.yaml
in its state directory and takes it away when it goes down; finding that file is all that is known
of labs here.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk
from openstack.config import OpenStackConfig
from openstack.connection import Connection

from atomic_baremetal import paths
from atomic_baremetal.errors import CloudError

LOG = logging.getLogger(__name__)
CREDENTIALS = (
    "OS_CLOUD",
    "OS_AUTH_TYPE",
    "OS_AUTH_URL",
    "OS_ENDPOINT",
)  # any of them names a cloud


def lab_clouds_file() -> Path:
    """Name the clouds.yaml of the lab that ATOMIC_LAB means; it exists while the lab is up."""
    return paths.state() / "labs" / lab_name() / "clouds.yaml"


def lab_name() -> str:
    """Return the name of the lab to use: ATOMIC_LAB, or `default`."""
    return os.environ.get("ATOMIC_LAB") or "default"


def is_lab(os_cloud: str | None) -> bool:
    """Tell whether the lab is the cloud: it is up, and named, or nothing else is."""
    if not lab_clouds_file().exists():
        return False
    if os_cloud is not None:
        return os_cloud == f"lab-{lab_name()}"
    return not any(os.environ.get(one) for one in CREDENTIALS)


def connect(os_cloud: str | None) -> Connection:
    """Open a connection to the named cloud, else to a lab that is up, else as the environment says.

    Nothing is asked of any service yet.

    :raises CloudError: there is no such cloud in clouds.yaml, or its entry is incomplete.
    """
    lab = lab_clouds_file()
    lab_cloud = f"lab-{lab_name()}"
    if os_cloud is None and is_lab(None):
        LOG.info("using the lab %r (no cloud was named)", lab_name())
        os_cloud = lab_cloud
    with translated("the cloud"):
        if os_cloud == lab_cloud and lab.exists():
            config = OpenStackConfig(config_files=[str(lab)], load_envvars=False)
        else:
            config = OpenStackConfig()
        return Connection(config=config.get_one(cloud=os_cloud), app_name="atomic-baremetal")


@contextmanager
def translated(service: str) -> Iterator[None]:
    """Turn what the SDK raises inside into a CloudError of one line that names the service.

    :param service: as the operator calls it: "Glance", "Ironic".
    """
    try:
        yield
    except (keystone.Unauthorized, keystone.AuthorizationFailure) as error:
        raise _refused(service, error) from error
    except sdk.HttpException as error:
        if error.status_code in (401, 403):
            raise _refused(service, error) from error
        raise CloudError(f"{service}: {_one_line(error)}") from error
    except (keystone.ConnectFailure, keystone.DiscoveryFailure) as error:
        raise CloudError(
            f"{service} cannot be reached: {_one_line(error)}",
            hint="is it running, and is its endpoint in clouds.yaml right?",
        ) from error
    except (sdk.ConfigException, keystone.MissingRequiredOptions) as error:
        raise CloudError(
            f"{service} is not configured: {_one_line(error)}",
            hint="name a cloud of clouds.yaml with --os-cloud or OS_CLOUD, or: provision lab up",
        ) from error
    except (sdk.SDKException, keystone.ClientException) as error:
        raise CloudError(f"{service}: {_one_line(error)}") from error


def _refused(service: str, error: Exception) -> CloudError:
    return CloudError(
        f"{service} refused the credentials: {_one_line(error)}",
        hint="check the user and password of this cloud in clouds.yaml",
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

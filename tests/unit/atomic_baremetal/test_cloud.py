from pathlib import Path

import pytest
import requests
from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk

from atomic_baremetal import cloud
from atomic_baremetal.errors import CloudError

LAB = """
clouds:
  lab-default:
    auth_type: http_basic
    auth: {endpoint: "http://192.0.2.1:6385", username: admin, password: secret}
    image_endpoint_override: http://192.0.2.1:9292
    baremetal_endpoint_override: http://192.0.2.1:6385
"""


def http_error(status: int, text: str) -> sdk.HttpException:
    response = requests.Response()
    response.status_code = status
    response.url = "http://192.0.2.1"
    return sdk.HttpException(text, response=response)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            keystone.Unauthorized("Incorrect user"),
            "Glance refused the credentials: Incorrect user (HTTP 401) "
            "(check the user and password of this cloud in clouds.yaml)",
        ),
        (
            keystone.ConnectFailure("Unable to\n connect"),
            "Glance cannot be reached: Unable to connect "
            "(is it running, and is its endpoint in clouds.yaml right?)",
        ),
        (
            http_error(403, "no"),
            "Glance refused the credentials: no "
            "(check the user and password of this cloud in clouds.yaml)",
        ),
        (
            http_error(503, "busy"),
            "Glance: busy",
        ),
    ],
)
def test_each_failure_becomes_one_line(error: Exception, message: str) -> None:
    with pytest.raises(CloudError) as caught, cloud.translated("Glance"):
        raise error
    assert str(caught.value) == message


def test_a_bug_is_not_translated() -> None:
    with pytest.raises(ZeroDivisionError), cloud.translated("Glance"):
        raise ZeroDivisionError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("OS_CLOUD", "ATOMIC_LAB", "OS_CLIENT_CONFIG_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_lab_that_is_up_is_the_cloud(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = state / "atomic-baremetal" / "labs" / "default"
    directory.mkdir(parents=True)
    (directory / "clouds.yaml").write_text(LAB)
    with caplog.at_level("INFO"):
        connection = cloud.connect(None)
    assert connection.config.name == "lab-default"
    assert connection.config.get_endpoint("image") == "http://192.0.2.1:9292"
    assert caplog.messages == ["using the lab 'default' (no cloud was named)"]


def test_a_cloud_that_is_not_there_is_one_line(state: Path) -> None:
    with pytest.raises(CloudError) as caught:
        cloud.connect("nowhere")
    assert str(caught.value) == (
        "the cloud is not configured: Cloud nowhere was not found. "
        "(name a cloud of clouds.yaml with --os-cloud or OS_CLOUD, or: provision lab up)"
    )


def test_credentials_in_the_environment_are_a_cloud_that_was_named(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = state / "atomic-baremetal" / "labs" / "default"
    directory.mkdir(parents=True)
    (directory / "clouds.yaml").write_text(LAB)
    monkeypatch.setenv("OS_AUTH_TYPE", "none")
    monkeypatch.setenv("OS_ENDPOINT", "http://192.0.2.7")
    assert cloud.connect(None).config.name != "lab-default"

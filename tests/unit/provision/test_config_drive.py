"""What cloud-init finds on the config drive."""

import email
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provision.config_drive import UserDataError, build, check_user_data
from provision.keys import HostKey

KEY = HostKey(public="ssh-ed25519 HOST", private="-----BEGIN\nline: two\n-----END\n")


def drive(host_name: str = "atomic-1", user_data: str | None = None) -> dict[str, Any]:
    return build(
        host_name=host_name,
        node_uuid="uuid-1",
        public_key="ssh-ed25519 OPERATOR me: 'x'",
        host_key=KEY,
        user_data=user_data,
    )


def test_the_whole_drive() -> None:
    found = drive()
    assert found["meta_data"] == {
        "uuid": "uuid-1",
        "instance-id": "uuid-1",
        "hostname": "atomic-1",
        "name": "atomic-1",
        "public_keys": {"default": "ssh-ed25519 OPERATOR me: 'x'"},
    }
    assert set(found) == {"meta_data", "user_data"}
    assert found["user_data"].startswith("#cloud-config\n")
    assert yaml.safe_load(found["user_data"]) == {
        "hostname": "atomic-1",
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": KEY.private, "ed25519_public": KEY.public},
        "ssh_authorized_keys": ["ssh-ed25519 OPERATOR me: 'x'"],
        "disable_root": False,
        "locale": False,
    }


def test_a_name_with_a_domain() -> None:
    settings = yaml.safe_load(drive("a.example.org")["user_data"])
    assert (settings["hostname"], settings["fqdn"]) == ("a", "a.example.org")


@pytest.mark.parametrize(
    ("theirs", "kind"),
    [
        ("#cloud-config\npackages: [a]\n", "text/cloud-config"),
        ("#!/bin/sh\necho 'ä'\n", "text/x-shellscript"),
        ("#cloud-boothook\nx\n", "text/cloud-boothook"),
        ("#include\nhttps://example.org/x\n", "text/x-include-url"),
        ("#include-once\nhttps://example.org/x\n", "text/x-include-once-url"),
    ],
)
def test_user_data_goes_beside_ours(theirs: str, kind: str) -> None:
    message = email.message_from_string(drive(user_data=theirs)["user_data"])
    assert message.get_content_type() == "multipart/mixed"
    ours, other = message.get_payload()  # type: ignore[misc]
    assert ours.get_content_type() == "text/cloud-config"  # type: ignore[union-attr]
    settings = yaml.safe_load(ours.get_payload(decode=True))  # type: ignore[union-attr, arg-type]
    assert settings["ssh_keys"]["ed25519_public"] == KEY.public
    assert other.get_content_type() == kind  # type: ignore[union-attr]
    assert other.get_payload(decode=True).decode() == theirs  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "hello",
            "the user data is of no format that cloud-init knows (its first line is "
            "'#cloud-config', or '#!' and an interpreter)",
        ),
        (
            "#cloud-config\nssh_keys: {}\n",
            "the user data sets ssh_keys (the host key is made and pinned by provision; leave it "
            "out)",
        ),
        (
            "#cloud-config\n- a\n",
            "the user data is not a mapping of cloud-config settings",
        ),
    ],
)
def test_user_data_that_is_refused(text: str, error: str) -> None:
    with pytest.raises(UserDataError) as raised:
        check_user_data(text)
    assert str(raised.value) == error


def test_user_data_that_is_not_yaml() -> None:
    with pytest.raises(UserDataError, match="the user data is not YAML: while parsing"):
        check_user_data("#cloud-config\na: [")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])))
def test_no_key_comment_can_add_settings(comment: str) -> None:
    found = build(host_name="a", node_uuid="u", public_key=f"ssh-ed25519 A {comment}", host_key=KEY)
    assert yaml.safe_load(found["user_data"])["ssh_authorized_keys"] == [f"ssh-ed25519 A {comment}"]

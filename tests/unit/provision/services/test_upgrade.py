"""Upgrade, go back, restart and remove: on nodes with state, with all that can go wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from provision.services import apply as story
from provision.services import by_hand, images
from provision.services.host import HostError
from provision.services.remove import Removed, remove
from provision.services.site import Unreachable
from tests.unit.provision.services.fakes import FILE, Stage, nothing_to_do
from tests.unit.provision.services.test_apply import summary


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Stage]:
    def make(*names: str, text: str = FILE) -> Stage:
        here = Stage(tmp_path, *names, text=text)
        assert all(one.error is None for one in story.apply(here.site()))
        here.forget()
        return here

    return make


def test_an_upgrade_goes_node_by_node_with_the_images_there_beforehand(
    stage: Callable[..., Stage],
) -> None:
    here = stage("n1", "n2", "n3")
    new = here.registry.push("mariadb", "9")
    order: list[str] = []
    for host in here.hosts.values():
        for verb in (f"pull {new}", "install", "restart db", "observe"):
            host.does[verb] = lambda what=f"{host.name} {verb[:7]}": order.append(what)  # type: ignore[misc]
    results = story.upgrade(here.site(), ["db"])
    assert all(one.error is None for one in results)
    assert [one.running()["db"] for one in here.hosts.values()] == ["9", "9", "9"]
    assert [one.starts() for one in here.hosts.values()] == [{"api": 0, "db": 1, "web": 0}] * 3
    pulls = [one for one in order if "pull" in one]
    changes = [one for one in order if "install" in one or "restart" in one]
    assert set(pulls) == {"n2 pull re", "n3 pull re"}  # n1 has it from looking up the tag
    assert order.index(changes[0]) > max(order.index(one) for one in pulls)
    assert changes == [
        "n1 install",
        "n1 restart",
        "n2 install",
        "n2 restart",
        "n3 install",
        "n3 restart",
    ]


def test_an_upgrade_to_the_same_is_nothing(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    assert nothing_to_do(story.upgrade(here.site()))
    assert [one.starts() for one in here.hosts.values()] == [{"api": 0, "db": 0, "web": 0}] * 2


def test_an_upgrade_of_one_service_leaves_other_changes_alone(
    stage: Callable[..., Stage],
) -> None:
    here = stage()
    here.write(FILE, ("user: www", "user: www2"))
    here.registry.push("mariadb", "9")
    story.upgrade(here.site(), ["db"])
    assert here["n1"].starts() == {"api": 0, "db": 1, "web": 0}
    story.upgrade(here.site())
    assert here["n1"].starts() == {"api": 0, "db": 1, "web": 1}


def test_an_image_that_one_node_cannot_have_touches_none(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    here.registry.push("mariadb", "9")
    here["n2"].raises["pull"] = [HostError("n2: no space left on device")]
    with pytest.raises(images.PullError) as raised:
        story.upgrade(here.site())
    assert str(raised.value) == ("n2: no space left on device: nothing was changed on any node")
    assert [one.starts() for one in here.hosts.values()] == [{"api": 0, "db": 0, "web": 0}] * 2
    assert [one.running()["db"] for one in here.hosts.values()] == ["1", "1"]


def test_a_broken_image_goes_back_and_the_rollout_stops(
    stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    here = stage("n1", "n2", "n3")
    here.registry.push("mariadb", "9")
    here["n2"].broken = ["9" * 64]
    results = story.upgrade(here.site(), ["db"])
    old = "registry.lab:5000/mariadb@sha256:111111111111"
    assert {one.change.host: one.error for one in results if one.change.service == "db"} == {
        "n1": None,
        "n2": f"it did not come up: db failed: exit status 1; went back to {old}, which is up",
        "n3": "not touched: the roll-out was stopped",
    }
    assert [one.running() for one in here.hosts.values()] == [
        {"api": "2", "db": "9", "web": "3"},
        {"api": "2", "db": "1", "web": "3"},
        {"api": "2", "db": "1", "web": "3"},
    ]
    assert here["n2"].states() == {"api": "active", "db": "healthy", "web": "active"}
    assert here["n2"].starts() == {"api": 0, "db": 2, "web": 0}
    assert here["n3"].did("observe", "pull") == []
    assert caplog.messages[-2:] == ["n2: db | starting", "n2: db | no such table"]


def test_one_that_takes_its_dependents_down_goes_back_and_they_come_up(
    stage: Callable[..., Stage],
) -> None:
    here = stage("n1", "n2")
    here.registry.push("mariadb", "9")
    here["n1"].poison = {"9" * 64: ["api"]}
    results = story.upgrade(here.site(), ["db"])
    assert results[0].error == (
        "it came up, but api on n1 is failed; went back to "
        "registry.lab:5000/mariadb@sha256:111111111111, which is up"
    )
    assert here["n1"].states() == {"api": "active", "db": "healthy", "web": "active"}
    assert here["n1"].running() == {"api": "2", "db": "1", "web": "3"}
    assert here["n1"].starts() == {"api": 1, "db": 2, "web": 0}
    assert here["n2"].did("observe", "pull") == []
    assert here.clock.seconds < 1000 + 100


def test_dependents_that_were_down_before_are_not_blamed_on_it(
    stage: Callable[..., Stage],
) -> None:
    here = stage()
    here.registry.push("mariadb", "9")
    here["n1"].fall("api")
    here["n1"].broken = ["keystone"]
    results = story.upgrade(here.site(), ["db"])
    assert results[0].error is None
    assert results[1].error == "it is failed"
    assert here["n1"].running()["db"] == "9"


def test_when_the_old_one_does_not_come_up_either_it_is_said(
    stage: Callable[..., Stage],
) -> None:
    here = stage()
    here.registry.push("mariadb", "9")
    here["n1"].broken = ["mariadb"]
    results = story.upgrade(here.site(), ["db"])
    assert results[0].error == (
        "it did not come up: db failed: exit status 1; went back to "
        "registry.lab:5000/mariadb@sha256:111111111111, which does not come up either: "
        "db failed: exit status 1"
    )
    assert str(results[0].state) == "failed"


def test_a_node_that_is_lost_on_the_way_stops_the_rollout(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    here.registry.push("mariadb", "9")
    lost = HostError("n1: the connection was lost during restart")

    def lose() -> None:
        here["n1"].raises["observe"] = [lost] * 9

    here["n1"].raises["restart"] = [lost]
    here["n1"].does["tidy"] = lose
    here["n1"].does["install"] = lose
    results = story.upgrade(here.site(), ["db"])
    assert summary(results)[0] == (
        "n1",
        "db",
        "change",
        "None",
        "n1: the connection was lost during restart; going back failed too: "
        "n1: the connection was lost during restart",
    )
    assert here["n2"].did("observe", "pull") == []


def test_several_nodes_at_a_time(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2", "n3", "n4")
    here.registry.push("mariadb", "9")
    for name in ("n1", "n2"):  # both are begun before either fails
        here[name].broken = ["9" * 64]
    results = story.upgrade(here.site(), ["db"], serial=2)
    errors = {one.change.host: one.error for one in results if one.change.service == "db"}
    old = "registry.lab:5000/mariadb@sha256:111111111111"
    said = f"it did not come up: db failed: exit status 1; went back to {old}, which is up"
    stopped = "not touched: the roll-out was stopped"
    assert errors == {"n1": said, "n2": said, "n3": stopped, "n4": stopped}
    assert [one.running()["db"] for one in here.hosts.values()] == ["1"] * 4


def test_back_by_hand_and_forth_again(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    here.registry.push("mariadb", "9")
    story.upgrade(here.site(), ["db"])
    here.forget()
    here.registry.down = True
    results = by_hand.rollback(here.site(), ["db"])
    assert [(one.change.host, str(one.change.action), one.change.reasons) for one in results] == [
        (
            host,
            "rollback",
            (f"back to what was before: image's digest: sha256:{'9' * 64} -> sha256:{'1' * 64}",),
        )
        for host in ("n1", "n2")
    ]
    assert [one.running()["db"] for one in here.hosts.values()] == ["1", "1"]
    assert [one.starts() for one in here.hosts.values()] == [{"api": 0, "db": 1, "web": 0}] * 2
    # what was gone back to is kept: the file asks for the same tag
    assert nothing_to_do(story.apply(here.site()))
    by_hand.rollback(here.site(), ["db"])
    assert [one.running()["db"] for one in here.hosts.values()] == ["9", "9"]


def test_nothing_to_go_back_to(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    with pytest.raises(by_hand.NotThere) as raised:
        by_hand.rollback(here.site(), ["db"])
    assert str(raised.value) == (
        "n1: db has nothing to go back to; n2: db has nothing to go back to "
        "(nothing was changed; see what is there: provision services status)"
    )


def test_a_way_back_that_fails_comes_forth_again(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    here.registry.push("mariadb", "9")
    story.upgrade(here.site(), ["db"])
    here["n1"].broken = ["1" * 64]
    results = by_hand.rollback(here.site(), ["db"])
    assert [one.error for one in results] == [
        "it did not come up: db failed: exit status 1; went back to "
        "registry.lab:5000/mariadb@sha256:999999999999, which is up",
        "not touched: the roll-out was stopped",
    ]
    assert [one.running()["db"] for one in here.hosts.values()] == ["9", "9"]


def test_the_image_of_before_is_brought_if_it_is_gone(stage: Callable[..., Stage]) -> None:
    here = stage()
    old = here.registry.tags["registry.lab:5000/mariadb:1"]
    here.registry.push("mariadb", "9")
    story.upgrade(here.site(), ["db"])
    del here["n1"].images[old]
    here.registry.down = True
    with pytest.raises(images.PullError):
        by_hand.rollback(here.site(), ["db"])
    assert here["n1"].running()["db"] == "9"
    here.registry.down = False
    by_hand.rollback(here.site(), ["db"])
    assert here["n1"].running()["db"] == "1"


def test_a_restart_by_hand(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    results = by_hand.restart(here.site("n1"), ["web", "api"])
    assert [(one.change.service, str(one.change.action)) for one in results] == [
        ("api", "restart"),
        ("web", "restart"),
    ]
    assert here["n1"].starts() == {"api": 1, "db": 0, "web": 1}
    assert here["n2"].starts() == {"api": 0, "db": 0, "web": 0}
    assert not any("install" in one for one in here["n1"].asked)


def test_a_restart_that_fails_puts_nothing_back(stage: Callable[..., Stage]) -> None:
    here = stage()
    here["n1"].broken = ["httpd"]
    (result,) = by_hand.restart(here.site(), ["web"])
    assert result.error == "it did not come up: web failed: exit status 1"
    assert not any("restore" in one for one in here["n1"].asked)


def test_a_restart_of_what_is_not_there(stage: Callable[..., Stage]) -> None:
    here = stage()
    here.write(FILE.replace("  web:", "  www:"))
    with pytest.raises(by_hand.NotThere) as raised:
        by_hand.restart(here.site(), ["www", "db"])
    assert str(raised.value) == (
        "n1: www is not there (nothing was changed; see what is there: provision services status)"
    )
    assert here["n1"].starts()["db"] == 0


def test_remove_takes_dependents_first_and_what_the_file_forgot(
    stage: Callable[..., Stage],
) -> None:
    here = stage("n1", "n2")
    assert remove(here.site("n2"), ["db"]) == [Removed(host="n2", services=("db",))]
    here.write(FILE.replace("  web:", "  www:"))
    assert remove(here.site()) == [
        Removed(host="n1", services=("web", "api", "db")),
        Removed(host="n2", services=("web", "api")),
    ]
    assert remove(here.site()) == []
    here["n2"].raises["observe"] = [HostError("n2: gone")]
    with pytest.raises(Unreachable):
        remove(here.site())


def test_a_removal_that_fails_is_said(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    here["n1"].raises["remove"] = [HostError("n1: demo-db did not stop in time")]
    assert remove(here.site(), ["db"]) == [
        Removed(host="n1", services=("db",), error="n1: demo-db did not stop in time"),
        Removed(host="n2", services=("db",)),
    ]

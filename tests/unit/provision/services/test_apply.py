"""Converge nodes with state: what is touched, what is not, and what failing comes to."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from atomic_baremetal.errors import Error
from provision.services import apply as story
from provision.services.converge import Result
from provision.services.host import Container, HostError
from provision.services.images import PullError, RootInside
from provision.services.plan import NotOurs
from provision.services.site import Unreachable
from tests.unit.provision.services.fakes import FILE, Stage, nothing_to_do


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Stage]:
    return lambda *names, **more: Stage(tmp_path, *names, **more)


def summary(results: list[Result]) -> list[tuple[str, str, str, str, str | None]]:
    return [
        (
            one.change.host,
            one.change.service,
            str(one.change.action),
            str(one.state),
            one.error,
        )
        for one in results
    ]


def test_from_nothing(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    results = story.apply(here.site())
    assert summary(results) == [
        (host, service, "create", state, None)
        for host in ("n1", "n2")
        for service, state in (("db", "healthy"), ("api", "running"), ("web", "running"))
    ]
    assert here["n1"].running() == {"api": "2", "db": "1", "web": "3"}
    assert here["n1"].starts() == {"api": 1, "db": 1, "web": 1}
    # a tag is looked up once, by one node
    assert [one for one in here.registry.asked if "@" not in one] == [
        "n1 registry.lab:5000/mariadb:1",
        "n1 registry.lab:5000/keystone:1",
        "n1 registry.lab:5000/httpd:1",
    ]
    restarts = [one for one in here["n1"].asked if one.startswith("restart")]
    assert restarts == ["restart db", "restart api", "restart web"]


def test_again_it_looks_once_and_touches_nothing(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    story.apply(here.site())
    here.forget()
    here.registry.down = True
    here.registry.push("mariadb", "9")
    results = story.apply(here.site())
    assert nothing_to_do(results)
    assert [one.asked for one in here.hosts.values()] == [["observe"], ["observe"]]
    assert not here.registry.asked


@pytest.mark.parametrize(
    ("before", "after", "restarted", "reasons"),
    [
        ("[mysqld]", "[mysqld] x", ["db"], ["config my.cnf"]),
        ("very-secret", "other", ["api"], ["environment TOKEN"]),
        ("user: www", "user: www2", ["web"], ["user: www -> www2"]),
        (
            "user: www",
            "user: www\n    mem_limit: 1g",
            ["web"],
            ["mem_limit: 1073741824 added"],
        ),
        ("condition: service_healthy", "restart: true, condition: service_healthy", [], []),
    ],
)
def test_exactly_what_a_change_touches_is_restarted(
    stage: Callable[..., Stage], before: str, after: str, restarted: list[str], reasons: list[str]
) -> None:
    here = stage()
    story.apply(here.site())
    here.forget()
    here.write(FILE, (before, after))
    results = story.apply(here.site())
    assert [name for name, count in here["n1"].starts().items() if count] == restarted
    assert [reason for one in results for reason in one.change.reasons] == reasons
    assert not any("secret" in reason for one in results for reason in one.change.reasons)


def test_values_that_mean_the_same_restart_nothing(stage: Callable[..., Stage]) -> None:
    here = stage()
    here.write(FILE, ("user: www", "user: www\n    mem_limit: 1g"))
    story.apply(here.site())
    here.forget()
    here.write(FILE, ("user: www", "user: www\n    mem_limit: 1073741824"))
    assert nothing_to_do(story.apply(here.site()))
    assert here["n1"].asked == ["observe"]


def test_restart_true_takes_the_dependent_along(stage: Callable[..., Stage]) -> None:
    here = stage()
    with_restart = FILE.replace("{condition: s", "{restart: true, condition: s")
    here.write(with_restart)
    story.apply(here.site())
    here.forget()
    here.write(with_restart, ("[mysqld]", "[mysqld] x"))
    results = story.apply(here.site())
    assert [
        (one.change.service, str(one.change.action), one.change.reasons) for one in results
    ] == [
        ("db", "change", ("config my.cnf",)),
        ("api", "restart", ("db is started anew (restart: true)",)),
        ("web", "nothing", ()),
    ]
    assert here["n1"].starts() == {"api": 1, "db": 1, "web": 0}


def test_a_new_image_in_the_file_is_looked_up(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    story.apply(here.site())
    here.forget()
    here.registry.tags["registry.lab:5000/httpd:2"] = here.registry.push("httpd", "7")
    here.write(FILE, ("httpd:1", "httpd:2"))
    story.apply(here.site())
    assert here["n2"].running() == {"api": "2", "db": "1", "web": "7"}
    assert here["n2"].starts() == {"api": 0, "db": 0, "web": 1}


def test_nodes_that_disagree_keep_what_they_have_until_an_upgrade(
    stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    """A roll-out that was stopped is in no one's way, and nothing goes on with it unasked."""
    here = stage("n1", "n2", "n3")
    story.apply(here.site("n1", "n2"))
    here.registry.push("httpd", "7")
    story.upgrade(here.site("n1"), ["web"])
    here.registry.push("httpd", "8")
    here.forget()
    here.write(FILE, ("user: www", "user: www2"))
    story.apply(here.site())
    # one that is new there can take neither's
    assert [one.running()["web"] for one in here.hosts.values()] == ["7", "3", "8"]
    warnings = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warnings[0] == (
        "web is not the same image on all nodes: sha256:777777777777 on n1; "
        "sha256:333333333333 on n2"
    )
    story.upgrade(here.site(), ["web"])
    assert [one.running()["web"] for one in here.hosts.values()] == ["8", "8", "8"]


def test_a_new_node_gets_what_the_others_run(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    story.apply(here.site("n1"))
    here.registry.push("httpd", "7")
    story.apply(here.site())
    assert here["n2"].running() == {"api": "2", "db": "1", "web": "3"}
    assert here["n1"].starts() == {"api": 1, "db": 1, "web": 1}


def test_a_new_node_gets_it_though_the_others_are_not_part_of_the_command(
    stage: Callable[..., Stage],
) -> None:
    here = stage("n1", "n2", "n3")
    here["n1"].raises["observe"] = [HostError("n1: no route to host")]
    story.apply(here.site("n2"))
    here.registry.push("httpd", "7")
    here["n1"].raises["observe"] = [HostError("n1: no route to host")]
    here.forget()
    story.apply(here.site("n3"))
    assert here["n3"].running() == {"api": "2", "db": "1", "web": "3"}
    assert here["n2"].asked == ["observe"]
    assert not [one for one in here.registry.asked if "@" not in one]


def test_what_was_edited_on_the_node_is_restored(stage: Callable[..., Stage]) -> None:
    here = stage()
    story.apply(here.site())
    here.forget()
    units = here["n1"].units
    (path,) = units["db"].configs
    units["db"].configs[path] = type(units["db"].configs[path])(sha256="0" * 64, mode=0o444)
    units["web"].unit = f"{units['web'].current}# edited\n"
    results = story.apply(here.site())
    assert {one.change.service: one.change.reasons for one in results} == {
        "db": ("config my.cnf was edited on the node",),
        "api": (),
        "web": ("its unit file was edited on the node",),
    }
    assert here["n1"].starts() == {"api": 0, "db": 1, "web": 1}
    assert nothing_to_do(story.apply(here.site()))


def test_a_digest_that_somebody_wrote_into_a_unit_is_not_kept(
    stage: Callable[..., Stage],
) -> None:
    here = stage("n1", "n2")
    story.apply(here.site())
    web = here["n1"].units["web"]
    web.unit = web.current = str(web.current).replace("3" * 64, "7" * 64)
    here["n1"].images[f"registry.lab:5000/httpd@sha256:{'7' * 64}"] = "nobody"
    here.registry.down = True
    story.apply(here.site())
    assert here["n1"].running()["web"] == "3"


def test_what_is_not_running_is_started(stage: Callable[..., Stage]) -> None:
    here = stage()
    story.apply(here.site())
    here.forget()
    here["n1"].fall("api")
    results = story.apply(here.site())
    assert [one.change.reasons for one in results] == [(), ("it is failed",), ()]
    assert here["n1"].starts() == {"api": 1, "db": 0, "web": 0}
    assert "install" not in " ".join(here["n1"].asked)


def test_an_install_that_was_interrupted_is_finished(stage: Callable[..., Stage]) -> None:
    here = stage()
    story.apply(here.site())
    here.write(FILE, ("user: www", "user: www2"))
    here["n1"].raises["restart"] = [HostError("n1: the connection was lost")]
    here["n1"].raises["restore"] = [HostError("n1: the connection was lost")]
    first = story.apply(here.site())
    assert first[-1].error == (
        "n1: the connection was lost; going back failed too: n1: the connection was lost"
    )
    here.forget()
    results = story.apply(here.site())
    assert results[-1].change.reasons == ("its container runs an older unit",)
    assert here["n1"].starts() == {"api": 0, "db": 0, "web": 1}


def test_orphans_are_shown_and_removed_only_when_asked(stage: Callable[..., Stage]) -> None:
    here = stage()
    story.apply(here.site())
    here.write(FILE.replace("  web:", "  www:"))
    results = story.apply(here.site())
    assert summary(results)[-1] == ("n1", "web", "orphan", "running", None)
    assert set(here["n1"].units) == {"db", "api", "web", "www"}
    results = story.apply(here.site(), remove_orphans=True)
    assert summary(results)[-1] == ("n1", "web", "orphan", "absent", None)
    assert set(here["n1"].units) == {"db", "api", "www"}


def test_a_stranger_is_left_alone(stage: Callable[..., Stage]) -> None:
    here = stage()
    here["n1"].strangers = [Container(name="mine", id="1", image="x", state="running")]
    story.apply(here.site())
    assert not any("mine" in one for one in here["n1"].asked)


def test_a_stranger_of_our_name_is_not_replaced(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    here["n2"].strangers = [Container(name="demo-db", id="1", image="x", state="running")]
    with pytest.raises(NotOurs) as raised:
        story.apply(here.site())
    assert str(raised.value) == (
        "n2: there is a container demo-db that is not ours: nothing was changed on any node "
        "(remove or rename it there: podman rename demo-db NAME)"
    )
    assert not here["n1"].units


def test_a_node_that_does_not_answer_stops_all_before_anything(
    stage: Callable[..., Stage],
) -> None:
    here = stage("n1", "n2")
    here["n2"].raises["observe"] = [HostError("n2: no route to host")]
    with pytest.raises(Unreachable) as raised:
        story.apply(here.site())
    assert str(raised.value) == (
        "n2: no route to host: nothing was changed on any node (leave hosts out with --on '!NAME')"
    )
    assert not here["n1"].units


def test_an_image_that_cannot_be_had(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    here.registry.down = True
    with pytest.raises(PullError) as raised:
        story.apply(here.site())
    assert str(raised.value) == (
        "n1: pull of registry.lab:5000/mariadb:1 failed: connection refused: "
        "nothing was changed on any node"
    )
    assert not here["n1"].units


@pytest.mark.parametrize("user", ["", "root", "0", "0:0", "00:5"])
def test_root_inside_has_to_be_meant(stage: Callable[..., Stage], user: str) -> None:
    here = stage()
    here.write(FILE, ("    user: www\n", ""))
    here.registry.push("httpd", "3", user=user)
    with pytest.raises(RootInside) as raised:
        story.apply(here.site())
    assert str(raised.value) == (
        "root inside is not the default: registry.lab:5000/httpd:1 of web runs as root: "
        'nothing was changed on any node (give the service a `user:`, or user: "0:0" if root '
        "is meant)"
    )
    assert not here["n1"].units
    here.write(FILE, ("user: www", 'user: "0:0"'))
    assert summary(story.apply(here.site()))[-1][-1] is None


def test_a_user_of_the_image_is_fine(stage: Callable[..., Stage]) -> None:
    here = stage()
    here.write(FILE, ("    user: www\n", ""))
    results = story.apply(here.site())
    assert results[-1].change.reasons == ("it is not there", "user nobody of its image")
    here.forget()
    here.write(FILE, ("    user: www\n", "    hostname: web\n"))
    here.registry.down = True
    assert summary(story.apply(here.site()))[-1][-1] is None


def test_what_does_not_come_up_at_first_is_taken_away(stage: Callable[..., Stage]) -> None:
    here = stage()
    here["n1"].broken = ["/httpd@"]
    results = story.apply(here.site())
    assert summary(results) == [
        ("n1", "db", "create", "healthy", None),
        ("n1", "api", "create", "running", None),
        (
            "n1",
            "web",
            "create",
            "absent",
            "it did not come up: web failed: exit status 1; taken away again",
        ),
    ]


def test_a_bad_change_goes_back(
    stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    here = stage("n1", "n2")
    story.apply(here.site())
    here.forget()
    here["n1"].broken = ["www2"]
    here.write(FILE, ("user: www", "user: www2"))
    results = story.apply(here.site())
    digest = "registry.lab:5000/httpd@sha256:333333333333"
    assert summary(results)[2] == (
        "n1",
        "web",
        "change",
        "running",
        f"it did not come up: web failed: exit status 1; went back to {digest}, which is up",
    )
    assert summary(results)[5] == (
        "n2",
        "web",
        "change",
        "running",
        "not touched: the roll-out was stopped",
    )
    assert here["n2"].starts() == {"api": 0, "db": 0, "web": 0}
    assert "n1: web | no such table" in caplog.messages
    # the time of one service, going back included
    assert here.clock.seconds < 1000 + 60 + 20


def test_no_host_is_begun_before_the_last_is_done(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2")
    story.apply(here.site())
    here.forget()
    here.write(FILE, ("[mysqld]", "[mysqld] x"), ("user: www", "user: www2"))
    order: list[str] = []
    for host in here.hosts.values():
        host.does["restart db"] = lambda name=host.name: order.append(f"{name} db")  # type: ignore[misc]
        host.does["restart web"] = lambda name=host.name: order.append(f"{name} web")  # type: ignore[misc]
        host.does["tidy"] = lambda name=host.name: order.append(f"{name} tidy")  # type: ignore[misc]
    story.apply(here.site())
    assert order == ["n1 db", "n1 web", "n1 tidy", "n2 db", "n2 web", "n2 tidy"]


ACROSS = """
name: demo
services:
  db:
    image: registry.lab:5000/mariadb:1
    user: "999"
    healthcheck: {test: [CMD, ping]}
    x-provision: {hosts: n2}
  api:
    image: registry.lab:5000/keystone:1
    user: "42"
    depends_on: {db: {condition: service_healthy}}
    x-provision: {hosts: n1}
"""


def test_a_service_waits_for_the_one_on_another_node(stage: Callable[..., Stage]) -> None:
    here = stage("n1", "n2", text=ACROSS)
    order: list[str] = []
    here["n1"].does["restart api"] = lambda: order.append("api")
    here["n2"].does["restart db"] = lambda: order.append("db")
    story.apply(here.site())
    assert order == ["db", "api"]


def test_restart_true_reaches_another_node(stage: Callable[..., Stage]) -> None:
    with_restart = ACROSS.replace("{condition: s", "{restart: true, condition: s")
    here = stage("n1", "n2", text=with_restart)
    story.apply(here.site())
    here.forget()
    here.write(with_restart, ('user: "999"', 'user: "998"'))
    order: list[str] = []
    here["n1"].does["restart api"] = lambda: order.append("api")
    here["n2"].does["restart db"] = lambda: order.append("db")
    results = story.apply(here.site())
    assert [(one.change.service, one.change.reasons, one.error) for one in results] == [
        ("api", ("db on n2 is started anew (restart: true)",), None),
        ("db", ("user: 999 -> 998",), None),
    ]
    assert order == ["db", "api"]


def test_the_other_node_is_looked_at_when_it_is_not_part_of_the_command(
    stage: Callable[..., Stage],
) -> None:
    here = stage("n1", "n2", text=ACROSS)
    results = story.apply(here.site("n1"))
    assert summary(results) == [
        (
            "n1",
            "api",
            "create",
            "absent",
            "not touched: it needs db on n2, where it is absent",
        )
    ]
    story.apply(here.site("n2"))
    assert summary(story.apply(here.site("n1"))) == [("n1", "api", "create", "running", None)]
    assert here["n2"].starts() == {"db": 1}


def test_an_interrupt_finishes_the_service_in_hand_and_begins_no_other(
    stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    here = stage("n1", "n2")
    story.apply(here.site())
    here.forget()
    here.write(FILE, ("[mysqld]", "[mysqld] x"), ("user: www", "user: www2"))
    main = threading.main_thread().ident
    assert main is not None
    heard = threading.Event()

    def interrupt() -> None:
        signal.pthread_kill(main, signal.SIGINT)
        heard.wait(0.2)  # the main thread has it by then

    here["n1"].does["restart db"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        story.apply(here.site())
    assert here["n1"].starts() == {"api": 0, "db": 1, "web": 0}
    assert here["n1"].states()["db"] == "healthy"
    assert here["n2"].starts() == {"api": 0, "db": 0, "web": 0}
    assert "interrupted: finishing db on n1; Ctrl-C again leaves it as it is" in caplog.messages
    assert "interrupted; not touched: web on n1, db on n2, web on n2" in caplog.messages


def test_a_dry_run_changes_nothing_and_asks_no_registry(stage: Callable[..., Stage]) -> None:
    here = stage()
    planned = story.dry_run(here.site())
    assert [(one.service, str(one.action), one.reasons) for one in planned.changes] == [
        ("db", "create", ("it is not there", "user 999:999", "its tag is to be looked up")),
        ("api", "create", ("it is not there", "user 42", "its tag is to be looked up")),
        ("web", "create", ("it is not there", "user www", "its tag is to be looked up")),
    ]
    assert here["n1"].asked == ["observe"]
    story.apply(here.site())
    here.write(FILE, ("httpd:1", "httpd:2"))
    planned = story.dry_run(here.site())
    assert [one.reasons for one in planned.changes] == [
        (),
        (),
        (
            "image: registry.lab:5000/httpd:1 -> registry.lab:5000/httpd:2",
            "its tag is to be looked up",
        ),
    ]


def test_something_that_is_not_for_us_to_catch_is_raised(stage: Callable[..., Stage]) -> None:
    here = stage()
    here["n1"].raises["install"] = [ValueError("a bug")]
    with pytest.raises(ValueError, match="a bug"):
        story.apply(here.site())


def test_an_error_of_one_node_stays_an_error(stage: Callable[..., Stage]) -> None:
    here = stage()
    here["n1"].raises["install"] = [HostError("n1: no space left on device")]
    results = story.apply(here.site())
    assert summary(results)[0] == (
        "n1",
        "db",
        "create",
        "absent",
        "n1: no space left on device",
    )
    assert summary(results)[1][-1] == "not touched: the roll-out was stopped"
    assert issubclass(HostError, Error)

"""Fakes with state for the stories of services: nodes with podman and systemd, a registry, time."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from provision.services import placement
from provision.services.converge import Result
from provision.services.file import compose
from provision.services.host import (
    Container,
    FileState,
    HostError,
    Image,
    Install,
    Observed,
    OnNode,
    Outcome,
)
from provision.services.model import Project, Registry
from provision.services.plan import Action
from provision.services.site import Site
from provision.services.unit import render

IDS = itertools.count(1)
FILE = """
name: demo
services:
  db:
    image: registry.lab:5000/mariadb:1
    user: "999:999"
    configs: [{source: my.cnf, target: /etc/my.cnf}]
    healthcheck: {test: [CMD, ping]}
  api:
    image: registry.lab:5000/keystone:1
    user: "42"
    environment: {TOKEN: very-secret}
    depends_on: {db: {condition: service_healthy}}
  web:
    image: registry.lab:5000/httpd:1
    user: www
configs:
  my.cnf: {content: "[mysqld]"}
"""


def project(directory: Path, text: str = FILE) -> Project:
    """Load a file of services from its text."""
    file = directory / "services.yaml"
    file.write_text(text)
    return compose.load(file, environ={})


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


class FakeClock:
    """Pass the time at once."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.seconds += seconds
        assert self.seconds < 100_000, "this never ends"


class FakeRegistry:
    """Know tags, and what is wrong with images."""

    def __init__(self, **letters: str) -> None:
        self.tags = {
            f"registry.lab:5000/{name}:1": f"registry.lab:5000/{name}@{digest(letter)}"
            for name, letter in letters.items()
        }
        self.digests = set(self.tags.values())
        self.users: dict[str, str] = {}
        self.down = False
        self.asked: list[str] = []

    def push(self, name: str, letter: str, *, user: str | None = None) -> str:
        """Move the tag 1 of a repository to another digest, and return the name by it."""
        pinned = f"registry.lab:5000/{name}@{digest(letter)}"
        self.tags[f"registry.lab:5000/{name}:1"] = pinned
        self.digests.add(pinned)
        if user is not None:
            self.users[pinned] = user
        return pinned


@dataclass(slots=True, kw_only=True)
class Unit:
    """What a node has of a service."""

    unit: str | None = None
    current: str | None = None
    previous: str | None = None
    started: str | None = None
    active: str = "inactive"
    sub: str = "dead"
    health: str | None = None
    container: str | None = None
    runs: str | None = None
    starts: int = 0
    configs: dict[str, FileState] = field(default_factory=dict)


class FakeHost:
    """Be a node: what is asked for happens at once, and stays.

    Told beforehand: `broken` units (by a piece of their text) never come up; while a unit with a
    piece of `poison` runs, the services named for it are down; `raises` by method.
    """

    def __init__(self, name: str, registry: FakeRegistry, clock: FakeClock) -> None:
        self.name = name
        self.round_trips = 0
        self.registry = registry
        self.clock = clock
        self.units: dict[str, Unit] = {}
        self.images: dict[str, str] = {}
        self.secrets: dict[str, bytes] = {}
        self.strangers: list[Container] = []
        self.trusted: dict[str, Registry] = {}
        self.broken: list[str] = []
        self.poison: dict[str, list[str]] = {}
        self.raises: dict[str, list[BaseException]] = {}
        self.does: dict[str, Callable[[], None]] = {}
        self.podman = (4, 3, 1)
        self.asked: list[str] = []

    # Host

    def observe(self, project: str) -> Observed:
        self._call("observe")
        return Observed(
            podman=self.podman,
            systemd=252,
            services={
                name: self._seen(project, name, one)
                for name, one in self.units.items()
                if project == "demo"
            },
            projects=("demo",) if self.units else (),
            strangers=tuple(self.strangers),
            images=frozenset(self.images),
            secrets=frozenset(self.secrets),
        )

    def trust(self, registries: Mapping[str, Registry]) -> None:
        self._call("trust")
        self.trusted.update(registries)

    def pull(self, images: Sequence[str], *, timeout_s: float) -> list[Image]:
        self._call("pull " + " ".join(images))
        assert images
        return [self._pulled(image) for image in images]

    def install(self, what: Install) -> None:
        self._call("install " + " ".join(what.units))
        for service, text in what.units.items():
            one = self.units.setdefault(service, Unit())
            if one.current not in (None, text) and one.current == one.started:
                one.previous = one.current
            one.unit = one.current = text
            for name, files in what.configs.get(service, {}).items():
                one.configs = {
                    key: file for key, file in one.configs.items() if not key.startswith(name)
                }
                one.configs |= {
                    f"{name}/{file}": FileState(sha256=sha256(content).hexdigest(), mode=mode)
                    for file, (content, mode) in files.items()
                }
        self.secrets.update(what.secrets)

    def restart(self, project: str, service: str, *, timeout_s: float) -> Outcome:
        self._call(f"restart {service}")
        return self._start(service, timeout_s)

    def stop(self, project: str, service: str, *, timeout_s: float) -> Outcome:
        self._call(f"stop {service}")
        self._set(service, "inactive", "dead")
        return Outcome(ok=True)

    def restore(self, project: str, service: str, *, swap: bool, timeout_s: float) -> Outcome:
        self._call(f"restore {service}" + (" swap" if swap else ""))
        one = self.units[service]
        if one.previous is None:
            assert not swap
            del self.units[service]
            return Outcome(ok=True)
        one.current, one.previous = one.previous, one.current if swap else None
        one.unit = one.current
        return self._start(service, timeout_s)

    def remove(self, project: str, services: Sequence[str], *, timeout_s: float) -> None:
        self._call("remove " + " ".join(services))
        for service in services:
            del self.units[service]

    def tidy(self, project: str) -> None:
        self._call("tidy")

    def logs(self, project: str, service: str, *, lines: int, timeout_s: float) -> list[str]:
        self._call(f"logs {service}")
        return [f"{self.name} {service} {number}" for number in range(1, 101)][-lines:]

    # what a test looks at, and does

    def starts(self) -> dict[str, int]:
        return {name: one.starts for name, one in sorted(self.units.items())}

    def running(self) -> dict[str, str]:
        """By service, the letter of the digest that its container was started from."""
        return {
            name: render.record(one.runs).pinned[-1]
            for name, one in sorted(self.units.items())
            if one.runs is not None and one.active == "active"
        }

    def states(self) -> dict[str, str]:
        return {name: one.health or one.active for name, one in sorted(self.units.items())}

    def fall(self, service: str) -> None:
        self._set(service, "failed", "failed")

    def did(self, *verbs: str) -> list[str]:
        """What was asked, but for these verbs."""
        return [one for one in self.asked if one.split(maxsplit=1)[0] not in verbs]

    # inside

    def _start(self, service: str, timeout_s: float) -> Outcome:
        one = self.units[service]
        text = one.unit
        assert text is not None, "a unit that is not there was started"
        assert render.record(text).pinned in self.images, "started without its image"
        self.clock.seconds += 1
        one.starts += 1
        if any(piece in text for piece in self.broken):
            self._set(service, "failed", "failed")
            self.clock.seconds += timeout_s
            return Outcome(
                ok=False, said=f"{service} failed: exit status 1", log=("starting", "no such table")
            )
        self._set(service, "active", "running", text)
        one.started = text
        for piece, others in self.poison.items():
            if piece in text:
                for other in others:
                    self._set(other, "failed", "failed")
        return Outcome(ok=True)

    def _set(self, service: str, active: str, sub: str, text: str | None = None) -> None:
        one = self.units[service]
        one.active, one.sub, one.runs = active, sub, text
        one.container = f"id-{next(IDS)}" if text else None
        one.health = "healthy" if text and "--health-cmd" in text else None

    def _seen(self, project: str, service: str, one: Unit) -> OnNode:
        container = None
        if one.container is not None and one.runs is not None:
            record = render.record(one.runs)
            container = Container(
                name=f"{project}-{service}",
                id=one.container,
                image=record.pinned,
                state="running",
                health=one.health,
                unit_digest=record.digest,
                user="999",
                started_at=1_700_000_000.0,
            )
        return OnNode(
            service=service,
            unit=one.unit,
            current=one.current,
            previous=one.previous,
            active=one.active,
            sub=one.sub,
            since=1_700_000_000.0 if one.active == "active" else 0.0,
            container=container,
            configs=dict(one.configs),
        )

    def _pulled(self, image: str) -> Image:
        if image in self.images:
            return Image(name=image, pinned=image, user=self.images[image])
        self.registry.asked.append(f"{self.name} {image}")
        if self.registry.down:
            raise HostError(f"{self.name}: pull of {image} failed: connection refused")
        known = {**self.registry.tags, **{one: one for one in self.registry.digests}}
        if image not in known:
            raise HostError(f"{self.name}: pull of {image} failed: manifest unknown")
        pinned = known[image]
        self.images[pinned] = self.registry.users.get(pinned, "nobody")
        return Image(name=image, pinned=pinned, user=self.images[pinned])

    def _call(self, what: str) -> None:
        self.round_trips += 1
        self.asked.append(what)
        verb = what.split(maxsplit=1)[0]
        for key in (what, verb):
            if self.raises.get(key):
                raise self.raises[key].pop(0)
            if key in self.does:
                self.does.pop(key)()


class Stage:
    """A site of fake nodes, and what became of them."""

    def __init__(self, directory: Path, *names: str, text: str = FILE) -> None:
        self.directory = directory
        self.clock = FakeClock()
        self.registry = FakeRegistry(mariadb="1", keystone="2", httpd="3")
        self.hosts = {name: FakeHost(name, self.registry, self.clock) for name in names or ("n1",)}
        self.project = project(directory, text)

    def __getitem__(self, name: str) -> FakeHost:
        return self.hosts[name]

    def write(self, text: str, *changes: tuple[str, str]) -> None:
        """Let the file have another text, with pieces of it exchanged."""
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        self.project = project(self.directory, text)

    def site(self, *on: str, **more: Any) -> Site:
        places = [placement.Place(name=name) for name in self.hosts]
        return Site(
            project=self.project,
            placed=placement.place(self.project, places),
            hosts={name: one for name, one in self.hosts.items() if not on or name in on},
            others={name: one for name, one in self.hosts.items() if on and name not in on},
            **{"wait_s": 60.0, "now": self.clock.now, "sleep": self.clock.sleep, **more},
        )

    def forget(self) -> None:
        """Begin to count anew."""
        for one in self.hosts.values():
            one.asked.clear()
            one.round_trips = 0
            for unit in one.units.values():
                unit.starts = 0
        self.registry.asked.clear()


def nothing_to_do(results: Sequence[Result]) -> bool:
    """Whether every service was found as it is to be, and up."""
    return all(
        one.change.action is Action.NOTHING and one.error is None and one.state and one.state.up
        for one in results
    )

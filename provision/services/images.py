"""Find which image, by digest, each service is to run, and bring images to the nodes beforehand.

A tag is looked up once in a run, by one node; all others pull the digest that it found. What the
nodes run already is kept while the file says the same: only an upgrade looks the tag up anew.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from atomic_baremetal.errors import Error
from provision.services import parallel, plan
from provision.services.host import Host, Image, Observed
from provision.services.order import Step
from provision.services.plan import Change
from provision.services.site import Site
from provision.services.unit import render

LOG = logging.getLogger(__name__)
DIGEST = re.compile(
    r"(?P<repository>.+?)(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?@(?P<digest>sha256:[0-9a-f]{64})"
)
UNKNOWN = "sha256:" + "0" * 64  # stands in a dry run for what nobody has looked up


class PullError(Error):
    """Images that could not be brought to nodes."""


class RootInside(Error):
    """Services whose image runs as root, without a word about it in the file."""


def by_digest(image: str) -> str | None:
    """Return an image's name by digest alone, without its tag; None: it names no digest."""
    found = DIGEST.fullmatch(image)
    return f"{found['repository']}@{found['digest']}" if found else None


def placeholder(image: str) -> str:
    """Name an image by a digest that stands for the unknown one."""
    repository, colon, tag = image.rpartition(":")
    return f"{repository if colon and '/' not in tag else image}@{UNKNOWN}"


def named(site: Site) -> dict[Step, str]:
    """Find the digests that the file itself names."""
    services = site.project.services
    return {
        step: pinned
        for step in site.steps()
        if (pinned := by_digest(services[step.service].image)) is not None
    }


def kept(site: Site, seen: Mapping[str, Observed]) -> dict[Step, str]:
    """Find the digests that need not be looked up: those of the file, and those of the nodes.

    A node keeps its own while its unit was made for the image that the file names. One without the
    service takes that of the others, if they agree.
    """
    found = named(site)
    placed = [
        Step(host=host, service=service) for service, hosts in site.placed.items() for host in hosts
    ]
    there = {step: pinned for step in placed if (pinned := _on_node(site, step, seen))}
    for step in site.steps():
        others = {pinned for one, pinned in there.items() if one.service == step.service}
        if step in there:
            found.setdefault(step, there[step])
        elif len(others) == 1 and step.host in seen:
            found.setdefault(step, *others)
    _tell_of_disagreement(there)
    return found


def _on_node(site: Site, step: Step, seen: Mapping[str, Observed]) -> str | None:
    there = seen[step.host].services.get(step.service) if step.host in seen else None
    for text in (there.current, there.unit) if there else ():
        try:
            record = render.record(text or "")
        except Error:
            continue
        # one that was edited counts for nothing, whatever it says
        if record.intact and record.image == site.project.services[step.service].image:
            return record.pinned
    return None


def _tell_of_disagreement(there: Mapping[Step, str]) -> None:
    for service in dict.fromkeys(step.service for step in there):
        digests: dict[str, list[str]] = {}
        for step, pinned in there.items():
            if step.service == service:
                digests.setdefault(short(pinned).partition("@")[2], []).append(step.host)
        if len(digests) > 1:
            hosts = "; ".join(f"{one} on {', '.join(names)}" for one, names in digests.items())
            LOG.warning("%s is not the same image on all nodes: %s", service, hosts)


class Store:
    """Bring images to the nodes of one run, and remember what became known of them."""

    def __init__(self, site: Site) -> None:
        """Know nothing yet."""
        self._site = site
        self._trusting: set[str] = set()
        self._users: dict[str, str] = {}
        self._brought: dict[str, set[str]] = {}

    def look_up(self, steps: Sequence[Step]) -> dict[Step, str]:
        """Pull the images of services by tag, each on the first of the nodes that are to run it.

        :returns: their names by digest.
        :raises PullError: one could not be pulled.
        """
        wanted: dict[str, list[str]] = {}
        first: dict[str, str] = {}
        for step in steps:
            image = self._site.project.services[step.service].image
            if image not in first:
                first[image] = step.host
                wanted.setdefault(step.host, []).append(image)
        found = {one.name: one.pinned for one in self.pull(wanted)}
        for image in sorted(found):
            LOG.info("%s is %s, says %s", image, short(found[image]), first[image])
        services = self._site.project.services
        return {step: found[services[step.service].image] for step in steps}

    def bring(self, changes: Sequence[Change], seen: Mapping[str, Observed]) -> None:
        """Pull by digest, on every node, what is to be started there; refuse root inside.

        :raises PullError: an image could not be brought to a node.
        :raises RootInside: an image runs as root, and the file does not say that it may.
        """
        wanted: dict[str, list[str]] = {}
        asked: set[str] = set()
        for one in changes:
            pinned = self._pinned(one)
            if pinned is None:
                continue
            there = seen[one.host].images | self._brought.get(one.host, set())
            missing = pinned not in there
            unknown = self._must_know_user(one) and pinned not in self._users
            if missing or (unknown and pinned not in asked):
                asked.add(pinned)
                wanted.setdefault(one.host, [])
                if pinned not in wanted[one.host]:
                    wanted[one.host].append(pinned)
        self.pull(wanted)
        self._refuse_root(changes)

    def named(self, changes: Sequence[Change]) -> list[Change]:
        """Say whom those run as whose user is their image's, now that it is known."""
        return [
            replace(
                one,
                reasons=tuple(
                    f"user {self._users[pinned]} of its image" if reason == plan.USER else reason
                    for reason in one.reasons
                ),
            )
            if (pinned := self._pinned(one)) in self._users
            else one
            for one in changes
        ]

    def _must_know_user(self, change: Change) -> bool:
        return (
            change.wanted is not None
            and change.action.goes_back
            and self._site.project.services[change.service].user is None
        )

    def _refuse_root(self, changes: Sequence[Change]) -> None:
        roots = {
            one.service: self._site.project.services[one.service].image
            for one in changes
            if self._must_know_user(one) and is_root(self._users.get(self._pinned(one) or "", ""))
        }
        if roots:
            raise RootInside(
                "root inside is not the default: "
                + ", ".join(
                    f"{image} of {service} runs as root" for service, image in roots.items()
                )
                + ": nothing was changed on any node",
                hint='give the service a `user:`, or user: "0:0" if root is meant',
            )

    @staticmethod
    def _pinned(change: Change) -> str | None:
        if change.wanted is None or not change.action.starts:
            return None
        return render.record(change.wanted.text).pinned

    def pull(self, wanted: Mapping[str, Sequence[str]]) -> list[Image]:
        """Pull images on hosts, by host, on many at a time.

        :raises PullError: one could not be pulled; others were.
        """
        site = self._site

        def pull(host: Host) -> list[Image]:
            if site.project.registries and host.name not in self._trusting:
                host.trust(site.project.registries)
                self._trusting.add(host.name)
            return host.pull(wanted[host.name], timeout_s=site.wait_s)

        found, failed = parallel.each(
            {name: site.hosts[name] for name in wanted}, pull, at_once=site.parallel
        )
        if failed:
            raise PullError(
                "; ".join(str(error) for error in failed.values())
                + ": nothing was changed on any node"
            )
        for name, images in found.items():
            self._brought.setdefault(name, set()).update(one.pinned for one in images)
            self._users.update({one.pinned: one.user for one in images})
        return [one for images in found.values() for one in images]


def is_root(user: str) -> bool:
    """Tell whether an image's USER is root."""
    name = user.partition(":")[0]
    return name in ("", "root") or (name.isdecimal() and int(name) == 0)


def short(text: str) -> str:
    """Shorten the digests in a text for people: twelve digits are enough to tell images apart."""
    return re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1", text)

"""Look at services again and again, until they are as somebody needs them or the time is up."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from provision.services import state
from provision.services.host import HostError, Observed, OnNode
from provision.services.model import Condition
from provision.services.order import Step
from provision.services.site import Need, Site
from provision.services.state import State

LOOK_EVERY_S = 2.0


class Watch:
    """Know how services were before a run, and how they were when last seen."""

    def __init__(self, site: Site, seen: Mapping[str, Observed]) -> None:
        """Begin with what was seen of each host."""
        self._site = site
        self.before = dict(seen)
        self.seen = dict(seen)

    def look(self, host: str) -> None:
        """See a host anew.

        :raises HostError: it does not answer.
        """
        found = self._site.hosts.get(host) or self._site.others[host]
        self.seen[host] = found.observe(self._site.project.name)

    def there(self, step: Step) -> OnNode | None:
        """Return what a host has of a service, as last seen."""
        return self.seen[step.host].services.get(step.service) if step.host in self.seen else None

    def was_there(self, step: Step) -> OnNode | None:
        """Return what a host had of a service before the run."""
        seen = self.before.get(step.host)
        return seen.services.get(step.service) if seen else None

    def state(self, step: Step) -> State:
        """Tell how a service is, as last seen."""
        return state.of(self.there(step))

    def was_up(self, step: Step) -> bool:
        """Tell whether a service was up before the run."""
        return state.of(self.was_there(step)).up

    def not_up(self, steps: Iterable[Step]) -> dict[Step, State]:
        """Find those that are not up, as last seen."""
        return {one: now for one in steps if not (now := self.state(one)).up}

    def until_up(self, steps: Sequence[Step], limit: float) -> dict[Step, State]:
        """Look until all are up or the time is up; return those that are not.

        :raises HostError: a host does not answer.
        """

        def all_up() -> bool:
            for host in dict.fromkeys(one.host for one in steps):
                self.look(host)
            return not self.not_up(steps)

        return {} if not steps or self._until(all_up, limit) else self.not_up(steps)

    def until_met(self, need: Need, limit: float) -> str | None:
        """Look until a need is met or the time is up; return what was seen last then."""
        saw = ""

        def met() -> bool:
            nonlocal saw
            try:
                self.look(need.step.host)
            except HostError as error:  # another command may be about to make it a host
                saw = str(error)
                return False
            saw = f"it is {self.state(need.step)}"
            return meets(need, self.state(need.step))

        return None if self._until(met, limit) else saw

    def _until(self, holds: Callable[[], bool], limit: float) -> bool:
        while not holds():
            if self._site.now() + LOOK_EVERY_S > limit:
                return False
            self._site.sleep(LOOK_EVERY_S)
        return True


def meets(need: Need, now: State) -> bool:
    """Tell whether a service in this state is what a dependent waits for."""
    if need.condition is Condition.HEALTHY:
        return now.up
    return now not in (State.FAILED, State.STOPPED, State.ABSENT)

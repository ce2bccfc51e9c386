"""Walk steps over nodes: in order, so many nodes at a time, and no further after a failure."""

import logging
from collections.abc import Callable, Collection, Sequence

from provision.services.order import Step
from provision.services.parallel import Crew

LOG = logging.getLogger(__name__)


class Rollout:
    """Say which step comes next.

    A node is finished before the next one is begun, unless a service of it needs one of a node that
    has not had its turn: then that one comes first.
    """

    def __init__(
        self, steps: Sequence[Step], *, needs: Callable[[Step], Collection[Step]], serial: int
    ) -> None:
        """Plan to walk.

        :param steps: in dependency order.
        :param needs: what has to be done before a step; what is not among the steps is done.
        :param serial: how many nodes are in hand at a time.
        """
        self.left = list(steps)
        self._needs = needs
        self._serial = serial
        self._running: set[Step] = set()
        self._begun: set[str] = set()

    def next(self) -> Step | None:
        """Take a step that may be begun now; None: none may, until one that runs is over."""
        waiting = {*self.left, *self._running}
        busy = {one.host for one in self._running}
        ready = [
            one
            for one in self.left
            if one.host not in busy and not any(need in waiting for need in self._needs(one))
        ]
        in_hand = {one.host for one in waiting} & self._begun
        chosen = next((one for one in ready if one.host in in_hand), None)
        # all nodes in hand wait for one that is not: then it is that one's turn
        if chosen is None and ready and (len(in_hand) < self._serial or not self._running):
            chosen = ready[0]
        if chosen is not None:
            self.left.remove(chosen)
            self._running.add(chosen)
            self._begun.add(chosen.host)
        return chosen

    def over(self, step: Step) -> None:
        """Say that a step is done."""
        self._running.discard(step)


def walk(rollout: Rollout, do: Callable[[Step], bool], *, at_once: int) -> None:
    """Do step after step; begin none after one that returned False.

    :param at_once: how many steps run at the same time, each on its own node.
    :raises KeyboardInterrupt: after those that had begun were done; a second one does not wait.
    """
    crew: Crew[Step, bool] = Crew()
    going_on = True
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            while going_on and len(crew.running) < at_once and (step := rollout.next()) is not None:
                crew.start(step, lambda step=step: do(step))  # type: ignore[misc]
            if not crew.running:
                break
            step, done = crew.next()
            going_on = done is True and going_on
            rollout.over(step)
        except KeyboardInterrupt as error:
            names = ", ".join(f"{one.service} on {one.host}" for one in crew.running)
            if interrupt is not None:
                LOG.error("left as it is just now: %s", names)
                raise
            LOG.warning("interrupted: finishing %s; Ctrl-C again leaves it as it is", names)
            interrupt, going_on = error, False
    if interrupt is not None:
        raise interrupt

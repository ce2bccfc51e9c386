"""Walk steps over nodes: in order, so many nodes at a time, and no further after a failure."""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from provision.services.order import Step


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
    """Do step after step; begin none after one that returned False or raised.

    :param at_once: how many steps run at the same time, each on its own node; 1: in this thread,
        so that an interrupt reaches the step itself. With more, an interrupt waits for those begun.
    """
    if at_once == 1:
        while (step := rollout.next()) is not None and do(step):
            rollout.over(step)
        return
    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="services") as pool:
        running: dict[Future[bool], Step] = {}
        going_on = True
        while True:
            while going_on and len(running) < at_once and (step := rollout.next()) is not None:
                running[pool.submit(do, step)] = step
            if not running:
                return
            for one in wait(running, return_when=FIRST_COMPLETED).done:
                step = running.pop(one)
                going_on = one.result() and going_on
                rollout.over(step)

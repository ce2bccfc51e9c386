"""Ask many hosts at once, not more than so many, and let one that fails not spoil the others."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from provision.services.host import HostError

T = TypeVar("T")
R = TypeVar("R")


def each(
    hosts: Mapping[str, T], ask: Callable[[T], R], *, at_once: int
) -> tuple[dict[str, R], dict[str, HostError]]:
    """Do something with each host; return what came of it by name, and who failed with what.

    Both come in the order of the hosts. An interrupt ends the waiting; what is being asked just
    then ends with its connection.
    """
    found: dict[str, R] = {}
    failed: dict[str, HostError] = {}
    if len(hosts) == 1 or at_once == 1:
        for name, host in hosts.items():
            try:
                found[name] = ask(host)
            except HostError as error:
                failed[name] = error
        return found, failed
    pool = ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="services")
    try:
        waiting = {name: pool.submit(ask, host) for name, host in hosts.items()}
        for name, one in waiting.items():
            try:
                found[name] = one.result()
            except HostError as error:
                failed[name] = error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return found, failed

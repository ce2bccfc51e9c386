"""Fetch the last log lines of a service from the nodes that run it."""

from provision.services import parallel
from provision.services.site import Site

LIMIT_S = 60.0


def logs(site: Site, service: str, *, lines: int) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return a service's last lines by host, oldest first, and which hosts failed, with why."""
    hosts = {host: site.hosts[host] for host in site.hosts if host in site.placed.get(service, ())}
    found, failed = parallel.each(
        hosts,
        lambda host: host.logs(site.project.name, service, lines=lines, timeout_s=LIMIT_S),
        at_once=site.parallel,
    )
    return found, {host: str(error) for host, error in failed.items()}

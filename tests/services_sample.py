"""A project that uses all that a services file can say, for tests of what is made of it."""

from provision.services.model import (
    Condition,
    Dependency,
    Grant,
    Healthcheck,
    Mount,
    MountKind,
    NetworkMode,
    Port,
    Project,
    Service,
)

# podman's version by the directory of golden units; what is like nothing before it
VERSIONS = {"4.3": (4, 3, 1), "4.4": (4, 4, 0), "4.9": (4, 9, 5), "5.4": (5, 4, 2)}
PINNED = {
    name: f"registry.lab:5000/{name}@sha256:{digit * 64}"
    for name, digit in (("mariadb", "1"), ("keystone", "2"), ("libvirtd", "3"))
}

MARIADB = Service(
    name="mariadb",
    image="registry.lab:5000/mariadb:10.11",
    user="999:999",
    command=("mariadbd", "--defaults-file=/etc/mysql/my.cnf", ""),
    environment=(("LANG", "C.UTF-8"), ("MOTTO", "100% of $HOME; \"both\" 'quotes'\n")),
    labels=(("tier", "data base"),),
    mounts=(
        Mount(kind=MountKind.VOLUME, source="mariadb", target="/var/lib/mysql"),
        Mount(kind=MountKind.TMPFS, source="", target="/run/mysqld"),
    ),
    network_mode=NetworkMode.HOST,
    read_only=True,
    mem_limit_bytes=1 << 30,
    pids_limit=500,
    stop_signal="SIGTERM",
    stop_grace_period_s=60,
    healthcheck=Healthcheck(
        test=("/usr/bin/mariadb-admin", "ping", "--silent"),
        interval_s=10,
        timeout_s=5,
        retries=6,
        start_period_s=90,
    ),
    configs=(Grant(name="my.cnf", target="/etc/mysql/my.cnf", mode=0o444),),
    secrets=(
        Grant(name="root-password", target="/run/secrets/root", mode=0o400, uid=999, gid=999),
    ),
)
KEYSTONE = Service(
    name="keystone",
    image="registry.lab:5000/keystone:zed",
    user="keystone",
    entrypoint=("/usr/bin/keystone-wsgi-public", "--port", "5000"),
    working_dir="/var/lib/keystone",
    hostname="identity",
    ports=(
        Port(published=5000, target=5000),
        Port(published=5001, target=5000, protocol="udp", address="192.0.2.1"),
        Port(published=5002, target=5000, address="2001:db8::1"),
    ),
    cap_add=("NET_BIND_SERVICE",),
    cap_drop=("ALL",),
    shm_size_bytes=1 << 26,
    mounts=(
        Mount(kind=MountKind.BIND, source="/srv/a:b", target="/keys, old", read_only=True),
        Mount(kind=MountKind.VOLUME, source="fernet.volume", target="/etc/keystone/fernet-keys"),
    ),
    healthcheck=Healthcheck(test=("/bin/sh", "-c", "curl -fs http://localhost:5000/v3 || exit 1")),
    depends_on=(
        Dependency(service="mariadb", condition=Condition.HEALTHY, restart=True),
        Dependency(service="elsewhere"),
    ),
)
LIBVIRTD = Service(
    name="libvirtd",
    image="registry.lab:5000/libvirtd:9",
    user="0:0",
    privileged=True,
    network_mode=NetworkMode.HOST,
    pid="host",
    ipc="host",
    cgroup="host",
    devices=("/dev/kvm:/dev/kvm:rwm",),
    mounts=(
        Mount(
            kind=MountKind.BIND,
            source="/var/lib/libvirt",
            target="/var/lib/libvirt",
            propagation="rshared",
        ),
        Mount(kind=MountKind.BIND, source="/sys/fs/cgroup", target="/sys/fs/cgroup"),
    ),
)
PROJECT = Project(
    name="cloud",
    services={one.name: one for one in (MARIADB, KEYSTONE, LIBVIRTD)},
    volumes=("fernet.volume", "mariadb"),
    configs={"my.cnf": b"[mysqld]\nbind-address=127.0.0.1\n"},
    secrets={"root-password": b"correct horse\n"},
)

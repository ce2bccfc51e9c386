"""Services of a file: what they mean, and what is said of those that mean nothing."""
# ruff: noqa: E501 - a case a line, with the whole of its error

import pytest

from provision.services.model import (
    Condition,
    Dependency,
    Grant,
    Healthcheck,
    Mount,
    MountKind,
    NetworkMode,
    Placement,
    Port,
    Project,
    Registry,
    Service,
)
from tests.unit.provision.services.file.loading import load, one_service, refusal

PEM = b"-----BEGIN CERTIFICATE-----\nxyz\n"
ENVIRON = {"PW": "hunter2"}

WHOLE = """\
name: shop
x-env: &env {TZ: UTC, LEVEL: "1"}
services:
  web:
    image: r.example:5000/web:1
    command: run 'two words' $$HOME
    entrypoint: [/bin/tini, --]
    environment: {<<: *env, LEVEL: 2, DEBUG: true, EMPTY: ""}
    labels: [b=2, a]
    volumes:
    - data:/data:ro
    - /run/x:/run/x:rslave
    - {type: bind, source: /a b, target: /c, read_only: true, bind: {propagation: rshared}}
    - {type: tmpfs, target: /scratch}
    tmpfs: /tmp
    ports: ["8080:80", {published: 53, target: "53", host_ip: 127.0.0.1, protocol: udp}]
    cap_add: [NET_ADMIN, CAP_CHOWN, net_admin]
    cap_drop: [ALL]
    devices: [/dev/kvm, {source: /dev/a, target: /dev/b, permissions: r}]
    cgroup: private
    read_only: true
    user: 1000:1000
    hostname: web.example.org
    working_dir: /srv/
    mem_limit: 1g
    shm_size: 64m
    pids_limit: 100
    stop_signal: int
    stop_grace_period: 1m
    healthcheck: {test: [CMD, check, -x], interval: 5s, timeout: 1s, retries: 2, start_period: 1m}
    depends_on:
      db: {condition: service_healthy, restart: true, x-provision: {host: "db-*"}}
    configs: [a.cnf, {source: b, target: /etc/b, mode: 0640}]
    secrets: [pw, {source: key, target: tls.key, uid: 999, gid: "998", mode: 0o400}]
    x-provision: {hosts: [web-*, a], labels: {zone: b}}
  db:
    image: r.example:5000/db:1
    network_mode: host
    pid: host
    ipc: host
    privileged: true
    healthcheck: {test: "check || exit 1"}
volumes: {data: , more: {}}
configs: {a.cnf: {file: a.cnf}, b: {content: "x=$$1\\n"}}
secrets: {pw: {environment: PW}, key: {file: key}}
x-provision: {registries: {"r.example:5000": {ca: ca.pem}, r2.example: {tls_verify: false}}}
"""


def test_a_whole_file() -> None:
    files = {"a.cnf": b"\xff$1\r\n", "key": b"\0\1", "ca.pem": PEM}
    assert load(WHOLE, files=files, environ=ENVIRON) == Project(
        name="shop",
        volumes=("data", "more"),
        configs={"a.cnf": b"\xff$1\r\n", "b": b"x=$1\n"},
        secrets={"pw": b"hunter2", "key": b"\0\1"},
        registries={"r.example:5000": Registry(ca=PEM), "r2.example": Registry(verify=False)},
        services={
            "web": Service(
                name="web",
                image="r.example:5000/web:1",
                command=("run", "two words", "$HOME"),
                entrypoint=("/bin/tini", "--"),
                environment=(("DEBUG", "true"), ("EMPTY", ""), ("LEVEL", "2"), ("TZ", "UTC")),
                labels=(("a", ""), ("b", "2")),
                mounts=(
                    Mount(
                        kind=MountKind.BIND,
                        source="/a b",
                        target="/c",
                        read_only=True,
                        propagation="rshared",
                    ),
                    Mount(kind=MountKind.VOLUME, source="data", target="/data", read_only=True),
                    Mount(
                        kind=MountKind.BIND, source="/run/x", target="/run/x", propagation="rslave"
                    ),
                    Mount(kind=MountKind.TMPFS, source="", target="/scratch"),
                    Mount(kind=MountKind.TMPFS, source="", target="/tmp"),
                ),
                ports=(
                    Port(published=53, target=53, protocol="udp", address="127.0.0.1"),
                    Port(published=8080, target=80),
                ),
                cgroup="private",
                cap_add=("CHOWN", "NET_ADMIN"),
                cap_drop=("ALL",),
                devices=("/dev/a:/dev/b:r", "/dev/kvm:/dev/kvm:rwm"),
                read_only=True,
                user="1000:1000",
                hostname="web.example.org",
                working_dir="/srv",
                mem_limit_bytes=2**30,
                shm_size_bytes=2**26,
                pids_limit=100,
                stop_signal="SIGINT",
                stop_grace_period_s=60.0,
                healthcheck=Healthcheck(
                    test=("check", "-x"),
                    interval_s=5.0,
                    timeout_s=1.0,
                    retries=2,
                    start_period_s=60.0,
                ),
                depends_on=(
                    Dependency(
                        service="db", condition=Condition.HEALTHY, restart=True, host="db-*"
                    ),
                ),
                configs=(
                    Grant(name="a.cnf", target="/a.cnf", mode=0o444),
                    Grant(name="b", target="/etc/b", mode=0o440),
                ),
                secrets=(
                    Grant(name="pw", target="/run/secrets/pw", mode=0o444),
                    Grant(name="key", target="/run/secrets/tls.key", mode=0o400, uid=999, gid=998),
                ),
                placement=Placement(hosts=("a", "web-*"), labels=(("zone", "b"),)),
            ),
            "db": Service(
                name="db",
                image="r.example:5000/db:1",
                network_mode=NetworkMode.HOST,
                pid="host",
                ipc="host",
                privileged=True,
                healthcheck=Healthcheck(test=("/bin/sh", "-c", "check || exit 1")),
            ),
        },
    )


def test_the_least_that_a_file_can_say() -> None:
    found = load("services: {web: {image: r.example/web}}", name="my-shop.yaml")
    assert found == Project(
        name="my-shop", services={"web": Service(name="web", image="r.example/web")}
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mem_limit: 1g", "mem_limit: 1073741824"),
        ('mem_limit: "1024m"', "mem_limit: 1048576K"),
        ("stop_grace_period: 1m30s", 'stop_grace_period: "90s"'),
        ("stop_grace_period: 10s", ""),
        ("environment: {B: 2, A: x y}", "environment: [A=x y, B=2]"),
        ('environment: {A: "a=b"}', "environment: [A=a=b]"),
        ("labels: {a: , b: c}", "labels: [b=c, a]"),
        ("command: a 'b c'", "command: [a, b c]"),
        ("entrypoint: x\ncommand: ''", "entrypoint: x\ncommand: []"),
        ("entrypoint: ''\ncommand: x", "entrypoint: []\ncommand: x"),
        ("command:", ""),
        ("command: ~", "entrypoint: null"),
        ("entrypoint: x", "entrypoint: [x]\ncommand: []"),
        ("volumes: ['data:/a', /b:/b]", "volumes: ['/b/:/b', 'data:/a/:rw']"),
        (
            "volumes: ['data:/a:ro']",
            "volumes: [{type: volume, source: data, target: /a, read_only: true}]",
        ),
        (
            "volumes: ['/x:/a']",
            "volumes: [{type: bind, source: /x, target: /a, bind: {create_host_path: false}}]",
        ),
        ("tmpfs: /a", "volumes: [{type: tmpfs, target: /a}]"),
        ("tmpfs: [/a, /b]", "tmpfs: [/b, /a]"),
        ("ports: ['80-81:90-91']", "ports: [{published: 81, target: 91}, {published: 80, target: 90}]"),
        ("ports: [80:90]", "ports: ['80:90/tcp']"),
        ("network_mode: bridge", ""),
        ("privileged: false\nread_only: false", ""),
        ("cap_add: [CAP_KILL, net_raw]", "cap_add: [NET_RAW, KILL]"),
        ("devices: [/dev/kvm]", "devices: ['/dev/kvm:/dev/kvm:mrw']"),
        ("user: 0", "user: '0'"),
        ("stop_signal: 15", "stop_signal: SIGTERM"),
        ("healthcheck: {test: x y}", "healthcheck: {test: [CMD-SHELL, x y]}"),
        ("healthcheck: {test: x}", "healthcheck: {test: [CMD, /bin/sh, -c, x], interval: 30s}"),
        ("healthcheck: {test: [NONE]}", "healthcheck: {disable: true}"),
        ("healthcheck: {test: [NONE], interval: 5s}", "healthcheck: {disable: true}"),
        ("depends_on: [db]", "depends_on: {db: {condition: service_started}}"),
        ("depends_on: [db]", "depends_on: {db: {restart: false}}"),
        ("configs: [my.cnf]", "configs: [{source: my.cnf, target: /my.cnf, mode: 0644}]"),
        ("secrets: [pw]", "secrets: [{source: pw, target: /run/secrets/pw, uid: '0'}]"),
        ("x-provision: {hosts: 'a*'}", "x-provision: {hosts: ['a*', 'a*'], labels: {}}"),
        ("x-other: [$X, yes]", ""),
        ("x-provider: 1", ""),
    ],
)  # fmt: skip
def test_what_means_the_same_is_equal(one: str, other: str) -> None:
    first = load(one_service(one), environ=ENVIRON)
    assert first == load(one_service(other), environ=ENVIRON)


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ("enviroment: {}", "5: unknown key 'enviroment' in service 'web' (did you mean 'environment'?)"),
        ("volume: []", "5: unknown key 'volume' in service 'web' (did you mean 'volumes'?)"),
        ("zzz: 1", "5: unknown key 'zzz' in service 'web' (docs/services.rst lists the keys)"),
        ("x-provison: {}", "5: unknown key 'x-provison' in service 'web' (did you mean 'x-provision'?)"),
        ("x-provision: {host: a}", "5: unknown key 'host' in service 'web', x-provision (did you mean 'hosts'?)"),
        ('"a\\e[31m": 1', "5: unknown key 'a\\x1b[31m' in service 'web' (docs/services.rst lists the keys)"),
        ("restart: always", "5: key 'restart' in service 'web': not handled here (a service is always restarted: leave it out)"),
        ("build: .", "5: key 'build' in service 'web': not handled here (build the image with podman, push it to a registry, and name it under image)"),
        ("deploy: {replicas: 2}", "5: key 'deploy' in service 'web': not handled here (x-provision: hosts and labels say which nodes run it, one container on each; mem_limit, shm_size and pids_limit are the limits there are)"),
        ("security_opt: []", "5: key 'security_opt' in service 'web': not handled here"),
        ("image: r.example/x", "6: key 'image' is there a second time (the first is in line 5)"),
        ("user: [a]", "5: service 'web': user: not a text but a list or mapping"),
        ("user:", "5: service 'web': user: has no value (an empty text is \"\")"),
        ("hostname: $HOST", "5: service 'web': hostname: a variable (no variables here: write $$ for a dollar)"),
        ("hostname: ${HOST:-x}", "5: service 'web': hostname: a variable (no variables here: write $$ for a dollar)"),
        ("command: [a, $$$]", "5: service 'web': command: a variable (no variables here: write $$ for a dollar)"),
        ("command: []", "5: service 'web': command: podman cannot be told to leave out the image's command (give an entrypoint, which is then run without it)"),
        ("entrypoint: ''", "5: service 'web': entrypoint: neither an entrypoint nor a command: there is nothing to run"),
        ("command: ''\nentrypoint: ['', x]", "6: service 'web': entrypoint: '' is no program ([] is no entrypoint at all)"),
        ("command: {a: b}", "5: service 'web': command: not a text but a list or mapping"),
        ("command: [sleep, 1e3]", "5: service 'web': command: a number or boolean that YAML readers do not all write the same way (put it in quotes)"),
        ("command: a 'b", "5: service 'web': command: the command cannot be split into words: no closing quotation (a list of words needs no quotes within quotes)"),
        ("environment:\n  A: 1.10", "6: service 'web': environment 'A': a number or boolean that YAML readers do not all write the same way (put it in quotes)"),
        ("environment:\n  A: yes", "6: service 'web': environment 'A': a number or boolean that YAML readers do not all write the same way (put it in quotes)"),
        ("environment:\n  A:", "6: service 'web': environment 'A': has no value (an empty text is \"\")"),
        ("environment: [A]", "5: service 'web': environment: a variable without '=' (nothing is taken from here: NAME=VALUE)"),
        ("environment: [A=1, A=1]", "5: service 'web': environment: 'A' is there a second time"),
        ("environment: {A: 1, A: 1}", "5: key 'A' is there a second time (the first is in line 5)"),
        ("environment: {a b: x}", "5: service 'web': environment: 'a b' is not a name of an environment variable (letters, digits, '_', '.' and '-', first a letter or '_')"),
        ('environment: {A: "hunter2\\r\\n"}', "5: service 'web': environment 'A': a carriage return before a line feed, which podman cannot be told (put it into a config)"),
        ('environment: ["A=hunter2\\r\\n"]', "5: service 'web': environment: a carriage return before a line feed, which podman cannot be told (put it into a config)"),
        ("environment: x", "5: service 'web': environment: not a mapping, nor a list of NAME=VALUE"),
        ('environment: {A: "a\\0b"}', "5: a text with a NUL character, which no program can be given"),
        ('environment: {A: "\\ud83d"}', "5: a text with half a character (a surrogate) (write the character itself, or as \\UNNNNNNNN)"),
        ("labels: {io.atomic-baremetal.unit: x}", "5: service 'web': labels: 'io.atomic-baremetal.unit' is kept for the project's own labels"),
        ("volumes: [/data]", "5: service 'web': volumes: a volume without a name (data lives in named volumes: NAME:PATH, or tmpfs: PATH)"),
        ("volumes: ['dat:/x']", "5: service 'web': volumes: there is no volume 'dat' in the file (did you mean 'data'?)"),
        ("volumes: ['data:x']", "5: service 'web': volumes: 'x' is not an absolute path"),
        ("volumes: ['data:/']", "5: service 'web': volumes: '/' is the container's own root"),
        ("volumes: ['./x:/x']", "5: service 'web': volumes: './x' is not an absolute path of the node (a file from here is brought to the node as a config)"),
        ("volumes: ['~/x:/x']", "5: service 'web': volumes: '~/x' is not an absolute path of the node (a file from here is brought to the node as a config)"),
        ("volumes: ['/x:/x:Z']", "5: service 'web': volumes: option 'Z' is not handled here (nothing is labelled anew; what a service reads comes as a config)"),
        ("volumes: ['/x:/x:rox']", "5: service 'web': volumes: unknown option 'rox' (ro, rw or a bind's propagation)"),
        ("volumes: ['/x:/x:ro,rw']", "5: service 'web': volumes: options that exclude each other"),
        ("volumes: ['/x:/x:ro,ro']", "5: service 'web': volumes: options that exclude each other"),
        ("volumes: [&a 'x:/y', *a]", "5: service 'web': volumes: there is no volume 'x' in the file"),
        ("volumes: ['/x:/x:ro:y']", "5: service 'web': volumes: not SOURCE:TARGET[:OPTIONS] (the long form can have ':' in a path)"),
        ("volumes: ['data:/x:rshared']", "5: service 'web': volumes: propagation is for bind mounts"),
        ("volumes: {data: /x}", "5: service 'web': volumes: not a list of volumes"),
        ("volumes: [{type: bind, source: /x}]", "5: service 'web': volumes: has no target"),
        ("volumes: [{source: /x, target: /x}]", "5: service 'web': volumes: has no type"),
        ("volumes: [{type: bind, target: /x}]", "5: service 'web': volumes: has no source"),
        ("volumes: [{type: npipe, source: a, target: /x}]", "5: service 'web': volumes: type: 'npipe' is not handled here (it can be bind or tmpfs or volume)"),
        ("volumes: [{type: tmpfs, source: a, target: /x}]", "5: service 'web': volumes: source: a tmpfs comes from nowhere"),
        ("volumes: [{type: volume, source: data, target: /x, bind: {}}]", "5: service 'web': volumes: bind: this is a volume"),
        ("volumes: [{type: volume, source: data, target: /x, volume: {nocopy: true}}]", "5: key 'volume' in service 'web', volumes: not handled here (a volume takes no options)"),
        ("volumes: [{type: bind, source: /x, target: /x, bind: {create_host_path: true}}]", "5: service 'web': volumes: bind: create_host_path: nothing is made on the node (make it there first)"),
        ("volumes: [{type: bind, source: /x, target: /x, bind: {propagation: x}}]", "5: service 'web': volumes: bind: propagation: 'x' is not handled here (it can be private or rprivate or rshared or rslave or shared or slave)"),
        ("volumes: ['data:/x', '/y:/x/']", "5: service 'web': volumes: '/x' is the target of something else too"),
        ("tmpfs: /x\nvolumes: ['data:/x']", "5: service 'web': tmpfs: '/x' is the target of something else too"),
        ("configs: [my.cnf]\nvolumes: ['data:/my.cnf']", "5: service 'web': configs: '/my.cnf' is the target of something else too"),
        ("tmpfs: /x:size=1m", "5: service 'web': tmpfs: options of a tmpfs are not handled here (the path alone)"),
        ("network_mode: service:db", "5: service 'web': network_mode: 'service:db' is not handled here (it can be bridge or host or none)"),
        ("network_mode: host\nports: ['80:80']", "6: service 'web': ports: network_mode is host, where no port leads anywhere (with network_mode: host, every port of the container is the node's)"),
        ("network_mode: none\nports: ['80:80']", "6: service 'web': ports: network_mode is none, where no port leads anywhere"),
        ("ports: [80]", "5: service 'web': ports: '80' does not say which port of the node it is (PUBLISHED:TARGET, like 8080:80)"),
        ("ports: ['80:80', '127.0.0.1:80:81']", "5: service 'web': ports: port 80/tcp of the node is there twice"),
        ("ports: [{target: 80}]", "5: service 'web': ports: has no published"),
        ("ports: [{target: 80, published: 80, mode: ingress}]", "5: service 'web': ports: mode: 'ingress' is not handled here (it can be host)"),
        ("ports: [{target: 80, published: 80, name: a}]", "5: key 'name' in service 'web', ports: not handled here (it changes nothing: leave it out)"),
        ("ports: [{target: 80, published: 80, host_ip: a}]", "5: service 'web': ports: 'a' is not an IP address"),
        ("ports: ['1-600:1-600', '1001-1600:1-600']", "5: service 'web': ports: 1200 ports are more than the 1000 that are handled (network_mode: host has them all)"),
        ("pid: service:db", "5: service 'web': pid: 'service:db' is not handled here (it can be host)"),
        ("privileged: yes", "5: service 'web': privileged: not true or false (written so, without quotes)"),
        ("privileged: 'true'", "5: service 'web': privileged: not true or false (written so, without quotes)"),
        ("privileged: True", "5: service 'web': privileged: not true or false (written so, without quotes)"),
        ("cap_add: [KILL]\ncap_drop: [CAP_KILL]", "6: service 'web': cap_drop: KILL is in cap_add too"),
        ("cap_add: SYS_ADMIN", "5: service 'web': cap_add: not a list"),
        ("devices: [{target: /dev/x}]", "5: service 'web': devices: has no source"),
        ("mem_limit: 1x", "5: service 'web': mem_limit: '1x' is not a size (like 512m, 1g or 1073741824)"),
        ("mem_limit: 1.50", "5: service 'web': mem_limit: a number or boolean that YAML readers do not all write the same way (put it in quotes)"),
        ("stop_grace_period: 30", "5: service 'web': stop_grace_period: '30' is not a time (write 30s for seconds)"),
        ("healthcheck: {interval: 5s}", "5: service 'web': healthcheck: has no test (like test: [\"CMD\", \"curl\", \"-f\", \"http://127.0.0.1\"])"),
        ("healthcheck: {disable: true, test: x}", "5: service 'web': healthcheck: disable: true and other keys too"),
        ("healthcheck: {test: [curl, x]}", "5: service 'web': healthcheck: test: not a test ([\"CMD\", WORD, ...] or [\"CMD-SHELL\", TEXT] or [\"NONE\"], or a text alone)"),
        ("healthcheck: {test: []}", "5: service 'web': healthcheck: test: not a test ([\"CMD\", WORD, ...] or [\"CMD-SHELL\", TEXT] or [\"NONE\"], or a text alone)"),
        ("healthcheck: {test: [CMD, none]}", "5: service 'web': healthcheck: test: 'none' is no program (write the program's whole path)"),
        ("healthcheck: {test: [CMD, a b]}", "5: service 'web': healthcheck: test: a single word with blanks in it, which podman cannot be told ([\"CMD-SHELL\", TEXT] has a shell split it)"),
        ("healthcheck: {test: x, interval: 0s}", "5: service 'web': healthcheck: interval: '0s' is no time at all (like 30s or 1m30s)"),
        ("healthcheck: {test: x, start_interval: 1s}", "5: key 'start_interval' in service 'web', healthcheck: not handled here (interval counts from the start)"),
        ("depends_on: [db, db]", "5: service 'web': depends_on: 'db' is there a second time"),
        ("depends_on: [dbb]", "5: service 'web': depends_on: there is no service 'dbb' in the file (did you mean 'db'?)"),
        ("depends_on: [web]", "5: service 'web': depends_on: the services wait for each other in a circle: web -> web"),
        ("depends_on: {db: {condition: service_completed_successfully}}", "5: service 'web': depends_on 'db': condition: 'service_completed_successfully' is not handled here (it can be service_healthy or service_started)"),
        ("depends_on: {db: {required: false}}", "5: key 'required' in service 'web', depends_on 'db': not handled here (what a service depends on is always required: leave it out)"),
        ("depends_on: {db: {x-provision: {host: a b}}}", "5: service 'web': depends_on 'db': x-provision: host: 'a b' is not a pattern of host names (like atomic-*)"),
        ("configs: [mycnf]", "5: service 'web': configs: there is no config 'mycnf' in the file (did you mean 'my.cnf'?)"),
        ("configs: [{target: /x}]", "5: service 'web': configs: has no source"),
        ("configs: [{source: my.cnf, uid: 1}]", "5: key 'uid' in service 'web', configs: not handled here (a config belongs to root: mode says who may read it)"),
        ("configs: [{source: my.cnf, mode: 440}]", "5: service 'web': configs: mode: '440' is not a mode (in octal, with a leading 0, like 0440)"),
        ("configs: [{source: my.cnf, target: x}]", "5: service 'web': configs: target: 'x' is not an absolute path"),
        ("configs: [my.cnf, {source: my.cnf, target: /x, mode: 0400}]", "5: service 'web': configs: config 'my.cnf' is wanted with two modes (make it two configs)"),
        ("secrets: [nope]", "5: service 'web': secrets: there is no secret 'nope' in the file"),
        ("secrets: [{source: pw, target: 'a,b'}]", "5: service 'web': secrets: target: '/run/secrets/a,b' has a comma, and podman cannot be told so (another target)"),
        ("secrets: [{source: pw, target: ../x}]", "5: service 'web': secrets: target: '/run/secrets/../x' goes back up with '..'"),
        ("secrets: [{source: pw, uid: root}]", "5: service 'web': secrets: uid: 'root' is not a whole number"),
        ("x-provision: {hosts: []}", "5: service 'web': x-provision: hosts: an empty list (leave it out, or write \"*\", for every host)"),
        ("x-provision: {labels: [a b]}", "5: service 'web': x-provision: labels: 'a b' is not a name of a label (letters, digits, '_', '.', '/' and '-', first a letter or digit)"),
        ("command: !!python/name:os.system x", "5: a YAML tag, which is not handled here (quotes make a text)"),
        ("<<: [a]", "5: << merges mappings only"),
    ],
)  # fmt: skip
def test_a_service_that_is_refused(keys: str, error: str) -> None:
    assert refusal(one_service(keys), environ=ENVIRON) == f"shop.yaml:{error}"


def test_a_check_that_is_switched_off() -> None:
    web = load(one_service("healthcheck: {disable: true}"), environ=ENVIRON).services["web"]
    assert (web.healthcheck, web.no_healthcheck) == (None, True)
    web = load(one_service(""), environ=ENVIRON).services["web"]
    assert (web.healthcheck, web.no_healthcheck) == (None, False)

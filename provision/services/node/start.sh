# shellcheck shell=sh disable=SC2015,SC2034,SC2154
# Start a service and find out what became of it.

# An interrupted exchange of current and previous has left `old`: finish it.
settle() {
    if [ -e "$1/old" ]; then
        if [ -e "$1/previous" ]; then rm -f "$1/old"; else mv -f -T "$1/old" "$1/previous"; fi
    fi
}

now() {
    date +%s
}

# journal NAME SINCE LINES: what systemd, the container and podman have said last of a service.
# Backwards, as with --since the lines of -n are counted from there.
journal() {
    timeout 10 journalctl --sync >/dev/null 2>&1
    timeout 60 journalctl -q --no-pager -o json --all --reverse \
        --output-fields=MESSAGE,PODMAN_EVENT,CONTAINER_NAME,SYSLOG_IDENTIFIER,_PID \
        --since "$2" -n "$3" _SYSTEMD_UNIT="$1.service" + UNIT="$1.service" + \
        CONTAINER_NAME="$1" | tac
}

# podman removes a container that fails, and its health log with it: read it while it is there,
# seldom where podman is slow
watch_health() {
    began=$(now)
    if podman container inspect --format '{{json .State}}' "$1" >"$tmp/state.new" 2>/dev/null; then
        mv -f "$tmp/state.new" "$tmp/state"
    fi
    look_at=$(($(now) + 1 + 5 * ($(now) - began)))
}

# why NAME SINCE: say all that explains a failure
why() {
    answer show systemctl show --no-pager -p LoadState -p ActiveState -p SubState -p Result \
        -p ExecMainCode -p ExecMainStatus -p NRestarts -p StatusText "$1.service"
    [ ! -e "$tmp/state" ] || answer health cat "$tmp/state"
    if [ -e "$quadlet/$1.container" ]; then
        for generator in /usr/lib/systemd/system-generators /lib/systemd/system-generators; do
            [ ! -x "$generator/podman-system-generator" ] || break
        done
        # shellcheck disable=SC2016
        answer generator sh -c '"$1" --dryrun 2>&1 >/dev/null | grep -F -e "$2"' sh \
            "$generator/podman-system-generator" "$1.container"
    fi
    answer journal journal "$1" "$2" 200
}

# whether a unit that was started stays up for a moment
stays_up() {
    sleep "$settle_s"
    systemctl show --no-pager -p ActiveState -p NRestarts "$1.service" >"$tmp/show" &&
        grep -q -x ActiveState=active "$tmp/show" && ! grep -q 'NRestarts=[1-9]' "$tmp/show"
}

# act VERB NAME LIMIT: have systemctl do it, for so many seconds; its exit status is in $status
act() {
    (
        timeout -k 5 "$3" systemctl "$1" "$2.service" >"$tmp/said" 2>&1
        echo $? >"$tmp/status.new"
        mv "$tmp/status.new" "$tmp/status"
    ) &
    look_at=$(($(now) + 1))
    while [ ! -e "$tmp/status" ]; do
        sleep 0.1
        if [ "$1" = restart ] && [ "$(now)" -ge "$look_at" ]; then watch_health "$2"; fi
    done
    wait
    read -r status <"$tmp/status"
    rm -f "$tmp/status"
}

# start SERVICE LIMIT: restart it and say how that went
start() {
    name=$project-$1
    since=@$(now)
    timeout 10 systemctl reset-failed "$name.service" >/dev/null 2>&1
    act restart "$name" "$2"
    if [ "$status" = 0 ]; then
        if stays_up "$name"; then
            home=$state/$project/$1
            [ ! -e "$home/current" ] || put "$home/current" "$home/started" 600
            say outcome up
            return
        fi
        say outcome fell
    elif [ "$status" = 124 ] || [ "$status" = 137 ]; then
        say outcome late
    else
        say outcome failed
    fi
    answer said cat "$tmp/said"
    why "$name" "$since"
}

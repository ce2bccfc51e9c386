# shellcheck shell=sh disable=SC2015,SC2034,SC2154
# Remove what is ours and nothing else. Volumes stay.

# every text of ours on this node, of all projects
all_texts() {
    cat "$state"/*/*/current "$state"/*/*/previous "$state"/*/*/started \
        "$quadlet"/*.container "$units"/*.service 2>/dev/null
}

# remove LIMIT SERVICE...: stop them, then their units, containers and files
remove() {
    until=$(($(now) + $1))
    shift
    for service in "$@"; do
        name=$project-$service
        left=$((until - $(now)))
        [ "$left" -gt 0 ] || left=1
        act stop "$name" "$left"
        case $status in
            0 | 5) ;; # 5: systemd knows no such unit
            124 | 137) die "$name did not stop in time; nothing of it was removed" ;;
            *) die "$name could not be stopped: $(last_line "$tmp/said")" ;;
        esac
        systemctl --no-reload --quiet disable "$name.service" >/dev/null 2>&1
        rm -f "$quadlet/$name.container" "$units/$name.service"
    done
    systemctl daemon-reload >"$tmp/said" 2>&1 ||
        die "systemctl daemon-reload failed: $(last_line "$tmp/said")"
    for service in "$@"; do
        name=$project-$service
        systemctl reset-failed "$name.service" >/dev/null 2>&1
        podman ps -a -q --no-trunc --filter "label=io.atomic-baremetal.project=$project" \
            --filter "label=io.atomic-baremetal.service=$service" >"$tmp/ids" 2>"$tmp/said" ||
            die "podman ps failed: $(last_line "$tmp/said")"
        [ ! -s "$tmp/ids" ] || xargs podman rm -f -i <"$tmp/ids" >"$tmp/said" 2>&1 ||
            die "podman rm $name failed: $(last_line "$tmp/said")"
        # last: until now, a run that was killed here is seen as unfinished
        rm -rf "${state:?}/$project/$service" || die "cannot remove $state/$project/$service"
    done
    rmdir "$state/$project" 2>/dev/null
    return 0
}

# secrets named as ours are that no unit of any project names
forget_secrets() {
    podman secret ls --format '{{.Name}}' >"$tmp/have" 2>"$tmp/said" ||
        die "podman secret ls failed: $(last_line "$tmp/said")"
    all_texts >"$tmp/texts"
    grep -E -e "^$pattern-[a-z0-9][a-z0-9_.-]*-[0-9a-f]{16}\$" "$tmp/have" |
        while read -r name; do
            if ! grep -q -F -e "$name" "$tmp/texts"; then
                podman secret rm "$name" >/dev/null 2>&1
            fi
        done
}
pattern=$(printf '%s' "$project" | sed 's/\./\\./g')

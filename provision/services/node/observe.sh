# shellcheck shell=sh disable=SC2015,SC2034,SC2154
# Say all that matters of a project. Changes nothing, and works where nothing of ours has ever been.

texts() {
    {
        for found in "$quadlet/$project"-*.container "$units/$project"-*.service; do
            if [ -e "$found" ] || [ -L "$found" ]; then printf '%s\0' "$found"; fi
        done
        for found in "$state/$project"/*/current "$state/$project"/*/previous; do
            if [ -e "$found" ]; then printf '%s\0' "$found"; fi
        done
    } >"$tmp/list"
    [ ! -s "$tmp/list" ] || tar -c -P --ignore-failed-read --no-recursion --null -T "$tmp/list"
}

tree() {
    [ ! -d "$state/$project" ] || (
        cd "$state/$project" && find . -mindepth 3 -path './*/config/*' -printf '%y %m %U:%G %P\0'
    )
}

# what is larger was not made by us: it differs without being read
hashes() {
    [ ! -d "$state/$project" ] || (
        cd "$state/$project" &&
            find . -mindepth 4 -path './*/config/*' -type f -size -65537k -print0 |
            xargs -0 -r sha256sum -z --
    )
}

states() {
    set --
    for found in "$quadlet/$project"-*.container "$units/$project"-*.service \
        "$state/$project"/*/current; do
        [ -e "$found" ] || [ -L "$found" ] || continue
        case $found in
            */current) name=${found%/current} && name=$project-${name##*/} ;;
            *) name=${found##*/} && name=${name%.*} ;;
        esac
        if well_named "$name"; then set -- "$@" "$name.service"; fi
    done
    [ $# -eq 0 ] || systemctl show --no-pager -p Id -p LoadState -p ActiveState -p SubState \
        -p NRestarts -p ActiveEnterTimestamp -p UnitFileState -p Result "$@"
}

inspect() {
    podman ps -a -q --no-trunc >"$tmp/ids" || return
    # one that ends between the two commands is left out, with an error that says nothing else
    [ ! -s "$tmp/ids" ] || xargs podman container inspect <"$tmp/ids"
}

projects() {
    for found in "$state"/*; do
        for current in "$found"/*/current; do
            if [ -e "$current" ]; then
                printf '%s\0' "${found##*/}"
                break
            fi
        done
    done
}

workspace look
answer podman podman --version
answer systemd systemctl --version
answer texts texts
answer tree tree
answer hashes hashes
answer states states
answer containers inspect
answer images podman images --digests --format json
answer projects projects
answer secrets podman secret ls --format '{{.Name}}'
echo end

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

# one that ends meanwhile is left out, with an error that says nothing else
inspect() {
    if [ "$(cat "$tmp/ids.status")" != 0 ]; then
        cat "$tmp/ids.err" >&2
        return 1
    fi
    [ ! -s "$tmp/ids.out" ] || xargs podman container inspect <"$tmp/ids.out"
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
ask systemd systemctl --version &
ask states states &
ask podman podman --version &
# alone: the first podman of a node makes its store
ask ids podman ps -a -q --no-trunc
ask containers inspect &
ask images podman images --digests --format json &
ask secrets podman secret ls --format '{{.Name}}' &
ask texts texts
ask tree tree
ask hashes hashes
ask projects projects
wait
for told in podman systemd texts tree hashes states containers images projects secrets; do
    tell $told
done
echo end

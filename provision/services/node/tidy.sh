# shellcheck shell=sh disable=SC2015,SC2034,SC2154
# Remove what no unit, current or previous, names: configs, secrets, and images that came by us.

forget_configs() {
    for found in "$state/$project"/*/config/*; do
        [ -e "$found" ] || [ -L "$found" ] || continue
        home=${found%/config/*}
        [ -e "$home/current" ] || continue # an install that did not end
        if ! cat "$home/current" "$home/previous" "$home/started" 2>/dev/null |
            grep -q -F -e "${found##*/}"; then
            rm -rf "$found"
        fi
    done
}

forget_images() {
    [ -s "$state/.pulled" ] || return 0
    all_texts | grep -E -o 'sha256:[0-9a-f]{64}' | sort -u >"$tmp/digests"
    # those that are gone make an error, and no line
    xargs podman image inspect --format '{{.ID}}{{range .RepoDigests}} {{.}}{{end}}' \
        <"$state/.pulled" >"$tmp/ours" 2>/dev/null
    : >"$tmp/pulled"
    while read -r id names; do
        keep=
        for name in $names; do
            if grep -q -x -F -e "${name##*@}" "$tmp/digests"; then keep=yes; fi
        done
        # podman refuses what a container uses, and what has more names than one
        if [ -z "$keep" ] && podman image rm "$id" >/dev/null 2>&1; then continue; fi
        printf '%s\n' "$id" >>"$tmp/pulled"
    done <"$tmp/ours"
    put "$tmp/pulled" "$state/.pulled" 600
}

lock
workspace change
forget_configs
forget_secrets
forget_images
echo end

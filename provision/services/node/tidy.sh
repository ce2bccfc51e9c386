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

# of images that no unit has named yet, only those go that nobody has wanted for a day
forget_images() {
    [ -s "$state/.pulled" ] || return 0
    all_texts | grep -E -o 'sha256:[0-9a-f]{64}' | sort -u >"$tmp/digests"
    cut -d ' ' -f 1 "$state/.pulled" >"$tmp/ids"
    # those that are gone make an error, and no line
    xargs podman image inspect --format '{{.ID}}{{range .RepoDigests}} {{.}}{{end}}' \
        <"$tmp/ids" >"$tmp/ours" 2>/dev/null
    day_ago=$(($(now) - 86400))
    : >"$tmp/pulled"
    while read -r id names; do
        since=$(sed -n "s/^$id //p" "$state/.pulled" | head -n 1)
        wanted=
        [ "${since:-0}" -lt "$day_ago" ] || wanted=yes
        for name in $names; do
            if grep -q -s -x -F -e "${name##*@}" "$state/.named"; then wanted=; fi
        done
        for name in $names; do
            if grep -q -x -F -e "${name##*@}" "$tmp/digests"; then wanted=yes; fi
        done
        # podman refuses what a container uses, and what has more names than one
        if [ -z "$wanted" ] && podman image rm "$id" >/dev/null 2>&1; then continue; fi
        printf '%s %s\n' "$id" "$since" >>"$tmp/pulled"
    done <"$tmp/ours"
    put "$tmp/pulled" "$state/.pulled" 600
}

lock
workspace change
forget_configs
forget_secrets
forget_images
echo end

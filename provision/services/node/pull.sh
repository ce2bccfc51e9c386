# shellcheck shell=sh disable=SC2015,SC2034,SC2154
# Pull images, a name a line, and say what each of them is. Those that came by us are written down:
# only they are ours to remove.

fetch() {
    case $1 in
        *@sha256:*) if podman image exists "$1"; then return; fi ;;
    esac
    left=$((until - $(date +%s)))
    [ "$left" -gt 0 ] || die "image $1 was not pulled: its time ran out"
    timeout -k 5 "$left" podman pull -q "$1" >"$tmp/id" 2>"$tmp/said"
    status=$?
    case $status in
        0) ;;
        124 | 137) die "image $1 was not pulled within $limit_s seconds" ;;
        *) die "image $1 was not pulled: $(last_line "$tmp/said")" ;;
    esac
    id=$(tail -n 1 "$tmp/id")
    if ! grep -q -x -F -e "$id" "$tmp/before" && ! grep -q -s -F -e "$id" "$state/.pulled"; then
        printf '%s %s\n' "$id" "$(date +%s)" >>"$state/.pulled" ||
            die "cannot write $state/.pulled"
    fi
}

read -r limit_s || exit 1
lock
workspace change
until=$(($(date +%s) + limit_s))
set --
while read -r name; do set -- "$@" "$name"; done
podman images -a -q --no-trunc >"$tmp/before.raw" 2>"$tmp/said" ||
    die "podman images failed: $(last_line "$tmp/said")"
sed 's/^sha256://' "$tmp/before.raw" >"$tmp/before"
for name in "$@"; do fetch "$name"; done
answer images podman image inspect "$@"
echo end

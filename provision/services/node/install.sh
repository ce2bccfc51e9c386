# shellcheck shell=sh disable=SC2015,SC2034,SC2154
# Bring units, configs and secrets. Killed at any point, it leaves what the next run sees and
# repairs: a service's `current` is the last thing to change.

stage() {
    new=$state/$project/.new
    { mkdir "$new" && cp -R -p "$tmp/data/services/." "$new" &&
        find "$new" -print0 | xargs -0 sync; } 2>"$tmp/said" ||
        die "cannot write in $state/$project: $(last_line "$tmp/said")"
}

bring_secrets() {
    set -- "$tmp"/data/secrets/*
    [ -e "$1" ] || return 0
    podman secret ls --format '{{.Name}}' >"$tmp/have" 2>"$tmp/said" ||
        die "podman secret ls failed: $(last_line "$tmp/said")"
    for found in "$@"; do
        # the name changes with the content
        if grep -q -x -F -e "${found##*/}" "$tmp/have"; then continue; fi
        podman secret create "${found##*/}" "$found" >"$tmp/said" 2>&1 ||
            die "podman secret create ${found##*/} failed: $(last_line "$tmp/said")"
    done
}

# An image that some unit has named and none names any more can go; one that no unit has named yet
# may be there for an upgrade.
remember_images() {
    cat "$state/.named" "$new"/*/unit 2>/dev/null | grep -E -o 'sha256:[0-9a-f]{64}' | sort -u \
        >"$tmp/named"
    put "$tmp/named" "$state/.named" 600
}

publish() {
    for found in "$new"/*/config/*; do
        [ -d "$found" ] || continue
        name=${found%/config/*} && place_config "${name##*/}" "$found"
    done
    for found in "$new"/*/unit; do
        [ -e "$found" ] || continue
        name=${found%/unit} && name=${name##*/} && home=$state/$project/$name
        # only what has worked is worth going back to
        if [ -e "$home/current" ] && ! cmp -s "$found" "$home/current"; then
            if cmp -s "$home/current" "$home/started"; then
                put "$home/current" "$home/previous" 600
            fi
            rm -f "$home/restored"
        fi
        place "$name" "$found"
    done
    reload
    for found in "$new"/*/unit; do
        [ -e "$found" ] || continue
        name=${found%/unit} && put "$found" "$state/$project/${name##*/}/current" 600
    done
}

lock
workspace change
receive
stage
refuse_strangers
bring_secrets
for found in "$new"/*/; do
    [ -d "$found" ] || continue
    name=${found%/} && home=$state/$project/${name##*/}
    mkdir -p "$home/config" && chmod 711 "$home" "$home/config" || die "cannot make $home"
    settle "$home"
done
sync "$state/$project"
remember_images
hold_on
trust
publish
rm -rf "$new"
echo end

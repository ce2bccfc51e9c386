# shellcheck shell=sh disable=SC2015,SC2034,SC2154
# Put unit files where systemd or Quadlet reads them, and configs where units mount them.

# put FILE PLACE MODE: replace a file in one step, and not at all when it is the same
put() {
    if [ -f "$2" ] && [ ! -L "$2" ] && cmp -s "$1" "$2" && [ "$(stat -c %a "$2")" = "$3" ]; then
        return
    fi
    beside=${2%/*}/.${2##*/}.new
    {
        { [ -d "${2%/*}" ] || (umask 022 && mkdir -p "${2%/*}"); } &&
            rm -rf "$beside" && cp "$1" "$beside" && chmod "$3" "$beside" && sync "$beside" &&
            mv -f -T "$beside" "$2" && sync "${2%/*}"
    } 2>"$tmp/said" || die "cannot write $2: $(last_line "$tmp/said")"
}

# whether a unit's text is Quadlet's
is_quadlet() {
    grep -q -x '\[Container\]' "$1"
}

# whether a file records that it belongs to this project and SERVICE
is_ours() {
    [ -f "$1" ] && grep -q -x "Project=$project" "$1" && grep -q -x "Service=$2" "$1"
}

# place SERVICE FILE: make FILE the unit that systemd reads
place() {
    container=$quadlet/$project-$1.container
    service_file=$units/$project-$1.service
    if is_quadlet "$2"; then
        if [ -e "$service_file" ]; then
            systemctl --no-reload --quiet disable "$project-$1.service" >/dev/null 2>&1
            rm -f "$service_file"
        fi
        put "$2" "$container" 644
    else
        rm -f "$container"
        put "$2" "$service_file" 644
        plain="$plain $project-$1.service"
    fi
}

# have systemd read the units; those that Quadlet does not make are started at boot by a link
reload() {
    systemctl daemon-reload >"$tmp/said" 2>&1 ||
        die "systemctl daemon-reload failed: $(last_line "$tmp/said")"
    # shellcheck disable=SC2086
    [ -z "$plain" ] || systemctl --no-reload --quiet enable $plain >"$tmp/said" 2>&1 ||
        die "systemctl enable$plain failed: $(last_line "$tmp/said")"
}

# a unit of that name that is not ours is left alone, wherever systemd would read it
refuse_strangers() {
    set --
    for found in "$new"/*/unit; do
        [ -e "$found" ] || continue
        name=${found%/unit} && name=${name##*/}
        for file in "$quadlet/$project-$name.container" "$units/$project-$name.service"; do
            if [ -e "$file" ] && [ ! -e "$state/$project/$name/current" ] &&
                ! is_ours "$file" "$name"; then
                die "$file is there and is not ours: move it away, or rename the service"
            fi
        done
        set -- "$@" "$project-$name.service"
    done
    [ $# -gt 0 ] || return 0
    systemctl show --no-pager -p FragmentPath "$@" >"$tmp/said" 2>&1 ||
        die "systemd does not answer: $(last_line "$tmp/said")"
    while IFS= read -r line; do
        case $line in
            '' | FragmentPath= | "FragmentPath=$units/"* | FragmentPath=/run/systemd/generator*) ;;
            FragmentPath=/dev/null) ;;
            FragmentPath=*) die "${line#*=} is a unit of the system: rename the service" ;;
        esac
    done <"$tmp/said"
}

# all that there is to know of a directory of configs
portrait() {
    (
        cd "$1" && find . -printf '%y %m %U:%G %P\0' | sort -z &&
            find . -type f -print0 | sort -z | xargs -0 -r sha256sum -z --
    )
}

# place_config SERVICE STAGED: publish a directory of configs under its digest, whole
place_config() {
    home=$state/$project/$1/config
    target=$home/${2##*/}
    if [ -e "$target" ] || [ -L "$target" ]; then
        portrait "$2" >"$tmp/wanted"
        if [ -d "$target" ] && [ ! -L "$target" ] && portrait "$target" >"$tmp/there" 2>/dev/null &&
            cmp -s "$tmp/wanted" "$tmp/there"; then
            return
        fi
        { mv -T "$target" "$new/was.$$" && rm -rf "$new/was.$$"; } 2>"$tmp/said" ||
            die "cannot replace $target: $(last_line "$tmp/said")"
    fi
    { mv -T "$2" "$target" && sync "$home"; } 2>"$tmp/said" ||
        die "cannot write $target: $(last_line "$tmp/said")"
}
plain=

# What every script begins with. The client joins the parts of a verb and sends them as one constant
# text; standard input goes on with the parameters, a line each, and then the data.
# Whatever is said goes out as lines `NAME STATUS BASE64 BASE64`: output and errors of a command, so
# that nothing in them can be taken for something else; a last line `end` tells that all has arrived.
# shellcheck shell=sh disable=SC2015,SC2034,SC2154

set -u
umask 077
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
TZ=UTC
export PATH LC_ALL TZ

tmp=
trap 'end=$?; [ -z "$tmp" ] || rm -rf "$tmp"; exit $end' EXIT
trap 'exit 1' HUP INT TERM PIPE

# say NAME TEXT
say() {
    printf '%s 0 %s \n' "$1" "$(printf '%s' "$2" | base64 -w 0)"
}

# ask NAME COMMAND...: run a command and keep all that it wrote, and how it ended
ask() {
    asked=$1
    shift
    "$@" >"$tmp/$asked.out" 2>"$tmp/$asked.err"
    echo $? >"$tmp/$asked.status"
}

# tell NAME: say what was kept
tell() {
    printf '%s %s %s %s\n' "$1" "$(cat "$tmp/$1.status")" "$(base64 -w 0 "$tmp/$1.out")" \
        "$(tail -c 4000 "$tmp/$1.err" | base64 -w 0)"
}

answer() {
    ask "$@"
    tell "$1"
}

die() {
    say error "$*"
    echo end
    exit 1
}

# the last thing that a command said
last_line() {
    grep -v '^[[:space:]]*$' "$1" | tail -n 1 | tail -c 500
}

# one run at a time changes a node; the lock goes with this process and what it still runs
lock() {
    mkdir -p "$state/$project" && chmod 711 "$state" "$state/$project" || die "cannot make $state"
    exec 9>>"$state/.lock" || die "cannot open $state/.lock"
    flock -w "$lock_s" 9 || die "another run changes this node: $(head -c 200 "$state/.lock")"
    printf '%s since %s\n' "$who" "$(date +%Y-%m-%dT%H:%M:%SZ)" >"$state/.lock"
    # what a killed run left
    rm -rf "$run"/change.* "$state/$project"/.new
}

# workspace PREFIX: a directory in memory that only root can read
workspace() {
    mkdir -p "$run" && tmp=$(mktemp -d "$run/$1.XXXXXX") || die "cannot make a directory in $run"
}

# this run finishes what it begins, whether or not somebody still listens
hold_on() {
    trap '' HUP INT PIPE TERM
}

well_named() {
    case $1 in
        [!a-z0-9]* | *[!a-z0-9_.-]* | '') return 1 ;;
    esac
}

read -r who && read -r lock_s && read -r state && read -r quadlet && read -r units &&
    read -r run && read -r containers && read -r project || exit 1

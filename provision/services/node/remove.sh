# shellcheck shell=sh disable=SC2015,SC2034,SC2154
read -r limit_s || exit 1
set --
while read -r name; do set -- "$@" "$name"; done
lock
workspace change
hold_on
remove "$limit_s" "$@"
forget_secrets
echo end

# shellcheck shell=sh disable=SC2015,SC2034,SC2154
read -r service && read -r limit_s && read -r settle_s || exit 1
lock
workspace change
settle "$state/$project/$service"
hold_on
start "$service" "$limit_s"
echo end

# shellcheck shell=sh disable=SC2015,SC2034,SC2154
lock
workspace change
receive
trust
echo end

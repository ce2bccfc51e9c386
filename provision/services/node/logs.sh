# shellcheck shell=sh disable=SC2015,SC2034,SC2154
read -r service && read -r lines || exit 1
workspace look
answer journal journal "$project-$service" @0 "$lines"
echo end

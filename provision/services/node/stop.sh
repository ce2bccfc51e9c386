# shellcheck shell=sh disable=SC2015,SC2034,SC2154
read -r service && read -r limit_s || exit 1
lock
workspace change
hold_on
since=@$(now)
act stop "$project-$service" "$limit_s"
case $status in
    0) say outcome down ;;
    124 | 137) say outcome late ;;
    *) say outcome failed ;;
esac
if [ "$status" != 0 ]; then
    answer said cat "$tmp/said"
    why "$project-$service" "$since"
fi
echo end

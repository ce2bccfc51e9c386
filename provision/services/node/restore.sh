# shellcheck shell=sh disable=SC2015,SC2034,SC2154
# Go back to the previous unit. Run again after an interruption, it ends where it was going.

# current and previous change places, each step a rename
swap() {
    if cmp -s "$file" "$home/previous" && ! cmp -s "$file" "$home/current"; then
        return # interrupted: they have changed places, the unit has not followed
    fi
    [ -e "$home/previous" ] || die "$project-$service has no previous unit to go back to"
    ln -f "$home/current" "$home/old" && sync "$home" &&
        mv -f -T "$home/previous" "$home/current" && mv -f -T "$home/old" "$home/previous" ||
        die "cannot write in $home"
    rm -f "$home/restored"
}

# the previous one becomes current; it has been up, or it would not be there
back() {
    cp "$home/previous" "$home/restored.new" && mv -f -T "$home/restored.new" "$home/restored" &&
        cp "$home/previous" "$home/started.new" && mv -f -T "$home/started.new" "$home/started" &&
        sync "$home/restored" "$home/started" "$home" &&
        mv -f -T "$home/previous" "$home/current" || die "cannot write in $home"
}

read -r service && read -r way && read -r limit_s && read -r settle_s || exit 1
lock
workspace change
home=$state/$project/$service
file=$units/$project-$service.service
[ ! -e "$quadlet/$project-$service.container" ] || file=$quadlet/$project-$service.container
[ -e "$home/current" ] || die "$project-$service is not installed"
settle "$home"
hold_on
if [ "$way" = swap ]; then
    swap
elif [ -e "$home/previous" ]; then
    back
elif ! cmp -s "$home/current" "$home/restored"; then
    # there is nothing to go back to, and this is not a restore that was interrupted
    remove "$limit_s" "$service"
    forget_secrets
    say outcome removed
    echo end
    exit 0
fi
sync "$home"
place "$service" "$home/current"
reload
start "$service" "$limit_s"
echo end

# shellcheck shell=sh disable=SC2015,SC2034,SC2154
# Take the tar at the end of standard input; a directory in memory, as it may hold secrets.

receive() {
    mkdir "$tmp/data" || die "cannot make a directory in $run"
    tar -x -f - -o -p -C "$tmp/data" >"$tmp/said" 2>&1 ||
        die "the data did not arrive: $(last_line "$tmp/said")"
    # tar is content with a stream that ends between two files
    [ -e "$tmp/data/complete" ] || die "the data did not arrive: the connection ended before"
}

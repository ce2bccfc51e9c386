# shellcheck shell=sh disable=SC2015,SC2034,SC2154
# Set up how registries are reached: what `registries` in the workspace holds, and no more.

trust() {
    for found in "$tmp"/data/registries/ca/*; do
        [ -e "$found" ] || continue
        put "$found" "$containers/certs.d/${found##*/}/ca.crt" 644
    done
    for found in "$tmp"/data/registries/insecure/*; do
        [ -e "$found" ] || continue
        put "$found" "$containers/registries.conf.d/${found##*/}" 644
    done
    # one of ours that is to be verified from now on
    for found in "$tmp"/data/registries/verified/*; do
        [ -e "$found" ] || continue
        rm -f "$containers/registries.conf.d/${found##*/}"
    done
}

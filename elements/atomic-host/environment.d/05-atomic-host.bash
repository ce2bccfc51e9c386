export DIB_RELEASE=${DIB_RELEASE:-bookworm}
# systemd-networkd configures the network; no ifupdown stanzas
export DIB_APT_MINIMAL_CREATE_INTERFACES=0
# dib's debootstrap element would set LC_ALL to this
export DIB_DEBOOTSTRAP_DEFAULT_LOCALE=C.UTF-8
# read by dracut's kernel hook: post-install.d makes the one initramfs, when all is configured
export INITRD=No
# 2014-12-03, the day of the Fedora-Cloud-Atomic image whose shape this is; the same inputs give the same tree
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1417564800}

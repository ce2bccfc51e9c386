"""Turn an ostree host's image into kernel, ramdisk and root partition, and register them."""

"""Turn an image-based (ostree) cloud image into a kernel, a ramdisk and a root partition, and register them in Glance."""

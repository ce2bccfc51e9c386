"""Take nodes from Ironic, deploy an image-based OS on them, connect, give them back.

This file goes into the deploy ramdisk with :mod:`provision.agent`: it imports nothing.
"""

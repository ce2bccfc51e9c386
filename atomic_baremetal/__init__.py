"""Hold what `imgprep` and `provision` share: errors, commands, output, the cloud, kernel arguments.

The two packages never import one another. The Ironic driver and the agent extension run inside
somebody else's process and import neither them nor this package.
"""

__version__ = "0.1.0"

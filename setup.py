"""Install the diskimage-builder elements as data files; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup

SHARE = Path("share/atomic-baremetal")

setup(
    data_files=[
        (str(SHARE / directory), [str(path) for path in directory.iterdir() if path.is_file()])
        for directory in [Path("elements"), *Path("elements").rglob("*")]
        if directory.is_dir()
    ]
)

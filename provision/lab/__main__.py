"""Run the lab's commands alone: `python -m provision.lab`."""

from atomic_baremetal import cli
from provision.lab.cli import lab

if __name__ == "__main__":
    cli.set_up_logging(quiet=False, verbose=False, debug=False)
    cli.main(lab, prog_name="python -m provision.lab")

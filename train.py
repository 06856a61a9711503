"""Train a style: ``python train.py style=thanos_poster`` (see README.md)."""

import os

# Set before torch is imported: its threads wait for one another by spinning, which slows them
# down if another program uses a core. Spinning less costs nothing.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from fststyle.cli.errors import sentence
from fststyle.cli.train import check_packages
from fststyle.errors import FststyleError

try:
    check_packages()
    from fststyle.training.main import main
except FststyleError as error:
    raise SystemExit(f"Error: {sentence(error)}") from None
except KeyboardInterrupt:  # the imports take seconds
    raise SystemExit(130) from None

if __name__ == "__main__":
    main()

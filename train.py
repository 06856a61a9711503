"""Train a style: ``python train.py style=thanos_poster`` (see README.md)."""

import os

# Before torch is loaded: its threads wait for one another by spinning, and where another
# program has one of the cores they would do little else. Spinning less costs nothing.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

try:
    from fststyle.training.train import main
except KeyboardInterrupt:  # importing takes seconds
    raise SystemExit(130) from None

if __name__ == "__main__":
    main()

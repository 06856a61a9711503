"""Train a style: ``python train.py style=thanos_poster`` (see README.md)."""

from fststyle.training import main

if __name__ == "__main__":
    main()

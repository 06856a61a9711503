"""Make ``python -m fststyle.training style=NAME`` equivalent to ``python train.py``."""

from fststyle.training.main import main

if __name__ == "__main__":
    main()

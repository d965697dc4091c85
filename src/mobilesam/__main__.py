"""Entry point of `python -m mobilesam`, the command line."""

from mobilesam.cli import main

if __name__ == "__main__":
    main()

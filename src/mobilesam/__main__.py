"""`python -m mobilesam`."""

from mobilesam.cli import main

if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""check_symbols.py LIBRARY...: fails if a library shows its users a name that is not unet_*."""
import pathlib
import subprocess
import sys


def strangers(library):
    dynamic = ["-D"] if ".so" in pathlib.Path(library).name else []
    listing = subprocess.run(["nm", "-g", "--defined-only", *dynamic, library], check=True,
                             capture_output=True, text=True).stdout
    names = [line.split()[-1] for line in listing.splitlines() if len(line.split()) == 3]
    if not names:
        return ["it shows no names at all"]
    return [name for name in names if not name.startswith("unet_")]


def main():
    bad = {library: strangers(library) for library in sys.argv[1:]}
    for library, names in bad.items():
        print(f"{library}: {', '.join(names) if names else 'only unet_*'}")
    return 1 if any(bad.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Records what PyTorch and Pillow make of small inputs: the answers that the tests compare with.

    python3 tests/golden/record.py            rewrites everything
    python3 tests/golden/record.py images bad  rewrites those parts

Needs torch, numpy, pillow and safetensors; README.md says what each file is. Fixed seeds: the
same versions on the same machine write the same bytes.
"""
import argparse
import importlib
import os
import platform
import sys

PARTS = ["models", "formats", "bad", "images", "shared"]


def write_versions():
    import numpy
    import PIL
    import safetensors
    import torch
    from PIL import features

    from common import GOLDEN
    versions = [("python", platform.python_version()), ("torch", torch.__version__),
                ("numpy", numpy.__version__), ("pillow", PIL.__version__),
                ("libjpeg-turbo in pillow", features.version("libjpeg_turbo")),
                ("libtiff in pillow", features.version("libtiff")),
                ("safetensors", safetensors.__version__)]
    text = "".join(f"{name} {version}\n" for name, version in versions)
    (GOLDEN / "versions.txt").write_text(text, encoding="ascii")


def main():
    parser = argparse.ArgumentParser(description="Rewrites the goldens beside this file.")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parts = parser.parse_args().parts or PARTS
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    sys.dont_write_bytecode = True
    os.nice(10)
    import torch
    torch.set_num_threads(2)
    for part in parts:
        print(f"recording {part}", flush=True)
        importlib.import_module(f"record_{part}").record()
    write_versions()


if __name__ == "__main__":
    main()

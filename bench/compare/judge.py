"""What a lower precision does to masks: each peer's, beside its own float32's and others'.

Masks are made at the uint8 → mask boundary, by the files and the modes that are timed.
"""
import pathlib

import numpy

from . import processes


def masks(name, spec, left_out):
    """The masks of the evaluated images, kept in the place's folder; None: the peer failed."""
    folder = pathlib.Path(spec["folder"])
    path = folder / f"masks-{name}-{spec['precision']}.npy"
    try:
        if not path.is_file():
            worker = processes.Worker(name, spec, spec["patience"])
            try:
                worker.ask(verb="masks", images=str(folder / "evaluation.npy"), path=str(path))
            finally:
                worker.close()
    except processes.Failed as problem:
        left_out[name] = f"evaluation, {spec['precision']}: {problem}"
        return None
    return numpy.load(path)


def against(mine, other):
    """Share of pixels that agree: of all, and of the image that agrees least."""
    images = (mine == other).mean((1, 2))
    return {"agreement": round(float(images.mean()), 6), "worst": round(float(images.min()), 6)}


def evaluate(names, spec_of, references, left_out):
    """{peer: {"own" and each reference: against(...)}}; a reference is masks or None."""
    found = {}
    for name in names:
        mine = masks(name, spec_of(name, "mask"), left_out)
        if mine is None:
            continue
        own = masks(name, spec_of(name, "mask", "fp32"), left_out)
        others = {"own": own, **references}
        found[name] = {what: against(mine, other) for what, other in others.items()
                       if other is not None}
    return found


def references(spec_of, folder):
    """Masks in float32 of PyTorch and of libunet, where they can be had."""
    path = pathlib.Path(folder) / "evaluation-reference.npy"
    spec = spec_of("libunet", "mask", "fp32")
    has_engine = pathlib.Path(spec["files"]["libunet"]).is_file()
    return {"torch": numpy.load(path) if path.is_file() else None,
            "libunet": masks("libunet", spec, {}) if has_engine else None}

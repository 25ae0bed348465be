#!/usr/bin/env python3
"""Holds the sources to the house's law (CONTRIBUTING.md): who may include whom.

Reads every #include "MODULE/..." below src/ and cli/, and fails with the lines that break the law.
"""
import pathlib
import re
import sys

LAW = {  # module: what it includes directly; what those include comes with them
    "base": [],
    "model": ["base"],
    "image": ["base"],
    "graph": ["base"],
    "kernels": ["base"],
    "plan": ["graph", "kernels"],
    "engine": ["plan"],
    "run": ["engine", "kernels"],
    "predict": ["run", "image"],
    "quant": ["graph"],
    "build": ["model", "engine", "predict", "quant"],
}
RUNTIME = {"base", "image", "graph", "kernels", "plan", "engine", "run", "predict"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def allowed(module):
    """The modules that `module` may include, itself and base among them."""
    seen, waiting = {"base", module}, list(LAW[module])
    while waiting:
        other = waiting.pop()
        if other not in seen:
            seen.add(other)
            waiting.extend(LAW[other])
    return seen


def broken_includes(root):
    for path in sorted((root / "src").rglob("*.[ch]")):
        module = path.relative_to(root / "src").parts[0]
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if match and match[1].split("/")[0] not in allowed(module):
                yield f"{path.relative_to(root)}:{number}: {module} may not include {match[1]}"
    for path in sorted((root / "cli").glob("*.[ch]")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if match and not (root / "cli" / match[1]).exists():
                yield f"{path.relative_to(root)}:{number}: cli may not include {match[1]}"


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    outside = [m for m in RUNTIME if not allowed(m) <= RUNTIME]
    problems = [f"the runtime library's {m} reaches outside it" for m in outside]
    problems += broken_includes(root)
    modules = {p.name for p in (root / "src").iterdir() if p.is_dir()}
    problems += [f"src/{m} has no row in the law" for m in sorted(modules - LAW.keys())]
    print("\n".join(problems) if problems else f"{len(modules)} modules keep the law")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

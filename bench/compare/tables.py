"""Results → tables: text for a terminal, Markdown for the README."""
NAMES = {"libunet": "libunet", "openvino": "OpenVINO", "ncnn": "ncnn", "mnn": "MNN",
         "onnxruntime": "ONNX Runtime", "torch": "PyTorch", "torch-compile": "torch.compile",
         "unet predict": "`unet predict`", "libunet-fp16": "libunet, fp16",
         "eager": "PyTorch eager", "graph": "PyTorch's CUDA graph", "compile": "torch.compile",
         "max-autotune": "torch.compile, max-autotune", "tensorrt": "TensorRT"}


def text_row(name, about):
    line = f"{name:<14}{about.get('version', '')[:12]:<13}"
    for boundary in ("logits", "mask"):
        row = about.get(boundary, {})
        line += "".join(f"{row[key]:>{width}.{digits}f}" if key in row else " " * width
                        for key, width, digits in (("min_ms", 10, 2), ("median_ms", 10, 2),
                                                   ("ratio", 8, 3), ("agreement", 10, 6)))
    cold = about.get("cold", {})
    return line + "".join(f"{cold[key]:>9.0f}" if key in cold else " " * 9
                          for key in ("first_mask_ms", "peak_mib", "baseline_mib"))


def text_of(title, result):
    """What a cell showed, for a terminal. A ratio is libunet's time over the peer's."""
    half = f"{'min':>10}{'median':>10}{'ratio':>8}{'agrees':>10}"
    lines = [f"{title}: {result['machine']['processor']}, {result['machine']['threads']} threads",
             f"{'':<27}{'float32 → logits, ms':<38}{'uint8 → mask, ms':<38}cold start: ms, MiB, "
             "Python's", f"{'peer':<14}{'version':<13}{half}{half}"]
    lines += [text_row(name, about) for name, about in result["peers"].items()]
    lines += [f"{name}: {about['doubt']}" for name, about in result["peers"].items()
              if "doubt" in about]
    lines += [f"noisy: {name}'s median is {row['median_ms'] / row['min_ms']:.1f} times its best; "
              "let the machine rest" for name, about in result["peers"].items()
              for row in [about.get("logits")] if row and row["median_ms"] > 1.3 * row["min_ms"]]
    lines += evaluation_lines(result)
    return "\n".join(lines + [f"left out: {name}: {why}"
                              for name, why in result["left_out"].items()])


# ---------------------------------------------------------------- Markdown


def network_name(result):
    """Pytorch-UNet's bilinear network of 13.4 M parameters at width 64 is the older one."""
    network = result["network"]
    kind = network["architecture"].removeprefix("unet-")
    kind = "older bilinear" if kind == "bilinear-old" else kind
    return f"width {network['width']}, {kind}"


def place_name(result):
    batch = f", batch {result['batch']}" if result["batch"] > 1 else ""
    return f"{network_name(result)}, {result['width']}×{result['height']}{batch}"


def order(result):
    """The widest network first, small images before large ones."""
    return (-result["network"]["width"], result["model"], result["batch"],
            result["width"] * result["height"])


def number(milliseconds):
    """Three digits that count, but no more than whole ones."""
    digits = 0 if milliseconds >= 20 else 1 if milliseconds >= 10 else 2 if milliseconds >= 1 else 3
    return f"{milliseconds:,.{digits}f}"


def peers_of(results, key):
    """Those that some result has measured, libunet first, in one order everywhere."""
    return [name for name in NAMES if any(key in result["peers"].get(name, {})
                                          for result in results)]


def version_of(results, name):
    found = {result["peers"][name]["version"].split("+")[0] for result in results
             if "version" in result["peers"].get(name, {})}
    return ", ".join(sorted(found))


def heading(results, names):
    titles = [NAMES[name] if "unet" in name else f"{NAMES[name]} {version_of(results, name)}"
              for name in names]
    return [f"| network, size | {' | '.join(titles)} |", "|---" * (len(names) + 1) + "|"]


def entry(about, boundary):
    row = about.get(boundary)
    if not row:
        return "–"
    mark = "\\*" if "doubt" in about else ""
    return number(row["median_ms"]) + mark + (f" ({row['ratio']:.2f})" if "ratio" in row else "")


def time_table(results, boundary):
    """Median milliseconds, and in brackets libunet's time over the peer's."""
    names = peers_of(results, boundary)
    lines = heading(results, names)
    for result in sorted(results, key=order):
        entries = [entry(result["peers"].get(name, {}), boundary) for name in names]
        if names[0] == "libunet" and entries[0] != "–":
            entries[0] = f"**{entries[0].split(' ')[0]}**"
        lines.append(f"| {place_name(result)} | {' | '.join(entries)} |")
    return lines


def doubts(results):
    """A line for each peer that did not run as it was asked to."""
    found = sorted({(NAMES[name], about["doubt"]) for result in results
                    for name, about in result["peers"].items() if "doubt" in about})
    return [f"\\* {name} {doubt}." for name, doubt in found]


def cold_table(results):
    names = peers_of(results, "cold")
    lines = heading(results, names)
    for result in sorted(results, key=order):
        colds = [result["peers"].get(name, {}).get("cold") for name in names]
        entries = [f"{number(cold['first_mask_ms'])} ms, {cold['peak_mib']:.0f} MiB"
                   if cold else "–" for cold in colds]
        lines.append(f"| {place_name(result)}, {result['precision']} | {' | '.join(entries)} |")
    return lines


def agreement_table(results):
    names = peers_of(results, "logits")
    lines = heading(results, names)
    for result in sorted(results, key=order):
        rows = [result["peers"].get(name, {}).get("logits", {}) for name in names]
        entries = [f"{row['agreement']:.5f}, {row['max_logit_difference']:.0e}"
                   if "agreement" in row else "–" for row in rows]
        lines.append(f"| {place_name(result)} | {' | '.join(entries)} |")
    return lines


OTHERS = {"own": "its own", "libunet": "libunet's", "torch": "PyTorch's"}


def evaluation_table(results):
    """How masks of a lower precision agree with those of float32: a row a peer and network."""
    lines = ["| network, size | images | | its own fp32 | worst image | libunet's fp32 | "
             "PyTorch's fp32 |", "|---" * 7 + "|"]
    for result in sorted(results, key=order):
        for name in peers_of([result], "evaluation"):
            shares = result["peers"][name]["evaluation"]
            entries = [(what, key) for what, key in (("own", "agreement"), ("own", "worst"),
                                                     ("libunet", "agreement"),
                                                     ("torch", "agreement"))]
            words = [f"{shares[what][key]:.5f}" if what in shares else "–"
                     for what, key in entries]
            lines.append(f"| {place_name(result)} | {result['evaluation']['images']} | "
                         f"{NAMES[name]} | {' | '.join(words)} |")
    return lines


def evaluated(results):
    return bool(peers_of(results, "evaluation"))


def evaluation_lines(result):
    """The same for a terminal."""
    for name in peers_of([result], "evaluation"):
        shares = result["peers"][name]["evaluation"]
        words = [f"{OTHERS[what]} {share['agreement']:.6f} (worst {share['worst']:.6f})"
                 for what, share in shares.items()]
        yield (f"{name}'s masks of {result['evaluation']['images']} images agree with fp32's: "
               f"{', '.join(words)}")


def span(values):
    """"9", or "3 to 9" where they differ."""
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def rows_of(result):
    """Of the peers, which run once a round; libunet's rounds add up over groups of peers."""
    found = [about[key] for name, about in result["peers"].items() for key in ("logits", "mask")
             if key in about and name != "libunet"]
    return found or [about["logits"] for about in result["peers"].values() if "logits" in about]


def gpu_conditions(results):
    machine = results[0]["machine"]
    rounds = [len(row["rounds_ms"]) for result in results for row in rows_of(result)]
    return (f"{machine['gpu']} ({machine['compute']}, {machine['power_limit']}), driver "
            f"{machine['driver']}, CUDA {machine['cuda']}, cuDNN {machine['cudnn']}; medians of "
            f"{span(rounds)} interleaved rounds, "
            f"{span([result['machine']['date'] for result in results])}")


def conditions(results):
    """One sentence: which machine, how many threads, rounds, when."""
    machine = results[0]["machine"]
    if "gpu" in machine:
        return gpu_conditions(results)
    wide = "AVX-512" if "avx512f" in machine["features"] else "AVX2"
    rounds = [len(row["rounds_ms"]) for result in results for row in rows_of(result)]
    return (f"{machine['processor']} ({wide}), {machine['threads']} threads; medians of "
            f"{span(rounds)} interleaved rounds, "
            f"{span([result['machine']['date'] for result in results])}")

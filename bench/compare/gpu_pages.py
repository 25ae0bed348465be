"""Results of a GPU → Markdown: the README's part and the page of that GPU."""
import textwrap

from . import tables

PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8", "fp8")
V100 = {"network": "TensorRT 7 on a V100, 512×512, as libunet's ancestor reported it",
        "PyTorch": 31, "fp32": 16, "fp16": 8, "int8": 9}


def paragraph(words):
    return textwrap.wrap(words, 105, break_on_hyphens=False)


def precisions(results):
    return [name for name in PRECISIONS if any(result["precision"] == name for result in results)]


def of(results, precision):
    return [result for result in results if result["precision"] == precision]


def is_headline(result):
    return (result["width"], result["height"]) in ((512, 512), (480, 360)) and \
        result["batch"] in (1, 8)


def best(results, precision):
    """libunet's time at 512×512 and batch 1, of the widest network in today's form."""
    found = [result["peers"]["libunet"]["logits"]["median_ms"] for result in of(results, precision)
             if (result["width"], result["height"], result["batch"]) == (512, 512, 1) and
             result["network"]["architecture"] == "unet-bilinear" and
             "libunet" in result["peers"]]
    return f"{min(found):.2f}" if found else "–"


def beside_the_ancestor(results):
    theirs = [f"{V100[name]}" for name in ("fp32", "fp16", "int8")]
    ours = [best(results, name) for name in ("fp32", "fp16", "int8")]
    return ["| milliseconds an image | fp32 | fp16 | int8 |", "|---|---|---|---|",
            f"| {V100['network']} | {' | '.join(theirs)} |",
            f"| libunet, width 64, bilinear, on {results[0]['machine']['gpu']} | "
            f"{' | '.join(ours)} |"]


def readme_part(results, folder):
    lines = paragraph(f"{tables.conditions(results)}. Milliseconds a batch from float32 on the GPU "
                      "to float32 logits on the GPU, runs enqueued one behind the other; in "
                      "brackets libunet's time over the peer's inside a round. PyTorch has no "
                      "8-bit convolutions on GPUs, so beside int8 all others run fp16.")
    for precision in precisions(results):
        some = [result for result in of(results, precision) if is_headline(result)]
        if some:
            lines += ["", f"**{precision}**", "", *tables.time_table(some, "logits")]
    if tables.evaluated(results):
        lines += ["", "Share of pixels whose class is that of libunet's fp32 on the same GPU:", "",
                  *masks_table(results)]
    return "\n".join([*lines, "", *beside_the_ancestor(results), "",
                      f"[All sizes and plots]({folder}/README.md)."])


def masks_table(results):
    lines = ["| network, size | precision | images | agree | worst image |", "|---" * 5 + "|"]
    for precision in precisions(results):
        for result in sorted(of(results, precision), key=tables.order):
            share = result["peers"].get("libunet", {}).get("evaluation", {}).get("own")
            if share:
                lines.append(f"| {tables.place_name(result)} | {precision} | "
                             f"{result['evaluation']['images']} | {share['agreement']:.5f} | "
                             f"{share['worst']:.5f} |")
    return lines


def latencies(results):
    names = tables.peers_of(results, "logits")
    lines = tables.heading(results, names)
    for result in sorted(results, key=tables.order):
        rows = [result["peers"].get(name, {}).get("logits") for name in names]
        words = [tables.number(row["latency_ms"]) if row else "–" for row in rows]
        lines.append(f"| {tables.place_name(result)} | {' | '.join(words)} |")
    return lines


def precision_part(results, precision):
    return ["", f"## {precision}", "", *tables.time_table(results, "logits"), "",
            *paragraph("One run from its start to its end, nothing enqueued behind it:"), "",
            *latencies(results), "",
            *paragraph("Share of pixels whose class equals that of PyTorch's true float32, and the "
                       "largest difference of a logit (networks of random weights have logits near "
                       "each other everywhere):"), "", *tables.agreement_table(results)]


def page(results, names):
    modes = {(name, about["mode"]) for result in results
             for name, about in result["peers"].items()}
    lines = [f"# libunet on {results[0]['machine']['gpu']}", "", *paragraph(
        f"{tables.conditions(results)}. Medians in milliseconds a batch; in brackets libunet's "
        "time over the peer's inside a round. Written by bench/report.py from the JSON files "
        "beside it, which bench/gpu.py wrote."), "",
        *(f"- {tables.NAMES[name]}: {mode}" for name, mode in sorted(modes))]
    for precision in precisions(results):
        lines += precision_part(of(results, precision), precision)
    if tables.evaluated(results):
        lines += ["", "## Masks", "", *masks_table(results)]
    left = sorted({(tables.NAMES.get(name, name), result["precision"], why)
                   for result in results for name, why in result["left_out"].items()})
    lines += ["", "## Left out", "", *(f"- {name}, {precision}: {why}"
                                       for name, precision, why in left)] if left else []
    lines += ["", "## Plots", "", *(f"![{name}]({name})\n" for name in names)] if names else []
    return "\n".join(lines).rstrip() + "\n"

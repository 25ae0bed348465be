"""libunet beside its peers: what bench/peers.py, bench/worker.py and bench/report.py share.

    prepare.py    a checkpoint → each peer's own files on disk
    quantise.py   a peer's float32 model → its best int8 model, kept in a cache
    adapters.py   each peer behind two functions: logits and mask
    libunet.py    the same for libunet, through ctypes
    processes.py  a peer in a process of its own
    cold.py       a new process → its first mask; peak memory
    judge.py      masks of a lower precision beside those of float32
    cell.py       one network, size, batch and precision: everything that is measured of it
    machine.py    what all this ran on
    tables.py     results → Markdown
    plots.py      results → SVG

and for GPUs, of bench/gpu.py:

    gpu_build.py  engines, and the images that they are built with
    gpu_peers.py  libunet and PyTorch's ways behind the same functions
    gpu_pages.py  results → Markdown
"""

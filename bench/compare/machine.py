"""What a measurement ran on."""
import datetime
import os
import pathlib
import platform
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
SWITCHES = ("UNET_CPU", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")  # change what a peer runs


def cpu_line(name):
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(name):
            return line.split(":", 1)[1].strip()
    return ""


def memory_kib(name):
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise SystemExit(f"/proc/meminfo has no {name}")


def quota_cpus():
    """CPUs that the cgroup's quota pays for; None where there is no quota."""
    try:
        quota, period = pathlib.Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, int(quota) // int(period))


def allowed_threads():
    affinity = len(os.sched_getaffinity(0))
    return min(affinity, quota_cpus() or affinity)


def choose_threads(wanted):
    """More threads than CPUs would measure the scheduler, so they are refused."""
    allowed = allowed_threads()
    if wanted > allowed:
        raise SystemExit(f"--threads {wanted}: this process may use {allowed} CPUs; "
                         "more threads than that take turns")
    return wanted or allowed


def commit():
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def label(threads):
    """A folder's name for this machine: amd-epyc-2-threads; without AVX-512
    amd-epyc-avx2-2-threads, for a brand has many generations."""
    name = re.sub(r"\(.*?\)|@.*|\b(cpu|processor|\d+-core)\b", "",
                  cpu_line("model name") or platform.machine(), flags=re.IGNORECASE)
    tier = "" if "avx512f" in cpu_line("flags").split() else "avx2"
    return re.sub(r"[^a-z0-9]+", "-", f"{name} {tier} {threads} threads".lower()).strip("-")


def describe(threads):
    flags = cpu_line("flags").split()
    switches = {name: os.environ[name] for name in SWITCHES if name in os.environ}
    return {"processor": cpu_line("model name") or platform.processor(),
            "family_model": f"{cpu_line('cpu family')}/{cpu_line('model')}",
            "features": [flag for flag in FEATURES if flag in flags],
            "cpus": allowed_threads(), "threads": threads,
            "memory_gib": round(memory_kib("MemTotal") / 2**20, 1),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(), "commit": commit(), "switches": switches,
            "load_before": round(os.getloadavg()[0], 2),
            "date": datetime.date.today().isoformat()}


def gpu():
    """Of results that were measured on a GPU."""
    import torch

    about = torch.cuda.get_device_properties(0)
    query = ["nvidia-smi", "--query-gpu=driver_version,power.limit", "--format=csv,noheader"]
    driver, power = subprocess.run(query, check=True, capture_output=True,
                                   text=True).stdout.splitlines()[0].split(", ")
    return {"gpu": about.name, "compute": f"sm_{about.major}{about.minor}",
            "multiprocessors": about.multi_processor_count, "memory_gib": about.total_memory >> 30,
            "driver": driver, "power_limit": power, "torch": torch.__version__,
            "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
            "processor": cpu_line("model name"), "commit": commit(),
            "date": datetime.date.today().isoformat()}

import numpy as np
import pytest

from support import GOLDEN, PROGRAM, SHARED, done


def pytest_sessionstart(session):
    if not PROGRAM.is_file():
        pytest.exit(f"{PROGRAM} is not there: build it, or name it in UNET_PROGRAM", 1)


def pytest_terminal_summary(terminalreporter):
    if not (SHARED / "models").is_dir():
        terminalreporter.write_line("test_shared.py was not run: ../shared, with its checkpoints "
                                    "and images, is not there")


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """engine("transposed"): the path of that golden model's engine, built once, of the
    kernels that an in-memory build takes, with options of build where some are given."""
    folder = tmp_path_factory.mktemp("engines")

    def build(name, kind="models", *options, env=None):
        path = folder / f"{'-'.join([kind, name, *options])}.engine"
        if not path.exists():
            done("build", GOLDEN / kind / f"{name}.pth", "-o", path, "--no-timing", *options,
                 env=env)
        return path

    return build


@pytest.fixture
def logits_of(tmp_path):
    """logits_of(network, input): what the program saves as logits of one input."""
    def run(network, source, *options):
        done("predict", network, source, "-o", tmp_path / "logits", "--save", "logits", *options)
        return np.load(tmp_path / "logits" / f"{source.stem}.logits.npy")

    return run

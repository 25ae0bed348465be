"""The installed library in a stranger's hands: CMake package, pkg-config, the example."""
import os
import re
import shlex
import subprocess

import pytest

from support import GOLDEN, PROGRAM, ROOT, digest, done, environment, pixels, random_image, \
    same_masks, save_png

BUILD = PROGRAM.parent


def run(*command, **more):
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300,
                            **more)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def sanitizer_flags():
    """A sanitized library needs a sanitized program."""
    cache = (BUILD / "CMakeCache.txt").read_text()
    kinds = re.search(r"^UNET_SANITIZE:\w+=(.*)$", cache, re.M)
    return f"-fsanitize={kinds[1]}" if kinds and kinds[1] else ""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("installed")
    run("cmake", "--install", BUILD, "--prefix", prefix)
    return prefix


def libraries(prefix):
    [header] = prefix.rglob("libunet.so")
    return header.parent


def assert_segments(program, tmp_path, libs):
    """The example's mask is the program's."""
    image = save_png(tmp_path / "in.png", random_image(4, 40, 56))
    model = GOLDEN / "models" / "transposed.pth"
    env = environment({"LD_LIBRARY_PATH": str(libs)})
    run(program, model, image, tmp_path / "mask.png", env=env)
    done("predict", model, image, "-o", tmp_path / "out")
    same_masks(pixels(tmp_path / "mask.png"), pixels(tmp_path / "out" / "in.png"))
    failed = subprocess.run([program, model, "missing.png", tmp_path / "no.png"], env=env,
                            capture_output=True, text=True)
    assert failed.returncode == 1 and "missing.png" in failed.stderr
    assert not (tmp_path / "no.png").exists()


def test_the_example_by_its_cmake_package(installed, tmp_path):
    build = tmp_path / "build"
    run("cmake", "-S", ROOT / "examples", "-B", build, f"-DCMAKE_PREFIX_PATH={installed}",
        f"-DCMAKE_C_FLAGS={sanitizer_flags()}")
    run("cmake", "--build", build)
    assert_segments(build / "segment", tmp_path, libraries(installed))


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_the_example_by_pkg_config(installed, tmp_path, static):
    libs = libraries(installed)
    env = environment({"PKG_CONFIG_PATH": str(libs / "pkgconfig")})
    question = ["pkg-config", "--cflags", "--libs", *(["--static"] if static else []), "unet"]
    flags = shlex.split(run(*question, env=env).stdout)
    if static:
        flags = [str(libs / "libunet.a") if flag == "-lunet" else flag for flag in flags]
    source = ROOT / "examples" / "segment.c"
    run(os.environ.get("CC", "cc"), "-Wall", "-Wextra", "-Werror", source, *flags,
        *filter(None, [sanitizer_flags()]), "-o", tmp_path / "segment")
    linked = run("ldd", tmp_path / "segment", env=env | {"LD_LIBRARY_PATH": str(libs)}).stdout
    assert ("libunet.so" in linked) != static
    assert_segments(tmp_path / "segment", tmp_path, libs)


def test_the_installed_program_is_whole(installed):
    [program] = [path for path in installed.rglob("unet") if path.is_file()]
    assert run(program, "--version").stdout == done("--version").stdout
    [header] = installed.rglob("unet.h")
    assert digest(header) == digest(ROOT / "include" / "unet.h")

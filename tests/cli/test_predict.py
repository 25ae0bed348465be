"""predict: every kind of result, each checked by numpy and Pillow alone."""
import numpy as np
import pytest
from PIL import Image

from support import GOLDEN, MODELS, digest, done, fails, files_below, index_rows, pixels, \
    random_image, same_masks, save_png, sigmoid, softmax

CASES = index_rows("cases")
ALL = "mask,color,overlay,prob,logits"


@pytest.mark.parametrize("model, source, recorded", CASES, ids=[row[2][:-11] for row in CASES])
def test_logits_are_pytorchs(engine, logits_of, model, source, recorded):
    logits = logits_of(engine(model[:-4]), GOLDEN / "cases" / source)
    expected = np.load(GOLDEN / "cases" / recorded)
    assert logits.dtype == np.float32 and logits.shape == expected.shape
    assert logits.flags.c_contiguous
    assert np.abs(logits - expected).max() < 1e-3


def test_batch_norm_free_formats_too(logits_of):
    logits = logits_of(GOLDEN / "formats" / "zip.pth", GOLDEN / "formats" / "input.npy")
    assert np.abs(logits - np.load(GOLDEN / "formats" / "logits.npy")).max() < 1e-3


@pytest.fixture(scope="module")
def results(engine, tmp_path_factory):
    """Every kind of result of one image by a network of many classes, and of two of one class."""
    folder = tmp_path_factory.mktemp("results")
    for name, channels in [("transposed", 3), ("bilinear", 1), ("brain", 3)]:
        height, width = (64, 48) if name == "brain" else (45, 61)
        image = save_png(folder / f"{name}.png", random_image(7, height, width, channels))
        done("predict", engine(name), image, "-o", folder / "out", "--save", ALL)
    return folder


def output(results, name, kind):
    path = results / "out" / f"{name}.{kind}"
    return np.load(path) if kind.endswith("npy") else pixels(path)


def test_a_file_for_each_kind_and_no_other(results):
    kinds = ["png", "color.png", "overlay.png", "prob.npy", "logits.npy"]
    names = ["transposed", "bilinear", "brain"]
    assert files_below(results / "out") == sorted(f"{n}.{k}" for n in names for k in kinds)


@pytest.mark.parametrize("name", ["transposed", "bilinear", "brain"])
def test_mask_is_the_largest_logit(results, name):
    logits = output(results, name, "logits.npy")
    mask = output(results, name, "png")
    with Image.open(results / "out" / f"{name}.png") as image:
        assert image.mode == "L"
    expected = logits[0] > 0 if len(logits) == 1 else logits.argmax(axis=0)
    same_masks(mask, expected.astype(np.uint8))
    assert len(np.unique(mask)) > 1


@pytest.mark.parametrize("name", ["transposed", "bilinear", "brain"])
def test_prob_is_softmax_or_sigmoid(results, name):
    logits = output(results, name, "logits.npy")
    prob = output(results, name, "prob.npy")
    assert prob.dtype == np.float32 and prob.shape == logits.shape
    expected = sigmoid(logits) if len(logits) == 1 else softmax(logits)
    assert np.abs(prob - expected).max() < 1e-6
    if len(logits) > 1:
        assert np.abs(prob.sum(axis=0) - 1).max() < 1e-5


@pytest.mark.parametrize("name", ["transposed", "bilinear"])
def test_color_is_the_mask_with_a_palette(results, name):
    with Image.open(results / "out" / f"{name}.color.png") as image:
        assert image.mode == "P"
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        same_masks(np.array(image), output(results, name, "png"))
    classes = max(2, MODELS[name][1])
    assert len({tuple(colour) for colour in palette[:classes]}) == classes
    assert tuple(palette[0]) == (0, 0, 0)


@pytest.mark.parametrize("name", ["transposed", "bilinear"])
def test_overlay_mixes_the_palette_into_the_image(results, name):
    with Image.open(results / "out" / f"{name}.color.png") as image:
        colours = np.array(image.convert("RGB"), dtype=float)
    with Image.open(results / f"{name}.png") as image:
        below = np.array(image.convert("RGB"), dtype=float)
    mask = output(results, name, "png")
    expected = np.where(mask[:, :, None] == 0, below, 0.55 * below + 0.45 * colours)
    overlay = output(results, name, "overlay.png")
    assert overlay.shape == below.shape
    assert np.abs(overlay - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("name, values", [
    ("mask-values", np.array([0, 255], np.uint8)),
    ("legacy-mask-values", np.array([[0, 0, 0], [128, 64, 0]], np.uint8)),
])
def test_values_are_the_checkpoints(engine, tmp_path, name, values):
    network = engine(name, "formats")
    source = GOLDEN / "formats" / "input.npy"
    done("predict", network, source, "-o", tmp_path, "--save", "mask,values")
    mask = pixels(tmp_path / "input.png")
    assert len(np.unique(mask)) == 2
    assert np.array_equal(pixels(tmp_path / "input.values.png"), values[mask])


def test_values_without_mask_values(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 16, 16))
    fails(2, "predict", engine("transposed"), image, "-o", tmp_path / "out", "--save", "values",
          words=["mask_values", "--save mask"])
    assert not (tmp_path / "out").exists()


def test_the_mask_alone_by_default(engine, tmp_path):
    image = save_png(tmp_path / "a.b.png", random_image(1, 16, 16))
    result = done("predict", engine("transposed"), image, "-o", tmp_path / "deep" / "out")
    assert result.stdout == ""
    assert result.stderr.startswith("unet predict: 1 segmented, 0 failed, ")
    assert files_below(tmp_path / "deep") == ["out/a.b.png"]


def test_a_model_is_built_in_memory(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 40, 24))
    done("predict", engine("transposed"), image, "-o", tmp_path / "1", "--save", ALL)
    result = done("predict", GOLDEN / "models" / "transposed.pth", image, "-o", tmp_path / "2",
                  "--save", ALL)
    assert "in memory" in result.stderr
    for name in files_below(tmp_path / "1"):
        assert digest(tmp_path / "1" / name) == digest(tmp_path / "2" / name)


def test_the_number_of_threads_changes_no_bit(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 83, 131))
    for threads in "1234":
        done("predict", engine("transposed"), image, "-o", tmp_path / threads, "--save", ALL,
             "--threads", threads)
    for name in files_below(tmp_path / "1"):
        assert len({digest(tmp_path / n / name) for n in "1234"}) == 1


def test_from_standard_input(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 16, 16))
    network = engine("transposed")
    done("predict", network, image, "-", "-o", tmp_path / "out", stdin=image.read_bytes())
    assert files_below(tmp_path / "out") == ["a.png", "stdin.png"]
    same_masks(pixels(tmp_path / "out" / "stdin.png"), pixels(tmp_path / "out" / "a.png"))


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_nonsense_from_standard_input(engine, tmp_path, content):
    fails(4, "predict", engine("transposed"), "-", "-o", tmp_path / "out", stdin=content,
          words=["stdin"])
    assert not (tmp_path / "out").exists()


def test_threshold_is_strict(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(7, 48, 64, 1))
    done("predict", engine("bilinear"), image, "-o", tmp_path / "1", "--save", "mask,prob")
    prob = np.load(tmp_path / "1" / "a.prob.npy")[0]
    for threshold in [0.25, 0.75, 0.9]:
        done("predict", engine("bilinear"), image, "-o", tmp_path / "2", "--threshold", threshold)
        unsure = np.count_nonzero(np.abs(prob - threshold) < 1e-6)
        same_masks(pixels(tmp_path / "2" / "a.png"), (prob > threshold).astype(np.uint8), unsure)


def test_threshold_needs_one_class(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(7, 16, 16))
    fails(2, "predict", engine("transposed"), image, "-o", tmp_path / "out", "--threshold", "0.4",
          words=["--threshold", "19"])


# ------------------------------------------------------------------ what goes in

def feed(path, values):
    np.save(path, np.ascontiguousarray(values, dtype=np.float32))
    return path


def test_uint8_arrays_are_images(engine, logits_of, tmp_path):
    for name, channels in [("transposed", 3), ("transposed-bias", 1)]:
        image = random_image(5, 33, 47, channels)
        png = save_png(tmp_path / f"{name}.png", image)
        np.save(tmp_path / f"{name}-array.npy", image)
        arrays = logits_of(engine(name), tmp_path / f"{name}-array.npy")
        assert np.array_equal(arrays, logits_of(engine(name), png))


def test_uint8_arrays_of_the_networks_channels(engine, logits_of, tmp_path):
    array = random_image(5, 33, 47, 3)
    array = np.concatenate([array, array[:, ::-1, :1]], axis=2)
    np.save(tmp_path / "u8.npy", array)
    fed = feed(tmp_path / "f32.npy", np.moveaxis(array, 2, 0) / 255)
    network = engine("bilinear-bias")
    assert np.array_equal(logits_of(network, tmp_path / "u8.npy"), logits_of(network, fed))


def test_an_overlay_needs_an_image(engine, tmp_path):
    np.save(tmp_path / "u8.npy", random_image(5, 33, 47))
    save_png(tmp_path / "u8-image.png", random_image(5, 33, 47))
    feed(tmp_path / "f32.npy", np.zeros((3, 16, 16)))
    options = ["-o", tmp_path / "out", "--save", "overlay,mask"]
    done("predict", engine("transposed"), tmp_path / "u8.npy", tmp_path / "u8-image.png", *options)
    assert np.array_equal(pixels(tmp_path / "out" / "u8.overlay.png"),
                          pixels(tmp_path / "out" / "u8-image.overlay.png"))
    fails(4, "predict", engine("transposed"), tmp_path / "f32.npy", *options,
          words=["f32.npy", "overlay"])
    assert not (tmp_path / "out" / "f32.png").exists()


@pytest.mark.parametrize("array, words", [
    (np.zeros((4, 16, 16), np.float32), ["3"]), (np.zeros((16, 16, 2), np.uint8), ["3 channels", "has 2"]),
    (np.zeros((16, 16, 17), np.uint8), ["1 to 16"]),
    (np.zeros((3, 16, 16), np.float64), ["float64"]), (np.zeros((3, 0, 16), np.float32), []),
    (np.full((3, 16, 16), np.nan, np.float32), ["[0, 0, 0] is nan"]),
    (np.full((3, 16, 16), -np.inf, np.float32), ["[0, 0, 0] is -inf"]),
    (np.zeros((1, 3, 16, 16), np.float32), []), (np.zeros((), np.float32), []),
])
def test_arrays_that_do_not_fit(engine, tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    fails(4, "predict", engine("transposed"), tmp_path / "a.npy", "-o", tmp_path / "out",
          words=["a.npy", *words])


def test_channels_that_do_not_fit(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 16, 16))
    fails(4, "predict", engine("bilinear-bias"), image, "-o", tmp_path / "out",
          words=["a.png", "4"])


def test_grey_feeds_three_channels(engine, logits_of, tmp_path):
    grey = random_image(5, 33, 47, 1)
    one = save_png(tmp_path / "one.png", grey)
    three = save_png(tmp_path / "three.png", np.stack([grey] * 3, axis=2))
    network = engine("transposed")
    assert np.array_equal(logits_of(network, one), logits_of(network, three))


def test_colour_becomes_luma_for_one_channel(engine, logits_of, tmp_path):
    colour = save_png(tmp_path / "colour.png", random_image(5, 33, 47))
    with Image.open(colour) as image:
        image.convert("L").save(tmp_path / "luma.png")
    network = engine("transposed-bias")
    assert np.array_equal(logits_of(network, colour), logits_of(network, tmp_path / "luma.png"))


@pytest.fixture
def deep_image(tmp_path):
    """16 bits that fill a part of their range, as microscopes do."""
    image = 200 + 11 * random_image(5, 33, 47, 1).astype(np.uint16)
    return image, save_png(tmp_path / "deep.png", image)


def test_sixteen_bits_are_not_clipped(engine, logits_of, tmp_path, deep_image):
    image, path = deep_image
    fed = feed(tmp_path / "fed.npy", image[None] / 65535)
    network = engine("transposed-bias")
    assert np.abs(logits_of(network, path) - logits_of(network, fed)).max() < 1e-4


def test_range(engine, logits_of, tmp_path, deep_image):
    image, path = deep_image
    network = engine("transposed-bias")
    low, high = np.percentile(image, [2, 98])
    for text, ends in [("200,3005", (200, 3005)), ("1000,2000", (1000, 2000)),
                       ("percentile:2,98", (low, high))]:
        unit = np.clip((image.astype(float) - ends[0]) / (ends[1] - ends[0]), 0, 1)
        fed = feed(tmp_path / "fed.npy", unit[None])
        difference = logits_of(network, path, "--range", text) - logits_of(network, fed)
        assert np.abs(difference).max() < 1e-4, text


# ------------------------------------------------------------------ --scale

def enlarge(logits, height, width):
    """Bilinear, align_corners false, in float64."""
    def taps(out, size):
        where = np.maximum((np.arange(out) + 0.5) * size / out - 0.5, 0)
        low = np.minimum(where.astype(int), size - 1)
        return low, np.minimum(low + 1, size - 1), where - low

    top, bottom, down = taps(height, logits.shape[1])
    left, right, along = taps(width, logits.shape[2])
    rows = logits[:, top] * (1 - down)[:, None] + logits[:, bottom] * down[:, None]
    return rows[:, :, left] * (1 - along) + rows[:, :, right] * along


@pytest.mark.parametrize("scale", [0.5, 0.3, 1.5])
def test_scale_is_predict_py(engine, logits_of, tmp_path, scale):
    image = random_image(9, 75, 101)
    path = save_png(tmp_path / "image.png", image)
    small = Image.fromarray(image).resize((int(101 * scale), int(75 * scale)),
                                          Image.Resampling.BICUBIC)
    fed = feed(tmp_path / "fed.npy", np.asarray(small).transpose(2, 0, 1) / 255)
    network = engine("transposed")
    expected = enlarge(logits_of(network, fed).astype(np.float64), 75, 101)
    found = logits_of(network, path, "--scale", str(scale))
    assert np.abs(found - expected).max() < 1e-3


def test_scale_to_nothing(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 16, 16))
    fails(4, "predict", engine("transposed"), image, "-o", tmp_path / "out", "--scale", "0.01",
          words=["a.png"])

"""Which cells there are, and what must lie on disk before one can be measured."""
import contextlib
import glob
import json
import pathlib
import tempfile

from . import libunet, prepare

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ["openvino", "ncnn", "mnn", "onnxruntime", "torch", "torch-compile"]
PRECISIONS = ["fp32", "bf16"]
MAX_FLIPS = 0.3  # percent of pixels: `unet build --max-flips`'s default


def parse_size(text):
    width, height = (int(side) for side in text.split("x"))
    return {"width": width, "height": height}


def resolve(path):
    return str(ROOT / path)  # an absolute path stays as it is


def paths_of(patterns):
    """The files that one pattern or a list of them means."""
    patterns = [patterns] if isinstance(patterns, str) else patterns or []
    return [path for pattern in patterns for path in sorted(glob.glob(resolve(pattern)))]


def places_of(matrix):
    """Every network × size × batch, each with its precisions."""
    for network in matrix["networks"]:
        for size in network["sizes"]:
            for batch in network["batches"]:
                yield {"model": resolve(network["model"]), "batch": batch, **parse_size(size),
                       "images": resolve(network["images"]) if network.get("images") else None,
                       "calibration": network.get("calibration"),
                       "evaluation": network.get("evaluation"),
                       "max_flips": network.get("max_flips", MAX_FLIPS),
                       "precisions": network.get("precisions", PRECISIONS),
                       "peers": network.get("peers", matrix.get("peers", PEERS))}


def read_matrix(path):
    return list(places_of(json.loads(pathlib.Path(path).read_text())))


def cell_name(place, precision):
    model = pathlib.Path(place["model"]).stem
    return f"{model}-{place['width']}x{place['height']}-b{place['batch']}-{precision}"


def network_facts(place, program):
    facts = prepare.inspect(place["model"], program)["network"]
    return {key: facts[key] for key in ("architecture", "in_channels", "classes", "width")}


def save_all(place, pictures, load_image):
    """The input that is timed, and where lower precisions are wanted the images that they need."""
    prepare.save_input(place, pictures, load_image)
    if place["precisions"] != ["fp32"]:
        prepare.save_images(place, "evaluation", place["evaluation"], load_image)
    if "int8" in place["precisions"]:
        prepare.save_images(place, "calibration", place["calibration"], load_image)


def made_for(place, precision, left_out, settings):
    """Engines and int8 models; {peer: why it has none}. A lower precision is compared with
    float32, so that is built too."""
    refused = {}
    for one in dict.fromkeys(("fp32", precision)):
        path = pathlib.Path(prepare.files(place["folder"], "logits", one)["libunet"])
        why = None if path.is_file() else prepare.build_engine(place, one, settings["program"])
        refused.update({"libunet": why} if why and one == precision else {})
    if precision == "int8":
        peers = [peer for peer in place["peers"] if peer not in left_out]
        refused.update(prepare.convert_int8(place, peers))
    return refused


@contextlib.contextmanager
def prepared(place, settings):
    """place_cell(precision) → a cell for cell.measure; the files live as long as the context."""
    network = network_facts(place, settings["program"])
    pictures = paths_of(place["images"])
    with tempfile.TemporaryDirectory(prefix="unet-bench-") as folder:
        place = {**place, "folder": folder, "threads": settings["threads"],
                 "cache": settings["cache"], "channels": network["in_channels"],
                 "classes": network["classes"]}
        place.update({name: paths_of(place[name]) for name in ("calibration", "evaluation")})
        save_all(place, pictures, libunet.Library(settings["library"]).load_image)
        left_out = prepare.convert(place, place["peers"])

        def place_cell(precision):
            return {**settings, **place, "precision": precision, "network": network,
                    "model_name": pathlib.Path(place["model"]).name,
                    "images": "photographs" if pictures else "noise",
                    "unprepared": {**left_out, **made_for(place, precision, left_out, settings)}}

        yield place_cell

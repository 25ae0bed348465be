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


def parse_size(text):
    width, height = (int(side) for side in text.split("x"))
    return {"width": width, "height": height}


def resolve(path):
    return str(ROOT / path)  # an absolute path stays as it is


def places_of(matrix):
    """Every network × size × batch, each with its precisions."""
    for network in matrix["networks"]:
        for size in network["sizes"]:
            for batch in network["batches"]:
                yield {"model": resolve(network["model"]), "batch": batch, **parse_size(size),
                       "images": resolve(network["images"]) if network.get("images") else None,
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


@contextlib.contextmanager
def prepared(place, settings):
    """place_cell(precision) → a cell for cell.measure; the files live as long as the context."""
    network = network_facts(place, settings["program"])
    pictures = sorted(glob.glob(place["images"])) if place["images"] else []
    with tempfile.TemporaryDirectory(prefix="unet-bench-") as folder:
        place = {**place, "folder": folder, "threads": settings["threads"],
                 "channels": network["in_channels"], "classes": network["classes"]}
        library = libunet.Library(settings["library"])
        prepare.save_input(place, pictures, library.load_image)
        left_out = prepare.convert(place, place["peers"])

        def place_cell(precision):
            refused = prepare.build_engine(place, precision, settings["program"])
            return {**settings, **place, "precision": precision, "network": network,
                    "model_name": pathlib.Path(place["model"]).name,
                    "images": "photographs" if pictures else "noise",
                    "unprepared": {**left_out, **({"libunet": refused} if refused else {})}}

        yield place_cell

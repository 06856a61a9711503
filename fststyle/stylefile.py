"""The style file: one trained style in one ONNX file; and where styles are found.

``NAME.onnx`` is plain ONNX: it holds no code, and other runners, browsers and phones use it as
it is. Input ``photo`` and output ``picture`` are ``(N, 3, H, W)``, RGB in [0, 1], of any N and
of any H and W from 5. The metadata are ``format`` = ``fststyle``, ``format_version``,
``fststyle_version``, ``network`` (`NetworkConfig` as JSON) and ``style`` (`StyleInfo` as JSON).
Weights bear the names that they have in `TransformerNet`; kernels are stored in half precision
where that does not show in the picture.

The graph is put together here instead of by ``torch.onnx.export``, which takes ten seconds,
prints, writes two Shape and Slice nodes for one, and merges weights that are equal, so that
an untrained network cannot be read back. For OpenVINO both graphs are equally fast. Having the
graph here makes reading safe too: a file whose graph is not exactly the one that belongs to its
``network`` is refused, and what a runner gets is the graph built anew from the weights, so
nothing in a file but numbers ever reaches it.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fststyle import __version__
from fststyle.errors import PhotoError, SettingError, StyleError
from fststyle.images import PHOTO_SUFFIXES, write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from fststyle.network import TransformerNet

Weights = Mapping[str, NDArray[np.floating]]

FORMAT_VERSION: Final = 1
"""Files of a later version are refused."""

MAX_BYTES: Final = 64 * 2**20
"""Files that are larger are refused."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_NETWORK_KEYS: Final = {"width": 1, "residual_blocks": 0}  # with the lowest value of each
_OPERATORS: Final = frozenset(
    ("Add", "Cast", "Conv", "InstanceNormalization", "Pad", "Relu", "Resize", "Shape")
    + ("Sigmoid", "Slice", "Sub")
)
_OPSET: Final = 18
_IR_VERSION: Final = 8  # the one that came with opset 18, for old runners
_DTYPES: Final[Mapping[int, np.dtype[Any]]] = {  # by ONNX's TensorProto.DataType
    1: np.dtype("<f4"),
    7: np.dtype("<i8"),
    10: np.dtype("<f2"),
}


@dataclass(frozen=True)
class StyleInfo:
    """Where a style comes from and how it was trained.

    Attributes:
        name: Names the style's file: lower-case letters, digits, ``_`` and ``-``.
        title: Of the artwork.
        artist: Of the artwork.
        year: Of the artwork.
        source: Where the picture of the artwork is from.
        licence: Of that picture.
        style_image_sha256: SHA-256 of the picture's file, hexadecimal.
        training: Whatever is known of the training, as JSON can hold it: steps, minutes,
            photos, settings of the loss, held-out losses.

    Raises:
        SettingError: ``name`` breaks its rule, or another value is not of its type.
    """

    name: str
    title: str = ""
    artist: str = ""
    year: int | str | None = None
    source: str = ""
    licence: str = ""
    style_image_sha256: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("name", "title", "artist", "source", "licence", "style_image_sha256"):
            value = getattr(self, key)
            if not isinstance(value, str):
                raise SettingError(f"A style's {key} must be text, not {value!r}.")
        if isinstance(self.year, bool) or not isinstance(self.year, int | str | None):
            raise SettingError(f"A style's year must be a number or text, not {self.year!r}.")
        # These texts are printed; control characters could rewrite the terminal.
        for value in asdict(self).values():
            if isinstance(value, str) and re.search(r"[\x00-\x1f\x7f-\x9f]", value):
                raise SettingError(f"A style's texts must be one line each, not {value!r}.")
        if not _NAME.fullmatch(self.name):
            raise SettingError(
                f"{self.name!r} cannot name a style; use up to 64 of a-z, 0-9, '_' and '-', "
                "beginning with a letter or digit."
            )
        try:
            if not isinstance(self.training, Mapping):
                raise TypeError("it is no mapping")
            # A copy of our own, and as reading the file will give it back.
            training = json.loads(json.dumps(dict(self.training), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise SettingError(
                f"A style's training must be what JSON can hold: {error}."
            ) from error
        object.__setattr__(self, "training", training)

    def to_json(self) -> str:
        """Return all fields as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> StyleInfo:
        """Read what `to_json` wrote.

        Args:
            text: A JSON object. Unknown keys are ignored, missing ones have their default.

        Returns:
            The same information.

        Raises:
            StyleError: It is no JSON object, has no name, or a value is not of its type.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StyleError(f"The description of a style is not JSON: {error}.") from error
        if not isinstance(values, dict) or "name" not in values:
            raise StyleError('The description of a style must be a JSON object with a "name".')
        known = {f.name for f in fields(cls)}
        try:
            return cls(**{key: value for key, value in values.items() if key in known})
        except SettingError as error:
            raise StyleError(str(error)) from error


@dataclass(frozen=True, eq=False)
class StyleFile:
    """The checked content of a style file.

    Attributes:
        info: Where the style comes from and how it was trained.
        network: The values of the `NetworkConfig`.
        weights: By their names in `TransformerNet`, as stored: kernels in float16 or float32,
            everything else in float32.
        model: An ONNX model for a runner, made from ``network`` and ``weights`` alone.
    """

    info: StyleInfo
    network: Mapping[str, int]
    weights: Weights
    model: bytes


@dataclass(frozen=True)
class FoundStyle:
    """A style as `find_style` found it.

    Attributes:
        kind: ``network``: a style file; ``picture``: an artwork without a trained network.
        path: The style file or the picture.
        name: The file's name without its ending.
    """

    kind: Literal["network", "picture"]
    path: Path
    name: str


def save_style(network: TransformerNet, info: StyleInfo, path: Path) -> None:
    """Write a style file, after checking that it gives back the network.

    Kernels are stored as float16 if no pixel of two test pictures changes by more than 1/255
    by it, else as float32.

    Args:
        network: A trained network on any device; it is left as it is.
        info: Where the style comes from and how it was trained.
        path: Ends in ``.onnx``. Its folder is made where need be, a file there is replaced.

    Raises:
        StyleError: The network holds NaN or infinity, is too large for a style file, or does
            not give the same picture in OpenVINO as in torch.
        SettingError: ``path`` does not end in ``.onnx``.
        FststyleError: The file cannot be written. Nothing is left behind, whatever happens.
    """
    if path.suffix != ".onnx":
        raise SettingError(f"{path} must end in .onnx to be found as a style file.")
    exact = {
        name: tensor.detach().float().cpu().numpy() for name, tensor in network.state_dict().items()
    }
    if not all(np.isfinite(array).all() for array in exact.values()):
        raise StyleError(
            "The network holds NaN or infinity, so its training has diverged; "
            "train again with a lower learning rate."
        )
    config = asdict(network.config)
    photos = [_test_photo(height, width) for height, width in ((131, 173), (99, 66))]

    with np.errstate(over="ignore"):  # too large for float16: infinite, and found out below
        stored = {n: a.astype(np.float16) if a.ndim == 4 else a for n, a in exact.items()}
    pictures = _run_torch(config, stored, photos)
    originals = _run_torch(config, exact, photos)
    if not _difference(pictures, originals) <= 1 / 255:  # written so that NaN does not pass
        stored, pictures = exact, originals

    data = _serialise(config, info, stored)
    if len(data) > MAX_BYTES:
        raise StyleError(
            f"The network takes {len(data) / 2**20:.0f} MB, but a style file at most "
            f"{MAX_BYTES >> 20} MB; choose a smaller network.width."
        )
    written = _parse(data, str(path))
    if any(not np.array_equal(written.weights[name], stored[name]) for name in stored):
        raise StyleError(f"{path.name} does not give back its weights; please report this.")
    difference = _difference(_run_openvino(data, photos), pictures)
    if not difference <= 0.5 / 255:
        raise StyleError(
            f"OpenVINO's picture differs from torch's by {difference:.2g} of the range, so "
            f"{path.name} was not written; please report this with the versions of both."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StyleError(
            f"The folder {path.parent} cannot be made ({error.strerror}); choose another one."
        ) from error
    write_atomically(path, data)


def load_style(path: Path) -> tuple[TransformerNet, StyleInfo]:
    """Read a style file into torch.

    Args:
        path: A style file.

    Returns:
        The network, float32, on the CPU and in evaluation mode, and the style's information.

    Raises:
        StyleError: As in `read_style`, or torch's network cannot have that configuration.
    """
    content = read_style(path)
    try:
        network = _network(content.network, content.weights)
    except SettingError as error:
        raise StyleError(f"{path} is out of range: {error}") from error
    return network, content.info


def read_style(path: Path) -> StyleFile:
    """Read and check a style file without torch.

    Args:
        path: A style file.

    Returns:
        Its content.

    Raises:
        StyleError: The file is missing, damaged, larger than `MAX_BYTES`, no style file, made by
            a newer fststyle, or its graph is not the one that fststyle writes: it refers to
            another file, say, or holds another operator.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise StyleError(
            f"There is no style file {path}; 'fststyle styles' lists the styles there are."
        ) from error
    except OSError as error:
        raise StyleError(
            f"{path} cannot be read ({error.strerror}); check that it is a file that you may read."
        ) from error
    if len(data) > MAX_BYTES:
        raise StyleError(
            f"{path} is larger than {MAX_BYTES >> 20} MB and so no style file; "
            "choose a file that fststyle wrote."
        )
    return _parse(data, str(path))


def inspect_style(path: Path) -> tuple[Mapping[str, int], StyleInfo]:
    """Read the network's configuration and the information of a style file, without torch.

    Args:
        path: A style file.

    Returns:
        The values of the `NetworkConfig`, and the style's information.

    Raises:
        StyleError: As in `read_style`.
    """
    content = read_style(path)
    return content.network, content.info


def read_info(path: Path) -> StyleInfo:
    """Read the information of a style file, without torch.

    Args:
        path: A style file.

    Returns:
        Where the style comes from and how it was trained.

    Raises:
        StyleError: As in `read_style`.
    """
    return read_style(path).info


def user_styles_folder() -> Path:
    """Return the folder of the styles that the user has trained; it may not exist yet."""
    data_home = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not data_home.is_absolute():  # as the XDG specification demands
        data_home = Path.home() / ".local" / "share"
    return data_home / "fststyle" / "styles"


def zoo_folder() -> Path:
    """Return the folder of the trained styles that come with fststyle."""
    return Path(__file__).parent / "zoo"


def art_folder() -> Path:
    """Return the folder of our own artworks, each ``NAME.jpg`` with ``NAME.json``."""
    return Path(__file__).parent / "art"


def find_style(text: str) -> FoundStyle:
    """Find a style by its path or name.

    Args:
        text: The path of a style file or a picture, which is told by its ending, or a name. A
            name is looked for among the user's styles, in the zoo, then among the artworks.

    Returns:
        The first that is found.

    Raises:
        StyleError: There is none; the sentence has the names that come near.
    """
    path = Path(text)
    if _is_path(text):
        network = path.suffix.lower() == ".onnx"
        if not network and path.suffix.lower() not in PHOTO_SUFFIXES:
            raise StyleError(f"{text} is neither a style file (.onnx) nor a picture by its ending.")
        if not os.path.isfile(path):
            raise StyleError(
                f"There is no file {text}; check the path, or choose a name from 'fststyle styles'."
            )
        return FoundStyle("network" if network else "picture", path, path.stem)
    for style in _all_styles():
        if style.name == text:
            return style
    raise _unknown("style", text, [style.name for style in list_styles()])


def list_styles() -> list[FoundStyle]:
    """List the styles that can be called by name.

    Returns:
        Networks, and artworks that have no network, sorted by name. A network of the user
        takes the place of one in the zoo.
    """
    styles: dict[str, FoundStyle] = {}
    for style in _all_styles():
        styles.setdefault(style.name, style)
    return sorted(styles.values(), key=lambda style: style.name)


def find_picture(text: str) -> Path:
    """Find the picture of a style, to train or optimise with it.

    Args:
        text: A path, or the name of one of our artworks.

    Returns:
        The path of the picture.

    Raises:
        PhotoError: There is no file at the path, or a style file.
        StyleError: There is no artwork of that name; the sentence has the names that come near.
    """
    if _is_path(text):
        if not os.path.isfile(text):
            raise PhotoError(f"There is no picture {text}; check the path.")
        if Path(text).suffix.lower() == ".onnx":
            raise PhotoError(f"{text} is a trained network; give the path of its picture.")
        return Path(text)
    artworks = {path.stem: path for path in _named_files(art_folder(), ".jpg")}
    if text in artworks:
        return artworks[text]
    if any(style.name == text for style in _all_styles()):
        raise StyleError(
            f"The style {text!r} is a trained network only; give the path of its picture."
        )
    raise _unknown("picture or artwork", text, sorted(artworks))


def art_info(name: str) -> StyleInfo:
    """Read what is known of one of our artworks.

    Args:
        name: Of the artwork.

    Returns:
        Its title, artist, year, source and licence.

    Raises:
        StyleError: There is no such artwork, or its description is damaged.
    """
    known = {path.stem: path for path in _named_files(art_folder(), ".json")}
    if name not in known:
        raise _unknown("artwork", name, sorted(known))
    try:
        text = known[name].read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StyleError(f"{known[name]} cannot be read; install fststyle again.") from error
    return StyleInfo.from_json(text)


def _is_path(text: str) -> bool:
    # No name has a dot or a slash.
    return bool(Path(text).suffix) or os.sep in text or "/" in text


def _named_files(folder: Path, suffix: str) -> list[Path]:
    paths = folder.glob(f"*{suffix}")
    return sorted(path for path in paths if _NAME.fullmatch(path.stem) and path.is_file())


def _all_styles() -> Iterator[FoundStyle]:
    """Yield every style that has a name, those that `find_style` prefers first."""
    for folder in (user_styles_folder(), zoo_folder()):
        for path in _named_files(folder, ".onnx"):
            yield FoundStyle("network", path, path.stem)
    for path in _named_files(art_folder(), ".jpg"):
        yield FoundStyle("picture", path, path.stem)


def _unknown(what: str, text: str, names: list[str]) -> StyleError:
    wanted = text.lower()
    near = [name for name in names if wanted and wanted in name]
    near += [n for n in difflib.get_close_matches(wanted, names, cutoff=0.5) if n not in near]
    guess = f"did you mean {' or '.join(near[:3])}? " if near else ""
    return StyleError(f"There is no {what} {text!r}; {guess}'fststyle styles' lists all names.")


def _serialise(config: Mapping[str, int], info: StyleInfo, weights: Weights) -> bytes:
    from onnx import helper

    model = _build_model(config, weights)
    metadata = {
        "format": "fststyle",
        "format_version": str(FORMAT_VERSION),
        "fststyle_version": __version__,
        "network": json.dumps(config),
        "style": info.to_json(),
    }
    helper.set_model_props(model, metadata)
    model.producer_name, model.producer_version = "fststyle", __version__
    serialised: bytes = model.SerializeToString()
    return serialised


def _parse(data: bytes, path: str) -> StyleFile:
    """Check the bytes of a style file; ``path`` is for the messages."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]

    damaged = "the file is damaged or incomplete; copy or train it again."
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise StyleError(f"{path} is not an ONNX file, or {damaged}") from error
    # Protobuf hands over text that is not UTF-8 as bytes.
    metadata = {e.key: e.value for e in model.metadata_props if isinstance(e.value, str)}
    if metadata.get("format") != "fststyle":
        raise StyleError(
            f"{path} is not an fststyle style file (such as 'python train.py' writes), or {damaged}"
        )
    version = metadata.get("format_version", "")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", version):
        raise StyleError(f"{path} has the format version {version!r}: {damaged}")
    newer = f"{path} was made by a newer fststyle; run 'pip install -U fststyle'."
    if int(version) > FORMAT_VERSION:
        raise StyleError(newer)
    try:
        network = json.loads(metadata.get("network", ""))
    except (ValueError, RecursionError):
        network = None
    if not isinstance(network, dict) or any(
        type(network.get(key)) is not int or network[key] < lowest
        for key, lowest in _NETWORK_KEYS.items()
    ):
        raise StyleError(f"{path} does not say what network it holds: {damaged}")
    if network.keys() != _NETWORK_KEYS.keys():
        raise StyleError(newer)
    try:
        info = StyleInfo.from_json(metadata.get("style", ""))
    except StyleError as error:
        raise StyleError(f"{path} cannot be used: {error}") from error

    unsafe = "only use style files from people whom you trust, or train the style again."
    graph = model.graph
    if any(t.external_data or t.data_location != t.DEFAULT for t in graph.initializer):
        raise StyleError(f"{path} refers to another file, which no style file does; {unsafe}")
    foreign = [f"{n.domain}:{n.op_type}" for n in graph.node if n.domain]
    foreign += [n.op_type for n in graph.node if n.op_type not in _OPERATORS]
    foreign += [f"{o.domain}:*" for o in model.opset_import if o.domain]
    foreign += [f"{f.domain}:{f.name}" for f in model.functions]
    if foreign:
        raise StyleError(
            f"{path} holds the operator {foreign[0]!r}, which no style file does; {unsafe}"
        )
    try:
        if network["residual_blocks"] > len(graph.node):
            raise ValueError("there are not so many residual blocks")
        rebuilt = _build_model(network, {t.name: _array(t) for t in graph.initializer})
        if _structure(model) != _structure(rebuilt):
            raise ValueError("its operations are others")
    except ValueError as error:
        raise StyleError(
            f"{path} does not hold the network that it names ({error}); {unsafe}"
        ) from error
    weights = {
        tensor.name: _array(tensor)
        for tensor in rebuilt.graph.initializer
        if tensor.name.endswith((".weight", ".bias"))
    }
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise StyleError(f"{path} holds NaN or infinity for weights; train the style again.")
    return StyleFile(info, network, weights, rebuilt.SerializeToString())


def _array(tensor: Any) -> NDArray[Any]:
    """Read an ONNX tensor without following references to other files."""
    dtype = _DTYPES.get(tensor.data_type)
    if dtype is None:
        raise ValueError(f"{tensor.name!r} is of another type")
    shape = tuple(tensor.dims)
    # Python's integers, unlike numpy's, do not overflow.
    size = dtype.itemsize
    for length in shape:
        size *= length
    if min(shape, default=0) < 0 or size != len(tensor.raw_data):
        raise ValueError(f"{tensor.name!r} is of another size")
    array: NDArray[Any] = np.frombuffer(tensor.raw_data, dtype).reshape(shape)
    return array


def _structure(model: Any) -> object:
    """Return all of a model that is not metadata, in a form that compares by value."""
    from onnx import helper

    graph = model.graph
    nodes = [
        (
            node.op_type,
            tuple(node.input),
            tuple(node.output),
            {a.name: (a.type, helper.get_attribute_value(a)) for a in node.attribute},
        )
        for node in graph.node
    ]
    constants = {t.name: (tuple(t.dims), t.data_type, t.raw_data) for t in graph.initializer}
    ends = [[value.name for value in values] for values in (graph.input, graph.output)]
    opsets = [(opset.domain, opset.version) for opset in model.opset_import]
    rest = [len(graph.initializer), len(graph.sparse_initializer), len(model.training_info)]
    return nodes, constants, ends, opsets, rest


def _build_model(config: Mapping[str, int], weights: Weights) -> Any:
    """Build the ONNX model of `TransformerNet`, without metadata.

    Args:
        config: The values of a `NetworkConfig`.
        weights: By name: kernels in float16 or float32, everything else in float32.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        ValueError: A weight is missing or of another shape or type.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    tensors: list[Any] = []

    def add(operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(name: str, values: object, dtype: type) -> str:
        tensors.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def weight(name: str, *shape: int) -> str:
        array = weights.get(name)
        kernel = len(shape) == 4
        if array is None or array.shape != shape:
            raise ValueError(f"{name} is missing or of another shape")
        if array.dtype != np.float32 and not (kernel and array.dtype == np.float16):
            raise ValueError(f"{name} is of another type")
        tensors.append(numpy_helper.from_array(array, name))
        return add("Cast", name, to=TensorProto.FLOAT) if array.dtype == np.float16 else name

    def convolution(
        hidden: str, name: str, inputs: int, outputs: int, size: int, stride: int = 1
    ) -> str:
        padded = add("Pad", hidden, f"margin_{size // 2}", mode="reflect")
        parameters = [weight(f"{name}.weight", outputs, inputs, size, size)]
        if name == "to_rgb":
            parameters.append(weight(f"{name}.bias", outputs))
        return add("Conv", padded, *parameters, kernel_shape=[size, size], strides=[stride, stride])

    def norm(hidden: str, name: str, channels: int) -> str:
        parameters = [weight(f"{name}.{kind}", channels) for kind in ("weight", "bias")]
        return add("InstanceNormalization", hidden, *parameters, epsilon=1e-5)

    def conv_norm_relu(
        hidden: str, name: str, inputs: int, outputs: int, size: int = 3, stride: int = 1
    ) -> str:
        hidden = convolution(hidden, f"{name}.0", inputs, outputs, size, stride)
        return add("Relu", norm(hidden, f"{name}.1", outputs))

    def double(hidden: str) -> str:
        return add(
            "Resize",
            hidden,
            "",
            "double",
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )

    constant("centre", 0.5, np.float32)
    constant("double", [1, 1, 2, 2], np.float32)
    for margin in (1, 4):
        constant(f"margin_{margin}", [0, 0, margin, margin] * 2, np.int64)
    constant("origin", [0, 0], np.int64)
    constant("height_and_width", [2, 3], np.int64)

    width = config["width"]
    hidden = add("Sub", "photo", "centre")
    hidden = conv_norm_relu(hidden, "encoder.0", 3, width, size=9)
    hidden = conv_norm_relu(hidden, "encoder.1", width, 2 * width, stride=2)
    hidden = conv_norm_relu(hidden, "encoder.2", 2 * width, 4 * width, stride=2)
    for block in range(config["residual_blocks"]):
        body = f"residual.{block}.body"
        inner = conv_norm_relu(hidden, f"{body}.0", 4 * width, 4 * width)
        inner = convolution(inner, f"{body}.1", 4 * width, 4 * width, 3)
        hidden = add("Add", hidden, norm(inner, f"{body}.2", 4 * width))
    hidden = conv_norm_relu(double(hidden), "decoder.1", 4 * width, 2 * width)
    hidden = conv_norm_relu(double(hidden), "decoder.3", 2 * width, width)
    picture = add("Sigmoid", convolution(hidden, "to_rgb", width, 3, 9))
    size = add("Shape", "photo", start=2, end=4)
    add("Slice", picture, "origin", size, "height_and_width", output="picture")

    unused = weights.keys() - {tensor.name for tensor in tensors}
    if unused:
        raise ValueError(f"{next(iter(unused))!r} has no place in it")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, "height", "width"])
        for name in ("photo", "picture")
    ]
    graph = helper.make_graph(nodes, "fststyle", ends[:1], ends[1:], tensors)
    opset = helper.make_opsetid("", _OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)


def _network(config: Mapping[str, int], weights: Weights) -> TransformerNet:
    import torch

    from fststyle.network import NetworkConfig, TransformerNet

    # On the meta device nothing is drawn for an initialisation that would be overwritten.
    with torch.device("meta"):
        network = TransformerNet(NetworkConfig(**config))
    state: dict[str, Tensor] = {
        name: torch.tensor(array.astype(np.float32)) for name, array in weights.items()
    }
    network.load_state_dict(state, assign=True)
    return network.eval()


def _test_photo(height: int, width: int) -> NDArray[np.float32]:
    """Make a picture that has structure at all scales as photographs do, always the same one."""
    random = np.random.default_rng(0)
    photo = np.zeros((1, 3, height, width), np.float32)
    for step in (64, 32, 16, 8, 4, 2, 1):
        coarse = random.standard_normal((1, 3, height // step + 1, width // step + 1))
        fine = coarse.repeat(step, axis=2).repeat(step, axis=3)
        photo += step**0.5 * fine[:, :, :height, :width].astype(np.float32)
    photo -= photo.min()
    photo /= photo.max()
    return photo


def _run_torch(
    config: Mapping[str, int], weights: Weights, photos: list[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    import torch

    network = _network(config, weights)
    with torch.inference_mode():
        return [network(torch.from_numpy(photo)).numpy() for photo in photos]


def _run_openvino(model: bytes, photos: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(model, b""), "CPU", settings)
    return [compiled([photo])[0] for photo in photos]


def _difference(actual: list[NDArray[np.float32]], expected: list[NDArray[np.float32]]) -> float:
    differences = [np.abs(a - e).max() for a, e in zip(actual, expected, strict=True)]
    return float(np.max(differences))

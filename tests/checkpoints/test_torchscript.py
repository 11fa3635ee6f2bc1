"""Tensors of TorchScript archives, of which nothing is run."""

import random
import warnings
import zipfile

import pytest
import torch
from torch import Tensor, nn

from hoiclip.checkpoints import torchscript
from hoiclip.checkpoints.clip import convert_clip, load_clip
from hoiclip.checkpoints.torchscript import is_torchscript, read_torchscript
from hoiclip.convert.dispatch import convert
from hoiclip.errors import WeightsError


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))
        self.tied = self.weight
        self.turned = nn.Parameter(torch.arange(6.0).reshape(2, 3).T)
        self.register_buffer("count", torch.tensor(7))
        self.mask = torch.ones(2)  # no buffer, so in no state dict
        self.sizes = [1, 2]

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.mask.sum() + self.sizes[0]


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Part(), Part(), nn.LayerNorm(3))
        self.short = nn.Parameter(torch.rand(2).half())
        self.empty = nn.Parameter(torch.rand(0, 3))
        self.number = nn.Parameter(torch.tensor(2.5, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks[0](x)


class Writer(nn.Module):
    """Its archive makes a file when `torch.jit.load` reads it."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self.marker = marker
        self.weight = torch.ones(2)

    def forward(self, x: Tensor) -> Tensor:
        return x

    @torch.jit.export
    def __getstate__(self):
        return (self.weight, self.marker, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, str, bool]) -> None:
        self.weight = torch.from_file(state[1], True, 2)
        self.marker = state[1]
        self.training = state[2]


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


@pytest.fixture
def no_loader(monkeypatch):
    def called(*_arguments, **_options):
        raise AssertionError("a foreign file's code would run")

    for name in ("import_ir_module", "import_ir_module_from_buffer"):
        monkeypatch.setattr(torch._C, name, called)
    monkeypatch.setattr(torch.jit, "load", called)
    monkeypatch.setattr("open_clip.load_openai_model", called)
    monkeypatch.setattr("open_clip.factory.load_state_dict", called)


def save(module, path):
    torch.jit.save(torch.jit.script(module), str(path))
    return path


def text(value):
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def number(value):
    return b"J" + value.to_bytes(4, "little", signed=True)


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(offset=0, size=(2,), stride=(1,), kind="FloatStorage", key="0", length=4):
    storage = text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
    rest = b"ctorch._utils\n_rebuild_tensor_v2\n((" + storage + number(length) + b"tQ"
    rest += number(offset) + numbers(size) + numbers(stride)
    return rest + b"\x89ccollections\nOrderedDict\n)RtR"


def module(**attributes):
    pairs = b"".join(text(name) + value for name, value in attributes.items())
    return b"c__torch__\nM\n)\x81}(" + pairs + b"ub"


def archive(path, pickled, data=bytes(16), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("a/data.pkl", b"\x80\x02" + pickled + b".")
        file.writestr("a/data/0", data)
        file.writestr("a/constants.pkl", b"\x80\x02).")
    return path


def test_state_is_that_of_the_module(tmp_path, no_loader):
    torch.manual_seed(0)
    whole = Whole()
    path = save(whole, tmp_path / "a.pt")
    assert is_torchscript(path)
    found, expected = read_torchscript(path), whole.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name


def test_a_class_that_lists_nothing_gives_all_its_tensors(tmp_path):
    inner = module(weight=tensor(), name=text("x"), none=b"N")
    path = archive(tmp_path / "a.pt", module(part=inner, bias=tensor(2)))
    assert {name: value.tolist() for name, value in read_torchscript(path).items()} == {
        "bias": [0, 0], "part.weight": [0, 0],
    }  # fmt: skip


def test_an_archive_that_writes_when_loaded_writes_nothing_here(tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    path = save(Writer(str(marker)), tmp_path / "a.pt")
    torch.jit.load(str(path))
    assert marker.exists()  # so it would
    marker.unlink()
    monkeypatch.setattr("open_clip.get_model_config", lambda _: CLIP_OF_ONE_LAYER)
    readers = [
        lambda: read_torchscript(path),
        lambda: load_clip(path, "tiny"),
        lambda: convert_clip(path, tmp_path / "b.safetensors", "tiny"),
        lambda: convert(path, tmp_path / "b.safetensors", clip_model="tiny"),
        lambda: convert(path, tmp_path / "b.safetensors", kind="detr"),
        lambda: convert(path, tmp_path / "b.parquet", kind="verb"),
    ]
    for read in readers:
        with pytest.raises(WeightsError) as caught:
            read()
        assert len(str(caught.value).splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


CLIP_OF_ONE_LAYER = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1},
    "text_cfg": {"context_length": 8, "vocab_size": 9, "width": 64, "heads": 1, "layers": 1},
}


@pytest.mark.parametrize(
    "start",
    [
        b"cos\nsystem\n", b"cposix\nsystem\n", b"cbuiltins\nexec\n", b"cbuiltins\neval\n",
        b"csubprocess\nrun\n", b"ctorch.hub\nload\n", b"ctorch\nload\n",
        b"ctorch.serialization\nload\n", b"c__main__\nopen\n", b"c__torch__x\nopen\n",
        b"ctorch._utils\n_import_dotted_name\n",
        b"ccollections\nnamedtuple\n", b"\x8c\x02os\x8c\x06system\x93",
    ],
)  # fmt: skip
def test_pickles_that_call_anything_are_refused(tmp_path, start, no_loader):
    marker = tmp_path / "marker"
    call = start + b"(" + text(f"touch {marker}") + b"tR"
    for pickled in (call, module(weight=tensor(), other=call)):
        path = archive(tmp_path / "a.pt", pickled)
        with pytest.raises(WeightsError, match=r"a\.pt: holds an object of class \S+, which may"):
            read_torchscript(path)
        with pytest.raises(WeightsError):
            convert(path, tmp_path / "b.safetensors", clip_model="ViT-B-32")
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def loop(depth):
    """Each module holds the next one twice, so that there are 2 ** depth names."""
    inner = module(weight=tensor())
    for place in range(depth):
        stored = b"r" + place.to_bytes(4, "little")
        read = b"j" + place.to_bytes(4, "little")
        inner = module(a=inner + stored, b=read)
    return inner


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (module(a=tensor(offset=3)), "reaches outside"),
        (module(a=tensor(size=(5,))), "reaches outside"),
        (module(a=tensor(size=(2, 2), stride=(3, 1))), "reaches outside"),
        (module(a=tensor(size=(9, 9), stride=(0, 0))), "reaches outside"),
        (module(a=tensor(size=(2,), stride=(-1,), offset=1)), "description"),
        (module(a=tensor(offset=-1)), "description"),
        (module(a=tensor(size=(1,) * 65, stride=(1,) * 65)), "description"),
        (module(a=tensor(size=(2, 2))), "not a readable"),
        (module(a=tensor(length=3)), "has not the 3 numbers"),
        (module(a=tensor(kind="HalfStorage")), "has not the 4 numbers"),
        (module(a=tensor(), b=tensor(kind="IntStorage")), "described in two ways"),
        (module(a=tensor(kind="QInt8Storage")), r"class torch\.QInt8Storage"),
        (module(a=tensor(key="1")), "not a readable"),
        (module(a=tensor(key="../data/0")), "not a readable"),
        (module(a=tensor() + b"}b"), "holds a state"),
        (module(a=b"c__torch__\nM\n}b"), "holds a state"),
        (b"c__torch__\nM\n)\x81(K\x01K\x02tb", "holds a state"),
        (module(a=b"(" + text("x") + b"tQ"), "not a readable"),
        (tensor(), "holds no module"),
        (b"", "not a readable"),
        (loop(40), "more than 10000 modules"),
        (b"c__torch__\nM\n)\x81q\x00}" + text("a") + b"h\x00sb", "more than 10000 modules"),
        (text("x" * (1 << 22)), "more than 4194304 bytes"),
        (b"N" + b"r\xff\xff\xff\x7f", "holds no module"),
    ],
)  # fmt: skip
def test_what_no_module_has_is_refused(tmp_path, pickled, message):
    path = archive(tmp_path / "a.pt", pickled)
    with pytest.raises(WeightsError, match=message) as caught:
        read_torchscript(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(str(path))


DEEP = b"N" + b"2\x86" * 60
"""A tuple of two tuples of two ..., the hash of which takes 2 ** 60 steps."""


@pytest.mark.parametrize(
    "pickled",
    [
        b"}" + DEEP + b"Ns", b"}(" + DEEP + b"Nu", b"(" + DEEP + b"Nd", b"\x8f(" + DEEP + b"\x90",
        b"(" + DEEP + b"\x91", b"ccollections\nOrderedDict\n(](" + DEEP + b"N\x86etR",
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + DEEP + b"NK\x04tQ",
    ],
)  # fmt: skip
def test_nothing_takes_time_that_doubles_with_each_byte(tmp_path, pickled):
    with pytest.raises(WeightsError):
        read_torchscript(archive(tmp_path / "a.pt", module(a=pickled)))


def test_bombs_are_not_unpacked(tmp_path):
    path = tmp_path / "a.pt"
    archive(path, module(a=tensor(length=1 << 26)), bytes(1 << 28), zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="is compressed"):
        read_torchscript(path)
    archive(path, text("x" * (1 << 26)), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="more than 4194304 bytes"):
        read_torchscript(path)


def test_damage_gives_tensors_or_one_error(tmp_path):
    whole = save(Whole(), tmp_path / "whole.pt").read_bytes()
    chance = random.Random(0)
    start = whole.index(b"data.pkl")
    readable, messages = 0, []
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            place = chance.choice([chance.randrange(len(data)), start + chance.randrange(1500)])
            data[place] = chance.randrange(256)
        (tmp_path / "a.pt").write_bytes(data[: chance.choice([len(data), len(data) - 99])])
        try:
            found = read_torchscript(tmp_path / "a.pt")
            readable += all(torch.is_tensor(value) for value in found.values())
        except WeightsError as error:
            messages.append(str(error))
    assert messages
    assert all(len(text.splitlines()) == 1 and len(text) < 1000 for text in messages)
    assert readable + len(messages) == 300


def test_the_unpickler_leaves_nothing_behind(tmp_path):
    before = vars(torchscript._Module).copy()
    read_torchscript(archive(tmp_path / "a.pt", module(weight=tensor())))
    assert vars(torchscript._Module) == before

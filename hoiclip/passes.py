"""Passes over many images in shards, which several processes share and which go on after a kill.

What is a shard, and which images go through a network together in it, depends on the images alone.
So neither the number of processes nor an interruption changes a byte, on one kind of device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from hoiclip.errors import InputError
from hoiclip.parallel.world import World
from hoiclip.progress import say
from hoiclip.resume.archive import DamagedError, OtherVersionError, read_archive, write_archive
from hoiclip.resume.state_file import StateFile

SHARD = 512
"""Images of a shard, but for the last one."""
T = TypeVar("T")
Content = dict[str, Any]
"""What is kept of a shard: tensors and plain values."""
Work = Callable[[range], Content]
"""Makes a shard of the images of these indices."""
Works = Callable[[Sequence[range]], Iterator[Content]]
"""Makes shards one after the other, and may read the next one's images while it makes one."""


def shards_of(count: int) -> list[range]:
    """Indices of the shards of `count` images."""
    return [range(start, min(start + SHARD, count)) for start in range(0, count, SHARD)]


class ShardedPass:
    """A pass whose shards are kept, each in a file, until the whole is where it belongs.

    Args:
        root: folder of all such passes; on several machines one that all of them see.
        key: JSON mapping of what the pass is: its data, weights and settings.
        code: of `hoiclip.resume.source_code.loaded_code`.
        world: the processes that share the work.
    """

    def __init__(
        self, root: Path, key: Mapping[str, Any], code: Mapping[str, str], world: World
    ) -> None:
        # Says that the pass has begun, with which key and code; shards stand beside it.
        self._begun = StateFile(root, key, code)
        self.folder, self.world = self._begun.folder, world
        self.locked = self._begun.locked if world.is_main else nullcontext

    @property
    def accepted(self) -> list[str]:
        """Files with whose changed code the pass went on because it was told to; sorted."""
        return self._begun.accepted

    def run(self, count: int, work: Work, join: Callable[[list[Content]], T]) -> T | None:
        """As `run_on`, where each shard is made for itself."""
        return self.run_on(count, lambda shards: map(work, shards), join)

    def run_on(self, count: int, works: Works, join: Callable[[list[Content]], T]) -> T | None:
        """Makes this process's shards, and of all of them the whole.

        Args:
            count: of images.
            works: makes shards.
            join: makes the whole of all shards, in order.

        Returns:
            In the main process the whole, once the others have made their shards; None in the
            others, which have nothing more to do.

        Raises:
            InputError: what an interrupted pass left is of another version or does not fit, or
                processes do not see each other's files.
        """
        shards = shards_of(count)
        if self.world.is_main:
            self._begin()
        self.world.wait()
        # By its number alone, for others may have made some of theirs already.
        own = range(self.world.rank, len(shards), self.world.size)
        lacking = [number for number in own if self._kept(number) is None]
        if lacking:  # Else workers would start for nothing.
            for number, content in zip(lacking, works([shards[n] for n in lacking]), strict=True):
                write_archive(self._file(number), content)
        # Where one process dies, torchrun ends all.
        self.world.wait()
        if not self.world.is_main:
            return None
        made = [self._made(number, shards[number], works) for number in range(len(shards))]
        try:
            return join(made)
        except Exception as error:  # PyTorch and Arrow raise errors of any type for what is odd.
            problem = f"holds shards that do not fit ({type(error).__name__})"
            raise self._begun.refused(problem) from error

    def delete(self) -> None:
        """Removes the shards, once the whole is where it belongs."""
        self._begun.delete()

    def _begin(self) -> None:
        left = list(self.folder.glob("shard-*.pt"))
        state = self._begun.load()
        if state is None:
            for shard in left:
                shard.unlink()
        elif left:
            say(f"going on after {len(left)} shards")
        if state is None or self.accepted:
            # With the code of shards to come, and what was accepted of those that are there.
            self._begun.save({})

    def _file(self, number: int) -> Path:
        return self.folder / f"shard-{number:05d}.pt"

    def _kept(self, number: int) -> Content | None:
        """A shard that an earlier process made; a damaged one is made again, and a line says so."""
        path = self._file(number)
        if not path.exists():
            return None
        try:
            return read_archive(path)
        except (DamagedError, OtherVersionError) as error:
            say(f"{path}: {error}; it is made again")
            return None

    def _made(self, number: int, rows: range, works: Works) -> Content:
        path = self._file(number)
        if not path.exists():
            problem = "absent, although another process made it"
            raise InputError(path, problem, fix="Give all machines one file system")
        found = self._kept(number)
        return next(works([rows])) if found is None else found


def in_order(table: pa.Table, images: pa.Table) -> pa.Table:
    """Rows of a table with an `image_id`, those of an image together, in the order of `images`.

    Args:
        table: rows of an image keep their order.
        images: rows of `schema.IMAGES`, among them every image of the table.
    """
    place = {image_id: index for index, image_id in enumerate(images["image_id"].to_pylist())}
    places = np.array([place[image_id] for image_id in table["image_id"].to_pylist()], int)
    return table.take(np.argsort(places, kind="stable")).combine_chunks()


def table_content(table: pa.Table) -> Tensor:
    """A table as a part of a shard."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return torch.from_numpy(np.frombuffer(sink.getvalue(), np.uint8).copy())


def joined_tables(name: str) -> Callable[[list[Content]], pa.Table]:
    """Joins the tables that shards, at least one, keep under a name."""

    def join(shards: list[Content]) -> pa.Table:
        buffers = (pa.py_buffer(shard[name].numpy()) for shard in shards)
        return pa.concat_tables(pa.ipc.open_stream(buffer).read_all() for buffer in buffers)

    return join

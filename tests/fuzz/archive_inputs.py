"""Archives as downloads bring them."""

from __future__ import annotations

import io
import stat
import tarfile
import warnings
import zipfile

from case import Case
from damage import damaged_bytes
from hypothesis import strategies as st

PARTS = st.sampled_from(
    ["a", "b", "top", "..", ".", "", "c:", "x\\y", "/", "\u00e9", "d" * 250, "\udcff", "a/b/c"]
)
TYPES = st.sampled_from(
    [tarfile.REGTYPE] * 6
    + [tarfile.DIRTYPE] * 3
    + [
        tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
        tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, b"Z",
    ]
)  # fmt: skip
PAX = st.sampled_from(
    [
        {"size": "-1536"}, {"size": "9" * 15}, {"size": "x"}, {"path": "../../escaped"},
        {"linkpath": "/etc"}, {"mtime": "1e400"}, {"uid": "9" * 5000}, {"GNU.sparse.map": "0,x"},
        {"GNU.sparse.map": "0,1", "GNU.sparse.size": "99999999999"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "7"},
    ]
)  # fmt: skip


@st.composite
def member(draw):
    name = "/".join(draw(st.lists(PARTS, min_size=1, max_size=4)))
    data = b"x" * draw(st.integers(0, 600))
    return name, data, draw(TYPES), draw(st.one_of(st.none(), st.none(), st.none(), PAX))


@st.composite
def plain_member(draw):
    name = "/".join(draw(st.lists(st.sampled_from(["a", "b", "top", "\u00e9"]), min_size=1)))
    return name[:200], b"x" * draw(st.integers(0, 600)), tarfile.REGTYPE, None


@st.composite
def archives(draw):
    plain = draw(st.booleans())
    members = draw(st.lists(plain_member() if plain else member(), max_size=5))
    mode = draw(st.sampled_from(["", "gz", "bz2", "xz", "zip"]))
    make = _zip if mode == "zip" else _tar
    data = draw(damaged_bytes(make(members, mode), rarely=draw(st.booleans())))
    return Case("archives", "unpack", [], {"archive": data})


def _tar(members, mode):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{mode}", format=tarfile.PAX_FORMAT) as tar:
        for name, data, kind, pax in members:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, "../canary"
            info.pax_headers = pax or {}
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _zip(members, _mode):
    file = io.BytesIO()
    modes = {tarfile.SYMTYPE: stat.S_IFLNK, tarfile.FIFOTYPE: stat.S_IFIFO}
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # equal names
        for name, data, kind, _pax in members:
            info = zipfile.ZipInfo(name.replace("\udcff", "?"))
            info.external_attr = modes.get(kind, stat.S_IFREG) << 16
            archive.writestr(info, data)
    return file.getvalue()

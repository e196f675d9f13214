"""zstd for what goes to the second tier, on zstandard; imported by the codec when it is asked for."""

from hasten._core.errors import MissingDependency
from hasten.cache._exact import CodecError

try:
    import zstandard
except ModuleNotFoundError as error:
    if error.name != "zstandard":
        raise
    raise MissingDependency("zstandard", "zstd") from error

MOST_BYTES = 64 * 2**20
"""What is larger is not compressed, and a frame that claims to hold more is refused unread."""
_LEVEL = 3


def compress(data: bytes) -> bytes:
    """Return a frame that says how large its content is."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(data)


def decompress(frame: memoryview) -> bytes:
    """Return a frame's content.

    Raises:
      CodecError: it is no whole frame, does not say how large it is, or is larger than MOST_BYTES.
    """
    try:
        size = zstandard.frame_content_size(frame)
        if not 0 <= size <= MOST_BYTES:
            raise CodecError(f"a frame of {size} bytes: more than {MOST_BYTES}, or not known")
        return zstandard.ZstdDecompressor().decompress(frame)
    except zstandard.ZstdError as error:
        raise CodecError(f"cannot be decompressed: {error}") from error

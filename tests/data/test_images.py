"""Encoded pictures to tensors and back."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from t2igan.data.images import decode, to_bytes, to_pil, to_signed


def encoded(picture: Image.Image, format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def test_every_byte_survives_the_round_trip():
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    signed = to_signed(values)
    assert (signed.min(), signed.max()) == (-1, 1)
    assert torch.equal(to_bytes(signed), values)


def test_bytes_are_rounded_and_clipped():
    x = torch.tensor([-3.0, -1.0, 0.0, 0.999, 1.0, 7.0]).view(1, 1, 1, 6).expand(1, 3, 6, 6)
    assert to_bytes(x)[0, 0, 0].tolist() == [0, 0, 128, 255, 255, 255]


def test_pil_and_back():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = decode(encoded(Image.fromarray(pixels)), 8)
    assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels)
    assert np.array_equal(np.asarray(to_pil(to_signed(image[None])[0])), pixels)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGB with a transparent colour", "palette with a transparent entry"])
def test_what_is_transparent_becomes_white(mode):
    red = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    red.paste((0, 0, 255, 0), (0, 0, 4, 8))  # the left half, invisibly blue
    options = {}
    if mode == "RGB with a transparent colour":
        red, options = red.convert("RGB"), {"transparency": (0, 0, 255)}
    elif mode == "palette with a transparent entry":
        red = red.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
        options = {"transparency": red.getpixel((0, 0))}
    elif mode in ("LA", "PA"):
        red = red.convert("LA")
    image = decode(encoded(red, **options), 8)
    assert (image[:, :, :4] == 255).all()
    assert (image[1, :, 4:] < 100).all()


def test_half_transparent_is_mixed_with_white():
    image = decode(encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 128))), 4)
    assert (image[0] == 255).all()
    assert ((image[1].int() - 127).abs() <= 1).all()


OTHER_MODES = [("L", 77, [77] * 3), ("CMYK", (0, 255, 255, 0), [255, 0, 0]), ("1", 1, [255] * 3)]


@pytest.mark.parametrize(("mode", "colour", "expected"), OTHER_MODES)
def test_other_modes(mode, colour, expected):
    image = decode(encoded(Image.new(mode, (4, 4), colour), "TIFF"), 4)
    assert ((image[:, 2, 2].int() - torch.tensor(expected)).abs() <= 1).all()


def test_sixteen_bits_a_channel_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    image = decode(encoded(Image.fromarray(ramp)), 8)
    assert np.abs(image[0].numpy().astype(int) - ramp / 257).max() <= 1


def test_exif_says_which_way_is_up():
    picture = Image.new("RGB", (8, 8), "white")
    picture.paste("black", (0, 0, 8, 4))  # dark above
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    image = decode(encoded(picture, "JPEG", exif=exif, quality=95), 8)
    assert image[:, 0].float().mean() > 200 > 60 > image[:, -1].float().mean()


@pytest.mark.parametrize("size", [(24, 8), (8, 24)])
def test_the_centre_is_what_is_kept(size):
    picture = Image.new("RGB", size, "black")
    picture.paste("white", ((size[0] - 8) // 2, (size[1] - 8) // 2, (size[0] + 8) // 2, (size[1] + 8) // 2))
    assert (decode(encoded(picture), 8) == 255).all()
    assert (decode(encoded(picture), 4) > 230).all()  # the filter's tails reach over the edge of the crop


def test_large_pictures_are_reduced_with_antialiasing():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    image = decode(encoded(Image.fromarray(stripes)), 8)
    assert ((image.int() - 127).abs() < 12).all()
    assert decode(encoded(Image.new("RGB", (3, 3), "red")), 16).shape == (3, 16, 16)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damaged_bytes_are_an_oserror_and_nothing_else(format):
    rng = np.random.default_rng(0)
    whole = encoded(Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)), format)
    refused = 0
    for trial in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(damaged), 4):
            damaged[place] = rng.integers(0, 256)
        try:
            decode(bytes(damaged[: rng.integers(1, len(damaged))] if trial % 2 else damaged), 8)
        except OSError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("rubbish", [b"", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_picture_is_an_oserror(rubbish):
    with pytest.raises(OSError, match=r"."):
        decode(rubbish, 8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", ["JPEG", "TIFF", "PNG", "GIF", "WEBP", "BMP"])
def test_whatever_is_broken_in_a_file_it_is_an_oserror(format):
    """Pillow itself lets struct.error, TypeError and others through."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)), format, exif=exif)
    random, refused = np.random.default_rng(1), 0
    for _ in range(300):
        data = bytearray(whole)
        for place in random.integers(0, min(len(data), 300), 3):
            data[place] = random.integers(0, 256)
        try:
            decode(bytes(data), 8)
        except OSError:
            refused += 1
    assert refused > 5

"""What is drawn has the values that the standard gives it; what cannot be drawn says so in a sentence."""

import io
import tracemalloc
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, generate_uid

from reading_portal.decoding import codestream_size
from reading_portal.frames import NoSuchFrame
from reading_portal.grayscale import LINEAR, LINEAR_EXACT, SIGMOID, Window
from reading_portal.rendering import CannotRender, Viewport, parse_viewport, parse_window, render_frame
from storage.places import Unreadable
from storage.rejections import InstanceRejected
from tests.corpora import ROOT, corpus_files
from tests.reading_portal.dicomweb_objects import a_gradient, an_image
from tests.reading_portal.dicomweb_portal import file_of
from tests.reading_portal.stored_files import StoredFile, stored

LARGEST = 2 << 20
DECODABLE = [
    path
    for folder in ("transfer_syntax", "multiframe", "modality", "pydicom_test_files")
    for path in corpus_files(folder)
    if path.stat().st_size < LARGEST
]
MALFORMED = [path for path in corpus_files("malformed") if path.stat().st_size < LARGEST]
LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.91"}


def a_stored_image(tmp_path: Path, pixels: NDArray[np.uint16] | None = None, **changes: object) -> StoredFile:
    image = an_image(
        a_gradient() if pixels is None else pixels, study=generate_uid(), series=generate_uid(), **changes
    )
    return stored(file_of(image), tmp_path)


def expected_display(dataset: Dataset, frame: NDArray[np.generic]) -> NDArray[np.float64] | None:
    """Display values as pydicom applies palette, modality and VOI; None where the file has no VOI."""
    bits = int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        coloured = apply_color_lut(frame, dataset)
        return (coloured >> 8 if coloured.max() > 255 else coloured)[..., :3].astype(float)
    if frame.ndim == 3:
        return frame.astype(float) if frame.dtype == np.uint8 else frame * (255.0 / (2**bits - 1))
    has_lut = bool(dataset.get("VOILUTSequence"))
    if not has_lut and (dataset.get("WindowCenter") is None or dataset.get("WindowWidth") in (None, "")):
        return None
    shown = apply_voi_lut(apply_modality_lut(frame, dataset), dataset, prefer_lut=True).astype(float)
    if has_lut:
        low, high = 0.0, 2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif dataset.get("ModalityLUTSequence"):
        low, high = 0.0, 2.0 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    else:
        signed = dataset.PixelRepresentation == 1
        low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
        slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
        low, high = low * slope + intercept, high * slope + intercept
    level = (shown - low) / (high - low) * 255
    return 255 - level if dataset.PhotometricInterpretation == "MONOCHROME1" else level


@pytest.mark.parametrize("path", DECODABLE, ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.filterwarnings("ignore")
def test_a_real_file_is_drawn_with_the_values_that_pydicom_gives_it(path: Path, tmp_path: Path) -> None:
    try:
        file = stored(path.read_bytes(), tmp_path)
    except InstanceRejected as error:
        pytest.skip(f"the archive does not take it: {error}")
    dataset = pydicom.dcmread(path, force=True)
    try:
        frames = dataset.pixel_array if file.header.number_of_frames > 1 else dataset.pixel_array[np.newaxis]
    except Exception:  # nothing to compare with: then it is enough that we do not fail worse
        frames = None

    try:
        drawn = file.drawn(1)
    except (CannotRender, NoSuchFrame, Unreadable) as error:
        assert str(error)
        assert frames is None, f"pydicom can read this: {error}"
        return

    assert drawn.dtype == np.uint8
    assert drawn.shape[:2] == (file.header.rows, file.header.columns)
    try:
        expected = expected_display(dataset, frames[0]) if frames is not None else None
    except ValueError:  # pydicom refuses a window that PS3.3 does not allow; we fall back to the full range
        expected = None
    if expected is not None:
        # Two decoders of lossy JPEG differ by a step of stored values, which a narrow window widens.
        step = 25 if file.pixels.transfer_syntax_uid in LOSSY else 1.01
        assert np.abs(drawn - expected.clip(0, 255)).max() <= step


@pytest.mark.parametrize("path", MALFORMED, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")
def test_a_malformed_file_costs_a_sentence_and_nothing_else(path: Path, tmp_path: Path) -> None:
    try:
        file = stored(path.read_bytes(), tmp_path)
    except InstanceRejected as error:
        assert str(error)
        return
    try:
        file.drawn(1)
    except (CannotRender, NoSuchFrame, Unreadable) as error:
        assert str(error)


def test_a_header_that_claims_gigabytes_allocates_none(tmp_path: Path) -> None:
    file = a_stored_image(tmp_path, Rows=65_000, Columns=2_000, NumberOfFrames=30_000)
    tracemalloc.start()

    with pytest.raises((CannotRender, NoSuchFrame)):
        file.drawn(1)
    with pytest.raises((CannotRender, NoSuchFrame)):
        file.drawn(29_999)

    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_a_codestream_of_another_size_than_its_header_is_refused(tmp_path: Path) -> None:
    small = bytes(imagecodecs.jpegls_encode(a_gradient(8, 8)))
    for syntax, codestream in (
        (JPEGLSLossless, small),
        (JPEG2000Lossless, bytes(imagecodecs.jpeg2k_encode(a_gradient(512, 512), codecformat="j2k"))),
    ):
        image = an_image(a_gradient(), study=generate_uid(), series=generate_uid(), syntax=syntax)
        image.PixelData = encapsulate([codestream])
        image["PixelData"].VR = "OB"

        with pytest.raises(CannotRender, match="another size"):
            stored(file_of(image), tmp_path).drawn()

    assert codestream_size(small) == (8, 8)


@pytest.mark.parametrize("function", [LINEAR, LINEAR_EXACT, SIGMOID])
@pytest.mark.parametrize(
    ("center", "width"), [(40.0, 400.0), (-600.5, 1500.25), (0.0, 1.0), (1024.0, 4096.0)]
)
def test_a_window_is_applied_as_the_standard_says(
    tmp_path: Path, function: str, center: float, width: float
) -> None:
    image = an_image(a_gradient(), study=generate_uid(), series=generate_uid())
    image.WindowCenter, image.WindowWidth, image.VOILUTFunction = center, width, function
    expected = expected_display(image, a_gradient())

    own = stored(file_of(image), tmp_path).drawn()
    asked = a_stored_image(tmp_path).drawn(window=Window(center, width, function))

    assert expected is not None
    assert np.abs(own - expected).max() <= 0.51
    assert (own == asked).all()


def test_signed_pixels_with_bits_beside_them_keep_their_values(tmp_path: Path) -> None:
    values = np.linspace(-2048, 2047, 64 * 48).astype(np.int16).reshape(64, 48)
    # Old overlays used the four bits above the twelve stored ones (PS3.5 8.1.2).
    containers = (values.view(np.uint16) & 0x0FFF) | np.uint16(0xA000)
    file = a_stored_image(
        tmp_path, containers, PixelRepresentation=1, RescaleIntercept=0, WindowCenter=0, WindowWidth=4096
    )

    drawn = file.drawn()

    assert np.abs(drawn - ((values + 0.5) / 4095 + 0.5).clip(0, 1) * 255).max() <= 0.51


def test_values_stored_in_the_upper_bits_are_shifted_down(tmp_path: Path) -> None:
    file = a_stored_image(tmp_path, a_gradient() << 4, HighBit=15)
    assert (file.drawn() == a_stored_image(tmp_path).drawn()).all()


def test_monochrome1_is_shown_with_its_lowest_values_white(tmp_path: Path) -> None:
    plain = a_stored_image(tmp_path).drawn().astype(int)
    inverted = a_stored_image(tmp_path, PhotometricInterpretation="MONOCHROME1").drawn().astype(int)
    assert np.abs(plain + inverted - 255).max() <= 1


def test_look_up_tables_longer_than_any_header_are_fetched(tmp_path: Path) -> None:
    entries = (np.arange(4096)[::-1] * 16).astype("<u2")
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 16])
    item.add_new("LUTData", "OW", entries.tobytes())
    image = an_image(a_gradient(), study=generate_uid(), series=generate_uid(), RescaleIntercept=0)
    image.VOILUTSequence = [item]

    drawn = stored(file_of(image), tmp_path).drawn()

    assert np.abs(drawn - entries[a_gradient().clip(0, 4095)] / 65535 * 255).max() <= 0.51


def test_a_frame_takes_the_window_of_its_own_functional_group(tmp_path: Path) -> None:
    image = an_image(
        np.stack([a_gradient(), a_gradient()]), study=generate_uid(), series=generate_uid(), modality="CT"
    )
    groups = []
    for center in (40, 1000):
        window, group = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = center, 400
        group.FrameVOILUTSequence = [window]
        groups.append(group)
    image.PerFrameFunctionalGroupsSequence = groups
    file = stored(file_of(image), tmp_path)

    assert (file.drawn(1) == file.drawn(1, Window(40, 400))).all()
    assert (file.drawn(2) == file.drawn(2, Window(1000, 400))).all()
    assert (file.drawn(1) != file.drawn(2)).any()


def test_a_region_is_cut_flipped_and_scaled_into_its_box(tmp_path: Path) -> None:
    file = a_stored_image(tmp_path)
    draw = lambda viewport: _png(file, viewport)  # noqa: E731

    whole = file.drawn()
    assert (draw(Viewport(48, 64)) == whole).all()
    assert (draw(Viewport(48, 64, source_width=-48)) == whole[:, ::-1]).all()
    assert (draw(Viewport(48, 64, source_height=-64)) == whole[::-1]).all()
    assert (draw(Viewport(10, 20, 5, 7, 10, 20)) == whole[7:27, 5:15]).all()
    assert draw(Viewport(512, 512)).shape == (512, 384)
    with pytest.raises(CannotRender, match="outside"):
        draw(Viewport(10, 10, 100, 100, 5, 5))


def _png(file: StoredFile, viewport: Viewport) -> NDArray[np.uint8]:
    picture = render_frame(
        file.frame(), "1.2.840.10008.1.2.1", file.attributes, viewport=viewport, media_type="image/png"
    )
    decoded: NDArray[np.uint8] = imagecodecs.png_decode(picture.data)
    assert decoded.shape == (picture.height, picture.width)
    return decoded


@pytest.mark.parametrize(
    "text", ["", "40", "40,", "a,b", "40,0", "40,400,cubic", "nan,3", "40,400,linear,9", "1,0.5"]
)
def test_a_window_that_makes_no_sense_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="window"):
        parse_window(text)


@pytest.mark.parametrize("text", ["", "1", "0,1", "9000,1", "a,b", "1,1,inf", "1,1,1,1,1,1,1", "nan,nan"])
def test_a_viewport_that_makes_no_sense_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="viewport"):
        parse_viewport(text)


def test_a_picture_is_what_its_type_says(tmp_path: Path) -> None:
    file = a_stored_image(tmp_path)
    jpeg = render_frame(file.frame(), "1.2.840.10008.1.2.1", file.attributes, quality=60)
    assert jpeg.data.startswith(b"\xff\xd8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from PIL import Image

        assert Image.open(io.BytesIO(jpeg.data)).size == (48, 64)

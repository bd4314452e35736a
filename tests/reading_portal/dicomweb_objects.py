"""Objects to look at: a small CT of Qingshi, the same pixels in other encodings, a cine, a radiograph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    generate_uid,
)

CT, DX, US = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.3.1"


def an_image(
    pixels: NDArray[np.uint16],
    *,
    study: str,
    series: str,
    number: int = 1,
    modality: str = "CT",
    syntax: str = ExplicitVRLittleEndian,
    **changes: object,
) -> Dataset:
    """An image of Zhang San of Qingshi; `pixels` is rows × columns or frames × rows × columns."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = {"CT": CT, "US": US}.get(modality, DX)
    dataset.SOPInstanceUID = generate_uid(prefix=None)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.PatientID, dataset.PatientName = "P001", "ZHANG^SAN=张^三"
    dataset.PatientSex, dataset.PatientBirthDate = "M", "19700102"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyDescription = "20261121", "101500", "胸部CT平扫"
    dataset.AccessionNumber, dataset.Modality = "Q0001", modality
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number
    dataset.SeriesDescription = "轴位"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    kind = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    dataset.PixelData = pixels.astype(kind).tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def a_gradient(rows: int = 64, columns: int = 48, seed: int = 0) -> NDArray[np.uint16]:
    noise = np.random.default_rng(seed).integers(0, 64, (rows, columns))
    return (np.linspace(0, 4000, rows * columns).reshape(rows, columns) + noise).astype(np.uint16)


def a_ct_series(study: str, series: str, slices: int = 5) -> list[Dataset]:
    """Slices sent in another order than they lie: the numbers of some scanners run downwards."""
    return [
        an_image(
            a_gradient(seed=number),
            study=study,
            series=series,
            number=number,
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, 100 - 5 * number],
        )
        for number in range(1, slices + 1)
    ]


def in_every_native_encoding(study: str, series: str) -> list[Dataset]:
    return [
        an_image(a_gradient(), study=study, series=series, number=number, syntax=syntax)
        for number, syntax in enumerate(
            (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian), start=1
        )
    ]


def a_cine(study: str, series: str, frames: list[bytes], shape: tuple[int, int], offsets: str) -> Dataset:
    """JPEG-LS frames, told apart by a `basic` or an `extended` offset table, or by `none`."""
    rows, columns = shape
    image = an_image(
        np.zeros((len(frames), rows, columns), np.uint16),
        study=study,
        series=series,
        modality="US",
        syntax=JPEGLSLossless,
    )
    if offsets == "extended":
        image.PixelData, image.ExtendedOffsetTable, image.ExtendedOffsetTableLengths = encapsulate_extended(
            frames
        )
    else:
        image.PixelData = encapsulate(frames, fragments_per_frame=1, has_bot=offsets == "basic")
    image["PixelData"].VR = "OB"
    return image

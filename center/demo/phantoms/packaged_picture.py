"""Real pictures that the pydicom packages carry, given to the demo's patients: same pixels, new names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from center.demo.phantoms.exam import Exam, start_instance

# What belongs to the picture and not to the person, the study or the sender.
KEPT = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "FrameIncrementPointer", "Rows", "Columns", "PixelAspectRatio", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "SmallestImagePixelValue", "LargestImagePixelValue",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData", "LossyImageCompression",
    "LossyImageCompressionRatio", "LossyImageCompressionMethod", "RescaleIntercept", "RescaleSlope",
    "RescaleType", "WindowCenter", "WindowWidth", "PixelSpacing", "ImagerPixelSpacing",
    "ImageOrientationPatient", "ImagePositionPatient", "SliceThickness", "SpacingBetweenSlices",
    "SliceLocation", "PatientPosition", "ViewPosition", "KVP", "FrameTime", "FrameTimeVector", "CineRate",
    "SequenceOfUltrasoundRegions", "ScanningSequence", "SequenceVariant", "ScanOptions",
    "MRAcquisitionType", "EchoTime", "RepetitionTime", "EchoTrainLength", "MagneticFieldStrength",
    "FlipAngle", "ImageType", "PixelData",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A file in a package, and what the exam has to say that the file does not."""

    file: str
    modality: str
    body_part: str
    series_description: str
    laterality: str = ""


SOURCES = {
    "head-ct": Source("693_UNCR.dcm", "CT", "HEAD", "颅脑平扫 5mm"),
    "abdomen-mr": Source("MR-SIEMENS-DICOM-WithOverlays.dcm", "MR", "ABDOMEN", "上腹部增强"),
    "shoulder-mr": Source("MR2_J2KR.dcm", "MR", "SHOULDER", "肩关节斜冠状位", "R"),
    "chest-cr": Source("RG1_UNCR.dcm", "CR", "CHEST", "胸部后前位"),
    "leg-cr": Source("RG3_J2KR.dcm", "CR", "LEG", "胫腓骨正位", "R"),
    "heart-cine": Source("color3d_jpeg_baseline.dcm", "US", "HEART", "心尖四腔心"),
    "heart-us": Source("JPGLosslessP14SV1_1s_1f_8b.dcm", "US", "HEART", "胸骨旁长轴"),
}


def packaged_path(name: str) -> Path:
    """The file of that name inside the installed packages; nothing is ever fetched."""
    spec = find_spec("data_store")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package pydicom-data is not installed")
    return Path(spec.submodule_search_locations[0]) / "data" / name


def packaged_picture(exam: Exam, name: str) -> Iterator[Dataset]:
    """The exam with the pixels of SOURCES[name], in the transfer syntax in which they were shipped."""
    source = SOURCES[name]
    real = dcmread(packaged_path(source.file))
    dataset = start_instance(
        exam,
        sop_class_uid=real.SOPClassUID,
        modality=source.modality,
        series=1,
        instance=1,
        series_description=source.series_description,
        equipment=("Yunling Demo", f"{source.modality}-1"),
    )
    for keyword in KEPT:
        if keyword in real:
            dataset[keyword] = real[keyword]
    dataset.file_meta.TransferSyntaxUID = real.file_meta.TransferSyntaxUID
    dataset.BodyPartExamined = source.body_part
    if "ImageType" not in dataset or not dataset.ImageType:
        dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    COMPLETED[source.modality](dataset, source)
    yield dataset


def _cross_section(dataset: Dataset, source: Source) -> None:
    dataset.FrameOfReferenceUID = dataset.SeriesInstanceUID + ".1"
    dataset.PositionReferenceIndicator = ""
    dataset.AcquisitionNumber = 1
    if "PatientPosition" not in dataset:
        dataset.PatientPosition = "HFS"
    if source.modality == "MR" and "MRAcquisitionType" not in dataset:
        dataset.MRAcquisitionType = "2D"
    if source.laterality:
        dataset.Laterality = source.laterality


def _radiograph(dataset: Dataset, source: Source) -> None:
    if "PixelSpacing" in dataset and not all(dataset.PixelSpacing):
        del dataset.PixelSpacing  # zero is not a size
    dataset.PatientOrientation = ["L", "F"]
    dataset.ViewPosition = "PA" if source.body_part == "CHEST" else "AP"
    if source.laterality:
        dataset.Laterality = source.laterality


def _ultrasound(dataset: Dataset, source: Source) -> None:
    dataset.PatientOrientation = ""
    if "NumberOfFrames" in dataset and int(dataset.NumberOfFrames) == 1 and "FrameTime" not in dataset:
        del dataset["NumberOfFrames"]


COMPLETED = {"CT": _cross_section, "MR": _cross_section, "CR": _radiograph, "US": _ultrasound}

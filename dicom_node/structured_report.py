"""A signed report as DICOM objects: Encapsulated PDF (PS3.3 A.45.1), Basic Text SR (A.35.1, TID 2000), and
its key images as a Key Object Selection (A.35.4, TID 2010).

Pure translators. UIDs are derived from report and version: sending an artefact twice is sending it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, EncapsulatedPDFStorage, KeyObjectSelectionDocumentStorage

from dicom_node.made_objects import (
    Code,
    Evidence,
    code,
    container,
    evidence_of,
    hierarchy,
    item,
    language_of,
    made_instance,
    observer,
    person_name,
    reference_to,
    template,
)
from storage.uids import derived_uid
from worklist.report_content import ReportContent, Signatory

IMAGING_REPORT: Code = ("18748-4", "LN", "Diagnostic Imaging Report")
TITLES: dict[str, Code] = {"ECG": ("28010-7", "LN", "ECG Report")}
SECTIONS: dict[str, tuple[Code, Code]] = {
    "clinical_information": (("121060", "DCM", "History"), ("121060", "DCM", "History")),
    "technique": (
        ("121064", "DCM", "Current Procedure Descriptions"),
        ("121065", "DCM", "Procedure Description"),
    ),
    "comparison": (
        ("121066", "DCM", "Prior Procedure Descriptions"),
        ("121065", "DCM", "Procedure Description"),
    ),
    "findings": (("121070", "DCM", "Findings"), ("121071", "DCM", "Finding")),
    "impression": (("121072", "DCM", "Impressions"), ("121073", "DCM", "Impression")),
    "recommendation": (("121074", "DCM", "Recommendations"), ("121075", "DCM", "Recommendation")),
}
# Families of storage SOP classes that are not images, and how an SR refers to them (PS3.3 C.18.3-C.18.5).
_STORAGE = "1.2.840.10008.5.1.4.1.1."
VALUE_TYPES = {f"{_STORAGE}9.": "WAVEFORM", f"{_STORAGE}88.": "COMPOSITE", f"{_STORAGE}104.": "COMPOSITE"}
OF_INTEREST: Code = ("113000", "DCM", "Of Interest")
KEY_IMAGES: Code = ("121180", "DCM", "Key Images")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportArtefact:
    """A signed version, ready to travel.

    `study` maps the keywords of PATIENT_AND_STUDY to their values as the archive holds them; `pdf` is the
    sealed file; `issued_at` is aware; `evidence` lists the study's instances, the key images among them.
    """

    content: ReportContent
    pdf: bytes
    issued_at: datetime
    study: Mapping[str, str]
    evidence: tuple[Evidence, ...] = ()


def report_objects(artefact: ReportArtefact) -> list[Dataset]:
    """What goes to the archive and home: the document, its words, and which of the study's images it shows.
    A withdrawal is a document only."""
    if artefact.content.status == "entered-in-error":
        return [encapsulated_pdf(artefact)]
    chosen = [key_object_selection(artefact)] if any(_key_images(artefact)) else []
    return [encapsulated_pdf(artefact), basic_text_sr(artefact), *chosen]


def encapsulated_pdf(artefact: ReportArtefact) -> Dataset:
    """The sealed bytes, untouched, as an instance of the study; EncapsulatedDocumentLength bounds them."""
    content = artefact.content
    dataset = _instance(artefact, EncapsulatedPDFStorage, "DOC", series_number=9901)
    dataset.SeriesDescription = _title(content)
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "YES"
    dataset.AcquisitionDateTime = _local(content.performed_at, content, "%Y%m%d%H%M%S")
    dataset.DocumentTitle = _title(content)
    dataset.ConceptNameCodeSequence = [code(TITLES.get(content.modality, IMAGING_REPORT))]
    dataset.VerificationFlag = "UNVERIFIED" if content.status == "preliminary" else "VERIFIED"
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocument = artefact.pdf + b"\0" * (len(artefact.pdf) % 2)
    dataset.EncapsulatedDocumentLength = len(artefact.pdf)
    if artefact.evidence:
        dataset.SourceInstanceSequence = [reference_to(one) for one in artefact.evidence]
    return dataset


def basic_text_sr(artefact: ReportArtefact) -> Dataset:
    """The words as TID 2000, section by section, with the key images that the archive holds."""
    content = artefact.content
    dataset = _instance(artefact, BasicTextSRStorage, "SR", series_number=9902)
    dataset.SeriesDescription = _title(content)
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.CompletionFlag = "COMPLETE"
    is_preliminary = content.status == "preliminary"
    dataset.PreliminaryFlag = "PRELIMINARY" if is_preliminary else "FINAL"
    dataset.VerificationFlag = "UNVERIFIED" if is_preliminary else "VERIFIED"
    if not is_preliminary:
        dataset.VerifyingObserverSequence = [_verifier(artefact, content.reviewer or content.author)]
    if content.version > 1:
        dataset.PredecessorDocumentsSequence = [_predecessor(artefact)]
    if artefact.evidence:
        dataset.CurrentRequestedProcedureEvidenceSequence = [
            evidence_of(artefact.study["StudyInstanceUID"], artefact.evidence)
        ]
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = [code(TITLES.get(content.modality, IMAGING_REPORT))]
    dataset.ContentTemplateSequence = [template("2000")]
    dataset.ContentSequence = [*_context(content), *_sections(content), *_pictures(artefact)]
    return dataset


def key_object_selection(artefact: ReportArtefact) -> Dataset:
    """The report's key images, in its order, for viewers that mark them in the study itself."""
    content = artefact.content
    dataset = _instance(artefact, KeyObjectSelectionDocumentStorage, "KO", series_number=9903)
    dataset.SeriesDescription = _title(content)
    dataset.ReferencedPerformedProcedureStepSequence = []
    chosen = list({evidence.sop_instance_uid: evidence for evidence, _ in _key_images(artefact)}.values())
    dataset.CurrentRequestedProcedureEvidenceSequence = [
        evidence_of(artefact.study["StudyInstanceUID"], chosen)
    ]
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = [code(OF_INTEREST)]
    dataset.ContentTemplateSequence = [template("2010")]
    captions = [
        f"{number}: {key.caption}" for number, key in enumerate(content.key_images, start=1) if key.caption
    ]
    description: Code = ("113012", "DCM", "Key Object Description")
    said = [item("CONTAINS", "TEXT", description, TextValue="\n".join(captions))] if captions else []
    dataset.ContentSequence = [*_context(content), *said, *(picture for _, picture in _key_images(artefact))]
    return dataset


def _instance(artefact: ReportArtefact, sop_class_uid: str, modality: str, *, series_number: int) -> Dataset:
    """Everything around the content: SOP common, patient, study, series, equipment."""
    content = artefact.content
    return made_instance(
        sop_class_uid,
        artefact.study,
        modality=modality,
        sop_instance_uid=_instance_uid(content, modality, content.version),
        series_instance_uid=_series_uid(content, modality),
        series_number=series_number,
        instance_number=content.version,
        at=artefact.issued_at.astimezone(ZoneInfo(content.timezone)),
        institution_name=content.center_name,
    )


def _context(content: ReportContent) -> list[Dataset]:
    """TID 2000 rows 2 and 3: the language, and who observed."""
    return [language_of(content.language), *observer(content.author.name)]


def _sections(content: ReportContent) -> Iterable[Dataset]:
    for attribute, (heading, concept) in SECTIONS.items():
        said = getattr(content, attribute)
        texts = [said] if isinstance(said, str) else list(said)
        if attribute == "findings":
            texts += [f"{m.name} {m.value} {m.unit}".rstrip() for m in content.measurements]
        if attribute == "impression" and content.critical:
            texts.append(f"{content.critical.category}: {content.critical.statement}")
        if attribute == "impression":
            texts += [f"{addendum.text} ({addendum.author.name})" for addendum in content.addenda]
        items = [item("CONTAINS", "TEXT", concept, TextValue=text) for text in texts if text.strip()]
        if items:
            yield container(heading, items)


def _pictures(artefact: ReportArtefact) -> Iterable[Dataset]:
    items = [picture for _, picture in _key_images(artefact)]
    if items:
        yield container(KEY_IMAGES, items)


def _key_images(artefact: ReportArtefact) -> Iterable[tuple[Evidence, Dataset]]:
    """Each key image that the archive holds, with the item that refers to it."""
    known = {one.sop_instance_uid: one for one in artefact.evidence}
    for key in artefact.content.key_images:
        if key.sop_instance_uid in known:
            evidence = known[key.sop_instance_uid]
            reference = reference_to(evidence)
            if key.frame > 1:
                reference.ReferencedFrameNumber = key.frame
            value_type = _value_type(evidence.sop_class_uid)
            yield evidence, item("CONTAINS", value_type, None, ReferencedSOPSequence=[reference])


def _value_type(sop_class_uid: str) -> str:
    matching = (name for prefix, name in VALUE_TYPES.items() if sop_class_uid.startswith(prefix))
    return next(matching, "IMAGE")


def _verifier(artefact: ReportArtefact, person: Signatory) -> Dataset:
    content = artefact.content
    observer = Dataset()
    observer.VerifyingObserverName = person_name(person.name)
    observer.VerifyingOrganization = (person.institution_name or content.center_name)[:64]
    observer.VerificationDateTime = _local(person.signed_at or artefact.issued_at, content, "%Y%m%d%H%M%S")
    observer.VerifyingObserverIdentificationCodeSequence = []
    return observer


def _predecessor(artefact: ReportArtefact) -> Dataset:
    content = artefact.content
    earlier = Dataset()
    earlier.ReferencedSOPClassUID = BasicTextSRStorage
    earlier.ReferencedSOPInstanceUID = _instance_uid(content, "SR", content.version - 1)
    return hierarchy(artefact.study["StudyInstanceUID"], {_series_uid(content, "SR"): [earlier]})


def _title(content: ReportContent) -> str:
    word = "诊断报告" if content.language.startswith("zh") else "Diagnostic Report"
    return f"{content.modality} {word} V{content.version}"


def _local(moment: datetime | None, content: ReportContent, form: str) -> str:
    return moment.astimezone(ZoneInfo(content.timezone)).strftime(form) if moment else ""


def _instance_uid(content: ReportContent, modality: str, version: int) -> str:
    return derived_uid("report-instance", content.report_uid, modality, str(version))


def _series_uid(content: ReportContent, modality: str) -> str:
    return derived_uid("report-series", content.report_uid, modality)

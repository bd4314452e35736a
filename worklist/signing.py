"""The seal on a report (PAdES B-T, one incremental revision for each person), and the judgement on a file.

The first seal certifies the document (DocMDP): after it only further signatures are allowed. `verify_pdf`
asks for more than most readers do: they call a signature valid even where a page was appended after it.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from asn1crypto import cms, pem, tsp
from asn1crypto import x509 as asn1_x509
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner, SimpleSigner
from pyhanko.sign.signers.pdf_cms import PdfCMSSignedAttributes
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.status import PdfSignatureStatus, SignatureCoverageLevel
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

from worklist.authority import CentreAuthority
from worklist.timestamps import CentreTimeStamper

MACHINE_COPY = "report.json"
# AlgorithmIdentifiers in DER, with and without the optional NULL.
_SHA256 = {bytes.fromhex("300d06096086480165030402010500"), bytes.fromhex("300b0609608648016503040201")}
_ECDSA_SHA256 = {bytes.fromhex("300a06082a8648ce3d040302")}


class SealProblem(StrEnum):
    """Why a file is not what was signed. The value is stable; the door says it in words."""

    UNREADABLE = "unreadable"
    UNSIGNED = "unsigned"
    ALTERED = "altered"
    EXTENDED = "extended"
    UNTRUSTED = "untrusted"
    TIME_UNPROVEN = "time-unproven"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class SealSigner:
    """One signature: who, when by the centre's clock (else by their own), and what for."""

    name: str
    username: str
    reason: str
    signed_at: datetime | None
    is_valid: bool


@dataclass(frozen=True, slots=True)
class SealVerdict:
    """`is_whole`: not a byte differs from what was signed. `is_valid`: whole, every signer is trusted, and
    whoever the content names as the last to sign has signed.

    `content` is the attached machine copy of a whole file, as JSON; `content_hash` its SHA-256.
    """

    is_valid: bool
    is_whole: bool
    signers: tuple[SealSigner, ...] = ()
    signed_at: datetime | None = None
    problems: tuple[SealProblem, ...] = ()
    content: dict[str, Any] | None = None
    content_hash: str = ""


def seal(
    pdf: bytes,
    *,
    authority: CentreAuthority,
    signer_name: str,
    signer_username: str,
    reason: str,
    at: datetime,
) -> bytes:
    """Append one signature (PAdES B-T, P-256) as an incremental revision; `pdf` is a prefix of the answer.

    `at` is the signing time that the signer claims; the embedded timestamp is the authority's own clock.
    """
    credential = authority.signer(name=signer_name, username=signer_username, at=at)
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    earlier = len(writer.prev.embedded_regular_signatures)
    metadata = PdfSignatureMetadata(
        field_name=f"Signature{earlier + 1}",
        md_algorithm="sha256",
        subfilter=SigSeedSubFilter.PADES,
        name=signer_name,
        reason=reason,
        location=authority.centre_name,
        # Only the first signature of a document may certify it (ISO 32000-2, 12.8.2.2).
        certify=earlier == 0,
        docmdp_permissions=MDPPerm.FILL_FORMS,
    )
    signer = SimpleSigner(
        signing_cert=credential.certificate_der,
        signing_key=credential.key_info,
        # Only the signer's certificate goes into the file; whoever verifies has the root.
        cert_registry=SimpleCertificateStore(),  # type: ignore[no-untyped-call]
    )
    timestamper = CentreTimeStamper(authority.time_authority, clock=authority.clock)
    pdf_signer = PdfSigner(metadata, signer=signer, timestamper=timestamper)
    return asyncio.run(_sign(pdf_signer, writer, at))


def verify_pdf(pdf: bytes, *, trust_roots: Sequence[bytes]) -> SealVerdict:
    """Judge a sealed file against root certificates (PEM or DER). Never raises for what the file contains."""
    try:
        return asyncio.run(_verify(pdf, [_certificate(root) for root in trust_roots]))
    except Exception:  # A damaged file breaks the parser anywhere; each way means "not what was signed".
        return SealVerdict(is_valid=False, is_whole=False, problems=(SealProblem.UNREADABLE,))


def manifest_hash(instances: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over a study's pairs of SOP Instance UID and digest, sorted: one line each, `uid digest\\n`."""
    lines = sorted(f"{uid} {digest.lower()}\n" for uid, digest in instances)
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()


def new_verify_token() -> str:
    """22 URL-safe characters (128 bits) that say nothing; the row that holds it says what it stands for."""
    return secrets.token_urlsafe(16)


def verify_url(base: str, token: str) -> str:
    return f"{base.rstrip('/')}/verify/{token}"


async def _sign(signer: PdfSigner, writer: IncrementalPdfFileWriter, at: datetime) -> bytes:
    # What PdfSigner.async_sign_pdf does, with our time instead of the machine's.
    session = signer.init_signing_session(writer)
    session.system_time = at.astimezone(UTC).replace(microsecond=0)
    reserved = await session.estimate_signature_container_size(None, tight=False)
    document = session.prepare_tbs_document(validation_info=None, bytes_reserved=reserved)
    output = io.BytesIO()
    digest, _ = document.digest_tbs_document(output=output)
    signed = await document.perform_signature(
        document_digest=digest.document_digest,
        pdf_cms_signed_attrs=PdfCMSSignedAttributes(signing_time=session.system_time),
    )
    await signed.post_signature_processing(output)
    return output.getvalue()


async def _verify(pdf: bytes, roots: list[asn1_x509.Certificate]) -> SealVerdict:
    reader = PdfFileReader(io.BytesIO(pdf), strict=True)
    signatures = reader.embedded_regular_signatures
    if not signatures:
        return SealVerdict(is_valid=False, is_whole=False, problems=(SealProblem.UNSIGNED,))
    # The last signature covers the whole file. While it does not hold, comparing revisions says nothing.
    found, last = await _judge(pdf, signatures[-1], roots, is_last=True)
    problems = dict.fromkeys(found)
    signers = [last]
    for signature in reversed(signatures[:-1]):
        found, signer = await _judge(pdf, signature, roots, is_last=False, compare=last.is_valid)
        problems.update(dict.fromkeys(found))
        signers.insert(0, signer)
    is_whole = not {SealProblem.ALTERED, SealProblem.EXTENDED} & problems.keys()
    machine_copy = _machine_copy(reader) if is_whole else None
    content = json.loads(machine_copy) if machine_copy is not None else None
    # Cut back to the author's revision, a file is whole, yet the page names a reviewer who has not sealed it.
    if content is not None and _last_responsible(content) not in {None, *(s.username for s in signers)}:
        problems[SealProblem.INCOMPLETE] = None
    return SealVerdict(
        is_valid=not problems,
        is_whole=is_whole,
        signers=tuple(signers),
        signed_at=last.signed_at,
        problems=tuple(problems),
        content=content,
        content_hash=hashlib.sha256(machine_copy).hexdigest() if machine_copy is not None else "",
    )


async def _judge(
    pdf: bytes,
    signature: EmbeddedPdfSignature,
    roots: list[asn1_x509.Certificate],
    *,
    is_last: bool,
    compare: bool = False,
) -> tuple[list[SealProblem], SealSigner]:
    try:
        return await _examine(pdf, signature, roots, is_last=is_last, compare=compare)
    except Exception:  # A signature that falls apart while it is examined is not the one that was made.
        nobody = SealSigner(name="", username="", reason="", signed_at=None, is_valid=False)
        return [SealProblem.ALTERED], nobody


async def _examine(
    pdf: bytes,
    signature: EmbeddedPdfSignature,
    roots: list[asn1_x509.Certificate],
    *,
    is_last: bool,
    compare: bool,
) -> tuple[list[SealProblem], SealSigner]:
    """What is wrong with one signature, and whose it is; `compare` asks what was added after it."""
    stamped_at = _stamped_at(signature)
    # Certificates are judged at the moment that the timestamp proves: a report outlives its signer's.
    signer_context = ValidationContext(trust_roots=roots, moment=stamped_at)
    time_context = ValidationContext(trust_roots=roots, moment=stamped_at)
    status = await async_validate_pdf_signature(
        signature, signer_context, time_context, skip_diff=not compare
    )
    is_intact = bool(status.intact and status.valid and _is_canonical(pdf, signature))
    stamp = status.timestamp_validity
    problems = []
    if not is_intact:
        problems.append(SealProblem.ALTERED)
    if (is_last or compare) and not _is_untouched(status, is_last=is_last):
        problems.append(SealProblem.EXTENDED)
    if is_intact and not status.trusted:
        problems.append(SealProblem.UNTRUSTED)
    if stamp is None or not (stamp.valid and stamp.intact and stamp.trusted):
        problems.append(SealProblem.TIME_UNPROVEN)
    if compare and not problems and not status.bottom_line:
        problems.append(SealProblem.ALTERED)
    subject = signature.signer_cert.subject.native
    signer = SealSigner(
        name=str(subject.get("common_name", "")),
        username=str(subject.get("user_id", "")),
        reason=str(signature.sig_object.get("/Reason", "")),
        signed_at=stamped_at or status.signer_reported_dt,
        is_valid=not problems,
    )
    return problems, signer


def _is_untouched(status: PdfSignatureStatus, *, is_last: bool) -> bool:
    """The last signature covers the whole file; after an earlier one only signatures were added."""
    if is_last:
        return bool(status.coverage == SignatureCoverageLevel.ENTIRE_FILE)
    allowed = {ModificationLevel.NONE, ModificationLevel.LTA_UPDATES, ModificationLevel.FORM_FILLING}
    return bool(
        status.coverage == SignatureCoverageLevel.ENTIRE_REVISION
        and status.modification_level in allowed
        and status.docmdp_ok
    )


def _is_canonical(pdf: bytes, signature: EmbeddedPdfSignature) -> bool:
    """The gap that no digest covers holds the signature in upper-case hexadecimal, then zeros, no more."""
    _, before, after, _ = signature.byte_range
    gap = pdf[before:after]
    container = cms.ContentInfo.load(signature.pkcs7_content)
    text = container.dump().hex().upper().encode("ascii")
    if gap != b"<" + text + b"0" * (len(gap) - 2 - len(text)) + b">":
        return False
    parts = [container["content"]]
    parts += [token["content"] for token in _time_stamps(signature)]
    return all(_has_plain_algorithms(part) for part in parts)


def _has_plain_algorithms(signed: cms.SignedData) -> bool:
    """Our seals use one digest and one signature algorithm; CMS names both outside of what it signs."""
    (info,) = signed["signer_infos"]
    digests = [*signed["digest_algorithms"], info["digest_algorithm"]]
    return (
        signed["version"].native in {"v1", "v3"}
        and info["version"].native == "v1"
        and all(digest.dump() in _SHA256 for digest in digests)
        and info["signature_algorithm"].dump() in _ECDSA_SHA256
    )


def _time_stamps(signature: EmbeddedPdfSignature) -> list[cms.ContentInfo]:
    attributes = signature.signer_info["unsigned_attrs"] or ()
    found = (a["values"] for a in attributes if a["type"].native == "signature_time_stamp_token")
    return [token for values in found for token in values]


def _stamped_at(signature: EmbeddedPdfSignature) -> datetime | None:
    for token in _time_stamps(signature):
        info = token["content"]["encap_content_info"]["content"].parsed
        if isinstance(info, tsp.TSTInfo) and isinstance(moment := info["gen_time"].native, datetime):
            return moment
    return None


def _machine_copy(reader: PdfFileReader) -> bytes | None:
    """The attachment `report.json`, from the document's name tree of embedded files."""
    names = reader.root.get("/Names")
    tree = names.get("/EmbeddedFiles") if names is not None else None
    # Our own documents keep one flat leaf; a deeper or circular tree is somebody else's.
    leaf = (tree.get("/Names") if tree is not None else None) or []
    for i in range(1, len(leaf), 2):
        file = leaf[i]
        if str(file.get("/UF")) == MACHINE_COPY:
            data: bytes = file["/EF"]["/F"].data
            return data
    return None


def _last_responsible(content: dict[str, Any]) -> str | None:
    """The username whose seal completes this version; None where the version does not say.

    An amended report carries its earlier addenda along, but it is its author's and reviewer's again.
    """
    status, addenda = content.get("status"), content.get("addenda") or []
    if status == "entered-in-error":
        return None
    is_addendum = status == "appended" and addenda
    person = addenda[-1]["author"] if is_addendum else content.get("reviewer") or content.get("author")
    return str(person["username"]) if person else None


def _certificate(data: bytes) -> asn1_x509.Certificate:
    if pem.detect(data):
        _, _, data = pem.unarmor(data)
    return asn1_x509.Certificate.load(data)

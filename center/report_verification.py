"""`reading-center verify-report`: what a signed report is worth, told without network and database."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from center import compose
from center.complaints import Complaint
from storage.settings import Settings
from worklist.authority import CentreAuthority
from worklist.signing import SealProblem, SealVerdict, verify_pdf

LONGEST_FILE = 256 << 20

SAID = {
    SealProblem.UNREADABLE: "the file is no readable PDF",
    SealProblem.UNSIGNED: "nobody signed this file",
    SealProblem.ALTERED: "bytes that were signed have changed",
    SealProblem.EXTENDED: "something was added after the signature",
    SealProblem.UNTRUSTED: "a signer's certificate does not come from the trusted root",
    SealProblem.TIME_UNPROVEN: "the time of a signature is not proven by the centre's clock",
    SealProblem.INCOMPLETE: "a person who stands for it on the page has not signed it",
}


def report(file: Path, settings: Settings, *, authority: Path | None, out: TextIO) -> int:
    """Print the verdict on one file; 0 only if every signature is valid and nothing was changed or added."""
    root = _given_root(authority) if authority is not None else _own_root(settings)
    if file.stat().st_size > LONGEST_FILE:
        raise Complaint(f"{file} is larger than any report")
    verdict = verify_pdf(file.read_bytes(), trust_roots=[root])
    for line in _lines(verdict):
        print(line, file=out)
    return 0 if verdict.is_valid else 1


def _own_root(settings: Settings) -> bytes:
    # A centre that has never signed has no root, and looking must not make one.
    path = compose.authority_folder(settings) / "root.pem"
    if not path.is_file():
        raise Complaint(f"this centre has no authority of its own in {path.parent}; name the root with --ca")
    return CentreAuthority(path.parent, centre_name="").ca_pem()


def _given_root(path: Path) -> bytes:
    try:
        return load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.PEM)
    except ValueError:
        raise Complaint(f"{path} holds no certificate in PEM form") from None


def _lines(verdict: SealVerdict) -> list[str]:
    lines = ["VALID" if verdict.is_valid else "NOT VALID"]
    lines += [f"  because {SAID.get(problem, problem.value)}" for problem in verdict.problems]
    for signer in verdict.signers:
        when = f"{signer.signed_at:%Y-%m-%d %H:%M:%S %Z}" if signer.signed_at else "at an unknown time"
        worth = "" if signer.is_valid else "  (this signature does not hold)"
        lines.append(f"  signed by {signer.name} ({signer.username}), {signer.reason}, {when}{worth}")
    if verdict.content_hash:
        lines.append(f"  content   sha256 {verdict.content_hash}")
    for name, label in BOUND.items():
        if verdict.content and verdict.content.get(name):
            lines.append(f"  {label:<9} {verdict.content[name]}")
    return lines


# What the machine copy says that it speaks about; identifiers and hashes only.
BOUND = {
    "report_uid": "report",
    "version": "version",
    "status": "status",
    "institution_code": "for",
    "accession_number": "order",
    "study_instance_uid": "study",
    "study_manifest_hash": "images",
    "previous_content_hash": "follows",
}

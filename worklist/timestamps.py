"""The centre's own clock, as RFC 3161 asks for it, without the socket."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from asn1crypto import algos, cms, core, tsp, x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pyhanko.sign.general import as_signing_certificate_v2
from pyhanko.sign.timestamps import TimeStamper

from worklist.authority import Credential

# Ours, from a random UUID (X.667): "the time of the centre's own clock".
_POLICY = "2.25.200870184214372318953962541872347091652"


class CentreTimeStamper(TimeStamper):
    """An RFC 3161 time-stamping authority without the socket: our key, our clock, asked in process."""

    def __init__(self, credential: Credential, *, clock: Callable[[], datetime]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._credential = credential
        self._clock = clock

    async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
        certificate = self._credential.certificate_der
        info = tsp.TSTInfo(
            {
                "version": "v1",
                "policy": _POLICY,
                "message_imprint": req["message_imprint"],
                "serial_number": secrets.randbits(127),
                "gen_time": self._clock().astimezone(UTC).replace(microsecond=0),
                "nonce": req["nonce"],
                "tsa": x509.GeneralName(name="directory_name", value=certificate.subject),
            }
        ).dump()
        said = {
            "content_type": "tst_info",
            "signing_certificate_v2": as_signing_certificate_v2(certificate),
            "message_digest": hashlib.sha256(info).digest(),
        }
        attributes = cms.CMSAttributes([{"type": kind, "values": (value,)} for kind, value in said.items()])
        signature = self._credential.private_key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256()))
        digest = algos.DigestAlgorithm({"algorithm": "sha256"})
        serial = cms.IssuerAndSerialNumber(
            {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
        )
        signer_info = cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.SignerIdentifier({"issuer_and_serial_number": serial}),
                "digest_algorithm": digest,
                "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}),
                "signed_attrs": attributes,
                "signature": signature,
            }
        )
        content = cms.EncapsulatedContentInfo(
            {"content_type": "tst_info", "content": core.ParsableOctetString(info)}
        )
        signed = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": cms.DigestAlgorithms([digest]),
                "encap_content_info": content,
                "certificates": [certificate],
                "signer_infos": [signer_info],
            }
        )
        token = cms.ContentInfo({"content_type": "signed_data", "content": signed})
        granted = tsp.PKIStatusInfo({"status": "granted"})
        return tsp.TimeStampResp({"status": granted, "time_stamp_token": token})

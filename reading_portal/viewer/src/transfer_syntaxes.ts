/** Transfer syntaxes (PS3.5 Annex A, PS3.6): their names for people, and which of them can be lossy. */
const ROOT = "1.2.840.10008.1.2";

export const NAMES: Record<string, string> = {
  [ROOT]: "Implicit VR Little Endian",
  [`${ROOT}.1`]: "Explicit VR Little Endian",
  [`${ROOT}.1.99`]: "Deflated Explicit VR Little Endian",
  [`${ROOT}.2`]: "Explicit VR Big Endian",
  [`${ROOT}.4.50`]: "JPEG Baseline",
  [`${ROOT}.4.51`]: "JPEG Extended",
  [`${ROOT}.4.57`]: "JPEG Lossless",
  [`${ROOT}.4.70`]: "JPEG Lossless SV1",
  [`${ROOT}.4.80`]: "JPEG-LS Lossless",
  [`${ROOT}.4.81`]: "JPEG-LS Near-lossless",
  [`${ROOT}.4.90`]: "JPEG 2000 Lossless",
  [`${ROOT}.4.91`]: "JPEG 2000",
  [`${ROOT}.4.100`]: "MPEG2",
  [`${ROOT}.4.101`]: "MPEG2 High",
  [`${ROOT}.4.102`]: "MPEG-4 AVC",
  [`${ROOT}.4.103`]: "MPEG-4 AVC BD",
  [`${ROOT}.4.107`]: "HEVC",
  [`${ROOT}.4.108`]: "HEVC 10",
  [`${ROOT}.4.201`]: "HTJ2K Lossless",
  [`${ROOT}.4.202`]: "HTJ2K Lossless RPCL",
  [`${ROOT}.4.203`]: "HTJ2K",
  [`${ROOT}.5`]: "RLE Lossless",
};

/** Irreversible, or possibly so: what the file itself says in LossyImageCompression decides for these. */
const LOSSY = new Set(["50", "51", "81", "91", "203"].map((end) => `${ROOT}.4.${end}`));
const VIDEO = /^1\.2\.840\.10008\.1\.2\.4\.10[0-8](\.\d+)?$/;

export const nameOf = (uid: string): string => NAMES[uid] ?? uid;
export const isVideo = (uid: string): boolean => VIDEO.test(uid);

/**
 * True when pixels no longer equal what the detector made. JPEG-LS .81 and J2K .91 may hold lossless data, so for
 * these an explicit LossyImageCompression "00" is believed; without it we warn.
 */
export function isLossy(uid: string, lossyImageCompression: string): boolean {
  if (lossyImageCompression === "01") return true;
  if (lossyImageCompression === "00" && /\.(81|91|203)$/.test(uid)) return false;
  return LOSSY.has(uid);
}

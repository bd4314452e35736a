/** How frames are asked for. Everyone who fetches one says the same, so that the browser's cache answers the second. */

/** Stored frames as they are, or recoded losslessly to HTJ2K where they were native. */
const SYNTAXES = ["1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.201", "*"];
export const SINGLE_PART = SYNTAXES.map((uid) => `application/octet-stream; transfer-syntax=${uid}`).join(", ");
export const MULTIPART = SYNTAXES.map((uid) => `multipart/related; type="application/octet-stream"; transfer-syntax=${uid}`).join(", ");

/** Short ways to write DICOM JSON in tests. */
import type { Attributes, Element } from "../src/attributes";

export const ds = (...values: (number | string)[]): Element => ({ vr: "DS", Value: values });
export const cs = (...values: string[]): Element => ({ vr: "CS", Value: values });
export const sq = (...items: Attributes[]): Element => ({ vr: "SQ", Value: items });

export const CT = "1.2.840.10008.5.1.4.1.1.2";
export const DX = "1.2.840.10008.5.1.4.1.1.1.1";
export const US = "1.2.840.10008.5.1.4.1.1.6.1";

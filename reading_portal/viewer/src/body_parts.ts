/** Regions of the body, whatever a device or a technician calls them (PS3.16 Annex L, and Chinese). */
export const REGIONS = ["head", "neck", "chest", "breast", "abdomen", "pelvis", "spine", "arm", "leg"] as const;
export type Region = (typeof REGIONS)[number];

/** The first that fits, so what is named more narrowly stands first: the cervical spine is spine, not neck. */
const NAMES: [RegExp, Region][] = [
  [/SPINE|[CTL]SPN|SACRUM|COCCYX|VERTEB|脊|颈椎|胸椎|腰椎|骶|尾椎/i, "spine"],
  [/BREAST|MAMM|乳/i, "breast"],
  [/HEAD|BRAIN|SKULL|ORBIT|SINUS|FACE|JAW|MANDIBLE|MAXILLA|EAR|TEMPORAL|头|颅|脑|眼|鼻|副鼻窦|颌|耳|面/i, "head"],
  [/NECK|THYROID|LARYNX|CAROTID|颈|甲状腺|喉/i, "neck"],
  [/CHEST|THORAX|LUNG|RIB|HEART|CORONARY|STERNUM|MEDIASTIN|胸|肺|肋|心|纵隔/i, "chest"],
  [/HIP|PELVI|BLADDER|PROSTATE|UTERUS|OVARY|髋|骨盆|盆|膀胱|前列腺|子宫/i, "pelvis"],
  [/ABDO|LIVER|KIDNEY|PANCREAS|SPLEEN|GALL|BILI|COLON|KUB|STOMACH|腹|肝|肾|胰|脾|胆|结肠|胃|泌尿/i, "abdomen"],
  [/SHOULDER|CLAVICLE|SCAPULA|HUMERUS|ARM|ELBOW|WRIST|HAND|FINGER|THUMB|RADIUS|ULNA|肩|锁骨|肱|臂|肘|腕|手|指/i, "arm"],
  [/LEG|FEMUR|THIGH|KNEE|PATELLA|TIBIA|FIBULA|CALF|ANKLE|FOOT|TOE|HEEL|CALCAN|EXTREMITY|腿|股骨|膝|胫|踝|足|跟|趾|肢/i, "leg"],
];

/** The region that a body part, or failing it a description, speaks of; undefined where neither names one. */
export function regionOf(...texts: string[]): Region | undefined {
  for (const text of texts) {
    const found = NAMES.find(([pattern]) => pattern.test(text))?.[1];
    if (found) return found;
  }
  return undefined;
}

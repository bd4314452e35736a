/** What the server-rendered page says about itself: the data-* attributes of `<section id="viewer">`. */
export interface Page {
  section: HTMLElement;
  kind: "image" | "ecg";
  studyInstanceUID: string;
  manifestUrl: string;
  dicomweb: string;
  language: "zh-CN" | "en";
  csrf: string;
}

export function readPage(section: HTMLElement): Page {
  const data = section.dataset;
  return {
    section,
    kind: data["kind"] === "ecg" ? "ecg" : "image",
    studyInstanceUID: data["study"] ?? "",
    manifestUrl: data["manifest"] ?? "",
    dicomweb: (data["dicomweb"] ?? "/dicom-web").replace(/\/$/, ""),
    language: (data["lang"] ?? "zh-CN").toLowerCase().startsWith("en") ? "en" : "zh-CN",
    csrf: data["csrf"] ?? "",
  };
}

/** Same-origin JSON with the session's cookie; written so that `<link rel="preload" as="fetch" crossorigin>` is reused. */
export async function fetchJson<T>(url: string): Promise<T> {
  const answer = await fetch(url, { credentials: "same-origin", headers: { Accept: "*/*" } });
  if (!answer.ok) throw new Error(`HTTP ${answer.status} ${url}`);
  return (await answer.json()) as T;
}

/** Tell the server something; the answer is looked at by the caller, a line that is down is a rejected promise. */
export const sendJson = (method: "PUT" | "DELETE" | "POST", url: string, body: unknown, csrf: string): Promise<Response> =>
  fetch(url, { method, credentials: "same-origin", headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    ...(body !== undefined && { body: JSON.stringify(body) }) });

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
export const sendJson = (method: "PUT" | "DELETE" | "POST", url: string, body: unknown, csrf: string, isLast = false): Promise<Response> =>
  fetch(url, { method, credentials: "same-origin", keepalive: isLast, headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    ...(body !== undefined && { body: JSON.stringify(body) }) });

/** The server has answered, and not with what was asked for. */
export class Refused extends Error {
  constructor(readonly status: number, sentence: string) {
    super(sentence);
  }

  /** Whether the same request may be granted a moment later. */
  get isPassing(): boolean {
    return this.status >= 500 || this.status === 408 || this.status === 429;
  }
}

/** What the answer says. Raises Refused for a problem. */
export async function answered<T>(asking: Promise<Response>): Promise<T> {
  const answer = await asking;
  const said = await answer.json().catch(() => ({})) as { title?: string };
  if (!answer.ok) throw new Refused(answer.status, said.title ?? `HTTP ${answer.status}`);
  return said as T;
}

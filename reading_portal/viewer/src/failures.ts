/** Why an image is not on the screen, as one sentence for the reader. */
import type { Frame } from "./display_sets";
import { MULTIPART } from "./frame_types";
import { isVideo, nameOf } from "./transfer_syntaxes";
import { word } from "./words";

interface Failure {
  status?: number;
  message?: string;
  request?: { status?: number };
}

const DAMAGED = 410;

/** Whether the server says of this frame that its object is damaged: the loader's last word is "Couldn't decode" for all. */
export async function isDamaged(frame: Frame): Promise<boolean> {
  const enough = new AbortController();
  try {
    const answer = await fetch(frame.imageId.replace(/^wadors:/, ""), { headers: { Accept: MULTIPART }, signal: enough.signal });
    return answer.status === DAMAGED;
  } catch {
    return false;
  } finally {
    enough.abort();
  }
}

export function sentenceFor(frame: Frame, error: unknown): string {
  const syntax = frame.instance.transferSyntaxUID;
  if (isVideo(syntax)) return word("fail_video", nameOf(syntax));
  const failure = unwrapped(error);
  const status = failure.status ?? failure.request?.status ?? Number(/status (\d{3})/.exec(failure.message ?? "")?.[1] ?? NaN);
  if (status === 0) return word("fail_network");
  if (status === DAMAGED) return word("fail_damaged");
  if (Number.isFinite(status) && status >= 300) return word("fail_http", status);
  if (/network|failed to fetch/i.test(failure.message ?? "")) return word("fail_network");
  return word("fail_decode", nameOf(syntax));
}

/** Cornerstone wraps errors in events and errors in errors. */
function unwrapped(error: unknown): Failure {
  let current = error as { error?: unknown; reason?: unknown };
  for (let depth = 0; depth < 4; depth += 1) {
    const inner = current?.error ?? current?.reason;
    if (!inner || typeof inner !== "object") break;
    current = inner as typeof current;
  }
  return (current ?? {}) as Failure;
}

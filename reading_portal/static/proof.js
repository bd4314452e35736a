// The proof that goes with a signature: a password, or a one-time code, from one field.
import { call } from "./portal.js";

/** Six to eight digits are a one-time code, anything else a password: no password here is that short and only digits. */
const proof = (typed) => (/^\d{6,8}$/.test(typed) ? { otp: typed } : { password: typed });

/** POST what is to be signed, with the proof that was typed. Answers as `call` does. */
export async function signed(path, json, typed) {
  const first = await call("POST", path, { ...json, ...proof(typed) });
  // A password of digits only, on an account without a one-time code.
  return first.status === 403 && typed.length >= 8 && "otp" in proof(typed) ? call("POST", path, { ...json, password: typed }) : first;
}

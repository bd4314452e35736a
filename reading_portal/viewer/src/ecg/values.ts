/** The figures beside the tracing: what the device measured, what the reader measures, QTc four ways. */
import { correctedQT } from "./intervals";
import type { Span } from "./calipers";
import type { DeviceMeasurements, Recording } from "./recording";
import { word } from "../words";

export interface ReaderIntervals {
  qt?: number;
  rr?: number;
}

export function deviceValues(recording: Recording): [label: string, value: string][] {
  const m: DeviceMeasurements = recording.measurements ?? {};
  const show = (value: number | null | undefined, unit = ""): string => (value === null || value === undefined ? "–" : `${Math.round(value)}${unit}`);
  return [
    [word("ecg_rate"), show(m.heart_rate, "/min")],
    ["PR", show(m.pr_ms, " ms")],
    ["QRS", show(m.qrs_ms, " ms")],
    ["QT / QTc", `${show(m.qt_ms)} / ${show(m.qtc_ms)} ms`],
    [word("ecg_axes"), `${show(m.p_axis)} / ${show(m.qrs_axis)} / ${show(m.t_axis)}°`],
  ];
}

/** Milliseconds, beats per minute, and millivolts where the amplitude is calibrated. */
export function spanText(span: Span, isCalibrated: boolean): string {
  const rate = span.ms >= 150 ? ` · ${Math.round(span.bpm)}/min` : "";
  return `Δt ${Math.round(span.ms)} ms${rate} · ${isCalibrated ? `ΔU ${span.mv.toFixed(2)} mV` : word("ecg_uncalibrated")}`;
}

/** QTc from the reader's intervals, completed by the device's; undefined when QT or RR is unknown. */
export function correctedText(reader: ReaderIntervals, device: DeviceMeasurements | undefined): string | undefined {
  const rr = reader.rr ?? (device?.heart_rate ? 60000 / device.heart_rate : undefined);
  const qt = reader.qt ?? device?.qt_ms ?? undefined;
  if (!qt || !rr) return undefined;
  const by = (value: number | undefined): string => word(value ? "ecg_by_reader" : "ecg_by_device");
  const values = Object.entries(correctedQT(qt, rr)).map(([name, value]) => `${name} ${Math.round(value)}`).join(" · ");
  return `QT ${Math.round(qt)} (${by(reader.qt)}) · RR ${Math.round(rr)} (${by(reader.rr)}) → QTc ${values} ms`;
}

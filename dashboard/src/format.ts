// Figures as people read them.

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const decimal = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const count = (value: number) => number.format(value);
export const several = (value: number, what: string) => `${count(value)} ${what}${value === 1 ? "" : "s"}`;
export const rate = (value: number | undefined) => (value === undefined ? "–" : `${value < 100 ? decimal.format(value) : number.format(value)}/s`);
export const time = (at: Date | string | number) => clock.format(new Date(at));

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = value < 1 ? 0 : Math.min(Math.floor(Math.log2(value) / 10), units.length - 1);
  return `${step ? decimal.format(value / 1024 ** step) : number.format(value)} ${units[step]}`;
}

export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

/** A short time; beyond milliseconds nobody reads digits. */
export function milliseconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value < 1) return `${number.format(value * 1000)} µs`;
  return value < 1000 ? `${decimal.format(value)} ms` : `${decimal.format(value / 1000)} s`;
}

export const digits = (value: unknown) => (typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value ?? "–"));

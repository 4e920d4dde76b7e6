/** Rounding as Python does it, so that the cell and the panel never show two numbers for one. */

/** `value` with `digits` after the point; a tie goes to the even digit, as in Python's formatting. */
export function fixed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  const tail = Math.abs(value).toFixed(digits + 25).slice(-25);
  if (tail !== "5" + "0".repeat(24) || Number(text.at(-1)) % 2 === 0) {
    return text;
  }
  // A tie that went up to an odd digit: the even one is a step nearer to zero.
  const step = 10 ** -digits;
  return (value - Math.sign(value) * (step / 2)).toFixed(digits);
}

/** The nearest whole number; a tie goes to the even one, as in Python's `round`. */
export function rounded(value: number): number {
  return Number(fixed(value, 0));
}

/** Thousands with commas: 12,345 or 12,345.68. */
export function grouped(value: number, digits = 0): string {
  const [whole, rest] = fixed(value, digits).split(".");
  const separated = whole!.replace(/\B(?=(\d{3})+$)/g, ",");
  return rest ? `${separated}.${rest}` : separated;
}

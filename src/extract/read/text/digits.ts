/** Numbers and moments as decimal digits, written as bytes: a JavaScript string of each takes several times as long. */

const ZERO = 0x30
const MINUS = 0x2d
const POINT = 0x2e
const COLON = 0x3a

/** `width` digits of a number below 2^53, with zeros before it. */
export function digits(value: number, width: number, out: Buffer, at: number): number {
  let rest = value
  let place = at + width
  // Whole numbers of 31 bits are divided several times faster.
  while (rest > 0x7fff_ffff) {
    const next = Math.floor(rest / 10)
    place -= 1
    out[place] = ZERO + (rest - next * 10)
    rest = next
  }
  let small = rest | 0
  while (place > at) {
    const next = (small / 10) | 0
    place -= 1
    out[place] = ZERO + (small - next * 10)
    small = next
  }
  return at + width
}

export function widthOf(value: number): number {
  let width = 1
  for (let limit = 10; value >= limit; limit *= 10) width += 1
  return width
}

/** A number below 2^53, with `scale` of its digits after the point. */
export function scaled(value: number, isNegative: boolean, scale: number, out: Buffer, from: number): number {
  let at = from
  if (isNegative && value !== 0) {
    out[at] = MINUS
    at += 1
  }
  if (scale === 0) return digits(value, widthOf(value), out, at)
  const unit = 10 ** scale
  const whole = Math.floor(value / unit)
  at = digits(whole, widthOf(whole), out, at)
  out[at] = POINT
  return digits(value - whole * unit, scale, out, at + 1)
}

const DAYS_TO_MARCH_OF_YEAR_ZERO = 306
const DAYS_IN_400_YEARS = 146_097

/**
 * Days since 0001-01-01, by the Gregorian calendar counted from the first of March, so that a leap day comes last.
 * Before that day the number of the year before Christ is written; the caller adds BC.
 */
export function date(days: number, out: Buffer, from: number): number {
  const shifted = days + DAYS_TO_MARCH_OF_YEAR_ZERO
  const era = Math.floor(shifted / DAYS_IN_400_YEARS)
  const dayOfEra = shifted - era * DAYS_IN_400_YEARS
  const yearOfEra =
    ((dayOfEra - ((dayOfEra / 1460) | 0) + ((dayOfEra / 36_524) | 0) - ((dayOfEra / 146_096) | 0)) / 365) | 0
  const dayOfYear = dayOfEra - (365 * yearOfEra + (yearOfEra >> 2) - ((yearOfEra / 100) | 0))
  const month = ((5 * dayOfYear + 2) / 153) | 0
  const day = dayOfYear - (((153 * month + 2) / 5) | 0) + 1
  const isNextYear = month >= 10
  const year = era * 400 + yearOfEra + (isNextYear ? 1 : 0)
  const shown = year > 0 ? year : 1 - year
  let at = digits(shown, Math.max(4, widthOf(shown)), out, from)
  out[at] = MINUS
  at = digits(isNextYear ? month - 9 : month + 3, 2, out, at + 1)
  out[at] = MINUS
  return digits(day, 2, out, at + 1)
}

/** `units` of 10^-scale seconds since midnight. */
export function clock(units: number, scale: number, out: Buffer, from: number): number {
  const unit = 10 ** scale
  const seconds = Math.floor(units / unit)
  let at = digits((seconds / 3600) | 0, 2, out, from)
  out[at] = COLON
  at = digits(((seconds / 60) | 0) % 60, 2, out, at + 1)
  out[at] = COLON
  at = digits(seconds % 60, 2, out, at + 1)
  if (scale === 0) return at
  out[at] = POINT
  return digits(units - seconds * unit, scale, out, at + 1)
}

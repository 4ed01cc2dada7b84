import { isIP } from 'node:net'

/** The greatest value of the last part of an IPv4 address that has one to four parts. */
const LAST = [0, 0xffff_ffff, 0xff_ffff, 0xffff, 0xff]

/**
 * The address that a text of numbers stands for, as libpq and getaddrinfo read it: any IPv6 address, and IPv4 in the
 * forms of inet_aton (`127.1`, `0x7f.0.0.1`, `2130706433`), which become `127.0.0.1`. Undefined for a name.
 */
export function numericAddress(text: string): string | undefined {
  if (isIP(text) !== 0) return text
  const parts = text.split('.').map(numberIn)
  const last = parts.pop()
  const most = LAST[parts.length + 1]
  if (most === undefined || last === undefined || last > most) return undefined
  if (!parts.every((part) => part !== undefined && part <= 0xff)) return undefined
  const missing = Array.from({ length: 4 - parts.length }, (_, index) => Math.floor(last / 256 ** index) % 256)
  return [...parts, ...missing.reverse()].join('.')
}

/** Decimal, octal after a 0, hexadecimal after 0x. */
function numberIn(text: string): number | undefined {
  if (/^0[xX][0-9a-fA-F]+$/.test(text)) return Number(text)
  if (/^0[0-7]*$/.test(text)) return Number.parseInt(text, 8)
  return /^[1-9]\d*$/.test(text) ? Number(text) : undefined
}

/** The form of API keys: a prefix that scanners for leaked secrets find, 256 random bits, and a checksum. */

import { hash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { Secret } from '../../secret.ts'

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
/** 256 bits and 32 bits in base 62. */
const KEY_DIGITS = 43
const SUM_DIGITS = 6

export const DEFAULT_PREFIX = 'psm'

/** Letters and digits, so that a key is one word of a URL, and a double click selects it. */
export const PREFIX = /^[a-z][a-z0-9]{1,15}$/

const FORM = /^([a-z][a-z0-9]{1,15})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/

/** `psm_`, 43 random digits, and 6 digits of the CRC-32 of what stands before them. */
export function newKey(prefix: string): Secret {
  let text = ''
  for (let rest = BigInt(`0x${randomBytes(32).toString('hex')}`); rest > 0n; rest /= 62n) {
    text = DIGITS.charAt(Number(rest % 62n)) + text
  }
  const body = `${prefix}_${text.padStart(KEY_DIGITS, '0')}`
  return new Secret(body + checksumOf(body))
}

/** Whether a text can be a key: it has the form and its checksum. Nothing secret is compared. */
export function isKeyText(text: string): boolean {
  const match = FORM.exec(text)
  return match !== null && checksumOf(text.slice(0, -SUM_DIGITS)) === match[3]
}

/** SHA-256, in hex. A key has 256 random bits, so that no slow function is needed to keep it from being guessed. */
export function hashOf(key: string): string {
  return hash('sha256', key)
}

/** By whole numbers, since every validation calculates one. */
function checksumOf(body: string): string {
  let text = ''
  for (let rest = crc32(body), count = 0; count < SUM_DIGITS; rest = Math.floor(rest / 62), count++) {
    text = DIGITS.charAt(rest % 62) + text
  }
  return text
}

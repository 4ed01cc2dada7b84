import { randomInt } from 'node:crypto'
import { Secret } from '../secret.ts'

/** Characters that need no quoting in URIs, shells and connection strings. */
const CLASSES = ['ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz', '0123456789', '-_.~'] as const
const ALL = CLASSES.join('')
const LENGTH = 32

/**
 * A password of 32 characters: 194 bits. It holds a capital and a small letter, a digit and another character, as the
 * password policy of Windows asks, which SQL Server applies.
 */
export function generatePassword(): Secret {
  for (;;) {
    const text = Array.from({ length: LENGTH }, () => ALL[randomInt(ALL.length)]).join('')
    if (CLASSES.every((characters) => [...text].some((one) => characters.includes(one)))) return new Secret(text)
  }
}

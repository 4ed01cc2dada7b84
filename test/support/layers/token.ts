/** Tokens that a test database verifies by itself: user and time, with a MAC. */

import { createHmac } from 'node:crypto'

export const TOKEN_LIFETIME_MILLIS = 2000
/** A login may take a moment on a busy machine. */
const GRACE_MILLIS = 5000

export function makeToken(user: string, key: string, issuedAt: number): string {
  return `${issuedAt}.${createHmac('sha256', key).update(`${user} ${issuedAt}`).digest('hex')}`
}

/** Throws, with the reason, when the token does not let this user in. */
export function verifyToken(user: string, key: string, token: string): void {
  const issuedAt = Number.parseInt(token, 10)
  if (makeToken(user, key, issuedAt) !== token) throw new Error('the MAC is wrong')
  if (Date.now() > issuedAt + TOKEN_LIFETIME_MILLIS + GRACE_MILLIS) throw new Error('the token has expired')
}

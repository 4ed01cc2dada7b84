/** Tokens that a test database verifies by itself: user and time, with a MAC. */

import { createHmac } from 'node:crypto'

export const TOKEN_LIFETIME_MILLIS = 2000
/** A login may take a moment on a busy machine. */
const GRACE_MILLIS = 30_000

export function makeToken(user: string, key: string, issuedAt: number): string {
  return `${issuedAt}.${createHmac('sha256', key).update(`${user} ${issuedAt}`).digest('hex')}`
}

/** The same as a JSON Web Token, which SQL Server takes (RFC 7519), with the audience of Azure SQL. */
export function makeJwt(user: string, key: string, issuedAt: number): string {
  const encoded = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')
  const seconds = Math.floor(issuedAt / 1000)
  const exp = seconds + Math.ceil((TOKEN_LIFETIME_MILLIS + GRACE_MILLIS) / 1000)
  const claims = { upn: user, aud: 'https://database.windows.net/', iat: seconds, exp }
  const signed = `${encoded({ alg: 'HS256', typ: 'JWT' })}.${encoded(claims)}`
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`
}

/** Throws, with the reason, when the token does not let this user in. */
export function verifyToken(user: string, key: string, token: string): void {
  const issuedAt = Number.parseInt(token, 10)
  if (makeToken(user, key, issuedAt) !== token) throw new Error('the MAC is wrong')
  if (Date.now() > issuedAt + TOKEN_LIFETIME_MILLIS + GRACE_MILLIS) throw new Error('the token has expired')
}

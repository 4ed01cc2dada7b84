/** Part of the TDS server test double: the server's check of an access token. */

import { errors, type JWTVerifyGetKey, jwtVerify } from 'jose'
import { SqlError } from './translate.ts'

export interface TokenRules {
  /** The issuer's public keys, as jose's `createLocalJWKSet` gives them. */
  readonly keys: JWTVerifyGetKey
  /** Default `https://database.windows.net/`. */
  readonly audience?: string
  readonly issuer?: string
  /** Sent to a client that asks where to get a token (the ADAL workflow). */
  readonly stsUrl?: string
}

export const DEFAULT_AUDIENCE = 'https://database.windows.net/'

/** @returns the login's name @throws SqlError 18456 with the text of Azure SQL */
export async function verifyToken(token: string, rules: TokenRules): Promise<string> {
  const refuse = (reason: string): SqlError =>
    new SqlError(18456, 1, 14, `Login failed for user '<token-identified principal>'. ${reason}`)
  try {
    const { payload } = await jwtVerify(token, rules.keys, {
      audience: rules.audience ?? DEFAULT_AUDIENCE,
      ...(rules.issuer === undefined ? {} : { issuer: rules.issuer }),
    })
    return String(payload.upn ?? payload.appid ?? payload.oid ?? payload.sub)
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw refuse('Token is expired.')
    if (error instanceof errors.JWTClaimValidationFailed)
      throw refuse('The server is not currently configured to accept this token.')
    if (error instanceof errors.JOSEError) throw refuse('')
    throw error
  }
}

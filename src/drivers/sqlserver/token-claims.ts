import { jwtClaims } from '../../credentials/jwt-claims.ts'

/** The claims of a token that help to explain why it was refused. Nothing is verified: that is for the server. */
export interface TokenClaims {
  readonly audience: string | undefined
  /** Milliseconds since the epoch. */
  readonly expiresAt: number | undefined
}

export function claimsOf(token: string): TokenClaims {
  const { aud, exp } = jwtClaims(token)
  return {
    audience: typeof aud === 'string' ? aud : undefined,
    expiresAt: typeof exp === 'number' ? exp * 1000 : undefined,
  }
}

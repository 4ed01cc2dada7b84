import { jwtClaims } from '../../credentials/jwt-claims.ts'

/** The user's name or the application's id that a token of Entra was issued to. */
export function subjectOf(token: string): string | undefined {
  const claims = jwtClaims(token)
  for (const name of ['upn', 'preferred_username', 'appid', 'azp', 'oid', 'sub']) {
    const value = claims[name]
    if (typeof value === 'string' && value !== '') return value
  }
  return undefined
}

/** The application that a token of Entra was issued to (`appid` in version 1.0, `azp` in 2.0). */
export function applicationOf(token: string): string | undefined {
  const { appid, azp = appid } = jwtClaims(token)
  return typeof azp === 'string' && azp !== '' ? azp : undefined
}

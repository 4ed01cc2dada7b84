/** When an RDS token was made and when it ends, in milliseconds since the epoch. */
export interface TokenTimes {
  readonly issuedAt: number
  readonly expiresAt: number
}

/** Reads both from the token itself: it is a presigned URL without its scheme (SigV4, X-Amz-Date and X-Amz-Expires). */
export function tokenTimes(token: string): TokenTimes {
  const query = new URL(`https://${token}`).searchParams
  const date = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(query.get('X-Amz-Date') ?? '')
  const seconds = Number(query.get('X-Amz-Expires') ?? Number.NaN)
  if (date === null || !Number.isInteger(seconds)) throw new Error('the signer gave a token that does not say its time')
  const [, year, month, day, hour, minute, second] = date.map(Number) as [number, ...number[]]
  const issuedAt = Date.UTC(year as number, (month as number) - 1, day, hour, minute, second)
  return { issuedAt, expiresAt: issuedAt + seconds * 1000 }
}

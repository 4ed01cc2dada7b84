/**
 * Verifies an IAM token as RDS does, from AWS's description of Signature Version 4 ("Create a signed AWS API request":
 * presigned URLs), with node:crypto alone, without the SDK that made the token.
 */

import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

export interface RdsVerifierOptions {
  readonly host: string
  readonly port: number
  readonly region: string
  /** Secret keys, and session tokens where the keys are temporary, by access key id. */
  readonly keys: Readonly<Record<string, { readonly secret: string; readonly sessionToken?: string }>>
  /** The verifier's clock, in milliseconds since the epoch. */
  readonly now: () => number
}

/** Throws, with the reason, when the token does not admit this user. */
export function verifyRdsToken(user: string, token: string, options: RdsVerifierOptions): void {
  const url = new URL(`https://${token}`)
  const get = (name: string): string => {
    const values = url.searchParams.getAll(name)
    if (values.length !== 1) throw new Error(`${name} is there ${values.length} times`)
    return values[0] as string
  }
  const refuse = (reason: string): never => {
    throw new Error(reason)
  }
  if (url.host !== `${options.host}:${options.port}`) refuse(`signed for ${url.host}`)
  if (url.pathname !== '/') refuse(`path ${url.pathname}`)
  if (get('Action') !== 'connect') refuse('another action')
  if (get('DBUser') !== user) refuse(`signed for the user ${get('DBUser')}`)
  if (get('X-Amz-Algorithm') !== 'AWS4-HMAC-SHA256') refuse('another algorithm')
  if (get('X-Amz-SignedHeaders') !== 'host') refuse('other headers are signed')

  const date = get('X-Amz-Date')
  const [keyId = '', day = '', region = '', service = '', end = ''] = get('X-Amz-Credential').split('/')
  if (day !== date.slice(0, 8) || end !== 'aws4_request') refuse('a credential scope that is not of this day')
  if (region !== options.region) refuse(`signed for the region ${region}`)
  if (service !== 'rds-db') refuse(`signed for the service ${service}`)
  const key = options.keys[keyId] ?? refuse(`the key ${keyId} is unknown`)
  if (key.sessionToken !== undefined && get('X-Amz-Security-Token') !== key.sessionToken) refuse('another session')

  const issued = Date.parse(date.replace(/^(....)(..)(..T..)(..)(..Z)$/, '$1-$2-$3:$4:$5'))
  const seconds = Number(get('X-Amz-Expires'))
  if (!(seconds > 0 && seconds <= 900)) refuse(`a life of ${seconds} s`)
  if (options.now() < issued - 300_000) refuse('signed in the future')
  if (options.now() >= issued + seconds * 1000) refuse('expired')

  const query = [...url.searchParams]
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&')
  const canonical = ['GET', '/', query, `host:${url.host}`, '', 'host', sha256('')].join('\n')
  const scope = `${day}/${region}/${service}/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', date, scope, sha256(canonical)].join('\n')
  const signingKey = [day, region, service, 'aws4_request'].reduce<Buffer>(
    (previous, part) => hmac(previous, part),
    Buffer.from(`AWS4${key.secret}`),
  )
  const expected = hmac(signingKey, toSign)
  const given = Buffer.from(get('X-Amz-Signature'), 'hex')
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) refuse('the signature is wrong')
}

const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

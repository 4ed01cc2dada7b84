/**
 * Verifies a signed request as AWS does, from its description of Signature Version 4 ("Create a signed AWS API request"),
 * with node:crypto alone, without the SDK that signed it.
 */

import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

export interface SignedRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface SignatureRules {
  readonly service: string
  readonly region: string
  /** Secret keys, and session tokens where the keys are temporary, by access key id. */
  readonly keys: Readonly<Record<string, AwsKey>>
  /** The verifier's clock, in milliseconds since the epoch. */
  readonly now: number
}

export interface AwsKey {
  readonly secret: string
  readonly session?: string
  /** Milliseconds since the epoch. */
  readonly endsAt?: number
}

/** An error of AWS, by the name that its service gives it. */
export class AwsRefusal extends Error {
  readonly type: string

  constructor(type: string, message: string) {
    super(message)
    this.type = type
  }
}

const MOST_SKEW_MILLIS = 300_000

/** @returns the access key id. @throws AwsRefusal */
export function verifySignature(request: SignedRequest, { service, region, keys, now }: SignatureRules): string {
  const { method, path, headers, body } = request
  const refuse = (type: string, message: string): never => {
    throw new AwsRefusal(type, message)
  }
  const given = /^AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
    headers.authorization ?? '',
  )
  if (given === null) return refuse('MissingAuthenticationTokenException', 'Missing Authentication Token')
  const [, credential = '', signedHeaders = '', signature = ''] = given
  const [id = '', day = '', ...scope] = credential.split('/')
  const key =
    keys[id] ?? refuse('UnrecognizedClientException', 'The security token included in the request is invalid.')
  if (scope.join('/') !== `${region}/${service}/aws4_request`) {
    refuse('InvalidSignatureException', `Credential should be scoped to ${region}/${service}.`)
  }
  const date = String(headers['x-amz-date'])
  const signedAt = Date.parse(date.replace(/^(....)(..)(..T..)(..)(..Z)$/, '$1-$2-$3:$4:$5'))
  if (signedAt < now - MOST_SKEW_MILLIS) {
    refuse('InvalidSignatureException', `Signature expired: ${date} is now earlier than the time of the service`)
  }
  if (signedAt > now + MOST_SKEW_MILLIS) {
    refuse(
      'InvalidSignatureException',
      `Signature not yet current: ${date} is still later than the time of the service`,
    )
  }
  const names = signedHeaders.split(';')
  for (const name of [
    'host',
    'x-amz-date',
    'x-amz-target',
    ...(key.session === undefined ? [] : ['x-amz-security-token']),
  ])
    if (!names.includes(name)) refuse('InvalidSignatureException', `${name} is not signed`)
  const lines = names.map(
    (name) =>
      `${name}:${String(headers[name] ?? '')
        .trim()
        .replace(/ +/g, ' ')}\n`,
  )
  const canonical = [method, path, '', lines.join(''), signedHeaders, sha256(body)].join('\n')
  const toSign = ['AWS4-HMAC-SHA256', date, [day, ...scope].join('/'), sha256(canonical)].join('\n')
  const signing = [day, ...scope].reduce<Buffer>(
    (previous, part) => hmac(previous, part),
    Buffer.from(`AWS4${key.secret}`),
  )
  if (day !== date.slice(0, 8) || !timingSafeEqual(hmac(signing, toSign), Buffer.from(signature, 'hex'))) {
    refuse(
      'InvalidSignatureException',
      'The request signature we calculated does not match the signature you provided.',
    )
  }
  if (key.session !== undefined && headers['x-amz-security-token'] !== key.session) {
    refuse('UnrecognizedClientException', 'The security token included in the request is invalid.')
  }
  if (key.endsAt !== undefined && now >= key.endsAt) {
    refuse('ExpiredTokenException', 'The security token included in the request is expired')
  }
  return id
}

const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const sha256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex')

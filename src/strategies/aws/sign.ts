/** A request signed with AWS keys (AWS General Reference, "Create a signed AWS API request", Signature Version 4). */

import { createHash, createHmac } from 'node:crypto'
import type { AwsKeys } from './keys.ts'

export interface UnsignedRequest {
  readonly method: 'GET' | 'POST'
  readonly url: URL
  /** Signed together with `host` and `x-amz-date`. Names in small letters. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface SigningScope {
  readonly region: string
  readonly service: string
  readonly date: Date
}

/** The headers of the request, with those that prove who sends it. */
export function signedHeaders(
  { method, url, headers, body }: UnsignedRequest,
  { region, service, date }: SigningScope,
  { accessKeyId, secretAccessKey, sessionToken }: AwsKeys,
): Readonly<Record<string, string>> {
  const time = date.toISOString().replaceAll(/[-:]|\.\d{3}/g, '')
  const all: Readonly<Record<string, string>> = {
    ...headers,
    host: url.host,
    'x-amz-date': time,
    ...(sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken }),
  }
  const names = Object.keys(all).sort()
  const lines = names.map((name) => `${name}:${all[name]?.trim()}\n`).join('')
  const query = [...url.searchParams].map(([name, value]) => `${encoded(name)}=${encoded(value)}`).sort()
  const signed = names.join(';')
  const canonical = [method, url.pathname, query.join('&'), lines, signed, sha256(body)].join('\n')
  const scope = [time.slice(0, 8), region, service, 'aws4_request']
  const text = ['AWS4-HMAC-SHA256', time, scope.join('/'), sha256(canonical)].join('\n')
  const key = scope.reduce<Buffer>((previous, part) => hmac(previous, part), Buffer.from(`AWS4${secretAccessKey}`))
  const signature = hmac(key, text).toString('hex')
  const credential = `${accessKeyId}/${scope.join('/')}`
  const authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${signed}, Signature=${signature}`
  return { ...all, authorization }
}

/** RFC 3986, where encodeURIComponent leaves more as it is. */
function encoded(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

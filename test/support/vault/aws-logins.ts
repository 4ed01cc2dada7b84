/**
 * Vault's login by an AWS identity, with AWS' STS in it: the signed request is verified as both would
 * (https://developer.hashicorp.com/vault/docs/auth/aws).
 */

import { signedHeaders } from '../../../src/strategies/aws/sign.ts'
import type { Reply } from './server.ts'

/** The keys that STS knows. */
export const AWS_KEYS = {
  accessKeyId: 'AKIDOFTHETEST',
  secretAccessKey: 'the-secret-key-of-aws',
  sessionToken: 'the-aws-session',
}

/** Those of a user, which have no session. */
export const AWS_USER_KEYS = { accessKeyId: 'AKIDOFAUSER', secretAccessKey: 'the-secret-key-of-a-user' }

/** AWS takes a signature for this long. */
const VALID_MILLIS = 15 * 60_000

const refused = (message: string): Reply => ({ status: 400, body: { errors: [message] } })
const ofSts = (code: string): Reply =>
  refused(
    `error making upstream request: received error code 403 from STS: <ErrorResponse><Code>${code}</Code></ErrorResponse>`,
  )

/** The refusal of a login; undefined where the identity is proven. */
export function refusalOfAws(
  body: Readonly<Record<string, unknown>>,
  serverId: string,
  now: number,
): Reply | undefined {
  const decoded = (name: string): string => Buffer.from(String(body[name]), 'base64').toString('utf8')
  if (body.iam_http_request_method !== 'POST') return refused('invalid iam_http_request_method')
  const url = new URL(decoded('iam_request_url'))
  const content = decoded('iam_request_body')
  const { authorization = '', ...headers } = JSON.parse(decoded('iam_request_headers')) as Record<string, string>
  const [, keyId, region = '', names = ''] =
    /Credential=([^/]+)\/\d{8}\/([^/]+)\/sts\/aws4_request, SignedHeaders=([^,]+)/.exec(authorization) ?? []
  if (serverId !== '') {
    const given = headers['x-vault-aws-iam-server-id']
    const problem =
      given === undefined
        ? 'missing header "X-Vault-AWS-IAM-Server-ID"'
        : given !== serverId
          ? `expected "${serverId}" but got "${given}"`
          : names.split(';').includes('x-vault-aws-iam-server-id')
            ? undefined
            : "header wasn't signed"
    if (problem !== undefined) return refused(`error validating X-Vault-AWS-IAM-Server-ID header: ${problem}`)
  }
  if (content !== 'Action=GetCallerIdentity&Version=2011-06-15') return refused('invalid iam_request_body')
  // Vault sends it to the STS that its administrator has set, whatever the URL says.
  const host = region === 'us-east-1' ? 'sts.amazonaws.com' : `sts.${region}.amazonaws.com`
  if (url.href !== `https://${host}/` || headers.host !== host) return ofSts('SignatureDoesNotMatch')
  const time = String(headers['x-amz-date']).replace(/^(....)(..)(..T..)(..)(..Z)$/, '$1-$2-$3:$4:$5')
  if (Math.abs(now - Date.parse(time)) > VALID_MILLIS) return ofSts('SignatureDoesNotMatch: Signature expired')
  const keys = [AWS_KEYS, { ...AWS_USER_KEYS, sessionToken: undefined }].find((known) => known.accessKeyId === keyId)
  if (keys === undefined || headers['x-amz-security-token'] !== keys.sessionToken) return ofSts('InvalidClientTokenId')
  const own = ['host', 'x-amz-date', 'x-amz-security-token']
  const signed = Object.fromEntries(Object.entries(headers).filter(([name]) => !own.includes(name)))
  const request = { method: 'POST', url, headers: signed, body: content } as const
  const expected = signedHeaders(request, { region, service: 'sts', date: new Date(time) }, keys)
  return expected.authorization === authorization ? undefined : ofSts('SignatureDoesNotMatch')
}

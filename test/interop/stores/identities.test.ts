/** Tokens that a certified OpenID provider signs, where they are verified: by OpenBao and by the STS of SeaweedFS. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, describe, test } from 'node:test'
import { type AwsDouble, REGION, startAwsDouble } from '../../support/aws/stores-double.ts'
import { clearAwsEnvironment } from '../../support/aws-environment.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { findSecrets } from '../../support/object-graph.ts'
import { openStore } from '../../support/open-store.ts'
import { administer } from '../../support/vault/server.ts'
import { startOpenBao } from './openbao.ts'
import { startCertifiedProvider } from './openid-provider.ts'
import { startSts } from './seaweedfs.ts'

const BRIEF = 'urn:brief'

const stack = new AsyncDisposableStack()
after(() => stack.disposeAsync())
const folder = stack.use(await temporaryFolder())
const provider = stack.use(await startCertifiedProvider(['etl', 'other'], (resource) => (resource === BRIEF ? 2 : 600)))
const file = join(folder.path, 'token')
const putToken = (token: string): Promise<void> => writeFile(file, token, { mode: 0o600 })

/** The claims of a token, without its signature. */
function unsigned(token: string): string {
  const header = Buffer.from(JSON.stringify({ alg: 'none', typ: 'JWT' })).toString('base64url')
  return `${header}.${token.split('.')[1]}.`
}

/** The claims of a token under the signature of another one. */
function forged(token: string, other: string): string {
  const [header, , signature] = other.split('.')
  return [header, token.split('.')[1], signature].join('.')
}

describe('the JWT login of OpenBao, which finds the keys of the issuer by discovery', () => {
  test('takes a token for its audience, and no other one', async () => {
    await using server = await startOpenBao()
    await administer(server, 'POST', 'secret/data/sales', { data: { password: 'one' } })
    await administer(server, 'POST', 'sys/policies/acl/reader', {
      policy: 'path "secret/data/sales" { capabilities = ["read"] }',
    })
    await administer(server, 'POST', 'sys/auth/jwt', { type: 'jwt' })
    await administer(server, 'POST', 'auth/jwt/config', { oidc_discovery_url: provider.issuer })
    await administer(server, 'POST', 'auth/jwt/role/etl', {
      role_type: 'jwt',
      user_claim: 'sub',
      bound_subject: 'etl',
      bound_audiences: ['urn:bao', BRIEF],
      // Without a leeway for clocks that differ.
      expiration_leeway: -1,
      clock_skew_leeway: -1,
      token_policies: ['reader'],
    })
    const login = { vault_addr: server.address, vault_auth: 'jwt', vault_role: 'etl', vault_jwt_file: file }
    const read = async (token: string): Promise<string> => {
      await putToken(token)
      using store = openStore('vault:secret/sales#password', login)
      return await store.value()
    }
    const refusal = async (token: string): Promise<string> => {
      await putToken(token)
      using store = openStore('vault:secret/sales#password', login)
      const error = await store.failure()
      assert.equal(error.code, 'STORE_REFUSED', error.message)
      assert.deepEqual(findSecrets(error, [token]), [])
      return error.message
    }
    const good = await provider.token('etl', 'urn:bao')
    const others = await provider.token('other', 'urn:bao')
    assert.equal(await read(good), 'one')
    assert.match(await refusal(await provider.token('etl', 'urn:sts')), /log in by jwt \(HTTP 400\): .*aud/)
    assert.match(await refusal(others), /HTTP 400/)
    assert.match(await refusal(unsigned(good)), /HTTP 400/)
    assert.match(await refusal(forged(good, others)), /HTTP 400/)
    const brief = await provider.token('etl', BRIEF)
    const { exp } = JSON.parse(Buffer.from(brief.split('.')[1] ?? '', 'base64url').toString('utf8')) as { exp: number }
    while (Date.now() <= (exp + 1) * 1000) await new Promise((resolve) => setTimeout(resolve, 50))
    assert.match(await refusal(brief), /HTTP 400\): .*expired/)
  })
})

/** STS, which tells the double of Secrets Manager the keys that it gives. */
async function startRelay(sts: string, aws: AwsDouble): Promise<AsyncDisposable & { readonly url: string }> {
  const relay = createServer((incoming, response) => {
    void (async () => {
      const { method, headers } = incoming
      const type = String(headers['content-type'])
      const answer = await fetch(sts, { method, headers: { 'content-type': type }, body: await text(incoming) })
      const body = await answer.text()
      const part = (name: string): string => new RegExp(`<${name}>([^<]*)</${name}>`).exec(body)?.[1] ?? ''
      if (answer.ok) {
        const endsAt = Date.parse(part('Expiration'))
        aws.keys[part('AccessKeyId')] = { secret: part('SecretAccessKey'), session: part('SessionToken'), endsAt }
      }
      response.writeHead(answer.status, { 'content-type': 'text/xml' }).end(body)
    })()
  })
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(relay.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      relay.closeAllConnections()
      await new Promise((resolve) => relay.close(resolve))
    },
  }
}

describe('AssumeRoleWithWebIdentity of an STS that verifies tokens', () => {
  test('gives keys that sign for a store, anew from the token file, and none for a token that it does not trust', async () => {
    await using aws = await startAwsDouble()
    await using sts = await startSts({ issuer: provider.issuer, audience: 'urn:sts', subject: 'etl' })
    await using relay = await startRelay(sts.url, aws)
    clearAwsEnvironment(folder.path)
    after(() => clearAwsEnvironment(folder.path))
    const environment = {
      AWS_WEB_IDENTITY_TOKEN_FILE: file,
      AWS_ROLE_ARN: sts.role,
      AWS_ENDPOINT_URL_STS: relay.url,
    }
    Object.assign(process.env, environment)
    aws.secrets.put('prod/sales', JSON.stringify({ password: 'one' }))
    const open = () =>
      openStore('aws-sm:prod/sales#password', { region: REGION, aws_endpoint_url: aws.url }, environment)
    const good = await provider.token('etl', 'urn:sts')
    await putToken(good)
    using store = open()
    assert.equal(await store.value(), 'one')
    const [first = ''] = aws.asked.map(({ keyId }) => keyId)
    assert.match(first, /^ASIA/)

    // The keys end, and the kubelet has written the next token meanwhile.
    await putToken(await provider.token('etl', 'urn:sts'))
    const ended = aws.keys[first]
    assert.ok(ended)
    aws.keys[first] = { ...ended, endsAt: Date.now() - 1 }
    assert.equal(await store.value(), 'one')
    assert.notEqual(aws.asked.at(-1)?.keyId, first)

    const others = await provider.token('other', 'urn:sts')
    const tokens = {
      'another subject': others,
      'another audience': await provider.token('etl', 'urn:bao'),
      'no signature': unsigned(good),
      'the signature of another token': forged(good, others),
      'no token': 'garbage',
    }
    const asked = aws.asked.length
    for (const [what, token] of Object.entries(tokens)) {
      await putToken(token)
      using refused = open()
      const error = await refused.failure()
      assert.match(error.code, /^CREDENTIAL_(REFUSED|FAILED)$/, what)
      assert.equal(error.transient, false, what)
      assert.deepEqual(findSecrets(error, [token]), [], what)
    }
    assert.equal(aws.asked.length, asked)
  })
})

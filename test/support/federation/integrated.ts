/** A realm, a federated domain in it, and a source of tokens for its user alice. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach } from 'node:test'
import { inspect, promisify } from 'node:util'
import { parseFields } from '../../../src/connections/fields.ts'
import type { CredentialSource } from '../../../src/credentials/credential.ts'
import type { Proxies } from '../../../src/drivers/network/proxy/proxies.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import { azureAd } from '../../../src/strategies/azure-ad.ts'
import { temporaryFolder } from '../folder.ts'
import { enterRealm, startKdc } from '../kdc.ts'
import type { SamlVersion } from './saml.ts'
import { startFederation } from './service.ts'

export const run = promisify(execFile)
export const ONE_FETCH = ['realm', 'metadata', 'ticket', 'token']
export const UPN = 'alice@test.realm'
export const SQL_AUDIENCE = 'https://database.windows.net'
export const POSTGRES_AUDIENCE = 'https://ossrdbms-aad.database.windows.net'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
export const folder = resources.use(await temporaryFolder())
export const kdc = resources.use(await startKdc())
await kdc.addPrincipal('alice', { password: 'alice-password' })
await kdc.addPrincipal('HTTP/localhost')
export const alice = await kdc.keytab('alice')
export const federation = resources.use(
  await startFederation({ keytab: await kdc.keytab('HTTP/localhost'), passwords: { [UPN]: 'pass<&>word' } }),
)
enterRealm(kdc)
export const cache = `FILE:${kdc.path('krb5cc_alice')}`
await kdc.kinit('alice', cache, { keytab: alice })
process.env.KRB5CCNAME = cache

afterEach(() => federation.reset())

export const integrated = () => ({ azure_credential: 'integrated', authority_host: federation.authority })

interface Fetching extends Disposable {
  readonly source: CredentialSource
  readonly told: unknown[]
}

export async function sourceFor(
  extra: Readonly<Record<string, unknown>> = {},
  login?: string,
  agents?: Proxies['agents'],
): Promise<Fetching> {
  const { values, problems } = parseFields(azureAd.fields, { ...integrated(), ...extra })
  assert.deepEqual(problems, [])
  const told: unknown[] = []
  const connection = { type: 'mssql', extra: {}, ...(login === undefined ? {} : { login }) } as const
  const source = await azureAd.credentials(connection, values, {
    emit: (name, payload) => told.push({ name, payload }),
    environment: process.env,
    settings: {},
    ...(agents === undefined ? {} : { agents }),
  })
  return { source, told, [Symbol.dispose]: () => source.close() }
}

export async function tokenFor(...given: Parameters<typeof sourceFor>): Promise<string> {
  using fetching = await sourceFor(...given)
  const credential = await fetching.source.get()
  assert.equal(credential.kind, 'token')
  return credential.token.reveal()
}

/** The error of a fetch that fails; nothing that was sent or received may be seen in it, nor in the events. */
export async function failureOf(
  extra: Readonly<Record<string, unknown>> = {},
  login?: string,
): Promise<PoolsmithError> {
  using fetching = await sourceFor(extra, login)
  const outcome = await fetching.source.get().catch((error: unknown) => error)
  assert.ok(outcome instanceof PoolsmithError, inspect(outcome))
  const shown = inspect([outcome, fetching.told], { depth: 12, showHidden: true })
  for (const { authorization, body } of federation.seen) {
    const assertion = new URLSearchParams(body).get('assertion') ?? undefined
    for (const secret of [authorization, assertion]) {
      if (secret !== undefined) assert.ok(!shown.includes(secret.slice(10, 50)), shown)
    }
  }
  const withoutSourcePaths = shown.replace(/file:\/\/\S+/g, '')
  assert.doesNotMatch(withoutSourcePaths, /[\w+/=-]{60,}/)
  assert.notEqual(outcome.phase, 'config')
  return outcome
}

/** Has xmlsec1 judge the signature of an assertion as we handed it on. */
export async function assertSigned(assertion: string | null, saml: SamlVersion): Promise<void> {
  const [file, key] = [join(folder.path, 'assertion.xml'), join(folder.path, 'saml.pem')]
  await writeFile(file, Buffer.from(assertion ?? '', 'base64url'))
  await writeFile(key, federation.samlKey)
  const [id, version] = saml === '1.1' ? ['AssertionID', '1.0'] : ['ID', '2.0']
  const marked = [`--id-attr:${id}`, `urn:oasis:names:tc:SAML:${version}:assertion:Assertion`]
  const { stderr } = await run('xmlsec1', ['--verify', '--pubkey-pem', key, ...marked, file])
  assert.match(stderr, /^OK\nSignedInfo References \(ok\/all\): 1\/1$/m)
}

/** Requests by step. */
export const steps = (): string[] => federation.seen.map(({ step }) => step)

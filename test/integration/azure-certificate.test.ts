/** The certificate by which an application proves itself to Entra, while its file is replaced or cannot be used. */

import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { chmod, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { parseFields } from '../../src/connections/fields.ts'
import { type ErrorCode, PoolsmithError } from '../../src/errors.ts'
import { azureAd } from '../../src/strategies/azure-ad.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'
import { createPki } from '../support/pki.ts'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
const principal = await (await createPki()).issue({ commonName: 'svc', client: true, keyType: 'rsa' })
const provider = resources.use(await startOpenIdProvider({ cert: { certificate: principal.cert } }))
const path = join(folder.path, 'principal.pem')
const whole = `${principal.key}\n${principal.cert}`
const authority = {
  tenant_id: provider.tenant,
  authority_host: provider.authorityHost,
  disable_instance_discovery: true,
}

async function sourceOf(extra: Readonly<Record<string, unknown>>, environment: Readonly<Record<string, string>> = {}) {
  const { values, problems } = parseFields(azureAd.fields, { ...authority, ...extra })
  assert.deepEqual(problems, [])
  const warnings: string[] = []
  const source = await azureAd.credentials({ type: 'postgres', login: 'svc', extra: {} }, values, {
    emit: (name, facts) => void (name === 'security:warning' && warnings.push((facts as { message: string }).message)),
    environment,
    settings: {},
  })
  return Object.assign(source, { warnings, [Symbol.dispose]: () => source.close() })
}

const BY_RECORD = { client_id: 'cert', client_certificate_path: path }
const BY_ENVIRONMENT = {
  AZURE_CLIENT_ID: 'cert',
  AZURE_TENANT_ID: provider.tenant,
  AZURE_CLIENT_CERTIFICATE_PATH: path,
}

for (const [from, open] of [
  ['the record', () => sourceOf(BY_RECORD)],
  ['the environment', () => sourceOf({}, BY_ENVIRONMENT)],
] as const) {
  test(`a certificate of ${from} that is empty, half written or missing for a moment counts as the last good one`, async () => {
    await writeFile(path, whole, { mode: 0o600 })
    using source = await open()
    let credential = await source.get()
    for (const part of ['', whole.slice(0, 900), undefined]) {
      await (part === undefined ? rm(path) : writeFile(path, part))
      source.reject(credential)
      credential = await source.get()
      assert.equal(credential.kind, 'token')
      assert.match(source.warnings.pop() ?? '', /principal\.pem .*The version that was read before it is used\.$/)
    }
  })

  test(`a certificate of ${from} that cannot be used is an error with the file and a way out`, async () => {
    const encrypted = createPrivateKey(principal.key).export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'hush',
    })
    const cases: readonly (readonly [text: string, code: ErrorCode, hint: RegExp])[] = [
      ['', 'CERTIFICATE_MALFORMED', /-----BEGIN CERTIFICATE-----/],
      [principal.cert, 'KEY_MALFORMED', /-----BEGIN PRIVATE KEY-----/],
      [
        `${encrypted}${principal.cert}`,
        'KEY_PASSPHRASE_MISSING',
        /^Set (client_certificate_password|AZURE_CLIENT_CERTIFICATE_PASSWORD) /,
      ],
    ]
    const failure = async (): Promise<PoolsmithError> => {
      using source = await open()
      const error: unknown = await source.get().catch((reason: unknown) => reason)
      assert.ok(error instanceof PoolsmithError, 'a token was given')
      assert.ok(error.message.includes(path), error.message)
      return error
    }
    for (const [text, code, hint] of cases) {
      await writeFile(path, text, { mode: 0o600 })
      const error = await failure()
      assert.equal(error.code, code, error.message)
      assert.match(error.hint ?? '', hint)
    }
    await writeFile(path, whole)
    await chmod(path, 0o666)
    const error = await failure()
    assert.equal(error.code, 'SECRET_FILE_REFUSED')
    assert.match(error.hint ?? '', /chmod go-w/)
    await rm(path)
  })
}

test('the key of the certificate may have a password', async () => {
  const key = createPrivateKey(principal.key)
  const encrypted = key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'hush' })
  await writeFile(path, `${principal.cert}\n${encrypted}`, { mode: 0o600 })
  using source = await sourceOf({ ...BY_RECORD, client_certificate_password: 'hush' })
  assert.equal((await source.get()).kind, 'token')
})

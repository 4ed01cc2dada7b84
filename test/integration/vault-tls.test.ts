/** Vault over TLS: who is trusted, and the login by a client certificate. */

import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { chmod, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { PoolsmithError } from '../../src/errors.ts'
import type { Emit } from '../../src/events.ts'
import { KeyValues } from '../../src/vault/kv.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki } from '../support/pki.ts'
import { startVaultDouble, type VaultDouble } from '../support/vault/double.ts'
import { vaultOf } from '../support/vault/suite.ts'

const signal = AbortSignal.timeout(60_000)

async function startTls() {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder())
  const pki = await createPki()
  const { cert, key } = await pki.issue({ commonName: 'vault', ip: ['127.0.0.1'] })
  const server = stack.use(await startVaultDouble({ cert, key, ca: pki.ca }))
  const write = async (name: string, text: string): Promise<string> => {
    const file = join(folder.path, name)
    await writeFile(file, text, { mode: 0o600 })
    return file
  }
  /** The options for a client that shows a certificate. */
  const filesOf = async (ca: string, client: { readonly cert: string; readonly key: string }) => ({
    vault_ca_file: ca,
    vault_client_cert: await write('client.pem', client.cert),
    vault_client_key: await write('client.key', client.key),
  })
  const owned = stack.move()
  return { server, pki, write, filesOf, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** As an administrator would prepare it, past TLS. */
async function prepare(server: VaultDouble, ca: string): Promise<void> {
  using vault = vaultOf(server, { vault_token: server.rootToken, vault_ca_file: ca })
  const put = (path: string, body: Readonly<Record<string, unknown>>) =>
    vault.query({ step: 'prepare', path, body }, signal)
  await put('secret/data/allowed/sales', { data: { password: 'one' } })
  await put('sys/policies/acl/reader', { policy: 'path "secret/data/allowed/*" { capabilities = ["read"] }' })
  await put('auth/cert/certs/etl', { token_policies: ['reader'] })
}

test('a certificate of an authority that is not trusted ends the request before anything is sent', async () => {
  await using place = await startTls()
  using vault = vaultOf(place.server, { vault_token: place.server.rootToken })
  await assert.rejects(new KeyValues(vault, 2).read('secret/allowed/sales', signal), {
    code: 'STORE_UNREACHABLE',
    transient: false,
    hint: /authority that signed the certificate/,
  })
  const other = await place.write('other.pem', (await createPki('another CA')).ca)
  using second = vaultOf(place.server, { vault_token: place.server.rootToken, vault_ca_file: other })
  await assert.rejects(new KeyValues(second, 2).read('secret/allowed/sales', signal), { code: 'STORE_UNREACHABLE' })
  assert.equal(place.server.asked.length, 0)
})

test('NODE_TLS_REJECT_UNAUTHORIZED=0 does not make the authorities of Vault void', async (t) => {
  await using place = await startTls()
  const other = await place.write('other.pem', (await createPki('another CA')).ca)
  const { NODE_TLS_REJECT_UNAUTHORIZED: before } = process.env
  t.after(() => {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before
  })
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
  for (const vault_ca_file of [other, undefined]) {
    using vault = vaultOf(place.server, { vault_token: place.server.rootToken, vault_ca_file })
    await assert.rejects(new KeyValues(vault, 2).read('secret/allowed/sales', signal), { code: 'STORE_UNREACHABLE' })
  }
  assert.equal(place.server.asked.length, 0)
})

test('a client certificate logs in by itself', async () => {
  await using place = await startTls()
  const ca = await place.write('ca.pem', place.pki.ca)
  await prepare(place.server, ca)
  const client = await place.pki.issue({ commonName: 'etl', client: true })
  const files = await place.filesOf(ca, client)
  using vault = vaultOf(place.server, { vault_auth: 'cert', vault_role: 'etl', ...files })
  const secret = await new KeyValues(vault, undefined).read('secret/allowed/sales', signal)
  assert.equal(secret.read('password', 'The secret').reveal(), 'one')
})

test('a client certificate of another authority is refused', async () => {
  await using place = await startTls()
  const ca = await place.write('ca.pem', place.pki.ca)
  await prepare(place.server, ca)
  const client = await (await createPki('another CA')).issue({ commonName: 'etl', client: true })
  const files = await place.filesOf(ca, client)
  using vault = vaultOf(place.server, { vault_auth: 'cert', ...files })
  await assert.rejects(new KeyValues(vault, 2).read('secret/allowed/sales', signal), {
    code: 'STORE_REFUSED',
    message: /log in by cert \(HTTP 400\)/,
  })
})

test('files that are empty, half written or missing while they are replaced count as the last good ones', async () => {
  await using place = await startTls()
  const ca = await place.write('ca.pem', place.pki.ca)
  await prepare(place.server, ca)
  const client = await place.pki.issue({ commonName: 'etl', client: true })
  const files = await place.filesOf(ca, client)
  const warnings: { readonly code: string; readonly message: string }[] = []
  const emit: Emit = (name, event) => {
    if (name === 'security:warning') warnings.push(event as never)
  }
  using vault = vaultOf(place.server, { vault_auth: 'cert', vault_role: 'etl', ...files }, { emit })
  const values = new KeyValues(vault, 2)
  const read = async () => (await values.read('secret/allowed/sales', signal)).read('password', 'The secret').reveal()
  assert.equal(await read(), 'one')
  for (const [option, path] of Object.entries(files)) {
    const whole = await readFile(path, 'utf8')
    for (const part of ['', whole.slice(0, whole.length / 2), undefined]) {
      await (part === undefined ? rm(path) : writeFile(path, part))
      warnings.length = 0
      assert.equal(await read(), 'one', `${option} with ${part?.length} characters`)
      assert.equal(await read(), 'one')
      assert.equal(warnings.length, 1, 'one warning for each version')
      assert.match(warnings[0]?.message ?? '', /The version that was read before it is used\.$/)
      using other = vaultOf(place.server, { vault_auth: 'cert', vault_role: 'etl', ...files })
      await assert.rejects(new KeyValues(other, 2).read('secret/allowed/sales', signal), (error: PoolsmithError) => {
        assert.ok(error.message.includes(path), error.message)
        assert.equal(error.phase, 'credential')
        assert.doesNotMatch(`${error.message} ${error.hint}`, /sslcert|sslkey|sslrootcert|sslpassword/)
        return true
      })
    }
    await place.write(path.slice(path.lastIndexOf('/') + 1), whole)
  }
})

test('a new authority, certificate and key are used by the next request', async () => {
  await using place = await startTls()
  const ca = await place.write('ca.pem', (await createPki('old CA')).ca)
  using vault = vaultOf(place.server, { vault_token: place.server.rootToken, vault_ca_file: ca })
  const read = () => new KeyValues(vault, 2).read('secret/allowed/sales', signal)
  await assert.rejects(read(), { code: 'STORE_UNREACHABLE' })
  await place.write('ca.pem', place.pki.ca)
  await prepare(place.server, ca)
  assert.equal((await read()).read('password', 'The secret').reveal(), 'one')
})

test('an encrypted key, and one that other users may write, are refused with the file and a way out', async () => {
  await using place = await startTls()
  const ca = await place.write('ca.pem', place.pki.ca)
  const client = await place.pki.issue({ commonName: 'etl', client: true })
  const encrypted = createPrivateKey(client.key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'hush',
  })
  const key = await place.write('client.key', String(encrypted))
  const files = {
    vault_ca_file: ca,
    vault_client_cert: await place.write('client.pem', client.cert),
    vault_client_key: key,
  }
  const read = async () => {
    using vault = vaultOf(place.server, { vault_auth: 'cert', ...files })
    await new KeyValues(vault, 2).read('secret/allowed/sales', signal)
  }
  await assert.rejects(read(), { code: 'KEY_PASSPHRASE_MISSING', hint: 'Give the key without a passphrase.' })
  await chmod(key, 0o666)
  await assert.rejects(read(), { code: 'SECRET_FILE_REFUSED', message: new RegExp(key), hint: /chmod go-w/ })
})

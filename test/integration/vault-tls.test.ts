/** Vault over TLS: who is trusted, and the login by a client certificate. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
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
  const owned = stack.move()
  return { server, pki, write, [Symbol.asyncDispose]: () => owned.disposeAsync() }
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

test('a client certificate logs in by itself', async () => {
  await using place = await startTls()
  const ca = await place.write('ca.pem', place.pki.ca)
  await prepare(place.server, ca)
  const client = await place.pki.issue({ commonName: 'etl', client: true })
  const files = {
    vault_ca_file: ca,
    vault_client_cert: await place.write('client.pem', client.cert),
    vault_client_key: await place.write('client.key', client.key),
  }
  using vault = vaultOf(place.server, { vault_auth: 'cert', vault_role: 'etl', ...files })
  const secret = await new KeyValues(vault, undefined).read('secret/allowed/sales', signal)
  assert.equal(secret.read('password', 'The secret').reveal(), 'one')
})

test('a client certificate of another authority is refused', async () => {
  await using place = await startTls()
  const ca = await place.write('ca.pem', place.pki.ca)
  await prepare(place.server, ca)
  const client = await (await createPki('another CA')).issue({ commonName: 'etl', client: true })
  const files = {
    vault_ca_file: ca,
    vault_client_cert: await place.write('client.pem', client.cert),
    vault_client_key: await place.write('client.key', client.key),
  }
  using vault = vaultOf(place.server, { vault_auth: 'cert', ...files })
  await assert.rejects(new KeyValues(vault, 2).read('secret/allowed/sales', signal), {
    code: 'STORE_REFUSED',
    message: /log in by cert \(HTTP 400\)/,
  })
})

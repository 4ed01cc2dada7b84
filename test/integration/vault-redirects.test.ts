/** Standby nodes of Vault that redirect: who is followed, and what is sent there. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { Secret } from '../../src/secret.ts'
import { KeyValues } from '../../src/vault/kv.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki } from '../support/pki.ts'
import { startVaultDouble, type VaultTls } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'
import { appRole, vaultOf } from '../support/vault/suite.ts'

const PASSWORD = 'Passw0rd-of-this-test'
const signal = AbortSignal.timeout(60_000)

/** A standby of the active node at an address. */
async function startStandby(active: string, tls?: VaultTls, status = 307) {
  const redirect: RequestListener = ({ url }, response) => {
    response.writeHead(status, { location: `${active}${url}` }).end()
  }
  const standby = tls === undefined ? createServer(redirect) : createTlsServer(tls, redirect)
  await new Promise<void>((resolve) => standby.listen(0, '127.0.0.1', resolve))
  const { port } = standby.address() as AddressInfo
  return {
    address: `http${tls === undefined ? '' : 's'}://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      standby.closeAllConnections()
      await new Promise((resolve) => standby.close(resolve))
    },
  }
}

async function createTls(folder: string): Promise<{ readonly tls: VaultTls; readonly caFile: string }> {
  const pki = await createPki()
  const { cert, key } = await pki.issue({ commonName: 'vault', ip: ['127.0.0.1'], dns: ['localhost'] })
  const caFile = join(folder, 'ca.pem')
  await writeFile(caFile, pki.ca, { mode: 0o600 })
  return { tls: { cert, key, ca: pki.ca }, caFile }
}

test('only the host itself and nodes that are named are followed', async () => {
  await using active = await startVaultDouble()
  await administer(active, 'POST', 'secret/data/sales', { data: { password: PASSWORD } })
  await using standby = await startStandby(active.address.replace('127.0.0.1', 'localhost'))
  const options = { vault_addr: standby.address, vault_token: active.rootToken }
  active.asked.length = 0
  using stranger = vaultOf(active, options)
  await assert.rejects(new KeyValues(stranger, 2).read('secret/sales', signal), { code: 'STORE_REDIRECTED' })
  assert.equal(active.asked.length, 0)
  using vault = vaultOf(active, { ...options, vault_nodes: 'localhost' })
  const secret = await new KeyValues(vault, 2).read('secret/sales', signal)
  assert.equal(secret.read('password', 'The secret').reveal(), PASSWORD)
})

for (const status of [307, 308]) {
  test(`method, body, token and namespace follow a redirection by ${status}`, async () => {
    await using active = await startVaultDouble()
    await administer(active, 'POST', 'sys/namespaces/team', {})
    const inside = { 'x-vault-namespace': 'team' }
    await administer(active, 'POST', 'sys/mounts/secret', { type: 'kv', options: { version: '2' } }, inside)
    const policy = 'path "secret/data/*" { capabilities = ["create", "read", "update"] }'
    const { roleId, secretId } = await appRole(active, 'writer', {}, policy, inside)
    await using standby = await startStandby(active.address, undefined, status)
    const login = { vault_auth: 'approle', vault_role_id: roleId, vault_secret_id: (await secretId()).secret_id }
    using vault = vaultOf(active, { ...login, vault_addr: standby.address, vault_namespace: 'team' })
    const values = new KeyValues(vault, 2)
    const written = await values.write('secret/sales', new Map([['password', new Secret(PASSWORD)]]), {
      replaces: undefined,
      signal,
    })
    assert.equal(written.version, '1')
    assert.equal((await values.read('secret/sales', signal)).read('password', 'It').reveal(), PASSWORD)
  })
}

test('a redirection from TLS to plain HTTP is refused, also on this machine', async () => {
  await using folder = await temporaryFolder()
  const { tls, caFile } = await createTls(folder.path)
  await using active = await startVaultDouble()
  await administer(active, 'POST', 'secret/data/sales', { data: { password: PASSWORD } })
  await using standby = await startStandby(active.address, tls)
  active.asked.length = 0
  using vault = vaultOf(active, { vault_addr: standby.address, vault_ca_file: caFile, vault_token: active.rootToken })
  await assert.rejects(new KeyValues(vault, 2).read('secret/sales', signal), {
    code: 'STORE_REDIRECTED',
    message: /where the token would be sent unencrypted/,
  })
  assert.equal(active.asked.length, 0)
})

test('a redirection from plain HTTP to TLS is followed, and verified by vault_ca_file', async () => {
  await using folder = await temporaryFolder()
  const { tls, caFile } = await createTls(folder.path)
  await using active = await startVaultDouble(tls)
  await using standby = await startStandby(active.address)
  const options = { vault_addr: standby.address, vault_token: active.rootToken }
  using trusting = vaultOf(active, { ...options, vault_ca_file: caFile })
  const values = new KeyValues(trusting, 2)
  await values.write('secret/sales', new Map([['password', new Secret(PASSWORD)]]), { replaces: undefined, signal })
  assert.equal((await values.read('secret/sales', signal)).read('password', 'It').reveal(), PASSWORD)
  using other = vaultOf(active, options)
  await assert.rejects(new KeyValues(other, 2).read('secret/sales', signal), { code: 'STORE_UNREACHABLE' })
})

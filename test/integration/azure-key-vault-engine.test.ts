/** A pool whose password is in Key Vault, over a real PostgreSQL and through a proxy. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startKeyVaultDouble } from '../support/azure/key-vault-double.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'
import { startPostgres } from '../support/postgres.ts'
import { startProxyDouble } from '../support/proxy-double.ts'
import { load } from '../support/rotation/load.ts'

const SECRET = 'a-secret-that-nobody-may-see'

test('a rotation in Key Vault costs no failed statement, and the vault is asked through the proxy', {
  timeout: 120_000,
}, async () => {
  await using provider = await startOpenIdProvider({ app: { secret: SECRET } })
  const authority = `${provider.authorityHost}/${provider.tenant}`
  await using vault = await startKeyVaultDouble(authority, async (token, audience) => {
    return (await provider.verify(token, audience)).appid
  })
  vault.rights.set('app', new Set(['get', 'list']))
  await using proxy = await startProxyDouble({ hosts: { 'sales.vault.test': '127.0.0.1' } })
  await using server = await startPostgres()
  await server.sql("create role etl login password 'password-0'")
  vault.put('db-password', 'password-0')
  const extra = {
    password_from: `azure-kv:https://sales.vault.test:${vault.port}/db-password`,
    tenant_id: provider.tenant,
    authority_host: provider.authorityHost,
    disable_instance_discovery: true,
    client_id: 'app',
    client_secret: SECRET,
    secrets_ttl: 1,
    proxy: `http://127.0.0.1:${proxy.port}`,
  }
  const target = { type: 'postgres', host: server.host, port: server.port, login: 'etl', database: 'postgres' } as const
  await using stack = new AsyncDisposableStack()
  const callers = await load({ ...target, extra }, { pool_size: 4 })
  stack.defer(callers.stop)
  for (let round = 1; round <= 2; round++) {
    await callers.reopened(4)
    vault.asked.length = 0
    vault.put('db-password', `password-${round}`)
    // Sessions are opened by the version before, while the server does not know the new one.
    while (!vault.asked.some(({ path }) => path.endsWith('/versions'))) await sleep(10)
    await callers.reopened(4)
    await server.sql(`alter role etl password 'password-${round}'`)
  }
  await callers.reopened(4)
  assert.ok((await callers.end()) > 0)
  assert.ok(proxy.requests.some(({ target: name }) => name === `sales.vault.test:${vault.port}`))
})

/** A pool whose password is in Key Vault, over a real PostgreSQL and through a proxy. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createEngine } from '../../src/index.ts'
import { startKeyVaultDouble } from '../support/azure/key-vault-double.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'
import { startPostgres } from '../support/postgres.ts'
import { startProxyDouble } from '../support/proxy-double.ts'

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
  await using db = await createEngine(
    { ...target, extra },
    { pool_size: 4, pool_recycle: 0.1, stores: { environment: {} } },
  )
  let opened = 0
  db.pool.on('connection:opened', () => opened++)
  const more = async (): Promise<void> => {
    const before = opened
    while (opened < before + 4) await sleep(10)
  }
  let isOver = false
  const worker = async (): Promise<void> => {
    while (!isOver) await db.raw('select 1')
  }
  const rotate = async (): Promise<void> => {
    for (let round = 1; round <= 2; round++) {
      await more()
      vault.asked.length = 0
      vault.put('db-password', `password-${round}`)
      // Sessions are opened by the version before, while the server does not know the new one.
      while (!vault.asked.some(({ path }) => path.endsWith('/versions'))) await sleep(10)
      await more()
      await server.sql(`alter role etl password 'password-${round}'`)
    }
    await more()
  }
  const workers = Array.from({ length: 8 }, worker)
  await Promise.all([rotate().finally(() => (isOver = true)), ...workers])
  assert.ok(proxy.requests.some(({ target: name }) => name === `sales.vault.test:${vault.port}`))
})

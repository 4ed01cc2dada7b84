/** Every way to a store goes through the proxy of the connection. The name of the store is known to the proxy alone. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, beforeEach, test } from 'node:test'
import { createEngine } from '../../src/index.ts'
import { openApiKeys, rotate } from '../../src/rotation/index.ts'
import { openStores } from '../../src/stores/index.ts'
import { agentTo } from '../support/agent-to.ts'
import { poolsmith } from '../support/cli-in-process.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { startProxyDouble } from '../support/proxy-double.ts'
import { startVaultDouble } from '../support/vault/double.ts'
import { vaultOf } from '../support/vault/suite.ts'

const PASSWORD = 'Password-of-the-store-1'

const stack = new AsyncDisposableStack()
after(() => stack.disposeAsync())
const folder = stack.use(await temporaryFolder())
const pki = await createPki()
const { cert, key } = await pki.issue({ commonName: 'vault', dns: ['vault.test'], ip: ['127.0.0.1'] })
const vault = stack.use(await startVaultDouble({ cert, key, ca: pki.ca }))
const ca = join(folder.path, 'ca.pem')
await writeFile(ca, pki.ca, { mode: 0o600 })
const { port } = new URL(vault.address)
const url = `https://vault.test:${port}`
const proxy = stack.use(await startProxyDouble({ hosts: { 'vault.test': '127.0.0.1' } }))
const server = stack.use(await startPostgres())
await server.sql(`create role etl login password '${PASSWORD}'`)
const target = { type: 'postgres', host: server.host, port: server.port, login: 'etl', database: 'postgres' } as const

async function put(path: string, data: Readonly<Record<string, unknown>>): Promise<void> {
  using administrator = vaultOf(vault, { vault_token: vault.rootToken, vault_ca_file: ca })
  const query = { step: 'prepare', path: `secret/data/${path}`, body: { data } }
  await administrator.query(query, AbortSignal.timeout(60_000))
}
await put('sales', { password: PASSWORD })
await put('record', { ...target, password: PASSWORD })
await put('connections/sales', { conn_uri: `postgres://etl:${PASSWORD}@${server.host}:${server.port}/postgres` })

const way = { proxy: `http://127.0.0.1:${proxy.port}` }
const login = { vault_addr: url, vault_token: vault.rootToken, vault_ca_file: ca, vault_kv_version: 2 }
const settings = { type: 'vault', url, token: vault.rootToken, verify: ca } as const
const stores = { stores: [settings], environment: {}, cwd: folder.path }

let before = 0
beforeEach(() => {
  before = proxy.requests.length
})
const assertProxied = (): void => {
  const asked = proxy.requests.slice(before).map((request) => request.target)
  assert.ok(asked.includes(`vault.test:${port}`), asked.join(', '))
}

test('a reference in a record', async () => {
  const extra = { ...way, ...login, password_from: 'vault:secret/sales#password' }
  await using db = await createEngine({ ...target, extra }, { stores: { environment: {} } })
  await db.raw('select 1')
  assertProxied()
})

test('a record by its place, with the proxy beside it', async () => {
  await using db = await createEngine('vault:secret/record', {
    extra: { ...way, ...login },
    stores: { environment: {} },
  })
  await db.raw('select 1')
  assertProxied()
})

test('a record by its id, in the stores of the call and of a connections file, with the proxy beside it', async () => {
  await using db = await createEngine('sales', { extra: way, stores })
  await db.raw('select 1')
  assertProxied()
  const file = join(folder.path, 'connections.json')
  await writeFile(file, JSON.stringify({ stores: [settings] }), { mode: 0o600 })
  await using byFile = await createEngine('sales', { extra: way, stores: { file, environment: {} } })
  await byFile.raw('select 1')
})

test('a part of another connection', async () => {
  const extra = { ...way, password_from: 'store:sales#password' }
  await using db = await createEngine({ ...target, extra }, { stores })
  await db.raw('select 1')
  assertProxied()
})

test('a rotation, and the command of secrets with the options of a connection', async () => {
  const extra = { ...way, ...login, password_from: 'vault:secret/sales#password' }
  await rotate({ ...target, extra }, { stores: { environment: {} } })
  assertProxied()
  before = proxy.requests.length
  const environment = { POOLSMITH_CONN_SALES: JSON.stringify({ ...target, extra: { ...way, ...login } }) }
  const { code, log } = await poolsmith(
    ['secrets', 'get', 'vault:secret/record#login', '--connection', 'sales'],
    environment,
  )
  assert.equal(code, 0, log)
  assertProxied()
})

test('API keys, with the proxy among the options of their store', async () => {
  await using keys = await openApiKeys('vault:secret/api-keys', { store: { ...way, ...login }, environment: {} })
  await keys.generate('billing')
  assertProxied()
})

test('stores that are open, by agents of their own', async () => {
  const https = agentTo(() => Number(port), ['test'])
  await using open = openStores({ ...stores, agents: { http: undefined as never, https } })
  assert.equal((await open.getConnection('sales'))?.login, 'etl')
  assert.equal(proxy.requests.length, before)
  https.destroy()
})

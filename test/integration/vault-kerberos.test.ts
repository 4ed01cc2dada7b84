/** The login to Vault by a Kerberos ticket, which MIT's acceptor takes in place of Vault's. */

import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { inspect } from 'node:util'
import { createEngine, findConnection, type PoolsmithError } from '../../src/index.ts'
import { gssAcceptor } from '../support/gss-acceptor.ts'
import { enterRealm, type Kdc, startKdc } from '../support/kdc.ts'
import { openStore } from '../support/open-store.ts'
import { startPostgres } from '../support/postgres.ts'
import { startVaultDouble, type VaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

const stack = new AsyncDisposableStack()
let kdc: Kdc
let vault: VaultDouble
let keytabOfBob: string
/** Under the name that the certificate would have. */
let address: string

before(async () => {
  kdc = stack.use(await startKdc())
  enterRealm(kdc)
  for (const name of ['alice', 'bob', 'HTTP/localhost', 'HTTP/other']) await kdc.addPrincipal(name)
  keytabOfBob = await kdc.keytab('bob')
  const serverKeytab = await kdc.keytab('HTTP/localhost')
  vault = stack.use(await startVaultDouble())
  address = vault.address.replace('127.0.0.1', 'localhost')
  vault.identities.kerberos = async (token) => {
    const acceptor = gssAcceptor(serverKeytab)
    try {
      const { principal } = await acceptor.step(token)
      if (principal === undefined) throw new Error('another token is needed')
      return principal
    } finally {
      acceptor.close()
    }
  }
  const policy = 'path "secret/data/*" { capabilities = ["read"] }'
  await administer(vault, 'POST', 'sys/policies/acl/reader', { policy })
  for (const name of ['alice', 'bob'])
    await administer(vault, 'POST', `auth/kerberos/groups/${name}`, { token_policies: ['reader'] })
  await administer(vault, 'POST', 'secret/data/sales', { data: { password: 'first' } })
  await administer(vault, 'POST', 'secret/data/connections/sales', { data: { conn_uri: 'postgres://backend/sales' } })
})
beforeEach(async () => {
  process.env.KRB5CCNAME = `FILE:${kdc.path('cc')}`
  await kdc.kinit('alice', `FILE:${kdc.path('cc')}`, { keytab: await kdc.keytab('alice') })
})
after(() => stack.disposeAsync())

const options = (more: Readonly<Record<string, unknown>> = {}) => ({
  vault_addr: address,
  vault_kv_version: 2,
  vault_auth: 'kerberos',
  ...more,
})
const open = (more: Readonly<Record<string, unknown>> = {}) => openStore('vault:secret/sales#password', options(more))

async function failure(more: Readonly<Record<string, unknown>>): Promise<PoolsmithError> {
  using store = open(more)
  const error = await store.failure()
  assert.doesNotMatch(inspect(error, { depth: 9 }), /Negotiate [\w+/]{20}/)
  return error
}

test('the ticket of the cache logs in, and so does a keytab, without kinit', async () => {
  using byCache = open()
  assert.equal(await byCache.value(), 'first')
  using byKeytab = open({ principal: `bob@${kdc.realm}`, keytab: keytabOfBob })
  assert.equal(await byKeytab.value(), 'first')
  using byService = open({ vault_kerberos_service: `HTTP/localhost@${kdc.realm}`, vault_addr: vault.address })
  assert.equal(await byService.value(), 'first')
})

test('a principal that Vault has no keytab of, a ticket that is refused and one that is missing are three errors', async () => {
  const unknown = await failure({ vault_kerberos_service: `HTTP/nowhere@${kdc.realm}` })
  assert.equal(unknown.code, 'SPN_UNKNOWN')
  assert.match(unknown.message, /^The Kerberos ticket for the login to Vault could not be obtained: /)
  assert.match(unknown.hint ?? '', /vault_kerberos_service/)
  const refused = await failure({ vault_kerberos_service: `HTTP/other@${kdc.realm}` })
  assert.equal(refused.code, 'STORE_REFUSED')
  assert.match(refused.message, /Vault localhost:\d+ could not log in by kerberos \(HTTP 401\)/)
  const missing = await failure({ ccache: `FILE:${kdc.path('not-there')}` })
  assert.match(missing.code, /^TICKET_/)
})

test('a pool that logs in to its database by Kerberos logs in to Vault by the same ticket', async () => {
  await using server = await startPostgres()
  await server.sql("create role etl login password 'first'")
  const extra = {
    ...options({ principal: `bob@${kdc.realm}`, keytab: keytabOfBob }),
    password_from: 'vault:secret/sales#password',
  }
  const record = {
    type: 'postgres',
    host: '127.0.0.1',
    port: server.port,
    login: 'etl',
    database: 'postgres',
    extra,
  } as const
  await using db = await createEngine(record, { stores: { environment: {} } })
  await db.raw('select 1')
  const logins = vault.asked.filter(({ path }) => path === 'auth/kerberos/login')
  assert.ok(logins.length > 0)
})

test('options of the ticket are told apart from options that have no effect', async () => {
  const record = {
    type: 'postgres',
    host: '127.0.0.1',
    login: 'etl',
    extra: {
      ...options({ vault_auth: 'token', keytab: '/x', strict_extras: true }),
      password_from: 'vault:secret/sales#password',
    },
  } as const
  await assert.rejects(createEngine(record, { stores: { environment: {} } }), /extra\.keytab/)
})

test('a store of connections logs in by a ticket', async () => {
  const settings = {
    type: 'vault',
    url: address,
    auth_type: 'kerberos',
    principal: `bob@${kdc.realm}`,
    keytab: keytabOfBob,
  } as const
  const found = await findConnection('sales', { stores: [settings], environment: {}, cwd: kdc.folder })
  assert.equal(found.host, 'backend')
})

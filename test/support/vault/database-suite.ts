/** The strategy `vault` over a real PostgreSQL, for the double and for OpenBao. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createEngine, type Engine, type EngineOptions, PoolsmithError } from '../../../src/index.ts'
import { type PostgresServer, startPostgres } from '../postgres.ts'
import { administer, type VaultServer } from './server.ts'
import { appRole } from './suite.ts'

interface Place {
  readonly vault: VaultServer
  readonly server: PostgresServer
  readonly extra: Readonly<Record<string, unknown>>
}

const USERS = 'path "database/creds/*" { capabilities = ["read"] } path "sys/leases/*" { capabilities = ["update"] }'

/** A database engine of Vault on a PostgreSQL. */
export async function startPlace(vault: VaultServer, server: PostgresServer): Promise<Place> {
  await administer(vault, 'POST', 'sys/mounts/database', { type: 'database' })
  await administer(vault, 'POST', 'database/config/sales', {
    plugin_name: 'postgresql-database-plugin',
    connection_url: `postgresql://{{username}}:{{password}}@${server.host}:${server.port}/postgres`,
    username: server.superuser,
    password: server.superuserPassword,
    allowed_roles: '*',
  })
  const statement = `create role "{{name}}" login password '{{password}}' valid until '{{expiration}}' in role app`
  for (const [name, lives] of Object.entries({
    app: { default_ttl: '3s', max_ttl: '7s' },
    long: { default_ttl: '1h', max_ttl: '2h' },
  })) {
    await administer(vault, 'POST', `database/roles/${name}`, {
      db_name: 'sales',
      creation_statements: [statement],
      ...lives,
    })
  }
  await server.sql('create role app nologin; create schema app authorization app')
  return { vault, server, extra: { auth_method: 'vault', vault_addr: vault.address, vault_token: vault.rootToken } }
}

export function engineOf(
  { server, extra }: Place,
  own: Readonly<Record<string, unknown>>,
  options: EngineOptions = {},
) {
  const target = { type: 'postgres', host: server.host, port: server.port, database: 'postgres' } as const
  const all = { pool_size: 3, max_overflow: 0, pool_recycle: 0.2, stores: { environment: {} }, ...options }
  return createEngine({ ...target, extra: { ...extra, ...own } }, all)
}

async function userNow(db: Engine): Promise<string> {
  return (await db.raw('select session_user as name')).rows[0].name
}

async function usersLeft({ server }: Place): Promise<number> {
  return Number(await server.sql("select count(*) from pg_roles where rolname like 'v-%'"))
}

export function databaseSuite(kind: string, start: () => Promise<VaultServer>): void {
  test(`${kind}: a dynamic user is renewed, replaced before its end, and revoked with the pool`, {
    timeout: 120_000,
  }, async () => {
    await using vault = await start()
    await using server = await startPostgres()
    const place = await startPlace(vault, server)
    const renewals = new Map<string, number>()
    const users = new Set<string>()
    const db = await engineOf(
      place,
      { vault_database_role: 'app' },
      {
        on: {
          'connection:opened': ({ identity }) => users.add(identity),
          'credential:refreshed': ({ identity }) => renewals.set(identity, (renewals.get(identity) ?? -1) + 1),
        },
      },
    )
    try {
      const isOver = (): boolean => users.size >= 3 && [...renewals.values()].some((times) => times > 0)
      const worker = async (): Promise<void> => {
        while (!isOver()) {
          await db.raw('select 1')
          await sleep(5)
        }
      }
      await Promise.all(Array.from({ length: 6 }, worker))
    } finally {
      await db.destroy()
    }
    assert.equal(await usersLeft(place), 0)
  })

  test(`${kind}: a token that is lost takes its users along, and others are made`, { timeout: 120_000 }, async () => {
    await using vault = await start()
    await using server = await startPostgres()
    const place = await startPlace(vault, server)
    const rules =
      'path "database/creds/app" { capabilities = ["read"] } path "sys/leases/*" { capabilities = ["update"] }'
    const { roleId, secretId } = await appRole(vault, 'users', {}, rules)
    const { secret_id: id } = await secretId()
    await using db = await engineOf(place, {
      vault_token: null,
      vault_auth: 'approle',
      vault_role_id: roleId,
      vault_secret_id: id,
      vault_database_role: 'app',
    })
    const first = await userNow(db)
    await administer(vault, 'POST', 'auth/token/revoke-accessor', { accessor: await accessorOfRole(vault, 'users') })
    // Vault drops the user some time after the token.
    while ((await usersLeft(place)) > 0) await sleep(20)
    db.pool.invalidate()
    assert.notEqual(await userNow(db), first)
  })

  test(`${kind}: a user is replaced before the token ends with which it was made`, { timeout: 120_000 }, async () => {
    await using vault = await start()
    await using server = await startPostgres()
    const place = await startPlace(vault, server)
    const { roleId, secretId } = await appRole(vault, 'brief', { token_ttl: 4, token_max_ttl: 4 }, USERS)
    const { secret_id: id } = await secretId()
    const users = new Set<string>()
    const login = { vault_token: null, vault_auth: 'approle', vault_role_id: roleId, vault_secret_id: id }
    await using db = await engineOf(
      place,
      { ...login, vault_database_role: 'long' },
      { on: { 'connection:opened': ({ identity }) => users.add(identity) } },
    )
    while (users.size < 3) {
      await db.raw('select 1')
      await sleep(5)
    }
  })

  test(`${kind}: the password of a static role is followed at each rotation`, { timeout: 120_000 }, async () => {
    await using vault = await start()
    await using server = await startPostgres()
    const place = await startPlace(vault, server)
    await server.sql('create role fixed login')
    await administer(vault, 'POST', 'database/static-roles/fixed', {
      db_name: 'sales',
      username: 'fixed',
      rotation_period: '5s',
    })
    let passwords = 0
    await using db = await engineOf(place, { vault_static_role: 'fixed' })
    const verifiers = new Set<unknown>()
    while (verifiers.size < 3) {
      assert.equal(await userNow(db), 'fixed')
      passwords++
      verifiers.add(String(await server.sql("select rolpassword from pg_authid where rolname = 'fixed'")))
    }
    assert.ok(passwords > 0)
  })

  test(`${kind}: what a session creates belongs to the role that it takes`, async () => {
    await using vault = await start()
    await using server = await startPostgres()
    const place = await startPlace(vault, server)
    {
      await using db = await engineOf(place, { vault_database_role: 'app', set_role: 'app' })
      await db.raw('create table app.made (n int)')
    }
    assert.equal(String(await server.sql("select tableowner from pg_tables where tablename = 'made'")), 'app')
    assert.equal(await usersLeft(place), 0)
  })

  test(`${kind}: a role that Vault does not know is refused in its words`, async () => {
    await using vault = await start()
    await using server = await startPostgres()
    const place = await startPlace(vault, server)
    for (const own of [{ vault_database_role: 'none' }, { vault_static_role: 'none' }]) {
      await using db = await engineOf(place, own)
      await assert.rejects(db.raw('select 1'), (error: PoolsmithError) => {
        assert.equal(error.code, 'STORE_REFUSED', error.message)
        assert.match(error.message, /give a database user by database\/(static-)?creds\/none.*unknown.*role/)
        return error instanceof PoolsmithError
      })
    }
  })
}

async function accessorOfRole(vault: VaultServer, role: string): Promise<string> {
  const { data } = await administer(vault, 'GET', 'auth/token/accessors?list=true')
  for (const accessor of (data as { keys: readonly string[] }).keys) {
    const { data: found } = await administer(vault, 'POST', 'auth/token/lookup-accessor', { accessor })
    if ((found as { policies: readonly string[] }).policies.includes(role)) return accessor
  }
  throw new Error(`no token has the policy ${role}`)
}

/** The cost of a secret that is in a store, on a real PostgreSQL and the double of Vault. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Knex } from 'knex'
import { createEngine, type Engine, type EngineOptions } from '../src/index.ts'
import { type PostgresServer, startPostgres } from '../test/support/postgres.ts'
import { startVaultDouble, type VaultDouble } from '../test/support/vault/double.ts'
import { administer } from '../test/support/vault/server.ts'
import { compare, exactly, type Result } from './measure.ts'

const HAND_OUTS = 5000
const MOST_MORE_MICROS = 5
const FIRST = 1000
const ROTATIONS = 5
const ROTATION_MILLIS = 5000

function engineOf(
  server: PostgresServer,
  login: string,
  secret: Readonly<Record<string, unknown>>,
  options: EngineOptions = {},
): Promise<Engine> {
  const { password, ...extra } = secret
  const target = { type: 'postgres', host: server.host, port: server.port, database: 'postgres', login } as const
  const record = { ...target, password: password as string | undefined, extra: { sslmode: 'disable', ...extra } }
  return createEngine(record, { pool_size: 10, max_overflow: 0, stores: { environment: {} }, ...options })
}

async function handOutMicros({ client }: Knex): Promise<number> {
  const begin = performance.now()
  for (let count = 0; count < HAND_OUTS; count++) await client.releaseConnection(await client.acquireConnection())
  return ((performance.now() - begin) * 1000) / HAND_OUTS
}

const inVault = (vault: VaultDouble) => ({
  password_from: 'vault:secret/bench#password',
  vault_addr: vault.address,
  vault_token: vault.rootToken,
})

async function write(vault: VaultDouble, password: string): Promise<void> {
  await administer(vault, 'POST', 'secret/data/bench', { data: { password } })
}

async function acquire(server: PostgresServer, vault: VaultDouble): Promise<Result> {
  await using referenced = await engineOf(server, server.superuser, inVault(vault))
  await using plain = await engineOf(server, server.superuser, { password: server.superuserPassword })
  await handOutMicros(referenced)
  await handOutMicros(plain)
  const micros = await handOutMicros(plain)
  return await compare({
    name: `acquire with a cached reference (bound: ${MOST_MORE_MICROS} us more)`,
    unit: 'us',
    bound: (micros + MOST_MORE_MICROS) / micros,
    rounds: 15,
    ours: () => handOutMicros(referenced),
    peer: () => handOutMicros(plain),
  })
}

async function first(server: PostgresServer, vault: VaultDouble): Promise<Result> {
  await using db = await engineOf(server, server.superuser, inVault(vault))
  vault.asked.length = 0
  await Promise.all(Array.from({ length: FIRST }, () => db.raw('select 1')))
  const reads = vault.asked.filter(({ path }) => path.startsWith('secret/data/')).length
  return exactly(`requests for the secret by ${FIRST} first acquires at once`, '', reads, 1)
}

async function rotating(server: PostgresServer, vault: VaultDouble): Promise<Result> {
  let password = 'bench-0'
  await server.sql(`create role rotated login password '${password}'`)
  await write(vault, password)
  // Sessions are opened all the time, so that each rotation is met.
  await using db = await engineOf(server, 'rotated', { ...inVault(vault), secrets_ttl: 1 }, { pool_recycle: 0.2 })
  let failed = 0
  let isOver = false
  const worker = async (): Promise<void> => {
    while (!isOver) await db.raw('select 1').catch(() => failed++)
  }
  const workers = Array.from({ length: 10 }, worker)
  for (let round = 1; round <= ROTATIONS; round++) {
    await sleep(ROTATION_MILLIS)
    password = `bench-${round}`
    await write(vault, password)
    await server.sql(`alter role rotated password '${password}'`)
  }
  await sleep(ROTATION_MILLIS)
  isOver = true
  await Promise.all(workers)
  return exactly(`failed statements, 10 sessions, the password rotated ${ROTATIONS} times`, '', failed, 0)
}

export async function run(): Promise<Result[]> {
  await using server = await startPostgres()
  await using vault = await startVaultDouble()
  await write(vault, server.superuserPassword)
  return [await acquire(server, vault), await first(server, vault), await rotating(server, vault)]
}

/**
 * Kerberos sessions on Debian's PostgreSQL 15: the speed of rows through GSSAPI encryption compared with psql in the same
 * mode, the logins per second compared with SCRAM on bare pg, and the memory and handles left after ten thousand logins.
 */

import { readdirSync } from 'node:fs'
import type { Socket } from 'node:net'
import { finished } from 'node:stream/promises'
import pg from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import type { GssCredential } from '../src/credentials/credential.ts'
import type { PostgresDriver } from '../src/drivers/postgres/driver.ts'
import { gssCredential, type KerberosPostgres, startKerberosPostgres } from '../test/support/kerberos-postgres.ts'
import { psql } from '../test/support/postgres.ts'
import { driverFor } from '../test/support/postgres-driver.ts'
import { compare, type Result } from './measure.ts'

/** At least 0.9 of the peer's speed. */
const BOUND = 1 / 0.9
const ROUNDS = 7
const LOGINS = 60
const SOAK = 10_000

const SELECTS = {
  'wide rows, 164 MB': "select i, repeat('x', 400) a, repeat('y', 400) b, now() c from generate_series(1, 196000) i",
  'narrow rows, 1 million': 'select i from generate_series(1, 1000000) i',
}

function open(driver: PostgresDriver, credential: GssCredential): Promise<pg.Client> {
  return driver.open(credential, { signal: AbortSignal.timeout(10_000), enter: () => undefined })
}

export async function run(): Promise<Result[]> {
  await using realm = await startKerberosPostgres({
    roles: ['alice', 'scram'],
    rolePassword: 'a p4ssword',
    hba: ['host all alice 127.0.0.1/32 gss include_realm=0', 'host all scram 127.0.0.1/32 scram-sha-256'],
    config: { log_connections: 'off' },
  })
  const cache = await realm.ticket('alice', 'bench')
  const target = { host: 'localhost', port: realm.server.port, login: 'alice', database: 'postgres' }
  const to = (gssencmode: string): PostgresDriver =>
    driverFor(target, { gssencmode, sslmode: 'disable', hostaddr: '127.0.0.1' }).driver
  const credential = gssCredential(cache, 'alice')
  const results: Result[] = []
  for (const [name, select] of Object.entries(SELECTS)) {
    const rows = await megabytes(to('disable'), credential, select)
    const copied = await megabytes(to('disable'), credential, `copy (${select}) to stdout`)
    results.push(
      await compare({
        name: `encrypted select of ${name}, against psql`,
        unit: 'ms/MB',
        bound: BOUND,
        rounds: ROUNDS,
        ours: async () => (await selectMillis(to('require'), credential, select)) / rows,
        peer: async () => (await copyMillis(realm, cache, select)) / copied,
      }),
    )
  }
  results.push(
    await compare({
      name: 'a login by GSSAPI, against SCRAM on pg',
      unit: 'ms',
      bound: BOUND,
      rounds: 15,
      ours: () => gssLoginMillis(to('disable'), credential),
      peer: () => scramLoginMillis(realm),
    }),
  )
  results.push(...(await soak(to('require'), credential)))
  return results
}

/**
 * The bytes that the server sends for a statement, before encryption. A row of a select is a little longer than a line
 * of a copy, and the comparison is in bytes per second.
 */
async function megabytes(driver: PostgresDriver, credential: GssCredential, text: string): Promise<number> {
  const client = await open(driver, credential)
  const { stream } = (client as unknown as { connection: { stream: Socket } }).connection
  const before = stream.bytesRead
  if (text.startsWith('copy')) await finished(client.query(copyTo(text)).resume())
  else await drained(client, text)
  const read = stream.bytesRead - before
  await driver.close(client)
  return read / 1e6
}

/** Runs a select and drops its rows. */
function drained(client: pg.Client, text: string): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    const query = client.query(new pg.Query(text))
    query.on('row', () => undefined)
    query.on('end', () => resolve())
    query.on('error', reject)
  })
}

async function selectMillis(driver: PostgresDriver, credential: GssCredential, text: string): Promise<number> {
  const client = await open(driver, credential)
  const begin = performance.now()
  await drained(client, text)
  const millis = performance.now() - begin
  await driver.close(client)
  return millis
}

/** By psql's own clock, so that its start does not count. */
async function copyMillis({ server }: KerberosPostgres, cache: string, select: string): Promise<number> {
  const where = `host=localhost hostaddr=127.0.0.1 port=${server.port} user=alice dbname=postgres gssencmode=require`
  const copy = `\\copy (${select}) to /dev/null`
  const { stdout, stderr } = await psql(['-c', '\\timing on', '-c', copy, where], { KRB5CCNAME: cache })
  const millis = /Time: ([\d.]+) ms/.exec(stdout)?.[1]
  if (millis === undefined) throw new Error(`psql: ${stdout}${stderr}`)
  return Number(millis)
}

async function gssLoginMillis(driver: PostgresDriver, credential: GssCredential): Promise<number> {
  const begin = performance.now()
  for (let count = 0; count < LOGINS; count++) await driver.close(await open(driver, credential))
  return (performance.now() - begin) / LOGINS
}

async function scramLoginMillis({ server }: KerberosPostgres): Promise<number> {
  const begin = performance.now()
  for (let count = 0; count < LOGINS; count++) {
    const { host, port } = server
    const client = new pg.Client({
      host,
      port,
      user: 'scram',
      password: 'a p4ssword',
      database: 'postgres',
      ssl: false,
    })
    await client.connect()
    await client.end()
  }
  return (performance.now() - begin) / LOGINS
}

/** Many connections in sequence: neither memory nor handles may grow with their number. */
async function soak(driver: PostgresDriver, credential: GssCredential): Promise<Result[]> {
  const some = async (count: number): Promise<void> => {
    const lane = async (): Promise<void> => {
      for (let done = 0; done < count / 4; done++) await driver.close(await open(driver, credential))
    }
    await Promise.all([lane(), lane(), lane(), lane()])
  }
  // Allocators and caches reach their size first.
  await some(2500)
  const before = footprint()
  await some(SOAK)
  const after = footprint()
  const result = (name: string, unit: string, ours: number, allowed: number): Result => ({
    name: `${name} over ${SOAK} encrypted connections`,
    ours,
    peer: allowed,
    unit,
    ratio: Number((ours / allowed).toPrecision(4)),
    bound: 1,
    met: ours <= allowed,
  })
  return [
    result('growth of memory', 'MB', Math.max(0, Math.round((after.bytes - before.bytes) / 1e6)), 32),
    result('growth of open files', 'files', Math.max(0, after.files - before.files), 1),
  ]
}

function footprint(): { readonly bytes: number; readonly files: number } {
  globalThis.gc?.()
  return { bytes: process.memoryUsage().rss, files: readdirSync('/proc/self/fd').length }
}

/**
 * The cost of the engine on SQL Server, compared with bare knex with tedious on the same server: the TDS server test
 * double in a process of its own, which answers from memory. POOLSMITH_BENCH_ROWS says how many rows the longest
 * stream has (default one million).
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Knex } from 'knex'
import { createEngine } from '../src/index.ts'
import { startOpenIdProvider } from '../test/support/openid-provider.ts'
import { createPki } from '../test/support/pki.ts'
import { startPostgres } from '../test/support/postgres.ts'
import { startTdsServer } from '../test/support/tds/server.ts'
import { compare, exactly, type Result } from './measure.ts'
import { logins } from './sqlserver-logins.ts'
import { bareKnex, engine } from './sqlserver-sides.ts'
import type { Task, Took } from './sqlserver-stream.ts'

const HAND_OUTS = 5000
const STATEMENTS = 200
const CONCURRENT = 200
const ROWS = Number(process.env.POOLSMITH_BENCH_ROWS ?? 1_000_000)
const FEWER_ROWS = ROWS / 10
const FAST_ROWS = ROWS / 5
/** The permitted growth of the memory for ten times the rows. */
const MOST_GROWTH_MEGABYTES = 30

const execute = promisify(execFile)
const serverProgram = fileURLToPath(new URL('./sqlserver-server.ts', import.meta.url))
const streamProgram = fileURLToPath(new URL('./sqlserver-stream.ts', import.meta.url))

async function startServer(): Promise<{ readonly port: number } & AsyncDisposable> {
  const child: ChildProcess = spawn(process.execPath, [serverProgram], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  if (child.stdout === null) throw new Error('no output')
  const [line] = await once(createInterface(child.stdout), 'line')
  return {
    port: Number(line),
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit')
      child.stdin?.end()
      await ended
    },
  }
}

async function handOutMicros({ client }: Knex): Promise<number> {
  const begin = performance.now()
  for (let count = 0; count < HAND_OUTS; count++) await client.releaseConnection(await client.acquireConnection())
  return ((performance.now() - begin) * 1000) / HAND_OUTS
}

async function statementMicros(db: Knex): Promise<number> {
  const begin = performance.now()
  for (let count = 0; count < STATEMENTS; count++) await db.raw('select 1 as one')
  return ((performance.now() - begin) * 1000) / STATEMENTS
}

async function small(port: number): Promise<Result[]> {
  const bare = bareKnex(port, 10)
  const db = await engine(port, 10)
  try {
    return [
      await compare({
        name: 'acquire + release',
        unit: 'us',
        bound: 1.1,
        rounds: 50,
        ours: () => handOutMicros(db),
        peer: () => handOutMicros(bare),
      }),
      await compare({
        name: 'one-row query',
        unit: 'us',
        bound: 1.03,
        rounds: 60,
        ours: () => statementMicros(db),
        peer: () => statementMicros(bare),
      }),
    ]
  } finally {
    await db.destroy()
    await bare.destroy()
  }
}

async function stream(task: Task): Promise<Took> {
  const { stdout } = await execute(process.execPath, [streamProgram, JSON.stringify(task)])
  return JSON.parse(stdout) as Took
}

async function streams(port: number): Promise<Result[]> {
  const fast = (side: Task['side']) => async (): Promise<number> =>
    (await stream({ side, port, rows: FAST_ROWS, slow: false })).millis
  const speed = await compare({
    name: `${FAST_ROWS} rows to a fast reader`,
    unit: 'ms',
    bound: 1 / 1.2,
    rounds: 5,
    ours: fast('ours'),
    peer: fast('knex'),
  })
  const growth = async (side: Task['side']): Promise<number> => {
    const few = await stream({ side, port, rows: FEWER_ROWS, slow: true })
    const many = await stream({ side, port, rows: ROWS, slow: true })
    return Math.max(0, Math.round(many.peakMegabytes - few.peakMegabytes))
  }
  const [ours, peer] = [await growth('ours'), await growth('knex')]
  const memory: Result = {
    name: `memory that ${ROWS} rows take more than ${FEWER_ROWS}, slow reader`,
    ours,
    peer,
    unit: 'MB',
    ratio: ours / Math.max(peer, 1),
    bound: MOST_GROWTH_MEGABYTES / Math.max(peer, 1),
    met: ours <= MOST_GROWTH_MEGABYTES,
  }
  return [speed, memory]
}

/** All at once on a cold pool; each holds its connection for one statement. */
async function tokenFetches(): Promise<Result> {
  await using postgres = await startPostgres()
  const certificate = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
  await using provider = await startOpenIdProvider({ app: { secret: 'bench' } })
  const tokens = { keys: provider.keys, issuer: provider.issuer, audience: 'https://database.windows.net' }
  await using server = await startTdsServer({ postgres, tls: certificate, tokens })
  await using db = await createEngine(
    {
      type: 'mssql',
      host: 'localhost',
      port: server.port,
      database: 'master',
      extra: {
        auth_method: 'azure_ad',
        trust_server_certificate: true,
        tenant_id: provider.tenant,
        authority_host: provider.authorityHost,
        disable_instance_discovery: true,
        client_id: 'app',
        client_secret: 'bench',
      },
    },
    { pool_size: 20, max_overflow: 0 },
  )
  await Promise.all(Array.from({ length: CONCURRENT }, () => db.raw('select 1 as one')))
  return exactly(`token fetches for ${CONCURRENT} concurrent acquires`, 'fetches', provider.requests.length, 1)
}

export async function run(): Promise<Result[]> {
  await using server = await startServer()
  return [...(await small(server.port)), await tokenFetches(), ...(await logins()), ...(await streams(server.port))]
}

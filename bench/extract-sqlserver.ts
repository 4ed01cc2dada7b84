/** Extracts from SQL Server, compared with plain tedious, which discards the rows; each on one session. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Request } from 'tedious'
import { extractTable } from '../src/extract/extract-table.ts'
import { readTable } from '../src/extract/read-table.ts'
import { createEngine } from '../src/index.ts'
import { connectStock, sqlLogin } from '../test/support/tds/clients.ts'
import { compare, type Result } from './measure.ts'

const ROUNDS = 7
const BOUND = 1 / 0.8

async function startServer(rows: number): Promise<{ readonly port: number } & AsyncDisposable> {
  const script = fileURLToPath(new URL('./extract-sqlserver-server.ts', import.meta.url))
  const child: ChildProcess = spawn(process.execPath, [script, String(rows)], { stdio: ['pipe', 'pipe', 'inherit'] })
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

/** @param folder where files may be written */
export async function sqlServer(rows: number, folder: string): Promise<Result[]> {
  await using server = await startServer(rows)
  const stock = await connectStock({ port: server.port, authentication: sqlLogin('sa', 'pw') })
  const login = { login: 'sa', password: 'pw', database: 'master', extra: { encrypt: 'false' } }
  await using db = await createEngine(
    { type: 'mssql', host: 'localhost', port: server.port, ...login },
    { pool_size: 1, max_overflow: 0 },
  )
  const timed = async (read: () => Promise<number>): Promise<number> => {
    const started = performance.now()
    const found = await read()
    if (found !== rows) throw new Error(`${found} rows instead of ${rows}`)
    return performance.now() - started
  }
  const discarded = (): Promise<number> =>
    new Promise((resolve, reject) => {
      let count = 0
      const request = new Request('select * from dbo.bench', (error) => (error ? reject(error) : resolve(count)))
      request.on('row', () => count++)
      stock.execSqlBatch(request)
    })
  const batches = async (): Promise<number> => {
    let count = 0
    for await (const batch of readTable(db, { table: 'bench' })) count += batch.numRows
    return count
  }
  const parquet = async (): Promise<number> => {
    const to = join(folder, 'sqlserver')
    const manifest = await extractTable(db, { table: 'bench' }, { to, format: 'parquet' })
    await rm(to, { recursive: true })
    return manifest.rows
  }
  const common = { unit: 'ms', bound: BOUND, rounds: ROUNDS, peer: () => timed(discarded) }
  try {
    return [
      await compare({
        ...common,
        name: `SQL Server: Parquet (zstd) to a file, against bare tedious discarding, ${rows} rows from memory`,
        ours: () => timed(parquet),
      }),
      await compare({
        ...common,
        name: 'SQL Server: Arrow batches, against the same',
        ours: () => timed(batches),
      }),
    ]
  } finally {
    stock.close()
  }
}

/**
 * The cost of an extract, compared with psql's \copy of the same table in the same minutes and with the same work
 * without poolsmith; each in a process of its own. Needs psql.
 *
 * Python and PyPI give two more programs to compare with (extract-python.ts).
 *
 * `--rows N` (or POOLSMITH_BENCH_ROWS) says how many rows, default five million, which takes about six minutes on two
 * cores; `--long` adds four times as many at the end, to show that the memory stays the same.
 */

import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { temporaryFolder } from '../test/support/folder.ts'
import { type PostgresServer, psql, startPostgres } from '../test/support/postgres.ts'
import type { Task, Took } from './extract-process.ts'
import { againstPython } from './extract-python.ts'
import { sqlServer } from './extract-sqlserver.ts'
import { fill, hashes } from './extract-table.ts'
import type { UsersTask } from './extract-users-way.ts'
import { compare, compared, exactly, type Result, type SuiteOptions } from './measure.ts'

const DEFAULT_ROWS = 5_000_000
const LONG = 4
const ROUNDS = 3
const SQL_SERVER_ROWS = 300_000
const PYTHON_ROWS = 2_000_000
/** The memory limit of a process, for any number of rows. */
const MOST_MEGABYTES = 400

const execute = promisify(execFile)
const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

export async function run({ rows: asked, long = false }: SuiteOptions = {}): Promise<Result[]> {
  const rows = asked ?? Number(process.env.POOLSMITH_BENCH_ROWS ?? DEFAULT_ROWS)
  await using folder = await temporaryFolder()
  return [
    ...(await postgres(rows, long, folder.path)),
    ...(await sqlServer(Math.min(rows, SQL_SERVER_ROWS), folder.path)),
  ]
}

async function postgres(rows: number, long: boolean, folder: string): Promise<Result[]> {
  await using server = await startPostgres({ config: { shared_buffers: '1GB', max_wal_size: '8GB' } })
  await server.sql(fill('bench', rows))
  const tenth = Math.ceil(rows / 10)
  await server.sql(fill('bench_tenth', tenth))
  // Read once now: the first reader marks every row as committed, which takes time.
  await server.sql('vacuum')
  const sides = new Sides(server, folder)
  const results = [
    ...(await interleaved(sides, rows)),
    await compare({
      name: `Parquet, against pg-query-stream into hyparquet-writer, ${tenth} rows`,
      unit: 's',
      bound: 1 / 4,
      rounds: ROUNDS,
      ours: () => sides.ours('parquet', 'bench_tenth', tenth).then(({ seconds }) => seconds),
      peer: () => sides.usersWay('bench_tenth', tenth),
    }),
    await sides.readBack(rows),
    ...(await python(sides, server, rows, folder)),
  ]
  if (!long) return results
  await server.sql(fill('bench', rows * LONG, rows))
  await server.sql('vacuum bench')
  const { peakMegabytes } = await sides.ours('parquet', 'bench', rows * LONG)
  return [...results, memory(rows * LONG, peakMegabytes)]
}

/** On fewer rows, because ConnectorX holds all of them in memory. */
async function python(sides: Sides, server: PostgresServer, most: number, folder: string): Promise<Result[]> {
  const rows = Math.min(most, PYTHON_ROWS)
  const table = 'bench_python'
  await server.sql(fill(table, rows))
  await server.sql(`vacuum ${table}`)
  return againstPython({ server, table, rows, folder, ours: (format) => sides.ours(format, table, rows) })
}

/** Runs all sides once in each round, forwards and backwards, so that a busy machine slows all of them alike. */
async function interleaved(sides: Sides, rows: number): Promise<Result[]> {
  const took: Record<string, number[]> = {}
  const note = (name: string, seconds: number): void => {
    took[name] = [...(took[name] ?? []), seconds]
  }
  const peaks: number[] = []
  const steps = [
    async () => note('null', await sides.copy('/dev/null')),
    async () => {
      const { seconds, peakMegabytes } = await sides.ours('parquet', 'bench', rows)
      note('parquet', seconds)
      peaks.push(peakMegabytes)
    },
    async () => {
      const { copied, converted } = await sides.overDisk()
      note('file', copied)
      note('duckdb', copied + converted)
    },
    async () => note('csv', (await sides.ours('csv', 'bench', rows)).seconds),
    async () => note('jsonl', (await sides.ours('jsonl', 'bench', rows)).seconds),
  ]
  for (let round = 0; round < ROUNDS; round++) {
    for (const step of round % 2 === 0 ? steps : steps.toReversed()) await step()
  }
  const against = (name: string, ours: string, peer: string, bound: number): Result =>
    compared({ name: `${name}, ${rows} rows`, unit: 's', bound, ours: took[ours] ?? [], peer: took[peer] ?? [] })
  return [
    against('Parquet (zstd) to a file, against psql \\copy csv to /dev/null', 'parquet', 'null', 0.6),
    against('CSV with bronze columns to a file, against psql \\copy csv to a file', 'csv', 'file', 1),
    against('JSON Lines to a file, against psql \\copy csv to /dev/null', 'jsonl', 'null', 1.1),
    against('Parquet, against psql \\copy to a file and DuckDB to Parquet (zstd)', 'parquet', 'duckdb', 1 / 2),
    memory(rows, Math.max(...peaks)),
  ]
}

/** The sides of the comparison: poolsmith, and the same work without it. */
class Sides {
  readonly #server: PostgresServer
  readonly #folder: string

  constructor(server: PostgresServer, folder: string) {
    this.#server = server
    this.#folder = folder
  }

  /** @param keep checks the file before it is deleted */
  async ours(
    format: Task['format'],
    table: string,
    rows: number,
    keep: (took: Took) => Promise<void> = async () => undefined,
  ): Promise<Took> {
    const { host, port, superuser: login, superuserPassword: password } = this.#server
    const to = join(this.#folder, 'out')
    const task: Task = {
      connection: { type: 'postgres', host, port, login, password, database: 'postgres' },
      table,
      to,
      format,
    }
    const { stdout } = await execute(process.execPath, [script('./extract-process.ts'), JSON.stringify(task)])
    const took = JSON.parse(stdout) as Took
    if (took.rows !== rows) throw new Error(`${took.rows} rows instead of ${rows}`)
    await keep(took)
    await rm(to, { recursive: true, force: true })
    return took
  }

  async copy(to: string): Promise<number> {
    const { host, port, superuser, superuserPassword } = this.#server
    const target = ['-h', host, '-p', String(port), '-U', superuser, '-d', 'postgres']
    const started = performance.now()
    const { code, stderr } = await psql([...target, '-c', `\\copy bench to ${to} csv`], {
      PGPASSWORD: superuserPassword,
    })
    if (code !== 0) throw new Error(stderr)
    return (performance.now() - started) / 1000
  }

  async overDisk(): Promise<{ readonly copied: number; readonly converted: number }> {
    const [from, to] = [join(this.#folder, 'copy.csv'), join(this.#folder, 'copy.parquet')]
    const copied = await this.copy(from)
    const { stdout } = await execute(process.execPath, [script('./extract-duckdb.ts'), from, to])
    await Promise.all([rm(from), rm(to)])
    return { copied, converted: Number(stdout) }
  }

  async usersWay(table: string, rows: number): Promise<number> {
    const { host, port, superuser: user, superuserPassword: password } = this.#server
    const to = join(this.#folder, 'users.parquet')
    const task: UsersTask = { connection: { host, port, user, password, database: 'postgres' }, table, to }
    const { stdout } = await execute(process.execPath, [script('./extract-users-way.ts'), JSON.stringify(task)])
    const took = JSON.parse(stdout) as Took
    if (took.rows !== rows) throw new Error(`${took.rows} rows instead of ${rows}`)
    await rm(to)
    return took.seconds
  }

  /** Every value as DuckDB reads it against the server's own text of it. */
  async readBack(rows: number): Promise<Result> {
    let same = 0
    await this.ours('parquet', 'bench', rows, async ({ file }) => {
      const { server, reader } = await hashes((text) => this.#server.sql(text), file)
      if (server === reader) same = rows
      else console.error(`The server says ${server}, DuckDB reads ${reader}.`)
    })
    return exactly("Rows that DuckDB reads back with the hash of the server's own text", 'rows', same, rows)
  }
}

function memory(rows: number, megabytes: number): Result {
  const ours = Math.round(megabytes)
  const ratio = rounded(ours / MOST_MEGABYTES)
  const name = `Peak memory of Parquet, ${rows} rows`
  return { name, ours, peer: MOST_MEGABYTES, unit: 'MB', ratio, bound: 1, met: ratio <= 1 }
}

function rounded(value: number): number {
  return Number(value.toPrecision(4))
}

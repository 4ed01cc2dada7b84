/**
 * What it costs to take a table out, against psql's \copy of the same table in the same minute, each in a process of
 * its own. Rows of twelve mixed columns; POOLSMITH_BENCH_ROWS says how many (default one million). Needs psql.
 */

import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { temporaryFolder } from '../test/support/folder.ts'
import { psql, startPostgres } from '../test/support/postgres.ts'
import type { Task, Took } from './extract-process.ts'
import { compare, median, type Result } from './measure.ts'

const ROWS = Number(process.env.POOLSMITH_BENCH_ROWS ?? 1_000_000)
const ROUNDS = 3
/** What a process may take, whatever the number of rows. */
const MOST_MEGABYTES = 400

const TABLE = `
create table bench (id int, big bigint, small smallint, flag boolean, ratio float8, amount numeric(12,2), day date,
  at timestamptz, carrier text, hash text, note text, uid uuid);
insert into bench select g, g::int8 * 1000003, g % 32000, g % 7 = 0, g * 0.37, (g % 10000000) / 100.0,
  date '2001-01-01' + g % 9000, timestamptz '2001-01-01 00:00:00+00' + g * interval '1.000017 seconds',
  'carrier ' || g % 20, md5(g::text), case when g % 10 > 0 then 'note number ' || g end, md5(g::text)::uuid
from generate_series(1, ${ROWS}) g;
analyze bench`

const execute = promisify(execFile)
const child = fileURLToPath(new URL('./extract-process.ts', import.meta.url))

export async function run(): Promise<Result[]> {
  await using server = await startPostgres({ config: { shared_buffers: '1GB', max_wal_size: '8GB' } })
  await server.sql(TABLE)
  // Once now, so that the first reader is not the one that marks every row as committed.
  await server.sql('vacuum bench')
  await using folder = await temporaryFolder()
  const { host, port, superuser: login, superuserPassword: password } = server
  const connection = { type: 'postgres', host, port, login, password, database: 'postgres' }
  const peaks: number[] = []

  const ours = async (format: Task['format']): Promise<number> => {
    const task: Task = { connection, table: 'bench', to: join(folder.path, 'out'), format }
    const { stdout } = await execute(process.execPath, [child, JSON.stringify(task)])
    const took = JSON.parse(stdout) as Took
    if (took.rows !== ROWS) throw new Error(`${took.rows} rows instead of ${ROWS}`)
    if (format === 'parquet') peaks.push(took.peakMegabytes)
    await rm(join(folder.path, 'out'), { recursive: true, force: true })
    return took.seconds
  }
  const copy = async (to: string): Promise<number> => {
    const started = performance.now()
    const target = ['-h', host, '-p', String(port), '-U', login, '-d', 'postgres']
    const { code, stderr } = await psql([...target, '-c', `\\copy bench to ${to} csv`], { PGPASSWORD: password })
    if (code !== 0) throw new Error(stderr)
    return (performance.now() - started) / 1000
  }
  const nothing = (): Promise<number> => copy('/dev/null')
  const file = (): Promise<number> => copy(join(folder.path, 'copy.csv'))
  const inSeconds = { unit: 's', rounds: ROUNDS }

  const results = [
    await compare({
      ...inSeconds,
      name: 'Parquet (zstd) to a file, against psql \\copy csv to /dev/null',
      bound: 1 / 0.7,
      ours: () => ours('parquet'),
      peer: nothing,
    }),
    await compare({
      ...inSeconds,
      name: 'CSV with bronze columns to a file, against psql \\copy csv to a file',
      bound: 1 / 0.9,
      ours: () => ours('csv'),
      peer: file,
    }),
    await compare({
      ...inSeconds,
      name: 'JSON Lines to a file, against psql \\copy csv to /dev/null',
      bound: 1 / 0.4,
      ours: () => ours('jsonl'),
      peer: nothing,
    }),
  ]
  const peak = Math.round(median(peaks))
  const ratio = Number((peak / MOST_MEGABYTES).toPrecision(4))
  const memory = { name: `Peak memory of Parquet, ${ROWS} rows`, ours: peak, peer: MOST_MEGABYTES, unit: 'MB' }
  return [...results, { ...memory, ratio, bound: 1, met: ratio <= 1 }]
}

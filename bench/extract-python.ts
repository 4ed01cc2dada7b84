/**
 * The same extract by the Python programs that read PostgreSQL fastest: ConnectorX and ADBC, with pyarrow writing the
 * same Parquet. They are fetched from PyPI once, into the cache of `npm run test:interop`; where that fails, the results
 * say what is missing.
 */

import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cacheFolder, fetchPins, pinsIn } from '../scripts/interop/pins.ts'
import { findTools } from '../scripts/interop/tools.ts'
import type { PostgresServer } from '../test/support/postgres.ts'
import type { Took } from './extract-process.ts'
import { compared, missing, type Result } from './measure.ts'

const FOLDER = join(import.meta.dirname, 'python')
const ROUNDS = 5
const READERS = { connectorx: 'ConnectorX', adbc: 'ADBC' } as const

type Reader = keyof typeof READERS
type Measured = Pick<Took, 'seconds' | 'processorSeconds' | 'rows'>

export interface PythonTask {
  readonly server: PostgresServer
  readonly table: string
  readonly rows: number
  readonly folder: string
  readonly ours: (format: 'parquet' | 'batches') => Promise<Measured>
}

/** @throws with what is missing */
function environment(): string {
  const [pin] = pinsIn(FOLDER)
  const { found, missing: absent } = findTools(['python'])
  if (pin === undefined || found.python === undefined) throw new Error(absent.join(', and '))
  return fetchPins(pin.files, 'python', found.python, join(cacheFolder(), 'bench'), (sentence) => {
    throw new Error(sentence)
  })
}

export async function againstPython(task: PythonTask): Promise<Result[]> {
  try {
    return await measured(task, join(environment(), 'bin', 'python'))
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return [missing('Parquet, against ConnectorX and ADBC with pyarrow', why)]
  }
}

async function measured({ server, table, rows, folder, ours }: PythonTask, python: string): Promise<Result[]> {
  const { host, port, superuser, superuserPassword } = server
  const uri = `postgresql://${superuser}:${encodeURIComponent(superuserPassword)}@${host}:${port}/postgres`
  const theirs = async (reader: Reader, to: string[]): Promise<Measured> => {
    const args = [join(FOLDER, 'extract.py'), reader, uri, `select * from ${table}`, ...to]
    const { stdout } = await promisify(execFile)(python, args)
    return JSON.parse(stdout) as Measured
  }
  const file = join(folder, 'python.parquet')
  const sides = {
    parquet: () => ours('parquet'),
    batches: () => ours('batches'),
    connectorx: () => theirs('connectorx', [file]),
    adbc: () => theirs('adbc', [file]),
    adbcBatches: () => theirs('adbc', []),
  }
  type Side = keyof typeof sides
  const took = new Map<Side, Measured[]>()
  const names = Object.keys(sides) as Side[]
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const one = await sides[name]()
      if (one.rows !== rows) throw new Error(`${name} read ${one.rows} rows instead of ${rows}`)
      took.set(name, [...(took.get(name) ?? []), one])
    }
  }
  await rm(file, { force: true })
  const against = (
    name: string,
    [mine, peer]: readonly [Side, Side],
    figure: 'seconds' | 'processorSeconds',
    bound: number,
  ): Result => {
    const of = (side: Side): number[] => (took.get(side) ?? []).map((one) => one[figure])
    return compared({ name: `${name}, ${rows} rows`, unit: 's', bound, ours: of(mine), peer: of(peer) })
  }
  return [
    ...(['connectorx', 'adbc'] as const).flatMap((peer) => [
      against(`Parquet (zstd), against ${READERS[peer]} and pyarrow`, ['parquet', peer], 'seconds', 0.6),
      against(`processor time of the same, against ${READERS[peer]}`, ['parquet', peer], 'processorSeconds', 1),
    ]),
    against('processor time of Arrow batches, against ADBC', ['batches', 'adbcBatches'], 'processorSeconds', 1.5),
  ]
}

/**
 * `npm run demo`: a real PostgreSQL, a real table, two ways to log in, and the table as a Parquet file.
 *
 * It needs nothing but this repository's dependencies, and leaves nothing behind: no process and no file, also when
 * it is interrupted or fails.
 */

import { writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type AsyncBuffer, asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { bytes, count } from '../src/cli/layout.ts'
import { ProgressBar } from '../src/cli/progress.ts'
import { Screen } from '../src/cli/terminal.ts'
import { extractTable } from '../src/extract/index.ts'
import { type ConnectionObject, createEngine, describeConnection, type Engine } from '../src/index.ts'
import { temporaryFolder } from '../test/support/folder.ts'
import { createPki } from '../test/support/pki.ts'
import { type PostgresServer, startPostgres } from '../test/support/postgres.ts'

const FLIGHTS = join(import.meta.dirname, '..', 'node_modules', 'vega-datasets', 'data', 'flights-3m.parquet')
const DATABASE = 'airline'

interface Flight {
  readonly date: Date
  readonly delay: bigint
  readonly distance: bigint
  readonly origin: string
  readonly destination: string
}

const screen = new Screen(process.stdout)
const abort = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => abort.abort())

function title(text: string): void {
  screen.line(`\n${screen.style('bold', text)}`)
}

function fact(text: string): void {
  abort.signal.throwIfAborted()
  screen.line(`  ${text}`)
}

/** The rows of a Parquet file, a row group at a time. */
async function* rowGroups<Row>(file: AsyncBuffer, columns?: string[]): AsyncGenerator<Row[]> {
  const metadata = await parquetMetadataAsync(file)
  let rowStart = 0
  for (const group of metadata.row_groups) {
    abort.signal.throwIfAborted()
    const rowEnd = rowStart + Number(group.num_rows)
    const options = { file, metadata, compressors, rowStart, rowEnd }
    // The reader's types do not include those of the columns.
    yield (await parquetReadObjects(columns === undefined ? options : { ...options, columns })) as Row[]
    rowStart = rowEnd
  }
}

/** The table's rows in the format of COPY. */
async function* copyLines(bar: ProgressBar, estimatedRows: number): AsyncGenerator<string> {
  const started = performance.now()
  let rows = 0
  for await (const group of rowGroups<Flight>(await asyncBufferFromFile(FLIGHTS))) {
    let text = ''
    for (const { date, delay, distance, origin, destination } of group) {
      text += `${date.toISOString()}\t${delay}\t${distance}\t${origin}\t${destination}\n`
      if (text.length < 1 << 20) continue
      yield text
      text = ''
    }
    yield text
    rows += group.length
    bar.update({ rows, rowsPerSecond: (rows * 1000) / (performance.now() - started), estimatedRows })
  }
}

async function loadFlights(server: PostgresServer): Promise<number> {
  const file = await asyncBufferFromFile(FLIGHTS)
  const totalRows = Number((await parquetMetadataAsync(file)).num_rows)
  await server.sql(
    `
    create table flights (departed timestamp, delay integer, distance integer, origin text, destination text);
    grant select on flights to public`,
    DATABASE,
  )
  const client = new pg.Client({
    host: server.socketDirectory,
    port: server.port,
    user: server.superuser,
    database: DATABASE,
  })
  // A server that is stopped while we load fails the COPY; the event says nothing new.
  client.on('error', () => undefined)
  await client.connect()
  const bar = new ProgressBar(screen, '  loading')
  try {
    const stream = client.query(copyFrom('copy flights from stdin'))
    await pipeline(Readable.from(copyLines(bar, totalRows)), stream, { signal: abort.signal })
  } finally {
    bar.clear()
    await client.end()
  }
  return totalRows
}

/** The user as the server reports it, and the method of the login. */
async function showSession(db: Engine): Promise<void> {
  const [session] = await db('pg_stat_ssl')
    .where('pid', db.raw('pg_backend_pid()'))
    .select(db.raw('current_user as role'), db.raw('system_user as proven_as'), 'version', 'cipher', 'client_dn')
  fact(`role          ${session.role}`)
  fact(`authenticated ${session.proven_as}`)
  fact(`encryption    ${session.version}, ${session.cipher}`)
  fact(`certificate   ${session.client_dn ?? 'none shown by the client'}`)
}

/** Reads the file with a reader of another maker and compares it with the table on the server. */
async function compare(server: PostgresServer, path: string): Promise<void> {
  const file = await asyncBufferFromFile(path)
  const totals = { rows: 0, delay: 0, distance: 0 }
  for await (const rows of rowGroups<{ delay: number; distance: number }>(file, ['delay', 'distance'])) {
    totals.rows += rows.length
    for (const row of rows) {
      totals.delay += row.delay
      totals.distance += row.distance
    }
  }
  const wanted = await server.sql('select count(*), sum(delay), sum(distance) from flights', DATABASE)
  const read = Object.values(totals).join('|')
  if (read !== wanted) throw new Error(`The file says ${read}, the server ${wanted}.`)
  fact(`read back     ${count(totals.rows)} rows; their sums of delay and distance are the server's`)
}

async function demo(): Promise<void> {
  const started = performance.now()
  title('A PostgreSQL of our own, with TLS')
  await using folder = await temporaryFolder()
  const pki = await createPki()
  const serverPair = await pki.issue({ commonName: 'localhost', dns: ['localhost'], ip: ['127.0.0.1'] })
  const clientPair = await pki.issue({ commonName: 'reporting', client: true })
  await using server = await startPostgres({
    tls: { cert: serverPair.cert, key: serverPair.key, ca: pki.ca },
    hba: ['hostssl airline reporting 127.0.0.1/32 cert', 'hostssl airline etl 127.0.0.1/32 scram-sha-256'],
    config: { max_wal_size: '4GB', shared_buffers: '256MB' },
  })
  const file = async (name: string, content: string): Promise<string> => {
    const path = join(folder.path, name)
    await writeFile(path, content, { mode: 0o600 })
    return path
  }
  const sslrootcert = await file('ca.crt', pki.ca)
  await server.sql(`create role etl login password 'correct horse'; create role reporting login`)
  await server.sql(`create database ${DATABASE}`)
  fact(`PostgreSQL ${await server.sql('show server_version')} at ${server.host}:${server.port}`)
  for (const rule of (
    await server.sql(
      "select type, array_to_string(user_name, ','), auth_method from pg_hba_file_rules where type = 'hostssl'",
    )
  ).split('\n')) {
    fact(`its rule      ${rule.replaceAll('|', '  ')}`)
  }

  title('A real table: US flights of 2001')
  const loading = performance.now()
  const rows = await loadFlights(server)
  fact(`${count(rows)} rows loaded in ${((performance.now() - loading) / 1000).toFixed(1)} s`)

  const record = { type: 'postgres', host: server.host, port: server.port, database: DATABASE }
  const byPassword: ConnectionObject = {
    ...record,
    login: 'etl',
    password: 'correct horse',
    extra: { sslmode: 'verify-full', sslrootcert },
  }
  const byCertificate: ConnectionObject = {
    ...record,
    login: 'reporting',
    extra: {
      auth_method: 'ssl_cert',
      sslrootcert,
      sslcert: await file('reporting.crt', clientPair.cert),
      sslkey: await file('reporting.key', clientPair.key),
    },
  }
  for (const [name, connection] of Object.entries({
    'A password (SCRAM)': byPassword,
    'A client certificate': byCertificate,
  })) {
    title(`${name}: what the server sees`)
    await using db = await createEngine(connection)
    fact(`connection    ${describeConnection(db.connection)}`)
    await showSession(db)
  }

  title('The table as Parquet')
  await using db = await createEngine(byCertificate)
  const bar = new ProgressBar(screen, '  extracting')
  const manifest = await extractTable(
    db,
    { schema: 'public', table: 'flights' },
    {
      to: join(folder.path, 'bronze'),
      format: 'parquet',
      source: DATABASE,
      signal: abort.signal,
      onProgress: (progress) => bar.update(progress),
    },
  ).finally(() => bar.clear())
  const seconds = (Date.parse(manifest.finishedAt) - Date.parse(manifest.startedAt)) / 1000
  fact(`${count(manifest.rows)} rows, ${bytes(manifest.bytes)} in ${seconds.toFixed(1)} s`)
  for (const file of manifest.files) {
    fact(`written       ${relative(folder.path, join(manifest.folder, file.name))}`)
    await compare(server, join(manifest.folder, file.name))
  }

  screen.line(
    `\nAll of it in ${((performance.now() - started) / 1000).toFixed(1)} s; server, table and files are gone again.`,
  )
}

try {
  await demo()
} catch (error) {
  if (!abort.signal.aborted) throw error
  console.error('\nInterrupted; everything is tidied up.')
  process.exitCode = 130
}

/** Extracts of PostGIS' own types: exact in every format, or with a note that says what to write. */

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Knex } from 'knex'
import type { EXTRACT_FORMATS } from '../../../src/extract/formats.ts'
import { extractTable, type Manifest } from '../../../src/extract/index.ts'
import { columnOf, failureOf, superuserEngine } from '../../support/extract.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { startPostgres } from '../../support/postgres.ts'

const stack = new AsyncDisposableStack()
const folder = stack.use(await temporaryFolder())
const server = stack.use(await startPostgres({ flavor: 'debian' }))
await server.sql(`create extension postgis; create extension postgis_raster;
  create table places (
    id int primary key, shape geometry, spot geometry(PointZ, 4326), area geography, tile raster);
  insert into places values
    (1, 'SRID=4326;POINT(0.1234567890123456 -89.99999999999999)', 'SRID=4326;POINT Z(1e-300 2 3)',
      'POINT(13.377704 52.516275)', st_addband(st_makeemptyraster(2, 2, 0, 0, 1), '8BUI'::text, 7)),
    (2, 'POLYGON EMPTY', null, 'LINESTRING(0 0,179.99999999999997 1)', null),
    (3, 'CURVEPOLYGON(CIRCULARSTRING(0 0,4 0,4 4,0 4,0 0))', null, null, null),
    (4, null, null, null, null)`)
const db = await superuserEngine(server)
stack.defer(() => db.destroy())
after(() => stack.disposeAsync())

const COLUMNS = ['shape', 'spot', 'area', 'tile']

/** The values as PostGIS itself prints them: hexadecimal EWKB, with every digit. */
async function printed(column: string): Promise<string> {
  return server.sql(`select coalesce(${column}::text, '') from places order by id`)
}

async function extracted(format: (typeof EXTRACT_FORMATS)[number], asText: readonly string[] = []): Promise<Manifest> {
  const manifest = await extractTable(db, { table: 'places' }, { to: folder.path, format, asText })
  assert.equal(manifest.rows, 4)
  return manifest
}

for (const [format, asText] of [
  ['csv', []],
  ['parquet', []],
  ['jsonl', COLUMNS],
] as const) {
  test(`${format}: values of PostGIS are exact`, async () => {
    const manifest = await extracted(format, asText)
    for (const column of COLUMNS) {
      const values = (await columnOf(manifest, column)).map((value) => (value === 'null' ? '' : value))
      assert.equal(values.join('\n'), await printed(column), column)
    }
  })
}

test('jsonl: the columns that PostGIS writes as GeoJSON have a note, and asText is its remedy', async () => {
  const where = (query: Knex.QueryBuilder) => query.whereNot({ id: 3 })
  const { columns } = await extractTable(db, { table: 'places' }, { to: folder.path, format: 'jsonl', where })
  const noted = columns.filter(({ note }) => /by the cast of the type.*asText is exact/.test(note ?? ''))
  assert.deepEqual(
    noted.map(({ name }) => name),
    ['shape', 'spot'],
  )
})

test('jsonl: a geometry for which PostGIS has no GeoJSON is refused, with the remedy', async () => {
  const { hint } = await failureOf(extracted('jsonl'))
  assert.match(hint ?? '', /GeoJSON.*asText/)
})

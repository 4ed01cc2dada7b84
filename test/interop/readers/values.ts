/** The tables that the foreign readers get: every type with its extremes, and the server's own word on each value. */

import type { PostgresServer } from '../../support/postgres.ts'

/** The form in which values are compared; read_files.py has the same words. */
export type Kind =
  | 'int'
  | 'decimal'
  | 'float4'
  | 'float8'
  | 'bool'
  | 'text'
  | 'bytes'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'int[]'
  | 'text[]'

export type Value = string | null | readonly Value[]
/** The values of each column, in the order of the rows. */
export type Columns = Readonly<Record<string, readonly Value[]>>

interface Column {
  readonly type: string
  readonly kind: Kind
  /** SQL expressions; NULL is added. */
  readonly values: readonly string[]
}

const nines = (count: number): string => '9'.repeat(count)

/** The arguments of every reader. */
const PLAIN: Readonly<Record<string, Column>> = {
  small: { type: 'smallint', kind: 'int', values: ['-32768', '-1', '0', '32767'] },
  whole: { type: 'integer', kind: 'int', values: ['-2147483648', '-1', '0', '2147483647'] },
  big: {
    type: 'bigint',
    kind: 'int',
    values: ['-9223372036854775808', '-9007199254740993', '4294967296', '9007199254740993', '9223372036854775807'],
  },
  truth: { type: 'boolean', kind: 'bool', values: ['true', 'false'] },
  single: { type: 'real', kind: 'float4', values: ["'Infinity'", "'-0'", '1.1', '3.4028235e38', '1e-45', '16777217'] },
  double: {
    type: 'float8',
    kind: 'float8',
    values: ["'-Infinity'", "'-0'", '0.1', '1.7976931348623157e308', '5e-324', '1e15', "'NaN'"],
  },
  words: {
    type: 'text',
    kind: 'text',
    values: [
      "''",
      "'null'",
      "'NULL'",
      `'Ärger 🦆 "q" ,;'`,
      "e'a\\nb\\tc\\r\\\\'",
      "repeat('é', 5000)",
      "'\\N'",
      "' x '",
      "'007'",
    ],
  },
  raw: { type: 'bytea', kind: 'bytes', values: ["'\\x'", "'\\x00ff'", "'\\x'::bytea || repeat('é', 200)::bytea"] },
  id: {
    type: 'uuid',
    kind: 'text',
    values: ["'00000000-0000-0000-0000-000000000000'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
  },
  document: { type: 'jsonb', kind: 'text', values: [`'{"b":1.10,"a":12345678901234567890.123}'`, "'null'", "'[]'"] },
  mood: { type: 'mood', kind: 'text', values: ["'sad'", "'so, so'", "'Glück'"] },
  day: {
    type: 'date',
    kind: 'date',
    values: ["'0001-01-01'", "'1582-10-04'", "'1582-10-15'", "'1969-12-31'", "'2000-02-29'", "'9999-12-31'"],
  },
  local: {
    type: 'timestamp',
    kind: 'timestamp',
    values: [
      "'0001-01-01 00:00:00.000001'",
      "'1582-10-10 12:00'",
      "'1969-12-31 23:59:59.999999'",
      "'2024-03-31 02:30:00.123456'",
      "'9999-12-31 23:59:59.999999'",
    ],
  },
  instant: {
    type: 'timestamptz',
    kind: 'timestamp',
    values: [
      "'0001-01-01 00:00:00.000001+00'",
      "'1970-01-01 00:00:00+00'",
      "'2024-03-31 02:30:00.123456+02'",
      "'9999-12-31 23:59:59.999999+00'",
    ],
  },
  cents: { type: 'numeric(9,2)', kind: 'decimal', values: ['-9999999.99', '-0.01', '0', '9999999.99'] },
  pieces: { type: 'numeric(18,4)', kind: 'decimal', values: ['-99999999999999.9999', '0.0001', '99999999999999.9999'] },
  exact: {
    type: 'numeric(38,10)',
    kind: 'decimal',
    values: [`${nines(28)}.${nines(10)}`, `-${nines(28)}.${nines(10)}`, '-0.0000000001', '0', '4294967296'],
  },
  counts: { type: 'integer[]', kind: 'int[]', values: ["'{}'", "'{1,NULL,-3}'", "'{2147483647}'"] },
  tags: { type: 'text[]', kind: 'text[]', values: [`'{"a,b","\\"",NULL,"NULL",""}'`, "'{}'"] },
}

/** A type that Parquet and Arrow have and some readers refuse. */
const TIME: Readonly<Record<string, Column>> = {
  clock: { type: 'time', kind: 'time', values: ["'00:00'", "'12:34:56.000001'", "'23:59:59.999999'"] },
}

/** Beyond the years of Python's, Java's and SQL's calendars. */
const FAR: Readonly<Record<string, Column>> = {
  day: { type: 'date', kind: 'date', values: ["'4713-01-01 BC'", "'5874897-12-31'", "'infinity'", "'-infinity'"] },
  local: {
    type: 'timestamp',
    kind: 'timestamp',
    values: ["'4713-01-01 BC'", "'294247-01-10 04:00:54.775806'", "'infinity'", "'-infinity'"],
  },
}

export const TABLES = { plain: PLAIN, time: TIME, far: FAR } as const
export type TableName = keyof typeof TABLES

export function kindsOf(table: TableName, without: readonly string[] = []): Readonly<Record<string, Kind>> {
  const columns = Object.entries<Column>(TABLES[table]).filter(([name]) => !without.includes(name))
  return Object.fromEntries(columns.map(([name, { kind }]) => [name, kind]))
}

const MICROS = `(extract(epoch from date_trunc('second', c))::numeric * 1000000 + extract(microseconds from c)::int % 1000000)::bigint::text`
const ENDLESS = (largest: string, least: string): string =>
  `case when c > 'epoch' then '${largest}' else '${least}' end`

/** SQL for the compared form of a column `c`. */
const FORMS: Readonly<Record<Kind, string>> = {
  int: 'to_json(c::text)',
  decimal: 'to_json(c::text)',
  float4: `to_json(case when c = 'NaN' then 'nan' else encode(float4send(c), 'hex') end)`,
  float8: `to_json(case when c = 'NaN' then 'nan' else encode(float8send(c), 'hex') end)`,
  bool: 'to_json(c::text)',
  text: 'to_json(c::text)',
  bytes: `to_json(encode(c, 'hex'))`,
  date: `to_json(case when isfinite(c) then (c - date '1970-01-01')::text else ${ENDLESS('2147483647', '-2147483647')} end)`,
  time: 'to_json(trunc(extract(epoch from c)::numeric * 1000000)::text)',
  timestamp: `to_json(case when isfinite(c) then ${MICROS} else ${ENDLESS('9223372036854775807', '-9223372036854775807')} end)`,
  'int[]': 'to_json(c::text[])',
  'text[]': 'to_json(c)',
}

/** Columns of `plain` that are text in JSON. */
export const AS_TEXT: Readonly<Record<string, Kind>> = { raw: 'text', day: 'text', local: 'text', instant: 'text' }

function formOf(format: 'columns' | 'csv' | 'json', name: string, kind: Kind): string {
  if (format === 'csv') return kind === 'bool' ? "to_json(case when c then 't' else 'f' end)" : 'to_json(c::text)'
  return format === 'json' && name in AS_TEXT ? 'to_json(c)' : FORMS[kind]
}

export async function makeTables(server: PostgresServer): Promise<void> {
  await server.sql("create type mood as enum ('sad', 'so, so', 'Glück')")
  for (const [table, columns] of Object.entries<Readonly<Record<string, Column>>>(TABLES)) {
    const declared = Object.entries(columns).map(([name, { type }]) => `${name} ${type}`)
    const count = Math.max(...Object.values(columns).map(({ values }) => values.length)) + 1
    const rows = Array.from({ length: count }, (_, row) => {
      const fields = Object.values(columns).map(({ type, values }, column) => {
        // NULL moves through the rows, so that it is not only at the end.
        const value = values[(row + column) % (values.length + 1)]
        return value === undefined ? 'null' : `(${value})::${type}`
      })
      return `(${fields})`
    })
    await server.sql(`create table ${table} (${declared}); insert into ${table} values ${rows}`)
  }
}

/** The values of a table as the server gives them: in the compared form, as its own text, or as JSON has them. */
export async function valuesIn(
  server: PostgresServer,
  table: TableName,
  format: 'columns' | 'csv' | 'json' = 'columns',
): Promise<Columns> {
  const entries = Object.entries<Column>(TABLES[table]).map(async ([name, { kind }]) => {
    const form = formOf(format, name, kind)
    const text = await server.sql(`select json_agg(case when c is not null then ${form} end) from
      (select ${name} as c from ${table} order by ctid) t`)
    return [name, JSON.parse(text) as Value[]] as const
  })
  return Object.fromEntries(await Promise.all(entries))
}

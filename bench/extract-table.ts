/** The table that is extracted: twelve mixed columns, made by the server, and its rows as text. */

/** Makes a table `name` of so many rows, or adds the rows after the first `from`. */
export function fill(name: string, rows: number, from = 0): string {
  const create = `create table ${name} (id int, big bigint, small smallint, flag boolean, ratio float8,
    amount numeric(12,2), day date, at timestamptz, carrier text, hash text, note text, uid uuid);`
  return `${from === 0 ? create : ''}
    insert into ${name} select g, g::int8 * 1000003, g % 32000, g % 7 = 0, g * 0.37, (g % 10000000) / 100.0,
      date '2001-01-01' + g % 9000, timestamptz '2001-01-01 00:00:00+00' + g * interval '1.000017 seconds',
      'carrier ' || g % 20, md5(g::text), case when g % 10 > 0 then 'note number ' || g end, md5(g::text)::uuid
    from generate_series(${from + 1}, ${rows}) g;
    analyze ${name}`
}

/** For a server with SQL Server's types that PostgreSQL lacks, as the test double creates them. */
export function fillSqlServer(rows: number): string {
  return `create table dbo.bench (id int, big bigint, small smallint, flag boolean, ratio float8, amount numeric(12,2),
      day date, at mssql.datetime2(7), carrier varchar(30), hash varchar(32), note varchar(60), uid uuid);
    insert into dbo.bench select g, g::int8 * 1000003, g % 32000, g % 7 = 0, g * 0.37, (g % 10000000) / 100.0,
      date '2001-01-01' + g % 9000,
      (timestamp '2001-01-01 00:00:00' + g * interval '1.000017 seconds')::text::mssql.datetime2(7),
      'carrier ' || g % 20, md5(g::text), case when g % 10 > 0 then 'note number ' || g end, md5(g::text)::uuid
    from generate_series(1, ${rows}) g`
}

/** Rows, and the sum of the first 60 bits of an MD5 over each row's text: in any order of rows it is the same. */
const SERVER_HASH = `set timezone = 'UTC';
select count(*) || ' ' || sum(('x' || substr(md5(concat_ws('|', id, big, small, flag::text, ratio, amount, day, at,
  carrier, hash, coalesce(note, 'NULL'), uid)), 1, 15))::bit(60)::int8) from bench`

/** The same in DuckDB, which shows whole floating-point numbers with one digit more. */
const readerHash = (file: string): string => `
select count(*) || ' ' || sum(('0x' || substr(md5(concat_ws('|', id, big, small, flag::varchar,
  regexp_replace(ratio::varchar, '\\.0$', ''), amount, "day", "at", carrier, hash, coalesce(note, 'NULL'), uid)), 1, 15)
  )::ubigint) from read_parquet('${file}')`

export interface Hashes {
  readonly server: string
  readonly reader: string
}

/** Every value as the server's text, and as DuckDB reads it out of the file. */
export async function hashes(sql: (text: string) => Promise<string>, file: string): Promise<Hashes> {
  const { DuckDBInstance } = await import('@duckdb/node-api')
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  try {
    await connection.run("set timezone = 'UTC'")
    const read = await connection.runAndReadAll(readerHash(file))
    return { server: (await sql(SERVER_HASH)).trim(), reader: String(read.getRows()[0]?.[0]) }
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}

/** PostgreSQL's catalogue: whether a table exists, its columns, and their types down to the base types. */

import type { Client } from 'pg'
import { noSchema, noTable, notReadable } from '../missing.ts'
import { wrongSql } from './failures.ts'
import { quoteIdentifier } from './sql.ts'

/** A table, partitioned or foreign table, view or materialised view. */
export interface CatalogueTable {
  readonly oid: number
  readonly schema: string
  readonly name: string
  /** pg_class.relkind: r table, p partitioned, v view, m materialised view, f foreign. */
  readonly kind: string
  /** Whether the role has SELECT on the whole table, which LOCK TABLE asks for. */
  readonly selectable: boolean
  readonly lockTimeout: string
}

/** A table's name. */
export interface TableIdentity {
  readonly schema: string
  readonly name: string
}

export interface CatalogueType {
  readonly oid: number
  readonly schema: string
  readonly name: string
  /** pg_type.typtype: b base, d domain, e enum, c composite, r range, m multirange. */
  readonly kind: string
  readonly baseType: number
  readonly modifier: number
  readonly dimensions: number
  /** The element type of an array, else 0. */
  readonly element: number
  readonly labels: readonly string[]
  /** Whether the cast to text differs from the type's own output. */
  readonly textCast: boolean
  /** Whether to_json writes it by a cast of its own, as PostGIS and hstore have one. */
  readonly jsonCast: boolean
  /** The types of a composite type's columns. */
  readonly attributes: readonly number[]
}

export interface CatalogueColumn {
  readonly name: string
  readonly type: number
  readonly modifier: number
  readonly dimensions: number
  readonly notNull: boolean
  /** Whether the role has SELECT on it. */
  readonly readable: boolean
  /** As in the table's declaration: `numeric(12,2)`. */
  readonly declared: string
}

export interface Catalogue {
  readonly columns: readonly CatalogueColumn[]
  readonly types: ReadonlyMap<number, CatalogueType>
  /** Rows at the last ANALYZE or autovacuum; null when there was none. */
  readonly estimatedRows: number | null
  readonly rowSecurity: boolean
  /** The tables behind a view or a query whose row-level policies may hide rows. */
  readonly policed: readonly TableIdentity[]
  readonly serverEncoding: string
  /** Digits after the point of money, by lc_monetary; null when no column needs it. */
  readonly moneyDigits: number | null
}

const READABLE = new Set(['r', 'p', 'v', 'm', 'f'])
const KINDS: Readonly<Record<string, string>> = {
  i: 'an index',
  I: 'a partitioned index',
  S: 'a sequence',
  t: 'a TOAST table',
  c: 'a composite type',
}

const AS_TEXT = { getTypeParser: () => (text: string) => text }

/** The answer of a statement that gives one JSON document as text, which no type parser of pg changes. */
export async function document<T>(client: Client, text: string, values: readonly unknown[] = []): Promise<T> {
  const { rows } = await client.query<[string]>({ text, values: [...values], rowMode: 'array', types: AS_TEXT })
  return JSON.parse(rows[0]?.[0] ?? 'null') as T
}

const TABLE = `
select json_build_object(
  'schemaExists', exists (select from pg_catalog.pg_namespace where nspname = $1),
  'table', (
    select json_build_object(
      'oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
      'selectable', pg_catalog.has_table_privilege(c.oid, 'SELECT'),
      'lockTimeout', pg_catalog.current_setting('lock_timeout'))
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relname = $2)
)::text`

const NEIGHBOURS = `
select json_build_object(
  'schemas', (select json_agg(nspname) from pg_catalog.pg_namespace where nspname !~ '^pg_(toast|temp)'),
  'tables', (
    select json_agg(c.relname)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'f'))
)::text`

/**
 * Finds a table, partitioned table, view, materialised view or foreign table.
 *
 * @throws PoolsmithError SCHEMA_NOT_FOUND, TABLE_NOT_FOUND
 */
export async function findTable(client: Client, schema: string, name: string): Promise<CatalogueTable> {
  const found = await document<{ schemaExists: boolean; table: CatalogueTable | null }>(client, TABLE, [schema, name])
  if (found.table !== null && READABLE.has(found.table.kind)) return found.table

  const near = await document<{ schemas: string[]; tables: string[] | null }>(client, NEIGHBOURS, [schema])
  const quote = quoteIdentifier
  if (!found.schemaExists) {
    const hint = 'Give the schema as the catalogue spells it; names are case-sensitive here.'
    throw noSchema({ name: schema, names: near.schemas, quote, hint })
  }
  if (found.table !== null) {
    const hint = 'Name a table, a partitioned or foreign table, a view or a materialised view.'
    throw notReadable({ schema, name }, KINDS[found.table.kind] ?? 'not a table', quote, hint)
  }
  const hint =
    near.tables === null
      ? `The schema ${quote(schema)} has no tables; check the schema and the database.`
      : 'Give the table as the catalogue spells it; names are case-sensitive here.'
  throw noTable(schema, { name, names: near.tables ?? [], quote, hint })
}

const COLUMNS_OF_TABLE = `
  select attnum, attname, atttypid, atttypmod, attndims, attnotnull,
    pg_catalog.has_column_privilege(attrelid, attnum, 'SELECT') as readable
  from pg_catalog.pg_attribute where attrelid = $1 and attnum > 0 and not attisdropped`

const COLUMNS_OF_QUERY = `
  select number as attnum, name as attname, type as atttypid, modifier as atttypmod, 0 as attndims, false as attnotnull,
    true as readable
  from unnest($2::text[], $3::oid[], $4::int4[]) with ordinality as given(name, type, modifier, number)`

const catalogueQuery = (columns: string): string => `
with recursive cols as (${columns}
), parts(oid) as (
  select $1::oid
  union
  select i.inhrelid from parts p join pg_catalog.pg_inherits i on i.inhparent = p.oid
), needed(oid) as (
  select distinct atttypid from cols
  union
  select inner_type from needed n join pg_catalog.pg_type t on t.oid = n.oid, lateral (
    select case t.typtype when 'd' then t.typbasetype else t.typelem end
    where t.typtype = 'd' or (t.typelem <> 0 and t.typoutput = 'pg_catalog.array_out'::pg_catalog.regproc)
    union all
    select a.atttypid from pg_catalog.pg_attribute a
    where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
  ) within(inner_type)
)
select json_build_object(
  'columns', coalesce((
    select json_agg(json_build_object('name', attname, 'type', atttypid::int8, 'modifier', atttypmod,
      'dimensions', attndims, 'notNull', attnotnull, 'readable', readable,
      'declared', pg_catalog.format_type(atttypid, atttypmod)) order by attnum) from cols), '[]'),
  'types', coalesce((
    select json_agg(json_build_object('oid', t.oid::int8, 'schema', s.nspname, 'name', t.typname, 'kind', t.typtype,
      'baseType', t.typbasetype::int8, 'modifier', t.typtypmod, 'dimensions', t.typndims,
      'element', case when t.typoutput = 'pg_catalog.array_out'::pg_catalog.regproc then t.typelem::int8 else 0 end,
      'labels', coalesce((select json_agg(enumlabel order by enumsortorder) from pg_catalog.pg_enum
        where enumtypid = t.oid), '[]'),
      'textCast', exists (select from pg_catalog.pg_cast
        where castsource = t.oid and casttarget = 'pg_catalog.text'::pg_catalog.regtype),
      'jsonCast', t.typtype <> 'c' and exists (select from pg_catalog.pg_cast
        where castsource = t.oid and casttarget = 'pg_catalog.json'::pg_catalog.regtype and castmethod = 'f'),
      'attributes', coalesce((select json_agg(distinct a.atttypid::int8) from pg_catalog.pg_attribute a
        where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped), '[]')))
    from needed n join pg_catalog.pg_type t on t.oid = n.oid
    join pg_catalog.pg_namespace s on s.oid = t.typnamespace), '[]'),
  'estimatedRows', (
    select sum(c.reltuples) from parts p join pg_catalog.pg_class c on c.oid = p.oid
    where c.relkind in ('r', 'm', 'f') and c.reltuples >= 0),
  'rowSecurity', pg_catalog.row_security_active($1::oid),
  'serverEncoding', pg_catalog.current_setting('server_encoding'),
  'moneyDigits', case when exists (select from needed where oid = 'pg_catalog.money'::pg_catalog.regtype)
    then pg_catalog.scale(0::pg_catalog.money::numeric) end
)::text`

/** Reads the columns of a table in their order, with every type that they lead to. */
export async function readCatalogue(client: Client, { oid, kind }: CatalogueTable): Promise<Catalogue> {
  const found = await catalogueOf(client, catalogueQuery(COLUMNS_OF_TABLE), [oid])
  return { ...found, policed: kind === 'v' ? await policedTables(client) : [] }
}

/** The same for a query, whose columns the server describes. */
export async function describeQuery(client: Client, sql: string): Promise<Catalogue> {
  const text = `select * from (\n${sql}\n) as q limit 0`
  const { fields } = await client.query({ text, rowMode: 'array' }).catch((error: unknown) => {
    throw wrongSql(error, 'The query')
  })
  const columns = [
    fields.map((field) => field.name),
    fields.map((field) => field.dataTypeID),
    fields.map((field) => field.dataTypeModifier),
  ]
  const found = await catalogueOf(client, catalogueQuery(COLUMNS_OF_QUERY), [0, ...columns])
  return { ...found, policed: await policedTables(client) }
}

/**
 * The transaction holds a lock on every table that its statements name, those behind views too. Policies apply to the
 * role that reads, and behind a view to the view's owner.
 */
const POLICED = `
with locked as (
  select c.oid, c.relname, c.relkind, c.relowner, c.relnamespace, c.relrowsecurity, c.relforcerowsecurity
  from pg_catalog.pg_class c where c.oid in (
    select l.relation from pg_catalog.pg_locks l where l.locktype = 'relation' and l.pid = pg_catalog.pg_backend_pid()
      and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()))
)
select coalesce(json_agg(json_build_object('schema', n.nspname, 'name', t.relname) order by t.oid), '[]')::text
from locked t join pg_catalog.pg_namespace n on n.oid = t.relnamespace
where t.relkind in ('r', 'p') and t.relrowsecurity and (
  pg_catalog.row_security_active(t.oid) or exists (
    select from locked v join pg_catalog.pg_roles r on r.oid = v.relowner
    where v.relkind = 'v' and not r.rolsuper and not r.rolbypassrls
      and (t.relforcerowsecurity or not pg_catalog.pg_has_role(v.relowner, t.relowner, 'USAGE'))))`

function policedTables(client: Client): Promise<readonly TableIdentity[]> {
  return document(client, POLICED)
}

type CatalogueOfTypes = Omit<Catalogue, 'policed'>

async function catalogueOf(client: Client, text: string, values: readonly unknown[]): Promise<CatalogueOfTypes> {
  const found = await document<Omit<CatalogueOfTypes, 'types'> & { types: CatalogueType[] }>(client, text, values)
  return { ...found, types: new Map(found.types.map((type) => [type.oid, type])) }
}

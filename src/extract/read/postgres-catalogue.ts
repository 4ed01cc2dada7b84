/** What PostgreSQL's catalogue says about a table: it exists, its columns, their types down to the base types. */

import type { Client } from 'pg'
import { PoolsmithError } from '../../errors.ts'
import { nearNames } from '../near-names.ts'
import { wrongSql } from './postgres-failures.ts'

export interface Relation {
  readonly oid: number
  readonly schema: string
  readonly name: string
  /** pg_class.relkind: r table, p partitioned, v view, m materialised view, f foreign. */
  readonly kind: string
  /** Whether LOCK TABLE is allowed: it asks for the privilege on the whole table. */
  readonly selectable: boolean
  readonly lockTimeout: string
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
  /** The element type of a true array, else 0. */
  readonly element: number
  readonly labels: readonly string[]
  /** Whether the cast to text is more (or other) than the type's own output. */
  readonly textCast: boolean
}

export interface CatalogueColumn {
  readonly name: string
  readonly type: number
  readonly modifier: number
  readonly dimensions: number
  readonly notNull: boolean
  /** As in the table's declaration: `numeric(12,2)`. */
  readonly declared: string
}

export interface Catalogue {
  readonly columns: readonly CatalogueColumn[]
  readonly types: ReadonlyMap<number, CatalogueType>
  /** Rows by the last ANALYZE or autovacuum; null when there was none. */
  readonly estimatedRows: number | null
  readonly rowSecurity: boolean
  readonly serverEncoding: string
  /** Digits behind the point of money, by lc_monetary; null when no column needs it. */
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

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function quotedRelation(relation: { readonly schema: string; readonly name: string }): string {
  return `${quoteIdentifier(relation.schema)}.${quoteIdentifier(relation.name)}`
}

const AS_TEXT = { getTypeParser: () => (text: string) => text }

/** One JSON document as text, so that type parsers set on the client (or on all of pg) cannot touch it. */
export async function document<T>(client: Client, text: string, values: readonly unknown[] = []): Promise<T> {
  const { rows } = await client.query<[string]>({ text, values: [...values], rowMode: 'array', types: AS_TEXT })
  return JSON.parse(rows[0]?.[0] ?? 'null') as T
}

const RELATION = `
select json_build_object(
  'schemaExists', exists (select from pg_catalog.pg_namespace where nspname = $1),
  'relation', (
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
export async function findRelation(client: Client, schema: string, table: string): Promise<Relation> {
  const found = await document<{ schemaExists: boolean; relation: Relation | null }>(client, RELATION, [schema, table])
  if (found.relation !== null && READABLE.has(found.relation.kind)) return found.relation

  const near = await document<{ schemas: string[]; tables: string[] | null }>(client, NEIGHBOURS, [schema])
  if (!found.schemaExists) {
    const candidates = nearNames(schema, near.schemas)
    throw new PoolsmithError(`There is no schema ${quoteIdentifier(schema)}.${didYouMean(candidates)}`, {
      code: 'SCHEMA_NOT_FOUND',
      phase: 'query',
      hint: 'Give the schema as the catalogue spells it; names are case-sensitive here.',
      details: { schema, near: candidates },
    })
  }
  const name = quotedRelation({ schema, name: table })
  if (found.relation !== null) {
    throw new PoolsmithError(`${name} is ${KINDS[found.relation.kind] ?? 'no table'}, which cannot be extracted.`, {
      code: 'TABLE_NOT_FOUND',
      phase: 'query',
      hint: 'Name a table, a partitioned or foreign table, a view or a materialised view.',
      details: { schema, table },
    })
  }
  const candidates = nearNames(table, near.tables ?? [])
  throw new PoolsmithError(`There is no table ${name}.${didYouMean(candidates)}`, {
    code: 'TABLE_NOT_FOUND',
    phase: 'query',
    hint:
      near.tables === null
        ? `The schema ${quoteIdentifier(schema)} has no tables at all; check the schema and the database.`
        : 'Give the table as the catalogue spells it; names are case-sensitive here.',
    details: { schema, table, near: candidates },
  })
}

const COLUMNS_OF_TABLE = `
  select attnum, attname, atttypid, atttypmod, attndims, attnotnull
  from pg_catalog.pg_attribute where attrelid = $1 and attnum > 0 and not attisdropped`

const COLUMNS_OF_QUERY = `
  select number as attnum, name as attname, type as atttypid, modifier as atttypmod, 0 as attndims, false as attnotnull
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
  select case t.typtype when 'd' then t.typbasetype else t.typelem end
  from needed n join pg_catalog.pg_type t on t.oid = n.oid
  where t.typtype = 'd' or (t.typelem <> 0 and t.typoutput = 'pg_catalog.array_out'::pg_catalog.regproc)
)
select json_build_object(
  'columns', coalesce((
    select json_agg(json_build_object('name', attname, 'type', atttypid::int8, 'modifier', atttypmod,
      'dimensions', attndims, 'notNull', attnotnull, 'declared', pg_catalog.format_type(atttypid, atttypmod)) order by attnum) from cols), '[]'),
  'types', coalesce((
    select json_agg(json_build_object('oid', t.oid::int8, 'schema', s.nspname, 'name', t.typname, 'kind', t.typtype,
      'baseType', t.typbasetype::int8, 'modifier', t.typtypmod, 'dimensions', t.typndims,
      'element', case when t.typoutput = 'pg_catalog.array_out'::pg_catalog.regproc then t.typelem::int8 else 0 end,
      'labels', coalesce((select json_agg(enumlabel order by enumsortorder) from pg_catalog.pg_enum
        where enumtypid = t.oid), '[]'),
      'textCast', exists (select from pg_catalog.pg_cast
        where castsource = t.oid and casttarget = 'pg_catalog.text'::pg_catalog.regtype)))
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

/** Reads the columns of a relation in their order, with every type that they lead to. */
export async function readCatalogue(client: Client, oid: number): Promise<Catalogue> {
  return catalogueOf(client, catalogueQuery(COLUMNS_OF_TABLE), [oid])
}

/** The same for a query; what it returns is what the server itself says of it. */
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
  return catalogueOf(client, catalogueQuery(COLUMNS_OF_QUERY), [0, ...columns])
}

async function catalogueOf(client: Client, text: string, values: readonly unknown[]): Promise<Catalogue> {
  const found = await document<Omit<Catalogue, 'types'> & { types: CatalogueType[] }>(client, text, values)
  return { ...found, types: new Map(found.types.map((type) => [type.oid, type])) }
}

/** As a sentence to follow another one. */
export function didYouMean(candidates: readonly string[]): string {
  if (candidates.length === 0) return ''
  return ` Did you mean ${candidates.map(quoteIdentifier).join(' or ')}?`
}

export function noColumn(shown: string, name: string, columns: readonly string[]): PoolsmithError {
  const near = nearNames(name, columns)
  return new PoolsmithError(`${shown} has no column ${quoteIdentifier(name)}.${didYouMean(near)}`, {
    code: 'COLUMN_NOT_FOUND',
    phase: 'query',
    hint: 'Give the column as the catalogue spells it; names are case-sensitive here.',
    details: { column: name, near },
  })
}

/** SQL Server's catalogue: whether a table exists, its columns and types, its rows, and which snapshots there are. */

import type { Statement } from '../../../drivers/sqlserver/bound-value.ts'
import { PoolsmithError } from '../../../errors.ts'
import { printable } from '../../../printable.ts'
import { noSchema, noTable, notReadable } from '../missing.ts'
import type { BoundSql } from '../table.ts'
import { declarations, quoteIdentifier } from './sql.ts'

/** Runs one statement and gives its rows; parameters by name are texts. */
export type AskServer = (
  question: string | BoundSql,
  parameters?: Readonly<Record<string, string | null>>,
) => Promise<readonly (readonly unknown[])[]>

/** A table or view. */
export interface CatalogueTable {
  readonly id: number
  /** False for a view. */
  readonly isTable: boolean
  /** Memory-optimized: its snapshots are not those of the database, and are asked for by a hint. */
  readonly inMemory: boolean
  readonly schema: string
  readonly name: string
}

export interface CatalogueColumn {
  readonly name: string
  /** The type itself, or the type that an alias type stands for. */
  readonly type: string
  /** As in the table's declaration: `decimal(12,2)`. */
  readonly declared: string
  /** Characters or bytes; -1 for max. */
  readonly length: number
  readonly precision: number
  readonly scale: number
  /** Of char, varchar and text. */
  readonly codePage: number | undefined
  /** Of all kinds of text. */
  readonly collation: string | undefined
  readonly nullable: boolean
  /** hierarchyid, geometry, geography, and user-defined CLR types. */
  readonly isClr: boolean
}

/** How the database can show its rows as they are at one moment. */
export interface SnapshotSupport {
  /** ALTER DATABASE … SET ALLOW_SNAPSHOT_ISOLATION. */
  readonly transactions: boolean
  /** ALTER DATABASE … SET READ_COMMITTED_SNAPSHOT. */
  readonly statements: boolean
  /** It is a database snapshot, which never changes. */
  readonly frozen: boolean
  /** Whether locks have an effect: not on a readable secondary, which ignores them. */
  readonly locks: boolean
}

const FIND = `
select o.object_id, o.type, s.name, o.name, t.is_memory_optimized
from sys.objects o join sys.schemas s on s.schema_id = o.schema_id left join sys.tables t on t.object_id = o.object_id
where s.name = @schema and o.name = @table`

const NEIGHBOURS = `
select o.name from sys.objects o join sys.schemas s on s.schema_id = o.schema_id
where s.name = @schema and o.type in ('U', 'V')`

const SCHEMAS = 'select s.name from sys.schemas s'

/** sys.objects.type of tables and views. */
const READABLE = new Set(['U', 'V'])
const KINDS: Readonly<Record<string, string>> = {
  SN: 'a synonym',
  SO: 'a sequence',
  P: 'a stored procedure',
  TF: 'a function',
  IF: 'a function',
  FN: 'a function',
}

/**
 * Finds a table or view. Names are compared by the database's collation; the answer has them as the catalogue spells
 * them.
 *
 * @throws PoolsmithError SCHEMA_NOT_FOUND, TABLE_NOT_FOUND
 */
export async function findTable(ask: AskServer, schema: string, name: string): Promise<CatalogueTable> {
  const [found] = await ask(FIND, { schema, table: name })
  const kind = String(found?.[1] ?? '').trim()
  if (found !== undefined && READABLE.has(kind)) {
    const [id, , foundSchema, foundName, inMemory] = found
    const names = { schema: String(foundSchema), name: String(foundName) }
    return { id: Number(id), isTable: kind === 'U', inMemory: Boolean(inMemory), ...names }
  }
  const quote = quoteIdentifier
  if (found !== undefined) {
    throw notReadable({ schema, name }, KINDS[kind] ?? 'not a table', quote, 'Name a table or a view.')
  }
  const schemas = (await ask(SCHEMAS)).map(([one]) => String(one))
  if (!schemas.some((one) => one.toLowerCase() === schema.toLowerCase())) {
    throw noSchema({ name: schema, names: schemas, quote, hint: 'Give the schema as the catalogue spells it.' })
  }
  const names = (await ask(NEIGHBOURS, { schema })).map(([one]) => String(one))
  const hint =
    'Check the database and the spelling. SQL Server does not show a table to a login that may not read it ' +
    '(GRANT SELECT, or VIEW DEFINITION).'
  throw noTable(schema, { name, names, quote, hint })
}

const COLUMNS = `
select c.name, coalesce(b.name, u.name), c.max_length, c.precision, c.scale,
  collationproperty(c.collation_name, 'CodePage'), c.system_type_id, c.is_nullable, c.collation_name
from sys.columns c
join sys.types u on u.user_type_id = c.user_type_id
left join sys.types b on b.user_type_id = c.system_type_id
where c.object_id = @id
order by c.column_id`

/** sys.columns.system_type_id of all CLR types. */
const CLR = 240
const WITH_SIZE = new Set(['char', 'varchar', 'nchar', 'nvarchar', 'binary', 'varbinary'])
const WITH_SCALE = new Set(['time', 'datetime2', 'datetimeoffset'])
const OF_TWO_BYTES = new Set(['nchar', 'nvarchar'])

/** The columns in their order: computed, identity, sparse and hidden ones like the others. */
export async function readColumns(ask: AskServer, table: CatalogueTable): Promise<CatalogueColumn[]> {
  return (await ask(COLUMNS, { id: String(table.id) })).map(columnOf)
}

const DESCRIBE = `
select r.name, coalesce(b.name, u.name), r.max_length, r.precision, r.scale,
  collationproperty(r.collation_name, 'CodePage'), r.system_type_id, r.is_nullable, r.collation_name,
  r.error_number, r.error_message
from sys.dm_exec_describe_first_result_set(@statement, @declared, 0) r
left join sys.types u on u.user_type_id = coalesce(r.user_type_id, r.system_type_id)
left join sys.types b on b.user_type_id = r.system_type_id
order by r.column_ordinal`

/**
 * The columns of a query, which is not run.
 *
 * @throws PoolsmithError QUERY_FAILED with the server's number and message; CONFIG_INVALID
 */
export async function describeQuery(ask: AskServer, { text, values }: Statement): Promise<CatalogueColumn[]> {
  const rows = await ask(DESCRIBE, { statement: text, declared: values.length === 0 ? null : declarations(values) })
  const wrong = rows.find((row) => row[9] !== null && row[9] !== undefined)
  if (wrong !== undefined) {
    throw new PoolsmithError(`The query cannot be read: ${printable(String(wrong[10]))}`, {
      code: 'QUERY_FAILED',
      phase: 'query',
      hint:
        Number(wrong[9]) === ORDERED_WITHIN
          ? 'Leave ORDER BY out: the order of rows is not kept.'
          : 'The message is the server’s own. The query is put in the brackets of another one: give a plain select, or WITH and a select.',
      details: { number: Number(wrong[9]) },
    })
  }
  const nameless = rows.findIndex(([name]) => name === null || name === '')
  if (rows.length > 0 && nameless < 0) return rows.map(columnOf)
  throw new PoolsmithError(
    rows.length === 0 ? 'The query returns no columns.' : `Column ${nameless + 1} of the query has no name.`,
    { code: 'CONFIG_INVALID', phase: 'config', hint: 'Give one select, and each of its columns a name.' },
  )
}

/** sys.messages: ORDER BY in a derived table. */
const ORDERED_WITHIN = 1033

function columnOf([
  name,
  typeName,
  maxLength,
  precision,
  scale,
  codePage,
  systemType,
  nullable,
  collation,
]: readonly unknown[]) {
  const type = String(typeName).toLowerCase()
  const bytes = Number(maxLength)
  const length = bytes > 0 && OF_TWO_BYTES.has(type) ? bytes / 2 : bytes
  const column = { type, length, precision: Number(precision), scale: Number(scale) }
  return {
    name: String(name),
    ...column,
    declared: declaredAs(column),
    codePage: codePage === null || codePage === undefined ? undefined : Number(codePage),
    collation: collation === null || collation === undefined ? undefined : String(collation),
    nullable: nullable !== false,
    isClr: Number(systemType) === CLR,
  }
}

function declaredAs({
  type,
  length,
  precision,
  scale,
}: {
  type: string
  length: number
  precision: number
  scale: number
}): string {
  if (type === 'decimal' || type === 'numeric') return `${type}(${precision},${scale})`
  if (WITH_SIZE.has(type)) return `${type}(${length < 0 ? 'max' : length})`
  return WITH_SCALE.has(type) ? `${type}(${scale})` : type
}

const ROWS = 'select sum(p.rows) from sys.partitions p where p.object_id = @id and p.index_id in (0, 1)'

export async function estimateRows(ask: AskServer, table: CatalogueTable): Promise<number | undefined> {
  const [[rows] = []] = await ask(ROWS, { id: String(table.id) })
  return rows === null || rows === undefined ? undefined : Number(rows)
}

const SNAPSHOTS = `
select d.snapshot_isolation_state, d.is_read_committed_snapshot_on, d.source_database_id,
  convert(nvarchar(20), databasepropertyex(db_name(), 'Updateability'))
from sys.databases d where d.name = db_name()`
/** sys.databases.snapshot_isolation_state: 1 is on; 2 and 3 are in transition. */
const SNAPSHOT_ON = 1

export async function snapshotSupport(ask: AskServer): Promise<SnapshotSupport> {
  const [[transactions, statements, source, updateability] = []] = await ask(SNAPSHOTS)
  return {
    transactions: Number(transactions) === SNAPSHOT_ON,
    statements: Boolean(statements),
    frozen: source !== null && source !== undefined,
    locks: updateability === 'READ_WRITE',
  }
}

/**
 * The rowversion below which none will be given any more, eight bytes in hexadecimal after 0x. Not every server that
 * speaks TDS has it, so it is asked for marks of that type only.
 */
export async function leastRowVersion(ask: AskServer): Promise<string> {
  const [[found] = []] = await ask('select cast(min_active_rowversion() as binary(8)) as mark')
  return exactText(found)
}

/** A value of an answer, as text that the server reads as the same value. */
export function exactText(value: unknown): string {
  return Buffer.isBuffer(value) ? `0x${value.toString('hex').toUpperCase()}` : String(value)
}

const KEYS = `
select i.index_id, i.is_primary_key, c.name
from sys.indexes i
join sys.index_columns k on k.object_id = i.object_id and k.index_id = i.index_id
join sys.columns c on c.object_id = k.object_id and c.column_id = k.column_id
where i.object_id = @id and k.key_ordinal > 0 and i.is_disabled = 0 and i.has_filter = 0
  and (i.index_id = 1 or i.is_primary_key = 1 or i.is_unique = 1)
order by i.index_id, k.key_ordinal`

/** The keys of a table. */
export interface Keys {
  readonly primary: readonly string[]
  /** The first column of the clustered index, else of the primary key, else of another unique index. */
  readonly leading: string | undefined
}

export async function readKeys(ask: AskServer, table: CatalogueTable): Promise<Keys> {
  const rows = await ask(KEYS, { id: String(table.id) })
  const primary = rows.filter((row) => Boolean(row[1])).map((row) => String(row[2]))
  const clustered = rows.find((row) => Number(row[0]) === 1)
  const first = clustered?.[2] ?? primary[0] ?? rows[0]?.[2]
  return { primary, leading: first === undefined ? undefined : String(first) }
}

const SAMPLED = `
select count(*) from sys.indexes i where i.object_id = @id and i.index_id in (0, 1) and i.type in (0, 1)`

/** Whether TABLESAMPLE works on it: a table whose rows lie on pages. */
export async function canBeSampled(ask: AskServer, table: CatalogueTable): Promise<boolean> {
  if (table.inMemory) return false
  const [[count] = []] = await ask(SAMPLED, { id: String(table.id) })
  return Number(count) > 0
}

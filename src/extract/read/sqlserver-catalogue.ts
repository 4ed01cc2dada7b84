/** What SQL Server's catalogue says about a table: it exists, its columns and types, how many rows, which snapshots. */

import { PoolsmithError } from '../../errors.ts'
import { nearNames } from '../near-names.ts'

/** Runs one statement and gives its rows; parameters are texts. */
export type AskServer = (
  sql: string,
  parameters?: Readonly<Record<string, string>>,
) => Promise<readonly (readonly unknown[])[]>

export interface SqlServerTableId {
  readonly id: number
  readonly schema: string
  readonly name: string
}

export interface SqlServerColumn {
  readonly name: string
  /** The type itself, or what an alias type stands for. */
  readonly type: string
  /** As in the table's declaration: `decimal(12,2)`. */
  readonly declared: string
  /** Characters or bytes; -1 for max. */
  readonly length: number
  readonly precision: number
  readonly scale: number
  /** Of char, varchar and text. */
  readonly codePage: number | undefined
  /** Hierarchyid, geometry, geography, and types that somebody wrote. */
  readonly isClr: boolean
}

/** ALTER DATABASE … SET ALLOW_SNAPSHOT_ISOLATION and READ_COMMITTED_SNAPSHOT. */
export interface SnapshotSupport {
  readonly transactions: boolean
  readonly statements: boolean
}

export function quoteBrackets(name: string): string {
  return `[${name.replaceAll(']', ']]')}]`
}

export function quotedTable(table: { readonly schema: string; readonly name: string }): string {
  return `${quoteBrackets(table.schema)}.${quoteBrackets(table.name)}`
}

/** As a sentence to follow another one. */
export function didYouMean(candidates: readonly string[]): string {
  if (candidates.length === 0) return ''
  return ` Did you mean ${candidates.map(quoteBrackets).join(' or ')}?`
}

const FIND = `
select o.object_id, o.type, s.name, o.name
from sys.objects o join sys.schemas s on s.schema_id = o.schema_id
where s.name = @schema and o.name = @table`

const NEIGHBOURS = `
select o.name from sys.objects o join sys.schemas s on s.schema_id = o.schema_id
where s.name = @schema and o.type in ('U', 'V')`

const SCHEMAS = 'select s.name from sys.schemas s'

/** sys.objects.type of what can be read. */
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
export async function findTable(ask: AskServer, schema: string, table: string): Promise<SqlServerTableId> {
  const [found] = await ask(FIND, { schema, table })
  const kind = String(found?.[1] ?? '').trim()
  if (found !== undefined && READABLE.has(kind)) {
    return { id: Number(found[0]), schema: String(found[2]), name: String(found[3]) }
  }
  const name = quotedTable({ schema, name: table })
  if (found !== undefined) {
    throw new PoolsmithError(`${name} is ${KINDS[kind] ?? 'no table'}, which cannot be extracted.`, {
      code: 'TABLE_NOT_FOUND',
      phase: 'query',
      hint: 'Name a table or a view.',
      details: { schema, table },
    })
  }
  const schemas = (await ask(SCHEMAS)).map(([one]) => String(one))
  if (!schemas.some((one) => one.toLowerCase() === schema.toLowerCase())) {
    const candidates = nearNames(schema, schemas)
    throw new PoolsmithError(`There is no schema ${quoteBrackets(schema)}.${didYouMean(candidates)}`, {
      code: 'SCHEMA_NOT_FOUND',
      phase: 'query',
      hint: 'Give the schema as the catalogue spells it.',
      details: { schema, near: candidates },
    })
  }
  const tables = (await ask(NEIGHBOURS, { schema })).map(([one]) => String(one))
  const candidates = nearNames(table, tables)
  throw new PoolsmithError(`There is no table ${name}.${didYouMean(candidates)}`, {
    code: 'TABLE_NOT_FOUND',
    phase: 'query',
    hint:
      'Check the database and the spelling; what a login may not read at all, SQL Server does not show it either ' +
      '(GRANT SELECT, or VIEW DEFINITION).',
    details: { schema, table, near: candidates },
  })
}

const COLUMNS = `
select c.name, coalesce(b.name, u.name), c.max_length, c.precision, c.scale,
  collationproperty(c.collation_name, 'CodePage'), c.system_type_id
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
export async function readColumns(ask: AskServer, table: SqlServerTableId): Promise<SqlServerColumn[]> {
  const rows = await ask(COLUMNS, { id: String(table.id) })
  return rows.map(([name, typeName, maxLength, precision, scale, codePage, systemType]) => {
    const type = String(typeName).toLowerCase()
    const bytes = Number(maxLength)
    const length = bytes > 0 && OF_TWO_BYTES.has(type) ? bytes / 2 : bytes
    const column = { type, length, precision: Number(precision), scale: Number(scale) }
    return {
      name: String(name),
      ...column,
      declared: declaredAs(column),
      codePage: codePage === null || codePage === undefined ? undefined : Number(codePage),
      isClr: Number(systemType) === CLR,
    }
  })
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

export async function estimateRows(ask: AskServer, table: SqlServerTableId): Promise<number | undefined> {
  const [[rows] = []] = await ask(ROWS, { id: String(table.id) })
  return rows === null || rows === undefined ? undefined : Number(rows)
}

const SNAPSHOTS = `
select d.snapshot_isolation_state, d.is_read_committed_snapshot_on from sys.databases d where d.name = db_name()`
/** sys.databases.snapshot_isolation_state: 1 is on; 2 and 3 are on the way. */
const SNAPSHOT_ON = 1

export async function snapshotSupport(ask: AskServer): Promise<SnapshotSupport> {
  const [[transactions, statements] = []] = await ask(SNAPSHOTS)
  return { transactions: Number(transactions) === SNAPSHOT_ON, statements: Boolean(statements) }
}
